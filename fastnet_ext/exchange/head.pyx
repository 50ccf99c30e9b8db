# cython: freethreading_compatible=True
"""The head of a response: status and fields, validated once, with cached wire forms."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.core.scan cimport is_field_value, is_token
from fastnet_ext.http1.writer cimport write_field, write_status_line
from fastnet_ext.http2.hpack cimport encode_field_compact, encode_status

# Fields that frame a message or manage a connection: the carrier's affair, never a handler's.
cdef frozenset CARRIER_FIELDS = frozenset((b"transfer-encoding", b"keep-alive", b"proxy-connection", b"upgrade", b"te"))

# Of those, what HTTP/2 knows nothing of: RFC 9113, 8.2.2.
cdef frozenset CONNECTION_FIELDS = frozenset((b"upgrade",))


@cython.final
@cython.freelist(32)
cdef class ResponseHead:
    """Status and fields of a response.

    ``ResponseHead(200, [(b"content-type", b"text/plain")])``: names and values are bytes, names
    are lowered. Raises ``ValueError`` for a status outside 100 to 599, a name that is no token, a
    value with control characters (RFC 9110, 5.5), and fields that frame messages.
    """

    def __init__(self, int status, fields=()):
        cdef bytes name, value
        if not 100 <= status <= 599:
            raise ValueError(f"{status} is no HTTP status: it must lie between 100 and 599")
        self.status = status
        self.fields = []
        self.content_length = -1
        for name, value in fields:
            if name is None or value is None:
                raise TypeError("names and values of header fields are bytes, not None")
            self.add(name, value, False)

    cdef int add(self, bytes name, bytes value, bint lenient) except -1:
        name = lowered(name)
        if not is_token(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
            raise ValueError(f"{name!r} is no header name: only letters, digits and !#$%&'*+-.^_`|~ may stand in one")
        if not is_field_value(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
            raise ValueError(f"the value of header {name.decode()!r} has a control character (CR, LF, NUL …): {value!r}")
        if name == b"content-length":
            return self._set_content_length(value)
        if name == b"connection":
            if value.lower() == b"close" or (lenient and b"close" in tokens(value)):
                self.close = True
            elif not lenient:
                raise ValueError(f"header 'connection' belongs to the server; a handler may only say 'close', not {value!r}")
            return 0
        if name in CARRIER_FIELDS:
            if lenient:
                return 0
            if name != b"upgrade" or self.status not in (101, 426):
                raise ValueError(f"header {name.decode()!r} belongs to the server: it depends on the protocol that carries the answer")
        if name == b"date":
            self.has_date = True
        elif name == b"content-type":
            self.has_type = True
        self.fields.append((name, value))
        return 0

    cdef int _set_content_length(self, bytes value) except -1:
        if not value.isdigit() or len(value) > 18:
            raise ValueError(f"header 'content-length' must be a decimal number, not {value!r}")
        self.content_length = int(value)
        return 0

    cdef bytes h1(self):
        cdef Buffer out
        cdef bytes name, value
        if self._h1 is None:
            buffer_init(&out)
            try:
                if write_status_line(&out, 1, self.status) < 0:
                    raise MemoryError()
                for name, value in self.fields:
                    if write_field(
                        &out, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name),
                        PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value),
                    ) < 0:
                        raise MemoryError()
                self._h1 = PyBytes_FromStringAndSize(out.data, out.size)
            finally:
                buffer_free(&out)
        return self._h1

    cdef bytes h2(self):
        cdef Buffer out
        cdef bytes name, value
        if self._h2 is None:
            buffer_init(&out)
            try:
                if encode_status(&out, self.status) < 0:
                    raise MemoryError()
                for name, value in self.fields:
                    if name in CONNECTION_FIELDS:
                        continue
                    if encode_field_compact(
                        &out, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name),
                        PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value),
                    ) < 0:
                        raise MemoryError()
                self._h2 = PyBytes_FromStringAndSize(out.data, out.size)
            finally:
                buffer_free(&out)
        return self._h2


cdef list tokens(bytes value):
    """The elements of a list of tokens, in lower case."""
    return [token.strip() for token in value.lower().split(b",")]


cdef bytes lowered(bytes name):
    cdef const char* data = PyBytes_AS_STRING(name)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(name)):
        if b"A" <= data[i] <= b"Z":
            return name.lower()
    return name
