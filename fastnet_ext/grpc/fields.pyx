# cython: freethreading_compatible=True
"""The values of gRPC's header fields: grpc-timeout, grpc-message, "-bin" metadata."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t
from libc.string cimport memchr

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init


cdef str message_text(const char* p, size_t size):
    cdef Buffer decoded
    if plain_prefix(p, size) == size:
        return PyUnicode_DecodeUTF8(p, <Py_ssize_t>size, NULL)
    buffer_init(&decoded)
    try:
        if percent_decode(&decoded, p, size) < 0:
            raise MemoryError()
        return PyUnicode_DecodeUTF8(decoded.data, <Py_ssize_t>decoded.size, b"replace")
    finally:
        buffer_free(&decoded)


cdef list binary_values(const char* p, size_t size):
    cdef const char* end = p + size
    cdef const char* item
    cdef const char* stop
    cdef const char* comma
    cdef Buffer decoded
    cdef int result
    cdef list values = []
    buffer_init(&decoded)
    try:
        while True:
            item = p
            comma = <const char*>memchr(p, c",", <size_t>(end - p)) if p != end else NULL
            stop = end if comma is NULL else comma
            while item < stop and (item[0] == c" " or item[0] == c"\t"):
                item += 1
            while stop > item and (stop[-1] == c" " or stop[-1] == c"\t"):
                stop -= 1
            decoded.size = 0
            result = base64_decode(&decoded, item, <size_t>(stop - item))
            if result < 0:
                raise MemoryError()
            if result:
                raise ValueError("a binary metadata value is not base64")
            values.append(PyBytes_FromStringAndSize(decoded.data, <Py_ssize_t>decoded.size))
            if comma is NULL:
                return values
            p = comma + 1
    finally:
        buffer_free(&decoded)


# The same for Python.

def timeout_microseconds(bytes value not None):
    """Microseconds of a grpc-timeout value; None when it is malformed."""
    cdef int64_t microseconds = parse_timeout(value, <size_t>len(value))
    return None if microseconds < 0 else microseconds


def timeout_value(int64_t microseconds):
    """grpc-timeout for so many microseconds, rounded up to what eight digits can say."""
    cdef char to[32]
    return PyBytes_FromStringAndSize(to, encode_timeout(to, microseconds))


def encode_message(str message not None):
    """grpc-message for a status message."""
    cdef bytes data = message.encode(errors="replace")
    return _collected(percent_encode, data)


def decode_message(bytes value not None):
    """The status message of a grpc-message; whatever the value is, this does not fail."""
    return message_text(value, <size_t>len(value))


def encode_binary(bytes value not None):
    """A "-bin" metadata value for the wire: base64 without padding."""
    return _collected(base64_encode, value)


def decode_binary(bytes value not None):
    """The values of a "-bin" field, split at commas; ValueError when one is not base64."""
    return binary_values(value, <size_t>len(value))


ctypedef int (*Coder)(Buffer*, const char*, size_t) noexcept nogil


cdef bytes _collected(Coder coder, bytes data):
    cdef Buffer out
    buffer_init(&out)
    try:
        if coder(&out, data, <size_t>len(data)) < 0:
            raise MemoryError()
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)
