# cython: freethreading_compatible=True
"""One WebSocket connection after its hand-shake (RFC 6455), either role."""

from os import urandom

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport UINT64_MAX, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen

from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_free, buffer_init, buffer_reserve
from fastnet_ext.core.debug cimport DEBUG, LIVE_WEBSOCKET_SESSION, born, died, invariant
from fastnet_ext.core.endian cimport load16, store16
from fastnet_ext.core.mask cimport mask_copy, mask_in_place, mask_rotate
from fastnet_ext.core.utf8 cimport UTF8_ACCEPT, UTF8_REJECT, text_of, utf8_check
from fastnet_ext.websocket.deflate cimport INFLATE_DONE, INFLATE_TOO_BIG, Deflate, Inflated
from fastnet_ext.websocket.frames cimport (
    FAULT_FRAGMENTED_CONTROL,
    FAULT_HUGE_LENGTH,
    FAULT_LONG_CONTROL,
    FAULT_LONG_LENGTH,
    FAULT_NONE,
    FAULT_RESERVED_OPCODE,
    FIN,
    HEADER_MAX,
    OPCODE_BINARY,
    OPCODE_CLOSE,
    OPCODE_CONTINUATION,
    OPCODE_PING,
    OPCODE_PONG,
    OPCODE_TEXT,
    RSV1,
    Fault,
    close_code_allowed,
    header_size,
    read_header,
    write_header,
)

cdef enum:
    # Close codes, RFC 6455, section 7.4.1.
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009

    # A frame no longer than this gets its room at its first piece, a longer one as it arrives: a header
    # alone never makes us hold what it announces. Also what is kept from message to message.
    KEPT_CAPACITY = 64 * 1024
    # What an idle session keeps of that.
    IDLE_CAPACITY = 1024
    # Compressed data may be longer than what it decompresses to, by this part of it (an eighth) and by so many
    # bytes: more than any compressor makes of data that cannot be compressed.
    PACKED_SHIFT = 3
    PACKED_EXTRA = 1024
    # Bytes of random masks fetched at once: one system call for 64 frames.
    MASK_BATCH = 256
    # A payload from this size on is masked without the GIL.
    UNLOCKED_SIZE = 1024 * 1024


class StateError(RuntimeError):
    """A frame was to be sent that this state of the connection does not allow (the caller's error)."""


cdef const char* _fault_reason(Fault fault) noexcept:
    if fault == FAULT_RESERVED_OPCODE:
        return b"reserved opcode"
    if fault == FAULT_FRAGMENTED_CONTROL:
        return b"fragmented control frame"
    if fault == FAULT_LONG_CONTROL:
        return b"control frame longer than 125 bytes"
    if fault == FAULT_LONG_LENGTH:
        return b"payload length not in its shortest form"
    return b"payload length with its top bit set"


@cython.final
cdef class Limits:
    """``Limits(message=1048576, fragments=16384)``: bytes and fragments of one message."""

    def __init__(self, uint64_t message=1024 * 1024, uint32_t fragments=16384):
        self.message = message
        self.packed = message + min((message >> PACKED_SHIFT) + PACKED_EXTRA, UINT64_MAX - message)
        self.fragments = fragments


# Nothing that it refers to refers to it.
@cython.no_gc
@cython.final
cdef class Session:
    """The machine of one connection; ``Connection`` is its face for Python."""

    def __cinit__(self, int role, Limits limits not None):
        if role != Role.SERVER and role != Role.CLIENT:
            raise ValueError("role is 0 (server) or 1 (client)")
        self.role = <uint8_t>role
        self.state = State.OPEN
        self.automatic_pong = True
        self.limits = limits
        self.payload = b""
        buffer_init(&self.assembled)
        born(LIVE_WEBSOCKET_SESSION)

    def __dealloc__(self):
        buffer_free(&self.assembled)
        free(self.control_bytes)
        died(LIVE_WEBSOCKET_SESSION)

    cdef int use_deflate(self, Deflate deflate) except -1:
        self.deflate = deflate
        return 0

    # Receiving

    cdef Event next(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED:
        cdef Event event = self._next(out, data, size, consumed)
        if DEBUG:
            invariant(consumed[0] <= size)
            invariant(self.assembled.size <= self.limits.message)
            invariant(event != Event.MESSAGE or self.payload_size <= self.limits.message)
            invariant(not self.compressed or self.deflate is not None)
        return event

    cdef inline Event _next(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED:
        cdef Event event
        consumed[0] = 0
        if self.delivered:
            self._empty()
        if TRANSITIONS[self.state][<int>Input.RECEIVE_FRAME] == REFUSED:
            consumed[0] = size
            return Event.NEED_DATA
        while True:
            if not self.in_frame:
                if not self._take_header(data, size, consumed):
                    return Event.NEED_DATA
                event = self._begin_frame(out)
                if event != Event.NEED_DATA:
                    return event
            if self.frame.opcode & 8:
                event = self._take_control(out, data, size, consumed)
            else:
                event = self._take_data(out, data, size, consumed)
            # Without an event the frame is either in pieces or a fragment that is complete.
            if event != Event.NEED_DATA or self.in_frame:
                return event

    cdef bint _take_header(self, const char* data, size_t size, size_t* consumed) noexcept:
        """Read the next header into `frame`; False when more bytes are needed."""
        cdef const char* p = data + consumed[0]
        cdef size_t have = size - consumed[0]
        cdef char* pieces = <char*>&self.frame
        cdef char[HEADER_MAX] whole
        if self.header_have == 0 and have >= 2 and have >= header_size(p):
            self.fault = read_header(p, &self.frame)
            consumed[0] += header_size(p)
            return True
        while self.header_have < 2 or self.header_have < header_size(pieces):
            if consumed[0] == size:
                return False
            pieces[self.header_have] = data[consumed[0]]
            self.header_have += 1
            consumed[0] += 1
        memcpy(whole, pieces, self.header_have)
        self.header_have = 0
        self.fault = read_header(whole, &self.frame)
        return True

    cdef const char* _broken_rule(self) noexcept:
        """What is wrong with the frame's header at this point of the session, NULL when nothing is."""
        if self.fault != FAULT_NONE:
            return _fault_reason(<Fault>self.fault)
        if self.frame.rsv:
            if self.frame.rsv != RSV1 or self.deflate is None:
                return b"reserved bit set"
            # RFC 7692, section 6.1: of a compressed message the first frame says so.
            if self.frame.opcode == OPCODE_CONTINUATION or self.frame.opcode & 8:
                return b"reserved bit set on a frame that begins no message"
        # Section 5.1: a client masks each frame, a server none.
        if self.role == Role.SERVER and not self.frame.masked:
            return b"frame not masked"
        if self.role == Role.CLIENT and self.frame.masked:
            return b"masked frame from a server"
        # Section 5.4: fragments of messages are not interleaved, control frames may come between them.
        if self.frame.opcode == OPCODE_CONTINUATION and not self.opcode:
            return b"continuation of no message"
        if self.opcode and (self.frame.opcode == OPCODE_TEXT or self.frame.opcode == OPCODE_BINARY):
            return b"new message within a fragmented one"
        return NULL

    cdef Event _begin_frame(self, Buffer* out) except RAISED:
        """Hold the header to the rules and limits; NEED_DATA when the payload may be read."""
        cdef const char* broken = self._broken_rule()
        cdef uint64_t room
        if broken is not NULL:
            return self._fail(out, PROTOCOL_ERROR, broken)
        if not self.frame.opcode & 8:
            if self.frame.opcode != OPCODE_CONTINUATION:
                self.opcode = self.frame.opcode
                self.utf8 = UTF8_ACCEPT
                self.fragments = 0
                self.compressed = self.frame.rsv != 0
                if self.compressed:
                    self.packed = 0
                    self.deflate.begin()
            # What was taken before never exceeds these, so the differences do not wrap.
            if self.compressed:
                room = self.limits.packed - self.packed
                self.packed += self.frame.size
            else:
                room = self.limits.message - self.assembled.size
            if self.frame.size > room:
                return self._fail(out, MESSAGE_TOO_BIG, b"message too big")
            self.fragments += 1
            if self.fragments > self.limits.fragments:
                return self._fail(out, POLICY_VIOLATION, b"too many fragments")
        self.in_frame = True
        self.control_have = 0
        return Event.NEED_DATA

    cdef Event _take_data(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED:
        cdef char* p = data + consumed[0]
        cdef size_t take = size - consumed[0]
        cdef const char* part = p
        cdef bint last
        cdef Event failure
        self.still_masked = False
        if take > self.frame.size:
            take = <size_t>self.frame.size
        consumed[0] += take
        self.frame.size -= take
        last = self.frame.size == 0 and self.frame.fin
        if self.compressed:
            failure = self._take_compressed(out, p, take, last)
            if failure != Event.NEED_DATA:
                return failure
            take = <size_t>PyBytes_GET_SIZE(self.deflate.plain)
            part = PyBytes_AS_STRING(self.deflate.plain)
        elif last and self.assembled.size == 0:
            # All there is of this message lies in `data`: it stays there. Text is unmasked to be checked.
            if self.frame.masked:
                if self.opcode == OPCODE_TEXT:
                    mask_in_place(p, take, self.frame.key)
                else:
                    self.still_masked = True
            self.payload = p
            self.payload_size = take
        else:
            if take:
                self._collect(p, take)
                part = self.assembled.data + self.assembled.size - take
            self.payload = self.assembled.data
            self.payload_size = self.assembled.size
        if self.opcode == OPCODE_TEXT:
            self.utf8 = utf8_check(part, take, self.utf8)
            if self.utf8 == UTF8_REJECT:
                return self._fail(out, INVALID_PAYLOAD, b"text is not valid UTF-8")
        if self.frame.size:
            return Event.NEED_DATA
        self.in_frame = False
        if not self.frame.fin:
            return Event.NEED_DATA
        if self.opcode == OPCODE_TEXT and self.utf8 != UTF8_ACCEPT:
            return self._fail(out, INVALID_PAYLOAD, b"text ends inside a character")
        self.is_text = self.opcode == OPCODE_TEXT
        self.opcode = 0
        self.delivered = True
        return Event.MESSAGE

    cdef Event _take_compressed(self, Buffer* out, const char* data, size_t size, bint last) except RAISED:
        """Decompress payload of the current frame: `deflate.plain` is what is new, `message` all there is so far."""
        cdef Deflate deflate = self.deflate
        cdef Inflated outcome = INFLATE_DONE
        if last and self.packed == 0:
            deflate.end_empty()
        else:
            outcome = deflate.inflate(
                data, size, self.frame.key, last,
                self.limits.message - self.assembled.size, self.assembled.data, self.assembled.size,
            )
        if outcome == INFLATE_TOO_BIG:
            return self._fail(out, MESSAGE_TOO_BIG, b"message too big")
        if outcome != INFLATE_DONE:
            return self._fail(out, INVALID_PAYLOAD, b"compressed data is not valid")
        self.frame.key = mask_rotate(self.frame.key, size)
        self.payload = PyBytes_AS_STRING(deflate.plain)
        self.payload_size = <size_t>PyBytes_GET_SIZE(deflate.plain)
        if not last or self.assembled.size:
            if buffer_append(&self.assembled, self.payload, self.payload_size) < 0:
                raise MemoryError()
            self.payload = self.assembled.data
            self.payload_size = self.assembled.size
        return Event.NEED_DATA

    cdef object message(self):
        cdef object made
        cdef Py_ssize_t size = <Py_ssize_t>self.payload_size
        if self.is_text:
            return text_of(self.payload, size, NULL)
        if not self.still_masked:
            return PyBytes_FromStringAndSize(self.payload, size)
        made = PyBytes_FromStringAndSize(NULL, size)
        mask_copy(PyBytes_AS_STRING(made), self.payload, self.payload_size, self.frame.key)
        return made

    cdef void unmask(self) noexcept:
        if self.still_masked:
            self.still_masked = False
            mask_in_place(<char*>self.payload, self.payload_size, self.frame.key)

    cdef int _collect(self, const char* data, size_t size) except -1:
        """Append payload of the current frame to what is collected, unmasked."""
        cdef uint64_t room = self.frame.size + size
        if buffer_reserve(&self.assembled, size if room > KEPT_CAPACITY else <size_t>room) < 0:
            raise MemoryError()
        if self.frame.masked:
            mask_copy(self.assembled.data + self.assembled.size, data, size, self.frame.key)
            self.frame.key = mask_rotate(self.frame.key, size)
        else:
            memcpy(self.assembled.data + self.assembled.size, data, size)
        self.assembled.size += size
        return 0

    cdef void _empty(self) noexcept:
        self.delivered = False
        if self.compressed:
            self.compressed = False
            self.deflate.plain = None
        if self.assembled.capacity > KEPT_CAPACITY:
            buffer_free(&self.assembled)
        self.assembled.size = 0

    cdef void settle(self) noexcept:
        if self.delivered:
            self._empty()
        if self.assembled.size == 0 and self.assembled.capacity > IDLE_CAPACITY:
            buffer_free(&self.assembled)
        if self.control_bytes is not NULL and not (self.in_frame and self.frame.opcode & 8):
            free(self.control_bytes)
            self.control_bytes = NULL

    cdef Event _take_control(self, Buffer* out, char* data, size_t size, size_t* consumed) except RAISED:
        cdef char* p = data + consumed[0]
        cdef size_t take = size - consumed[0]
        cdef size_t whole = self.control_have + <size_t>self.frame.size
        if take > self.frame.size:
            take = <size_t>self.frame.size
        consumed[0] += take
        self.frame.size -= take
        self.payload_size = whole
        if take == whole:
            if self.frame.masked:
                mask_in_place(p, take, self.frame.key)
            self.payload = p
        else:
            if self.control_bytes is NULL:
                self.control_bytes = <char*>malloc(CONTROL_MAX)
                if self.control_bytes is NULL:
                    raise MemoryError()
            mask_copy(self.control_bytes + self.control_have, p, take, self.frame.key)
            self.frame.key = mask_rotate(self.frame.key, take)
            self.control_have += <uint8_t>take
            self.payload = self.control_bytes
        if self.frame.size:
            return Event.NEED_DATA
        self.in_frame = False
        if self.frame.opcode == OPCODE_PONG:
            return Event.PONG
        if self.frame.opcode == OPCODE_CLOSE:
            return self._receive_close(out)
        # Section 5.5.2: a Ping is answered as long as no Close was received, in CLOSING too.
        if self.automatic_pong:
            self._write_frame(out, FIN | OPCODE_PONG, self.payload, self.payload_size)
        return Event.PING

    cdef Event _receive_close(self, Buffer* out) except RAISED:
        """Sections 5.5.1 and 7.1.5: the peer's Close, echoed unless it is an answer to ours."""
        cdef uint16_t code = NO_STATUS
        cdef size_t size = self.payload_size
        cdef const char* reason = self.payload
        if size == 1:
            return self._fail(out, PROTOCOL_ERROR, b"close code of one byte")
        if size:
            code = load16(self.payload)
            reason += 2
            size -= 2
            if not close_code_allowed(code):
                return self._fail(out, PROTOCOL_ERROR, b"close code not allowed")
            if utf8_check(reason, size, UTF8_ACCEPT) != UTF8_ACCEPT:
                return self._fail(out, INVALID_PAYLOAD, b"close reason is not valid UTF-8")
        if self.state == State.OPEN:
            self._write_close(out, code, reason, size)
        self.close_code = code
        self.payload = reason
        self.payload_size = size
        self.state = TRANSITIONS[self.state][<int>Input.RECEIVE_CLOSE]
        return Event.CLOSE

    cdef Event _fail(self, Buffer* out, uint16_t code, const char* reason) except RAISED:
        """Section 7.1.7: say why, once, and read no more."""
        if self.state == State.OPEN:
            self._write_close(out, code, reason, strlen(reason))
        self.close_code = code
        self.payload = reason
        self.payload_size = strlen(reason)
        self.state = TRANSITIONS[self.state][<int>Input.BREAK_RULE]
        self.in_frame = False
        buffer_free(&self.assembled)
        self.deflate = None
        self.compressed = False
        return Event.FAILED

    cdef void receive_end(self) noexcept:
        if self.state == State.OPEN or self.state == State.CLOSING:
            self.close_code = ABNORMAL_CLOSURE
        self.state = TRANSITIONS[self.state][<int>Input.END_OF_INPUT]

    # Sending

    cdef int send_message(self, Buffer* out, bint text, const char* data, size_t size) except -1:
        self._demand(Input.SEND_DATA)
        if self.sending:
            raise StateError("a fragmented message is being sent")
        if self.compresses(size):
            return self._write_compressed(out, FIN | (OPCODE_TEXT if text else OPCODE_BINARY), data, size, True)
        return self._write_frame(out, FIN | (OPCODE_TEXT if text else OPCODE_BINARY), data, size)

    cdef int send_fragment(self, Buffer* out, bint text, const char* data, size_t size, bint final) except -1:
        cdef uint8_t first = FIN if final else 0
        cdef bint compressed = self.sending_compressed
        self._demand(Input.SEND_DATA)
        if not self.sending:
            first |= <uint8_t>(OPCODE_TEXT if text else OPCODE_BINARY)
            compressed = self.compresses(size)
        if compressed:
            self._write_compressed(out, first, data, size, False)
        else:
            self._write_frame(out, first, data, size)
        self.sending = not final
        self.sending_compressed = compressed
        return 0

    cdef int send_ping(self, Buffer* out, const char* data, size_t size) except -1:
        self._demand(Input.SEND_CONTROL)
        if size > CONTROL_MAX:
            raise ValueError("a ping has at most 125 bytes")
        return self._write_frame(out, FIN | OPCODE_PING, data, size)

    cdef int send_pong(self, Buffer* out, const char* data, size_t size) except -1:
        self._demand(Input.SEND_CONTROL)
        if size > CONTROL_MAX:
            raise ValueError("a pong has at most 125 bytes")
        return self._write_frame(out, FIN | OPCODE_PONG, data, size)

    cdef int send_close(self, Buffer* out, uint16_t code, const char* reason, size_t size) except -1:
        self._demand(Input.SEND_CLOSE)
        if code == NO_STATUS:
            if size:
                raise ValueError("a close reason needs a code")
        elif not close_code_allowed(code):
            raise ValueError(f"close code {code} may not be sent")
        if size > CONTROL_MAX - 2:
            raise ValueError("a close reason has at most 123 bytes")
        if utf8_check(reason, size, UTF8_ACCEPT) != UTF8_ACCEPT:
            raise ValueError("a close reason is UTF-8")
        self._write_close(out, code, reason, size)
        self.state = TRANSITIONS[self.state][<int>Input.SEND_CLOSE]
        return 0

    cdef int message_header(self, bint text, size_t size, char* header) except -1:
        self._demand(Input.SEND_DATA)
        if self.sending or self.role == Role.CLIENT:
            raise StateError("a client masks its payload" if not self.sending else "a fragmented message is being sent")
        return <int>write_header(header, FIN | (OPCODE_TEXT if text else OPCODE_BINARY), size, NULL)

    cdef int _demand(self, Input action) except -1:
        if TRANSITIONS[self.state][<int>action] == REFUSED:
            raise StateError("the WebSocket connection is closing or closed")
        return 0

    cdef int _next_mask(self, uint32_t* key) except -1:
        """Section 5.3: a fresh mask for each frame, from a source nobody can predict."""
        if self.masks is None or self.masks_used == MASK_BATCH:
            self.masks = urandom(MASK_BATCH)
            self.masks_used = 0
        memcpy(key, <const char*>self.masks + self.masks_used, 4)
        self.masks_used += 4
        return 0

    cdef int _write_frame(self, Buffer* out, uint8_t first, const char* data, size_t size) except -1:
        cdef uint32_t key = 0
        cdef const uint32_t* mask = NULL
        cdef char* to
        if self.role == Role.CLIENT:
            self._next_mask(&key)
            mask = &key
        if buffer_reserve(out, size + HEADER_MAX) < 0:
            raise MemoryError()
        out.size += write_header(out.data + out.size, first, size, mask)
        to = out.data + out.size
        if size == 0:
            return 0
        if mask is NULL:
            memcpy(to, data, size)
        elif size < UNLOCKED_SIZE:
            mask_copy(to, data, size, key)
        else:
            with nogil:
                mask_copy(to, data, size, key)
        out.size += size
        return 0

    cdef int _write_compressed(
        self, Buffer* out, uint8_t first, const char* data, size_t size, bint whole
    ) except -1:
        """A frame of a compressed message; `whole`: all of it, which is sent as it is where that is no longer."""
        cdef bytes packed = self.deflate.compress(data, size, first & FIN)
        if whole and <size_t>PyBytes_GET_SIZE(packed) >= size and self.deflate.shared is not None:
            # The peer keeps no history either, which would have to hold what was compressed.
            return self._write_frame(out, first, data, size)
        if first & ~FIN:
            first |= RSV1
        try:
            return self._write_frame(out, first, PyBytes_AS_STRING(packed), <size_t>PyBytes_GET_SIZE(packed))
        except BaseException:
            # The peer's history lacks what it did not get.
            self.deflate.restart()
            raise

    cdef int _write_close(self, Buffer* out, uint16_t code, const char* reason, size_t size) except -1:
        cdef char payload[CONTROL_MAX]
        if code == NO_STATUS:
            return self._write_frame(out, FIN | OPCODE_CLOSE, NULL, 0)
        store16(payload, code)
        if size:
            memcpy(payload + 2, reason, size)
        return self._write_frame(out, FIN | OPCODE_CLOSE, payload, size + 2)


cdef Session new_session(Role role, Limits limits):
    return Session.__new__(Session, role, limits)
