# cython: freethreading_compatible=True
"""The HTTP/2 machine.

How input is read: a preface, then frames. A frame is handled when all of it is there, except DATA, whose
payload is handed on as it comes (`in_data`). A header block over several frames is gathered (`in_head`), and no
other frame may come in between (RFC 9113, section 6.10).

How errors are answered. `_fail`: the connection is over, GOAWAY. `_break`: a stream that the driver knows is
over, RST_STREAM and an event. `_refuse`: the same for a stream that the driver has not seen, no event. Both take
from the budget of resets, since a peer that can make us reset streams for nothing can make us work for nothing.
`_glitch`: nothing is wrong, but nothing is gained either, and there is a budget for that.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint8_t
from libc.string cimport memcmp, memcpy, memset, strlen

from fastnet_ext.core.buffer cimport buffer_append, buffer_free, buffer_init
from fastnet_ext.core.debug cimport DEBUG, LIVE_HTTP2_STREAM, born, invariant
from fastnet_ext.core.endian cimport load16, load32
from fastnet_ext.core.headers cimport HEADER_PRIORITY, Field, HeaderBlock
from fastnet_ext.http2 cimport frames as wire
from fastnet_ext.http2.frames cimport (
    PREFACE,
    PREFACE_SIZE,
    STREAM_MAX,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    Frame,
    frame_parse,
    write_frame,
    write_goaway,
    write_ping,
    write_reset,
    write_window,
)
from fastnet_ext.http2.head cimport (
    HEAD_DISCARDED,
    HEAD_OF_REQUEST,
    HEAD_OF_RESPONSE,
    HEAD_OF_TRAILERS,
    VERDICT_GOOD,
    VERDICT_TOO_LARGE,
    VERDICT_UNDECODABLE,
    HeadFacts,
    HeadKind,
    HeadRules,
    decode_head,
)
from fastnet_ext.http2.hpack cimport HPACK_DEFAULT_TABLE, hpack_free, hpack_init, hpack_set_ceiling
from fastnet_ext.http2.limits cimport Limits
from fastnet_ext.http2.stream cimport (
    GONE_ENDED,
    GONE_NEVER,
    GONE_RESET_RECEIVED,
    GONE_RESET_SENT,
    LIST_LEAVING,
    LIST_NOTICE,
    RECV_DATA,
    RECV_HEAD,
    STREAM_CLOSED,
    STREAM_COUNTED,
    STREAM_HALF_CLOSED_REMOTE,
    STREAM_HEAD_RECEIVED,
    STREAM_IDLE,
    STREAM_NEXT,
    STREAM_NO_BODY,
    STREAM_OPEN,
    STREAM_REFUSED,
    STREAM_RESET_SEEN,
    Priority,
    Stream,
    budget_init,
    budget_take,
    graveyard_add,
    graveyard_find,
    graveyard_mark,
    list_append,
    list_remove,
    priority_parse,
    sending_prioritize,
    sending_review,
    check_streams,
    table_add,
    table_find,
)
from fastnet_ext.http2.streams cimport Http2Streams, is_listed, is_over, written

cdef enum:
    # A fragment buffer grown beyond this is given back after its block.
    FRAGMENTS_KEPT = 16384
    # DATA frames of this size are taken for a body that was on its way when we reset the stream; smaller ones
    # are glitches.
    BODY_IN_FLIGHT = 1024
    # WINDOW_UPDATE frames a peer may send before any data of ours gave it a reason to.
    WINDOW_UPDATES_FREE = 200


@cython.final
cdef class Http2Connection(Http2Streams):
    """One end of an HTTP/2 connection: a server unless ``client`` is true."""

    def __cinit__(self, bint client=False, Limits limits=None):
        buffer_init(&self.fragments)
        hpack_init(&self.hpack, HPACK_DEFAULT_TABLE)
        # The client's preface is sent, not read.
        self.preface_seen = PREFACE_SIZE if client else 0
        memset(&self.early, 0, sizeof(self.early))
        self.pinged = -1
        self.recv_window = max(<int64_t>self.limits.connection_window, <int64_t>WINDOW_DEFAULT)
        budget_init(&self.resets, self.limits.resets, self.limits.resets_per_second)
        budget_init(&self.glitches, self.limits.glitches, self.limits.glitches_per_second)

    def __dealloc__(self):
        hpack_free(&self.hpack)
        buffer_free(&self.fragments)

    # ---- Driving ---------------------------------------------------------------------------------

    cdef H2Event next(self, const char* data, size_t size, size_t* consumed, double now) except H2_RAISED:
        cdef const char* at = data
        cdef const char* end = data + size
        cdef const char* before
        cdef H2Event event
        self.idle = False
        self.now = now
        self.stream = NULL
        self.stream_id = 0
        self.end_stream = False
        if self.ending is not NULL:
            self._retire(self.ending)
        if self.out.size == 0:
            self.control = 0
        while True:
            if self.failed:
                consumed[0] = size
                return H2_FAILED
            if self.notices.head is not NULL:
                event = self._notice()  # all of them before the next frame, which may end their streams
                break
            before = at
            event = self._read(&at, end)
            if event != H2_NEED_DATA:
                break
            if at == before:
                event = self._end_of_batch()
                if event != H2_NEED_DATA or self.notices.head is NULL:
                    break
        consumed[0] = size if self.failed else <size_t>(at - data)
        if DEBUG:
            invariant(at >= data and at <= end)
            invariant(self.counted <= self.streams.count)
            check_streams(&self.streams)
        return event

    cdef H2Event _read(self, const char** at, const char* end) except H2_RAISED:
        """One step: a frame, or a piece of one. `at` moves, or there is too little."""
        cdef const char* here = at[0]
        cdef size_t size = <size_t>(end - here)
        cdef Frame frame
        cdef uint32_t padding = 0
        if self.in_data:
            return self._data_piece(at, end)
        if self.preface_seen < <uint32_t>PREFACE_SIZE:
            return self._preface(at, end)
        if size < <size_t>wire.FRAME_HEAD:
            return H2_NEED_DATA
        frame_parse(here, &frame)
        if frame.length > self.limits.max_frame:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"frame above SETTINGS_MAX_FRAME_SIZE")
        here += wire.FRAME_HEAD
        size -= wire.FRAME_HEAD
        if frame.type == wire.FRAME_DATA and self.peer.received and not self.in_head:
            if frame.flags & wire.FLAG_PADDED:
                if frame.length == 0:
                    return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"padded DATA without a padding length")
                if size == 0:
                    return H2_NEED_DATA
                padding = <uint8_t>here[0]
                if padding >= frame.length:
                    return self._fail(wire.ERROR_PROTOCOL_ERROR, b"padding as long as the frame")
                here += 1
            at[0] = here
            return self._data_begin(&frame, padding)
        if size < frame.length:
            return H2_NEED_DATA
        at[0] = here + frame.length
        return self._frame(&frame, here)

    cdef H2Event _preface(self, const char** at, const char* end) except H2_RAISED:
        cdef size_t part = min(<size_t>(end - at[0]), <size_t>PREFACE_SIZE - self.preface_seen)
        if part and memcmp(at[0], PREFACE + self.preface_seen, part) != 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"no HTTP/2 preface")
        self.preface_seen += <uint32_t>part
        at[0] += part
        return H2_NEED_DATA

    cdef H2Event _frame(self, const Frame* frame, const char* payload) except H2_RAISED:
        """One whole frame that is no DATA (or a DATA frame in a wrong place)."""
        if not self.peer.received and (frame.type != wire.FRAME_SETTINGS or frame.flags & wire.FLAG_ACK):
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"the first frame is not SETTINGS")
        if self.in_head and (frame.type != wire.FRAME_CONTINUATION or frame.stream_id != self.head_stream):
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"a header block was interrupted")
        if frame.type == wire.FRAME_HEADERS:
            return self._headers(frame, payload)
        if frame.type == wire.FRAME_WINDOW_UPDATE:
            return self._window_update(frame, payload)
        if frame.type == wire.FRAME_RST_STREAM:
            return self._rst_stream(frame, payload)
        if frame.type == wire.FRAME_SETTINGS:
            return self._settings(frame, payload)
        if frame.type == wire.FRAME_PING:
            return self._ping_frame(frame, payload)
        if frame.type == wire.FRAME_CONTINUATION:
            return self._continuation(frame, payload)
        if frame.type == wire.FRAME_PRIORITY:
            return self._priority(frame, payload)
        if frame.type == wire.FRAME_PRIORITY_UPDATE:
            return self._priority_update(frame, payload)
        if frame.type == wire.FRAME_GOAWAY:
            return self._goaway_frame(frame, payload)
        if frame.type == wire.FRAME_PUSH_PROMISE:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"PUSH_PROMISE, which nobody allowed")
        return self._glitch()

    cdef H2Event _end_of_batch(self) except H2_RAISED:
        """The input is used up: what could wait for that."""
        cdef Stream* s
        if self.pump_due:
            self.pump_due = False
            self.pump()
        while self.leaving.head is not NULL:
            # The answer is complete and the rest of the request not wanted (RFC 9113, section 8.1).
            s = self.leaving.head
            written(write_reset(&self.out, s.id, wire.ERROR_NO_ERROR))
            self._over(s, GONE_RESET_SENT)
            if not is_listed(s, LIST_NOTICE):
                self._retire(s)
        if 4 * self.recv_credit >= self.limits.connection_window:
            # Whatever the application has read: one slow stream must not stop the others.
            written(write_window(&self.out, 0, <uint32_t>self.recv_credit))
            self.recv_window += <int64_t>self.recv_credit
            self.recv_credit = 0
        self.idle = True
        return H2_NEED_DATA

    cdef H2Event _notice(self) except H2_RAISED:
        cdef Stream* s = self.notices.head
        list_remove(&self.notices, LIST_NOTICE, s)
        self._show(s)
        if s.state == STREAM_CLOSED:
            self.ending = s
        if s.flags & STREAM_RESET_SEEN:
            self.error_code = s.error_code
            self.by_peer = True
            return H2_RESET
        return H2_WINDOW

    # ---- DATA ------------------------------------------------------------------------------------

    cdef H2Event _data_begin(self, const Frame* frame, uint32_t padding) except H2_RAISED:
        """The head of a DATA frame. Every rule is checked here: the payload is handed on as it comes."""
        cdef uint32_t size = frame.length - padding - (1 if frame.flags & wire.FLAG_PADDED else 0)
        cdef Stream* s
        if frame.stream_id == 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"DATA on stream 0")
        # All of the payload counts, padding too (section 6.9.1), whatever becomes of it.
        self.recv_window -= frame.length
        if self.recv_window < 0:
            return self._fail(wire.ERROR_FLOW_CONTROL_ERROR, b"DATA beyond the connection's window")
        self.recv_credit += frame.length
        self.data_stream = 0
        self.data_left = size
        self.pad_left = padding
        self.in_data = size != 0 or padding != 0
        self.data_end = frame.flags & wire.FLAG_END_STREAM
        s = table_find(&self.streams, frame.stream_id)
        if is_over(s):
            if frame.length >= <uint32_t>BODY_IN_FLIGHT and s is NULL:
                if graveyard_find(&self.graves, frame.stream_id) == GONE_RESET_SENT:
                    return H2_NEED_DATA
            return self._late(frame.stream_id)
        if s.state == STREAM_IDLE:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"DATA on an idle stream")
        if STREAM_NEXT[s.state][RECV_DATA] == STREAM_REFUSED:
            return self._break(s, wire.ERROR_STREAM_CLOSED)
        return self._data_accept(frame, s, size)

    cdef H2Event _data_accept(self, const Frame* frame, Stream* s, uint32_t size) except H2_RAISED:
        s.recv_window -= frame.length
        if s.recv_window < 0:
            return self._break(s, wire.ERROR_FLOW_CONTROL_ERROR)
        if size:
            self.empty_frames = 0
        elif not self.data_end:
            self.empty_frames += 1
            if self.empty_frames > self.limits.empty_frames:
                return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many empty frames")
        if not s.flags & STREAM_HEAD_RECEIVED:
            return self._break(s, wire.ERROR_PROTOCOL_ERROR)
        s.received += size
        if s.content_length >= 0:
            # RFC 9113, section 8.1.1.
            if s.received > s.content_length or (self.data_end and s.received != s.content_length):
                return self._break(s, wire.ERROR_PROTOCOL_ERROR)
        if size != frame.length and not self.data_end:
            self._credit_stream(s, frame.length - size)
        self.data_stream = s.id
        return H2_NEED_DATA if self.data_left or self.pad_left else self._data_piece(NULL, NULL)

    cdef H2Event _data_piece(self, const char** at, const char* end) except H2_RAISED:
        """What has come of the payload, and its end when it is reached. `at` is NULL for an empty payload."""
        cdef size_t piece = 0
        cdef size_t skipped
        cdef Stream* s = NULL
        if at is not NULL:
            self.data = at[0]
            piece = min(<size_t>(end - at[0]), <size_t>self.data_left)
            self.data_left -= <uint32_t>piece
            at[0] += piece
            if self.data_left == 0 and self.pad_left:
                skipped = min(<size_t>(end - at[0]), <size_t>self.pad_left)
                self.pad_left -= <uint32_t>skipped
                at[0] += skipped
        self.in_data = self.data_left != 0 or self.pad_left != 0
        if self.data_stream:
            s = table_find(&self.streams, self.data_stream)
        if is_over(s):
            return H2_NEED_DATA
        if is_listed(s, LIST_LEAVING):
            if self.data_end and not self.in_data:
                self._received_end(s)
            return H2_NEED_DATA
        self.data_size = piece
        if self.data_end and not self.in_data:
            self._show(s)
            self.end_stream = True
            self._received_end(s)
            return H2_DATA if piece else H2_END
        if piece == 0:
            return H2_NEED_DATA
        self._show(s)
        return H2_DATA

    # ---- Header blocks ---------------------------------------------------------------------------

    cdef H2Event _headers(self, const Frame* frame, const char* payload) except H2_RAISED:
        cdef uint32_t begin = 0
        cdef uint32_t padding = 0
        cdef uint32_t fixed = 1 if frame.flags & wire.FLAG_PADDED else 0
        if frame.flags & wire.FLAG_PRIORITY:
            fixed += 5
        if frame.stream_id == 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"HEADERS on stream 0")
        if frame.length < fixed:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"HEADERS shorter than its fixed fields")
        if frame.flags & wire.FLAG_PADDED:
            padding = <uint8_t>payload[0]
            begin = 1
        if padding > frame.length - fixed:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"padding longer than the frame")
        self.head_stream = frame.stream_id
        self.head_end = frame.flags & wire.FLAG_END_STREAM
        self.head_depends_on_self = (
            frame.flags & wire.FLAG_PRIORITY != 0 and load32(payload + begin) & <uint32_t>STREAM_MAX == frame.stream_id
        )
        if frame.flags & wire.FLAG_END_HEADERS:
            return self._block(payload + fixed, frame.length - fixed - padding)
        self.in_head = True
        self.head_frames = 0
        self.fragments.size = 0
        written(buffer_append(&self.fragments, payload + fixed, frame.length - fixed - padding))
        return H2_NEED_DATA

    cdef H2Event _continuation(self, const Frame* frame, const char* payload) except H2_RAISED:
        cdef H2Event event
        if not self.in_head:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"CONTINUATION without a header block")
        self.head_frames += 1
        if self.head_frames > self.limits.continuations:
            return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many CONTINUATION frames")
        written(buffer_append(&self.fragments, payload, frame.length))
        if not frame.flags & wire.FLAG_END_HEADERS:
            return H2_NEED_DATA
        self.in_head = False
        event = self._block(self.fragments.data, self.fragments.size)
        self.fragments.size = 0
        if self.fragments.capacity > <size_t>FRAGMENTS_KEPT:
            buffer_free(&self.fragments)
        return event

    cdef H2Event _block(self, const char* block, size_t size) except H2_RAISED:
        """A whole header block. However it is judged, it is decoded: the table is the connection's."""
        cdef Stream* s = table_find(&self.streams, self.head_stream)
        if not is_over(s):
            return self._further_head(s, block, size)
        if not self.client and s is NULL and self.head_stream & 1 and self.head_stream > self.highest:
            return self._open_by_peer(block, size)
        return self._late_head(block, size)

    cdef int _decode(self, const char* block, size_t size, HeadKind kind, HeadFacts* facts) except -1:
        cdef HeadRules rules
        cdef HeaderBlock into = None if kind == HEAD_DISCARDED else HeaderBlock.__new__(HeaderBlock)
        rules.kind = kind
        rules.extended_connect = self.limits.enable_connect
        rules.list_limit = self.limits.header_list
        rules.field_limit = self.limits.fields
        self.head = into
        return decode_head(&self.hpack, block, size, &rules, into, facts)

    cdef H2Event _open_by_peer(self, const char* block, size_t size) except H2_RAISED:
        cdef uint32_t stream_id = self.head_stream
        cdef HeadFacts facts
        cdef Stream* s
        cdef int verdict
        cdef bint ignored = self.goaway_sent and stream_id > self.last_accepted
        cdef bint refused = self.counted + self.held >= self.limits.max_concurrent_streams
        verdict = self._decode(block, size, HEAD_DISCARDED if ignored or refused else HEAD_OF_REQUEST, &facts)
        if verdict == VERDICT_UNDECODABLE:
            return self._fail(wire.ERROR_COMPRESSION_ERROR, b"a header block cannot be decoded")
        self.highest = stream_id
        if ignored:
            graveyard_add(&self.graves, stream_id, GONE_RESET_SENT)
            return H2_NEED_DATA
        if refused:
            self.refused += 1
            return self._refuse(stream_id, wire.ERROR_REFUSED_STREAM)
        if (
            (verdict != VERDICT_GOOD and verdict != VERDICT_TOO_LARGE) or self.head_depends_on_self
            or (self.head_end and facts.content_length > 0)
        ):
            return self._refuse(stream_id, wire.ERROR_PROTOCOL_ERROR)
        s = table_add(&self.streams, stream_id)
        if s is NULL:
            raise MemoryError()
        born(LIVE_HTTP2_STREAM)
        s.state = STREAM_HALF_CLOSED_REMOTE if self.head_end else STREAM_OPEN
        s.flags = STREAM_HEAD_RECEIVED | STREAM_COUNTED
        s.send_window = self.peer.initial_window
        s.recv_window = self.local_window
        s.content_length = facts.content_length
        self.counted += 1
        self._prioritize(s)
        self.empty_frames = 0
        self.protocol = facts.protocol
        self.end_stream = self.head_end
        self.too_many_fields = facts.too_many
        self._show(s)
        return H2_TOO_LARGE if verdict == VERDICT_TOO_LARGE else H2_REQUEST

    cdef H2Event _further_head(self, Stream* s, const char* block, size_t size) except H2_RAISED:
        """A block on a live stream: trailers, or what a server answers."""
        cdef HeadFacts facts
        cdef bint first = not s.flags & STREAM_HEAD_RECEIVED
        cdef bint wanted = STREAM_NEXT[s.state][RECV_HEAD] != STREAM_REFUSED and not is_listed(s, LIST_LEAVING)
        cdef HeadKind kind = HEAD_OF_RESPONSE if first else HEAD_OF_TRAILERS
        cdef int verdict = self._decode(block, size, kind if wanted else HEAD_DISCARDED, &facts)
        if verdict == VERDICT_UNDECODABLE:
            return self._fail(wire.ERROR_COMPRESSION_ERROR, b"a header block cannot be decoded")
        if s.state == STREAM_IDLE:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"HEADERS on an idle stream")
        if STREAM_NEXT[s.state][RECV_HEAD] == STREAM_REFUSED:
            return self._break(s, wire.ERROR_STREAM_CLOSED)
        if verdict == VERDICT_TOO_LARGE:
            return self._break(s, wire.ERROR_ENHANCE_YOUR_CALM)
        if verdict != VERDICT_GOOD or self.head_depends_on_self:
            return self._break(s, wire.ERROR_PROTOCOL_ERROR)
        if first:
            if self.head.status < 200:
                if self.head_end:
                    return self._break(s, wire.ERROR_PROTOCOL_ERROR)
                self._show(s)
                return H2_RESPONSE
            s.flags |= STREAM_HEAD_RECEIVED
            s.content_length = facts.content_length
            if s.flags & STREAM_NO_BODY or self.head.status == 204 or self.head.status == 304:
                s.content_length = 0
        elif not self.head_end:
            return self._break(s, wire.ERROR_PROTOCOL_ERROR)
        if self.head_end:
            if s.content_length >= 0 and s.content_length != s.received:
                return self._break(s, wire.ERROR_PROTOCOL_ERROR)
            if not wanted:
                self._received_end(s)
                return H2_NEED_DATA
            self._show(s)
            self.end_stream = True
            self._received_end(s)
            return H2_RESPONSE if first else H2_TRAILERS
        self._show(s)
        return H2_RESPONSE

    cdef H2Event _late_head(self, const char* block, size_t size) except H2_RAISED:
        """A block on a stream that is no more, or that cannot be."""
        cdef HeadFacts facts
        if self._decode(block, size, HEAD_DISCARDED, &facts) == VERDICT_UNDECODABLE:
            return self._fail(wire.ERROR_COMPRESSION_ERROR, b"a header block cannot be decoded")
        if not self._is_idle(self.head_stream) and graveyard_find(&self.graves, self.head_stream) == GONE_NEVER:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"a stream id below one that was used")
        return self._late(self.head_stream)

    # ---- Other frames ----------------------------------------------------------------------------

    cdef H2Event _priority(self, const Frame* frame, const char* payload) except H2_RAISED:
        """Deprecated and without effect (RFC 9113, section 5.3.2), but it must be well-formed."""
        cdef Stream* s = table_find(&self.streams, frame.stream_id)
        cdef uint32_t wrong = wire.ERROR_NO_ERROR
        if frame.stream_id == 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"PRIORITY on stream 0")
        if frame.length != 5:
            wrong = wire.ERROR_FRAME_SIZE_ERROR
        elif load32(payload) & <uint32_t>STREAM_MAX == frame.stream_id:
            wrong = wire.ERROR_PROTOCOL_ERROR
        if wrong == <uint32_t>wire.ERROR_NO_ERROR:
            return self._glitch()
        if is_over(s) or s.state == STREAM_IDLE:
            return self._fail(wrong, b"a malformed PRIORITY")
        return self._break(s, wrong)

    cdef H2Event _priority_update(self, const Frame* frame, const char* payload) except H2_RAISED:
        """RFC 9218, section 7.1: how a client wants a stream, open or to come, to be served from here on."""
        cdef uint32_t stream_id
        cdef Stream* s
        cdef Priority priority
        cdef EarlyPriority* early
        cdef uint32_t i
        cdef H2Event event
        if self.client:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"PRIORITY_UPDATE from a server")
        if frame.stream_id != 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"PRIORITY_UPDATE on a stream")
        if frame.length < 4:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"PRIORITY_UPDATE shorter than a stream id")
        stream_id = load32(payload) & <uint32_t>STREAM_MAX
        if stream_id & 1 == 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"PRIORITY_UPDATE for a stream that no client opens")
        event = self._glitch()
        if event != H2_NEED_DATA:
            return event
        priority_parse(payload + 4, frame.length - 4, &priority)
        s = table_find(&self.streams, stream_id)
        if not is_over(s):
            sending_prioritize(&self.sending, s, &priority)
        elif stream_id > self.highest:
            early = &self.early[self.early_count % EARLY_PRIORITIES]
            for i in range(<uint32_t>EARLY_PRIORITIES):
                if self.early[i].stream_id == stream_id:
                    early = &self.early[i]
                    break
            else:
                self.early_count += 1
            early.stream_id = stream_id
            early.priority = priority
        return H2_NEED_DATA

    cdef int _prioritize(self, Stream* s) except -1:
        """A new stream: what a frame has said before counts more than its `priority` field (RFC 9218, section 7)."""
        cdef const Field* field
        cdef Priority priority
        cdef uint32_t i
        if self.early_count:
            for i in range(<uint32_t>EARLY_PRIORITIES):
                if self.early[i].stream_id == s.id:
                    sending_prioritize(&self.sending, s, &self.early[i].priority)
                    return 0
        field = self.head.find(HEADER_PRIORITY)
        if field is not NULL and priority_parse(self.head.at(field.value), field.value.size, &priority):
            sending_prioritize(&self.sending, s, &priority)
        return 0

    cdef H2Event _rst_stream(self, const Frame* frame, const char* payload) except H2_RAISED:
        cdef Stream* s = table_find(&self.streams, frame.stream_id)
        cdef bint known
        if frame.length != 4:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"RST_STREAM of a wrong size")
        if self._is_idle(frame.stream_id) or (s is not NULL and s.state == STREAM_IDLE):
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"RST_STREAM on an idle stream")
        if not budget_take(&self.resets, self.now):
            return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many resets")
        if is_over(s):
            return H2_NEED_DATA
        known = not is_listed(s, LIST_LEAVING)
        self._over(s, GONE_RESET_RECEIVED)
        if not known:
            self._retire(s)
            return H2_NEED_DATA
        self.ending = s
        self._show(s)
        self.error_code = load32(payload)
        self.by_peer = True
        return H2_RESET

    cdef H2Event _settings(self, const Frame* frame, const char* payload) except H2_RAISED:
        cdef uint32_t at, id, value
        cdef H2Event event
        if frame.stream_id != 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"SETTINGS on a stream")
        if frame.flags & wire.FLAG_ACK:
            if frame.length:
                return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"a SETTINGS acknowledgement with a payload")
            return self._settings_acknowledged()
        if frame.length % 6:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"SETTINGS of a wrong size")
        if frame.length > 6 * self.limits.settings_entries:
            return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many settings")
        for at in range(0, frame.length, 6):
            id = load16(payload + at)
            value = load32(payload + at + 2)
            event = self._setting(id, value)
            if event != H2_NEED_DATA:
                return event
        self.peer.received = True
        written(write_frame(&self.out, wire.FRAME_SETTINGS, wire.FLAG_ACK, 0, b"", 0))
        event = self._glitch()
        if event == H2_NEED_DATA:
            event = self._owe()
        return H2_SETTINGS if event == H2_NEED_DATA else event

    cdef H2Event _settings_acknowledged(self) except H2_RAISED:
        """Ours are in force at the peer from here on (RFC 9113, section 6.5.3)."""
        cdef int64_t change = <int64_t>self.limits.initial_window - self.local_window
        cdef uint32_t i
        if not self.settings_pending:
            return self._glitch()
        self.settings_pending = False
        written(hpack_set_ceiling(&self.hpack, self.limits.header_table))
        if change:
            self.local_window += change
            for i in range(self.streams.mask + 1 if self.streams.slots is not NULL else 0):
                if self.streams.slots[i] is not NULL:
                    self.streams.slots[i].recv_window += change
        return H2_NEED_DATA

    cdef H2Event _setting(self, uint32_t id, uint32_t value) except H2_RAISED:
        """One of the peer's settings (RFC 9113, section 6.5.2); unknown ones mean nothing."""
        cdef int64_t change
        cdef Stream* s
        cdef uint32_t i
        if id == wire.SETTING_INITIAL_WINDOW_SIZE:
            if value > <uint32_t>WINDOW_MAX:
                return self._fail(wire.ERROR_FLOW_CONTROL_ERROR, b"an initial window above 2^31 - 1")
            change = <int64_t>value - self.peer.initial_window
            self.peer.initial_window = value
            for i in range(self.streams.mask + 1 if self.streams.slots is not NULL else 0):
                s = self.streams.slots[i]
                if s is NULL:
                    continue
                s.send_window += change
                if s.send_window > WINDOW_MAX:
                    return self._fail(wire.ERROR_FLOW_CONTROL_ERROR, b"a stream's window above 2^31 - 1")
                sending_review(&self.sending, s)
            self.pump_due = True
        elif id == wire.SETTING_HEADER_TABLE_SIZE:
            if value < self.peer.header_table:
                self.sending.update_due = True
            self.peer.header_table = value
        elif id == wire.SETTING_ENABLE_PUSH:
            # Only a client may allow pushes (section 6.5.2), and we make no use of it.
            if value > 1 or (self.client and value):
                return self._fail(wire.ERROR_PROTOCOL_ERROR, b"an invalid SETTINGS_ENABLE_PUSH")
        elif id == wire.SETTING_MAX_CONCURRENT_STREAMS:
            self.peer.max_concurrent_streams = value
        elif id == wire.SETTING_MAX_FRAME_SIZE:
            if not <uint32_t>wire.FRAME_SIZE_MIN <= value <= <uint32_t>wire.FRAME_SIZE_MAX:
                return self._fail(wire.ERROR_PROTOCOL_ERROR, b"an invalid SETTINGS_MAX_FRAME_SIZE")
            self.peer.max_frame = value
        elif id == wire.SETTING_MAX_HEADER_LIST_SIZE:
            self.peer.header_list = value
        elif id == wire.SETTING_ENABLE_CONNECT_PROTOCOL:
            if value > 1 or value < <uint32_t>self.peer.enable_connect:
                return self._fail(wire.ERROR_PROTOCOL_ERROR, b"an invalid SETTINGS_ENABLE_CONNECT_PROTOCOL")
            self.peer.enable_connect = value
        elif id == wire.SETTING_NO_RFC7540_PRIORITIES:
            if value > 1 or (self.peer.received and value != <uint32_t>self.peer.no_priorities):
                return self._fail(wire.ERROR_PROTOCOL_ERROR, b"an invalid SETTINGS_NO_RFC7540_PRIORITIES")
            self.peer.no_priorities = value
        return H2_NEED_DATA

    cdef H2Event _ping_frame(self, const Frame* frame, const char* payload) except H2_RAISED:
        cdef H2Event event
        if frame.stream_id != 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"PING on a stream")
        if frame.length != 8:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"PING of a wrong size")
        if frame.flags & wire.FLAG_ACK:
            if self.pings_sent == 0:
                return self._glitch()
            self.pings_sent -= 1
            memcpy(self.opaque, payload, 8)
            return H2_PONG
        event = self._glitch()
        if event == H2_NEED_DATA and self.limits.ping_interval > 0:
            event = self._count_ping()
        if event != H2_NEED_DATA:
            return event
        written(write_ping(&self.out, True, payload))
        return self._owe()

    cdef H2Event _count_ping(self) except H2_RAISED:
        """Keepalive that is too eager: gRPC's rule (its proposal A8) for whoever pings."""
        cdef uint64_t sent = self.sending.heads + self.sending.data_frames
        cdef bint early = self.pinged >= 0 and self.now - self.pinged < self.limits.ping_interval
        if sent != self.pinged_behind:
            self.ping_strikes = 0
        elif early:
            self.ping_strikes += 1
        self.pinged = self.now
        self.pinged_behind = sent
        if self.ping_strikes <= self.limits.ping_strikes:
            return H2_NEED_DATA
        # gRPC clients know these words, and ping less often from then on.
        return self._fail_saying(wire.ERROR_ENHANCE_YOUR_CALM, b"too_many_pings", True)

    cdef H2Event _goaway_frame(self, const Frame* frame, const char* payload) except H2_RAISED:
        cdef Stream* s
        cdef uint32_t i
        cdef H2Event event
        if frame.stream_id != 0:
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"GOAWAY on a stream")
        if frame.length < 8:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"GOAWAY of a wrong size")
        event = self._glitch()
        if event != H2_NEED_DATA:
            return event
        self.goaway_received = True
        self.last_stream_id = load32(payload) & <uint32_t>STREAM_MAX
        self.error_code = load32(payload + 4)
        if self.client and self.streams.slots is not NULL:
            # Our streams above the last one were not processed and never will be (section 6.8).
            for i in range(self.streams.mask + 1):
                s = self.streams.slots[i]
                if is_over(s) or s.id <= self.last_stream_id:
                    continue
                self._over(s, GONE_RESET_RECEIVED)
                s.flags |= STREAM_RESET_SEEN
                s.error_code = wire.ERROR_REFUSED_STREAM
                list_append(&self.notices, LIST_NOTICE, s)
        return H2_GOAWAY

    cdef H2Event _window_update(self, const Frame* frame, const char* payload) except H2_RAISED:
        cdef Stream* s
        cdef uint32_t increment
        if frame.length != 4:
            return self._fail(wire.ERROR_FRAME_SIZE_ERROR, b"WINDOW_UPDATE of a wrong size")
        increment = load32(payload) & <uint32_t>WINDOW_MAX
        self.window_updates += 1
        if self.window_updates > WINDOW_UPDATES_FREE + 2 * (self.sending.data_frames + self.highest):
            if not budget_take(&self.glitches, self.now):
                return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many WINDOW_UPDATE frames")
        if frame.stream_id == 0:
            if increment == 0:
                return self._fail(wire.ERROR_PROTOCOL_ERROR, b"WINDOW_UPDATE by 0")
            self.sending.window += increment
            if self.sending.window > WINDOW_MAX:
                return self._fail(wire.ERROR_FLOW_CONTROL_ERROR, b"a connection's window above 2^31 - 1")
            self.pump_due = True
            return H2_NEED_DATA
        s = table_find(&self.streams, frame.stream_id)
        if self._is_idle(frame.stream_id) or (s is not NULL and s.state == STREAM_IDLE):
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"WINDOW_UPDATE on an idle stream")
        if is_over(s):
            return H2_NEED_DATA  # it may have crossed the end of the stream (section 5.1)
        if increment == 0:
            return self._break(s, wire.ERROR_PROTOCOL_ERROR)
        s.send_window += increment
        if s.send_window > WINDOW_MAX:
            return self._break(s, wire.ERROR_FLOW_CONTROL_ERROR)
        if s.first is not NULL:
            sending_review(&self.sending, s)
            self.pump_due = True
        return H2_NEED_DATA

    # ---- Answers to what is wrong ------------------------------------------------------------------

    cdef bint _is_idle(self, uint32_t stream_id) noexcept:
        """No frame has opened it: ids of the peer above `highest`, ours from `next_id`, and those of a server."""
        if stream_id & 1 == 0:
            return True
        return stream_id >= self.next_id if self.client else stream_id > self.highest

    cdef H2Event _late(self, uint32_t stream_id) except H2_RAISED:
        """DATA or HEADERS on a stream that is not live (RFC 9113, section 5.1)."""
        cdef int how
        if self._is_idle(stream_id):
            return self._fail(wire.ERROR_PROTOCOL_ERROR, b"a frame on an idle stream")
        how = graveyard_find(&self.graves, stream_id)
        if how == GONE_ENDED or how == GONE_NEVER:
            return self._fail(wire.ERROR_STREAM_CLOSED, b"a frame on a stream that was ended")
        if how == GONE_RESET_RECEIVED:
            return self._refuse(stream_id, wire.ERROR_STREAM_CLOSED)
        return self._glitch()

    cdef H2Event _glitch(self) except H2_RAISED:
        if budget_take(&self.glitches, self.now):
            return H2_NEED_DATA
        return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many frames to no purpose")

    cdef H2Event _owe(self) except H2_RAISED:
        """An answer the peer made us write; they must not pile up where nobody takes them."""
        self.control += 1
        if self.control > self.limits.control_queue:
            return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many frames that want an answer")
        return H2_NEED_DATA

    cdef H2Event _fail(self, uint32_t error_code, const char* reason) except H2_RAISED:
        return self._fail_saying(error_code, reason, False)

    cdef H2Event _fail_saying(self, uint32_t error_code, const char* reason, bint aloud) except H2_RAISED:
        """`aloud`: the reason goes to the peer too, as GOAWAY's debug data (RFC 9113, section 6.8)."""
        self.failed = True
        self.stream = NULL
        self.stream_id = 0
        self.error_code = error_code
        self.reason = reason
        written(write_goaway(
            &self.out, min(self.highest, self.last_accepted), error_code, reason, strlen(reason) if aloud else 0
        ))
        return H2_FAILED

    cdef H2Event _refuse(self, uint32_t stream_id, uint32_t error_code) except H2_RAISED:
        if not budget_take(&self.resets, self.now):
            return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many streams that had to be reset")
        written(write_reset(&self.out, stream_id, error_code))
        graveyard_mark(&self.graves, stream_id, GONE_RESET_SENT)
        return self._owe()

    cdef H2Event _break(self, Stream* s, uint32_t error_code) except H2_RAISED:
        cdef bint known = not is_listed(s, LIST_LEAVING)
        cdef uint32_t stream_id = s.id
        self._over(s, GONE_RESET_SENT)
        if not budget_take(&self.resets, self.now):
            return self._fail(wire.ERROR_ENHANCE_YOUR_CALM, b"too many streams that had to be reset")
        written(write_reset(&self.out, stream_id, error_code))
        if not known:
            self._retire(s)
            return self._owe()
        self.ending = s
        if self._owe() == H2_FAILED:
            return H2_FAILED
        self._show(s)
        self.error_code = error_code
        self.by_peer = False
        return H2_RESET
