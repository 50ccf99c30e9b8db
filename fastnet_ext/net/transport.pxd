"""The socket of one connection: asyncio's transport, and writes that go around it."""

from libc.stdint cimport int64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.flag cimport flag
from fastnet_ext.net.progress cimport Pace, PeerState, Progress


cdef enum Sent:
    SENT_RAISED = -1    # a Python exception is set
    SENT_ALL = 0        # the socket took it
    SENT_PART = 1       # asyncio's buffer keeps the rest
    SENT_NOTHING = 2    # there is no socket any more
    SENT_FAILED = 3     # the socket is broken


cdef class Transport:
    cdef object inner           # asyncio's transport; None before and after the connection
    # >= 0: written directly while asyncio's own buffer is empty (`busy` is False, or its size is 0 when asked).
    cdef int fd
    cdef flag busy
    cdef flag sending           # asyncio is being given something
    cdef flag read_paused

    # For the progress of what asyncio keeps: bytes that it was given.
    cdef int64_t handed
    cdef Progress writing

    cdef int open(self, object inner) except -1
    cdef int lost(self) except -1
    # Write `out` and then `data`, and empty `out`. What the socket does not take is asyncio's: a copy, or the rest of
    # `owner` when that is bytes.
    cdef Sent send(self, Buffer* out, const char* data, Py_ssize_t size, object owner) except SENT_RAISED
    # One send of bytes that may be lost, around everything.
    cdef int send_now(self, const char* data, size_t size) noexcept
    # Drop what has arrived, into the scratch memory that is given.
    cdef int drop_input(self, char* scratch, size_t size) noexcept
    # Whether asyncio has nothing of ours left to write.
    cdef bint idle(self) except -1
    # Bytes that it has left.
    cdef int64_t waiting(self) except -1
    # How the peer gets on with them, `elapsed` seconds after the last look; `full`: asyncio said that its buffer is.
    cdef Pace look(self, double elapsed, double timeout, double rate, bint full) except *
    # What the system knows of a peer that we do not read from, and how many bytes of it wait there.
    cdef PeerState peer_state(self, int64_t* unread) noexcept

    cdef int pause_reading(self) except -1
    cdef int resume_reading(self) except -1
    # Ends: of our half, where the kind of socket has halves (False: there is nobody left); after what waits; at once.
    cdef bint half_close(self) except -1
    cdef int close(self) except -1
    cdef int abort(self) except -1
    cdef object extra(self, str name)
