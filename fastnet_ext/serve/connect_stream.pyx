# cython: freethreading_compatible=True
"""Calls of the Connect protocol with streams; connect_stream.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport strlen

from fastnet_ext.core.headers cimport Field, HeaderBlock
from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.grpc.connect cimport end_envelope
from fastnet_ext.grpc.framing cimport FLAG_COMPRESSED, PREFIX_SIZE, ReadEvent, new_reader, write_message_prefix
from fastnet_ext.serve.connect cimport Transcoder, details_of, open_head, without_details
from fastnet_ext.serve.grpc cimport GrpcCall, GrpcEndpoint
from fastnet_ext.serve.grpc_context cimport ServicerContext
from fastnet_ext.serve.grpc_requests cimport unpacked
from fastnet_ext.serve.grpc_wire cimport (
    ACCEPTED, CODE_INTERNAL, CODE_UNIMPLEMENTED, COMPRESSION_NONE, COMPRESSION_UNKNOWN, AnswerEncoder, Compression,
    coding_name, compression_named, framed_message,
)

cdef int CODE_INVALID_ARGUMENT = 3


@cython.final
cdef class StreamEncoder(AnswerEncoder):
    """Answers as Connect's streams have them: the HTTP status is 200, whatever comes."""

    cdef int send_head(self, Exchange x, list metadata, Compression compression) except -1:
        cdef list fields = [(
            b"content-type", b"application/connect+proto" if self.transcoder is None else b"application/connect+json"
        )]
        if compression != COMPRESSION_NONE:
            fields.append((b"connect-content-encoding", coding_name(compression).encode()))
        return x.send_head(ResponseHead(200, fields + self.fields + (metadata or [])), -1)

    cdef int send_accepted(self, Exchange x) except -1:
        return self.send_head(x, [(b"connect-accept-encoding", ACCEPTED)], COMPRESSION_NONE)

    cdef str accepted(self, HeaderBlock head):
        cdef const Field* field = head.find_name(b"connect-accept-encoding", 23)
        return None if field is NULL else head.text(field.value)

    cdef int send_message(self, Exchange x, bytes message, Compression compression) except -1:
        cdef bytes framed
        if self.transcoder is not None:
            message = self.transcoder.reply_to_json(message)
        framed = framed_message(message, compression)
        return x.send_data(PyBytes_AS_STRING(framed), PyBytes_GET_SIZE(framed), framed)

    cdef int send_end(self, Exchange x, int code, str details, list metadata) except -1:
        cdef bytes packed_status = None
        cdef bytes end
        x.outcome = code
        if metadata:
            packed_status = details_of(metadata)
            metadata = without_details(metadata)
        end = end_envelope(code, details, packed_status, metadata)
        x.send_data(PyBytes_AS_STRING(end), PyBytes_GET_SIZE(end), end)
        return x.end(None)


@cython.final
cdef class JsonStreamCall(Responder):
    """A call whose messages come in JSON."""

    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1:
        cdef size_t used = 0, consumed = 0, held
        cdef ReadEvent event
        cdef str reason
        while not x.ended:
            event = self.reader.next(data + used, <size_t>size - used, &consumed)
            used += consumed
            if event == ReadEvent.NEED_DATA:
                held = self.reader.held()
                if self.inner.requests is not None:
                    held += self.inner.requests.carry.capacity
                return x.hold(<int64_t>held)
            if event == ReadEvent.FAILED:
                reason = self.reader.reason[:strlen(self.reader.reason)].decode("ascii")
                return self.fail(self.reader.status, reason)
            self.take(x)
        return 0

    cdef int take(self, Exchange x) except -1:
        cdef char prefix[PREFIX_SIZE]
        cdef bytes message
        cdef object found = unpacked(self.reader, self.inner.compression)
        if type(found) is not bytes:
            code, reason = found
            return self.fail(code, reason)
        try:
            message = self.transcoder.request_from_json(found)
        except ValueError as error:
            return self.fail(CODE_INVALID_ARGUMENT, str(error))
        # As gRPC would have sent it.
        write_message_prefix(prefix, 0, <uint32_t>PyBytes_GET_SIZE(message))
        self.inner.on_data(x, prefix, PREFIX_SIZE)
        if not x.ended and PyBytes_GET_SIZE(message):
            self.inner.on_data(x, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        return 0

    cdef int on_end(self, Exchange x) except -1:
        if not self.reader.at_boundary():
            return self.fail(CODE_INTERNAL, "the request ended within a message")
        return self.inner.on_end(x)

    cdef int fail(self, int code, str reason) except -1:
        self.inner.refuse(self.inner.context.x, code, reason)
        return self.inner.context.break_off()

    cdef int on_gone(self, Exchange x, int why) except -1:
        return self.inner.on_gone(x, why)

    cdef int on_writable(self, Exchange x) except -1:
        return self.inner.on_writable(x)

    cdef int on_drain(self, Exchange x) except -1:
        return self.inner.on_drain(x)


cdef int start_connect_stream(GrpcEndpoint endpoint, Exchange x, Transcoder transcoder, list fields) except -1:
    cdef StreamEncoder encoder = StreamEncoder.__new__(StreamEncoder)
    cdef JsonStreamCall outer
    cdef GrpcCall call
    cdef ServicerContext context
    cdef const Field* field = x.head.find_name(b"connect-content-encoding", 24)
    encoder.transcoder = transcoder
    encoder.fields = fields
    call = endpoint.new_call(x, encoder)
    context = call.context
    x.responder = call
    if transcoder is not None:
        outer = JsonStreamCall.__new__(JsonStreamCall)
        outer.inner = call
        outer.transcoder = transcoder
        outer.reader = new_reader(endpoint.max_message, FLAG_COMPRESSED)
        x.responder = outer
    if x.wants_continue:
        x.want_body()
    if not open_head(x, context):
        return 0
    if field is not NULL:
        call.compression = compression_named(x.head.at(field.value), field.value.size)
        if call.compression == COMPRESSION_UNKNOWN:
            encoder.send_accepted(x)
            return context.end_call(CODE_UNIMPLEMENTED, "nobody here knows the compression of the messages")
    return endpoint.start_call(x, call)
