"""Calls of the Connect protocol with streams: envelopes both ways, the status in the last one of the answer."""

from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.grpc.framing cimport MessageReader
from fastnet_ext.serve.connect cimport Transcoder
from fastnet_ext.serve.grpc cimport GrpcCall, GrpcEndpoint
from fastnet_ext.serve.grpc_wire cimport AnswerEncoder


cdef class StreamEncoder(AnswerEncoder):
    """Writes the answers of a method for one origin, in protobuf or JSON; one serves all calls."""

    cdef Transcoder transcoder      # None: messages are sent as they are
    cdef list fields                # of every head


cdef class JsonStreamCall(Responder):
    """Makes binary messages of JSON for the call that is behind it."""

    cdef GrpcCall inner
    cdef Transcoder transcoder
    cdef MessageReader reader

    cdef int take(self, Exchange x) except -1
    # End the call, and its handler.
    cdef int fail(self, int code, str reason) except -1


# `transcoder`: of a call in JSON; None: it is in protobuf.
cdef int start_connect_stream(GrpcEndpoint endpoint, Exchange x, Transcoder transcoder, list fields) except -1
