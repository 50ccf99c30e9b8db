"""The driver of one WebSocket connection: its messages, who waits for them, and its end.

    WebSocketDriver     what the handler's `WebSocket` asks, whatever brings the messages
    Sink                takes the messages in place of a handler that receives: websocket_callbacks.pxd
    Follower            is told of the connection's end and of its room for output: hub.pxd
    FrameDriver         over a tunnel of bytes: websocket_frames.pxd
    MessageDriver       over a carrier that frames messages itself: websocket_messages.pxd
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastnet_ext.core.flag cimport flag
from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.serve.waiter cimport Waiter


cdef enum:
    # Messages, and bytes of them, that wait for their receiver before input pauses; it goes on when half
    # of that is taken. The machine is not asked for more than fits, so that tiny messages cannot
    # multiply what a read buffer holds.
    QUEUE_MESSAGES = 16
    QUEUE_BYTES = 1024 * 1024
    # Pings of the handler's that may be unanswered; the oldest is given up for one more.
    MAX_PINGS = 16


cdef enum:
    # RFC 6455, 7.4.1. The second says that there was no Close frame, and is never sent.
    GOING_AWAY = 1001
    ABNORMAL_CLOSURE = 1006
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009


cdef class Sink:
    """Takes the messages of one connection as they come, synchronously; nothing raises."""

    cdef int on_message(self, Exchange x, object message) except -1
    # The connection is closed, by either side: once, after the last message.
    cdef int on_closed(self, Exchange x) except -1


cdef class Follower:
    """Somebody beside the handler who sends on a connection."""

    # Closed, by either side: nothing can be sent any more. Once.
    cdef int on_closed(self, Exchange x) except -1
    # The peer takes output again.
    cdef int on_room(self, Exchange x) except -1


cdef class SharedMessage:
    """One message for many connections: encoded once, its bytes shared by all that send them."""

    cdef readonly bint is_text
    cdef readonly bytes payload     # of text its UTF-8
    cdef bytes _frame
    # The same compressed, by Deflate.key; what a connection compresses with a context of its own is not here.
    cdef dict compressed

    # The whole frame as a server sends it, without extensions.
    cdef bytes frame(self)


# The handler's end and that of the connection cut what it holds, so the garbage collector need not look.
@cython.no_gc
cdef class WebSocketDriver(Responder):
    # --- messages that wait: `count` of them, `held` bytes (of text: characters); none once we have closed. The next one
    # to be taken is in `oldest`, those behind it are in a ring from `first` on, which few connections ever need.
    cdef object oldest
    cdef list ring
    cdef size_t held

    # --- who waits: one receiver (its Task waits on `waiter` while `receiving`), any number of senders (futures)
    cdef Waiter waiter
    cdef list senders

    # --- what stands in for a receiver, and who else sends; both None for most
    cdef Sink sink
    cdef list followers
    cdef size_t backlog         # bytes that followers keep for this connection

    # --- signs of life. `silent` seconds without a byte of the peer, as far as sweeps have seen, since it was heard
    # or pinged last; `misses` pings of ours in a row without one.
    cdef float silent
    cdef float ping_interval    # 0: no pings; below 0: the listener's
    cdef list pings             # the handler's that are not answered, oldest first; None

    # --- its life. `close_code` is 0 while open; then it and the reason are of the first Close, or 1006.
    cdef str close_reason
    cdef object task            # the handler's Task; None before it has one and after its end
    # One at a time: the peer's Close is overdue (we closed), or the handler's end is (the peer left).
    cdef object timer

    # --- and of all these what is small, side by side, since an idle connection is to cost little
    cdef uint32_t ping_count
    cdef uint16_t close_code
    cdef uint8_t first
    cdef uint8_t count
    cdef uint8_t misses
    cdef flag heard
    cdef flag silent_for_good   # which is why it is left
    cdef flag paused            # the carrier was asked to bring no more
    cdef flag congested         # the peer does not take what we write: until on_writable
    cdef flag receiving
    cdef flag accepted
    cdef flag leaving           # the server stops: closed as soon as it is accepted
    cdef flag peer_left         # the peer closed or vanished before we closed
    cdef flag handler_done
    cdef flag patient           # the handler is told that the peer left, and never cancelled for it
    # Of a FrameDriver.
    cdef flag input_ended
    cdef flag resume_scheduled
    cdef flag throttled         # the peer pings us while `congested`: no input until it takes output, since nobody
                                # waits for room for a Pong

    # --- what brings the messages implements these
    # Sending, once accepted. Each raises WebSocketDisconnect when the connection is closed; what is
    # returned is awaited until there is room for more.
    cdef object send_message(self, Exchange x, bint text, const char* data, Py_ssize_t size, object owner)
    cdef object send_ping(self, Exchange x, bytes data)
    # The same message as many others get; nothing is done when the connection is closed.
    cdef int send_shared(self, Exchange x, SharedMessage message) except -1
    # Nothing is done when the connection is closed. ValueError: RFC 6455 forbids that code or reason.
    cdef int close(self, Exchange x, uint16_t code, str reason) except -1
    # Pause the carrier when there is no room; let it go on when there is again.
    cdef int _balance_input(self, Exchange x) except -1
    # Tell the exchange how much is kept here.
    cdef int _note_held(self, Exchange x) except -1

    # --- the same for all
    # The next message; the caller knows that there is one.
    cdef object take(self, Exchange x)
    cdef int _push_behind(self, object message) except -1
    cdef object disconnect(self)        # the exception that says how it was closed
    cdef int opened(self, Exchange x) except -1         # the hand-shake was answered
    cdef int handler_ended(self, Exchange x) except -1

    cdef int _release_handler(self, Exchange x, bint at_once, bint direct) except -1
    cdef int _wake_senders(self) except -1
    cdef object _pushed(self, Exchange x)
    cdef int _sink_closed(self, Exchange x) except -1
    cdef int _note_close(self, Exchange x, uint16_t code, str reason) except -1
    cdef int _drop_messages(self) except -1
    cdef int _stop_timer(self) except -1

    cdef inline bint _wants_messages(self) noexcept:
        return not self.handler_done and not self.close_code

    # Whether more messages may come; the rest of those that came is for nobody.
    # A sink takes them at once, while the peer takes what it is sent.
    cdef inline bint _has_places(self) noexcept:
        if self.sink is not None:
            return not self.congested
        return not self._wants_messages() or (self.count < QUEUE_MESSAGES and self.held < QUEUE_BYTES)

    # Half of what may wait is taken: input goes on.
    cdef inline bint _is_low(self) noexcept:
        if self.sink is not None:
            return not self.congested
        return not self._wants_messages() or (2 * self.count <= QUEUE_MESSAGES and 2 * self.held <= QUEUE_BYTES)

    # A message came; the caller knows that there is a place for it.
    cdef inline int _push(self, Exchange x, object message, Py_ssize_t size, bint direct) except -1:
        if self.sink is not None:
            return self.sink.on_message(x, message)
        if self.count == 0:
            self.oldest = message
        else:
            self._push_behind(message)
        self.count += 1
        self.held += size
        return self.waiter.wake(direct) if self.receiving else 0


cdef class Room:
    """The wait of one sender until the peer takes data again."""

    cdef WebSocketDriver driver
    cdef Exchange x
    cdef object future


cdef class Pong:
    """The wait for the answer to one Ping."""

    cdef Exchange x
    cdef bytes payload
    cdef double sent            # by the loop's clock
    cdef double latency         # below 0 until it came
    cdef object failure         # the exception with which it ends instead; None
    cdef object waiter          # future, None
    cdef object future          # its iterator

    cdef int wake(self) except -1


# A Pong came: it answers the Ping that it repeats, and those before it (RFC 6455, 5.5.3).
cdef int note_pong(list pings, const char* data, Py_ssize_t size, double now) except -1

# An awaitable that never waits.
cdef object ready()

# What `throw` of an awaitable was given, as an instance.
cdef object as_exception(kind, value)
