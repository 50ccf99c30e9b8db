# cython: freethreading_compatible=True
"""The Connect protocol's fields, errors and envelopes; connect.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memchr

import orjson

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.grpc.fields cimport base64_decode, base64_encode, percent_decode
from fastnet_ext.grpc.framing cimport FLAG_CONNECT_END, PREFIX_SIZE, write_message_prefix


cdef extern from "fastnet_ext/grpc/media.h" nogil:
    size_t essence "fn_grpc_essence" (const char* p, size_t size) noexcept
    bint same "fn_grpc_same" (const char* p, size_t size, const char* name, size_t known) noexcept


cdef enum:
    CODE_UNKNOWN = 2
    MAX_CODE = 16

    # Digits of a connect-timeout-ms.
    TIMEOUT_DIGITS = 10

    # Fields and wire types of google.rpc.Status and google.protobuf.Any that are read here, as they are tagged.
    TAG_STATUS_DETAILS = 3 << 3 | 2
    TAG_ANY_TYPE_URL = 1 << 3 | 2
    TAG_ANY_VALUE = 2 << 3 | 2

# By gRPC's number: the code's name and the HTTP status of a unary call ("Error Codes" of the protocol).
cdef tuple NAMES = (
    "ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists",
    "permission_denied", "resource_exhausted", "failed_precondition", "aborted", "out_of_range", "unimplemented",
    "internal", "unavailable", "data_loss", "unauthenticated",
)
cdef int[MAX_CODE + 1] STATUSES = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401]


cdef ConnectFormat connect_format(const char* p, size_t size) noexcept:
    size = essence(p, size)
    if same(p, size, b"application/json", 16):
        return ConnectFormat.CONNECT_JSON
    if same(p, size, b"application/proto", 17):
        return ConnectFormat.CONNECT_PROTO
    if same(p, size, b"application/connect+json", 24):
        return ConnectFormat.CONNECT_STREAM_JSON
    if same(p, size, b"application/connect+proto", 25):
        return ConnectFormat.CONNECT_STREAM_PROTO
    return ConnectFormat.CONNECT_NONE


cdef int64_t parse_timeout_ms(const char* p, size_t size) noexcept:
    cdef int64_t value = 0
    cdef size_t i
    if size == 0 or size > TIMEOUT_DIGITS:
        return -1
    for i in range(size):
        if p[i] < c'0' or p[i] > c'9':
            return -1
        value = value * 10 + (p[i] - c'0')
    return value * 1000


cdef int status_of_code(int code) noexcept:
    return STATUSES[code] if 0 <= code <= MAX_CODE else STATUSES[CODE_UNKNOWN]


# --- errors

cdef str sendable(str text):
    """A text that JSON can hold: lone surrogates have no UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


cdef dict error_object(int code, str message, bytes details):
    cdef dict error = {"code": NAMES[code if 0 < code <= MAX_CODE else CODE_UNKNOWN]}
    cdef list known
    if message:
        error["message"] = sendable(message)
    if details is not None:
        known = status_details(details)
        if known:
            error["details"] = known
    return error


cdef bytes error_body(int code, str message, bytes details):
    return orjson.dumps(error_object(code, message, details))


cdef bytes end_envelope(int code, str message, bytes details, list metadata):
    cdef dict end = {}
    cdef dict values = {}
    cdef bytes name, value, body
    cdef char prefix[PREFIX_SIZE]
    if code:
        end["error"] = error_object(code, message, details)
    if metadata:
        for name, value in metadata:
            values.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        end["metadata"] = values
    body = orjson.dumps(end)
    write_message_prefix(prefix, FLAG_CONNECT_END, <uint32_t>len(body))
    return PyBytes_FromStringAndSize(prefix, PREFIX_SIZE) + body


cdef list trailer_fields(list metadata):
    cdef bytes name, value
    return [(b"trailer-" + name, value) for name, value in metadata]


cdef struct Reading:
    # What is left of a protobuf message, and its latest field.
    const char* p
    const char* end
    uint64_t tag
    const char* value
    size_t size


cdef bint read_varint(Reading* at, uint64_t* value) noexcept:
    cdef int shift = 0
    value[0] = 0
    while at.p != at.end and shift < 64:
        value[0] |= <uint64_t>(at.p[0] & 0x7F) << shift
        shift += 7
        at.p += 1
        if not at.p[-1] & 0x80:
            return True
    return False


cdef bint next_field(Reading* at) noexcept:
    """Go to the next field; False at the end, and where what follows is damaged."""
    cdef uint64_t size = 0
    if not read_varint(at, &at.tag):
        return False
    if at.tag & 7 == 0:
        return read_varint(at, &size)
    if at.tag & 7 == 2:
        if not read_varint(at, &size):
            return False
    elif at.tag & 7 == 1:
        size = 8
    elif at.tag & 7 == 5:
        size = 4
    else:
        return False
    if size > <uint64_t>(at.end - at.p):
        return False
    at.value = at.p
    at.size = <size_t>size
    at.p += size
    return True


cdef list status_details(bytes details):
    """The details of a serialised google.rpc.Status, for JSON; where it is damaged, those before."""
    cdef Reading status, item
    cdef str kind
    cdef bytes value
    cdef list found = []
    status.p = PyBytes_AS_STRING(details)
    status.end = status.p + PyBytes_GET_SIZE(details)
    while next_field(&status):
        if status.tag != TAG_STATUS_DETAILS:
            continue
        kind = ""
        value = b""
        item.p = status.value
        item.end = item.p + status.size
        while next_field(&item):
            if item.tag == TAG_ANY_TYPE_URL:
                kind = item.value[:item.size].decode("utf-8", "replace")
            elif item.tag == TAG_ANY_VALUE:
                value = item.value[:item.size]
        # Connect names the type only, not where it is said to be described.
        found.append({"type": kind.rpartition("/")[2], "value": base64_text(value)})
    return found


cdef str base64_text(bytes value):
    cdef Buffer out
    buffer_init(&out)
    try:
        if base64_encode(&out, PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value)) < 0:
            raise MemoryError()
        return out.data[:out.size].decode("ascii")
    finally:
        buffer_free(&out)


# --- GET

@cython.final
cdef class GetRequest:
    """A unary call in a query: ``message`` in bytes, its ``encoding`` and its ``compression``."""


cdef GetRequest read_get(const char* query, size_t size):
    cdef GetRequest request = GetRequest.__new__(GetRequest)
    cdef const char* end = query + size
    cdef const char* stop
    cdef const char* equals
    cdef bytes name, message
    cdef dict found = {}
    while query != end:
        stop = <const char*>memchr(query, c"&", <size_t>(end - query))
        if stop is NULL:
            stop = end
        equals = <const char*>memchr(query, c"=", <size_t>(stop - query))
        if equals is not NULL:
            name = decoded(query, <size_t>(equals - query))
            found.setdefault(name, decoded(equals + 1, <size_t>(stop - equals - 1)))
        query = stop if stop == end else stop + 1
    if found.get(b"connect", b"v1") != b"v1":
        raise ValueError('the protocol of a GET request is "connect=v1"')
    if b"encoding" not in found:
        raise ValueError('a GET request names its encoding: "encoding=json" or "encoding=proto"')
    message = found.get(b"message")
    if message is None:
        raise ValueError('a GET request has its message in the query: "message="')
    if found.get(b"base64") == b"1":
        message = plain_of(message)
    request.message = message
    request.encoding = found[b"encoding"].decode("utf-8", "replace")
    request.compression = found.get(b"compression", b"").decode("utf-8", "replace") or "identity"
    return request


cdef bytes decoded(const char* p, size_t size):
    """A name or value of a query in bytes: "+" is a space, %XX a byte."""
    cdef bytes spaced = p[:size].replace(b"+", b" ")
    cdef Buffer out
    if b"%" not in spaced:
        return spaced
    buffer_init(&out)
    try:
        if percent_decode(&out, PyBytes_AS_STRING(spaced), <size_t>PyBytes_GET_SIZE(spaced)) < 0:
            raise MemoryError()
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)


cdef bytes plain_of(bytes text):
    """What URL-safe base64 stands for (RFC 4648, 5), padded or not."""
    cdef bytes usual = text.replace(b"-", b"+").replace(b"_", b"/")
    cdef Buffer out
    cdef int result
    buffer_init(&out)
    try:
        result = base64_decode(&out, PyBytes_AS_STRING(usual), <size_t>PyBytes_GET_SIZE(usual))
        if result < 0:
            raise MemoryError()
        if result:
            raise ValueError("the message in the query is not base64, though base64=1 says so")
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)


# --- the same for Python

def format_named(bytes content_type not None):
    """What a content-type says of a body: ("json" or "proto", whether it is a stream); None when it is no Connect."""
    cdef ConnectFormat found = connect_format(content_type, <size_t>len(content_type))
    if found == ConnectFormat.CONNECT_NONE:
        return None
    json = found == ConnectFormat.CONNECT_JSON or found == ConnectFormat.CONNECT_STREAM_JSON
    stream = found == ConnectFormat.CONNECT_STREAM_JSON or found == ConnectFormat.CONNECT_STREAM_PROTO
    return ("json" if json else "proto"), stream


def timeout_microseconds(bytes value not None):
    """Microseconds of a connect-timeout-ms; None when it is malformed."""
    cdef int64_t microseconds = parse_timeout_ms(value, <size_t>len(value))
    return None if microseconds < 0 else microseconds


def http_status(int code):
    """The HTTP status of a unary call that ends with this code, one of gRPC's numbers."""
    return status_of_code(code)


def encode_error(int code, str message not None="", bytes details=None):
    """The body of a unary call that failed. ``details``: a serialised google.rpc.Status."""
    return error_body(code, message, details)


def encode_end(int code=0, str message not None="", bytes details=None, list metadata=None):
    """The last envelope of a stream. ``metadata``: ``(name, value)`` bytes."""
    return end_envelope(code, message, details, metadata)


def encode_trailers(list metadata not None):
    """Trailing metadata as header fields of a unary answer."""
    return trailer_fields(metadata)


def decode_get(bytes query not None):
    """The call that is in the query of a GET request; ``ValueError`` says what is wrong with it."""
    return read_get(query, <size_t>len(query))
