# cython: freethreading_compatible=True
"""Runs plain HTTP handlers and turns what they return into answers."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize

import asyncio
import functools
import logging

from fastnet_ext.exchange.errors import HandlerTimeout
from fastnet_ext.exchange.exchange cimport (
    BODY_IGNORE, BODY_LATE, BODY_WHOLE, OVERDUE_ANSWERED, OVERDUE_CANCELLED, Exchange, LoopLocal, Route,
)
from fastnet_ext.exchange.head cimport ResponseHead, status_has_body
from fastnet_ext.exchange.request cimport request_of
from fastnet_ext.exchange.response cimport Response, Stream, content_type_of
from fastnet_ext.serve.compression cimport BodyCoder
from fastnet_ext.serve.events cimport EventStream, send_events
from fastnet_ext.serve.json cimport JsonEncoder
from fastnet_ext.serve.plan cimport CallPlan
from fastnet_ext.serve.runner cimport AsyncEndpoint, CancelTask, Runner, RunnerPool, context_for

# Bytes that a stream may send before the loop gets a turn.
cdef Py_ssize_t BURST = 64 * 1024

cdef extern from "fastnet_ext/serve/values.h":
    bint is_stream "fn_is_stream" (object value) noexcept


cdef object log = logging.getLogger("fastnet.error")

cdef dict MODES = {"async": MODE_ASYNC, "inline": MODE_INLINE, "thread": MODE_THREAD}

# The code a carrier is given to abort an answer that failed midway: INTERNAL_ERROR of RFC 9113, 7.
cdef int INTERNAL_ERROR = 2


cdef class HttpEndpoint(AsyncEndpoint):
    """Answers the requests of a route by calling a handler.

    ``mode``: ``"async"`` when the plan's call returns a coroutine, ``"inline"`` when it returns
    the result (or a generator), ``"thread"`` when it may block. ``body``: ``"none"``, ``"whole"``
    (the handler starts when the body is complete) or ``"late"`` (the handler reads it itself).
    ``stream_type``: the media type of what a generator yields; without it the first item decides.
    """

    def __init__(
        self, CallPlan plan, *, str mode="async", str body="none", int status_code=200, bint none_is_empty=False,
        JsonEncoder encoder=None, str stream_type=None,
    ):
        self.takes_refusals = True
        self.plan = plan
        self.mode = MODES[mode]
        self.body_mode = {"none": BODY_IGNORE, "whole": BODY_WHOLE, "late": BODY_LATE}[body]
        self.status_code = status_code
        self.none_is_empty = none_is_empty or not status_has_body(status_code)
        self.encoder = encoder if encoder is not None else JsonEncoder()
        self.stream_type = stream_type
        self.text_head = ResponseHead(status_code, [(b"content-type", b"text/plain; charset=utf-8")])
        self.bytes_head = ResponseHead(status_code, [(b"content-type", b"application/octet-stream")])
        self.json_head = ResponseHead(status_code, [(b"content-type", b"application/json")])
        self.empty_head = ResponseHead(204 if none_is_empty and status_code == 200 else status_code)

    cdef int start(self, Exchange x) except -1:
        cdef object result
        cdef RunnerPool pool
        cdef Runner runner
        try:
            if x.refusal is not None and not self.chained:
                raise x.refusal
            if x.body_error is not None and self.body_mode == BODY_WHOLE:
                raise x.body_error
            result = self.plan.call(x)
            if self.mode == MODE_THREAD:
                result = self._in_thread(x, result)
            elif self.mode == MODE_INLINE:
                result = self.answer(x, result)
                if result is None:
                    result = self.after(x)
        except Exception as error:
            result = self.on_exception(x, error)
        if result is None:
            return 0
        pool = <RunnerPool>x.connection.local.runners
        runner = pool.run(self, x, result)
        if not x.finished:
            x.task = runner.task
        if x.route.cancel_on_disconnect and not x.ended and x.responder is None and runner.task is not None:
            x.responder = CancelTask(runner.task)
        return 0

    async def _in_thread(self, Exchange x, call):
        """Run the bound call in the pool of threads, with the context variables of this Task."""
        cdef LoopLocal local = x.connection.local
        future = local.executor.submit(context_for(x).run, call)
        try:
            return await asyncio.wrap_future(future, loop=local.loop)
        except asyncio.CancelledError:
            if x.overdue == OVERDUE_CANCELLED and not future.cancelled():
                # Nothing ends a thread: it runs on, and is counted.
                local.overdue_threads.append(future)
            raise

    # --- what becomes of the handler's outcome

    cdef object on_result(self, Exchange x, object value):
        cdef object following
        if x.ended or x.gone:
            return self.after(x)
        try:
            following = self.answer(x, value)
        except Exception as error:
            return self.on_exception(x, error)
        return following if following is not None else self.after(x)

    cdef object on_exception(self, Exchange x, object error):
        cdef object response
        error = as_raised(x, error)
        if x.ended or x.gone:
            if x.ended and not isinstance(error, asyncio.CancelledError):
                log.error("a handler failed after its answer was complete: %r", x.route, exc_info=error)
            return self.after(x)
        if x.status:
            if not isinstance(error, asyncio.CancelledError):
                log.error("an answer failed midway: %r", x.route, exc_info=error)
            x.abort(INTERNAL_ERROR)
            return self.after(x)
        if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, SystemExit)):
            x.abort(INTERNAL_ERROR)
            return self.after(x)
        try:
            response = x.route.on_error(request_of(x), error)
            if not isinstance(response, Response):
                return response
            return self.answer_response(x, <Response>response)
        except Exception:
            log.exception("the error of a handler could not be rendered: %r", x.route)
            x.abort(INTERNAL_ERROR)
            return self.after(x)

    cdef object after(self, Exchange x):
        """The answer is complete, or nobody is there to receive it."""
        x.finish()
        return None

    # --- values to answers

    cdef object answer(self, Exchange x, object value):
        cdef type kind = type(value)
        if kind is str:
            return self.answer_text(x, <str>value)
        elif kind is dict or kind is list:
            return self.answer_json(x, value)
        elif value is None:
            if self.none_is_empty:
                x.respond(self.empty_head, NULL, 0, None)
            else:
                x.respond(self.json_head, b"null", 4, b"null")
        elif isinstance(value, Response):
            return self.answer_response(x, <Response>value)
        elif kind is bytes:
            return self.answer_bytes(x, self.bytes_head, <bytes>value)
        elif kind is bytearray or kind is memoryview:
            return self.answer(x, bytes(value))
        elif is_stream(value):
            return self.stream(x, value, None)
        else:
            return self.answer_json(x, value)
        return None

    cdef object answer_text(self, Exchange x, str text):
        cdef Py_ssize_t size = 0
        cdef const char* data = PyUnicode_AsUTF8AndSize(text, &size)
        if self.compression is not None:
            return self.compression.respond(x, self.text_head, data, size, text)
        x.respond(self.text_head, data, size, text)
        return None

    cdef object answer_json(self, Exchange x, object value):
        return self.answer_bytes(x, self.json_head, <bytes>self.encoder.encode(value))

    cdef object answer_bytes(self, Exchange x, ResponseHead head, bytes data):
        cdef const char* start = PyBytes_AS_STRING(data)
        if self.compression is not None:
            return self.compression.respond(x, head, start, PyBytes_GET_SIZE(data), data)
        x.respond(head, start, PyBytes_GET_SIZE(data), data)
        return None

    cdef object answer_response(self, Exchange x, Response response):
        cdef ResponseHead head = response.head()
        if isinstance(response, EventStream) and response.chunks is not None:
            return events_of(self, x, <EventStream>response, head)
        if response.chunks is not None:
            return send_stream(self, x, response.chunks, head, response if isinstance(response, Stream) else None)
        return self.answer_bytes(x, head, response.content)

    def to_response(self, value):
        """The ``Response`` that a handler's return value stands for: what middleware sees."""
        cdef type kind = type(value)
        if isinstance(value, Response):
            return value
        if value is None and self.none_is_empty:
            return Response(status_code=self.empty_head.status)
        if kind is str:
            return Response(value, status_code=self.status_code, media_type="text/plain")
        if kind is bytes or kind is bytearray or kind is memoryview:
            return Response(bytes(value), status_code=self.status_code, media_type="application/octet-stream")
        if is_stream(value):
            return Stream(value, status_code=self.status_code, media_type=self.stream_type)
        return Response(self.encoder.encode(value), status_code=self.status_code, media_type="application/json")

    # --- streams

    cdef object stream(self, Exchange x, object iterable, ResponseHead head):
        """The coroutine that sends an iterable's items."""
        if head is None and self.stream_type is not None:
            head = ResponseHead(
                self.status_code, [(b"content-type", content_type_of(self.stream_type).encode("latin-1"))]
            )
        return send_stream(self, x, iterable, head, None)

    cdef BodyCoder send_head(self, Exchange x, ResponseHead head):
        """The head of a stream; what its body goes through, None when it is sent as it is."""
        cdef BodyCoder coder
        if self.compression is None:
            x.send_head(head, head.content_length)
            return None
        coder = self.compression.send_head(x, head)
        if coder is not None and not x.gone:
            coder.task = (<CancelTask>x.responder).task
            x.responder = coder
        return coder

    cdef ResponseHead stream_head(self, object first, ResponseHead head):
        """The head with the type of the first item: text, bytes, or typed values as JSON Lines."""
        cdef bytes media_type
        cdef ResponseHead typed
        if isinstance(first, str):
            media_type = b"text/plain; charset=utf-8"
        elif isinstance(first, (bytes, bytearray, memoryview)):
            media_type = b"application/octet-stream"
        else:
            media_type = b"application/jsonl"
        if head is None:
            return ResponseHead(self.status_code, [(b"content-type", media_type)])
        typed = ResponseHead(head.status, [(b"content-type", media_type), *head.fields])
        typed.content_length = head.content_length
        typed.close = head.close
        return typed


cdef object as_raised(Exchange x, object error):
    if x.overdue != OVERDUE_CANCELLED or x.status or x.gone or not isinstance(error, asyncio.CancelledError):
        return error
    x.overdue = OVERDUE_ANSWERED
    if x.task is not None:
        # As asyncio.timeout does: the cancellation was ours, and has arrived.
        x.task.uncancel()
    return HandlerTimeout()


async def send_stream(HttpEndpoint endpoint, Exchange x, iterable, ResponseHead head, Stream response):
    """Send each item as it comes; waits while the peer is slow, closes the source at the end."""
    cdef bytes chunk
    cdef object source = iterable
    cdef LoopLocal local = x.connection.local
    cdef Py_ssize_t burst = 0
    cdef BodyCoder coder = None
    cdef int goes_on
    if not hasattr(type(source), "__aiter__"):
        source = iterate_in_threads(iter(source), x)
    x.responder = CancelTask(asyncio.current_task())
    try:
        if head is not None and (head.has_type or (response is not None and response.untyped)):
            coder = endpoint.send_head(x, head)
        if not x.gone and (not x.is_head or not x.status):
            async for item in source:
                if not x.status:
                    coder = endpoint.send_head(x, endpoint.stream_head(item, head))
                if x.is_head:
                    break
                if isinstance(item, str):
                    chunk = item.encode("utf-8")
                elif isinstance(item, bytes):
                    chunk = item
                elif isinstance(item, (bytearray, memoryview)):
                    chunk = bytes(item)
                else:
                    chunk = endpoint.encoder.encode(item) + b"\n"
                if x.gone:
                    # It went before this Task took its first step, and nobody was there to be cancelled.
                    break
                if not chunk:
                    continue
                burst += PyBytes_GET_SIZE(chunk)
                if coder is None:
                    goes_on = x.send_data(PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk), chunk)
                elif coder.is_large(PyBytes_GET_SIZE(chunk)):
                    goes_on = await coder.write_in_thread(chunk)
                else:
                    goes_on = coder.write(chunk)
                if goes_on == 0:
                    burst = 0
                    x.drain_waiter = local.loop.create_future()
                    await x.drain_waiter
                elif burst > BURST:
                    # A source that never waits, and a peer as quick as we are: the others get a turn.
                    burst = 0
                    await asyncio.sleep(0)
        if not x.status:
            x.send_head(endpoint.stream_head("", head), -1)
        if coder is not None:
            coder.finish()
        x.end(None if response is None else response.trailer_fields())
    finally:
        x.responder = None
        if coder is not None:
            coder.close()
        if hasattr(source, "aclose"):
            await source.aclose()
    return None


cdef object events_of(HttpEndpoint endpoint, Exchange x, EventStream response, ResponseHead head):
    """The coroutine that sends a stream of events."""
    cdef object source = response.chunks
    if not hasattr(type(source), "__aiter__"):
        source = iterate_in_threads(iter(source), x)
    if response.subscribe is not None:
        source = response.subscribe(request_of(x), source)
    return send_events(x, response, source, endpoint.encoder, head, endpoint.compression)


async def iterate_in_threads(iterator, Exchange x):
    """A synchronous iterator's items, each fetched in the pool of threads."""
    cdef object end = object()
    cdef LoopLocal local = x.connection.local
    cdef object context = context_for(x)
    try:
        while True:
            item = await asyncio.wrap_future(
                local.executor.submit(context.run, next, iterator, end), loop=local.loop
            )
            if item is end:
                return
            yield item
    finally:
        if hasattr(iterator, "close"):
            await asyncio.wrap_future(local.executor.submit(context.run, iterator.close), loop=local.loop)


def bind_call(function):
    """A callable that binds its arguments to ``function`` and leaves the call to somebody else."""
    return functools.partial(functools.partial, function)
