# cython: freethreading_compatible=True
"""One WebSocket connection between its handler and what brings its messages; websocket_driver.pxd is the map.

Nothing here knows about handlers' signatures, hand-shakes or frames.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp, memcpy

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.serve.errors import WebSocketDisconnect
from fastnet_ext.websocket.frames cimport FIN, HEADER_MAX, OPCODE_BINARY, OPCODE_TEXT, write_header

# Seconds that a handler gets to end after the peer left.
cdef double HANDLER_TIMEOUT = 10.0


cdef class Sink:
    cdef int on_message(self, Exchange x, object message) except -1:
        raise NotImplementedError

    cdef int on_closed(self, Exchange x) except -1:
        raise NotImplementedError


cdef class Follower:
    cdef int on_closed(self, Exchange x) except -1:
        raise NotImplementedError

    cdef int on_room(self, Exchange x) except -1:
        raise NotImplementedError


@cython.final
cdef class SharedMessage:
    """``SharedMessage(message)``: ``str`` is sent as text, ``bytes`` (and what has a buffer) as a binary message."""

    def __init__(self, message):
        self.compressed = {}
        self.is_text = isinstance(message, str)
        if self.is_text:
            self.payload = (<str>message).encode()
        elif isinstance(message, (bytes, bytearray, memoryview)):
            self.payload = bytes(message)
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")

    cdef bytes frame(self):
        cdef char header[HEADER_MAX]
        cdef Py_ssize_t size = PyBytes_GET_SIZE(self.payload)
        cdef size_t used
        if self._frame is None:
            used = write_header(header, <uint8_t>(FIN | (OPCODE_TEXT if self.is_text else OPCODE_BINARY)), size, NULL)
            self._frame = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>used + size)
            memcpy(PyBytes_AS_STRING(self._frame), header, used)
            memcpy(PyBytes_AS_STRING(self._frame) + used, PyBytes_AS_STRING(self.payload), size)
        return self._frame


@cython.no_gc
cdef class WebSocketDriver(Responder):
    def __cinit__(self):
        self.close_reason = ""
        self.ping_interval = -1

    # --- implemented by what brings the messages

    cdef object send_message(self, Exchange x, bint text, const char* data, Py_ssize_t size, object owner):
        raise NotImplementedError

    cdef object send_ping(self, Exchange x, bytes data):
        raise NotImplementedError

    cdef int send_shared(self, Exchange x, SharedMessage message) except -1:
        raise NotImplementedError

    cdef int close(self, Exchange x, uint16_t code, str reason) except -1:
        raise NotImplementedError

    cdef int _balance_input(self, Exchange x) except -1:
        raise NotImplementedError

    cdef int _note_held(self, Exchange x) except -1:
        raise NotImplementedError

    # --- what the carrier tells

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
        self._stop_timer()
        self.congested = False
        if first:
            self._note_close(x, ABNORMAL_CLOSURE, "no answer to pings" if self.silent_for_good else "")
            self._release_handler(x, True, False)
        self._wake_senders()
        return x.finish() if self.handler_done else 0

    cdef int on_writable(self, Exchange x) except -1:
        self.congested = False
        if self.followers is not None:
            # A copy: what they send may end the connection.
            for follower in self.followers[:]:
                (<Follower>follower).on_room(x)
        self._wake_senders()
        return self._balance_input(x)

    # --- messages that wait

    cdef object take(self, Exchange x):
        cdef object message = self.oldest
        self.count -= 1
        if self.count:
            self.oldest = self.ring[self.first]
            self.ring[self.first] = None
            self.first = (self.first + 1) % QUEUE_MESSAGES
        else:
            self.oldest = None
        self.held -= len(message)
        if self.paused:
            self._balance_input(x)
        self._note_held(x)
        return message

    cdef int _push_behind(self, object message) except -1:
        if self.ring is None:
            self.ring = [None] * QUEUE_MESSAGES
        self.ring[(self.first + self.count - 1) % QUEUE_MESSAGES] = message
        return 0

    cdef int _drop_messages(self) except -1:
        self.oldest = self.ring = None
        self.count = self.first = 0
        self.held = 0
        return 0

    # --- sending

    cdef object _pushed(self, Exchange x):
        """What a sender waits for after it has written."""
        cdef Room room
        if not self.congested:
            return READY
        room = Room.__new__(Room)
        room.driver = self
        room.x = x
        return room

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
        return 0

    cdef int _release_handler(self, Exchange x, bint at_once, bint direct) except -1:
        """The peer has left. Whoever receives is told; a handler that waits for something else is cancelled.

        Not while there are messages to take that came before a Close (`at_once` is false), nor when
        one of the handler's Tasks receives: then it has HANDLER_TIMEOUT to end by itself. A `patient` driver
        cancels nobody.
        """
        cdef object task = self.task
        cdef bint own
        self.peer_left = True
        if self.sink is not None:
            return self._sink_closed(x)
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
            self.timer = x.connection.local.loop.call_later(HANDLER_TIMEOUT, self._handler_overdue)
        if self.receiving:
            self.waiter.wake(direct)
        return 0

    def _handler_overdue(self):
        self.timer = None
        if self.task is not None:
            self.task.cancel()

    cdef int _sink_closed(self, Exchange x) except -1:
        cdef Sink sink = self.sink
        self.sink = None
        if sink is not None:
            sink.on_closed(x)
        return 0

    def _close_sink(self, Exchange x):
        self._sink_closed(x)

    cdef int handler_ended(self, Exchange x) except -1:
        self.handler_done = True
        self.task = None
        self._drop_messages()
        x.call_stays = False
        if x.finished:
            x.call = None
        if x.ended or x.gone:
            self._stop_timer()
            return x.finish()
        return self._balance_input(x)

    cdef int _note_close(self, Exchange x, uint16_t code, str reason) except -1:
        cdef list followers = self.followers
        cdef list pings = self.pings
        x.outcome = code
        self.close_code = code
        self.close_reason = reason
        self.followers = self.pings = None
        if followers is not None:
            for follower in followers:
                (<Follower>follower).on_closed(x)
        if pings is not None:
            for pong in pings:
                (<Pong>pong).failure = self.disconnect()
                (<Pong>pong).wake()
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


@cython.final
cdef class Pong:
    """What ``ws.ping()`` returns: awaited, it gives the seconds that the answer took.

    Raises ``WebSocketDisconnect`` when the connection ends first, and ``TimeoutError`` once too many later pings are
    unanswered as well.
    """

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.latency >= 0:
            raise StopIteration(self.latency)
        if self.failure is not None:
            raise self.failure
        if self.future is None:
            self.waiter = self.x.connection.local.loop.create_future()
            self.future = iter(self.waiter.__await__())
        return next(self.future)

    def send(self, value):
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        raise as_exception(kind, value)

    def close(self):
        pass

    cdef int wake(self) except -1:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        return 0


cdef int note_pong(list pings, const char* data, Py_ssize_t size, double now) except -1:
    cdef Pong pong
    cdef Py_ssize_t i, j
    for i in range(len(pings)):
        pong = <Pong>pings[i]
        if PyBytes_GET_SIZE(pong.payload) == size and memcmp(PyBytes_AS_STRING(pong.payload), data, size) == 0:
            for j in range(i + 1):
                pong = <Pong>pings[j]
                pong.latency = max(now - pong.sent, 0.0)
                pong.wake()
            del pings[:i + 1]
            return 0
    return 0
