# cython: freethreading_compatible=True
"""Middleware around a handler: a chain of calls, put together once, at registration.

Each link renders what its callee raises, so that every middleware sees a ``Response``, of errors
too. All run in one task and one context; nothing is buffered.
"""

cimport cython

import asyncio

from fastnet_ext.exchange.exchange cimport BODY_WHOLE, GONE_NOT, Exchange
from fastnet_ext.exchange.request cimport Request
from fastnet_ext.exchange.response cimport Response
from fastnet_ext.serve.http cimport MODE_ASYNC, MODE_THREAD, HttpEndpoint, as_raised
from fastnet_ext.serve.plan import CallPlan, RequestArgument


@cython.final
cdef class HandlerLink:
    """The innermost ``call_next``: calls the handler of an endpoint, and gives its answer as a ``Response``."""

    cdef HttpEndpoint endpoint

    def __init__(self, HttpEndpoint endpoint not None):
        self.endpoint = endpoint

    def __call__(self, Request request not None):
        return _run_handler(self.endpoint, request)


@cython.final
cdef class MiddlewareLink:
    """One middleware and what it goes on with."""

    cdef HttpEndpoint endpoint
    cdef object middleware
    cdef object call_next

    def __init__(self, HttpEndpoint endpoint not None, middleware, call_next):
        self.endpoint = endpoint
        self.middleware = middleware
        self.call_next = call_next

    def __call__(self, Request request not None):
        return _run_middleware(self, request)


async def _run_handler(HttpEndpoint endpoint, Request request):
    cdef Exchange x = request.x
    try:
        if x.refusal is not None:
            raise x.refusal
        if endpoint.body_mode == BODY_WHOLE:
            await request.body()
        result = endpoint.plan.call(x)
        if endpoint.mode == MODE_THREAD:
            result = await endpoint._in_thread(x, result)
        elif endpoint.mode == MODE_ASYNC:
            result = await result
        return endpoint.to_response(result)
    except (Exception, asyncio.CancelledError) as error:
        raised = as_raised(x, error)
        if x.gone != GONE_NOT or isinstance(raised, asyncio.CancelledError):
            raise
        response = x.route.on_error(request, raised)
        return response if isinstance(response, Response) else await response


async def _run_middleware(MiddlewareLink link, Request request):
    cdef Exchange x = request.x
    try:
        response = await link.middleware(request, link.call_next)
        return response if isinstance(response, Response) else link.endpoint.to_response(response)
    except (Exception, asyncio.CancelledError) as error:
        raised = as_raised(x, error)
        if x.gone != GONE_NOT or isinstance(raised, asyncio.CancelledError):
            raise
        response = x.route.on_error(request, raised)
        return response if isinstance(response, Response) else await response


def with_middleware(HttpEndpoint endpoint not None, middleware):
    """The endpoint that runs a chain of middleware, the first one outermost, around another endpoint's handler.

    Each is called as ``await one(request, call_next)``. The body is not read ahead of them.
    Without middleware the endpoint itself is returned.
    """
    cdef object link = HandlerLink(endpoint)
    cdef HttpEndpoint wrapped
    if not middleware:
        return endpoint
    for one in reversed(middleware):
        link = MiddlewareLink(endpoint, one, link)
    wrapped = HttpEndpoint(
        CallPlan(link, [RequestArgument("request")]), mode="async", body="late",
        status_code=endpoint.status_code, encoder=endpoint.encoder, stream_type=endpoint.stream_type,
    )
    wrapped.chained = True
    return wrapped
