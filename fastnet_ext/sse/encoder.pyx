# cython: freethreading_compatible=True
"""The encoder of text/event-stream; see encoder.pxd."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcpy

from fastnet_ext.core.utf8 cimport UTF8_ACCEPT, utf8_check, utf8_of

cdef extern from "fastnet_ext/sse/lines.h" nogil:
    const char* line_end "fn_sse_line_end" (const char* p, const char* end) noexcept
    size_t lines_size "fn_sse_lines_size" (size_t name_size, const char* p, size_t size) noexcept
    char* write_line "fn_sse_write_line" (
        char* to, const char* name, size_t name_size, const char* p, size_t size
    ) noexcept
    char* write_lines "fn_sse_write_lines" (
        char* to, const char* name, size_t name_size, const char* p, size_t size
    ) noexcept

cdef enum:
    # "retry: ", a number of 64 bits and LF.
    RETRY_ROOM = 32


cdef str EVENT = "event", ID = "id"


cdef const char* one_line(str name, str value, Py_ssize_t* size) except NULL:
    """The value as UTF-8, which has to be one line."""
    cdef const char* data = utf8_of(value, size)
    if line_end(data, data + size[0]) != data + size[0]:
        raise ValueError(f"the {name} of a server-sent event is one line, not {value!r}")
    if name is ID and memchr(data, 0, <size_t>size[0]) is not NULL:
        raise ValueError(f"the id of a server-sent event has no NUL in it, which clients ignore: {value!r}")
    return data


cdef int check_event(str value) except -1:
    cdef Py_ssize_t size = 0
    one_line(EVENT, value, &size)
    return 0


cdef int check_id(str value) except -1:
    cdef Py_ssize_t size = 0
    one_line(ID, value, &size)
    return 0


cdef bytes encode(object data, str event, str id, long long retry, str comment):
    cdef const char* data_text = NULL
    cdef const char* event_text = NULL
    cdef const char* id_text = NULL
    cdef const char* comment_text = NULL
    cdef Py_ssize_t data_size = 0, event_size = 0, id_size = 0, comment_size = 0
    cdef char retry_line[RETRY_ROOM]
    cdef size_t total = 1, retry_size = 0, data_room = 0
    cdef bytes encoded
    cdef char* to
    if comment is not None:
        comment_text = utf8_of(comment, &comment_size)
        total += lines_size(2, comment_text, <size_t>comment_size)
    if event is not None:
        event_text = one_line(EVENT, event, &event_size)
        total += 8 + <size_t>event_size
    if id is not None:
        id_text = one_line(ID, id, &id_size)
        total += 5 + <size_t>id_size
    if retry >= 0:
        retry_size = <size_t>snprintf(retry_line, RETRY_ROOM, b"retry: %lld\n", retry)
        total += retry_size
    if type(data) is bytes:
        data_text = PyBytes_AS_STRING(<bytes>data)
        data_size = PyBytes_GET_SIZE(<bytes>data)
        if utf8_check(data_text, <size_t>data_size, UTF8_ACCEPT) != UTF8_ACCEPT:
            raise ValueError("the data of a server-sent event is text: these bytes are not UTF-8")
    elif data is not None:
        data_text = utf8_of(<str>data, &data_size)
    if data_text is not NULL:
        data_room = lines_size(6, data_text, <size_t>data_size)
        total += data_room

    encoded = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>total)
    to = PyBytes_AS_STRING(encoded)
    if comment_text is not NULL:
        to = write_lines(to, b": ", 2, comment_text, <size_t>comment_size)
    if event_text is not NULL:
        to = write_line(to, b"event: ", 7, event_text, <size_t>event_size)
    if id_text is not NULL:
        to = write_line(to, b"id: ", 4, id_text, <size_t>id_size)
    if retry_size:
        memcpy(to, retry_line, retry_size)
        to += retry_size
    if data_room == 6 + <size_t>data_size + 1:
        to = write_line(to, b"data: ", 6, data_text, <size_t>data_size)
    elif data_text is not NULL:
        to = write_lines(to, b"data: ", 6, data_text, <size_t>data_size)
    to[0] = b"\n"
    return encoded


def encode_event(data=None, str event=None, str id=None, retry=None, str comment=None):
    """One event as bytes, with the blank line that ends it.

    ``data`` is text, or bytes of UTF-8; each of its lines gets a ``data:``, and what ends a line (LF, CR or CRLF)
    reaches the client as LF. ``retry`` is in milliseconds. Raises ``ValueError`` for a line end in ``event`` or
    ``id``, NUL in ``id``, a negative ``retry``, and data that is not UTF-8; ``TypeError`` for other types of data.
    """
    cdef long long milliseconds = -1
    if data is not None and type(data) is not bytes and not isinstance(data, str):
        raise TypeError(f"data is str or bytes, not {type(data).__name__}")
    if retry is not None:
        milliseconds = retry
        if milliseconds < 0:
            raise ValueError(f"retry is at least 0 milliseconds, not {retry}")
    return encode(data, event, id, milliseconds, comment)
