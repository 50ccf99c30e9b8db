# cython: freethreading_compatible=True
"""The seam between what carries a request and what answers it; exchange.pxd is the map."""

from cpython.object cimport PyObject
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from fastnet_ext.compression.codecs import CODINGS
from fastnet_ext.compression.codecs cimport Decompressor
from fastnet_ext.compression.errors import DecompressedTooLarge, DecompressionError, MissingLibrary, UnknownCoding
from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_free, buffer_init
from fastnet_ext.core.debug cimport DEBUG, LIVE_EXCHANGE, born, died, invariant
from fastnet_ext.core.headers cimport HEADER_CONTENT_ENCODING, Field, Span
from fastnet_ext.core.scan cimport hex_digit
from fastnet_ext.exchange.limits cimport LIMIT_BODY, Limit
from fastnet_ext.exchange.errors import ClientDisconnect, InvalidBody, PayloadTooLarge, RequestTimeout, UnsupportedCoding
from fastnet_ext.proxy.forwarded cimport Forwarded, Proxies, read_forwarded
from fastnet_ext.proxy.networks cimport IpAddress, ip_is_v4, parse_ip
from fastnet_ext.proxy.protocol cimport ProxyHeader


cdef extern from "Python.h":
    # As references of our own: a bytes object may only be written to while nobody else has seen it.
    PyObject* new_bytes "PyBytes_FromStringAndSize" (const char* data, Py_ssize_t size) except NULL
    char* bytes_data "PyBytes_AS_STRING" (PyObject* object) noexcept
    Py_ssize_t bytes_room "PyBytes_GET_SIZE" (PyObject* object) noexcept
    int resize_bytes "_PyBytes_Resize" (PyObject** object, Py_ssize_t size) except -1
    void Py_CLEAR(PyObject* object) noexcept


cdef class LoopLocal:
    """What the code that answers may use of one event loop."""

    def __init__(self, loop, executor=None):
        self.loop = loop
        self.executor = executor
        self.overdue_threads = []

    def __dealloc__(self):
        buffer_free(&self.spare)


cdef class ConnectionInfo:
    def __cinit__(self):
        self.peer_trusted = -1

    cdef object extra(self, str name):
        return None

    cdef object peer_name(self):
        if self.proxy_header is not None and self.proxy_header.source is not None:
            return self.proxy_header.source
        return self.extra("peername")

    cdef bint trusts_peer(self) except -1:
        if self.proxies is None:
            return False
        if self.peer_trusted < 0:
            self.peer_trusted = self.proxies.trusted.has_peer(self.peer_name())
        return self.peer_trusted

    cdef bytes peer_key(self):
        if self._peer_key is None:
            peer = self.peer_name()
            # Unix sockets have paths or nothing: all of their peers are one client.
            self._peer_key = address_key(peer[0], CLIENT_PREFIX) if isinstance(peer, tuple) and peer else b""
        return self._peer_key

    cdef int over_limit(self, Limit which, double value, int cutoff) except -1:
        return 0

    cdef bytes peer_text(self):
        if self._peer_text is None:
            peer = self.peer_name()
            # Addresses of link-local IPv6 may name their interface; Unix sockets have paths or nothing.
            text = str(peer[0]) if isinstance(peer, (tuple, list)) and len(peer) >= 2 else "-"
            self._peer_text = text.encode("ascii", "replace")
        return self._peer_text


cdef class Responder:
    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1:
        return 0

    cdef int on_end(self, Exchange x) except -1:
        return 0

    cdef int on_gone(self, Exchange x, int why) except -1:
        return 0

    cdef int on_writable(self, Exchange x) except -1:
        return 0

    cdef int on_message(self, Exchange x, object message) except -1:
        return 0

    cdef int on_close(self, Exchange x, int code, str reason) except -1:
        return 0

    cdef int on_drain(self, Exchange x) except -1:
        return 0

    cdef int on_sweep(self, Exchange x, double elapsed, double keepalive) except -1:
        return 0


cdef class Guard:
    cdef Admission admit(self, Exchange x) except *:
        return ADMITTED

    cdef int release(self, Exchange x) except -1:
        return 0

    cdef int leave(self, Exchange x) except -1:
        return 0


cdef class Admitter:
    cdef int go_on(self, Exchange x) except -1:
        raise NotImplementedError


cdef class Observer:
    cdef int on_begin(self, Exchange x) except -1:
        return 0

    cdef int on_done(self, Exchange x) except -1:
        return 0

    cdef int on_refused(self, ConnectionInfo connection, int status) except -1:
        return 0


cdef class Endpoint:
    def __cinit__(self):
        self.body_mode = BODY_IGNORE

    cdef int start(self, Exchange x) except -1:
        raise NotImplementedError(f"{type(self).__name__} does not say how it starts")


cdef class Route:
    """One entry of the routing table.

    ``max_body`` is in bytes, and so is ``max_decompressed``, what a body with a Content-Encoding may become: below 0 it
    is left as it is. ``timeout`` (seconds until the answer begins), ``timeout_body`` (seconds
    of silence in a request's body) and ``rate_body`` (its bytes a second) are the listener's when they
    are below 0, and none at 0. ``on_error(request, exception)`` returns a ``Response`` or a coroutine of
    one.
    """

    def __init__(
        self, Endpoint endpoint, *, str path="", methods=(), param_names=(), guards=(), max_body=1024 * 1024,
        max_decompressed=-1, double timeout=-1, double timeout_body=-1, double rate_body=-1, bint cancel_on_disconnect=False,
        handler=None, on_error=None, app=None,
    ):
        self.endpoint = endpoint
        self.path = path
        self.methods = tuple(methods)
        self.param_names = tuple(param_names)
        self.guards = tuple(guards)
        self.max_body = max_body
        self.max_decompressed = max_decompressed
        self.timeout = timeout
        self.timeout_body = timeout_body
        self.rate_body = rate_body
        self.cancel_on_disconnect = cancel_on_disconnect
        self.handler = handler
        self.on_error = on_error
        self.app = app

    def __repr__(self):
        return f"<Route {' '.join(self.methods)} {self.path}>"


cdef class Exchange:
    def __cinit__(self):
        self.content_length = -1
        self.outcome = -1
        self.params = self.few_params
        self.param_count = 0
        self.path = Span(0, 0)
        born(LIVE_EXCHANGE)

    def __dealloc__(self):
        if self.connection is not None:
            self.connection.kept -= self.body_size
        Py_CLEAR(self.body_waiting)
        if self.params != self.few_params:
            free(self.params)
        died(LIVE_EXCHANGE)

    cdef int keep_params(self, const Span* params, uint32_t count) except -1:
        if count > FEW_PARAMS:
            self.params = <Span*>malloc(count * sizeof(Span))
            if self.params is NULL:
                self.params = self.few_params
                raise MemoryError()
        memcpy(self.params, params, count * sizeof(Span))
        self.param_count = count
        return 0

    cdef int observe(self, tuple observers) except -1:
        cdef Observer observer
        self.observers = observers
        for observer in observers:
            observer.on_begin(self)
        return 0

    # --- the request's body

    cdef int feed(self, char* data, Py_ssize_t size) except -1:
        cdef Responder responder
        if DEBUG:
            # A carrier feeds nothing behind the end of a body, and no more than was announced; a tunnel has neither.
            invariant(not self.body_complete or self.body_mode == BODY_STREAM)
            invariant(
                self.content_length < 0 or self.body_mode == BODY_STREAM
                or self.body_received + size <= self.content_length
            )
        self.body_received += size
        if self.body_mode == BODY_IGNORE or self.body_error is not None or self.ended:
            return 0
        if self.route is not None and self.body_received > self.route.max_body and self.body_mode != BODY_STREAM:
            self.connection.over_limit(LIMIT_BODY, <double>self.route.max_body, 413)
            self._fail_body(PayloadTooLarge(self.route.max_body))
            return 0
        if self.body_mode == BODY_STREAM:
            responder = self.responder
            if responder is not None:
                responder.on_data(self, data, size)
            return 0
        if self.decoder is not None:
            self._decode(data, size)
        elif size:
            self._keep_body(data, size)
        if self.body_waiter is not None:
            self._wake_reader()
        elif not self.collecting and self.body_size > BODY_HIGH_WATER and not self.body_paused:
            self.body_paused = True
            self.pause_body()
        return 0

    cdef int feed_end(self) except -1:
        cdef Responder responder = self.responder
        if self.body_complete:
            return 0
        if self.decoder is not None and self.body_error is None and self.body_received:
            try:
                self.decoder.close()
            except DecompressionError as error:
                self._fail_body(InvalidBody(f"the body's Content-Encoding: {error}"))
        self.body_complete = True
        if self.body_waiter is not None:
            self._wake_reader()
        if self.body_mode == BODY_WHOLE and not self.started:
            return self.ready()
        if responder is not None and not self.ended:
            responder.on_end(self)
        return 0

    cdef int ready(self) except -1:
        cdef LoopLocal local = self.connection.local
        if self.started or self.gone or self.ended or self.waits_for is not None:
            return 0
        if self.body_mode == BODY_WHOLE and not self.body_complete and self.body_error is None:
            self.want_body()
            return 0
        self.started = True
        if local is None:
            return self.route.endpoint.start(self)
        local.starting = self
        try:
            self.route.endpoint.start(self)
        finally:
            local.starting = None
        return 0

    cdef int _fail_body(self, object error) except -1:
        """The body cannot be had any more: whoever waits for it, or would start with it, is told."""
        if self.body_error is None and not self.body_complete:
            self.body_error = error
        if self.body_waiter is not None:
            self._wake_reader()
        if self.body_mode == BODY_WHOLE and not self.started and not self.gone:
            return self.ready()
        return 0

    cdef int _wake_reader(self) except -1:
        waiter, self.body_waiter = self.body_waiter, None
        if not waiter.done():
            waiter.set_result(None)
        return 0

    cdef int _keep_body(self, const char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t needed = self.body_size + size
        if self.body_waiting is NULL:
            # Most bodies, and most pieces of large ones, come in one: no room then.
            self.body_waiting = new_bytes(NULL, size)
        elif needed > bytes_room(self.body_waiting):
            try:
                resize_bytes(&self.body_waiting, max(needed, 2 * bytes_room(self.body_waiting)))
            except MemoryError:
                # Nothing is left of it.
                self.connection.kept -= self.body_size
                self.body_size = 0
                raise
        memcpy(bytes_data(self.body_waiting) + self.body_size, data, size)
        self.body_size = needed
        self.connection.kept += size
        return 0

    cdef int decode_body(self) except -1:
        cdef const Field* field = self.head.find(HEADER_CONTENT_ENCODING)
        cdef str coding
        if field is NULL:
            return 0
        # Several are legal, and nobody sends them.
        coding = self.head.joined(HEADER_CONTENT_ENCODING).strip().lower()
        if coding == "" or coding == "identity":
            return 0
        try:
            self.decoder = Decompressor(
                "gzip" if coding == "x-gzip" else coding, max_size=self.route.max_decompressed
            )
        except (UnknownCoding, MissingLibrary):
            # Told to whoever reads it: guards are asked before.
            self.body_error = UnsupportedCoding(coding, CODINGS)
        return 0

    cdef int _decode(self, const char* data, Py_ssize_t size) except -1:
        cdef bytes decoded
        try:
            decoded = self.decoder.piece(PyBytes_FromStringAndSize(data, size))
        except DecompressedTooLarge as error:
            self.connection.over_limit(LIMIT_BODY, <double>error.max_size, 413)
            return self._fail_body(PayloadTooLarge(error.max_size))
        except DecompressionError as error:
            return self._fail_body(InvalidBody(f"the body's Content-Encoding: {error}"))
        if decoded:
            self._keep_body(PyBytes_AS_STRING(decoded), PyBytes_GET_SIZE(decoded))
        return 0

    cdef bytes _take_waiting(self):
        cdef bytes taken = b""
        cdef Py_ssize_t size = self.body_size
        if self.body_waiting is not NULL:
            self.connection.kept -= size
            self.body_size = 0
            if bytes_room(self.body_waiting) != size:
                resize_bytes(&self.body_waiting, size)
            taken = <bytes>self.body_waiting
            Py_CLEAR(self.body_waiting)
        return taken

    cdef bytes take_body(self):
        if self.body is None:
            self.body = self._take_waiting()
        return self.body

    cdef bytes take_chunk(self):
        cdef bytes chunk = self._take_waiting()
        if self.body_paused:
            self.body_paused = False
            self.resume_body()
        return chunk

    cdef int want_body(self) except -1:
        if self.body_paused:
            self.body_paused = False
            return self.resume_body()
        return 0

    # --- the end

    cdef int fail(self, Gone why) except -1:
        cdef Responder responder
        if self.gone or self.ended:
            return 0
        self.gone = why
        self._fail_body(RequestTimeout() if why == GONE_DEADLINE else ClientDisconnect())
        if self.drain_waiter is not None:
            self._wake_writer()
        responder, self.responder = self.responder, None
        if responder is not None:
            responder.on_gone(self, why)
        if not self.started:
            self.finish()
        return 0

    cdef int writable(self) except -1:
        if self.drain_waiter is not None:
            self._wake_writer()
        cdef Responder responder = self.responder
        if responder is not None:
            responder.on_writable(self)
        return 0

    cdef int _wake_writer(self) except -1:
        waiter, self.drain_waiter = self.drain_waiter, None
        if not waiter.done():
            waiter.set_result(None)
        return 0

    cdef int finish(self) except -1:
        """Give back what the exchange holds: once, however often it is called."""
        cdef uint32_t i
        cdef Observer observer
        cdef Guard guard
        if self.finished:
            return 0
        if DEBUG:
            # An answer that is complete has begun; guards are owed only by those that admitted.
            invariant(not self.ended or self.status != 0)
            invariant(self.guards_held == 0 or self.guards_held <= <uint32_t>len(self.route.guards))
        self.finished = True
        if self.waits_for is not None:
            self.waits_for.leave(self)
        if self.held:
            self.connection.kept -= self.held
            self.held = 0
        if self.route is not None:
            for i in range(self.guards_held):
                guard = <Guard>self.route.guards[i]
                guard.release(self)
            self.guards_held = 0
        if self.gate is not None:
            guard, self.gate = self.gate, None
            guard.release(self)
        if self.observers is not None:
            for observer in self.observers:
                observer.on_done(self)
        self.responder = None
        self.request = None
        if not self.call_stays:
            self.call = None
        self.task = None
        # Tracebacks hold the frames that hold the request.
        self.body_error = self.refusal = None
        return 0

    # --- implemented by carriers

    cdef int respond(self, ResponseHead head, const char* data, Py_ssize_t size, object owner) except -1:
        raise NotImplementedError

    cdef int send_head(self, ResponseHead head, int64_t content_length) except -1:
        raise NotImplementedError

    cdef int send_info(self, ResponseHead head) except -1:
        raise NotImplementedError

    cdef int send_data(self, const char* data, Py_ssize_t size, object owner) except -1:
        raise NotImplementedError

    cdef int end(self, list trailers) except -1:
        raise NotImplementedError

    cdef int open_tunnel(self, ResponseHead head) except -1:
        raise NotImplementedError

    cdef int send_message(self, bint text, const char* data, Py_ssize_t size, object owner) except -1:
        raise NotImplementedError

    cdef int send_close(self, int code, str reason) except -1:
        raise NotImplementedError

    cdef int abort(self, int code) except -1:
        raise NotImplementedError

    cdef int pause_body(self) except -1:
        return 0

    cdef int resume_body(self) except -1:
        return 0

    cdef int flush(self) except -1:
        return 0

    # --- proxies in front

    cdef Forwarded forwarded(self):
        if self._forwarded is None and self.connection.trusts_peer():
            self._forwarded = read_forwarded(self.head, self.connection.proxies)
        return self._forwarded

    cdef int enter_root(self) except -1:
        cdef bytes root = self.connection.proxies.root
        cdef uint32_t size = <uint32_t>len(root)
        cdef const char* path = self.head.arena + self.path.offset
        if size == 0 or self.path.size < size or memcmp(path, <const char*>root, size) != 0:
            return 0
        if self.path.size == size:
            # "/api" is "/" below "/api": the slash that it begins with serves as one.
            self.path.size = 1
        elif path[size] == b"/":
            self.path.offset += size
            self.path.size -= size
        return 0

    # --- Python views

    cdef str param(self, uint32_t index):
        return decode_percent(self.head.arena + self.params[index].offset, self.params[index].size)

    cdef str path_text(self):
        return decode_percent(self.head.arena + self.path.offset, self.path.size)


cdef str decode_percent(const char* data, Py_ssize_t size):
    """Percent-decoded text; what is no UTF-8 becomes U+FFFD, a stray percent sign stays."""
    cdef Buffer out
    cdef Py_ssize_t i = 0, start = 0
    cdef int high, low
    cdef char byte
    while i < size and data[i] != b"%":
        i += 1
    if i == size:
        return PyUnicode_DecodeUTF8(data, size, "replace")
    buffer_init(&out)
    try:
        i = 0
        while i < size:
            if data[i] == b"%" and i + 2 < size:
                high = hex_digit(data[i + 1])
                low = hex_digit(data[i + 2])
                if high >= 0 and low >= 0:
                    byte = <char>(high * 16 + low)
                    if buffer_append(&out, data + start, i - start) < 0 or buffer_append(&out, &byte, 1) < 0:
                        raise MemoryError()
                    i += 3
                    start = i
                    continue
            i += 1
        if buffer_append(&out, data + start, size - start) < 0:
            raise MemoryError()
        return PyUnicode_DecodeUTF8(out.data, out.size, "replace")
    finally:
        buffer_free(&out)


cdef bytes address_key(str host, unsigned prefix):
    cdef IpAddress ip
    cdef Py_ssize_t size = 0
    cdef const char* text
    cdef unsigned i
    # Link-local peers come with their scope: fe80::1%eth0.
    host = host.partition("%")[0] if "%" in host else host
    text = PyUnicode_AsUTF8AndSize(host, &size)
    if not parse_ip(text, size, &ip):
        return b""
    if not ip_is_v4(&ip):
        for i in range(prefix, 128):
            ip.bytes[i // 8] &= ~(0x80 >> i % 8)
    return PyBytes_FromStringAndSize(<const char*>ip.bytes, 16)
