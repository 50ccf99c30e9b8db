# cython: freethreading_compatible=True
"""Unary calls of the Connect protocol over an exchange; connect.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

import logging

from fastnet_ext.core.buffer cimport buffer_append, buffer_free, buffer_init
from fastnet_ext.core.headers cimport HEADER_ACCEPT_ENCODING, HEADER_CONTENT_ENCODING, METHOD_GET, Field, HeaderBlock
from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.limits cimport CUT_CALL, LIMIT_MESSAGE
from fastnet_ext.grpc.connect cimport (
    ConnectFormat, GetRequest, error_body, parse_timeout_ms, read_get, status_of_code, trailer_fields,
)
from fastnet_ext.grpc.fields cimport binary_values
from fastnet_ext.grpc.framing cimport PREFIX_SIZE, write_message_prefix
from fastnet_ext.serve.grpc cimport GrpcCall, GrpcEndpoint
from fastnet_ext.serve.grpc_context cimport ServicerContext
from fastnet_ext.serve.grpc_wire cimport (
    ACCEPTED, CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_OK, CODE_RESOURCE_EXHAUSTED, CODE_UNIMPLEMENTED,
    COMPRESSION_NONE, COMPRESSION_UNKNOWN, AnswerEncoder, Compression, binary_fields_valid, coding_name, compress,
    compression_named, decompress,
)

__all__ = ["Transcoder"]

cdef object log = logging.getLogger("fastnet.error")

cdef int CODE_INVALID_ARGUMENT = 3

# Metadata by which gRPC carries a google.rpc.Status; Connect has its details in the error itself.
cdef bytes DETAILS = b"grpc-status-details-bin"


@cython.final
cdef class Transcoder:
    """``Transcoder(request_from_json, reply_to_json)``: the JSON form of one method's messages.

    Both take and return bytes; the first raises ``ValueError``, whose text the caller gets, for what is no
    request of the method.
    """

    def __init__(self, request_from_json, reply_to_json):
        self.request_from_json = request_from_json
        self.reply_to_json = reply_to_json


@cython.final
cdef class ConnectEncoder(AnswerEncoder):
    """The answer of one call."""

    cdef int send_head(self, Exchange x, list metadata, Compression compression) except -1:
        if metadata:
            self.metadata = metadata
        return 0

    cdef int send_accepted(self, Exchange x) except -1:
        self.accepting = True
        return 0

    cdef str accepted(self, HeaderBlock head):
        return head.joined(HEADER_ACCEPT_ENCODING)

    cdef int send_message(self, Exchange x, bytes message, Compression compression) except -1:
        self.message = message
        self.compression = compression
        return 1

    cdef int send_end(self, Exchange x, int code, str details, list metadata) except -1:
        cdef bytes body = self.message
        cdef bytes packed_status = None
        cdef list fields, trailing = None
        if metadata:
            packed_status = details_of(metadata)
            trailing = without_details(metadata)
        if code == CODE_OK and self.transcoder is not None:
            try:
                body = self.transcoder.reply_to_json(body)
            except Exception:
                log.exception("a reply has no JSON form: %s", x.path_text())
                code = CODE_INTERNAL
                details = "the response message has no JSON form"
        x.outcome = code
        if code != CODE_OK:
            body = error_body(code, details, packed_status)
        fields = [(b"content-type", self.media_type(code))]
        fields += self.fields
        # Errors are short, and an empty body is no compressed one.
        if code == CODE_OK and self.compression != COMPRESSION_NONE and body:
            body = compress(body, self.compression)
            # An answer to GET may be kept for others, who may take no compression.
            fields += [
                (b"content-encoding", coding_name(self.compression).encode()), (b"vary", b"accept-encoding"),
            ]
        if self.accepting:
            fields.append((b"accept-encoding", ACCEPTED))
        if self.metadata is not None:
            fields += self.metadata
        if trailing:
            fields += trailer_fields(trailing)
        self.message = None
        return x.respond(
            ResponseHead(status_of_code(code), fields), PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body), body
        )

    cdef bytes media_type(self, int code):
        return b"application/json" if code != CODE_OK or self.transcoder is not None else b"application/proto"


cdef list without_details(list metadata):
    return [pair for pair in metadata if pair[0] != DETAILS]


cdef bytes details_of(list metadata):
    cdef bytes name, value
    for name, value in metadata:
        if name == DETAILS:
            return <bytes>binary_values(PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value))[0]
    return None


cdef int open_head(Exchange x, ServicerContext context) except -1:
    cdef HeaderBlock head = x.head
    cdef const Field* field = head.find_name(b"connect-protocol-version", 24)
    cdef int64_t microseconds
    if field is not NULL and (field.value.size != 1 or head.at(field.value)[0] != c'1'):
        context.end_call(CODE_INVALID_ARGUMENT, "connect-protocol-version is 1")
        return 0
    field = head.find_name(b"connect-timeout-ms", 18)
    if field is not NULL:
        microseconds = parse_timeout_ms(head.at(field.value), field.value.size)
        if microseconds < 0:
            context.end_call(CODE_INVALID_ARGUMENT, "connect-timeout-ms is a number of at most ten digits")
            return 0
        if microseconds == 0:
            context.end_call(CODE_DEADLINE_EXCEEDED, "the deadline of the call has passed")
            return 0
        context.arm(microseconds)
    if not binary_fields_valid(head):
        context.end_call(CODE_INVALID_ARGUMENT, "a binary metadata value is not base64")
        return 0
    return 1


@cython.final
cdef class ConnectCall(Responder):
    """The request side of one call."""

    def __cinit__(self):
        buffer_init(&self.collected)

    def __dealloc__(self):
        buffer_free(&self.collected)

    cdef int open(self, Exchange x) except -1:
        cdef HeaderBlock head = x.head
        cdef const Field* field
        if not open_head(x, self.inner.context):
            return 0
        field = head.find(HEADER_CONTENT_ENCODING)
        if field is not NULL and not self.choose_compression(x, head.at(field.value), field.value.size):
            return 0
        if x.content_length > 0 and <uint64_t>x.content_length > self.limit:
            self.too_large(x)
            return 0
        return 1

    cdef int choose_compression(self, Exchange x, const char* name, size_t size) except -1:
        self.compression = compression_named(name, size)
        if self.compression != COMPRESSION_UNKNOWN:
            return 1
        self.inner.context.encoder.send_accepted(x)
        self.inner.context.end_call(CODE_UNIMPLEMENTED, "nobody here knows the compression of the message")
        return 0

    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1:
        if x.ended:
            return 0
        if self.collected.size + <size_t>size > self.limit:
            return self.too_large(x)
        if buffer_append(&self.collected, data, <size_t>size) < 0:
            raise MemoryError()
        return x.hold(<int64_t>self.collected.capacity)

    cdef int on_end(self, Exchange x) except -1:
        cdef bytes message
        if self.inner.context.running:
            # The message was in the query.
            return 0
        message = PyBytes_FromStringAndSize(self.collected.data, <Py_ssize_t>self.collected.size)
        buffer_free(&self.collected)
        x.hold(0)
        return self.deliver(x, message)

    cdef int deliver(self, Exchange x, bytes message) except -1:
        cdef ServicerContext context = self.inner.context
        cdef char prefix[PREFIX_SIZE]
        if x.ended:
            return 0
        if self.compression != COMPRESSION_NONE and message:
            try:
                message = decompress(message, self.compression, self.limit)
            except OverflowError:
                return self.too_large(x)
            except ValueError:
                return context.end_call(CODE_INVALID_ARGUMENT, "the message cannot be decompressed")
        if self.transcoder is not None:
            try:
                message = self.transcoder.request_from_json(message)
            except ValueError as error:
                return context.end_call(CODE_INVALID_ARGUMENT, str(error))
        # As gRPC would have sent it.
        write_message_prefix(prefix, 0, <uint64_t>PyBytes_GET_SIZE(message))
        self.inner.on_data(x, prefix, PREFIX_SIZE)
        if not x.ended and PyBytes_GET_SIZE(message):
            self.inner.on_data(x, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        return 0 if x.ended else self.inner.on_end(x)

    cdef int too_large(self, Exchange x) except -1:
        x.connection.over_limit(LIMIT_MESSAGE, <double>self.limit, CUT_CALL)
        return self.inner.context.end_call(CODE_RESOURCE_EXHAUSTED, "message larger than the limit")

    cdef int on_gone(self, Exchange x, int why) except -1:
        buffer_free(&self.collected)
        return self.inner.on_gone(x, why)


cdef bint is_connect_get(Exchange x) except -1:
    # Every call has a message, though an empty one: what asks without is a browser, or somebody's mistake.
    cdef bytes query
    if x.head.method != METHOD_GET:
        return False
    query = x.head.at(x.query())[:x.query_size]
    return query.startswith(b"message=") or b"&message=" in query


cdef int start_connect(
    GrpcEndpoint endpoint, Exchange x, ConnectFormat found, Transcoder transcoder, list fields
) except -1:
    cdef GetRequest request = None
    cdef ConnectEncoder encoder = ConnectEncoder.__new__(ConnectEncoder)
    cdef ConnectCall call = ConnectCall.__new__(ConnectCall)
    cdef str reason = None
    cdef bytes name
    encoder.fields = fields
    if found == ConnectFormat.CONNECT_NONE:
        try:
            request = read_get(x.head.at(x.query()), x.query_size)
            if request.encoding not in ("proto", "json") or (request.encoding == "json" and transcoder is None):
                reason = f"messages are encoded as proto{'' if transcoder is None else ' or json'}, not {request.encoding}"
        except ValueError as error:
            reason = str(error)
    if found == ConnectFormat.CONNECT_JSON or (request is not None and request.encoding == "json"):
        encoder.transcoder = call.transcoder = transcoder
    call.inner = endpoint.new_call(x, encoder)
    call.limit = endpoint.max_message
    x.responder = call
    if reason is not None:
        return call.inner.context.end_call(CODE_INVALID_ARGUMENT, reason)
    if x.wants_continue:
        x.want_body()
    if not call.open(x):
        return 0
    if request is None:
        return endpoint.start_call(x, call.inner)
    name = request.compression.encode()
    if not call.choose_compression(x, PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name)):
        return 0
    return call.deliver(x, request.message)
