# cython: freethreading_compatible=True
"""What a gRPC answer consists of on the wire, and who writes it; grpc_wire.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

import zlib

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.core.headers cimport (
    HEADER_CONNECTION, HEADER_CONTENT_LENGTH, HEADER_CONTENT_TYPE, HEADER_GRPC_ACCEPT_ENCODING, HEADER_GRPC_ENCODING,
    HEADER_GRPC_MESSAGE, HEADER_GRPC_STATUS, HEADER_GRPC_TIMEOUT, HEADER_HOST, HEADER_OTHER, HEADER_TE,
    HEADER_TRANSFER_ENCODING, Field, HeaderBlock,
)
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.grpc.fields cimport base64_encode, binary_values, percent_encode
from fastnet_ext.grpc.framing cimport FLAG_COMPRESSED, PREFIX_SIZE, write_message_prefix
from fastnet_ext.serve.grpc_values import Metadatum

__all__ = ["metadata_fields"]

# The compressions in the numbers of grpc.Compression, as zlib's window bits: with a zlib or a gzip header.
cdef tuple WINDOW_BITS = (0, 15, 31)
cdef tuple CODINGS = ("identity", "deflate", "gzip")

ACCEPTED = b"identity,deflate,gzip"

# Names that frame messages or carry a protocol's own values: no handler's to send.
cdef frozenset RESERVED = frozenset((
    b"connect-content-encoding", b"connection", b"content-encoding", b"content-length", b"content-type",
    b"grpc-accept-encoding", b"grpc-encoding", b"grpc-message", b"grpc-status", b"grpc-timeout", b"host",
    b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
))


cdef bint is_grpc(HeaderBlock head) noexcept:
    cdef const Field* field = head.find(HEADER_CONTENT_TYPE)
    cdef const char* value
    cdef size_t size, known = 16
    if field is NULL or field.value.size < 16:
        return False
    value = head.at(field.value)
    size = field.value.size
    if memcmp(value, b"application/grpc", 16) != 0:
        return False
    if size >= 22 and memcmp(value + 16, b"+proto", 6) == 0:
        known = 22
    return size == known or value[known] == c";" or value[known] == c" "


cdef class AnswerEncoder:
    cdef int send_head(self, Exchange x, list metadata, Compression compression) except -1:
        raise NotImplementedError

    cdef int send_message(self, Exchange x, bytes message, Compression compression) except -1:
        raise NotImplementedError

    cdef int send_end(self, Exchange x, int code, str details, list metadata) except -1:
        raise NotImplementedError

    cdef int send_accepted(self, Exchange x) except -1:
        raise NotImplementedError

    cdef str accepted(self, HeaderBlock head):
        return head.joined(HEADER_GRPC_ACCEPT_ENCODING)


cdef tuple heads_of(list fields):
    return (
        ResponseHead(200, fields),
        ResponseHead(200, [*fields, (b"grpc-encoding", b"deflate")]),
        ResponseHead(200, [*fields, (b"grpc-encoding", b"gzip")]),
    )


cdef bytes framed_message(bytes message, Compression compression):
    cdef bytes framed
    cdef Py_ssize_t size
    cdef char* to
    if compression != COMPRESSION_NONE:
        message = compress(message, compression)
    size = PyBytes_GET_SIZE(message)
    if <uint64_t>size > 0xFFFFFFFF:
        raise ValueError(f"a gRPC message has less than 4 GiB, not {size} bytes")
    framed = PyBytes_FromStringAndSize(NULL, PREFIX_SIZE + size)
    to = PyBytes_AS_STRING(framed)
    write_message_prefix(to, FLAG_COMPRESSED if compression != COMPRESSION_NONE else 0, <uint32_t>size)
    memcpy(to + PREFIX_SIZE, PyBytes_AS_STRING(message), size)
    return framed


cdef list status_fields(int code, str details, list metadata):
    cdef list fields = [(b"grpc-status", b"%d" % code)]
    if details:
        fields.append((b"grpc-message", encode_details(details)))
    if metadata:
        fields += metadata
    return fields


@cython.final
cdef class GrpcEncoder(AnswerEncoder):
    """Answers as gRPC over HTTP/2 has them."""

    def __init__(self):
        content_type = (b"content-type", b"application/grpc")
        self.heads = heads_of([content_type])
        self.accepting_head = ResponseHead(200, [content_type, (b"grpc-accept-encoding", ACCEPTED)])
        self.ok_trailers = [(b"grpc-status", b"0")]

    cdef int send_head(self, Exchange x, list metadata, Compression compression) except -1:
        cdef ResponseHead head = <ResponseHead>self.heads[<int>compression]
        if metadata:
            head = ResponseHead(200, head.fields + metadata)
        return x.send_head(head, -1)

    cdef int send_accepted(self, Exchange x) except -1:
        return x.send_head(self.accepting_head, -1)

    cdef int send_message(self, Exchange x, bytes message, Compression compression) except -1:
        cdef char small[PREFIX_SIZE + SMALL_MESSAGE]
        cdef bytes framed
        cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
        if compression != COMPRESSION_NONE or size > SMALL_MESSAGE:
            framed = framed_message(message, compression)
            return x.send_data(PyBytes_AS_STRING(framed), PyBytes_GET_SIZE(framed), framed)
        write_message_prefix(small, 0, <uint32_t>size)
        memcpy(small + PREFIX_SIZE, PyBytes_AS_STRING(message), size)
        return x.send_data(small, PREFIX_SIZE + size, None)

    cdef int send_end(self, Exchange x, int code, str details, list metadata) except -1:
        x.outcome = code
        if code == CODE_OK and not details and not metadata:
            return x.end(self.ok_trailers)
        return x.end(status_fields(code, details, metadata))


cdef bytes encode_details(str details):
    # A lone surrogate has no UTF-8; a message about an error must not become another one.
    cdef bytes raw = details.encode("utf-8", "replace")
    cdef Buffer out
    buffer_init(&out)
    try:
        if percent_encode(&out, PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)) < 0:
            raise MemoryError()
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)


# --- compression

cdef Compression compression_named(const char* name, size_t size) noexcept:
    if size == 8 and memcmp(name, b"identity", 8) == 0:
        return COMPRESSION_NONE
    if size == 4 and memcmp(name, b"gzip", 4) == 0:
        return COMPRESSION_GZIP
    if size == 7 and memcmp(name, b"deflate", 7) == 0:
        return COMPRESSION_DEFLATE
    return COMPRESSION_UNKNOWN


cdef str coding_name(Compression compression):
    return <str>CODINGS[<int>compression]


cdef bint names_coding(str accepted, Compression compression) except -1:
    cdef str one, name, weight
    for one in accepted.split(","):
        name, _, weight = one.partition(";")
        if name.strip().lower() == CODINGS[<int>compression]:
            # A weight of 0 ("q=0", "q=0.000") refuses.
            return not weight or weight.strip(" \tqQ=0.") != ""
    return False


cdef bytes compress(bytes message, Compression compression):
    return zlib.compress(message, wbits=WINDOW_BITS[<int>compression])


cdef bytes decompress(bytes message, Compression compression, uint64_t limit):
    cdef object decoder = zlib.decompressobj(WINDOW_BITS[<int>compression])
    cdef bytes plain
    try:
        # One byte more than may be: enough to know, and all that a bomb gets.
        plain = decoder.decompress(message, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if <uint64_t>PyBytes_GET_SIZE(plain) > limit:
        raise OverflowError
    if not decoder.eof:
        raise ValueError("the compressed data ends too early")
    return plain


# --- metadata

cdef inline bint is_binary(const char* name, size_t size) noexcept:
    return size > 4 and memcmp(name + size - 4, b"-bin", 4) == 0


cdef inline bint is_own(uint32_t id) noexcept:
    """Whether a field belongs to the protocol and is no metadata."""
    return id != HEADER_OTHER and (
        id == HEADER_CONTENT_TYPE or id == HEADER_TE or id == HEADER_GRPC_TIMEOUT or id == HEADER_GRPC_ENCODING
        or id == HEADER_GRPC_ACCEPT_ENCODING or id == HEADER_GRPC_STATUS or id == HEADER_GRPC_MESSAGE
        or id == HEADER_CONTENT_LENGTH or id == HEADER_HOST or id == HEADER_CONNECTION
        or id == HEADER_TRANSFER_ENCODING
    )


cdef bint binary_fields_valid(HeaderBlock head) except -1:
    cdef const Field* field
    cdef uint32_t i
    for i in range(head.count):
        field = &head.fields[i]
        if field.id == HEADER_OTHER and is_binary(head.at(field.name), field.name.size):
            try:
                binary_values(head.at(field.value), field.value.size)
            except ValueError:
                return False
    return True


cdef tuple decode_metadata(HeaderBlock head):
    cdef const Field* field
    cdef uint32_t i
    cdef list found = []
    cdef str name
    for i in range(head.count):
        field = &head.fields[i]
        if is_own(field.id):
            continue
        name = head.text(field.name)
        if is_binary(head.at(field.name), field.name.size):
            for value in binary_values(head.at(field.value), field.value.size):
                found.append(Metadatum(name, value))
        else:
            found.append(Metadatum(name, head.text(field.value)))
    return tuple(found)


cdef list encode_metadata(object metadata):
    cdef list fields = []
    if metadata is None:
        return fields
    for pair in metadata.items() if isinstance(metadata, dict) else metadata:
        try:
            key, value = pair
        except (TypeError, ValueError):
            raise TypeError(f"metadata consists of pairs (key, value), not {pair!r}") from None
        fields.append(encode_pair(key, value))
    return fields


cdef tuple encode_pair(object key, object value):
    cdef bytes name, raw
    if not isinstance(key, (str, bytes)):
        raise TypeError(f"a metadata key is text, not {key!r}")
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"the value of metadata {key!r} is text, or bytes for a key with -bin, not {value!r}")
    name = key.encode("ascii", "replace") if isinstance(key, str) else key
    if not is_metadata_key(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)):
        raise ValueError(f"{key!r} is no metadata key: lower-case letters, digits and _-. may stand in one")
    if name in RESERVED:
        raise ValueError(f"metadata {key!r} belongs to the protocol")
    raw = value.encode("utf-8") if isinstance(value, str) else value
    if is_binary(name, len(name)):
        return name, encode_base64(raw)
    if not is_metadata_text(PyBytes_AS_STRING(raw), PyBytes_GET_SIZE(raw)):
        raise ValueError(
            f"the value of metadata {key!r} is not printable ASCII: {value!r}; a key that ends in -bin takes any bytes"
        )
    return name, raw


cdef bint is_metadata_key(const char* p, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        if not (
            (p[i] >= c'a' and p[i] <= c'z') or (p[i] >= c'0' and p[i] <= c'9')
            or p[i] == c'_' or p[i] == c'-' or p[i] == c'.'
        ):
            return False
    return size > 0


cdef bint is_metadata_text(const char* p, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        if p[i] < 0x20 or p[i] > 0x7E:
            return False
    return True


cdef bytes encode_base64(bytes value):
    cdef Buffer out
    buffer_init(&out)
    try:
        if base64_encode(&out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)) < 0:
            raise MemoryError()
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)


def metadata_fields(metadata):
    """Metadata as header fields: a list of ``(name, value)`` bytes.

    ``metadata`` is an iterable of ``(key, value)``, a mapping, or None. Raises ``TypeError`` and
    ``ValueError`` for what cannot be sent.
    """
    return encode_metadata(metadata)
