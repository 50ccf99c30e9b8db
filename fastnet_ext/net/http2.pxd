"""An HTTP/2 connection as the carrier of many exchanges at once."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.exchange.exchange cimport Exchange, Gone
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.http2.connection cimport Http2Connection
from fastnet_ext.net.connection cimport Carrier
from fastnet_ext.net.progress cimport Progress


cdef enum:
    # Bytes of a stream that wait for its window; above it, its writer waits.
    STREAM_HIGH_WATER = 64 * 1024
    # Bytes that all streams of a connection may keep for readers that do not take them.
    CONNECTION_UNREAD = 8 * 1024 * 1024
    # The last stream of a GOAWAY that announces the end and refuses nothing yet (RFC 9113, 6.8).
    ANY_STREAM = 0x7FFFFFFF


cdef class Http2Carrier(Carrier):
    # Holds the streams; the context of each is its Http2Exchange.
    cdef Http2Connection machine
    cdef Buffer block           # scratch: the head being encoded
    cdef list fresh             # exchanges of this batch whose request is not complete
    cdef uint32_t running       # exchanges begun and not finished
    cdef uint64_t refused       # streams that the machine refused and the log was told of

    # The end in two steps: announced, and then, when what the peer sent before it knew has come, settled.
    cdef bint leaving
    cdef bint settled

    # Time, in seconds: of silence with streams open, since our PING for it (below 0: there is none), until the
    # connection is too old, and since it was found to be (below 0: it is not).
    cdef double silent
    cdef double unanswered
    cdef double lifetime
    cdef double overage

    cdef int _announce_end(self) except -1
    cdef int _settle(self) except -1
    cdef int _keep_alive(self, double elapsed) except -1
    cdef int _age(self, double elapsed) except -1
    cdef int _tell_drain(self) except -1
    cdef int _close_when_done(self) except -1
    cdef int _begin(self, bint refused) except -1
    cdef int _data(self, char* data, size_t size, bint end) except -1
    cdef int _reset(self) except -1
    cdef int _window_opened(self) except -1
    cdef int _failed(self) except -1
    cdef int _note_refused(self) except -1
    cdef int _read_up_to_limit(self) except -1
    cdef int _fail_all(self, Gone why) except -1
    cdef int _set_clock(self) except -1
    cdef int _look_at_stream(self, Http2Exchange x, double elapsed, double late) except -1
    cdef int _start_fresh(self) except -1
    cdef int _finished(self) except -1


cdef class Http2Exchange(Exchange):
    cdef Http2Carrier carrier   # None when the answer has ended or the stream is gone
    cdef uint32_t stream_id
    cdef uint32_t unread        # bytes whose window is withheld until the body is read on
    cdef Progress reading       # of its body
    cdef Progress writing       # of what waits for its window
    cdef double lingering       # seconds since our end of a tunnel, whose peer has not ended
    cdef bint outlived          # the stream is over, the handler is not: see Http2Connection.hold

    cdef int _send_head(self, ResponseHead head, int64_t length, bint end) except -1
    cdef bint _owes_body(self) noexcept
    cdef bint _is_read(self) noexcept
    cdef int64_t _unread(self) noexcept
    cdef int _outlive(self, Gone why) except -1
    cdef int _done(self) except -1
