"""gRPC calls: the endpoint of one method, and the call that is under way.

One core for every dialect: the endpoint takes a request message and runs the handler, the context
holds the status, and an `AnswerEncoder` writes. Metadata, message and end arrive through
`GrpcCall`, the responder. gRPC-Web and Connect (`Dialects`) feed it what gRPC would have sent, and
bring encoders of their own.
"""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Endpoint, Exchange, Responder
from fastnet_ext.grpc.framing cimport MessageReader
from fastnet_ext.serve.grpc_context cimport ServicerContext
from fastnet_ext.serve.grpc_requests cimport RequestStream
from fastnet_ext.serve.grpc_wire cimport AnswerEncoder, Compression, GrpcEncoder
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.plan cimport CallPlan
from fastnet_ext.serve.runner cimport AsyncEndpoint


cdef enum:
    # Bytes of one request message unless the method says otherwise: gRPC's own default.
    MAX_MESSAGE = 4 * 1024 * 1024


cdef class Dialects:
    """The other ways to call a method: gRPC-Web and Connect. This one knows none; see grpc_dialects.pxd."""

    # Whether a request that is no gRPC is a call all the same.
    cdef bint speaks(self, Exchange x) except -1
    # For a request that it speaks: begin the call, or end it with a status.
    cdef int start(self, GrpcEndpoint endpoint, Exchange x) except -1
    cdef int end(self, Exchange x, int code, str details) except -1


cdef class Interceptors:
    """What stands around the handler of a method; see grpc_interceptors.pxd."""

    # The coroutine that answers in the handler's place. `message`: the request as it came, None where it is a stream.
    cdef object start(self, GrpcEndpoint endpoint, Exchange x, ServicerContext context, bytes message)


cdef class GrpcEndpoint(AsyncEndpoint):
    """One method, of one of the four kinds."""

    # --- the call
    cdef readonly object handler        # None: there is no such method; interceptors may have one all the same
    cdef readonly CallPlan plan         # fetches what the handler takes beside message and context; None: nothing
    cdef readonly bint request_streaming
    cdef readonly bint response_streaming
    cdef bint in_thread                 # the handler blocks
    cdef bint bound                     # what the plan returns is the call, and is to be made in a thread
    cdef bint sync_context              # the handler is a `def` one: its context has no coroutines
    cdef object deserialize             # bytes -> message; None: bytes
    cdef object serialize               # message -> bytes; None: bytes
    cdef readonly Interceptors interceptors     # None: there are none
    cdef readonly uint64_t max_message

    # --- errors
    cdef object translate               # exception -> (code, details) for what the caller may know, or None
    cdef HttpEndpoint refusals          # answers what is no gRPC

    cdef GrpcEncoder encoder
    cdef readonly Dialects dialects

    # A call whose answers `encoder` writes. Its responder, itself or one in front of it, is still to be set.
    cdef GrpcCall new_call(self, Exchange x, AnswerEncoder encoder)
    # The head is in order: bring x.responder what is there of the request, and call the handler that reads a stream.
    cdef int start_call(self, Exchange x, GrpcCall call) except -1
    # Call the handler with its message, or with its stream of them.
    cdef int call(self, Exchange x, ServicerContext context, object request) except -1
    cdef int call_through(self, Exchange x, ServicerContext context, bytes message) except -1
    cdef object begin(self, Exchange x, object context, object request)
    cdef int run(self, Exchange x, ServicerContext context, object coroutine) except -1
    # End with what the handler returned, or raised.
    cdef int answer(self, Exchange x, object value) except -1
    cdef int fail(self, Exchange x, object error) except -1
    cdef int unserialisable(self, Exchange x, ServicerContext context, object error) except -1
    cdef tuple explain(self, Exchange x, ServicerContext context, object error)


cdef class GrpcFallback(Endpoint):
    """What answers the calls of methods that are not there, or are not known beforehand."""

    cdef object find                    # (path, metadata) -> GrpcEndpoint or None; None: there are none
    # Whose interceptors see the calls of methods that are not there, by gRPC and by other dialects; None: there are none.
    cdef GrpcEndpoint missing
    cdef GrpcEndpoint missing_unary
    cdef readonly int code
    cdef readonly str details
    cdef HttpEndpoint refusals
    cdef GrpcEncoder encoder
    cdef readonly Dialects dialects


cdef class GrpcCall(Responder):
    """The request side of one call: cuts messages, watches the caller."""

    cdef GrpcEndpoint endpoint
    cdef ServicerContext context
    cdef MessageReader reader
    cdef Compression compression
    cdef bytes message                  # the request message, None until it is there
    cdef RequestStream requests         # in its place where there may be many; None otherwise

    # Look at the fields of the head. 1: go on; 0: the call has ended.
    cdef int open(self, Exchange x) except -1
    cdef int take(self, Exchange x) except -1
    cdef int refuse(self, Exchange x, int code, str reason) except -1


# A coroutine of what a call returns that runs in the pool of threads.
cdef object run_in_thread(Exchange x, object call)

# A coroutine of the messages that a streaming handler gave, as an asynchronous iterator; None when it has written them to
# its context. `bound`: what it gave is the call itself, to be made in a thread; `in_thread`: so is iterating.
cdef object messages_of(Exchange x, object result, bint bound, bint in_thread)

# A coroutine that sends them.
cdef object send_messages(
    GrpcEndpoint endpoint, Exchange x, ServicerContext context, object result, bint bound, bint in_thread
)
