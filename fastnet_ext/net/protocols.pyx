# cython: freethreading_compatible=True
"""What a new connection may speak: the one place that knows every carrier."""

cimport cython
from libc.string cimport memcmp

from fastnet_ext.net.connection cimport Connection
from fastnet_ext.net.http1 cimport Http1Carrier
from fastnet_ext.net.http2 cimport Http2Carrier
from fastnet_ext.net.loop_state cimport Member
from fastnet_ext.net.service cimport Negotiator

# The first line that a client with prior knowledge of HTTP/2 sends: RFC 9113, 3.4.
cdef bytes PREFACE_LINE = b"PRI * HTTP/2.0\r\n"


@cython.final
cdef class OnePort(Negotiator):
    """HTTP/1 and HTTP/2 on one port: by ALPN, or by the first bytes. ``protocols`` are ALPN's names of what is spoken."""

    def __init__(self, protocols=("h2", "http/1.1")):
        self.http1 = "http/1.1" in protocols
        self.http2 = "h2" in protocols
        if not self.http1 and not self.http2:
            raise ValueError("a port has to speak h2, http/1.1 or both")

    cdef object by_bytes(self, Member connection, const char* data, size_t size):
        cdef size_t known = min(size, <size_t>len(PREFACE_LINE))
        # Alone, each refuses by itself what is not its own.
        if not self.http1:
            return Http2Carrier(<Connection>connection)
        if not self.http2 or memcmp(data, <const char*>PREFACE_LINE, known) != 0:
            return Http1Carrier(<Connection>connection)
        if known < <size_t>len(PREFACE_LINE):
            return None
        return Http2Carrier(<Connection>connection)

    cdef object by_alpn(self, Member connection, object protocol):
        if protocol == "h2":
            return Http2Carrier(<Connection>connection)
        if protocol == "http/1.1":
            return Http1Carrier(<Connection>connection)
        return None
