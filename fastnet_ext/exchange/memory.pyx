# cython: freethreading_compatible=True
"""A carrier in memory: what tests and in-process clients use in place of a socket."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr

from fastnet_ext.core.headers cimport METHOD_HEAD, HeaderBlock, Span, find_method
from fastnet_ext.exchange.exchange cimport GONE_PEER, MAX_PARAMS, ConnectionInfo, Exchange, LoopLocal, Route
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.proxy.forwarded cimport Proxies


@cython.final
cdef class MemoryConnection(ConnectionInfo):
    """A connection without a socket; ``extras`` answers ``get_extra_info``."""

    def __init__(self, LoopLocal local, extras=None, bint secure=False, *, Proxies proxies=None):
        self.proxies = proxies
        self.local = local
        self.extras = dict(extras or {})
        self.secure = secure

    cdef object extra(self, str name):
        return self.extras.get(name)


@cython.final
cdef class MemoryExchange(Exchange):
    """One request from Python values; its answer is kept in ``status``, ``fields`` and ``content``.

    ``route`` and ``params`` (raw, still percent-encoded values in the route's order) stand for
    what the dispatcher would have found.
    """

    def __init__(
        self, str method="GET", str target="/", headers=(), bytes body=b"", *, Route route=None, params=(),
        LoopLocal local=None, MemoryConnection connection=None, int version=11,
    ):
        cdef bytes raw_method = method.encode("ascii")
        cdef bytes raw_target = target.encode("utf-8")
        cdef bytes raw
        cdef const char* mark
        cdef Span span
        cdef Span spans[MAX_PARAMS]
        cdef HeaderBlock head = HeaderBlock(headers)
        cdef uint32_t i, count = 0
        head.store(PyBytes_AS_STRING(raw_method), <uint32_t>len(raw_method), &head.method_name)
        head.store(PyBytes_AS_STRING(raw_target), <uint32_t>len(raw_target), &head.target)
        head.method = find_method(PyBytes_AS_STRING(raw_method), len(raw_method))
        self.head = head
        self.version = version
        self.is_head = head.method == METHOD_HEAD
        self.path = head.target
        mark = <const char*>memchr(head.at(head.target), b"?", head.target.size)
        if mark is not NULL:
            self.path.size = <uint32_t>(mark - head.at(head.target))
            self.query_size = head.target.size - self.path.size - 1
        for i, value in enumerate(params):
            raw = value.encode("utf-8") if isinstance(value, str) else value
            head.store(PyBytes_AS_STRING(raw), <uint32_t>len(raw), &span)
            spans[i] = span
            count = i + 1
        self.keep_params(spans, count)
        self.route = route
        if route is not None:
            self.body_mode = route.endpoint.body_mode
        self.connection = connection if connection is not None else MemoryConnection(local)
        self.content_length = len(body)
        self.answer_body = bytearray()
        self.announced_length = -1
        self.aborted_with = -1
        self.body = body
        self.body_complete = True

    # --- what a test does

    @classmethod
    def streaming(cls, str method="POST", str target="/", headers=(), **options):
        """An exchange whose body comes by ``push`` and ends by ``push_end``."""
        cdef MemoryExchange x = cls(method, target, headers, **options)
        x.body = None
        x.body_complete = False
        x.content_length = -1
        # Without a route there is no endpoint to start: whoever made it plays the handler.
        x.started = x.route is None
        return x

    def run(self):
        """Start the endpoint, as a carrier does once the body at hand is fed."""
        self.ready()

    def push(self, bytes data):
        # Writable memory of our own: a session unmasks in place, and bytes of one byte are shared by all.
        cdef bytearray copy = bytearray(data)
        self.feed(PyByteArray_AS_STRING(copy), PyByteArray_GET_SIZE(copy))

    def push_end(self):
        self.feed_end()

    def disconnect(self):
        """The peer is gone."""
        self.fail(GONE_PEER)

    def drain(self):
        """The slow peer has read everything."""
        self.slow = False
        self.writable()

    @property
    def fields(self):
        """The answer's header fields, a list of (name, value) bytes; None before the head."""
        return None if self.answer_head is None else (<ResponseHead>self.answer_head).fields + (self.more_fields or [])

    @property
    def answer_status(self):
        return self.status

    @property
    def content(self):
        return bytes(self.answer_body)

    @property
    def is_finished(self):
        """The exchange has given back what it held: guards, observers, references."""
        return self.finished

    @property
    def paused(self):
        """The peer was asked to send no more of the body for now."""
        return self.body_paused

    @property
    def complete(self):
        return self.ended

    # --- Exchange

    cdef int respond(self, ResponseHead head, const char* data, Py_ssize_t size, object owner) except -1:
        self.send_head(head, size)
        self.send_data(data, size, owner)
        return self.end(None)

    cdef int send_head(self, ResponseHead head, int64_t content_length) except -1:
        if self.status:
            raise RuntimeError("the head of this answer was sent before")
        self.status = head.status
        self.answer_head = head
        self.announced_length = content_length
        return 0

    cdef int send_info(self, ResponseHead head) except -1:
        return 0

    cdef int send_data(self, const char* data, Py_ssize_t size, object owner) except -1:
        if self.gone:
            return 1
        self.answer_body += PyBytes_FromStringAndSize(data, size)
        self.bytes_sent += size
        return 0 if self.slow else 1

    cdef int end(self, list trailers) except -1:
        if self.ended or self.gone:
            return 0
        self.answer_trailers = trailers
        self.ended = True
        self.finish()
        return 0

    cdef int open_tunnel(self, ResponseHead head) except -1:
        self.send_head(head, -1)
        self.tunnel = True
        return 0

    cdef int abort(self, int code) except -1:
        self.aborted_with = code
        self.fail(GONE_PEER)
        return 0
