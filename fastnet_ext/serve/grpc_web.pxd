"""gRPC-Web over an exchange: the status is the end of the body, so that any HTTP carries it."""

from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.grpc.web cimport TextReader
from fastnet_ext.serve.grpc cimport GrpcCall, GrpcEndpoint
from fastnet_ext.serve.grpc_wire cimport AnswerEncoder


cdef class WebEncoder(AnswerEncoder):
    """Writes answers in one of the two formats; one serves all calls."""

    cdef bint text
    cdef tuple heads                # by Compression
    cdef ResponseHead accepting_head

    cdef int send_piece(self, Exchange x, bytes piece) except -1


cdef class WebTextCall(Responder):
    """Decodes a request in base64 for the call that is behind it."""

    cdef GrpcCall inner
    cdef TextReader reader

    # End the call, and a handler that reads its stream.
    cdef int fail(self, str reason) except -1


cdef int start_web(GrpcEndpoint endpoint, Exchange x, WebEncoder encoder) except -1
