# cython: freethreading_compatible=True
"""Drives one WebSocket connection: the carrier's bytes through the machine to the handler and back.

websocket_driver.pxd is the map. Nothing here knows about handlers' signatures or hand-shakes.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint16_t

from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_consume, buffer_free, buffer_init
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.limits cimport LIMIT_FRAGMENTS, LIMIT_MESSAGE
from fastnet_ext.serve.errors import WebSocketDisconnect
from fastnet_ext.serve.waiter cimport Waiter
from fastnet_ext.websocket.frames cimport HEADER_MAX
from fastnet_ext.websocket.session cimport Event, Limits, Role, Session, new_session

# Seconds: how long the peer may take to answer our Close, and a handler to end after the peer left.
cdef double CLOSE_TIMEOUT = 10.0

cdef enum:
    # RFC 6455, 7.4.1. The second says that there was no Close frame, and is never sent.
    GOING_AWAY = 1001
    ABNORMAL_CLOSURE = 1006
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009


cdef WebSocketDriver new_driver(Exchange x, Limits limits):
    cdef WebSocketDriver driver = WebSocketDriver.__new__(WebSocketDriver)
    driver.session = new_session(Role.SERVER, limits)
    driver.waiter = Waiter(x.connection.local.runners)
    return driver


@cython.final
cdef class WebSocketDriver(Responder):
    def __cinit__(self):
        buffer_init(&self.out)
        buffer_init(&self.carry)
        self.ring = [None] * QUEUE_MESSAGES
        self.close_reason = ""

    def __dealloc__(self):
        buffer_free(&self.out)
        buffer_free(&self.carry)

    # --- what the carrier tells

    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t used = 0
        if not self.accepted and x.version < 20:
            return 0
        if self.accepted and self.carry.size == 0:
            used = self._read(x, data, size, True)
        if used < size:
            if buffer_append(&self.carry, data + used, size - used) < 0:
                raise MemoryError()
        self._note_held(x)
        return self._balance_input(x)

    cdef int on_end(self, Exchange x) except -1:
        # The end of the exchange drops its references to us, which may be the only ones.
        cdef WebSocketDriver alive = self
        if not self.accepted and x.version < 20:
            return 0    # of the request, whose connection goes on
        if self.carry.size or not self.accepted:
            self.input_ended = True
            return 0
        return alive._input_over(x)

    cdef int on_drain(self, Exchange x) except -1:
        """The server stops: say goodbye; the handler ends as after any Close."""
        self.leaving = True
        if self.accepted:
            self.close(x, GOING_AWAY, "the server is shutting down")
        return 0

    def _say_goodbye(self, Exchange x):
        if not x.ended and not x.gone:
            self.close(x, GOING_AWAY, "the server is shutting down")

    cdef int on_gone(self, Exchange x, int why) except -1:
        cdef bint first = not self.close_code
        self.session.receive_end()
        self._stop_timer()
        self.congested = False
        buffer_free(&self.carry)
        if first:
            self._note_close(x, ABNORMAL_CLOSURE, "")
            self._release_handler(x, True, False)
        self._wake_senders()
        return x.finish() if self.handler_done else 0

    cdef int on_writable(self, Exchange x) except -1:
        self.congested = self.throttled = False
        self._wake_senders()
        return self._balance_input(x)

    # --- input

    cdef bint _wants_messages(self) noexcept:
        return not self.handler_done and not self.close_code

    cdef bint _has_room(self) noexcept:
        if self.throttled:
            return False
        return not self._wants_messages() or (self.count < QUEUE_MESSAGES and self.held < QUEUE_BYTES)

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
                self._message(direct and stepped <= DIRECT_MESSAGES)
            elif event == Event.PING:
                pinged = True
            elif event == Event.CLOSE:
                self._peer_closed(x, direct)
            elif event == Event.FAILED:
                self._note_limit(x)
                self._peer_closed(x, direct)
            if x.ended or x.gone:
                return size
        self._flush(x)
        if pinged and self.congested:
            self.throttled = True
        return used

    cdef int _note_limit(self, Exchange x) except -1:
        """Count and log a failure that is a limit's doing."""
        cdef Session session = self.session
        if session.close_code == MESSAGE_TOO_BIG:
            x.connection.over_limit(LIMIT_MESSAGE, <double>session.message_limit, MESSAGE_TOO_BIG)
        elif session.close_code == POLICY_VIOLATION:
            x.connection.over_limit(LIMIT_FRAGMENTS, <double>session.fragment_limit, POLICY_VIOLATION)
        return 0

    cdef int _message(self, bint direct) except -1:
        cdef Session session = self.session
        cdef object message
        if not self._wants_messages():
            return 0
        if session.is_text:
            message = PyUnicode_DecodeUTF8(session.message, session.message_size, NULL)
        else:
            message = PyBytes_FromStringAndSize(session.message, session.message_size)
        self.ring[(self.first + self.count) % QUEUE_MESSAGES] = message
        self.count += 1
        self.held += len(message)
        if self.receiving:
            self.waiter.wake(direct)
        return 0

    cdef object take(self, Exchange x):
        cdef object message = self.ring[self.first]
        self.ring[self.first] = None
        self.first = (self.first + 1) % QUEUE_MESSAGES
        self.count -= 1
        self.held -= len(message)
        if self.paused:
            self._balance_input(x)
        self._note_held(x)
        return message

    cdef int _note_held(self, Exchange x) except -1:
        return x.hold(<int64_t>(self.held + self.carry.size + self.session.held() + self.out.size))

    cdef int _drop_messages(self) except -1:
        while self.count:
            self.count -= 1
            self.ring[(self.first + self.count) % QUEUE_MESSAGES] = None
        self.held = 0
        return 0

    cdef int _balance_input(self, Exchange x) except -1:
        """Pause the carrier when there is no room; let it, or the carry, go on when there is again."""
        cdef bint low
        if x.ended or x.gone:
            buffer_free(&self.carry)
            return 0
        if self.carry.size or not self._has_room():
            if not self.paused:
                self.paused = x.body_paused = True
                x.pause_body()
        if not self.paused or self.throttled or not self.accepted:
            return 0
        low = 2 * self.count <= QUEUE_MESSAGES and 2 * self.held <= QUEUE_BYTES
        if not low and self._wants_messages():
            return 0
        if self.carry.size or self.input_ended:
            return self._schedule_resume(x)
        self.paused = x.body_paused = False
        return x.resume_body()

    cdef int _schedule_resume(self, Exchange x) except -1:
        if not self.resume_scheduled:
            self.resume_scheduled = True
            x.connection.local.loop.call_soon(self._resume, x)
        return 0

    def _resume(self, Exchange x):
        cdef Py_ssize_t used
        self.resume_scheduled = False
        if x.ended or x.gone:
            return
        used = self._read(x, self.carry.data, self.carry.size, False)
        buffer_consume(&self.carry, used)
        if self.carry.size == 0:
            buffer_free(&self.carry)
            if self.input_ended and not x.ended:
                self._input_over(x)
                return
        self._balance_input(x)

    # --- sending

    cdef object send_message(self, Exchange x, bint text, const char* data, Py_ssize_t size, object owner):
        cdef char header[HEADER_MAX]
        cdef int used
        if not self.session.can_send():
            raise self.disconnect()
        if size < SEND_THROUGH:
            self.session.send_message(&self.out, text, data, size)
            return self._pushed(x)
        used = self.session.message_header(text, size, header)
        if buffer_append(&self.out, header, used) < 0:
            raise MemoryError()
        self._flush(x)
        self.congested = x.send_data(data, size, owner) == 0
        return self._pushed(x)

    cdef object send_ping(self, Exchange x, const char* data, Py_ssize_t size):
        if not self.session.can_send():
            raise self.disconnect()
        self.session.send_ping(&self.out, data, size)
        return self._pushed(x)

    cdef object _pushed(self, Exchange x):
        """What a sender waits for after it has written."""
        cdef Room room
        self._flush(x)
        if not self.congested:
            return READY
        room = Room.__new__(Room)
        room.driver = self
        room.x = x
        return room

    cdef int _flush(self, Exchange x) except -1:
        if self.out.size:
            self.congested = x.send_data(self.out.data, self.out.size, None) == 0
            self.out.size = 0
            if self.out.capacity > KEPT_OUTPUT:
                buffer_free(&self.out)
        return 0

    cdef int _wake_senders(self) except -1:
        cdef list senders = self.senders
        if senders is not None:
            self.senders = None
            for future in senders:
                if not future.done():
                    future.set_result(None)
        return 0

    # --- the end

    cdef int opened(self, Exchange x) except -1:
        self.accepted = True
        if self.leaving:
            # In a turn of its own: whoever opens it goes on with it first.
            x.connection.local.loop.call_soon(self._say_goodbye, x)
        if self.carry.size or self.input_ended:
            self._schedule_resume(x)
        return 0

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
            reason = PyUnicode_DecodeUTF8(session.close_reason, session.close_reason_size, NULL)
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

    cdef int _release_handler(self, Exchange x, bint at_once, bint direct) except -1:
        """The peer has left. Whoever receives is told; a handler that waits for something else is cancelled.

        Not while there are messages to take that came before a Close (`at_once` is false), nor when
        one of the handler's Tasks receives: then it has CLOSE_TIMEOUT to end by itself. A `patient` driver
        cancels nobody.
        """
        cdef object task = self.task
        cdef bint own
        self.peer_left = True
        if self.patient:
            return self.waiter.wake(direct) if self.receiving else 0
        if self.handler_done or task is None:
            return 0
        if not self.receiving and (at_once or self.count == 0):
            task.cancel()
            return 0
        # A handler that waits in a receive itself, and for nothing else, ends in its own time.
        own = self.receiving and self.count == 0 and getattr(task, "_fut_waiter", None) is self.waiter
        if not own:
            self.timer = x.connection.local.loop.call_later(CLOSE_TIMEOUT, self._handler_overdue)
        if self.receiving:
            self.waiter.wake(direct)
        return 0

    def _handler_overdue(self):
        self.timer = None
        if self.task is not None:
            self.task.cancel()

    cdef int handler_ended(self, Exchange x) except -1:
        self.handler_done = True
        self.task = None
        self._drop_messages()
        if x.ended or x.gone:
            self._stop_timer()
            return x.finish()
        return self._balance_input(x)

    cdef int _note_close(self, Exchange x, uint16_t code, str reason) except -1:
        x.outcome = code
        self.close_code = code
        self.close_reason = reason
        return 0

    cdef object disconnect(self):
        return WebSocketDisconnect(self.close_code or ABNORMAL_CLOSURE, self.close_reason)

    cdef int _stop_timer(self) except -1:
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        return 0


# --- what senders wait on

@cython.final
cdef class Ready:
    """An awaitable that never waits; without state, so one serves all."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def send(self, value):
        raise StopIteration

    def throw(self, kind, value=None, traceback=None):
        raise as_exception(kind, value)

    def close(self):
        pass


# Immutable.
cdef Ready READY = Ready()


cdef object ready():
    return READY


cdef object as_exception(kind, value):
    """What ``throw`` was given, as an instance."""
    if not isinstance(kind, type):
        return kind
    return value if isinstance(value, kind) else kind() if value is None else kind(value)


@cython.final
cdef class Room:
    """The wait for a slow peer; raises ``WebSocketDisconnect`` when it left meanwhile."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef WebSocketDriver driver = self.driver
        if self.future is None and driver.congested:
            future = self.x.connection.local.loop.create_future()
            if driver.senders is None:
                driver.senders = []
            driver.senders.append(future)
            self.future = iter(future.__await__())
            return next(self.future)
        if self.x.gone or driver.peer_left:
            raise driver.disconnect()
        raise StopIteration

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        raise as_exception(kind, value)

    def close(self):
        pass
