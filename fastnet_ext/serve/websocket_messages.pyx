# cython: freethreading_compatible=True
"""Drives one WebSocket whose frames, pings and closing hand-shake are its carrier's affair."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint16_t, uint64_t

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.limits cimport LIMIT_MESSAGE
from fastnet_ext.serve.waiter cimport Waiter
from fastnet_ext.serve.websocket_driver cimport ABNORMAL_CLOSURE, MESSAGE_TOO_BIG, SharedMessage, WebSocketDriver
from fastnet_ext.websocket.frames cimport CONTROL_MAX, close_code_allowed
from fastnet_ext.websocket.session cimport Limits


cdef MessageDriver new_message_driver(Exchange x, Limits limits):
    cdef MessageDriver driver = MessageDriver.__new__(MessageDriver)
    driver.limit = limits.message
    driver.waiter = Waiter(x.connection.local.runners)
    return driver


@cython.final
cdef class MessageDriver(WebSocketDriver):
    # --- what the carrier tells

    cdef int on_message(self, Exchange x, object message) except -1:
        cdef Py_ssize_t size = 0
        if not self._wants_messages():
            return 0
        if isinstance(message, str):
            # Surrogates, which no UTF-8 has, raise here: the carrier answers for what it brings.
            PyUnicode_AsUTF8AndSize(message, &size)
        else:
            size = PyBytes_GET_SIZE(message)
        if <uint64_t>size > self.limit:
            x.connection.over_limit(LIMIT_MESSAGE, <double>self.limit, MESSAGE_TOO_BIG)
            self._end(x, MESSAGE_TOO_BIG, "message too big")
            self._release_handler(x, False, False)
            return self._wake_senders()
        self._push(x, message, len(message), False)
        self._note_held(x)
        return self._balance_input(x)

    cdef int on_close(self, Exchange x, int code, str reason) except -1:
        # The end of the exchange drops its references to us, which may be the only ones.
        cdef MessageDriver alive = self
        cdef bint first = not self.close_code
        alive._stop_timer()
        if first:
            alive._note_close(x, <uint16_t>code, reason)
        x.end(None)
        if first:
            alive._release_handler(x, code == ABNORMAL_CLOSURE, False)
        return alive._wake_senders()

    cdef int _note_held(self, Exchange x) except -1:
        return x.hold(<int64_t>(self.held + self.backlog))

    cdef int _balance_input(self, Exchange x) except -1:
        if x.ended or x.gone:
            return 0
        if not self.paused and not self._has_places():
            self.paused = x.body_paused = True
            x.pause_body()
        elif self.paused and self.accepted and self._is_low():
            self.paused = x.body_paused = False
            x.resume_body()
        return 0

    # --- sending

    cdef object send_message(self, Exchange x, bint text, const char* data, Py_ssize_t size, object owner):
        if self.close_code:
            raise self.disconnect()
        self.congested = x.send_message(text, data, size, owner) == 0
        return self._pushed(x)

    cdef int send_shared(self, Exchange x, SharedMessage message) except -1:
        cdef bytes payload = message.payload
        if not self.close_code:
            self.congested = x.send_message(
                message.is_text, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), payload
            ) == 0
        return 0

    cdef object send_ping(self, Exchange x, bytes data):
        raise NotImplementedError("the server in front sends its own pings: ASGI has no message for them")

    # --- the end

    cdef int close(self, Exchange x, uint16_t code, str reason) except -1:
        cdef Py_ssize_t size = 0
        PyUnicode_AsUTF8AndSize(reason, &size)
        if self.close_code:
            return 0
        if not close_code_allowed(code):
            raise ValueError(f"close code {code} may not be sent")
        if size > CONTROL_MAX - 2:
            raise ValueError("a close reason has at most 123 bytes")
        self._end(x, code, reason)
        if self.receiving:
            self.waiter.wake(False)
        if self.sink is not None:
            x.connection.local.loop.call_soon(self._close_sink, x)
        return 0

    cdef int _end(self, Exchange x, uint16_t code, str reason) except -1:
        """We close. The peer's answer is the carrier's to wait for: the exchange ends here."""
        self._note_close(x, code, reason)
        self._drop_messages()
        return x.send_close(code, reason)
