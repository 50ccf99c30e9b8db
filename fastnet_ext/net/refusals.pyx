# cython: freethreading_compatible=True
"""Answers to requests that never become an exchange: malformed, too large, too late."""

from http import HTTPStatus

import orjson

from fastnet_ext.core.buffer cimport Buffer, buffer_append
from fastnet_ext.http1.writer cimport write_content_length, write_status_line
from fastnet_ext.net.loop_state cimport DATE_FIELD


cdef int refusal(Buffer* out, const char* date, int status, const char* detail) except -1:
    cdef bytes body = orjson.dumps({
        "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail.decode("ascii"),
    })
    cdef bytes fields = b"content-type: application/problem+json\r\nconnection: close\r\n"
    if status == 429 or status == 503:
        fields += b"retry-after: 1\r\n"
    if (
        write_status_line(out, 1, status) < 0
        or buffer_append(out, date, DATE_FIELD) < 0
        or buffer_append(out, fields, len(fields)) < 0
        or write_content_length(out, len(body)) < 0
        or buffer_append(out, b"\r\n", 2) < 0
        or buffer_append(out, body, len(body)) < 0
    ):
        raise MemoryError()
    return 0
