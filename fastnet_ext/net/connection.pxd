"""One connection: its input, its output, its deadlines, and what carries exchanges over it."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.flag cimport flag
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.limits cimport Limit
from fastnet_ext.net.loop_state cimport LoopState, Member
from fastnet_ext.net.service cimport Service
from fastnet_ext.net.transport cimport Transport


cdef enum:
    # Bytes of input that wait while a request is being answered; above it reading pauses.
    CARRY_LIMIT = 64 * 1024
    # Output above this is written in the middle of a batch, and tells streams to wait.
    OUTPUT_HIGH_WATER = 64 * 1024
    # Bodies from here on are written from where they are instead of being copied.
    WRITE_THROUGH = 16 * 1024
    # What a peer may still send after its refusal or early answer before it is cut off.
    LINGER_BYTES = 256 * 1024


cdef enum Clock:
    # Which deadline of the connection is running.
    CLOCK_NONE      # a handler is at work: its own limits apply
    CLOCK_IDLE      # between requests
    CLOCK_HEAD      # a head has begun
    CLOCK_BODY      # the peer owes us body bytes
    CLOCK_WRITE     # the peer does not take what we write: its progress is looked at, nothing else
    CLOCK_TLS       # the TLS hand-shake
    CLOCK_LINGER    # answered and half closed; waiting for the peer's end


# Connection and carrier are cut from each other when the connection is lost, so the garbage collector need not look.
@cython.no_gc
cdef class Carrier:
    """Speaks one protocol over a connection. Everything it writes goes to connection.out."""

    cdef Connection connection
    cdef flag input_paused          # what reads a body is slow: no more input, please

    # Move output that the protocol keeps of its own into connection.out; before each write.
    cdef int collect(self) except -1
    # All of connection.out was sent: whether there is more that waited for it.
    cdef bint refill(self) except -1
    # Take input. `consumed` of it is used up; the rest is presented again with what follows.
    cdef int receive(self, char* data, size_t size, size_t* consumed) except -1
    # The peer will send no more.
    cdef int receive_eof(self) except -1
    # It will send no more than `unread` further bytes: whether that is its end already, whatever they are.
    cdef bint ends_within(self, int64_t unread) noexcept
    # The connection is gone.
    cdef int lost(self) except -1
    # The peer takes output again.
    cdef int writable(self) except -1
    # Look at the progress and the deadlines of what runs: see Member.look.
    cdef int look(self, double elapsed, double late) except -1
    # Bytes that the protocol keeps of its own, beside those of its exchanges.
    cdef int64_t buffered(self) noexcept
    # The peer takes no output, or too little: end everything.
    cdef int congested_for_good(self) except -1
    # A deadline ran out.
    cdef int expired(self, Clock clock) except -1
    # Finish what runs, then close. What is on its way from a peer that has not heard of it is answered too.
    cdef int drain(self) except -1
    # The same, `elapsed` hundredths of a second later: see DRAIN_IDLE and DRAIN_SLOW of the loop's state.
    cdef int drain_on(self, int elapsed) except -1
    # Whether nothing is being answered.
    cdef bint idle(self) noexcept
    # What it speaks, and the exchanges it carries.
    cdef str protocol(self)
    cdef list exchanges(self)


cdef class Connection(Member):
    cdef LoopState loop_state
    cdef Service service
    cdef Carrier carrier            # None until the first bytes or ALPN chose one
    cdef readonly uint64_t number   # of the connections of this loop, from 1
    cdef double opened              # by the loop's clock
    cdef object trace               # WireTrace, told of all plain bytes; None unless the service traces

    # --- output
    cdef Buffer out
    cdef flag corked                # while a batch of input is handled: it is flushed at its end
    cdef flag flush_pending         # in loop_state.dirty
    cdef flag write_paused          # the transport's buffer is above its high-water mark

    # --- the socket
    cdef flag closing               # close was asked for; nothing is written any more
    cdef flag gone                  # connection_lost was called
    cdef flag eof
    cdef flag draining
    cdef flag relinquished          # cut off for what it kept: it counts no more
    cdef Transport transport

    # --- input that waits, in front of what comes next; the first `carry_used` bytes are done with
    cdef Buffer carry
    cdef uint32_t carry_used
    cdef uint32_t lingered
    cdef flag held_back             # we do not read on since too much is kept in buffers
    cdef flag resume_scheduled

    # --- time
    cdef Clock clock
    cdef double deadline            # by loop_state.now; meaningless with CLOCK_NONE

    # `now` is as old as the latest sweep: one more interval, so that no deadline comes early.
    cdef inline int start_clock(self, Clock clock, double seconds) noexcept:
        self.clock = clock
        self.deadline = self.loop_state.now + self.loop_state.sweep_interval + seconds
        return 0

    # We are at work: only a peer that does not take our output is late.
    cdef inline int stop_clock(self) noexcept:
        if not self.write_paused:
            self.clock = CLOCK_NONE
        elif self.clock != CLOCK_WRITE:
            self.clock = CLOCK_WRITE
        return 0

    # Bytes of the carry that nobody has used yet.
    cdef inline size_t waiting(self) noexcept:
        return self.carry.size - self.carry_used

    cdef str _state(self, bint busy)
    cdef void _check(self) noexcept
    cdef int _received(self, char* data, size_t size) except -1
    cdef int _look(self, double elapsed, double late) except -1
    cdef int _look_at_output(self, double elapsed) except -1
    cdef int _look_at_peer(self) except -1
    cdef int _check_deadline(self, double late) except -1
    cdef int _never_begun(self) except -1
    cdef int _account(self) except -1
    cdef int _input(self, char* data, size_t size, bint from_carry) except -1
    cdef int _input_ended(self) except -1
    cdef int _keep(self, const char* data, size_t size) except -1
    cdef int _use_carry(self, size_t count) noexcept
    cdef int _balance_reading(self) except -1
    cdef int _crashed(self) except -1
    # A request that never became an exchange was answered so.
    cdef int refused(self, int status) except -1
    # Output. `write` copies small data and writes large `owner` bytes through.
    cdef int write(self, const char* data, Py_ssize_t size, object owner) except -1
    cdef int flush(self) except -1
    cdef int _send(self, const char* data, Py_ssize_t size, object owner) except -1

    # What a layer between carrier and socket replaces; here there is none. `_transmit` writes `out` and then the data,
    # `_go_on` what waits for a transport that takes output again, `_unsent` bytes of it; `_end` closes behind all of
    # it, `_forget` drops it.
    cdef int _transmit(self, const char* data, Py_ssize_t size, object owner) except -1
    cdef int _go_on(self) except -1
    cdef size_t _unsent(self) noexcept
    cdef int _end(self, bint linger) except -1
    cdef int _forget(self) except -1

    # To be called after writing outside a batch.
    cdef int flush_soon(self) except -1
    cdef bint congested(self) noexcept
    # Whether we read what the peer sends, and it has all that we sent, as far as our side of the socket knows.
    cdef bint in_touch(self) except -1
    # Ends. `linger`: the peer may still be sending; let it see the answer before the reset.
    cdef int close(self, bint linger) except -1
    cdef int _close_transport(self, bint linger) except -1
    cdef int abort(self) except -1
    # Input.
    cdef int pause_reading(self) except -1
    # Handle the carry in a turn of the loop of its own.
    cdef int resume_input(self) except -1
