# cython: freethreading_compatible=True
"""Runs ASGI applications on WebSockets; asgi_websocket.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastnet_ext.exchange.exchange cimport BODY_STREAM, Exchange
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.serve.asgi_messages cimport body_of, head_of
from fastnet_ext.serve.asgi_scope cimport AsgiApplication, websocket_scope
from fastnet_ext.serve.runner cimport AsyncEndpoint, RunnerPool
from fastnet_ext.serve.websocket cimport WebSocketEndpoint, brief, handshake_fields, new_websocket, websocket_of
from fastnet_ext.serve.websocket_driver cimport WebSocketDriver, as_exception, ready


cdef extern from "Python.h":
    void PyErr_SetObject(object kind, object value)


cdef enum:
    NORMAL_CLOSURE = 1000       # RFC 6455, 7.4.1
    ABNORMAL_CLOSURE = 1006     # the same: there was no Close frame


cdef int start_websocket(AsgiApplication of, WebSocketEndpoint sockets, Exchange x) except -1:
    cdef AsgiSocket run = AsgiSocket.__new__(AsgiSocket)
    cdef object coroutine
    run.sockets = sockets
    run.x = x
    # Routes of ASGI applications wait for the body of a request; this one has frames.
    x.body_mode = BODY_STREAM
    try:
        sockets.check(x)
        run.ws = new_websocket(sockets, x)
        run.ws.driver.patient = True
        take_early_frames(x, run.ws.driver)
        coroutine = of.application(websocket_scope(of, x), run.receive, run.send)
    except Exception as error:
        coroutine = sockets.refuse(x, error)
    if coroutine is not None:
        (<RunnerPool>x.connection.local.runners).run(run, x, coroutine)
    return 0


cdef int take_early_frames(Exchange x, WebSocketDriver driver) except -1:
    """What came in one packet with an extended CONNECT (RFC 8441); HTTP/1 keeps it until the tunnel is open."""
    cdef bytes data
    if x.version < 20 or x.carries_messages:
        return 0
    data = x.take_chunk()
    if data:
        # A bytes object that nobody else has: its frames may be unmasked in place.
        driver.on_data(x, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return driver.on_end(x) if x.body_complete else 0


@cython.final
cdef class AsgiSocket(AsyncEndpoint):
    """The ``receive`` and ``send`` of one WebSocket."""

    @cython.binding(False)
    def receive(self):
        """``await receive()``: the next message; one at a time may wait."""
        cdef SocketReceiving wait = SocketReceiving.__new__(SocketReceiving)
        wait.socket = self
        return wait

    @cython.binding(False)
    def send(self, message):
        """Take a message; awaiting what is returned waits for a slow peer.

        Raises ``RuntimeError`` for a message that is unknown or out of order, ``TypeError`` and ``ValueError``
        for what it may not contain, ``WebSocketDisconnect`` (an ``OSError``) when the client has left.
        """
        cdef dict fields = message if type(message) is dict else dict(message)
        cdef object kind = fields.get("type")
        if kind == "websocket.send":
            return self.send_message(fields)
        if kind == "websocket.accept":
            self.accept(fields)
        elif kind == "websocket.close":
            return self.close_socket(fields)
        elif kind == "websocket.http.response.start":
            self.deny(fields)
        elif kind == "websocket.http.response.body":
            return self.deny_body(fields)
        else:
            raise RuntimeError(f"{kind!r} is no message that a WebSocket application sends")
        return ready()

    # --- receiving

    cdef dict next_message(self):
        cdef WebSocketDriver driver = self.ws.driver
        cdef object message
        if not self.connect_given:
            self.connect_given = True
            return {"type": "websocket.connect"}
        if driver.count:
            message = driver.take(self.x)
            if isinstance(message, str):
                return {"type": "websocket.receive", "text": message}
            return {"type": "websocket.receive", "bytes": message}
        if driver.close_code or self.refused or self.closed or self.x.gone:
            return {
                "type": "websocket.disconnect",
                "code": driver.close_code or ABNORMAL_CLOSURE,
                "reason": driver.close_reason,
            }
        return None

    # --- sending

    cdef int accept(self, dict message) except -1:
        cdef object subprotocol = message.get("subprotocol")
        cdef object headers = message.get("headers")
        if self.ws.driver.accepted or self.refused:
            raise RuntimeError("unexpected ASGI message 'websocket.accept': the hand-shake was answered before")
        if subprotocol is not None and not isinstance(subprotocol, str):
            raise TypeError(f"websocket.accept: subprotocol is a str or None, not {type(subprotocol).__name__}")
        return self.ws._accept(subprotocol, handshake_fields(headers) if headers else None)

    cdef object send_message(self, dict message):
        cdef object text = message.get("text"), data = message.get("bytes")
        if not self.ws.driver.accepted or self.refused:
            raise RuntimeError("unexpected ASGI message 'websocket.send': the hand-shake is not accepted")
        if self.closed:
            raise RuntimeError("unexpected ASGI message 'websocket.send': websocket.close was sent before")
        if (text is None) == (data is None):
            raise ValueError("websocket.send: either text or bytes is set, and the other None or left out")
        if text is not None and not isinstance(text, str):
            raise TypeError(f"websocket.send: text is a str, not {type(text).__name__}")
        if data is not None and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"websocket.send: bytes are bytes, not {type(data).__name__}")
        return self.ws.send(data if text is None else text)

    cdef object close_socket(self, dict message):
        cdef object code = message.get("code", NORMAL_CLOSURE)
        cdef str reason = message.get("reason") or ""
        if self.closed or self.refused:
            raise RuntimeError("unexpected ASGI message 'websocket.close': it was closed, or refused, before")
        if self.x.gone or (self.ws.driver.close_code and not self.x.ended):
            # The peer was quicker.
            self.closed = True
            return ready()
        if not self.ws.driver.accepted:
            self.deny({"status": 403})
            return self.deny_body({})
        self.ws.close(code, brief(reason))
        self.closed = True
        return ready()

    cdef int deny(self, dict message) except -1:
        if self.ws.driver.accepted or self.refused:
            raise RuntimeError(
                "unexpected ASGI message 'websocket.http.response.start': the hand-shake was answered before"
            )
        self.denial = head_of(message, "websocket.http.response.start")
        self.refused = True
        # From here on the exchange carries a plain answer.
        self.x.responder = None
        return self.ws.driver.waiter.wake(False) if self.ws.driver.receiving else 0

    cdef object deny_body(self, dict message):
        cdef Exchange x = self.x
        cdef bytes data = body_of(message, "websocket.http.response.body")
        cdef bint more = bool(message.get("more_body"))
        if not self.refused or x.ended:
            raise RuntimeError(
                "unexpected ASGI message 'websocket.http.response.body': websocket.http.response.start comes first, "
                "and nothing after the last one"
            )
        if x.gone:
            return ready()
        if self.denial is not None:
            if not more:
                x.respond(self.denial, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data)
                self.denial = None
                return ready()
            x.send_head(self.denial, self.denial.content_length)
            self.denial = None
        if PyBytes_GET_SIZE(data) and x.send_data(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data) == 0 and more:
            x.drain_waiter = x.connection.local.loop.create_future()
            return x.drain_waiter
        if not more:
            x.end(None)
        return ready()

    # --- the application's outcome

    cdef object on_result(self, Exchange x, object value):
        if x.refusal is not None or websocket_of(x) is None:
            # What followed was the answer to the hand-shake that was refused.
            return self.sockets.on_result(x, value)
        if x.ended or x.gone:
            self.ws.driver.handler_ended(x)
            return None
        if self.refused:
            return self.sockets.refuse(x, RuntimeError("the ASGI application returned before its answer was complete"))
        if not self.ws.driver.accepted:
            return self.sockets.refuse(
                x, RuntimeError("the ASGI application returned without accepting or closing the WebSocket")
            )
        self.sockets.ended(x, NORMAL_CLOSURE, "")
        return None

    cdef object on_exception(self, Exchange x, object error):
        return self.sockets.on_exception(x, error)


# --- what an application waits on

@cython.final
@cython.freelist(16)
cdef class SocketReceiving:
    """The wait for the next message."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef AsgiSocket socket = self.socket
        cdef WebSocketDriver driver = socket.ws.driver
        cdef dict message
        if self.waiting:
            self.waiting = driver.receiving = False
        elif driver.receiving:
            raise RuntimeError("another task is receiving from this WebSocket: one at a time")
        message = socket.next_message()
        if message is not None:
            # See Receiving.__next__ in asgi.pyx.
            PyErr_SetObject(StopIteration, message)
            raise StopIteration
        self.waiting = driver.receiving = True
        return driver.waiter.wait()

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        self.give_up()
        raise as_exception(kind, value)

    def close(self):
        self.give_up()

    def give_up(self):
        if self.waiting:
            self.waiting = self.socket.ws.driver.receiving = False
            self.socket.ws.driver.waiter.abandon()
