"""Interceptors around the methods of gRPC, whatever dialect a call comes in: a chain of links, made once, at start-up.

Every link can do two things. It **proceeds** with a call: the answer is what the rest of the chain
makes of the request. And it **offers** a handler, as grpcio's interceptors ask for one: that of the
method itself, or one that proceeds when it is called. So both kinds of interceptors stand in one chain,
and each runs in its place.

Messages stay bytes until somebody asks for them: an interceptor that only looks at the metadata refuses
a call whose message nobody has parsed.
"""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.serve.grpc cimport GrpcEndpoint, Interceptors
from fastnet_ext.serve.grpc_context cimport ServicerContext


cdef class InterceptedCall:
    """One call on its way through the chain; another one for each handler of grpcio's that it passes through."""

    # --- what was called
    cdef Chain chain
    cdef GrpcEndpoint endpoint          # its kind is the kind of request and answer here
    cdef readonly str method
    cdef Exchange x
    cdef ServicerContext context_       # the call's own
    cdef object visible                 # what interceptors and handler see in its place: that, or a wrapper of theirs

    # --- the request
    cdef bytes message                  # as it came; None where there is a stream of them
    cdef object value                   # message or iterator, once `known`
    cdef bint known
    cdef bint replaced                  # by an interceptor: it is not what came
    cdef bint nested                    # behind a handler of grpcio's: that one says how messages are made of bytes

    # --- on the way
    cdef object offered                 # the handler that the rest of the chain offered for this very method
    cdef list sources                   # iterators of messages, to be closed when the call is over

    # The same call, as a handler of grpcio's passes it on.
    cdef InterceptedCall passed_on(self, GrpcEndpoint endpoint, str method, object request, object context)
    # The messages of the request, for a handler that iterates over them, in a thread or not.
    cdef object stream(self, bint blocking)
    # The answer of a method that the chain did not lead to.
    cdef object not_found(self)


cdef class Link:
    """What is left of a chain. Called with a call, it proceeds: that is the `next` of our interceptors."""

    # An awaitable of the answer: a message, or an asynchronous iterator of them, by the kind of the call's endpoint.
    cdef object proceed(self, InterceptedCall call)
    # A handler for a method as grpcio's interceptors know them; None when nobody serves it.
    cdef object offer(self, InterceptedCall call, object details)


cdef class HandlerLink(Link):
    """The end of the chain: the handler of the method."""


cdef class InterceptorLink(Link):
    """One `async def interceptor(call, next)`."""

    cdef object interceptor
    cdef Link following


cdef class ServiceLink(Link):
    """Interceptors of grpcio's, one behind the other: they agree on a handler, which then runs."""

    cdef tuple interceptors
    cdef tuple blocking                 # for each: it is a `def` one, which is given handlers and not awaitables of them
    cdef Link following

    # What the interceptor at that place, or the link behind them all, gives: a handler, or an awaitable of one.
    cdef object ask(self, Py_ssize_t index, InterceptedCall call, object details)


cdef class Continuation:
    """What an interceptor of grpcio's calls to ask the next one."""

    cdef ServiceLink link
    cdef Py_ssize_t index
    cdef InterceptedCall call


cdef class Proceeding:
    """A handler's work, where the handler is the rest of the chain: `await proceeding(request, context)`."""

    cdef Link link
    cdef InterceptedCall call
    cdef GrpcEndpoint endpoint
    cdef str method


cdef class Chain(Interceptors):
    """The chain around one method."""

    cdef Link first
    cdef str method                     # None: of methods that nobody serves; the call says which it is
    cdef object surface                 # grpcio's side of things: see Surface in fastnet.grpc.interceptors
    cdef object plain_handler           # what the end of the chain offers where no call changes it; None: not asked yet
