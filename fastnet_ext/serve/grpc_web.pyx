# cython: freethreading_compatible=True
"""gRPC-Web over an exchange; grpc_web.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.grpc.web cimport TextReader, text_of, trailers_frame
from fastnet_ext.serve.grpc cimport GrpcCall, GrpcEndpoint
from fastnet_ext.serve.grpc_wire cimport (
    ACCEPTED, CODE_INTERNAL, AnswerEncoder, Compression, framed_message, heads_of, status_fields,
)

__all__ = ["WebEncoder"]


@cython.final
cdef class WebEncoder(AnswerEncoder):
    """``WebEncoder(text, fields)``: answers of gRPC-Web, in base64 when ``text``; ``fields`` go into each head."""

    def __init__(self, bint text, list fields not None):
        content_type = b"application/grpc-web-text+proto" if text else b"application/grpc-web+proto"
        fields = [(b"content-type", content_type), *fields]
        self.text = text
        self.heads = heads_of(fields)
        self.accepting_head = ResponseHead(200, [*fields, (b"grpc-accept-encoding", ACCEPTED)])

    cdef int send_head(self, Exchange x, list metadata, Compression compression) except -1:
        cdef ResponseHead head = <ResponseHead>self.heads[<int>compression]
        if metadata:
            head = ResponseHead(200, head.fields + metadata)
        return x.send_head(head, -1)

    cdef int send_accepted(self, Exchange x) except -1:
        return x.send_head(self.accepting_head, -1)

    cdef int send_message(self, Exchange x, bytes message, Compression compression) except -1:
        return self.send_piece(x, framed_message(message, compression))

    cdef int send_end(self, Exchange x, int code, str details, list metadata) except -1:
        x.outcome = code
        self.send_piece(x, trailers_frame(status_fields(code, details, metadata)))
        return x.end(None)

    cdef int send_piece(self, Exchange x, bytes piece) except -1:
        # Each piece is padded by itself: whoever reads can decode it before the next one comes.
        if self.text:
            piece = text_of(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        return x.send_data(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece), piece)


@cython.final
cdef class WebTextCall(Responder):
    """A call whose request comes in base64."""

    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1:
        if x.ended:
            return 0
        if not self.reader.read(data, <size_t>size):
            return self.fail("the request is not base64")
        return self.inner.on_data(x, self.reader.decoded.data, <Py_ssize_t>self.reader.decoded.size)

    cdef int on_end(self, Exchange x) except -1:
        if not self.reader.at_boundary():
            return self.fail("the request ended within a group of base64")
        return self.inner.on_end(x)

    cdef int fail(self, str reason) except -1:
        self.inner.context.end_call(CODE_INTERNAL, reason)
        return self.inner.context.break_off()

    cdef int on_gone(self, Exchange x, int why) except -1:
        return self.inner.on_gone(x, why)

    cdef int on_writable(self, Exchange x) except -1:
        return self.inner.on_writable(x)

    cdef int on_drain(self, Exchange x) except -1:
        return self.inner.on_drain(x)


cdef int start_web(GrpcEndpoint endpoint, Exchange x, WebEncoder encoder) except -1:
    cdef GrpcCall call = endpoint.new_call(x, encoder)
    cdef WebTextCall outer
    cdef Responder responder = call
    if encoder.text:
        outer = WebTextCall.__new__(WebTextCall)
        outer.inner = call
        outer.reader = TextReader.__new__(TextReader)
        responder = outer
    x.responder = responder
    if x.wants_continue:
        x.want_body()
    return endpoint.start_call(x, call) if call.open(x) else 0
