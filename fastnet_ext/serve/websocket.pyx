# cython: freethreading_compatible=True
"""Runs WebSocket handlers (RFC 6455) on whatever carries an exchange; websocket.pxd is the map."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint16_t
from libc.string cimport strlen

import asyncio
import logging
import types
from collections.abc import Mapping

from fastnet_ext.core.headers cimport HEADER_ORIGIN, Field
from fastnet_ext.core.utf8 cimport utf8_of
from fastnet_ext.exchange.exchange cimport BODY_STREAM, Exchange
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.request cimport Call, Request, host_of, request_id, request_of, scheme_of
from fastnet_ext.exchange.response cimport Response, check_name, check_value
from fastnet_ext.proxy.forwarded cimport Forwarded
from fastnet_ext.serve.errors import HandshakeRefused, InvalidMessage, WebSocketDisconnect
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.json cimport JsonEncoder
from fastnet_ext.serve.plan cimport CallPlan
from fastnet_ext.serve.runner cimport AsyncEndpoint, Runner, RunnerPool
from fastnet_ext.serve.websocket_driver cimport WebSocketDriver, as_exception, ready
from fastnet_ext.serve.websocket_frames cimport FrameDriver, new_frame_driver
from fastnet_ext.serve.websocket_messages cimport new_message_driver
from fastnet_ext.serve.websocket_values import as_bytes, as_text, from_json
from fastnet_ext.websocket.extensions cimport DeflateAgreement, PerMessageDeflate, accept_offer
from fastnet_ext.websocket.handshake cimport (
    accept_key, check_request, choose_subprotocol, offered_extensions, offered_subprotocols, origin_is_of_host,
    request_key, same_origin,
)
from fastnet_ext.websocket.session cimport Limits


cdef extern from "Python.h":
    void PyErr_SetObject(object kind, object value)

__all__ = ["HandshakeRefused", "InvalidMessage", "WebSocket", "WebSocketDisconnect", "WebSocketEndpoint"]

cdef object log = logging.getLogger("fastnet.error")

# INTERNAL_ERROR of RFC 9113, 7: given to a carrier to abort an answer that cannot be rendered.
cdef int INTERNAL_ERROR = 2

# Fragments that a message may have, by the size that it may have.
cdef int LEAST_FRAGMENTS = 16384
cdef int MOST_FRAGMENTS = 1 << 30

cdef str SECOND_RECEIVER = "another task is receiving from this WebSocket: one at a time"

cdef enum:
    # Close codes, RFC 6455, 7.4.1.
    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    SERVER_ERROR = 1011
    TRY_AGAIN_LATER = 1013      # of IANA's registry


# --- the hand-shake

cdef class WebSocketEndpoint(AsyncEndpoint):
    """Answers the WebSocket hand-shakes of a route by calling a handler.

    The plan's call returns the handler's coroutine; None where something else runs what answers. ``refusals`` sends the answers of hand-shakes that
    are refused. ``origins``: the pages that may connect, as browsers name them
    (``"https://example.com"``, ``"null"``) or ``"*"`` for all; None for those of the request's own
    host. Whoever sends no Origin is no browser, and may always. ``subprotocols`` in order of
    preference. ``compression``: what is agreed on with clients that offer permessage-deflate, True for the
    defaults, False for nothing. ``max_message`` in bytes. ``ping_interval``: seconds of silence after which the peer is
    pinged; it is left when it is silent through two pings. 0 is never, below 0 what the listener says.
    ``message_rate`` is asked for each message that is received: what it refuses closes with 1013, or is dropped and
    answered by ``warning``, text or bytes. ``decode(message)`` and ``encode(value)`` stand between messages and typed
    values.
    """

    def __init__(
        self, CallPlan plan, HttpEndpoint refusals not None, *, origins=None, subprotocols=(),
        compression=False, max_message=1024 * 1024, double ping_interval=-1, JsonEncoder encoder=None, decode=None,
        encode=None, RateLimitGuard message_rate=None, warning=None,
    ):
        self.body_mode = BODY_STREAM
        self.message_rate = message_rate
        self.warning = warning
        self.plan = plan
        self.refusals = refusals
        # Messages that may be larger may come in more pieces: down to 64 bytes each.
        self.limits = Limits(
            message=max_message, fragments=min(max(LEAST_FRAGMENTS, max_message // 64), MOST_FRAGMENTS)
        )
        self.ping_interval = ping_interval
        self.origins = None if origins is None else frozenset([origin.lower().rstrip("/") for origin in origins])
        self.subprotocols = tuple(subprotocols)
        if isinstance(compression, bool):
            compression = PerMessageDeflate() if compression else None
        elif not isinstance(compression, PerMessageDeflate):
            raise TypeError(f"compression is True, False or PerMessageDeflate(...), not {compression!r}")
        self.compression = compression
        self.encoder = encoder if encoder is not None else JsonEncoder()
        self.decode = decode
        self.encode = encode

    cdef int start(self, Exchange x) except -1:
        cdef WebSocket ws = None
        cdef Runner runner
        cdef object coroutine
        try:
            self.check(x)
            ws = new_websocket(self, x)
            coroutine = self.plan.call(x)
        except Exception as error:
            coroutine = self.refuse(x, error)
        if coroutine is None:
            return 0
        runner = (<RunnerPool>x.connection.local.runners).run(self, x, coroutine)
        if ws is not None and not ws.driver.handler_done:
            ws.driver.task = runner.task
        return 0

    cdef bint admits(self, WebSocket ws) except -1:
        cdef object refusal = self.message_rate.take(ws.x, TRY_AGAIN_LATER)
        if refusal is None:
            return True
        if self.warning is None:
            raise InvalidMessage(str(refusal), code=TRY_AGAIN_LATER)
        # A peer that reads nothing is not sent more and more warnings.
        if not ws.driver.congested:
            ws.send(self.warning)
        return False

    cdef int check(self, Exchange x) except -1:
        cdef const char* why = NULL
        cdef bint upgrade = x.version < 20
        cdef int status
        cdef dict headers = {}
        if x.carries_messages:
            # Who frames the messages has checked the rest of the hand-shake.
            return self.check_origin(x)
        status = check_request(x.head, upgrade, &why)
        if not status and upgrade and (x.version < 11 or x.content_length != 0):
            # RFC 6455, 4.1. A body would have to be read before the protocol changes (RFC 9110, 7.8).
            status = 400
            why = b"a WebSocket is opened with HTTP/1.1 and without a body"
        if status == 426:
            headers = {"upgrade": "websocket", "sec-websocket-version": "13"}
        elif status == 405:
            headers = {"allow": "GET"}
        if status:
            raise HandshakeRefused(status, why[:strlen(why)].decode("ascii"), headers)
        return self.check_origin(x)

    cdef int check_origin(self, Exchange x) except -1:
        cdef const Field* field = x.head.find(HEADER_ORIGIN)
        cdef str origin
        if field is NULL:
            return 0
        origin = x.head.text(field.value)
        if self.origins is None:
            if not is_own_page(x):
                raise HandshakeRefused(
                    403,
                    f"pages of {origin} may not connect: only those of this host may, "
                    "unless the route says origins=[...]",
                )
        elif "*" not in self.origins and (
            origin.lower() not in self.origins or x.head.find_next(HEADER_ORIGIN, field) is not NULL
        ):
            raise HandshakeRefused(
                403, f"pages of {origin} may not connect: the route's origins=[...] do not list them"
            )
        return 0

    # --- the handler's outcome

    cdef object on_result(self, Exchange x, object value):
        if x.refusal is None:
            self.ended(x, NORMAL_CLOSURE, "")
        elif isinstance(value, Response) and not x.status:
            try:
                return self.answer(x, value)
            except Exception as error:
                return self.refuse(x, error)
        else:
            x.finish()
        return None

    cdef object on_exception(self, Exchange x, object error):
        cdef str identity, told
        cdef WebSocket ws = websocket_of(x)
        if x.refusal is not None or ws is None or not ws.driver.accepted:
            return self.refuse(x, error)
        if isinstance(error, WebSocketDisconnect):
            self.ended(x, NORMAL_CLOSURE, "")
        elif isinstance(error, InvalidMessage):
            told = brief(str(error))
            self.ended(x, error.code, told)
        elif isinstance(error, asyncio.CancelledError):
            self.ended(x, GOING_AWAY, "")
        else:
            identity = request_id(x)
            if isinstance(error, Exception):
                log.error(
                    "the WebSocket handler of %s failed [request %s]", x.path_text(), identity,
                    exc_info=error, extra={"request_id": identity},
                )
            told = brief(f"the server failed; its log has the reason under request {identity}")
            self.ended(x, SERVER_ERROR, told)
        return None

    cdef int ended(self, Exchange x, uint16_t code, str reason) except -1:
        cdef WebSocket ws = websocket_of(x)
        cdef WebSocketDriver driver
        if ws is None:
            return 0    # refused and answered, or a callback had failed before the Task that waited for the end
        driver = ws.driver
        try:
            if not x.gone:
                ws._open()
                driver.close(x, code, reason)
        except Exception:
            log.exception("a WebSocket could not be closed: %r", x.route)
            x.abort(INTERNAL_ERROR)
        return driver.handler_ended(x)

    cdef object refuse(self, Exchange x, object error):
        cdef object response
        cdef WebSocket ws = websocket_of(x)
        cdef bint again = x.refusal is not None
        x.responder = None
        if ws is not None:
            ws.driver.handler_ended(x)
        if x.gone or x.ended:
            x.finish()
            return None
        x.refusal = error
        if again or x.status or not isinstance(error, Exception):
            if isinstance(error, Exception):
                log.error("the error of a WebSocket hand-shake could not be answered: %r", x.route, exc_info=error)
            x.abort(INTERNAL_ERROR)
            x.finish()
            return None
        try:
            response = x.route.on_error(request_of(x), error)
            return self.answer(x, response) if isinstance(response, Response) else response
        except Exception as second:
            return self.refuse(x, second)

    cdef object answer(self, Exchange x, object response):
        cdef object following
        if isinstance(x.refusal, HandshakeRefused) and (<Response>response).status == x.refusal.status:
            # RFC 9110 and RFC 6455, 4.4 ask for them, whoever renders the error.
            for name, value in x.refusal.headers.items():
                if name not in response.headers:
                    response.headers[name] = value
        following = self.refusals.answer_response(x, response)
        if following is None:
            x.finish()
        return following



cdef bint is_own_page(Exchange x) except -1:
    """Whether the page that connects is of the host, and of the scheme, that the client sees."""
    cdef Forwarded forwarded = x.forwarded()
    cdef const Field* origin
    cdef bytes host
    if forwarded is None:
        return same_origin(x.head)
    origin = x.head.find(HEADER_ORIGIN)
    if x.head.find_next(HEADER_ORIGIN, origin) is not NULL:
        return False
    if forwarded.scheme is not None and not x.head.text(origin.value).lower().startswith(forwarded.scheme + "://"):
        return False
    host = host_of(x).encode("latin-1")
    return origin_is_of_host(x.head.at(origin.value), origin.value.size, host, len(host))


cdef WebSocket new_websocket(WebSocketEndpoint endpoint, Exchange x):
    """The WebSocket of an exchange, known to it, and its driver."""
    cdef WebSocket ws = WebSocket.__new__(WebSocket)
    Call.__init__(ws, x)
    ws.endpoint = endpoint
    if x.carries_messages:
        ws.driver = new_message_driver(x, endpoint.limits)
    else:
        ws.driver = new_frame_driver(x, endpoint.limits)
    ws.driver.ping_interval = endpoint.ping_interval
    x.call = ws
    x.call_stays = True
    x.responder = ws.driver
    return ws


cdef str brief(str text):
    """The beginning of a text that fits a Close frame: 123 bytes."""
    return text.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")


# --- what a handler waits on

# Only the handler's frame holds one: no work for the garbage collector.
@cython.no_gc
@cython.final
cdef class Messages:
    """What ``async for`` takes messages from. It awaits it again and again, so that a message costs no object."""

    def __aiter__(self):
        return self

    def __anext__(self):
        return self

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef WebSocket ws = self.ws
        cdef WebSocketDriver driver = ws.driver
        cdef object message
        if not self.waiting:
            ws._begin_receiving()
        elif driver.waiter.wakeup is None:
            self.waiting = driver.receiving = False
        else:
            raise RuntimeError(SECOND_RECEIVER)
        message = ws._take()
        if message is not None:
            if ws.endpoint.decode is not None:
                message = ws.endpoint.decode(message)
                raise StopIteration(message)
            # As in Receive.
            PyErr_SetObject(StopIteration, message)
            raise StopIteration
        if driver.close_code:
            raise StopAsyncIteration
        self.waiting = driver.receiving = True
        return driver.waiter.wait()

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self.close()
        raise as_exception(kind, value)

    def close(self):
        if self.waiting:
            self.waiting = self.ws.driver.receiving = False
            self.ws.driver.waiter.abandon()


@cython.final
@cython.freelist(16)
cdef class Receive:
    """The wait for the next message; may be awaited once, or handed to ``asyncio.create_task``."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef WebSocket ws = self.ws
        cdef WebSocketDriver driver = ws.driver
        cdef object message
        if self.waiting:
            self.waiting = driver.receiving = False
        else:
            ws._begin_receiving()
        try:
            message = ws._take()
        except Exception:
            self._stop_timer()
            raise
        if message is not None:
            self._stop_timer()
            if self.convert is not None:
                message = self.convert(message)
                raise StopIteration(message)
            # A bare raise in __next__ only returns NULL: with what is set here, no instance and no
            # traceback are made. Right for a value that is neither a tuple nor an exception.
            PyErr_SetObject(StopIteration, message)
            raise StopIteration
        if driver.close_code:
            self._stop_timer()
            if self.iterating:
                raise StopAsyncIteration
            raise driver.disconnect()
        if self.expired:
            raise TimeoutError("no message came in time")
        if self.timeout >= 0 and self.timer is None:
            self.timer = ws.x.connection.local.loop.call_later(self.timeout, self._expire)
        self.waiting = driver.receiving = True
        return driver.waiter.wait()

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self._give_up()
        raise as_exception(kind, value)

    def close(self):
        self._give_up()

    def _expire(self):
        self.timer = None
        self.expired = True
        if self.waiting:
            self.ws.driver.waiter.wake(False)

    cdef int _stop_timer(self) except -1:
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        return 0

    cdef int _give_up(self) except -1:
        self._stop_timer()
        if self.waiting:
            self.waiting = self.ws.driver.receiving = False
            self.ws.driver.waiter.abandon()
        return 0


# --- what a handler holds

@cython.final
cdef class WebSocket(Call):
    """One WebSocket connection, and the request that opened it.

    ``async for message in ws`` gives each message as ``str`` or ``bytes`` until the connection is
    closed. The hand-shake is answered by the first receive, send or iteration, or by ``accept()``;
    until then a handler may refuse it by raising ``HTTPException``.
    """

    @classmethod
    def __class_getitem__(cls, types_):
        """``WebSocket[In, Out]``: messages are decoded into ``In``, and values of ``Out`` sent as JSON."""
        return types.GenericAlias(cls, types_)

    # --- the hand-shake

    def accept(self, subprotocol=None, headers=None):
        """Answer the hand-shake now; awaiting the result is optional.

        ``subprotocol`` must be one that the client offers; without it the first of the route's that it
        offers is taken. ``headers``, a mapping or pairs, are added to the answer. Raises
        ``RuntimeError`` when the hand-shake was answered before, ``ValueError`` for what cannot be
        sent, ``WebSocketDisconnect`` when the client is gone.
        """
        if self.driver.accepted:
            raise RuntimeError("the WebSocket was accepted before: by accept(), or by the first receive or send")
        self._accept(subprotocol, None if headers is None else handshake_fields(headers))
        return ready()

    cdef int _open(self) except -1:
        if not self.driver.accepted:
            return self._accept(None, None)
        return 0

    cdef int _accept(self, str subprotocol, list further) except -1:
        cdef Exchange x = self.x
        cdef bint upgrade = x.version < 20
        cdef list fields = []
        if x.gone or x.ended:
            raise self.driver.disconnect()
        if subprotocol is None:
            subprotocol = choose_subprotocol(self.head, self.endpoint.subprotocols)
        elif subprotocol not in offered_subprotocols(self.head):
            raise ValueError(f"the client does not offer the subprotocol {subprotocol!r}")
        if upgrade and not x.carries_messages:
            fields.append((b"upgrade", b"websocket"))
            fields.append((b"sec-websocket-accept", accept_key(request_key(self.head))))
        if subprotocol is not None:
            fields.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
        extensions = self._agree_on_compression()
        if extensions is not None:
            fields.append((b"sec-websocket-extensions", extensions))
        if further is not None:
            fields += further
        x.open_tunnel(ResponseHead(101 if upgrade else 200, fields))
        self.subprotocol = subprotocol
        return self.driver.opened(x)

    cdef bytes _agree_on_compression(self):
        cdef DeflateAgreement agreement
        cdef str offered
        if self.endpoint.compression is None or self.x.carries_messages:
            return None
        offered = offered_extensions(self.head)
        if offered is None:
            return None
        agreement = accept_offer(offered, self.endpoint.compression)
        if agreement is None:
            return None
        (<FrameDriver>self.driver).use_deflate(self.x, agreement)
        return agreement.field.encode("ascii")

    # --- receiving

    cdef int _begin_receiving(self) except -1:
        cdef WebSocketDriver driver = self.driver
        if driver.receiving:
            raise RuntimeError(SECOND_RECEIVER)
        if driver.sink is not None:
            raise RuntimeError("on_message takes the messages of this WebSocket")
        return 0 if driver.accepted else self._open()

    cdef object _take(self):
        cdef WebSocketDriver driver = self.driver
        cdef object message
        while driver.count:
            message = driver.take(self.x)
            if self.endpoint.message_rate is None or self.endpoint.admits(self):
                return message
        return None

    def __aiter__(self):
        cdef Messages messages = Messages.__new__(Messages)
        messages.ws = self
        return messages

    def __anext__(self):
        cdef Receive wait = Receive.__new__(Receive)
        wait.ws = self
        wait.iterating = True
        wait.timeout = -1
        wait.convert = self.endpoint.decode
        return wait

    def receive(self, *, timeout=None):
        """``await ws.receive()``: the next message.

        Raises ``WebSocketDisconnect`` when the connection is closed and all messages before are taken,
        ``TimeoutError`` when none comes within ``timeout`` seconds (None waits for ever), and ``RuntimeError`` while
        another task receives. A wait that is cancelled, or too long, loses no message.
        """
        return self._receive(self.endpoint.decode, timeout)

    def receive_text(self, *, timeout=None):
        """The next message, which must be text: ``InvalidMessage`` otherwise, which closes with 1003."""
        return self._receive(as_text, timeout)

    def receive_bytes(self, *, timeout=None):
        """The next message, which must be binary: ``InvalidMessage`` otherwise, which closes with 1003."""
        return self._receive(as_bytes, timeout)

    def receive_json(self, type=None, *, timeout=None):
        """The next message as JSON, converted to ``type``: ``InvalidMessage`` otherwise, which closes with 1007."""
        cdef object app = None if self.route is None else self.route.app
        return self._receive(from_json(type, getattr(app, "dec_hook", None)), timeout)

    def _receive(self, convert, timeout):
        cdef Receive wait = Receive.__new__(Receive)
        wait.ws = self
        wait.timeout = -1 if timeout is None else max(<double>timeout, 0.0)
        wait.convert = convert
        return wait

    # --- sending

    def send(self, message):
        """Send ``str`` as a text message, ``bytes``, ``bytearray`` or ``memoryview`` as a binary one.

        It is written at once. What is returned may be awaited: until a slow peer has taken what was
        sent before. Raises ``WebSocketDisconnect`` when the connection is closed, ``TypeError`` for
        other values (unless the handler's ``WebSocket[In, Out]`` says what to make of them), and
        ``UnicodeEncodeError`` for text with surrogates.
        """
        cdef const char* data
        cdef Py_ssize_t size = 0
        cdef Py_buffer view
        if not self.driver.accepted:
            self._open()
        if isinstance(message, str):
            data = utf8_of(<str>message, &size)
            return self.driver.send_message(self.x, True, data, size, message)
        if isinstance(message, bytes):
            data = PyBytes_AS_STRING(message)
            size = PyBytes_GET_SIZE(message)
            return self.driver.send_message(self.x, False, data, size, message)
        if isinstance(message, (bytearray, memoryview)):
            PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
            try:
                data = <const char*>view.buf
                size = view.len
                return self.driver.send_message(self.x, False, data, size, None)
            finally:
                PyBuffer_Release(&view)
        if self.endpoint.encode is None:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}: send_json() sends other values")
        encoded = self.endpoint.encode(message)
        return self._send_text(encoded)

    def send_nowait(self, message):
        """``send`` for who cannot wait; whether the peer keeps up.

        After False more is kept for the peer than its buffers should hold: whoever has more to send had better not.
        The message itself is on its way all the same. Raises as ``send`` does.
        """
        self.send(message)
        return not self.driver.congested

    def send_json(self, value):
        """Send a value as a text message of JSON, in the dialect of the application's answers."""
        cdef bytes data = self.endpoint.encoder.encode(value)
        if not self.driver.accepted:
            self._open()
        return self._send_text(data)

    def _send_text(self, bytes data not None):
        cdef const char* text = data
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        return self.driver.send_message(self.x, True, text, size, data)

    def ping(self, bytes data not None=b""):
        """Send a Ping now; ``await ws.ping()`` gives the seconds until its answer came.

        ``data``: up to 125 bytes that tell it from others (``ValueError`` above that); some that do by default. What
        is returned need not be awaited; then it raises ``WebSocketDisconnect`` when the connection ends first. Pings
        of the peer are answered by themselves, and the heartbeat needs no help.
        """
        if not self.driver.accepted:
            self._open()
        return self.driver.send_ping(self.x, data)

    # --- the close

    def close(self, code=1000, str reason not None=""):
        """Close the connection; nothing happens when it is closed.

        The Close frame is sent at once, what was received and not taken is dropped, and the
        peer has 10 seconds to answer, which nobody needs to wait for. ``reason`` has up to 123
        bytes of UTF-8. Raises ``ValueError`` for what RFC 6455 does not let an endpoint send.
        """
        if not self.driver.accepted:
            self._open()
        if not 1000 <= code <= 4999:
            raise ValueError(f"{code} is no close code: 1000 to 4999")
        self.driver.close(self.x, code, reason)
        return ready()

    @property
    def closed(self):
        """Whether either side has closed, or the connection is gone."""
        return self.driver.close_code != 0

    @property
    def close_code(self):
        """The code of the first Close frame, 1006 when the connection ended without one; None while open."""
        return self.driver.close_code or None

    @property
    def close_reason(self):
        """The reason in the first Close frame; empty without one."""
        return self.driver.close_reason

    # --- the request

    @property
    def scheme(self):
        """"wss" or "ws": what trusted proxies say, else by the connection."""
        return "wss" if scheme_of(self.x) == "https" else "ws"

    @property
    def url(self):
        """The whole URL as the client sees it: ``wss://example.com/chat?room=1``."""
        return self.scheme + "://" + Request(self.x).url.partition("://")[2]

    @property
    def query_params(self):
        """The decoded query, ``QueryParams``."""
        if self._query is None:
            self._query = Request(self.x).query_params
        return self._query

    @property
    def cookies(self):
        """The cookies by name. What does not read as a cookie is left out."""
        return Request(self.x).cookies


cdef list handshake_fields(headers):
    """Fields that a handler adds to the answer of the hand-shake, validated."""
    cdef bytes name
    cdef list fields = []
    for key, value in headers.items() if isinstance(headers, Mapping) else headers:
        name = check_name(key)
        if name.startswith(b"sec-websocket-") or name in (b"connection", b"content-length", b"upgrade"):
            raise ValueError(f"header {key!r} belongs to the hand-shake")
        fields.append((name, check_value(name, value)))
    return fields
