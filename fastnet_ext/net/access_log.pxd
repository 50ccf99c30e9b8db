"""The access log: a line for each request, written into memory here and to its place by a thread elsewhere."""

from libc.stdint cimport int64_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.headers cimport HeaderBlock
from fastnet_ext.exchange.exchange cimport ConnectionInfo, Exchange, Observer


cdef enum:
    # Bytes of lines that are handed over at once; fewer of them when BLOCK_SECONDS are over.
    BLOCK_SIZE = 256 * 1024
    # What a line shows of a path or query at most, and of a field (bytes).
    MAX_TARGET = 4096
    MAX_FIELD = 512
    # Names of secret query keys are no longer (bytes).
    MAX_KEY = 64
    # All the rest of a line: times, numbers, names of members.
    LINE_ROOM = 512
    # "2026-11-20T15:04:05."
    SECOND_SIZE = 20


cdef class QueryMask:
    """Which query keys have values that must not be shown."""

    cdef tuple keys         # bytes, in lower case

    cdef bint _is_secret(self, const char* name, size_t size) noexcept
    # The query with "***" for its secrets, escaped as `escape` does. `out` has room for size * ESCAPED_MAX;
    # returns the end of what was written.
    cdef char* write(self, char* out, const char* query, size_t size, bint json) noexcept


cdef class AccessSink:
    """The lines of one event loop, on their way to whoever writes them."""

    cdef object loop
    cdef object take            # take(block: bytes): never waits
    cdef Buffer block
    cdef object timer           # the end of BLOCK_SECONDS; None while the block is empty
    # How far the time of day is ahead of the monotonic clock (seconds), read anew for each block; and the text of
    # the second that lines were last written in.
    cdef double ahead
    cdef int64_t second
    cdef char second_text[SECOND_SIZE]

    # Room for `size` more bytes of a line: where they go.
    cdef char* reserve(self, size_t size) except NULL
    # A line ends at `end`, in the room that was reserved.
    cdef int commit(self, char* end) except -1
    cdef int _hand_over(self) except -1
    # "2026-11-20T15:04:05.678Z"; `now` by the monotonic clock.
    cdef char* write_time(self, char* out, double now) except NULL


cdef class AccessLog(Observer):
    """Writes the lines of one listener."""

    cdef AccessSink sink
    cdef QueryMask mask
    cdef bint json
    cdef bytes prefix           # JSON: what stands before the listener's lines
    cdef bytes suffix           # JSON: what ends them

    cdef int _text(self, Exchange x, double now) except -1
    cdef int _json(self, Exchange x, double now) except -1
    cdef char* _url(self, char* out, const char* url, size_t size) noexcept
