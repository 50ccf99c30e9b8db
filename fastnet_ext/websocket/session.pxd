"""One WebSocket connection after its hand-shake, either role: bytes in, events and bytes out.

The driver's loop, for every piece of input:

    while size:
        event = session.next(out, data, size, &consumed)
        data += consumed
        size -= consumed
        if event == Event.NEED_DATA: break      # everything is consumed
        ...                                     # act on the event, flush `out` when convenient

Answers that the protocol asks for (Pong, the echo of Close, the Close of a failure) are appended to
`out`, which the driver owns. An event is about the past only: what it caused is in `out` already, so
a driver that still owes answers to earlier messages appends those before it calls `next` again.

The enums' names are scoped (Event.CLOSE, Role.SERVER, State.OPEN), so a driver of several protocols
can cimport each `Event` under a name of its own.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.flag cimport flag
from fastnet_ext.websocket.deflate cimport Deflate
from fastnet_ext.websocket.frames cimport CONTROL_MAX, Fault, Frame


cdef extern from "fastnet_ext/websocket/states.h" nogil:
    # The states, and the table of what each allows: see states.h.
    ctypedef enum State "fn_ws_state":
        OPEN "FN_WS_OPEN"
        CLOSING "FN_WS_CLOSING"
        CLOSED "FN_WS_CLOSED"
        ENDED_BY_FAULT "FN_WS_FAILED"

    ctypedef enum Input "fn_ws_input":
        SEND_DATA "FN_WS_SEND_DATA"
        SEND_CONTROL "FN_WS_SEND_CONTROL"
        SEND_CLOSE "FN_WS_SEND_CLOSE"
        RECEIVE_FRAME "FN_WS_RECEIVE_FRAME"
        RECEIVE_CLOSE "FN_WS_RECEIVE_CLOSE"
        BREAK_RULE "FN_WS_BREAK_RULE"
        END_OF_INPUT "FN_WS_END_OF_INPUT"

    enum:
        REFUSED "FN_WS_REFUSED"

    const uint8_t TRANSITIONS "FN_WS_TRANSITIONS" [4][7]


cdef enum Role:
    SERVER  # expects masked frames, sends them unmasked
    CLIENT  # the other way round; keys come from the system's random source


cdef enum Event:
    RAISED = -1   # a Python exception is set (MemoryError; urandom failed)
    NEED_DATA = 0
    MESSAGE       # payload, is_text
    PING          # payload; the Pong is in `out`, unless automatic_pong is off
    PONG          # payload
    CLOSE         # close_code, payload: its reason; the echo is in `out`, unless we had sent Close before
    FAILED        # close_code, payload: its reason; the Close is in `out`, unless we had sent one before


cdef class Limits:
    """What one peer may make a session hold; shared by the sessions of a route, never changed in use."""

    # Bytes of one message, all its fragments together. A frame that would exceed it is refused by its
    # header, before any of its payload is kept (1009). Of a compressed message, what it decompresses to.
    cdef readonly uint64_t message
    # Bytes of a compressed message as they come.
    cdef uint64_t packed
    # Fragments of one message, empty ones included (1008). Fragments are appended to one run of bytes, so
    # they cost no memory of their own; the count bounds the work that a message of any size can cause.
    cdef readonly uint32_t fragments


cdef class Session:
    # What the peer may send, and permessage-deflate, where it was agreed on: see `use_deflate`.
    cdef Limits limits
    cdef Deflate deflate

    # The frame being read. A header in pieces waits in it as well, `header_have` bytes; `fault` says what is
    # wrong with the last one by itself. With `in_frame`, `frame` is the header of the frame being read, frame.size the payload bytes still
    # to come and frame.key the key turned to the next of them.
    cdef Frame frame
    # CONTROL_MAX bytes for a control frame's payload that comes in pieces, NULL until one does; those in one piece stay
    # where they arrived.
    cdef char* control_bytes

    # The message being read: its opcode (0 between messages), the fragments begun, the bytes that arrived
    # before its last frame was whole. `delivered`: `assembled` was handed out and is emptied by `next`.
    # `compressed`: it came with RSV1; `packed` bytes of it have been announced by headers so far.
    cdef uint64_t packed
    cdef Buffer assembled

    # What the last event brought: the message (`is_text`: then it is valid UTF-8), what a Ping or Pong says, or the
    # reason of a Close or a failure (valid UTF-8, not terminated). Valid until the next call of `next` only: it points into
    # the caller's data, into this session, or (the reason of a failure) at a constant. A binary message that lies whole
    # in the caller's data is `still_masked` there: `message` unmasks it as it copies it, in one pass.
    cdef const char* payload
    cdef size_t payload_size

    # A client's store of random masks.
    cdef bytes masks
    cdef uint16_t masks_used

    # And of all these what is small, side by side, since an idle connection is to cost little.
    cdef readonly uint16_t close_code   # 0 until closed; 1005 without a code, 1006 without a Close frame
    cdef uint32_t fragments
    cdef readonly uint8_t role          # Role
    cdef readonly uint8_t state         # State: where we are in the connection's life
    cdef uint8_t header_have
    cdef uint8_t fault                  # Fault
    cdef uint8_t control_have
    cdef uint8_t opcode
    cdef uint8_t utf8
    cdef flag in_frame
    cdef flag delivered
    cdef flag compressed
    cdef flag is_text
    cdef flag still_masked
    cdef flag sending                   # within a fragmented message (send_fragment), and whether that is compressed
    cdef flag sending_compressed
    cdef public flag automatic_pong     # answer pings in `next` (the default)

    # Read on. `data` is writable: payloads are unmasked in place. A message that lies whole and in one
    # frame within `data` is delivered as a view into it; everything else is collected here, so the
    # caller keeps no carry: with NEED_DATA all of `data` is consumed. After CLOSE or FAILED, and after
    # `receive_end`, input is dropped.
    cdef Event next(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED
    cdef Event _next(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED
    # After MESSAGE: the message as an object, str or bytes.
    cdef object message(self)
    # After MESSAGE, in place of `message`: make `payload` what the peer meant, where it lies.
    cdef void unmask(self) noexcept
    # What the last event brought is used: give back memory that the next message may do without. For
    # drivers that wait for more input after an event.
    cdef void settle(self) noexcept
    # The transport's input has ended. Without a Close frame before, close_code becomes 1006.
    cdef void receive_end(self) noexcept

    # The hand-shake has agreed on permessage-deflate; before the first frame either way. Compressed messages
    # are then read, and those that `deflate.wants` sent compressed where that makes them smaller.
    cdef int use_deflate(self, Deflate deflate) except -1

    # Whether a message of that size is compressed by send_message.
    cdef inline bint compresses(self, size_t size) noexcept:
        return self.deflate is not None and self.deflate.wants(size)

    # Whether messages can be sent: neither side has closed, nothing failed.
    cdef inline bint can_send(self) noexcept:
        return self.state == State.OPEN

    # Bytes of memory held for a message in pieces, and for what zlib remembers.
    cdef inline size_t held(self) noexcept:
        return self.assembled.capacity + (self.deflate.held() if self.deflate is not None else 0)

    # Each appends one frame to `out`, or raises: StateError (no frame of that kind may be sent now),
    # ValueError (RFC 6455 forbids that content), MemoryError. A failed call leaves `out` and the state as
    # they were. Text is the caller's promise to be UTF-8. `data` must stay put during the call; a client's
    # long payloads are masked without the GIL.
    cdef int send_message(self, Buffer* out, bint text, const char* data, size_t size) except -1
    # A message in several frames: the first call says whether it is text, `final` ends it. Control frames
    # may be sent in between, other messages may not.
    cdef int send_fragment(self, Buffer* out, bint text, const char* data, size_t size, bint final) except -1
    cdef int send_ping(self, Buffer* out, const char* data, size_t size) except -1
    cdef int send_pong(self, Buffer* out, const char* data, size_t size) except -1
    # Code 1005 sends a Close without code and reason.
    cdef int send_close(self, Buffer* out, uint16_t code, const char* reason, size_t size) except -1
    # For servers that write a long payload apart from its header, as it is (`compresses` says no): put the header
    # of a whole message at `header` (HEADER_MAX bytes) and return its size. Raises as send_message does.
    cdef int message_header(self, bint text, size_t size, char* header) except -1

    cdef bint _take_header(self, const char* data, size_t size, size_t* consumed) noexcept
    cdef const char* _broken_rule(self) noexcept
    cdef Event _begin_frame(self, Buffer* out) except RAISED
    cdef Event _take_data(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED
    cdef Event _take_compressed(self, Buffer* out, const char* data, size_t size, bint last) except RAISED
    cdef Event _take_control(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED
    cdef Event _receive_close(self, Buffer* out) except RAISED
    cdef int _collect(self, const char* data, size_t size) except -1
    cdef void _empty(self) noexcept
    cdef Event _fail(self, Buffer* out, uint16_t code, const char* reason) except RAISED
    cdef int _demand(self, Input action) except -1
    cdef int _next_mask(self, uint32_t* key) except -1
    cdef int _write_frame(self, Buffer* out, uint8_t first, const char* data, size_t size) except -1
    cdef int _write_compressed(
        self, Buffer* out, uint8_t first, const char* data, size_t size, bint whole
    ) except -1
    cdef int _write_close(self, Buffer* out, uint16_t code, const char* reason, size_t size) except -1


cdef Session new_session(Role role, Limits limits)
