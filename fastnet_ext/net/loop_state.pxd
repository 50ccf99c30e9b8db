"""What all connections of one event loop share: read buffer, spare output, Date, sweep, counters."""

from libc.stdint cimport int64_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.exchange.exchange cimport ConnectionInfo, LoopLocal
from fastnet_ext.net.addresses cimport AddressTable
from fastnet_ext.net.limit_log cimport LimitLog
from fastnet_ext.net.tls cimport TLS_RECORD
from fastnet_ext.serve.runner cimport RunnerPool


cdef enum:
    # Hundredths of a second after `drain` when idle connections and clients that are slow to hear of it are left.
    DRAIN_IDLE = 25
    DRAIN_SLOW = 100

    READ_BUFFER = 256 * 1024    # bytes one read may bring
    PLAIN_BUFFER = READ_BUFFER + TLS_RECORD
    DATE_FIELD = 37             # "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    SPARE_OUTPUT = 256 * 1024   # an output buffer larger than this is not kept
    PRESSED_READ = 16 * 1024    # bytes one read may bring while too much is kept in buffers
    LATE_SWEEPS = 3             # sweeps in a row that must be late before the loop counts as behind
    # Seconds for which more may be kept than the limit says, before connections are cut for it: pausing may
    # have stopped them all midway.
    MEMORY_PATIENCE = 5


cdef struct Counters:
    # Plain increments on the hot path; read by `LoopState.counters`.
    uint64_t connections        # accepted since the start
    uint64_t connections_open
    uint64_t requests           # heads dispatched, whatever protocol
    uint64_t requests_active
    uint64_t bytes_received
    uint64_t bytes_sent
    uint64_t upgrades           # tunnels opened (WebSocket)
    uint64_t tls_handshakes     # completed
    # Errors by kind.
    uint64_t malformed          # answered 400, 501, 505 or closed: the peer broke the protocol
    uint64_t over_limit         # 413, 414, 417, 431
    uint64_t timeouts           # a deadline ran out
    uint64_t tls_failed         # hand-shakes that came to nothing, and records that were not as they must be
    uint64_t disconnects        # the peer left before its answer was complete
    uint64_t internal           # mistakes of ours that reached the connection


cdef class Member(ConnectionInfo):
    """A connection as the loop's state sees it."""

    cdef int64_t accounted      # bytes of LoopState.buffered that are this connection's
    cdef Py_ssize_t place       # in LoopState.connections; -1: not there

    # Look at everything that has a limit in time. `elapsed` seconds since the last sweep are to be counted,
    # during a further `late` the loop was blocked.
    cdef int look(self, double elapsed, double late) except -1
    cdef int flush_tick(self) except -1
    # Less is kept again: read on.
    cdef int ease(self) except -1
    # It keeps the most when too much is kept: end it.
    cdef int relinquish(self) except -1


cdef class ReadBuffer:
    """What the connections of a loop read into: one buffer, as a callback uses it up before the next one is called."""

    # There is room behind it for PROXY_HELD bytes that turned out to be no header and go in front again.
    cdef char* data
    cdef object view                # what is lent: one of the two
    cdef object whole_view
    cdef object short_view          # while memory is short


cdef class LoopState:
    cdef readonly LoopLocal local
    cdef RunnerPool runners
    cdef Counters counts
    cdef LimitLog limits

    # --- input
    cdef ReadBuffer read
    cdef object lend_read           # `read.lend`: the same for all connections, as an event loop keeps it for each
    cdef char* plain_buffer         # what TLS decrypts into; NULL until there is TLS
    cdef object plain_view

    # --- output: one empty buffer with capacity, lent to whoever writes
    cdef Buffer spare
    cdef list dirty                 # connections to flush at the end of this tick
    cdef bint flush_scheduled

    # --- time
    cdef double now                 # loop.time() of the latest sweep: coarse, for deadlines
    cdef readonly double sweep_interval     # seconds between two sweeps
    cdef int64_t date_second
    cdef char date_field[DATE_FIELD]
    cdef object sweep_handle
    cdef list connections           # the open ones, each at its `place`; swept for deadlines
    cdef double lates[LATE_SWEEPS]  # by how much the latest sweeps came late
    cdef int sweeps                 # since sweeping began again, up to LATE_SWEEPS
    cdef readonly double sweep_seconds      # that the latest sweep took

    # --- memory: what all connections keep in buffers, by their latest accounts
    cdef readonly int64_t memory_limit      # bytes; 0: none
    cdef int64_t buffered
    cdef double over_since          # when more than that was kept first, by `now`; 0: it is not
    cdef bint relief_scheduled

    cdef AddressTable addresses     # open connections of each, where a listener limits them

    cdef bint draining              # what is accepted now came too late
    cdef object empty               # future of whoever waits until there are none, None
    cdef object drain_handle        # the next round of a drain

    cdef int need_plain_buffer(self) except -1
    cdef const char* date(self) noexcept
    cdef int lend(self, Buffer* out) noexcept
    cdef int take_back(self, Buffer* out) noexcept
    cdef int schedule_flush(self, Member connection) except -1
    cdef int add(self, Member connection) except -1
    cdef int discard(self, Member connection) except -1
    # A connection keeps `held` bytes in buffers.
    cdef int account(self, Member connection, int64_t held) except -1
    cdef int _note_lateness(self, double late) except -1
    cdef int _press(self) except -1
    cdef int _ease(self) except -1
    # Cut those that keep most until no more than the limit is kept.
    cdef int _relieve(self) except -1
