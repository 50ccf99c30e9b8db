"""The parser of text/event-stream: HTML, 9.2.5 and 9.2.6, to the letter."""

from libc.stdint cimport int64_t

from fastnet_ext.core.buffer cimport Buffer


cdef enum ParseEvent:
    PARSE_RAISED = -1   # a Python exception is set (MemoryError)
    PARSE_NEED_DATA = 0
    PARSE_EVENT         # `take` makes it
    PARSE_FAILED        # failure


cdef enum LineResult:
    LINE_RAISED = -1
    LINE_KEPT = 0       # a field, a comment, or nothing of interest
    LINE_DISPATCHES     # the blank line that ends an event
    LINE_TOO_MUCH       # its data goes beyond the limit; failure


cdef class ServerEvent:
    """One event as a client sees it."""

    cdef readonly str event     # its type, "message" when none was named
    cdef readonly str data
    cdef readonly str id        # the last event id of the stream so far, "" when there was none


cdef class EventParser:
    """Cuts a stream of bytes into events; where the pieces of input end does not matter."""

    # Bytes of one line without its end, and of the data of one event with the LF behind each line.
    cdef readonly size_t max_line
    cdef readonly size_t max_event

    # Where we are. `line` holds the front of a line whose end has not come; `after_cr`: an LF at the front of
    # what comes belongs to the line before; `begun`: the first line, which a BOM may precede, is over.
    cdef Buffer line
    cdef bint after_cr
    cdef bint begun
    cdef object _failure        # why the stream was given up, None

    # The buffers of 9.2.6. Data has an LF behind each of its lines; an event's first line of data stays where it was
    # read, as `only`, until another comes or the input ends, for most have no more. `kind` is None unless named. `names` is the
    # type named last: streams name few types, and so each is made once.
    cdef Buffer data
    cdef const char* only
    cdef size_t only_size
    cdef str kind
    cdef str names
    cdef str id
    # The stream's own: what is told when reconnecting, and after how many milliseconds (-1: not said).
    cdef readonly str last_event_id
    cdef int64_t reconnection_time

    # Read on. With PARSE_NEED_DATA all of `data` is consumed; after PARSE_FAILED input is dropped.
    cdef ParseEvent next(self, const char* data, size_t size, size_t* consumed) except PARSE_RAISED
    # The event that was reached, before anything more is read and while `data` of `next` is there.
    cdef ServerEvent take(self)

    # Bytes of memory held for lines and data.
    cdef inline size_t held(self) noexcept:
        return self.line.capacity + self.data.capacity

    cdef LineResult _line(self, const char* p, const char* end) except LINE_RAISED
    cdef void _retry(self, const char* value, const char* end) noexcept
    cdef LineResult _add_data(self, const char* value, size_t size) except LINE_RAISED
    cdef int _keep(self) except -1
    cdef int _append(self, const char* value, size_t size) except -1
    cdef str _type(self, const char* value, size_t size)
    cdef int _fail(self, str why) except -1


# With the limits in bytes.
cdef EventParser new_parser(size_t max_line, size_t max_event)
