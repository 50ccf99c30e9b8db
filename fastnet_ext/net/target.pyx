# cython: freethreading_compatible=True
"""The parts of a request's target; target.pxd is the map."""

from libc.stdint cimport uint32_t
from libc.string cimport memchr

from fastnet_ext.core.headers cimport HeaderBlock
from fastnet_ext.exchange.exchange cimport Exchange


cdef int leave_authority(Exchange x) noexcept:
    cdef HeaderBlock head = x.head
    cdef uint32_t end = x.path.offset + x.path.size
    if head.authority.size:
        x.path.offset = head.authority.offset + head.authority.size
        x.path.size = end - x.path.offset
    if x.path.size == 0 or head.arena[x.path.offset] == b"?":
        add_empty_path(x)
    return 0


cdef int add_empty_path(Exchange x) noexcept:
    """An absolute-form without a path means "/" (RFC 9112, 3.2.1): a slash of its "://" serves as one."""
    cdef HeaderBlock head = x.head
    cdef const char* start = head.arena + head.target.offset
    cdef const char* slash = <const char*>memchr(start, b"/", head.target.size)
    if x.path.size:
        x.query_size = x.path.size - 1      # it begins with the question mark
    if slash is not NULL:
        x.path.offset = <uint32_t>(slash - head.arena)
        x.path.size = 1
    return 0
