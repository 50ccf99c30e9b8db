"""The streams of a connection and what is sent on them: the half of Http2Connection that reads nothing."""

from libc.stdint cimport int64_t, uint32_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.http2.limits cimport Limits
from fastnet_ext.http2.stream cimport STREAM_CLOSED, Graveyard, Sending, Stream, StreamList, StreamTable

# What the send functions return when the stream is over already: nothing was sent, and that is no mistake.
cdef enum:
    H2_GONE = -2


# What the peer has announced, with the defaults of RFC 9113, section 6.5.2, until it does.
cdef struct PeerSettings:
    uint32_t header_table
    uint32_t max_concurrent_streams
    uint32_t initial_window
    uint32_t max_frame
    uint32_t header_list
    bint enable_connect
    bint no_priorities
    bint received


cdef class Http2Streams:
    # Who we are.
    cdef readonly bint client
    cdef readonly Limits limits
    cdef PeerSettings peer

    # What must be sent. The driver takes all of it, in order, and sets the size to 0.
    cdef Buffer out

    # The stream of the last event; NULL when there is none, and when a call of ours has ended it: keep the id.
    cdef uint32_t stream_id
    cdef Stream* stream

    # Streams. `highest` is the largest id the peer has opened; ours (client) count up by two from `next_id`.
    # `counted` streams of the peer are not over; `held` handlers outlive theirs (see `hold`). Their sum is
    # what max_concurrent_streams bounds.
    cdef StreamTable streams
    cdef Graveyard graves
    cdef uint32_t highest
    cdef uint32_t next_id
    cdef uint32_t counted
    cdef uint32_t held
    cdef StreamList notices         # streams with an event to report
    cdef StreamList leaving         # server: answered, request not ended; reset at the end of the batch
    cdef Stream* ending             # over, but the last event shows it: retired by the next call

    # Going away. A peer's stream above `last_accepted` is ignored once `goaway_sent`.
    cdef bint goaway_sent
    cdef bint goaway_received
    cdef uint32_t last_accepted
    cdef bint failed

    # Sending: windows, turns. `out` again is its output.
    cdef Sending sending
    cdef uint32_t pings_sent

    # The initial window of streams for what we receive: ours after its acknowledgement, before it the larger of
    # ours and the default.
    cdef int64_t local_window
    cdef bint settings_pending      # ours are not acknowledged yet
    cdef bint idle                  # all input is used up: the last event was H2_NEED_DATA

    # ---- Sending ---------------------------------------------------------------------------------
    # All return H2_GONE when the stream is over (the peer has reset it, say), which is no mistake, and raise
    # LocalProtocolError for what HTTP/2 does not allow.

    # Client: the id of a new stream, to be begun at once by send_head; 0 while the peer takes no more.
    cdef int64_t open_stream(self) except -1
    # An HPACK block (encode_status, encode_field of hpack.pxd) as HEADERS. Interim heads first, then one final.
    cdef int send_head(self, uint32_t stream_id, const char* block, size_t size, bint end_stream) except -1
    # DATA as far as the windows allow; the rest queues, and H2_WINDOW tells when it is gone. `owner`, when not
    # None, is the bytes object that `data` points into: kept instead of a copy where that pays. Returns how many
    # bytes are queued on the stream now (1 when only its end is); 0 when everything is in `out`.
    cdef ssize_t send_data(
        self, uint32_t stream_id, const char* data, size_t size, bint end_stream, object owner
    ) except -1
    # The last head, behind everything queued; it ends our direction.
    cdef int send_trailers(self, uint32_t stream_id, const char* block, size_t size) except -1
    # RST_STREAM; what is queued is dropped, and so is the context.
    cdef int reset_stream(self, uint32_t stream_id, uint32_t error_code) except -1
    cdef int ping(self, const char* opaque) except -1
    # GOAWAY. last 2**31 - 1 announces the end without refusing anything yet (RFC 9113, section 6.8); streams
    # above `last` are ignored from now on. `highest` refuses only what has not come yet.
    # Server: the stream carries a tunnel, whose directions end each for itself (RFC 9113, section 8.5).
    cdef int open_tunnel(self, uint32_t stream_id) except -1
    cdef int goaway(self, uint32_t last, uint32_t error_code) except -1
    # Frame what is queued, as far as windows and limits.output allow; call it when the transport has taken
    # `out` and more may be queued (has_queued, which is true also of what waits for the connection's window).
    # Streams that ran empty are reported by `next`, which may be called with no bytes for that.
    cdef int pump(self) except -1
    cdef bint has_queued(self) noexcept

    # ---- Streams ---------------------------------------------------------------------------------

    # The driver's object of a stream, None when there is none. A strong reference, dropped when the stream is
    # over and its last event has been fetched.
    cdef object get_context(self, uint32_t stream_id)
    cdef int set_context(self, uint32_t stream_id, object context) except -1
    # Those of all streams, for the driver to end when the connection does.
    cdef list contexts(self)
    # Drop every stream and its context. For the driver's end; the connection is of no further use.
    cdef int clear(self) except -1
    # Client: the request was HEAD, so that the answer has no body whatever it announces.
    cdef int expect_no_body(self, uint32_t stream_id) except -1
    # Bytes of H2_DATA the application is done with: they open the stream's window again. `reading`: it has taken all
    # that came, so that more may be on its way, up to limits.reading_window; without it the window shrinks again.
    cdef int consumed_by_app(self, uint32_t stream_id, size_t n, bint reading) except -1
    # A handler goes on after its stream was reset: it keeps counting against max_concurrent_streams until
    # `release`, so that resetting streams does not multiply handlers.
    cdef void hold(self) noexcept
    cdef void release(self) noexcept

    # ---- Inside: see streams.pyx -----------------------------------------------------------------
    cdef int _begin(self) except -1
    cdef void _show(self, Stream* s) noexcept
    cdef int _received_end(self, Stream* s) except -1
    cdef int _sent_end(self, Stream* s) except -1
    cdef int _credit_stream(self, Stream* s, size_t n) except -1
    cdef void _over(self, Stream* s, int how) noexcept
    cdef int _retire(self, Stream* s) except -1


cdef inline int written(int result) except -1:
    """The writers of the C headers say -1 when memory is out."""
    if result < 0:
        raise MemoryError()
    return 0


cdef inline bint is_listed(const Stream* s, int which) noexcept nogil:
    return (s.listed >> which) & 1


cdef inline bint is_over(const Stream* s) noexcept nogil:
    return s is NULL or s.state == STREAM_CLOSED
