# cython: freethreading_compatible=True
"""The streams of a connection and what is sent on them.

A stream that ends is `_over` at once: closed, its queue dropped, its place among the concurrent streams free. It is
retired (forgotten, its context dropped) after the driver has fetched the event that tells of the end, or at once
when the driver ended it itself.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset

from fastnet_ext.core.buffer cimport buffer_append, buffer_free, buffer_init
from fastnet_ext.core.debug cimport LIVE_HTTP2_CONNECTION, LIVE_HTTP2_STREAM, born, died
from fastnet_ext.http2 cimport frames as wire
from fastnet_ext.http2.frames cimport (
    PREFACE,
    PREFACE_SIZE,
    STREAM_MAX,
    WINDOW_DEFAULT,
    put_setting,
    write_frame,
    write_goaway,
    write_ping,
    write_reset,
    write_window,
)
from fastnet_ext.http2.hpack cimport HPACK_DEFAULT_TABLE
from fastnet_ext.http2.limits cimport Limits
from fastnet_ext.http2.stream cimport (
    CHUNK_BY_REFERENCE,
    CHUNK_DATA,
    CHUNK_TRAILERS,
    GONE_ENDED,
    GONE_RESET_SENT,
    LIST_LEAVING,
    LIST_NOTICE,
    RECV_DATA,
    RECV_END,
    SEND_DATA,
    SEND_END,
    SEND_HEAD,
    SENT_END,
    SENT_NONE,
    SENT_NO_MEMORY,
    STREAM_BODY_SENT,
    STREAM_CLOSED,
    STREAM_COUNTED,
    STREAM_END_GIVEN,
    STREAM_GROWN,
    STREAM_HEAD_SENT,
    STREAM_IDLE,
    STREAM_NEXT,
    STREAM_NO_BODY,
    STREAM_REFUSED,
    STREAM_TUNNEL,
    STREAM_WAITING,
    Stream,
    graveyard_add,
    list_append,
    list_remove,
    sending_allowance,
    sending_any,
    sending_data,
    sending_drop,
    sending_head,
    sending_queue,
    sending_run,
    table_add,
    table_any,
    table_find,
    table_free,
    table_remove,
)

from fastnet_ext.http2.errors import LocalProtocolError

cdef enum:
    # Frames no longer than this keep one body from holding up the others, and cost 9 bytes in 16,393.
    SENT_FRAME_SIZE = 16384


cdef class Http2Streams:
    """What both directions of a connection share; Http2Connection adds the receiving one."""

    def __cinit__(self, bint client=False, Limits limits=None):
        buffer_init(&self.out)
        memset(&self.streams, 0, sizeof(self.streams))
        memset(&self.graves, 0, sizeof(self.graves))
        memset(&self.sending, 0, sizeof(self.sending))
        memset(&self.peer, 0, sizeof(self.peer))
        self.client = client
        self.limits = Limits() if limits is None else limits
        self.peer.header_table = HPACK_DEFAULT_TABLE
        self.peer.max_concurrent_streams = STREAM_MAX
        self.peer.initial_window = WINDOW_DEFAULT
        self.peer.max_frame = wire.FRAME_SIZE_MIN
        self.peer.header_list = 0xFFFFFFFF
        self.sending.out = &self.out
        self.sending.room = self.limits.output
        self.sending.window = WINDOW_DEFAULT
        self.sending.max_frame = SENT_FRAME_SIZE
        self.local_window = max(<int64_t>self.limits.initial_window, <int64_t>WINDOW_DEFAULT)
        self.next_id = 1
        self.last_accepted = STREAM_MAX
        self.idle = True
        born(LIVE_HTTP2_CONNECTION)
        self._begin()

    def __dealloc__(self):
        cdef Stream* s = table_any(&self.streams)
        while s is not NULL:
            sending_drop(&self.sending, s)
            if s.context is not NULL:
                Py_DECREF(<object>s.context)
            table_remove(&self.streams, s)
            died(LIVE_HTTP2_STREAM)
            s = table_any(&self.streams)
        table_free(&self.streams)
        buffer_free(&self.out)
        died(LIVE_HTTP2_CONNECTION)

    cdef int _begin(self) except -1:
        """Our half of the preface (RFC 9113, section 3.4), and the connection's window."""
        cdef char payload[64]
        cdef char* end = payload
        if self.client:
            written(buffer_append(&self.out, PREFACE, PREFACE_SIZE))
            end = put_setting(end, wire.SETTING_ENABLE_PUSH, 0)
        else:
            end = put_setting(end, wire.SETTING_MAX_CONCURRENT_STREAMS, self.limits.max_concurrent_streams)
            end = put_setting(end, wire.SETTING_NO_RFC7540_PRIORITIES, 1)
            if self.limits.enable_connect:
                end = put_setting(end, wire.SETTING_ENABLE_CONNECT_PROTOCOL, 1)
        if self.limits.header_table != <uint32_t>HPACK_DEFAULT_TABLE:
            end = put_setting(end, wire.SETTING_HEADER_TABLE_SIZE, self.limits.header_table)
        if self.limits.initial_window != <uint32_t>WINDOW_DEFAULT:
            end = put_setting(end, wire.SETTING_INITIAL_WINDOW_SIZE, self.limits.initial_window)
        if self.limits.max_frame != <uint32_t>wire.FRAME_SIZE_MIN:
            end = put_setting(end, wire.SETTING_MAX_FRAME_SIZE, self.limits.max_frame)
        end = put_setting(end, wire.SETTING_MAX_HEADER_LIST_SIZE, self.limits.header_list)
        written(write_frame(&self.out, wire.FRAME_SETTINGS, 0, 0, payload, <uint32_t>(end - payload)))
        self.settings_pending = True
        if self.limits.connection_window > <uint32_t>WINDOW_DEFAULT:
            written(write_window(&self.out, 0, self.limits.connection_window - <uint32_t>WINDOW_DEFAULT))
        return 0

    # ---- Sending -----------------------------------------------------------------------------------

    cdef int send_head(self, uint32_t stream_id, const char* block, size_t size, bint end_stream) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        if is_over(s) or self.failed:
            return H2_GONE
        if STREAM_NEXT[s.state][SEND_HEAD] == STREAM_REFUSED or s.flags & (STREAM_BODY_SENT | STREAM_END_GIVEN):
            raise LocalProtocolError("a head after the body has begun")
        written(sending_head(&self.sending, stream_id, block, size, end_stream))
        s.state = STREAM_NEXT[s.state][SEND_HEAD]
        s.flags |= STREAM_HEAD_SENT
        if end_stream:
            s.flags |= STREAM_BODY_SENT | STREAM_END_GIVEN
            self._sent_end(s)
        return 0

    cdef ssize_t send_data(
        self, uint32_t stream_id, const char* data, size_t size, bint end_stream, object owner
    ) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        cdef PyObject* kept = NULL
        cdef size_t part
        cdef bint whole = False
        if is_over(s) or self.failed:
            return H2_GONE
        if (
            STREAM_NEXT[s.state][SEND_DATA] == STREAM_REFUSED or s.flags & STREAM_END_GIVEN
            or not s.flags & STREAM_HEAD_SENT
        ):
            raise LocalProtocolError("data before a head or after the end")
        if size == 0 and not end_stream:
            return <ssize_t>s.queued
        s.flags |= STREAM_BODY_SENT
        if end_stream:
            s.flags |= STREAM_END_GIVEN
        # Straight into the output, unless others wait for their turn.
        while s.first is NULL and not sending_any(&self.sending) and self.out.size < self.sending.room and not whole:
            part = sending_allowance(&self.sending, s, size)
            if part == 0 and size:
                break
            whole = part == size
            written(sending_data(&self.sending, s, data, part, whole and end_stream))
            data += part
            size -= part
        if whole:
            if end_stream:
                self._sent_end(s)
            return 0
        if isinstance(owner, bytes) and size >= <size_t>CHUNK_BY_REFERENCE:
            kept = <PyObject*>owner
        s.flags |= STREAM_WAITING
        written(sending_queue(&self.sending, s, CHUNK_DATA, data, size, end_stream, kept))
        return <ssize_t>s.queued if s.queued else 1

    cdef int send_trailers(self, uint32_t stream_id, const char* block, size_t size) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        if is_over(s) or self.failed:
            return H2_GONE
        if (
            STREAM_NEXT[s.state][SEND_HEAD] == STREAM_REFUSED or s.flags & STREAM_END_GIVEN
            or not s.flags & STREAM_HEAD_SENT
        ):
            raise LocalProtocolError("trailers before a head or after the end")
        s.flags |= STREAM_BODY_SENT | STREAM_END_GIVEN
        if s.first is not NULL:
            s.flags |= STREAM_WAITING
            written(sending_queue(&self.sending, s, CHUNK_TRAILERS, block, size, True, NULL))
            return 0
        written(sending_head(&self.sending, stream_id, block, size, True))
        self._sent_end(s)
        return 0

    cdef int reset_stream(self, uint32_t stream_id, uint32_t error_code) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        if is_over(s):
            return H2_GONE
        if s.state != STREAM_IDLE and not self.failed:
            written(write_reset(&self.out, stream_id, error_code))
        self._over(s, GONE_RESET_SENT)
        self._retire(s)
        return 0

    cdef int ping(self, const char* opaque) except -1:
        self.pings_sent += 1
        return written(write_ping(&self.out, False, opaque))

    cdef int goaway(self, uint32_t last, uint32_t error_code) except -1:
        self.goaway_sent = True
        self.last_accepted = min(last, self.last_accepted)
        return written(write_goaway(&self.out, self.last_accepted, error_code, NULL, 0))

    cdef int pump(self) except -1:
        cdef Stream* s = NULL
        cdef int sent = sending_run(&self.sending, &s)
        while sent != SENT_NONE:
            if sent == SENT_NO_MEMORY:
                raise MemoryError()
            if s.flags & STREAM_WAITING:
                s.flags &= ~STREAM_WAITING
                list_append(&self.notices, LIST_NOTICE, s)
            if sent == SENT_END:
                self._sent_end(s)
            sent = sending_run(&self.sending, &s)
        return 0

    cdef bint has_queued(self) noexcept:
        return sending_any(&self.sending)

    # ---- The life of a stream ----------------------------------------------------------------------

    cdef int64_t open_stream(self) except -1:
        cdef Stream* s
        if (
            not self.client or self.failed or self.goaway_received or self.next_id > <uint32_t>STREAM_MAX
            or self.streams.count >= self.peer.max_concurrent_streams
        ):
            return 0
        s = table_add(&self.streams, self.next_id)
        if s is NULL:
            raise MemoryError()
        s.send_window = self.peer.initial_window
        s.recv_window = self.local_window
        self.next_id += 2
        born(LIVE_HTTP2_STREAM)
        return s.id

    cdef void _show(self, Stream* s) noexcept:
        self.stream = s
        self.stream_id = s.id

    cdef int _received_end(self, Stream* s) except -1:
        cdef bint known = not is_listed(s, LIST_LEAVING)
        s.state = STREAM_NEXT[s.state][RECV_END]
        if s.state == STREAM_CLOSED:
            self._over(s, GONE_ENDED)
            if known:
                self.ending = s
            else:
                self._retire(s)
        return 0

    cdef int _sent_end(self, Stream* s) except -1:
        """The frame with END_STREAM is in `out`."""
        s.state = STREAM_NEXT[s.state][SEND_END]
        if s.state == STREAM_CLOSED:
            self._over(s, GONE_ENDED)
        elif not self.client and not s.flags & STREAM_TUNNEL:
            # The rest of the request is not wanted. It may be in the driver's hands already: not before its end.
            if not self.idle:
                list_append(&self.leaving, LIST_LEAVING, s)
                return 0
            written(write_reset(&self.out, s.id, wire.ERROR_NO_ERROR))
            self._over(s, GONE_RESET_SENT)
        if s.state == STREAM_CLOSED and not is_listed(s, LIST_NOTICE):
            self._retire(s)
        return 0

    cdef void _over(self, Stream* s, int how) noexcept:
        s.state = STREAM_CLOSED
        sending_drop(&self.sending, s)
        list_remove(&self.leaving, LIST_LEAVING, s)
        graveyard_add(&self.graves, s.id, how)
        if s.flags & STREAM_COUNTED:
            s.flags &= ~STREAM_COUNTED
            self.counted -= 1

    cdef int _retire(self, Stream* s) except -1:
        cdef void* context = s.context
        list_remove(&self.notices, LIST_NOTICE, s)
        if self.stream == s:
            self.stream = NULL
        if self.ending == s:
            self.ending = NULL
        table_remove(&self.streams, s)
        died(LIVE_HTTP2_STREAM)
        if context is not NULL:
            Py_DECREF(<object>context)  # last: it may run code that calls us
        return 0

    cdef int clear(self) except -1:
        cdef Stream* s = table_any(&self.streams)
        self.failed = True
        while s is not NULL:
            if s.state != STREAM_CLOSED:
                self._over(s, GONE_RESET_SENT)
            self._retire(s)
            s = table_any(&self.streams)
        return 0

    # ---- What the driver keeps with a stream ---------------------------------------------------------

    cdef object get_context(self, uint32_t stream_id):
        cdef Stream* s = table_find(&self.streams, stream_id)
        if s is NULL or s.context is NULL:
            return None
        return <object>s.context

    cdef int set_context(self, uint32_t stream_id, object context) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        cdef void* before
        if s is NULL:
            return H2_GONE
        before = s.context
        s.context = NULL
        if context is not None:
            Py_INCREF(context)
            s.context = <void*>context
        if before is not NULL:
            Py_DECREF(<object>before)
        return 0

    cdef list contexts(self):
        cdef list found = []
        cdef uint32_t i
        if self.streams.slots is not NULL:
            for i in range(self.streams.mask + 1):
                if self.streams.slots[i] is not NULL and self.streams.slots[i].context is not NULL:
                    found.append(<object>self.streams.slots[i].context)
        return found

    cdef int open_tunnel(self, uint32_t stream_id) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        if is_over(s):
            return H2_GONE
        s.flags |= STREAM_TUNNEL
        return 0

    cdef int expect_no_body(self, uint32_t stream_id) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        if is_over(s):
            return H2_GONE
        s.flags |= STREAM_NO_BODY
        return 0

    cdef void hold(self) noexcept:
        self.held += 1

    cdef void release(self) noexcept:
        if self.held:
            self.held -= 1

    cdef int consumed_by_app(self, uint32_t stream_id, size_t n, bint reading) except -1:
        cdef Stream* s = table_find(&self.streams, stream_id)
        cdef int64_t growth = max(<int64_t>self.limits.reading_window - <int64_t>self.limits.initial_window, 0)
        if is_over(s) or self.failed:
            return H2_GONE
        if s.flags & STREAM_GROWN:
            if not reading:
                # What the peer has been given cannot be taken back (RFC 9113, section 6.9.2), only withheld later.
                s.flags &= ~STREAM_GROWN
                s.recv_credit -= growth
        elif reading and growth and 2 * (s.recv_credit + <int64_t>n) >= self.local_window:
            s.flags |= STREAM_GROWN
            s.recv_credit += growth
        return self._credit_stream(s, n)

    cdef int _credit_stream(self, Stream* s, size_t n) except -1:
        """Give window back in portions of half of it."""
        cdef int64_t size = self.local_window
        cdef int64_t credit
        if STREAM_NEXT[s.state][RECV_DATA] == STREAM_REFUSED:
            return 0
        if s.flags & STREAM_GROWN:
            size = max(size, <int64_t>self.limits.reading_window)
        s.recv_credit += <int64_t>n
        if 2 * s.recv_credit < size:
            return 0
        credit = min(s.recv_credit, size - s.recv_window)
        s.recv_credit = 0
        if credit > 0:
            written(write_window(&self.out, s.id, <uint32_t>credit))
            s.recv_window += credit
        return 0
