# cython: freethreading_compatible=True
"""Runs interceptors around gRPC methods; grpc_interceptors.pxd is the map."""

cimport cython

import functools

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.grpc.framing cimport FLAG_COMPRESSED, new_reader
from fastnet_ext.serve.grpc cimport GrpcEndpoint, Interceptors, messages_of, run_in_thread, send_messages
from fastnet_ext.serve.grpc_context cimport Requests, ServicerContext, grpcio, new_receive, new_requests
from fastnet_ext.serve.grpc_requests cimport new_request_stream
from fastnet_ext.serve.grpc_threads cimport SyncServicerContext, new_blocking_iterator, new_blocking_requests
from fastnet_ext.serve.grpc_wire cimport CODE_OK, CODE_UNIMPLEMENTED


cdef extern from "Python.h":
    bint PyCoro_CheckExact(object candidate) noexcept


__all__ = ["Chain", "HandlerLink", "InterceptedCall", "InterceptorLink", "Link", "ServiceLink"]

cdef str NOT_FOUND = "Method not found!"


@cython.final
@cython.freelist(16)
cdef class InterceptedCall:
    """A call, as interceptors see it.

    ``method`` is "/package.Service/Method", as it was registered.
    """

    @property
    def request_streaming(self):
        """Whether the request is a stream of messages."""
        return self.endpoint.request_streaming

    @property
    def response_streaming(self):
        """Whether the answer is a stream of messages."""
        return self.endpoint.response_streaming

    @property
    def kind(self):
        """The kind of the method, in grpcio's words: "unary_unary", "unary_stream", "stream_unary", "stream_stream"."""
        return (
            f"{'stream' if self.endpoint.request_streaming else 'unary'}_"
            f"{'stream' if self.endpoint.response_streaming else 'unary'}"
        )

    @property
    def metadata(self):
        """The caller's metadata: a tuple of ``(key, value)`` with these names; bytes for "-bin" keys."""
        return self.context_.invocation_metadata()

    @property
    def context(self):
        """The ``ServicerContext`` of the call."""
        return self.visible

    @property
    def peer(self):
        """The caller's address."""
        return self.context_.peer

    @property
    def deadline(self):
        """Loop time at which the caller gives up; None when it never does."""
        return self.context_.deadline

    @property
    def request(self):
        """The request message, or the asynchronous iterator of them; what is put here is what goes on.

        A message that cannot be parsed ends the call with INTERNAL, and raises ``asyncio.CancelledError``.
        """
        if not self.known:
            if self.endpoint.request_streaming:
                self.value = new_requests(self.context_)
            else:
                self.value = self.context_.parse(self.message)
            self.known = True
        return self.value

    @request.setter
    def request(self, value):
        self.value = value
        self.known = self.replaced = True

    def __repr__(self):
        return f"<{type(self).__name__} of {self.method}>"

    cdef InterceptedCall passed_on(self, GrpcEndpoint endpoint, str method, object request, object context):
        cdef InterceptedCall call = InterceptedCall.__new__(InterceptedCall)
        call.chain = self.chain
        call.endpoint = endpoint
        call.method = method
        call.x = self.x
        call.context_ = self.context_
        # What is awaited runs on the loop, also when a function in a thread called it.
        call.visible = self.context_ if isinstance(context, SyncServicerContext) else context
        call.value = request
        call.known = call.replaced = call.nested = True
        call.sources = self.sources
        return call

    cdef object stream(self, bint blocking):
        cdef object value = self.value if self.replaced else None
        if not self.endpoint.request_streaming:
            if self.replaced:
                return iter((value,)) if blocking else _once(value)
            # What came as one message is read as a stream of one.
            self.context_.requests = new_request_stream(new_reader(self.endpoint.max_message, FLAG_COMPRESSED))
            self.context_.requests.message = self.message
            self.context_.requests.over = True
        if value is None or type(value) is Requests:
            return new_blocking_requests(self.context_) if blocking else new_requests(self.context_)
        if blocking and not hasattr(type(value), "__iter__"):
            return new_blocking_iterator(self.x, value)
        if not blocking and not hasattr(type(value), "__aiter__"):
            return _each(value)
        return value

    cdef object not_found(self):
        error = self.context_.begin_abort(CODE_UNIMPLEMENTED, NOT_FOUND, None)
        self.context_.end_as_said()
        return error


# --- links

cdef class Link:
    """``await next(call)``: what the rest of the chain answers.

    A message, or in methods that stream their answer an asynchronous iterator; a handler that streams
    begins when that is iterated over. Raises what the handler raises.
    """

    def __call__(self, InterceptedCall call not None):
        return self.proceed(call)

    cdef object proceed(self, InterceptedCall call):
        raise NotImplementedError

    cdef object offer(self, InterceptedCall call, object details):
        return offered(self, call, details)


cdef object offered(Link link, InterceptedCall call, object details):
    """The handler that a link offers. A method that was renamed on the way is another one."""
    cdef GrpcEndpoint endpoint = call.endpoint
    cdef Proceeding proceeding
    cdef object function
    cdef bint own
    if details.method != call.method:
        endpoint = call.chain.surface.lookup(details)
        if endpoint is None:
            return None
    # A nested call may be of another method than the chain.
    own = endpoint is call.endpoint and not call.nested
    if isinstance(link, HandlerLink) and endpoint.handler is None:
        return None
    if isinstance(link, HandlerLink) and endpoint.plan is None:
        if own and call.chain.plain_handler is not None:
            call.offered = call.chain.plain_handler
            return call.offered
        # The very function that was registered, asynchronous or not, as wrappers of it expect.
        function = endpoint.handler
    else:
        proceeding = Proceeding.__new__(Proceeding)
        proceeding.link = link
        proceeding.call = call
        proceeding.endpoint = endpoint
        proceeding.method = details.method
        function = call.chain.surface.function(proceeding, endpoint.response_streaming)
    handler = call.chain.surface.handler(
        function, endpoint.request_streaming, endpoint.response_streaming, endpoint.deserialize, endpoint.serialize
    )
    if endpoint is call.endpoint:
        call.offered = handler
        if own and function is endpoint.handler:
            call.chain.plain_handler = handler
    return handler


@cython.final
cdef class HandlerLink(Link):
    """The end of every chain."""

    cdef object proceed(self, InterceptedCall call):
        cdef GrpcEndpoint endpoint = call.endpoint
        cdef Exchange x = call.x
        cdef object visible, request, result
        if endpoint.handler is None:
            raise call.not_found()
        visible = SyncServicerContext(call.context_) if endpoint.sync_context else call.visible
        request = call.stream(endpoint.sync_context) if endpoint.request_streaming else call.request
        result = endpoint.begin(x, visible, request)
        if endpoint.response_streaming:
            return _given(iterated(call, result, endpoint.bound, endpoint.in_thread))
        return result if hasattr(type(result), "__await__") else _given(result)


@cython.final
cdef class InterceptorLink(Link):
    """``InterceptorLink(interceptor, following)``: ``await interceptor(call, following)`` gives the answer."""

    def __init__(self, interceptor, Link following not None):
        self.interceptor = interceptor
        self.following = following

    cdef object proceed(self, InterceptedCall call):
        return self.interceptor(call, self.following)


@cython.final
cdef class ServiceLink(Link):
    """``ServiceLink(interceptors, blocking, following)``: interceptors of grpcio's, the first outermost.

    ``blocking`` says of each whether its ``intercept_service`` is a plain function; behind such a one there
    must be none that is not.
    """

    def __init__(self, interceptors, blocking, Link following not None):
        self.interceptors = tuple(interceptors)
        self.blocking = tuple(blocking)
        self.following = following

    cdef object proceed(self, InterceptedCall call):
        return _serve(self, call)

    cdef object ask(self, Py_ssize_t index, InterceptedCall call, object details):
        cdef Continuation continuation
        if index == len(self.interceptors):
            return self.following.offer(call, details)
        continuation = Continuation.__new__(Continuation)
        continuation.link = self
        continuation.index = index
        continuation.call = call
        return self.interceptors[index].intercept_service(continuation, details)


@cython.final
cdef class Continuation:
    def __call__(self, handler_call_details):
        found = self.link.ask(self.index + 1, self.call, handler_call_details)
        if self.link.blocking[self.index] or hasattr(type(found), "__await__"):
            return found
        return _given(found)


@cython.final
cdef class Proceeding:
    def __call__(self, request, context):
        return self.link.proceed(self.call.passed_on(self.endpoint, self.method, request, context))


async def _serve(ServiceLink link, InterceptedCall call):
    """Ask the interceptors for a handler, and run it."""
    details = call.chain.surface.details(call.method, call.context_.invocation_metadata())
    handler = link.ask(0, call, details)
    if hasattr(type(handler), "__await__"):
        handler = await handler
    # The handler may hold the call: no ring of them is left behind.
    own, call.offered = call.offered, None
    if handler is None:
        raise call.not_found()
    if handler is own:
        return await link.following.proceed(call)
    return await _run_handler(call, handler)


async def _run_handler(InterceptedCall call, handler):
    """Run a handler that interceptors have given; it may be of any kind."""
    cdef ServicerContext context = call.context_
    cdef bint streaming = handler.response_streaming
    cdef bint blocking
    cdef object visible = call.visible
    function = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    if function is None:
        raise TypeError(f"an interceptor gave {handler!r} for {call.method}, which has no function")
    blocking = not call.chain.surface.is_async(function)
    if blocking:
        visible = SyncServicerContext(context)
    if not call.nested:
        context.deserialize = handler.request_deserializer
        context.serialize = handler.response_serializer
    request = call.stream(blocking) if handler.request_streaming else await _one_request(call)
    result = functools.partial(function, request, visible) if blocking else function(request, visible)
    if streaming:
        source = iterated(call, result, blocking, blocking)
        return source if call.endpoint.response_streaming else await _only(call, source)
    if blocking:
        result = await run_in_thread(call.x, result)
    elif hasattr(type(result), "__await__"):
        result = await result
    return _answer_of(context, result) if call.endpoint.response_streaming else result


async def _one_request(InterceptedCall call):
    """The message for a handler that takes one: of a stream, the first."""
    cdef ServicerContext context = call.context_
    if not call.endpoint.request_streaming:
        # One that an interceptor has seen is made anew when the handler wants it made in another way.
        if call.known and (call.replaced or context.deserialize == call.endpoint.deserialize):
            return call.value
        return context.parse(call.message)
    async for message in call.stream(False):
        return message
    context.end_call(CODE_UNIMPLEMENTED, "the call takes one message, not none")
    raise context.over_error()


# --- answers

cdef object iterated(InterceptedCall call, object result, bint bound, bint in_threads):
    """The messages that a streaming handler gives, as an asynchronous iterator that is closed with its call."""
    cdef object source = result
    if bound or not hasattr(type(result), "__aiter__"):
        source = _messages(call.x, result, bound, in_threads)
    call.sources.append(source)
    return source


async def _messages(Exchange x, result, bint bound, bint in_threads):
    source = await messages_of(x, result, bound, in_threads)
    if source is None:
        return
    try:
        async for message in source:
            yield message
    finally:
        if hasattr(type(source), "aclose"):
            await source.aclose()


async def _answer_of(ServicerContext context, message):
    """A single answer as a stream; none, where the handler has set a status in its place."""
    if not context.aborted and context.status_code == CODE_OK:
        yield message


async def _only(InterceptedCall call, source):
    """The answer of a handler that streams, in place of one that does not."""
    cdef ServicerContext context = call.context_
    cdef list messages = []
    try:
        async for message in source:
            messages.append(message)
            if len(messages) > 1:
                break
    finally:
        if hasattr(type(source), "aclose"):
            await source.aclose()
    if len(messages) == 1:
        return messages[0]
    if not messages and context.status_code != CODE_OK:
        return None
    raise TypeError(f"{call.method} answers with one message; a handler from its interceptors gave more, or none")


async def _given(value):
    return value


async def _once(value):
    yield value


async def _each(values):
    for value in values:
        yield value


# --- the chain of a method

@cython.final
cdef class Chain(Interceptors):
    """``Chain(first, surface, method)``: what stands around one method.

    ``method`` is its path, None for whatever has no handler. ``surface`` knows grpcio: ``details(method, metadata)`` and
    ``handler(function, request_streaming, response_streaming, deserialize, serialize)`` make its values,
    ``function(proceeding, response_streaming)`` a function of ``(request, context)``, ``is_async(function)`` says
    whether one runs on the loop, and ``lookup(details)`` gives the endpoint of another method, or None.
    """

    def __init__(self, Link first not None, surface, str method=None):
        self.first = first
        self.surface = surface
        self.method = method

    cdef object start(self, GrpcEndpoint endpoint, Exchange x, ServicerContext context, bytes message):
        cdef InterceptedCall call = InterceptedCall.__new__(InterceptedCall)
        cdef object answer
        call.chain = self
        call.endpoint = endpoint
        call.method = x.path_text() if self.method is None else self.method
        call.x = x
        call.context_ = context
        call.visible = context
        call.message = message
        call.sources = []
        answer = self.first.proceed(call)
        if endpoint.response_streaming:
            return _send(call, answer)
        # No coroutine around a coroutine, where it is one.
        return answer if PyCoro_CheckExact(answer) or isinstance(self.first, ServiceLink) else _settled(answer)


async def _settled(answer):
    return await answer


async def _send(InterceptedCall call, answer):
    """Send the messages of a streaming answer, and close what gave them."""
    try:
        source = await answer
        if source is None:
            raise TypeError(
                f"an interceptor returned None for {call.method}: it returns what `next` gave, or other messages"
            )
        await send_messages(call.endpoint, call.x, call.context_, source, False, False)
    finally:
        for source in reversed(call.sources):
            if hasattr(type(source), "aclose"):
                await source.aclose()
    return None
