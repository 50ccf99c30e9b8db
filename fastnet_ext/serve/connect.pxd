"""Unary calls of the Connect protocol over an exchange: a message in, a message or an error out, as plain HTTP.

Calls with streams: connect_stream.pxd.

The call core deals in protobuf's binary messages. Where the caller's are JSON, a `Transcoder` stands
between: requests are made binary before the core sees them, replies are made JSON after it wrote them.
"""

from libc.stdint cimport uint64_t

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.grpc.connect cimport ConnectFormat
from fastnet_ext.serve.grpc cimport GrpcCall, GrpcEndpoint
from fastnet_ext.serve.grpc_context cimport ServicerContext
from fastnet_ext.serve.grpc_wire cimport AnswerEncoder, Compression


cdef class Transcoder:
    """The JSON form of one method's messages."""

    # bytes -> bytes. The first raises ValueError for what is no such message.
    cdef object request_from_json
    cdef object reply_to_json


cdef class ConnectEncoder(AnswerEncoder):
    """Writes the answer of one call. Nothing leaves before its end, which decides on the status line."""

    cdef Transcoder transcoder      # None: replies are sent as they are
    cdef list fields                # of every head
    cdef list metadata              # of the handler, for the head; None: none
    cdef bytes message
    cdef Compression compression    # of the message
    cdef bint accepting             # the head names the compressions that we know

    cdef bytes media_type(self, int code)


cdef class ConnectCall(Responder):
    """Collects the request message for the call that is behind it."""

    cdef GrpcCall inner
    cdef Transcoder transcoder      # None: requests are taken as they are
    cdef Compression compression
    cdef uint64_t limit             # bytes of the message, packed and unpacked
    cdef Buffer collected

    # Look at the fields of the head. 1: go on; 0: the call has ended.
    cdef int open(self, Exchange x) except -1
    cdef int choose_compression(self, Exchange x, const char* name, size_t size) except -1
    # The message is there in full, as it came.
    cdef int deliver(self, Exchange x, bytes message) except -1
    cdef int too_large(self, Exchange x) except -1


# Look at the fields that all calls may have: version, time limit, metadata. 1: go on; 0: the call has ended.
cdef int open_head(Exchange x, ServicerContext context) except -1

# The google.rpc.Status of trailing metadata, serialised, which Connect has in the error itself; None when there is none.
cdef bytes details_of(list metadata)
# Trailing metadata without it.
cdef list without_details(list metadata)

# A call by POST in the format CONNECT_PROTO or CONNECT_JSON, or by GET (CONNECT_NONE: the query says it).
cdef int start_connect(
    GrpcEndpoint endpoint, Exchange x, ConnectFormat found, Transcoder transcoder, list fields
) except -1

# Whether a GET holds a call in its query.
cdef bint is_connect_get(Exchange x) except -1
