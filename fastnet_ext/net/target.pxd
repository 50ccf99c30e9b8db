"""The parts of a request's target: spans of its head, for the exchange that has it."""

from libc.stdint cimport uint32_t
from libc.string cimport memchr

from fastnet_ext.exchange.exchange cimport Exchange


# Cut x.path, which is all of the target so far, before its query.
cdef inline int split_query(Exchange x) noexcept:
    cdef const char* target = x.head.arena + x.path.offset
    cdef const char* mark = <const char*>memchr(target, b"?", x.path.size)
    if mark is not NULL:
        x.query_size = x.path.size - <uint32_t>(mark - target) - 1
        x.path.size = <uint32_t>(mark - target)
    return 0


# Leave of x.path, a target that does not begin with a slash, what is behind scheme and authority (RFC 9112, 3.2).
cdef int leave_authority(Exchange x) noexcept
