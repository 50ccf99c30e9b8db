# cython: freethreading_compatible=True
"""The HTTP/1 reader: strict, without I/O, for requests (server) and responses (client).

States, and where each goes:

    HEAD         a head is complete           -> END, LENGTH, CHUNK_LINE, UNTIL_CLOSE
                 it is an interim response    -> HEAD
    LENGTH       the last byte was given      -> END
    UNTIL_CLOSE  the input ended              -> CLOSED, with END
    CHUNK_LINE   a size above 0               -> CHUNK_DATA
                 size 0                       -> TRAILERS
    CHUNK_DATA   the last byte was given      -> CHUNK_END
    CHUNK_END    CRLF                         -> CHUNK_LINE
    TRAILERS     the empty line               -> END
    END          END was reported             -> HEAD; CLOSED without keep-alive; TUNNEL after a
                                                 response that switches protocols
    any          bytes that break the rules   -> FAILED or NOT_HTTP, for good
"""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastnet_ext.core.debug cimport DEBUG, LIVE_READER, born, died, invariant
from fastnet_ext.core.headers cimport METHOD_CONNECT, METHOD_GET, METHOD_HEAD, Method, find_method
from fastnet_ext.http1.head cimport (
    ANSWERS,
    FLAG_EXPECT,
    FLAG_HAS_CODING,
    FLAG_HAS_HOST,
    FLAG_HAS_UPGRADE,
    FLAG_UPGRADE,
    PART_REQUEST,
    PART_RESPONSE,
    PART_TRAILERS,
    RESULT_CHUNK_END,
    RESULT_DONE,
    RESULT_MORE,
    RESULT_NOT_HTTP,
    RESULT_TOO_MANY_FIELDS,
    RESULT_TOO_MANY_INTERIM,
    RESULT_TRUNCATED,
    begin_chunks,
    begin_section,
    check_codings,
    check_request,
    keeps_alive,
    read_chunk_line,
    read_section,
)


cdef enum:
    # Fields on the stack while a section is read; a limit above it takes them from the heap.
    LOCAL_FIELDS = 128
    # Leading empty lines before a request line: RFC 9112, 2.2, asks for one at least.
    MAX_EMPTY_LINES = 2
    # Interim responses before the final one.
    MAX_INTERIM = 16
    MAX_FIELDS = 1024
    # The smallest limit that can hold any request line or trailer section at all, and the largest
    # one that offsets of 32 bits carry with room to spare.
    MIN_BYTES = 128
    MAX_BYTES = 1 << 26


cdef long checked(str name, object value, long low, long high) except -1:
    if not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be an int from {low} to {high}, not {value!r}")
    return value


@cython.final
cdef class Limits:
    """What one message may have at most, in bytes; ``fields`` counts fields."""

    def __init__(
        self, *, request_line=8 * 1024, head=64 * 1024, fields=128, chunk_extensions=16 * 1024, trailers=8 * 1024
    ):
        """ValueError for a value out of range, or when ``head`` is below ``request_line``."""
        self.request_line = <uint32_t>checked("request_line", request_line, MIN_BYTES, MAX_BYTES)
        self.head = <uint32_t>checked("head", head, MIN_BYTES, MAX_BYTES)
        self.fields = <uint32_t>checked("fields", fields, 1, MAX_FIELDS)
        self.chunk_extensions = <uint32_t>checked("chunk_extensions", chunk_extensions, 0, MAX_BYTES)
        self.trailers = <uint32_t>checked("trailers", trailers, MIN_BYTES, MAX_BYTES)
        if self.head < self.request_line:
            raise ValueError("head must not be below request_line, which is part of it")


@cython.final
@cython.no_gc  # all that it refers to refers to nothing
cdef class Reader:
    """Reads the messages of one connection; see reader.pxd for the use from compiled code.

    From Python (tests, tools): ``events`` takes bytes and gives what they amount to.
    """

    def __cinit__(self, Limits limits=None, *, bint client=False):
        self.limits = Limits() if limits is None else limits
        self.role = CLIENT if client else SERVER
        self.saved = NULL
        self.reset()
        born(LIVE_READER)

    def __dealloc__(self):
        free(self.saved)
        died(LIVE_READER)

    cdef void reset(self) noexcept:
        free(self.saved)
        self.saved = NULL
        self.head = self.trailers = None
        self.request_method = METHOD_GET
        self.body_kind = BODY_NONE
        self.content_length = -1
        self.minor = 1
        self.keep_alive = True
        self.expect_continue = self.upgrade = self.has_host = False
        self.data = NULL
        self.data_size = 0
        self.error_status = 0
        self.error_reason = ""
        self.remaining = 0
        self.section.first = 1
        self._carry = b""
        self._begin_message()

    cdef Event next(self, const char* data, size_t size, size_t* consumed) except RAISED:
        cdef Event event = self._next(data, size, consumed)
        if DEBUG:
            invariant(consumed[0] <= size)
            if event == DATA:
                invariant(self.data_size > 0 and self.data >= data and self.data + self.data_size <= data + consumed[0])
            if event == FAILED:
                invariant(self.error_status != 0 and self.error_reason is not NULL)
        return event

    cdef inline Event _next(self, const char* data, size_t size, size_t* consumed) except RAISED:
        consumed[0] = 0
        if self.state == STATE_HEAD:
            return self._read_head(data, size, consumed)
        if self.state == STATE_END:
            self._end_message()
            return END
        return self._read_body(data, size, consumed)

    cdef Event eof(self) noexcept:
        if self.state == STATE_UNTIL_CLOSE:
            self.state = STATE_CLOSED
            return END
        if self.state == STATE_FAILED:
            return FAILED
        if self.state == STATE_NOT_HTTP:
            return NOT_HTTP
        if self.state == STATE_HEAD:
            if not self.is_idle():
                return self._fail(RESULT_TRUNCATED)
        elif self.state != STATE_END and self.state != STATE_CLOSED and self.state != STATE_TUNNEL:
            return self._fail(RESULT_TRUNCATED)
        return NEED_DATA

    # ---- messages ----

    cdef void _begin_head(self) noexcept:
        cdef Limits limits = self.limits
        if self.role == SERVER:
            begin_section(&self.section, PART_REQUEST, limits.request_line, limits.head, limits.fields)
        else:
            begin_section(&self.section, PART_RESPONSE, limits.request_line, limits.head, limits.fields)

    cdef void _begin_message(self) noexcept:
        self._begin_head()
        self.empty_lines = self.interim = 0
        self.switched = False
        self.state = STATE_HEAD

    cdef void _end_message(self) noexcept:
        if self.switched:
            self.state = STATE_TUNNEL
        elif self.keep_alive:
            self._begin_message()
        else:
            self.state = STATE_CLOSED

    cdef Event _fail(self, Result result) noexcept:
        if result == RESULT_NOT_HTTP:
            self.state = STATE_NOT_HTTP
            return NOT_HTTP
        self.error_status = ANSWERS[<int>result].status
        self.error_reason = ANSWERS[<int>result].sentence
        self.too_many_fields = result == RESULT_TOO_MANY_FIELDS
        self.state = STATE_FAILED
        return FAILED

    # ---- heads ----

    cdef int _make_room(self, Field* local) except -1:
        if self.saved is NULL and self.limits.fields > LOCAL_FIELDS:
            self._save_fields()
        self.section.fields = local if self.saved is NULL else self.saved
        return 0

    cdef int _save_fields(self) except -1:
        self.saved = <Field*>malloc(self.limits.fields * sizeof(Field))
        if self.saved is NULL:
            raise MemoryError()
        if self.section.count:
            memcpy(self.saved, self.section.fields, self.section.count * sizeof(Field))
        return 0

    cdef Event _read_head(self, const char* data, size_t size, size_t* consumed) except RAISED:
        cdef Field local[LOCAL_FIELDS]
        cdef Result result
        cdef size_t skipped = 0
        cdef Event event
        if self.section.line == 0 and self.role == SERVER:
            while (
                size - skipped >= 2 and data[skipped] == b"\r" and data[skipped + 1] == b"\n"
                and self.empty_lines < MAX_EMPTY_LINES
            ):
                skipped += 2
                self.empty_lines += 1
                self.section.searched = 0
        consumed[0] = skipped
        if skipped == size:
            return NEED_DATA
        self._make_room(local)
        result = read_section(&self.section, data + skipped, size - skipped)
        if result == RESULT_MORE:
            if self.section.count and self.saved is NULL:
                self._save_fields()
            return NEED_DATA
        if result != RESULT_DONE:
            return self._fail(result)
        event = self._take_head(data + skipped)
        if event == HEAD:
            consumed[0] = skipped + self.section.line
            if self.state == STATE_HEAD:  # it was an interim response
                self._begin_head()
        return event

    cdef Event _take_head(self, const char* data) except RAISED:
        cdef Section* section = &self.section
        cdef Result result
        cdef HeaderBlock block
        section.first = 0
        self.minor = section.minor
        self.content_length = section.content_length
        self.keep_alive = keeps_alive(section)
        self.upgrade = section.minor and section.flags & FLAG_UPGRADE and section.flags & FLAG_HAS_UPGRADE
        self.has_host = (section.flags & FLAG_HAS_HOST) != 0
        self.trailers = None
        result = self._frame_response() if self.role == CLIENT else self._frame_request()
        if result != RESULT_DONE:
            return self._fail(result)
        block = HeaderBlock.__new__(HeaderBlock)
        block.fill(data, section.end, section.fields, section.count)
        block.method_name = section.method_name
        block.target = section.target
        block.authority = section.authority
        block.method = <Method>section.method
        block.status = section.status
        self.head = block
        if self.saved is not NULL:
            free(self.saved)
            self.saved = NULL
        return HEAD

    # RFC 9112, 6.3: what body the message has. `state` and `body_kind` follow from it.
    cdef void _frame(self) noexcept:
        if self.section.flags & FLAG_HAS_CODING:
            self.body_kind = BODY_CHUNKED
            self.state = STATE_CHUNK_LINE
            begin_chunks(&self.chunk, self.limits.chunk_extensions)
        elif self.section.content_length > 0:
            self.body_kind = BODY_LENGTH
            self.remaining = <uint64_t>self.section.content_length
            self.state = STATE_LENGTH
        else:
            self.body_kind = BODY_NONE
            self.state = STATE_END

    cdef Result _frame_request(self) noexcept:
        self._frame()
        # RFC 9110, 10.1.1: not in HTTP/1.0, and nothing to continue without a body.
        self.expect_continue = (
            self.section.flags & FLAG_EXPECT and self.section.minor and self.body_kind != BODY_NONE
        )
        return check_request(&self.section)

    # A response may have no body whatever its fields say.
    cdef Result _frame_response(self) noexcept:
        cdef uint32_t status = self.section.status
        if status < 200 and status != 101:
            self.body_kind = BODY_NONE
            self.interim += 1
            if self.interim > MAX_INTERIM:
                return RESULT_TOO_MANY_INTERIM
        elif status == 101 or (self.request_method == METHOD_CONNECT and status < 300):
            self.switched = True
            self.body_kind = BODY_NONE
            self.state = STATE_END
        elif status == 204 or status == 304 or self.request_method == METHOD_HEAD:
            self.body_kind = BODY_NONE
            self.state = STATE_END
        elif self.section.flags & FLAG_HAS_CODING or self.section.content_length >= 0:
            self._frame()
        else:
            self.body_kind = BODY_UNTIL_CLOSE
            self.keep_alive = False
            self.state = STATE_UNTIL_CLOSE
        return check_codings(&self.section)

    # ---- bodies ----

    cdef Event _give_data(self, const char* data, size_t size) noexcept:
        self.data = data
        self.data_size = <size_t>min(<uint64_t>size, self.remaining)
        self.remaining -= self.data_size
        return DATA

    cdef Event _read_body(self, const char* data, size_t size, size_t* consumed) except RAISED:
        cdef size_t at = 0
        cdef Result result
        while True:
            if self.state == STATE_LENGTH or self.state == STATE_CHUNK_DATA or self.state == STATE_UNTIL_CLOSE:
                consumed[0] = at
                if at == size:
                    return NEED_DATA
                if self.state == STATE_UNTIL_CLOSE:
                    self.remaining = size
                self._give_data(data + at, size - at)
                consumed[0] = at + self.data_size
                if self.remaining == 0 and self.state != STATE_UNTIL_CLOSE:
                    self.state = STATE_END if self.state == STATE_LENGTH else STATE_CHUNK_END
                return DATA
            elif self.state == STATE_CHUNK_END:
                consumed[0] = at
                if size - at >= 1 and data[at] != b"\r" or size - at >= 2 and data[at + 1] != b"\n":
                    return self._fail(RESULT_CHUNK_END)
                if size - at < 2:
                    return NEED_DATA
                at += 2
                self.state = STATE_CHUNK_LINE
            elif self.state == STATE_CHUNK_LINE:
                consumed[0] = at
                result = read_chunk_line(&self.chunk, data + at, size - at)
                if result == RESULT_MORE:
                    return NEED_DATA
                if result != RESULT_DONE:
                    return self._fail(result)
                at += self.chunk.line
                self.remaining = self.chunk.size
                if self.remaining:
                    self.state = STATE_CHUNK_DATA
                else:
                    self.state = STATE_TRAILERS
                    begin_section(&self.section, PART_TRAILERS, 0, self.limits.trailers, self.limits.fields)
            elif self.state == STATE_TRAILERS:
                consumed[0] = at
                return self._read_trailers(data + at, size - at, consumed)
            elif self.state == STATE_CLOSED:
                consumed[0] = size
                return NEED_DATA
            elif self.state == STATE_TUNNEL:
                return NEED_DATA
            else:
                return NOT_HTTP if self.state == STATE_NOT_HTTP else FAILED

    cdef Event _read_trailers(self, const char* data, size_t size, size_t* consumed) except RAISED:
        cdef Field local[LOCAL_FIELDS]
        cdef Result result
        self._make_room(local)
        result = read_section(&self.section, data, size)
        if result == RESULT_MORE:
            if self.section.count and self.saved is NULL:
                self._save_fields()
            return NEED_DATA
        if result != RESULT_DONE:
            return self._fail(result)
        if self.section.count:
            self.trailers = HeaderBlock.__new__(HeaderBlock)
            self.trailers.fill(data, self.section.end, self.section.fields, self.section.count)
        free(self.saved)
        self.saved = NULL
        consumed[0] += self.section.line
        self._end_message()
        return END

    # ---- from Python ----

    cdef dict _framing(self):
        return {
            "minor": self.minor,
            "body": self.body,
            "content_length": self.content_length,
            "keep_alive": self.keep_alive,
            "expect_continue": self.expect_continue,
            "upgrade": self.upgrade,
        }

    cdef tuple _describe(self, Event event):
        if event == HEAD:
            return ("head", self.head.start, self.head.items(), self._framing())
        if event == DATA:
            return ("data", self.data[:self.data_size])
        if event == END:
            return ("end", None if self.trailers is None else self.trailers.items())
        if event == FAILED:
            return ("failed", self.error_status, self.error_reason.decode())
        return ("not_http",)

    def events(self, bytes data not None):
        """Read ``data`` behind what came before; the events as tuples.

        ``("head", start, fields, framing)``, ``("data", bytes)``, ``("end", trailers or None)``,
        ``("failed", status, sentence)``, ``("not_http",)``; ``framing`` is a dict of what reader.pxd
        lists as set from HEAD on.
        """
        cdef list found = []
        cdef size_t at = 0, consumed
        cdef bytes all_of_it = self._carry + data
        cdef const char* start = all_of_it
        cdef size_t size = len(all_of_it)
        cdef Event event
        while True:
            event = self.next(start + at, size - at, &consumed)
            if consumed > size - at:
                raise AssertionError("the reader consumed more than it was given")
            at += consumed
            if event == NEED_DATA:
                break
            found.append(self._describe(event))
            if event == FAILED or event == NOT_HTTP:
                break
        self._carry = all_of_it[at:]
        return found

    def run(self, bytes data not None, Py_ssize_t step=0):
        """For measurements: read ``data`` and drop its events; how many messages ended.

        With ``step`` it comes in that many bytes at a time.
        """
        cdef size_t at = 0, consumed
        cdef const char* start = data
        cdef size_t size = len(data)
        cdef size_t come = min(<size_t>step, size) if step > 0 else size
        cdef Py_ssize_t ended = 0
        cdef Event event
        while True:
            event = self.next(start + at, come - at, &consumed)
            at += consumed
            ended += event == END
            if event == FAILED or event == NOT_HTTP or (event == NEED_DATA and come == size):
                return ended
            if event == NEED_DATA:
                come = min(come + <size_t>step, size)

    def clear(self):
        """As new, for another connection."""
        self.reset()

    def finish(self):
        """The input has ended: ``"clean"``, ``"end"`` or ``"failed"``; see ``eof`` in reader.pxd."""
        cdef Event event = self.eof()
        return "clean" if event == NEED_DATA else "end" if event == END else "failed"

    @property
    def body(self):
        """How the body is framed: ``"none"``, ``"length"``, ``"chunked"`` or ``"until-close"``."""
        return ("none", "length", "chunked", "until-close")[<int>self.body_kind]

    @property
    def unread(self):
        """What ``events`` was given and has not consumed."""
        return self._carry

    def answers(self, bytes method not None):
        """Client role: the next response answers a request of this method."""
        self.request_method = find_method(method, len(method))
