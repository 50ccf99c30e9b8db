# cython: freethreading_compatible=True
"""What the connections of one listener serve, and what limits them; service.pxd is the map."""

cimport cython
from libc.math cimport INFINITY

from fastnet_ext.http1.reader cimport Limits as Http1Limits
from fastnet_ext.http2.limits cimport Limits as Http2Limits
from fastnet_ext.net.loop_state cimport Member
from fastnet_ext.net.tls cimport TlsSource
from fastnet_ext.proxy.forwarded cimport Proxies
from fastnet_ext.serve.dispatch cimport Dispatcher


cdef class Negotiator:
    cdef object by_bytes(self, Member connection, const char* data, size_t size):
        raise NotImplementedError

    cdef object by_alpn(self, Member connection, object protocol):
        return None


@cython.final
cdef class Service:
    """What the connections of a listener called ``name`` serve.

    Timeouts are in seconds, rates in bytes a second, ``connections`` and ``connections_per_address`` count
    open ones; 0 is no limit. ``queue_time`` is how long a request may wait for its turn, 0 not at all.
    ``silent``: the log says nothing of whom the limits cut off.
    """

    def __init__(
        self, Dispatcher dispatcher, Negotiator negotiator, Http1Limits http1=None, Http2Limits http2=None, *,
        str name="main", bint silent=False, double idle_timeout=75, double head_timeout=10, double body_timeout=30,
        double write_timeout=30, double handler_timeout=60, double linger_timeout=2, double queue_time=5,
        double body_rate=240, double write_rate=240, Py_ssize_t connections=0, Py_ssize_t connections_per_address=0,
        double keepalive_time=0, double keepalive_timeout=20, double websocket_keepalive=20,
        double connection_age=0, double connection_age_grace=0,
        Proxies proxies=None, TlsSource tls=None, double tls_timeout=10, bint trace=False, observers=(),
    ):
        self.name = name
        self.silent = silent
        self.dispatcher = dispatcher
        self.negotiator = negotiator
        self.http1 = http1 if http1 is not None else Http1Limits()
        self.http2 = http2 if http2 is not None else Http2Limits()
        self.proxies = proxies
        self.trace = trace
        self.observers = tuple(observers) or None
        self.idle_timeout = idle_timeout or INFINITY
        self.head_timeout = head_timeout or INFINITY
        self.body_timeout = body_timeout or INFINITY
        self.write_timeout = write_timeout or INFINITY
        self.handler_timeout = handler_timeout or INFINITY
        self.keepalive_time = keepalive_time or INFINITY
        self.keepalive_timeout = keepalive_timeout or INFINITY
        self.websocket_keepalive = websocket_keepalive or INFINITY
        self.connection_age = connection_age or INFINITY
        self.connection_age_grace = connection_age_grace or INFINITY
        self.linger_timeout = linger_timeout
        self.tls = tls
        self.tls_timeout = tls_timeout
        self.queue_time = queue_time
        self.body_rate = body_rate
        self.write_rate = write_rate
        self.connections = connections
        self.connections_per_address = connections_per_address
