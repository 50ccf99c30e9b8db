# cython: freethreading_compatible=True
"""The parser of text/event-stream: HTML, 9.2.5 (the format) and 9.2.6 (what its lines do).

Bytes are decoded after they were cut: CR, LF and colons are ASCII, which stand for themselves in UTF-8
whatever surrounds them, so the text is the same as if the stream had been decoded first.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memchr, memcmp, memcpy

from fastnet_ext.core.buffer cimport buffer_append, buffer_free, buffer_init, buffer_reserve
from fastnet_ext.core.utf8 cimport text_of, utf8_of

cdef extern from "fastnet_ext/sse/lines.h" nogil:
    const char* line_end "fn_sse_line_end" (const char* p, const char* end) noexcept
    const char* value_of "fn_sse_value" (
        const char* p, const char* end, const char* name, size_t name_size
    ) noexcept

cdef enum:
    # What an idle parser may keep of each of its buffers.
    KEPT_CAPACITY = 64 * 1024


@cython.final
@cython.freelist(16)
cdef class ServerEvent:
    """One event as a client sees it: ``event`` (its type), ``data`` and ``id`` (the stream's latest), all ``str``."""

    def __init__(self, str event not None="message", str data not None="", str id not None=""):
        self.event = event
        self.data = data
        self.id = id

    def __eq__(self, other):
        if not isinstance(other, ServerEvent):
            return NotImplemented
        return (
            self.data == (<ServerEvent>other).data
            and self.event == (<ServerEvent>other).event
            and self.id == (<ServerEvent>other).id
        )

    def __hash__(self):
        return hash((self.event, self.data, self.id))

    def __repr__(self):
        return f"ServerEvent(event={self.event!r}, data={self.data!r}, id={self.id!r})"


@cython.final
cdef class EventParser:
    """``EventParser(max_line=1048576, max_event=1048576)``: cuts an event stream into events.

    ``max_line`` is in bytes of a line, ``max_event`` in bytes of an event's data; both are at least 1. A stream
    that goes beyond them is given up: ``failure`` says why, and what follows is dropped.
    """

    def __cinit__(self, size_t max_line=1024 * 1024, size_t max_event=1024 * 1024):
        if max_line < 1 or max_event < 1:
            raise ValueError("max_line and max_event are at least 1 byte")
        self.max_line = max_line
        self.max_event = max_event
        self.id = self.last_event_id = ""
        self.reconnection_time = -1
        buffer_init(&self.line)
        buffer_init(&self.data)

    def __dealloc__(self):
        buffer_free(&self.line)
        buffer_free(&self.data)

    cdef ParseEvent next(self, const char* data, size_t size, size_t* consumed) except PARSE_RAISED:
        cdef const char* p = data
        cdef const char* end = data + size
        cdef const char* stop
        cdef LineResult result
        consumed[0] = size
        if self._failure is not None:
            return PARSE_NEED_DATA
        while p < end:
            if self.after_cr:
                self.after_cr = False
                if p[0] == b"\n":
                    p += 1
                    continue
            stop = line_end(p, end)
            if self.line.size + <size_t>(stop - p) > self.max_line:
                self._fail(f"a line of an event stream is longer than {self.max_line} bytes")
                return PARSE_FAILED
            if stop == end or self.line.size:
                if buffer_append(&self.line, p, <size_t>(stop - p)) < 0:
                    raise MemoryError()
                if stop == end:
                    break
                result = self._line(self.line.data, self.line.data + self.line.size)
                self._keep()
                self.line.size = 0
                if self.line.capacity > KEPT_CAPACITY:
                    buffer_free(&self.line)
            else:
                result = self._line(p, stop)
            self.after_cr = stop[0] == b"\r"
            p = stop + 1
            if result == LINE_DISPATCHES:
                consumed[0] = <size_t>(p - data)
                return PARSE_EVENT
            if result == LINE_TOO_MUCH:
                return PARSE_FAILED
        self._keep()
        return PARSE_NEED_DATA

    cdef LineResult _line(self, const char* p, const char* end) except LINE_RAISED:
        cdef const char* value
        if not self.begun:
            self.begun = True
            if end - p >= 3 and memcmp(p, b"\xef\xbb\xbf", 3) == 0:
                p += 3
        if p == end:
            self.last_event_id = self.id
            if self.only is not NULL or self.data.size:
                return LINE_DISPATCHES
            self.kind = None
            return LINE_KEPT
        if (value := value_of(p, end, b"data", 4)) is not NULL:
            return self._add_data(value, <size_t>(end - value))
        if (value := value_of(p, end, b"id", 2)) is not NULL:
            if memchr(value, 0, <size_t>(end - value)) is NULL:
                self.id = text_of(value, end - value, b"replace")
        elif (value := value_of(p, end, b"event", 5)) is not NULL:
            self.kind = self._type(value, <size_t>(end - value)) if value != end else None
        elif (value := value_of(p, end, b"retry", 5)) is not NULL:
            self._retry(value, end)
        return LINE_KEPT

    cdef void _retry(self, const char* value, const char* end) noexcept:
        cdef int64_t number = 0
        if value == end:
            return
        while value < end:
            if not b"0" <= value[0] <= b"9":
                return
            # More than 64 bits hold is as long as never.
            if number > (INT64_MAX - (value[0] - <char>b"0")) // 10:
                number = INT64_MAX
            else:
                number = number * 10 + (value[0] - <char>b"0")
            value += 1
        self.reconnection_time = number

    cdef LineResult _add_data(self, const char* value, size_t size) except LINE_RAISED:
        cdef size_t before = self.data.size + (self.only_size + 1 if self.only is not NULL else 0)
        if before + size + 1 > self.max_event:
            self._fail(f"the data of an event is longer than {self.max_event} bytes")
            return LINE_TOO_MUCH
        if before == 0:
            self.only = value
            self.only_size = size
            return LINE_KEPT
        self._keep()
        self._append(value, size)
        return LINE_KEPT

    cdef int _keep(self) except -1:
        if self.only is not NULL:
            self._append(self.only, self.only_size)
            self.only = NULL
        return 0

    cdef int _append(self, const char* value, size_t size) except -1:
        if buffer_reserve(&self.data, size + 1) < 0:
            raise MemoryError()
        memcpy(self.data.data + self.data.size, value, size)
        self.data.data[self.data.size + size] = b"\n"
        self.data.size += size + 1
        return 0

    cdef str _type(self, const char* value, size_t size):
        cdef Py_ssize_t known_size = 0
        cdef const char* known
        if self.names is not None:
            known = utf8_of(self.names, &known_size)
            if <size_t>known_size == size and memcmp(known, value, size) == 0:
                return self.names
        self.names = text_of(value, <Py_ssize_t>size, b"replace")
        return self.names

    cdef ServerEvent take(self):
        cdef ServerEvent event = ServerEvent.__new__(ServerEvent)
        event.event = self.kind if self.kind is not None else "message"
        event.id = self.last_event_id
        self.kind = None
        if self.only is not NULL:
            event.data = text_of(self.only, <Py_ssize_t>self.only_size, b"replace")
            self.only = NULL
            return event
        event.data = text_of(self.data.data, <Py_ssize_t>self.data.size - 1, b"replace")
        self.data.size = 0
        if self.data.capacity > KEPT_CAPACITY:
            buffer_free(&self.data)
        return event

    cdef int _fail(self, str why) except -1:
        self._failure = why
        self.only = NULL
        buffer_free(&self.line)
        buffer_free(&self.data)
        return 0

    # The same for Python.

    def feed(self, data not None):
        """Take a piece of the stream and return the events that it ended, in order.

        What the stream leaves unfinished at its end is no event, and dropped with the parser.
        """
        cdef Py_buffer view
        cdef const char* p
        cdef size_t size, consumed = 0
        cdef list events = []
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            p = <const char*>view.buf
            size = <size_t>view.len
            while self.next(p, size, &consumed) == PARSE_EVENT:
                events.append(self.take())
                p += consumed
                size -= consumed
        finally:
            PyBuffer_Release(&view)
        return events

    @property
    def retry(self):
        """Milliseconds to wait before reconnecting, as the stream said last; None when it did not."""
        return None if self.reconnection_time < 0 else self.reconnection_time

    @property
    def failure(self):
        """A sentence that names the limit beyond which the stream went; None while it is read."""
        return self._failure

    @property
    def memory(self):
        """Bytes of memory held for lines and data."""
        return self.held()


cdef EventParser new_parser(size_t max_line, size_t max_event):
    return EventParser.__new__(EventParser, max_line, max_event)
