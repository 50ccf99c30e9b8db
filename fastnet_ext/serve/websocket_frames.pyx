# cython: freethreading_compatible=True
"""Drives one WebSocket connection over a tunnel: the carrier's bytes through the machine to the handler and back."""

cimport cython
from cpython.bytearray cimport (
    PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE, PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint16_t
from libc.string cimport memcpy

from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_free, buffer_init
from fastnet_ext.exchange.exchange cimport Exchange, LoopLocal
from fastnet_ext.exchange.limits cimport CUT_RESET, CUT_STREAM, LIMIT_FRAGMENTS, LIMIT_HEARTBEAT, LIMIT_MESSAGE
from fastnet_ext.serve.waiter cimport Waiter
from fastnet_ext.serve.websocket_driver cimport (
    ABNORMAL_CLOSURE, MAX_PINGS, MESSAGE_TOO_BIG, POLICY_VIOLATION, Pong, SharedMessage, WebSocketDriver, note_pong,
)
from fastnet_ext.websocket.deflate cimport Compressors, Deflate, new_deflate
from fastnet_ext.websocket.extensions cimport DeflateAgreement
from fastnet_ext.websocket.frames cimport HEADER_MAX
from fastnet_ext.websocket.session cimport Event, Limits, Role, Session, new_session

# Seconds that the peer may take to answer our Close.
cdef double CLOSE_TIMEOUT = 10.0

# Pings of the heartbeat that may stay unanswered in a row. One may be lost to a peer that was busy for a moment.
cdef int MAX_MISSES = 2

# RFC 9113, 7; HTTP/1 closes whatever the code says.
cdef int CANCEL = 8


cdef FrameDriver new_frame_driver(Exchange x, Limits limits):
    cdef FrameDriver driver = FrameDriver.__new__(FrameDriver)
    driver.session = new_session(Role.SERVER, limits)
    driver.waiter = Waiter(x.connection.local.runners)
    return driver


@cython.no_gc
@cython.final
cdef class FrameDriver(WebSocketDriver):
    def __cinit__(self):
        buffer_init(&self.out)

    def __dealloc__(self):
        buffer_free(&self.out)

    # --- what the carrier tells

    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t used = 0
        self.heard = True
        if not self.accepted and x.version < 20:
            return 0
        if self.accepted and self.carry is None:
            used = self._read(x, data, size, True)
        if used < size:
            self._carry(data + used, size - used)
        self._note_held(x)
        return self._balance_input(x)

    cdef int on_end(self, Exchange x) except -1:
        # The end of the exchange drops its references to us, which may be the only ones.
        cdef FrameDriver alive = self
        if not self.accepted and x.version < 20:
            return 0    # of the request, whose connection goes on
        if self.carry is not None or not self.accepted:
            self.input_ended = True
            return 0
        return alive._input_over(x)

    cdef int on_gone(self, Exchange x, int why) except -1:
        self.session.receive_end()
        self.carry = None
        return WebSocketDriver.on_gone(self, x, why)

    cdef int on_writable(self, Exchange x) except -1:
        self.throttled = False
        return WebSocketDriver.on_writable(self, x)

    cdef int on_sweep(self, Exchange x, double elapsed, double keepalive) except -1:
        """The heartbeat: ping who is silent, and leave who stays so."""
        cdef double interval = keepalive if self.ping_interval < 0 else self.ping_interval
        # The end of the exchange drops its references to us, which may be the only ones.
        cdef FrameDriver alive = self
        if self.heard:
            self.heard = False
            self.silent = 0
            self.misses = 0
            return 0
        if interval == 0 or not self.session.can_send() or not self.accepted or self.paused or self.congested:
            return 0
        self.silent += elapsed
        if self.silent < interval:
            return 0
        self.silent = 0
        if self.misses == MAX_MISSES:
            x.connection.over_limit(LIMIT_HEARTBEAT, interval, CUT_STREAM if x.version >= 20 else CUT_RESET)
            alive.silent_for_good = True
            return x.abort(CANCEL)
        alive.misses += 1
        alive._borrow(x)
        alive.session.send_ping(&alive.out, NULL, 0)
        return alive._flush(x)

    cdef int use_deflate(self, Exchange x, DeflateAgreement agreement) except -1:
        cdef LoopLocal local = x.connection.local
        if local.compressors is None:
            local.compressors = Compressors()
        return self.session.use_deflate(new_deflate(True, agreement, local.compressors))

    cdef int opened(self, Exchange x) except -1:
        WebSocketDriver.opened(self, x)
        if self.carry is not None or self.input_ended:
            self._schedule_resume(x)
        return 0

    # --- input

    cdef bint _has_room(self) noexcept:
        return not self.throttled and self._has_places()

    cdef Py_ssize_t _read(self, Exchange x, char* data, size_t size, bint direct) except -1:
        """Run the machine over input as long as there is room; how much of it is used up."""
        cdef size_t used = 0, consumed = 0
        cdef int stepped = 0
        cdef bint pinged = False
        cdef Event event
        while used < size and self._has_room():
            event = self.session.next(&self.out, data + used, size - used, &consumed)
            used += consumed
            if event == Event.NEED_DATA:
                break
            if event == Event.MESSAGE:
                stepped += 1
                self._message(x, direct and stepped <= DIRECT_MESSAGES)
                if stepped == DIRECT_MESSAGES and self.sink is not None:
                    break
            elif event == Event.PING:
                pinged = True
            elif event == Event.PONG:
                if self.pings:
                    note_pong(
                        self.pings, self.session.payload, <Py_ssize_t>self.session.payload_size,
                        x.connection.local.loop.time(),
                    )
            elif event == Event.CLOSE:
                self._peer_closed(x, direct)
            elif event == Event.FAILED:
                self._note_limit(x)
                self._peer_closed(x, direct)
            if x.ended or x.gone:
                return size
        self.session.settle()
        self._flush(x)
        if pinged and self.congested:
            self.throttled = True
        return used

    cdef int _note_limit(self, Exchange x) except -1:
        """Count and log a failure that is a limit's doing."""
        cdef Session session = self.session
        if session.close_code == MESSAGE_TOO_BIG:
            x.connection.over_limit(LIMIT_MESSAGE, <double>session.limits.message, MESSAGE_TOO_BIG)
        elif session.close_code == POLICY_VIOLATION:
            x.connection.over_limit(LIMIT_FRAGMENTS, <double>session.limits.fragments, POLICY_VIOLATION)
        return 0

    cdef int _message(self, Exchange x, bint direct) except -1:
        cdef object message
        if not self._wants_messages():
            return 0
        message = self.session.message()
        return self._push(x, message, len(message), direct)

    cdef Py_ssize_t _carried(self) noexcept:
        return PyByteArray_GET_SIZE(self.carry) if self.carry is not None else 0

    cdef int _carry(self, const char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t before = self._carried()
        if self.carry is None:
            self.carry = PyByteArray_FromStringAndSize(data, size)
        else:
            PyByteArray_Resize(self.carry, before + size)
            memcpy(PyByteArray_AS_STRING(self.carry) + before, data, <size_t>size)
        return 0

    cdef int _note_held(self, Exchange x) except -1:
        return x.hold(
            <int64_t>(self.held + <size_t>self._carried() + self.session.held() + self.out.size + self.backlog)
        )

    cdef int _balance_input(self, Exchange x) except -1:
        """Also of the carry, which goes on before the carrier does."""
        if x.ended or x.gone:
            self.carry = None
            return 0
        if self.carry is not None or not self._has_room():
            if not self.paused:
                self.paused = x.body_paused = True
                x.pause_body()
        if not self.paused or self.throttled or not self.accepted:
            return 0
        if not self._is_low():
            return 0
        if self.carry is not None or self.input_ended:
            return self._schedule_resume(x)
        self.paused = x.body_paused = False
        return x.resume_body()

    cdef int _schedule_resume(self, Exchange x) except -1:
        if not self.resume_scheduled:
            self.resume_scheduled = True
            x.connection.local.loop.call_soon(self._resume, x)
        return 0

    def _resume(self, Exchange x):
        cdef bytearray carry = self.carry   # which is dropped when everything ends meanwhile
        cdef Py_ssize_t used
        self.resume_scheduled = False
        if x.ended or x.gone:
            return
        if carry is not None:
            used = self._read(x, PyByteArray_AS_STRING(carry), PyByteArray_GET_SIZE(carry), False)
            if used < PyByteArray_GET_SIZE(carry):
                del carry[:used]
            else:
                self.carry = None
        if self.carry is None and self.input_ended and not x.ended:
            self._input_over(x)
            return
        self._balance_input(x)

    # --- sending

    cdef object send_message(self, Exchange x, bint text, const char* data, Py_ssize_t size, object owner):
        cdef char header[HEADER_MAX]
        cdef int used
        if not self.session.can_send():
            raise self.disconnect()
        self._borrow(x)
        if size < SEND_THROUGH or self.session.compresses(size):
            self.session.send_message(&self.out, text, data, size)
            return self._pushed(x)
        used = self.session.message_header(text, size, header)
        if buffer_append(&self.out, header, used) < 0:
            raise MemoryError()
        self._flush(x)
        self.congested = x.send_data(data, size, owner) == 0
        return self._pushed(x)

    cdef int send_shared(self, Exchange x, SharedMessage message) except -1:
        cdef bytes frame
        if not self.session.can_send():
            return 0
        if self.session.compresses(<size_t>PyBytes_GET_SIZE(message.payload)):
            frame = self._compressed(message)
        else:
            frame = message.frame()
        self.congested = x.send_data(PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), frame) == 0
        return 0

    cdef bytes _compressed(self, SharedMessage message):
        """The frame, compressed once for all connections that keep no context and agreed on the same."""
        cdef Deflate deflate = self.session.deflate
        cdef bytes frame = None
        cdef Buffer made
        if deflate.shared is not None:
            frame = <bytes>message.compressed.get(deflate.key)
        if frame is None:
            buffer_init(&made)
            try:
                self.session.send_message(
                    &made, message.is_text, PyBytes_AS_STRING(message.payload), <size_t>PyBytes_GET_SIZE(message.payload)
                )
                frame = PyBytes_FromStringAndSize(made.data, <Py_ssize_t>made.size)
            finally:
                buffer_free(&made)
            if deflate.shared is not None:
                message.compressed[deflate.key] = frame
        return frame

    cdef object send_ping(self, Exchange x, bytes data):
        cdef Pong pong
        if not self.session.can_send():
            raise self.disconnect()
        if not data:
            self.ping_count += 1
            data = self.ping_count.to_bytes(4, "big")
        self.session.send_ping(&self.out, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        pong = Pong.__new__(Pong)
        pong.x = x
        pong.payload = data
        pong.sent = x.connection.local.loop.time()
        pong.latency = -1
        if self.pings is None:
            self.pings = []
        elif len(self.pings) == MAX_PINGS:
            self._give_up_ping()
        self.pings.append(pong)
        self._flush(x)
        return pong

    cdef int _give_up_ping(self) except -1:
        cdef Pong oldest = <Pong>self.pings.pop(0)
        oldest.failure = TimeoutError(f"the peer has not answered this Ping, nor the {MAX_PINGS} after it")
        return oldest.wake()

    cdef object _pushed(self, Exchange x):
        self._flush(x)
        return WebSocketDriver._pushed(self, x)

    cdef int _flush(self, Exchange x) except -1:
        cdef LoopLocal local
        if self.out.size:
            self.congested = x.send_data(self.out.data, self.out.size, None) == 0
            self.out.size = 0
        if self.out.capacity:
            local = x.connection.local
            if local.spare.capacity == 0 and self.out.capacity <= SPARE_OUTPUT:
                local.spare = self.out
                buffer_init(&self.out)
            else:
                buffer_free(&self.out)
        return 0

    cdef int _borrow(self, Exchange x) noexcept:
        """Give our output, when it is empty, the capacity that is at hand: it is for the length of a call only."""
        cdef LoopLocal local = x.connection.local
        if self.out.capacity == 0:
            self.out = local.spare
            buffer_init(&local.spare)
        return 0

    # --- the end

    cdef int close(self, Exchange x, uint16_t code, str reason) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* text = PyUnicode_AsUTF8AndSize(reason, &size)
        if self.close_code or not self.session.can_send():
            return 0
        self.session.send_close(&self.out, code, text, size)
        self._note_close(x, code, reason)
        self._flush(x)
        # The peer's Close may stand behind messages that nobody will take.
        self._drop_messages()
        self._balance_input(x)
        if self.receiving:
            self.waiter.wake(False)
        if self.sink is not None:
            x.connection.local.loop.call_soon(self._close_sink, x)
        self.timer = x.connection.local.loop.call_later(CLOSE_TIMEOUT, self._close_timed_out, x)
        return 0

    def _close_timed_out(self, Exchange x):
        self.timer = None
        if not x.gone:
            x.end(None)
        self._wake_senders()
        if self.handler_done:
            x.finish()

    cdef int _peer_closed(self, Exchange x, bint direct) except -1:
        """A Close frame came, or the peer broke the rules: our last frame is in `out`."""
        cdef Session session = self.session
        cdef bint first = not self.close_code
        cdef str reason
        if first:
            reason = PyUnicode_DecodeUTF8(session.payload, session.payload_size, NULL)
            self._note_close(x, session.close_code, reason)
        self._flush(x)
        self._stop_timer()
        x.end(None)
        if first:
            self._release_handler(x, False, direct)
        return self._wake_senders()

    cdef int _input_over(self, Exchange x) except -1:
        """The peer will send no more, and no Close came: it is gone, as far as WebSocket goes."""
        cdef bint first = not self.close_code
        self.session.receive_end()
        self._stop_timer()
        if first:
            self._note_close(x, ABNORMAL_CLOSURE, "")
        x.end(None)
        if first:
            self._release_handler(x, True, False)
        return self._wake_senders()
