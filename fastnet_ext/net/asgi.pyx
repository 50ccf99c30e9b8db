# cython: freethreading_compatible=True
"""Carries exchanges over the calls of an ASGI server; asgi.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint64_t

import asyncio
from collections import deque
from http import HTTPStatus

import orjson

from fastnet_ext.core.headers cimport HEADER_CONTENT_TYPE, Field, HeaderBlock
from fastnet_ext.exchange.describe cimport describe
from fastnet_ext.exchange.errors import RequestTimeout
from fastnet_ext.exchange.exchange cimport (
    BODY_LATE, BODY_STREAM, BODY_WHOLE, GONE_ABORTED, GONE_NOT, GONE_PEER, GONE_PROTOCOL, GONE_SHUTDOWN, Exchange, Gone,
    LoopLocal, Responder,
)
from fastnet_ext.exchange.head cimport ResponseHead, status_has_body
from fastnet_ext.exchange.limits cimport LIMIT_BODY_RATE, LIMIT_BODY_TIME, Limit
from fastnet_ext.exchange.values import State
from fastnet_ext.net.asgi_errors import AnswerAborted, MalformedRequest, MessageError
from fastnet_ext.net.asgi_scope cimport read_root, read_scope
from fastnet_ext.net.asgi_tls import tls_of_scope
from fastnet_ext.net.deadlines cimport look_at_answer
from fastnet_ext.net.loop_state cimport LoopState, Member
from fastnet_ext.net.progress cimport PACE_FINE, PACE_SILENT, Pace, progress_look
from fastnet_ext.proxy.forwarded cimport Proxies
from fastnet_ext.serve.dispatch cimport Dispatcher
from fastnet_ext.serve.runner cimport AsyncEndpoint, Runner, RunnerPool, context_on


cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

__all__ = ["AsgiConnection", "AsgiExchange", "AsgiService", "HostedPool", "carry"]

# Ends a body in the queue.
cdef object END = object()

cdef enum:
    # RFC 6455, 7.4.1: no code in the Close frame; no Close frame; what a refusal is where the server cannot say more.
    NO_STATUS = 1005
    ABNORMAL_CLOSURE = 1006
    POLICY_VIOLATION = 1008

# INTERNAL_ERROR of RFC 9113, 7.
cdef int INTERNAL_ERROR = 2

# gRPC's UNIMPLEMENTED as an answer without messages: the spec calls it Trailers-Only, so that a server without trailers
# can give it.
cdef ResponseHead GRPC_REFUSAL = ResponseHead(200, [
    (b"content-type", b"application/grpc"),
    (b"grpc-status", b"12"),
    (b"grpc-message", b"gRPC needs the server of fastnet itself: start the application with `fastnet run`"),
])


@cython.final
cdef class HostedPool(RunnerPool):
    """Runs each handler in a Task of its own, with the context variables of the server's Task."""

    cdef Runner run(self, AsyncEndpoint endpoint, Exchange x, object coroutine):
        cdef AsgiExchange call = <AsgiExchange>x
        cdef Runner runner = self._spawn(endpoint, x, coroutine, call.context)
        call.jobs.append(runner.task)
        call.watched = False
        return runner

    cdef int start_together(self, AsyncEndpoint endpoint, Exchange x) except -1:
        # The server brings one call at a time, and its Task waits for what it starts.
        return endpoint.start_now(x)


@cython.final
cdef class AsgiService:
    """``AsgiService(dispatcher, loop, executor)``: made once per event loop by whoever serves on it.

    Times are seconds, 0 for none: ``handler_timeout`` until an answer begins, ``body_timeout`` of silence in a body,
    ``queue_time`` that a request may wait for its turn. ``body_rate``: the bytes a second that a body must bring.
    ``sweep_interval``: how often deadlines are looked at.
    """

    def __init__(
        self, Dispatcher dispatcher not None, loop not None, executor=None, *, double handler_timeout=60,
        double body_timeout=30, double queue_time=5, double body_rate=240, double sweep_interval=1.0,
    ):
        self.dispatcher = dispatcher
        self.state = LoopState(loop, executor, eager=False, sweep_interval=sweep_interval)
        self.state.runners = HostedPool(self.state.local, eager=False)
        self.state.local.runners = self.state.runners
        self.handler_timeout = handler_timeout or INFINITY
        self.body_timeout = body_timeout or INFINITY
        self.queue_time = queue_time
        self.body_rate = body_rate

    cdef AsgiExchange open(self, object scope, object receive, object send, bint websocket):
        """The exchange of a call. Raises ScopeError; a malformed request is answered already."""
        cdef AsgiConnection link = AsgiConnection.__new__(AsgiConnection)
        cdef AsgiExchange x = AsgiExchange.__new__(AsgiExchange)
        cdef LoopState state = self.state
        cdef object extensions = scope.get("extensions") or ()
        cdef object refusal = None
        link.service = self
        link.local = state.local
        link.scope = scope
        link.set_queue_time(self.queue_time)
        link.secure = scope.get("scheme") in ("https", "wss")
        link.proxies = self.root_of(scope)
        x.link = link
        x.connection = link
        x.receive = receive
        x.send = send
        x.websocket = x.wants_websocket = x.carries_messages = websocket
        try:
            read_scope(x, scope, websocket)
        except MalformedRequest as error:
            refusal = error
        x.sends_trailers = "http.response.trailers" in extensions
        x.sends_hints = "http.response.early_hint" in extensions
        x.sends_refusals = "websocket.http.response" in extensions
        x.closes = x.version < 20
        x.began = state.local.loop.time()
        if scope.get("state"):
            x.state = State(scope["state"])
        x.context = context_on(state.local)
        # From here on `_leave` is owed.
        self.calls += 1
        link.number = self.calls
        link.x = x
        # The sweep that this may start is nobody's: it must not keep the caller's context variables.
        PyContext_Enter(state.runners.base_context)
        try:
            state.add(link)
        finally:
            PyContext_Exit(state.runners.base_context)
        state.counts.requests += 1
        state.counts.requests_active += 1
        if refusal is not None:
            state.counts.malformed += 1
            x.started = True
            answer_malformed(x, refusal)
        return x

    cdef Proxies root_of(self, object scope):
        cdef object root = scope.get("root_path", "")
        if root != self.root_scope:
            self.root = read_root(scope)
            self.root_scope = root
        return self.root


cdef int answer_malformed(AsgiExchange x, object error) except -1:
    cdef int status = error.status
    cdef bytes body = orjson.dumps({
        "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": str(error),
    })
    return x.respond(
        ResponseHead(status, [(b"content-type", b"application/problem+json")]), PyBytes_AS_STRING(body), len(body), body
    )


@cython.final
cdef class AsgiConnection(Member):
    cdef object extra(self, str name):
        if name == "peername":
            return address_in(self.scope, "client")
        if name == "sockname":
            return address_in(self.scope, "server")
        return tls_of_scope(self.scope) if name == "tls" else None

    cdef int over_limit(self, Limit which, double value, int cutoff) except -1:
        cdef LoopState state = self.service.state
        return state.limits.add(which, value, cutoff, "asgi", self.peer_name(), False, self.local.loop.time())

    cdef int look(self, double elapsed, double late) except -1:
        cdef AsgiService service = self.service
        cdef AsgiExchange x = self.x
        cdef double timeout, rate
        cdef Pace pace
        if x is None or x.route is None:
            return 0
        if x._owes_body():
            timeout = service.body_timeout if x.route.timeout_body < 0 else x.route.timeout_body or INFINITY
            rate = service.body_rate if x.route.rate_body < 0 else x.route.rate_body
            pace = progress_look(&x.reading, x.body_received, elapsed, timeout, rate, timeout)
            if pace != PACE_FINE:
                service.state.counts.timeouts += 1
                if pace == PACE_SILENT:
                    self.over_limit(LIMIT_BODY_TIME, timeout, 408)
                else:
                    self.over_limit(LIMIT_BODY_RATE, rate, 408)
                x._fail_body(RequestTimeout())
                return x._stop_reading()
        else:
            x.reading.waiting = False
        return look_at_answer(service.state, x, service.dispatcher, service.handler_timeout, elapsed, late)

    # Nothing of it is on the way: the server has the buffers and the socket.

    cdef int flush_tick(self) except -1:
        return 0

    cdef int ease(self) except -1:
        return 0

    cdef int relinquish(self) except -1:
        return 0

    def drain(self):
        """The server stops: whoever goes on for long is told."""
        cdef AsgiExchange x = self.x
        cdef Responder responder = None if x is None else x.responder
        if responder is not None:
            responder.on_drain(x)

    def drain_on(self, int elapsed):
        """Nothing more can be done."""

    def cut(self):
        """End it."""
        cdef AsgiExchange x = self.x
        if x is not None:
            x._cancel()
            x._stop_reading()

    def describe(self):
        """What it is, and the request that it answers, as a dict."""
        return {
            "number": self.number,
            "peer": self.extra("peername"),
            "listener": self.extra("sockname"),
            "protocol": "ASGI",
            "tls": self.secure,
            "requests": [] if self.x is None else [describe(self.x, self.local.loop.time())],
        }


cdef object address_in(object scope, str name):
    """(host, port) of an address in a scope; None where it has none of that form: Unix sockets."""
    cdef object found = scope.get(name)
    cdef object host, port
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        return None
    host, port = found
    if isinstance(port, str) and port.isdecimal():
        port = int(port)    # Granian's are text
    return (host, port) if isinstance(host, str) and host and isinstance(port, int) else None


async def carry(AsgiService service not None, scope, receive, send):
    """One call of ASGI, of the type ``http`` or ``websocket``, from its scope to its end.

    Raises ``ScopeError`` and ``MessageError`` for what the server must not bring, ``AnswerAborted`` when an answer
    cannot be completed, and what ``receive`` and ``send`` raise, but for the ``OSError`` of a peer that is gone.
    Returns when the handler, and what it has left to do after its answer, is done.
    """
    cdef bint websocket = scope["type"] == "websocket"
    cdef bint yielded = False
    cdef object message = None
    cdef AsgiExchange x = service.open(scope, receive, send, websocket)
    try:
        if websocket:
            x._connect(await receive())
        x._enter_and_begin()
        while x._reads_in_place():
            # Nothing can be sent before the body is complete: no Task is needed to read it.
            x.receiving = True
            x.reader = asyncio.current_task()
            try:
                message = await receive()
            except asyncio.CancelledError:
                if not x.interrupted or asyncio.current_task().uncancel() > 0:
                    raise
                # It was our own, and has arrived: what is late is answered. See _stop_reading.
                break
            finally:
                x.reader = None
                x.receiving = False
            x._received_in_place(message)
        while True:
            message = x._next_message()
            if message is not None:
                try:
                    await send(message)
                except OSError:
                    # ASGI 2.4: the peer is gone.
                    x.fail(GONE_PEER)
                x._message_sent()
            elif x._is_over():
                break
            elif not yielded:
                # The handler's Task takes its first step, which may be all there is.
                yielded = True
                await asyncio.sleep(0)
            else:
                x._watch()
                x.wakeup = service.state.local.loop.create_future()
                await x.wakeup
                x.wakeup = None
        if x.failure is not None:
            raise x.failure
        if x.aborted:
            raise AnswerAborted(
                f"the answer to {x.head.text(x.head.method_name)} {x.path_text()} failed midway: "
                "the log fastnet.error says why"
            )
    except asyncio.CancelledError:
        x._cancel()
        raise
    except BaseException:
        x.fail(GONE_PEER)
        raise
    finally:
        x.wakeup = None
        x.queue.clear()
        running = x._running()
        try:
            if running:
                await asyncio.wait(running)
        finally:
            x._leave()


async def _pump(AsgiExchange x):
    """Bring what the server receives, as long as somebody may want it."""
    try:
        while x._pumps():
            if x.input_paused:
                x.resumed = x.link.local.loop.create_future()
                await x.resumed
                x.resumed = None
                continue
            x.receiving = True
            message = await x.receive()
            x.receiving = False
            x._received(message)
    except OSError:
        x.fail(GONE_PEER)
    except Exception as error:
        x._blame(error)
    finally:
        x.receiving = False
        x.resumed = None


@cython.final
cdef class AsgiExchange(Exchange):
    def __cinit__(self):
        self.queue = deque()
        self.jobs = []
        self.announced = -1

    # --- the beginning

    cdef int _enter_and_begin(self) except -1:
        """Guards and `def` handlers run here: in the handler's context as well."""
        PyContext_Enter(self.context)
        try:
            return self._begin()
        finally:
            PyContext_Exit(self.context)

    cdef int _begin(self) except -1:
        cdef AsgiService service = self.link.service
        if self.started or self.gone:
            return 0
        if claims_grpc(self.head) and not self.websocket:
            service.dispatcher._route(self)
            if service.dispatcher.grpc_not_found is not None or not self.route.path:
                self.started = True
                return self.respond(GRPC_REFUSAL, NULL, 0, None)
        service.dispatcher.begin(self)
        if self.content_length == 0:
            self.feed_end()
        if self.body_mode == BODY_WHOLE and not self.body_complete:
            return 0    # see _reads_in_place
        if self._feeds_a_responder():
            self.want_body()
        return self.ready()

    cdef bint _feeds_a_responder(self) noexcept:
        """Whether what answers is given the body as it comes, and may do nothing until it has."""
        return (
            self.body_mode == BODY_STREAM and not self.websocket and self.responder is not None
            and not self.body_complete
        )

    cdef bint _reads_in_place(self) noexcept:
        return (
            self.body_mode == BODY_WHOLE and not self.started and not self.body_complete and self.waits_for is None
            and self.pump is None and not self.gone and not self.ended and self.failure is None
        )

    # --- input

    cdef int _received_in_place(self, object message) except -1:
        PyContext_Enter(self.context)
        try:
            return self._received(message)
        except MessageError as error:
            return self._blame(error)
        finally:
            PyContext_Exit(self.context)

    cdef int _received(self, object message) except -1:
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise MessageError(f"receive() brings a dict with a type, not {type(message).__name__}")
        return self._received_websocket(message) if self.websocket else self._received_http(message)

    cdef int _received_http(self, object message) except -1:
        cdef str kind = message["type"]
        cdef object body = message.get("body", b"")
        cdef bytes content
        if kind == "http.disconnect":
            if not self.ended and not self.gone:
                self.link.service.state.counts.disconnects += 1
            return self.fail(GONE_PEER)
        if kind != "http.request":
            raise MessageError(f"receive() brought {kind!r} to an http scope: it takes http.request and http.disconnect")
        if self.input_ended:
            raise MessageError("receive() brought an http.request after the last one, which had no more_body")
        if not isinstance(body, bytes):
            if not isinstance(body, (bytearray, memoryview)):
                raise MessageError(f"the body of an http.request is bytes, not {type(body).__name__}")
            body = bytes(body)
        content = body
        if self.content_length >= 0 and self.body_received + len(content) > self.content_length:
            raise MessageError(
                f"receive() brought more than the {self.content_length} bytes that Content-Length says"
            )
        if content:
            self.feed(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
        if not message.get("more_body", False):
            if self.body_received < self.content_length:
                raise MessageError(
                    f"receive() brought {self.body_received} bytes, and Content-Length says {self.content_length}"
                )
            self.input_ended = True
            self.feed_end()
        return 0

    cdef int _connect(self, object message) except -1:
        """The first message of a WebSocket."""
        cdef object kind = message.get("type") if isinstance(message, dict) else None
        if kind == "websocket.disconnect":
            return self.fail(GONE_PEER)
        if kind != "websocket.connect":
            raise MessageError(f"a websocket scope begins with websocket.connect, not {kind!r}")
        return 0

    cdef int _received_websocket(self, object message) except -1:
        cdef str kind = message["type"]
        cdef Responder responder = self.responder
        cdef object text, data, code, reason
        if kind == "websocket.receive":
            text = message.get("text")
            data = message.get("bytes")
            if isinstance(data, (bytearray, memoryview)):
                data = bytes(data)
            if isinstance(text, str) == isinstance(data, bytes):
                raise MessageError("a websocket.receive has either a text, a str, or bytes")
            if responder is not None:
                responder.on_message(self, data if text is None else text)
            return 0
        if kind != "websocket.disconnect":
            raise MessageError(
                f"receive() brought {kind!r} to a websocket scope: it takes websocket.receive and websocket.disconnect"
            )
        code = message.get("code")
        reason = message.get("reason")
        if not isinstance(code, int) or not 1000 <= code <= 4999:
            code = NO_STATUS if code is None else ABNORMAL_CLOSURE
        if not self.ended and not self.gone and code == ABNORMAL_CLOSURE:
            self.link.service.state.counts.disconnects += 1
        if responder is None or not self.tunnel:
            self.fail(GONE_PEER)
        else:
            responder.on_close(self, code, reason if isinstance(reason, str) else "")
        return self._wake()

    cdef bint _pumps(self) except -1:
        return not self.gone and not self.ended and self.failure is None and self.body_error is None

    cdef int _stop_reading(self) except -1:
        """Let the server's Task go on if it waits for a body."""
        if self.reader is not None:
            self.interrupted = True
            self.reader.cancel()
        return 0

    cdef int _start_pump(self) except -1:
        if self.pump is None and self._pumps():
            coroutine = _pump(self)
            self.pump = asyncio.Task(coroutine, loop=self.link.local.loop, context=self.context)
            self.pump._log_destroy_pending = False
        return 0

    cdef int want_body(self) except -1:
        if not self.body_complete:
            self.wants_continue = False     # the server sends it when it is asked for the body
            self._start_pump()
        return Exchange.want_body(self)

    cdef int pause_body(self) except -1:
        self.input_paused = True
        return 0

    cdef int resume_body(self) except -1:
        self.input_paused = False
        if self.resumed is not None and not self.resumed.done():
            self.resumed.set_result(None)
        return 0

    cdef bint _owes_body(self) noexcept:
        if not self.receiving or self.ended or self.body_complete or self.body_error is not None:
            return False
        return self.body_mode == BODY_WHOLE or self.body_mode == BODY_LATE

    # --- output

    cdef object _next_message(self):
        """What to send next; None when nothing waits."""
        cdef object item
        if self.gone != GONE_NOT and not self.aborted:
            self.queue.clear()
            return None
        while self.queue:
            item = self.queue.popleft()
            if type(item) is dict:
                return item
            if type(item) is tuple:
                item, self.sending = item
                return item
            if item is not END:
                return self._body_message(<bytes>item)
            if not self.websocket:
                return {"type": "http.response.body", "body": b"", "more_body": False}
            if self.sends_refusals:
                return {"type": "websocket.http.response.body", "body": b"", "more_body": False}
            return {"type": "websocket.close", "code": POLICY_VIOLATION, "reason": f"refused: {self.status}"}
        return None

    cdef object _body_message(self, bytes first):
        """The pieces that wait, as one."""
        cdef list pieces = [first]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(first)
        cdef bint more = True
        while self.queue and size < COALESCE and type(self.queue[0]) is bytes:
            pieces.append(self.queue.popleft())
            size += PyBytes_GET_SIZE(<bytes>pieces[-1])
        if self.queue and self.queue[0] is END:
            self.queue.popleft()
            more = False
        self.sending = size
        return {
            "type": "websocket.http.response.body" if self.websocket else "http.response.body",
            "body": first if len(pieces) == 1 else b"".join(pieces),
            "more_body": more,
        }

    cdef int _message_sent(self) except -1:
        self.queued -= self.sending
        self.sending = 0
        if self.congested and 2 * self.queued <= QUEUE_HIGH_WATER:
            self.congested = False
            if not self.gone:
                self.writable()
        return 0

    cdef int _queue_head(self, ResponseHead head, int64_t length, bint streamed) except -1:
        cdef list fields = head.fields + (self.more_fields or [])
        cdef dict message
        if self.status:
            raise RuntimeError("the head of this answer was sent before")
        self.status = head.status
        self.bodyless = self.is_head or not status_has_body(head.status)
        if length >= 0 and (status_has_body(head.status) or head.status == 304):
            self.announced = length
            fields.append((b"content-length", b"%d" % length))
        if head.close and self.closes:
            fields.append((b"connection", b"close"))
        message = {
            "type": "websocket.http.response.start" if self.websocket else "http.response.start",
            "status": head.status,
            "headers": fields,
        }
        if streamed and self.sends_trailers and not self.bodyless and not self.websocket:
            # It has to be said before it is known.
            self.trailing = message["trailers"] = True
        if not self.websocket or self.sends_refusals:
            self.queue.append(message)
        return 0

    cdef int respond(self, ResponseHead head, const char* data, Py_ssize_t size, object owner) except -1:
        cdef int64_t length = size if status_has_body(head.status) else -1
        if self.gone or self.ended:
            return 0
        if head.content_length >= 0 and head.content_length != size:
            if not self.is_head and status_has_body(head.status):
                raise ValueError(f"content-length says {head.content_length} bytes, the body has {size}")
            length = head.content_length
        self._queue_head(head, length, False)
        if size and not self.bodyless and (not self.websocket or self.sends_refusals):
            self.bytes_sent = size
            self.queued += size
            self.queue.append(bytes_of(data, size, owner))
        self.queue.append(END)
        return self._done()

    cdef int send_head(self, ResponseHead head, int64_t content_length) except -1:
        if self.gone or self.ended:
            return 0
        if content_length < 0:
            content_length = head.content_length
        self._queue_head(head, content_length, content_length < 0 or self.version >= 20)
        return self._wake()

    cdef int send_info(self, ResponseHead head) except -1:
        cdef list links
        if self.gone or self.ended or not self.sends_hints:
            return 0
        if self.status:
            raise RuntimeError("an informational answer must precede the head")
        links = [value for name, value in head.fields if name == b"link"]
        if head.status == 103 and links:
            self.queue.append({"type": "http.response.early_hint", "links": links})
            self._wake()
        return 0

    cdef int send_data(self, const char* data, Py_ssize_t size, object owner) except -1:
        if self.gone or self.ended or size == 0 or self.bodyless or (self.websocket and not self.sends_refusals):
            return 1
        if self.announced >= 0 and <int64_t>self.bytes_sent + size > self.announced:
            raise ValueError(f"the body is longer than the content-length of {self.announced} bytes that was sent")
        self.queue.append(bytes_of(data, size, owner))
        self.queued += size
        self.bytes_sent += size
        self._wake()
        if self.queued > QUEUE_HIGH_WATER:
            self.congested = True
        return 0 if self.congested else 1

    cdef int end(self, list trailers) except -1:
        if self.gone or self.ended:
            return 0
        if not self.status:
            raise RuntimeError("an answer cannot end before its head was sent")
        if not self.tunnel:
            if self.announced >= 0 and not self.bodyless and <int64_t>self.bytes_sent < self.announced:
                raise ValueError(f"the body ended after {self.bytes_sent} bytes, content-length promised {self.announced}")
            self.queue.append(END)
            if self.trailing:
                self.queue.append(
                    {"type": "http.response.trailers", "headers": list(trailers or ()), "more_trailers": False}
                )
        return self._done()

    cdef int open_tunnel(self, ResponseHead head) except -1:
        cdef list fields = []
        cdef object subprotocol = None
        if self.gone or self.ended:
            return 0
        if self.status:
            raise RuntimeError("the head of this answer was sent before")
        for name, value in head.fields:
            if name == b"sec-websocket-protocol":
                subprotocol = value.decode("ascii")
            else:
                fields.append((name, value))
        self.status = head.status
        self.tunnel = True
        self.link.service.state.counts.upgrades += 1
        self.queue.append({"type": "websocket.accept", "subprotocol": subprotocol, "headers": fields})
        return self._wake()

    cdef int send_message(self, bint text, const char* data, Py_ssize_t size, object owner) except -1:
        cdef dict message = {"type": "websocket.send"}
        if self.gone or self.ended:
            return 1
        if text:
            message["text"] = owner if isinstance(owner, str) else PyUnicode_DecodeUTF8(data, size, NULL)
        else:
            message["bytes"] = bytes_of(data, size, owner)
        self.queue.append((message, size))
        self.queued += size
        self.bytes_sent += size
        self._wake()
        if self.queued > QUEUE_HIGH_WATER:
            self.congested = True
        return 0 if self.congested else 1

    cdef int send_close(self, int code, str reason) except -1:
        if self.gone or self.ended:
            return 0
        self.queue.append({"type": "websocket.close", "code": code, "reason": reason})
        return self._done()

    cdef int abort(self, int code) except -1:
        if self.gone or self.ended:
            return 0
        self.aborted = True
        self.fail(GONE_ABORTED)
        return 0

    # --- the end

    cdef int _done(self) except -1:
        self.ended = True
        self.finish()
        return self._wake()

    cdef int fail(self, Gone why) except -1:
        Exchange.fail(self, why)
        return self._wake()

    cdef int finish(self) except -1:
        if not self.finished:
            self.link.service.state.counts.requests_active -= 1
        return Exchange.finish(self)

    cdef int _wake(self) except -1:
        if self.wakeup is not None and not self.wakeup.done():
            self.wakeup.set_result(None)
        return 0

    cdef int _blame(self, object error) except -1:
        """The server, or what is between it and us, broke a rule: nothing it brings can be trusted any more."""
        self.failure = error
        return self.fail(GONE_PROTOCOL)

    cdef list _running(self):
        return [job for job in self.jobs if not job.done()]

    cdef bint _is_over(self) except -1:
        """Whether all is done; the caller knows that nothing waits to be sent."""
        cdef bint attended
        if self._running():
            return False
        # A WebSocket of callbacks has no Task.
        attended = self._feeds_a_responder() or (self.tunnel and self.responder is not None)
        if not self.ended and not self.gone and self.started and not attended:
            # Nobody is left who might answer.
            self.abort(INTERNAL_ERROR)
        return self.ended or self.gone != GONE_NOT

    cdef int _watch(self) except -1:
        """The server's Task is about to wait: for output, for the end of Tasks, or for its peer."""
        if not self.watched:
            self.watched = True
            for job in self._running():
                job.add_done_callback(self._job_ended)
        # The server would answer `Expect: 100-continue` for a body that nobody may ever want.
        if not self.wants_continue:
            self._start_pump()
        return 0

    def _job_ended(self, job):
        self._wake()

    cdef int _cancel(self) except -1:
        """Whoever called gives up, or is made to."""
        self.fail(GONE_SHUTDOWN)
        for job in self._running():
            job.cancel()
        return 0

    cdef int _leave(self) except -1:
        """The call is over: cut what holds us."""
        cdef AsgiConnection link = self.link
        self.finish()
        if self.pump is not None:
            self.pump.cancel()
            self.pump = None
        self.jobs = []
        self.queue.clear()
        self.receive = self.send = self.failure = None
        link.x = None
        link.service.state.discard(link)
        return 0


cdef bytes bytes_of(const char* data, Py_ssize_t size, object owner):
    """The bytes themselves where the owner is just them."""
    if isinstance(owner, bytes) and PyBytes_GET_SIZE(owner) == size:
        return <bytes>owner
    return PyBytes_FromStringAndSize(data, size)


cdef bint claims_grpc(HeaderBlock head) except -1:
    """gRPC, or one of its kin: gRPC-Web."""
    cdef const Field* field = head.find(HEADER_CONTENT_TYPE)
    return field is not NULL and head.raw(field.value).lower().startswith(b"application/grpc")
