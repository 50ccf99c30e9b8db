"""The driver of one WebSocket connection: input -> machine -> queue of messages, output, and the close."""

from libc.stdint cimport uint8_t, uint16_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.serve.waiter cimport Waiter
from fastnet_ext.websocket.session cimport Limits, Session


cdef enum:
    # Messages, and bytes of them, that wait for their receiver before input pauses; it goes on when half
    # of that is taken. The machine is not asked for more than fits, so that tiny messages cannot
    # multiply what a read buffer holds.
    QUEUE_MESSAGES = 16
    QUEUE_BYTES = 1024 * 1024
    # Messages of one piece of input that a waiting handler gets at once; for those after them it waits for
    # its turn of the loop, so that one peer's many small messages do not keep the others waiting.
    DIRECT_MESSAGES = 256
    # Payloads from here on go to the carrier from where they are.
    SEND_THROUGH = 16 * 1024
    # What an idle connection keeps of the memory for its output.
    KEPT_OUTPUT = 4096


cdef class WebSocketDriver(Responder):
    # --- the machine, and what it and `send` wrote that the carrier does not have yet
    cdef Session session
    cdef Buffer out

    # --- messages that wait: a ring, `count` of them from `first` on, `held` bytes (of
    # text: characters); empty once we have closed
    cdef list ring
    cdef uint8_t first
    cdef uint8_t count
    cdef size_t held

    # --- input. `carry` holds bytes that came after the queue was full (or before the hand-shake was
    # answered, over HTTP/2); they are read, and `input_ended` acted on, when there is room again.
    cdef Buffer carry
    cdef bint paused            # the carrier was asked to bring no more
    cdef bint input_ended
    cdef bint resume_scheduled
    cdef bint congested         # the peer does not take what we write: until on_writable
    cdef bint throttled         # it pings us meanwhile: no input until then, since nobody waits for room for a Pong

    # --- who waits: one receiver (its Task waits on `waiter` while `receiving`), any number of senders (futures)
    cdef Waiter waiter
    cdef bint receiving
    cdef list senders

    # --- its life. `close_code` is 0 while open; then it and the reason are of the first Close, or 1006.
    cdef bint accepted
    cdef bint leaving           # the server stops: closed as soon as it is accepted
    cdef uint16_t close_code
    cdef str close_reason
    cdef bint peer_left         # the peer closed or vanished before we closed
    cdef object task            # the handler's Task; None before it has one and after its end
    cdef bint handler_done
    cdef bint patient           # the handler is told that the peer left, and never cancelled for it
    # One at a time: the peer's Close is overdue (we closed), or the handler's end is (the peer left).
    cdef object timer

    # Sending, once accepted. Each raises WebSocketDisconnect when the connection is closed; what is
    # returned is awaited until there is room for more.
    cdef object send_message(self, Exchange x, bint text, const char* data, Py_ssize_t size, object owner)
    cdef object send_ping(self, Exchange x, const char* data, Py_ssize_t size)
    # Nothing is done when the connection is closed. ValueError: RFC 6455 forbids that code or reason.
    cdef int close(self, Exchange x, uint16_t code, str reason) except -1

    # The next message; the caller knows that there is one.
    cdef object take(self, Exchange x)
    cdef object disconnect(self)        # the exception that says how it was closed

    cdef int opened(self, Exchange x) except -1         # the hand-shake was answered
    cdef int handler_ended(self, Exchange x) except -1

    cdef Py_ssize_t _read(self, Exchange x, char* data, size_t size, bint direct) except -1
    cdef int _note_limit(self, Exchange x) except -1
    cdef int _message(self, bint direct) except -1
    cdef int _peer_closed(self, Exchange x, bint direct) except -1
    cdef int _input_over(self, Exchange x) except -1
    cdef int _release_handler(self, Exchange x, bint at_once, bint direct) except -1
    cdef int _wake_senders(self) except -1
    cdef object _pushed(self, Exchange x)
    cdef int _flush(self, Exchange x) except -1
    cdef int _note_close(self, Exchange x, uint16_t code, str reason) except -1
    cdef int _drop_messages(self) except -1
    cdef int _note_held(self, Exchange x) except -1
    cdef int _balance_input(self, Exchange x) except -1
    cdef int _schedule_resume(self, Exchange x) except -1
    cdef int _stop_timer(self) except -1
    cdef bint _has_room(self) noexcept
    cdef bint _wants_messages(self) noexcept


cdef class Room:
    """The wait of one sender until the peer takes data again."""

    cdef WebSocketDriver driver
    cdef Exchange x
    cdef object future


cdef WebSocketDriver new_driver(Exchange x, Limits limits)

# An awaitable that never waits.
cdef object ready()

# What `throw` of an awaitable was given, as an instance.
cdef object as_exception(kind, value)
