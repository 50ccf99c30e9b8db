"""What trusted proxies say of a request: Forwarded (RFC 7239) and X-Forwarded-*.

Both are lists to which each proxy appends what it knows of its own peer, so they are read from the
right: the connection's peer wrote the last element, and its word counts only if it is trusted. If the
address that it names is a trusted proxy too, the element before counts, and so on. The first address
that is not trusted is the client; whatever stands left of it is the client's own claim. The walk also
ends at an element that is malformed or names no address (`unknown`, `_hidden`): then the last address
it came to is the client.
"""

from fastnet_ext.core.headers cimport HeaderBlock
from fastnet_ext.proxy.networks cimport IpAddress, Networks


cdef enum HeaderSource:
    SOURCE_AUTO             # X-Forwarded-* where there is any of them, else Forwarded
    SOURCE_FORWARDED
    SOURCE_X_FORWARDED
    SOURCE_NONE


cdef enum ProtocolMode:
    # Whether connections begin with the PROXY protocol's header: see protocol.pxd.
    PROTOCOL_OFF
    PROTOCOL_OPTIONAL
    PROTOCOL_REQUIRED


cdef class Proxies:
    """What a listener knows of the proxies in front of it: constant."""

    cdef readonly Networks trusted
    cdef HeaderSource source
    cdef ProtocolMode protocol
    # Percent-encoded, without a slash at its end; empty when the app is not below a path.
    cdef readonly str root_path
    cdef bytes root             # the same as bytes


cdef class Forwarded:
    # The client; None when the connection's peer is all that is known. Port 0: not known.
    cdef readonly str host
    cdef readonly int port
    cdef readonly str scheme        # "http", "https" or None
    cdef readonly str authority     # what the client asked for, None
    cdef readonly int server_port   # X-Forwarded-Port, 0: not known
    cdef readonly str prefix        # X-Forwarded-Prefix, None
    cdef readonly int hops          # addresses taken over, counted from the right

    cdef int _read_x_forwarded(self, HeaderBlock head, Networks trusted) except -1
    cdef int _read_addresses(self, bytes value, Networks trusted) except -1
    cdef int _read_forwarded(self, list elements, Networks trusted) except -1
    cdef bint _take(self, const char* text, size_t size, IpAddress* ip) except -1


# The caller has made sure that the connection's peer is trusted.
cdef Forwarded read_forwarded(HeaderBlock head, Proxies proxies)

# A path as root_path and X-Forwarded-Prefix name it, without a slash at its end; None when it is malformed.
cpdef str clean_prefix(str path)
