"""What the connections of one listener serve, what limits them, and who chooses what they speak."""

from fastnet_ext.http1.reader cimport Limits as Http1Limits
from fastnet_ext.http2.limits cimport Limits as Http2Limits
from fastnet_ext.net.loop_state cimport Member
from fastnet_ext.net.tls cimport TlsSource
from fastnet_ext.proxy.forwarded cimport Proxies
from fastnet_ext.serve.dispatch cimport Dispatcher


cdef class Negotiator:
    """Chooses the Carrier of a new Connection; see connection.pxd for both."""

    # By the first bytes; None when more of them are needed.
    cdef object by_bytes(self, Member connection, const char* data, size_t size)
    # By the protocol that TLS agreed on; None leaves it to the bytes.
    cdef object by_alpn(self, Member connection, object protocol)


cdef class Service:
    """All constant."""

    cdef readonly str name              # of the listener, for the log
    cdef readonly bint silent           # its log has no lines about limits

    cdef readonly Dispatcher dispatcher
    cdef readonly Negotiator negotiator
    cdef readonly Http1Limits http1
    cdef readonly Http2Limits http2
    cdef readonly TlsSource tls         # None: the port is not encrypted
    cdef readonly Proxies proxies       # in front of the listener; None when nothing is known of any
    cdef readonly bint trace            # write what connections say to the log "fastnet.wire"
    cdef readonly tuple observers       # of its requests; None when there are none
    # Seconds; what was given as 0 is infinite.
    cdef readonly double idle_timeout
    cdef readonly double head_timeout
    cdef readonly double body_timeout
    cdef readonly double write_timeout
    cdef readonly double handler_timeout
    cdef readonly double linger_timeout
    cdef readonly double tls_timeout
    # HTTP/2: silence of a peer with open streams until it is pinged, and the time it has to say anything then; how old
    # a connection may become, and how long its streams may go on after that.
    cdef readonly double keepalive_time
    cdef readonly double keepalive_timeout
    cdef readonly double websocket_keepalive    # the same silence of a WebSocket's peer
    cdef readonly double connection_age
    cdef readonly double connection_age_grace
    cdef readonly double queue_time     # 0: requests do not wait for their turn
    # Bytes a second; 0: none.
    cdef readonly double body_rate
    cdef readonly double write_rate
    # Open connections of the loop, and of one address; 0: none.
    cdef readonly Py_ssize_t connections
    cdef readonly Py_ssize_t connections_per_address
