"""An HTTP/1 connection as the carrier of one exchange after the other."""

from libc.stdint cimport int64_t

from fastnet_ext.core.flag cimport flag
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.http1.reader cimport Reader
from fastnet_ext.exchange.limits cimport Limit
from fastnet_ext.net.connection cimport Carrier
from fastnet_ext.net.progress cimport Progress


cdef enum BodyFraming:
    FRAMING_NONE        # no body is sent: HEAD, 204, 304
    FRAMING_LENGTH      # Content-Length said how much
    FRAMING_CHUNKED
    FRAMING_CLOSE       # the end of the connection ends it (HTTP/1.0)
    FRAMING_TUNNEL      # bytes of another protocol


cdef extern from *:
    ctypedef BodyFraming BodyFramingByte "uint8_t"  # see core/flag.pxd


cdef class Http1Carrier(Carrier):
    """Answers leave in the order of the requests, since the next one is read after the one before."""

    cdef Reader reader
    # The exchange being answered or read; None between requests. Its place is freed when its
    # answer has ended and its request is read to the end.
    cdef Http1Exchange current
    cdef flag request_read      # the current request was read to its end
    cdef flag tunnel            # an upgrade handed the bytes over to current.responder

    cdef int _begin(self) except -1
    cdef int _refuse(self) except -1
    cdef int _disconnected(self) except -1
    cdef int _exchange_done(self) except -1
    cdef int _next_request(self) except -1
    cdef int _wait_for_body(self) except -1
    cdef int _body_late(self, Limit which, double value) except -1
    cdef int _receive_tunnel(self, char* data, size_t size, size_t* consumed) except -1


cdef class Http1Exchange(Exchange):
    cdef Http1Carrier carrier
    cdef flag keep_alive            # of the request, and still true after the answer's head
    cdef BodyFramingByte framing
    cdef int64_t announced          # bytes that Content-Length promised, -1
    cdef Progress reading           # of its body

    cdef int _write_head(self, ResponseHead head, int64_t length, Py_ssize_t room) except -1
    cdef int64_t _unread(self) noexcept
    cdef int _done(self) except -1
