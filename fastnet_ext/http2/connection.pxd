"""One HTTP/2 connection without its transport (RFC 9113), in either role.

The driver presents bytes to `next` and gets one event at a time; what must go to the peer collects in `out`.
`next` consumes a prefix of the bytes; what is left (always less than one frame) must be presented again with
more behind it. The driver calls `next` until it says H2_NEED_DATA, which is also when answers that can wait
for the whole batch are written: acknowledgements of data, queued bodies. Then it sends all of `out` and sets
`out.size` to 0. It may stop between two events for as long as it likes.

Nothing the peer does raises; -1 and H2_RAISED mean MemoryError, or LocalProtocolError for a call that HTTP/2
does not allow. What can be sent stands in streams.pxd.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.headers cimport HeaderBlock, Span
from fastnet_ext.http2.frames cimport Frame
from fastnet_ext.http2.head cimport HeadFacts, HeadKind, HeadRules
from fastnet_ext.http2.hpack cimport Hpack
from fastnet_ext.http2.stream cimport Budget, Priority, Stream
from fastnet_ext.http2.streams cimport Http2Streams


cdef enum H2Event:
    H2_RAISED = -1
    H2_NEED_DATA = 0
    H2_REQUEST      # server: a stream was opened; stream_id, stream, head, protocol, end_stream
    H2_TOO_LARGE    # server: the same, but the head passes the limits and is incomplete: answer 431
    H2_RESPONSE     # client: a head, interim ones (1xx in head.status) too; the same fields
    H2_DATA         # stream_id, stream, data, data_size, end_stream
    H2_END          # the peer's direction ended without more data; stream_id, stream
    H2_TRAILERS     # they end it too; stream_id, stream, head
    H2_RESET        # the stream is over; stream_id, stream, error_code, by_peer
    H2_WINDOW       # all that was queued on the stream has been framed; stream_id, stream
    H2_SETTINGS     # the peer's settings came into force
    H2_PONG         # the answer to `ping`; opaque
    H2_GOAWAY       # the peer will open or accept no more; last_stream_id, error_code
    H2_FAILED       # the connection is over: GOAWAY is in `out`, close after sending it; error_code, reason


cdef enum:
    EARLY_PRIORITIES = 16   # PRIORITY_UPDATE frames kept for streams that are still to be opened


# A PRIORITY_UPDATE frame that came before its stream.
cdef struct EarlyPriority:
    uint32_t stream_id
    Priority priority


cdef class Http2Connection(Http2Streams):
    # The last event, valid until the next call of `next`; stream_id and stream are those of Http2Streams. `data`
    # lies in the caller's bytes. `head` belongs to whoever takes it.
    cdef HeaderBlock head
    cdef Span protocol              # :protocol of an extended CONNECT, in head's arena
    cdef const char* data
    cdef size_t data_size
    cdef bint end_stream            # the event ends the peer's direction
    cdef bint too_many_fields       # H2_TOO_LARGE: for the number of fields, not for their bytes
    cdef bint by_peer               # H2_RESET: the peer did it; else we did, because of what it sent
    cdef uint32_t error_code
    cdef uint32_t last_stream_id
    cdef char opaque[8]
    cdef const char* reason         # H2_FAILED: what was wrong, a sentence for the log; or NULL

    # Windows: what the peer may still send on the connection, and what it has sent since we last gave any back.
    cdef int64_t recv_window
    cdef uint64_t recv_credit
    cdef bint pump_due              # a window for what we send was opened in this batch

    # Where the input stands: bytes of the preface seen, then frames. Inside a DATA frame: what is left of it.
    # Inside a header block: its stream, the kind of the first frame, and the fragments so far.
    cdef uint32_t preface_seen
    cdef bint in_data
    cdef bint data_end              # the frame has END_STREAM
    cdef uint32_t data_stream       # 0: the data goes nowhere
    cdef uint32_t data_left
    cdef uint32_t pad_left
    cdef bint in_head
    cdef uint32_t head_stream
    cdef bint head_end
    cdef bint head_depends_on_self
    cdef uint32_t head_frames
    cdef Buffer fragments
    cdef Hpack hpack

    # What the peer may cause; see Limits.
    cdef double now
    cdef Budget resets
    cdef uint64_t refused           # streams beyond max_concurrent_streams, since the start
    cdef Budget glitches
    cdef uint32_t empty_frames
    cdef uint32_t control
    cdef uint64_t window_updates
    cdef double pinged              # when the last PING came
    cdef uint64_t pinged_behind     # heads and DATA frames sent before it
    cdef uint32_t ping_strikes
    cdef EarlyPriority early[EARLY_PRIORITIES]
    cdef uint32_t early_count       # ever; the latest of them are kept

    # One event. `now` in seconds from any fixed point, never going back.
    cdef H2Event next(self, const char* data, size_t size, size_t* consumed, double now) except H2_RAISED

    # ---- Inside: see connection.pyx ----------------------------------------------------------------
    cdef H2Event _read(self, const char** at, const char* end) except H2_RAISED
    cdef H2Event _preface(self, const char** at, const char* end) except H2_RAISED
    cdef H2Event _frame(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _data_begin(self, const Frame* frame, uint32_t padding) except H2_RAISED
    cdef H2Event _data_accept(self, const Frame* frame, Stream* s, uint32_t size) except H2_RAISED
    cdef H2Event _data_piece(self, const char** at, const char* end) except H2_RAISED
    cdef H2Event _headers(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _continuation(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _block(self, const char* block, size_t size) except H2_RAISED
    cdef H2Event _open_by_peer(self, const char* block, size_t size) except H2_RAISED
    cdef H2Event _further_head(self, Stream* s, const char* block, size_t size) except H2_RAISED
    cdef H2Event _late_head(self, const char* block, size_t size) except H2_RAISED
    cdef int _decode(self, const char* block, size_t size, HeadKind kind, HeadFacts* facts) except -1
    cdef H2Event _priority(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _priority_update(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef int _prioritize(self, Stream* s) except -1
    cdef H2Event _rst_stream(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _settings(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _settings_acknowledged(self) except H2_RAISED
    cdef H2Event _setting(self, uint32_t id, uint32_t value) except H2_RAISED
    cdef H2Event _ping_frame(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _count_ping(self) except H2_RAISED
    cdef H2Event _goaway_frame(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef H2Event _window_update(self, const Frame* frame, const char* payload) except H2_RAISED
    cdef bint _is_idle(self, uint32_t stream_id) noexcept
    cdef H2Event _late(self, uint32_t stream_id) except H2_RAISED
    cdef H2Event _glitch(self) except H2_RAISED
    cdef H2Event _owe(self) except H2_RAISED
    cdef H2Event _fail(self, uint32_t error_code, const char* reason) except H2_RAISED
    cdef H2Event _fail_saying(self, uint32_t error_code, const char* reason, bint aloud) except H2_RAISED
    cdef H2Event _refuse(self, uint32_t stream_id, uint32_t error_code) except H2_RAISED
    cdef H2Event _break(self, Stream* s, uint32_t error_code) except H2_RAISED
    cdef H2Event _notice(self) except H2_RAISED
    cdef H2Event _end_of_batch(self) except H2_RAISED
