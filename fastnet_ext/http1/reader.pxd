"""The HTTP/1 reader: bytes in, one event at a time out. It never acts and never keeps the bytes."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from fastnet_ext.core.headers cimport Field, HeaderBlock, Method
from fastnet_ext.http1.head cimport Chunk, Result, Section


cdef enum Role:
    SERVER  # reads requests
    CLIENT  # reads responses


cdef enum Event:
    RAISED = -1  # a Python exception is set (memory is out)
    NEED_DATA = 0  # nothing more to say about these bytes
    HEAD  # head and what follows from it are set; an interim (1xx) response has no END
    DATA  # data and data_size are set
    END  # the message is over; trailers is set
    FAILED  # error_status and error_reason are set; stays so
    NOT_HTTP  # the first line of the connection is none of HTTP/1: close without a word; stays so


cdef enum BodyKind:
    BODY_NONE
    BODY_LENGTH
    BODY_CHUNKED
    BODY_UNTIL_CLOSE  # responses only


cdef enum State:  # the table is in reader.pyx
    STATE_HEAD
    STATE_LENGTH
    STATE_UNTIL_CLOSE
    STATE_CHUNK_LINE
    STATE_CHUNK_DATA
    STATE_CHUNK_END
    STATE_TRAILERS
    STATE_END
    STATE_CLOSED
    STATE_TUNNEL
    STATE_FAILED
    STATE_NOT_HTTP


cdef class Limits:
    """Sizes in bytes; shared by many readers, never changed."""

    cdef readonly uint32_t request_line
    cdef readonly uint32_t head
    cdef readonly uint32_t fields
    cdef readonly uint32_t chunk_extensions
    cdef readonly uint32_t trailers


cdef class Reader:
    # Settings. A client sets `request_method` to that of the request whose answer comes next: it
    # decides whether there is a body (HEAD, CONNECT).
    cdef Limits limits
    cdef Role role
    cdef Method request_method

    # From HEAD on, for the message. The block belongs to whoever takes it; the reader lets go of
    # it when the next head comes. content_length is -1 when none was given, and may be above 0
    # with BODY_NONE (answers to HEAD). expect_continue: the peer waits for 100 before the body.
    # upgrade: Connection names upgrade, Upgrade is there, the version is HTTP/1.1.
    cdef readonly HeaderBlock head
    cdef BodyKind body_kind
    cdef readonly int64_t content_length
    cdef readonly int minor
    cdef readonly bint keep_alive
    cdef readonly bint expect_continue
    cdef readonly bint upgrade
    cdef readonly bint has_host

    # From DATA on: part of the body, a view into the bytes given to `next`, valid as long as those.
    cdef const char* data
    cdef size_t data_size

    # From END on: None when there were none.
    cdef readonly HeaderBlock trailers

    # From FAILED on: the status and a sentence for the peer (a constant). Client role: no peer
    # waits for them, but they say what was wrong.
    cdef readonly int error_status
    cdef const char* error_reason
    cdef bint too_many_fields       # that is the error

    # Where the reading stands. `remaining`: bytes of the body or of the chunk still to come.
    # `saved`: the fields of a head that came in pieces; NULL while heads come whole.
    cdef State state
    cdef Section section
    cdef Chunk chunk
    cdef uint64_t remaining
    cdef Field* saved
    cdef uint8_t empty_lines
    cdef uint8_t interim
    cdef bint switched  # a response that hands the connection to another protocol

    # Only of `events` and `run`: what was given and not yet consumed.
    cdef bytes _carry

    # Reads on. `data` starts with what earlier calls did not consume; `consumed` bytes of it are
    # done with. Call it, with the rest (which may be empty), until it says NEED_DATA, FAILED or
    # NOT_HTTP; or stop at any event and go on later. After an END whose message may hand the
    # connection to another protocol (upgrade, CONNECT) decide before you go on: what follows may
    # not be HTTP. After an END with keep_alive false all that comes is consumed and dropped; after
    # a response that switches protocols (101, 2xx to CONNECT) nothing is consumed any more.
    cdef Event next(self, const char* data, size_t size, size_t* consumed) except RAISED

    # The input has ended (call it after NEED_DATA). NEED_DATA: between messages, clean. END: that
    # ended a body of kind BODY_UNTIL_CLOSE. FAILED: the message is cut off.
    cdef Event eof(self) noexcept

    # Between messages: nothing of the next one has come. False while a last event is due.
    cdef inline bint is_idle(self) noexcept:
        return (
            self.state == STATE_HEAD and self.section.searched == 0 and self.section.line == 0 and self.interim == 0
        )

    # As new, for another connection.
    cdef void reset(self) noexcept

    cdef Event _next(self, const char* data, size_t size, size_t* consumed) except RAISED
    cdef Event _read_head(self, const char* data, size_t size, size_t* consumed) except RAISED
    cdef Event _read_body(self, const char* data, size_t size, size_t* consumed) except RAISED
    cdef Event _read_trailers(self, const char* data, size_t size, size_t* consumed) except RAISED
    cdef Event _take_head(self, const char* data) except RAISED
    cdef int _make_room(self, Field* local) except -1
    cdef int _save_fields(self) except -1
    cdef void _frame(self) noexcept
    cdef Result _frame_request(self) noexcept
    cdef Result _frame_response(self) noexcept
    cdef void _begin_head(self) noexcept
    cdef void _begin_message(self) noexcept
    cdef void _end_message(self) noexcept
    cdef Event _give_data(self, const char* data, size_t size) noexcept
    cdef Event _fail(self, Result result) noexcept
    cdef dict _framing(self)
    cdef tuple _describe(self, Event event)
