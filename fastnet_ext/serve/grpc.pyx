# cython: freethreading_compatible=True
"""Runs gRPC methods; grpc.pxd is the map.

The statuses are those that gRPC's documents give to each mistake (statuscodes.md, PROTOCOL-HTTP2.md).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport strlen

import asyncio
import functools
import logging

from fastnet_ext.core.headers cimport (
    HEADER_CONTENT_TYPE, HEADER_GRPC_ENCODING, HEADER_GRPC_TIMEOUT, Field, HeaderBlock,
)
from fastnet_ext.exchange.errors import TooManyRequests
from fastnet_ext.exchange.exchange cimport BODY_STREAM, GONE_NOT, Exchange, LoopLocal
from fastnet_ext.exchange.limits cimport CUT_CALL, LIMIT_MESSAGE
from fastnet_ext.exchange.request cimport request_id
from fastnet_ext.grpc.fields cimport parse_timeout
from fastnet_ext.grpc.framing cimport FLAG_COMPRESSED, ReadEvent, new_reader
from fastnet_ext.serve.errors import UnsupportedMediaType
from fastnet_ext.serve.grpc_context cimport ServicerContext, new_requests
from fastnet_ext.serve.grpc_requests cimport new_request_stream, unpacked
from fastnet_ext.serve.grpc_threads cimport SyncServicerContext, from_thread, new_blocking_requests
from fastnet_ext.serve.grpc_wire cimport (
    CODE_CANCELLED, CODE_DEADLINE_EXCEEDED, CODE_INTERNAL, CODE_OK, CODE_RESOURCE_EXHAUSTED, CODE_UNIMPLEMENTED,
    CODE_UNKNOWN, COMPRESSION_NONE, COMPRESSION_UNKNOWN, AnswerEncoder, GrpcEncoder, binary_fields_valid,
    compression_named, decode_metadata, is_grpc,
)
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.plan cimport CallPlan, DependentPlan
from fastnet_ext.serve.runner cimport AsyncEndpoint, Runner, RunnerPool, context_for

__all__ = ["Dialects", "GrpcEndpoint", "GrpcFallback", "Interceptors"]


cdef extern from "Python.h":
    bint PyCoro_CheckExact(object candidate) noexcept


cdef object log = logging.getLogger("fastnet.error")

# The code a carrier is given to abort an answer that failed midway: INTERNAL_ERROR of RFC 9113, 7.
cdef int INTERNAL_ERROR = 2

# Characters of an exception's text that a status carries with App(debug=True): trailers have limits.
cdef int MAX_DEBUG_TEXT = 1024


# What calls come as: gRPC, gRPC-Web, and Connect, which any HTTP client can speak.
cdef str MEDIA_TYPES = (
    "application/grpc, application/grpc-web, application/grpc-web-text, application/proto, application/json"
)


cdef int refuse_media_type(HttpEndpoint refusals, Exchange x) except -1:
    """415: the answer is plain HTTP, as whoever asked so speaks no gRPC."""
    cdef str got = x.head.joined(HEADER_CONTENT_TYPE)
    cdef object following = refusals.on_exception(x, UnsupportedMediaType(MEDIA_TYPES, got or ""))
    if following is not None:
        (<RunnerPool>x.connection.local.runners).run(refusals, x, following)
    return 0


cdef int refuse_call(Exchange x, HttpEndpoint refusals, GrpcEncoder encoder, Dialects dialects) except -1:
    """Answer what the dispatcher refuses, in the call's dialect; only rate limits have a status of gRPC's."""
    cdef object following
    cdef bint plain = is_grpc(x.head)
    if isinstance(x.refusal, TooManyRequests) and (plain or dialects.speaks(x)):
        if not plain:
            return dialects.end(x, CODE_RESOURCE_EXHAUSTED, str(x.refusal))
        encoder.send_head(x, None, COMPRESSION_NONE)
        return encoder.send_end(x, CODE_RESOURCE_EXHAUSTED, str(x.refusal), None)
    following = refusals.on_exception(x, x.refusal)
    if following is not None:
        (<RunnerPool>x.connection.local.runners).run(refusals, x, following)
    return 0


cdef class Dialects:
    """The other ways to call a method: gRPC-Web and Connect. This one knows none."""

    cdef bint speaks(self, Exchange x) except -1:
        return False

    cdef int start(self, GrpcEndpoint endpoint, Exchange x) except -1:
        raise NotImplementedError

    cdef int end(self, Exchange x, int code, str details) except -1:
        raise NotImplementedError


cdef class Interceptors:
    """What stands around a handler: a ``Chain``."""

    cdef object start(self, GrpcEndpoint endpoint, Exchange x, ServicerContext context, bytes message):
        raise NotImplementedError


@cython.final
cdef class GrpcEndpoint(AsyncEndpoint):
    """Answers the calls of a method by ``handler(request, context)``.

    ``request_streaming``: in place of a message the handler gets an iterator of them.
    ``response_streaming``: it gives messages: it is a generator, asynchronous or not, returns an iterator, or
    writes them to the context.
    ``plan``: in place of the handler; its first two parameters are message and context (slots 0 and 1).
    ``thread``: the handler may block: it runs in the pool of threads. ``sync_context``: it is a ``def``
    handler. ``deserialize`` and ``serialize`` make messages of bytes and back; without them the handler
    deals in bytes. ``max_message``: bytes of a request message; above it RESOURCE_EXHAUSTED.
    ``translate(exception)`` gives ``(code, details)`` for exceptions that the caller may know of, None
    for others. ``dialects`` takes the requests that are no gRPC but calls, ``refusals`` answers all others.
    ``interceptors`` stand around the handler; with them it may be None, which is no method.
    """

    def __init__(
        self, handler, *, HttpEndpoint refusals not None, bint request_streaming=False, bint response_streaming=False,
        CallPlan plan=None, bint thread=False, bint sync_context=False, deserialize=None, serialize=None,
        uint64_t max_message=MAX_MESSAGE, translate=None, Dialects dialects=None, Interceptors interceptors=None,
    ):
        if handler is None and interceptors is None:
            raise TypeError("a method without interceptors needs a handler")
        self.handler = handler
        self.interceptors = interceptors
        self.request_streaming = request_streaming
        self.response_streaming = response_streaming
        self.plan = plan
        self.in_thread = thread
        # The coroutine of a DependentPlan sees to the thread itself.
        self.bound = thread and not isinstance(plan, DependentPlan)
        self.sync_context = sync_context
        self.deserialize = deserialize
        self.serialize = serialize
        self.max_message = max_message
        self.translate = translate
        self.refusals = refusals
        self.encoder = GrpcEncoder()
        self.dialects = dialects or Dialects()
        self.body_mode = BODY_STREAM
        self.takes_refusals = True

    cdef int start(self, Exchange x) except -1:
        cdef GrpcCall call
        if x.refusal is not None:
            return refuse_call(x, self.refusals, self.encoder, self.dialects)
        if not is_grpc(x.head):
            return self.dialects.start(self, x) if self.dialects.speaks(x) else refuse_media_type(self.refusals, x)
        call = self.new_call(x, self.encoder)
        x.responder = call
        return self.start_call(x, call) if call.open(x) else 0

    cdef GrpcCall new_call(self, Exchange x, AnswerEncoder encoder):
        cdef GrpcCall call = GrpcCall.__new__(GrpcCall)
        cdef ServicerContext context = ServicerContext(x)
        context.encoder = encoder
        context.deserialize = self.deserialize
        context.serialize = self.serialize
        context.writes = self.response_streaming
        call.endpoint = self
        call.context = context
        call.reader = new_reader(self.max_message, FLAG_COMPRESSED)
        x.call = context
        return call

    cdef int start_call(self, Exchange x, GrpcCall call) except -1:
        cdef bytes body
        cdef ServicerContext context = call.context
        if self.request_streaming:
            context.requests = call.requests = new_request_stream(call.reader)
            call.requests.compression = call.compression
        if x.body_complete:
            body = x.take_body()
            x.responder.on_data(x, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
            if not x.ended:
                x.responder.on_end(x)
        if self.request_streaming:
            return self.call(x, context, None)
        return 0

    # --- the handler

    cdef int call(self, Exchange x, ServicerContext context, object request) except -1:
        if self.interceptors is not None:
            return self.call_through(x, context, request)
        if self.request_streaming:
            request = new_blocking_requests(context) if self.sync_context else new_requests(context)
        elif self.deserialize is not None:
            try:
                request = self.deserialize(request)
            except Exception:
                # The caller's mistake: no traceback of ours for it.
                return context.end_call(CODE_INTERNAL, "the request message cannot be parsed")
        context.running = True
        try:
            result = self.begin(x, SyncServicerContext(context) if self.sync_context else context, request)
        except Exception as error:
            return self.fail(x, error)
        if self.response_streaming:
            return self.run(x, context, _send_messages(self, x, context, result, self.bound, self.in_thread))
        if PyCoro_CheckExact(result):
            return self.run(x, context, result)
        if hasattr(type(result), "__await__"):
            return self.run(x, context, _await_it(result))
        return self.answer(x, result)

    cdef int call_through(self, Exchange x, ServicerContext context, bytes message) except -1:
        """Let the interceptors answer: messages are made of bytes as they ask for them."""
        context.running = True
        try:
            coroutine = self.interceptors.start(self, x, context, message)
        except Exception as error:
            return self.fail(x, error)
        return self.run(x, context, coroutine)

    cdef object begin(self, Exchange x, object context, object request):
        """Call the handler: its coroutine, or what it returned; where it streams and blocks, the call itself."""
        if self.plan is not None:
            result = self.plan.call_with(x, [request, context])
        elif self.in_thread:
            result = functools.partial(self.handler, request, context)
        else:
            return self.handler(request, context)
        return _run_in_thread(x, result) if self.bound and not self.response_streaming else result

    cdef int run(self, Exchange x, ServicerContext context, object coroutine) except -1:
        cdef RunnerPool pool = <RunnerPool>x.connection.local.runners
        cdef Runner runner = pool.run(self, x, coroutine)
        if runner.exchange is x:
            context.task = runner.task
            if context.broken_off or x.gone != GONE_NOT:
                # That was during the first step, when there was no task to cancel yet.
                context.break_off()
        return 0

    # --- what becomes of the handler's outcome

    cdef object on_result(self, Exchange x, object value):
        try:
            self.answer(x, value)
        except Exception:
            log.exception("an answer could not be sent: %r", x.route)
            x.abort(INTERNAL_ERROR)
            x.finish()
        return None

    cdef object on_exception(self, Exchange x, object error):
        self.fail(x, error)
        return None

    cdef int answer(self, Exchange x, object value) except -1:
        cdef ServicerContext context
        cdef bytes data
        if x.ended or x.gone != GONE_NOT:
            return x.finish()
        context = <ServicerContext>x.call
        if self.response_streaming or context.aborted or context.status_code != CODE_OK:
            return context.end_as_said()
        try:
            data = context.encode(value)
        except Exception as error:
            return self.unserialisable(x, context, error)
        return context.answer(data)

    cdef int unserialisable(self, Exchange x, ServicerContext context, object error) except -1:
        cdef str reason
        log_failure(x, error, "gave what cannot be serialised")
        reason = hidden(x, error, "the response message could not be serialised")
        return context.end_call(CODE_INTERNAL, reason)

    cdef int fail(self, Exchange x, object error) except -1:
        cdef ServicerContext context
        cdef bint cancelled = isinstance(error, asyncio.CancelledError)
        if x.ended or x.gone != GONE_NOT:
            if x.ended and not cancelled and not is_abort(error):
                log_failure(x, error, "failed after its call was over")
            return x.finish()
        context = <ServicerContext>x.call
        context.task = None
        if context.aborted:
            if not cancelled and not is_abort(error):
                log_failure(x, error, "failed after it had aborted its call")
            return context.end_as_said()
        if cancelled:
            return context.end_call(CODE_CANCELLED, "the handler was cancelled")
        code, details = self.explain(x, context, error)
        return context.end_call(code, details)

    cdef tuple explain(self, Exchange x, ServicerContext context, object error):
        """Code and details of an exception; what nobody foresaw is logged, its text kept from the caller."""
        cdef object known = None
        cdef int code = context.status_code
        if isinstance(error, NotImplementedError) and code == CODE_UNIMPLEMENTED:
            # What servicers that protoc generated do for methods that nobody wrote.
            return code, context.status_details or "the method is not implemented"
        if self.translate is not None:
            known = self.translate(error)
        if known is not None:
            return known if code == CODE_OK else (code, context.status_details or known[1])
        log_failure(x, error, "failed")
        if code == CODE_OK:
            code = CODE_UNKNOWN
        return code, context.status_details or hidden(x, error, "Unexpected failure")


async def _run_in_thread(Exchange x, call):
    """What a call returns that runs in the pool of threads, with the context variables of this Task."""
    cdef LoopLocal local = x.connection.local
    cdef object run = context_for(x).run
    if local.executor is None:
        result = await local.loop.run_in_executor(None, run, call)
    else:
        result = await asyncio.wrap_future(local.executor.submit(run, call), loop=local.loop)
    # Compiled or decorated coroutine functions do not always look like what they are.
    return await result if hasattr(type(result), "__await__") else result


cdef object run_in_thread(Exchange x, object call):
    return _run_in_thread(x, call)


async def _await_it(awaitable):
    """A coroutine of something that can be awaited."""
    return await awaitable


async def _messages_of(Exchange x, result, bint bound, bint in_thread):
    cdef object source = result
    if bound:
        return from_thread(x, result)
    if hasattr(type(source), "__await__"):
        source = await source
    if source is None or hasattr(type(source), "__aiter__"):
        return source
    if not hasattr(type(source), "__iter__") or isinstance(source, (bytes, str)):
        raise TypeError(f"a streaming method yields its messages, or writes them; it returned {source!r:.100}")
    return from_thread(x, functools.partial(_same, source)) if in_thread else _on_loop(source)


cdef object messages_of(Exchange x, object result, bint bound, bint in_thread):
    return _messages_of(x, result, bound, in_thread)


async def _send_messages(
    GrpcEndpoint endpoint, Exchange x, ServicerContext context, result, bint bound, bint in_thread
):
    """Send what a streaming handler gives: each message as it comes, waiting while the peer is slow."""
    cdef object source = await _messages_of(x, result, bound, in_thread)
    cdef bytes data
    if source is None:
        # It has written to the context, or nothing.
        return None
    try:
        async for message in source:
            context.check_open()
            try:
                data = context.encode(message)
            except Exception as error:
                endpoint.unserialisable(x, context, error)
                break
            if not context.push(data):
                await context.settle()
    finally:
        if hasattr(type(source), "aclose"):
            await source.aclose()
    return None


cdef object send_messages(
    GrpcEndpoint endpoint, Exchange x, ServicerContext context, object result, bint bound, bint in_thread
):
    return _send_messages(endpoint, x, context, result, bound, in_thread)


def _same(value):
    return value


async def _on_loop(source):
    """The items of an iterator that does not block."""
    try:
        for item in source:
            yield item
    finally:
        if hasattr(type(source), "close"):
            source.close()


cdef bint is_abort(object error) except -1:
    return type(error).__name__ == "AbortError"


cdef int log_failure(Exchange x, object error, str what) except -1:
    cdef str identity = request_id(x)
    log.error("gRPC %s %s [request %s]", x.path_text(), what, identity, exc_info=error, extra={"request_id": identity})
    return 0


cdef str hidden(Exchange x, object error, str sentence):
    """A sentence with the request's id, by which the log has the reason; with App(debug=True), the reason."""
    cdef str text = f"{sentence} (request {request_id(x)})"
    if x.route is not None and getattr(x.route.app, "debug", False):
        text += f": {type(error).__qualname__}: {error}"[:MAX_DEBUG_TEXT]
    return text


@cython.final
cdef class GrpcFallback(Endpoint):
    """Answers calls of methods that have no route.

    ``find(path, metadata)`` may still give their ``GrpcEndpoint``; otherwise ``missing`` answers, which has
    interceptors and no handler (``missing_unary``: calls that are no gRPC); without it they end with ``code``
    and ``details``. ``dialects`` takes the requests that are no gRPC but calls, ``refusals`` answers all others.
    """

    def __init__(
        self, *, HttpEndpoint refusals not None, find=None, int code=CODE_UNIMPLEMENTED,
        str details="Method not found!", Dialects dialects=None, GrpcEndpoint missing=None,
        GrpcEndpoint missing_unary=None,
    ):
        self.find = find
        self.missing = missing
        self.missing_unary = missing_unary
        self.code = code
        self.details = details
        self.refusals = refusals
        self.encoder = GrpcEncoder()
        self.dialects = dialects or Dialects()
        self.body_mode = BODY_STREAM
        self.takes_refusals = True

    cdef int start(self, Exchange x) except -1:
        cdef GrpcEndpoint found = None
        cdef bint failed = False
        cdef int code = self.code
        cdef str details = self.details
        cdef bint plain = is_grpc(x.head)
        if x.refusal is not None:
            return refuse_call(x, self.refusals, self.encoder, self.dialects)
        if not plain and not self.dialects.speaks(x):
            return refuse_media_type(self.refusals, x)
        if self.find is not None and binary_fields_valid(x.head):
            try:
                found = self.find(x.path_text(), decode_metadata(x.head))
            except Exception as error:
                failed = True
                log_failure(x, error, "could not be looked up")
                code = CODE_UNKNOWN
                details = hidden(x, error, "Unexpected failure")
        if found is None and not failed:
            found = self.missing if plain else self.missing_unary
        if found is not None:
            return found.start(x)
        if not plain:
            return self.dialects.end(x, code, details)
        self.encoder.send_head(x, None, COMPRESSION_NONE)
        return self.encoder.send_end(x, code, details, None)


@cython.final
cdef class GrpcCall(Responder):
    """The request side of one call."""

    cdef int open(self, Exchange x) except -1:
        cdef HeaderBlock head = x.head
        cdef ServicerContext context = self.context
        cdef const Field* field = head.find(HEADER_GRPC_TIMEOUT)
        cdef int64_t microseconds
        if field is not NULL:
            microseconds = parse_timeout(head.at(field.value), field.value.size)
            if microseconds < 0:
                context.end_call(CODE_INTERNAL, "grpc-timeout is malformed")
                return 0
            if microseconds == 0:
                context.end_call(CODE_DEADLINE_EXCEEDED, "the deadline of the call has passed")
                return 0
            context.arm(microseconds)
        field = head.find(HEADER_GRPC_ENCODING)
        if field is not NULL:
            self.compression = compression_named(head.at(field.value), field.value.size)
            if self.compression == COMPRESSION_UNKNOWN:
                context.encoder.send_accepted(x)
                context.end_call(CODE_UNIMPLEMENTED, "nobody here knows the compression of the messages")
                return 0
        if not binary_fields_valid(head):
            context.end_call(CODE_INTERNAL, "a binary metadata value is not base64")
            return 0
        return 1

    cdef int on_data(self, Exchange x, char* data, Py_ssize_t size) except -1:
        cdef RequestStream requests = self.requests
        cdef size_t used = 0, consumed = 0
        cdef ReadEvent event
        cdef str reason
        if requests is not None:
            requests.feed(x, data, size)
            if requests.code:
                return self.context.refuse_requests()
            return 0 if requests.message is None else requests.wake(True)
        while not x.ended:
            event = self.reader.next(data + used, <size_t>size - used, &consumed)
            used += consumed
            if event == ReadEvent.NEED_DATA:
                return x.hold(<int64_t>self.reader.held())
            if event == ReadEvent.FAILED:
                reason = self.reader.reason[:strlen(self.reader.reason)].decode("ascii")
                return self.refuse(x, self.reader.status, reason)
            self.take(x)
        return 0

    cdef int take(self, Exchange x) except -1:
        """The message is there."""
        cdef object found
        if self.message is not None:
            return self.context.end_call(CODE_UNIMPLEMENTED, "the call takes one message, not several")
        found = unpacked(self.reader, self.compression)
        if type(found) is not bytes:
            code, reason = found
            return self.refuse(x, code, reason)
        self.message = <bytes>found
        return 0

    cdef int refuse(self, Exchange x, int code, str reason) except -1:
        if code == CODE_RESOURCE_EXHAUSTED:
            x.connection.over_limit(LIMIT_MESSAGE, <double>self.endpoint.max_message, CUT_CALL)
        return self.context.end_call(code, reason)

    cdef int on_end(self, Exchange x) except -1:
        cdef bytes message
        if self.requests is not None:
            self.requests.feed_end()
            return self.requests.wake(True)
        if self.context.running:
            return 0
        if not self.reader.at_boundary():
            return self.context.end_call(CODE_INTERNAL, "the request ended within a message")
        if self.message is None:
            return self.context.end_call(CODE_UNIMPLEMENTED, "the call takes one message, not none")
        message = self.message
        self.message = None
        return self.endpoint.call(x, self.context, message)

    cdef int on_writable(self, Exchange x) except -1:
        return self.context.writable()

    cdef int on_gone(self, Exchange x, int why) except -1:
        cdef ServicerContext context = self.context
        context.disarm()
        if not context.running:
            return x.finish()
        return context.break_off()
