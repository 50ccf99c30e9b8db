"""What a new connection may speak: the one place that knows every carrier."""

from fastnet_ext.net.service cimport Negotiator


cdef class OnePort(Negotiator):
    """HTTP/1 and HTTP/2 on one port: by ALPN, or by the first bytes."""

    # What is spoken; at least one of them.
    cdef readonly bint http1
    cdef readonly bint http2
