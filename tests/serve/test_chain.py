"""The links of a middleware chain; with whole applications: tests/fastnet/test_middleware.py."""

from typing import Any

import pytest

from fastnet_ext.exchange.exchange import LoopLocal, Route
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.request import Request, request_for
from fastnet_ext.exchange.response import Response
from fastnet_ext.serve.chain import HandlerLink, MiddlewareLink, with_middleware
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan

# Nothing here waits, so no loop is asked for anything.
NO_LOOP: Any = None


async def passing(request: Request, call_next: Any) -> Any:
    return await call_next(request)


def finish(awaitable: Any) -> Any:
    """What an awaitable that never waits returns."""
    with pytest.raises(StopIteration) as stop:
        awaitable.send(None)
    return stop.value.value


def test_no_middleware_no_wrapper() -> None:
    endpoint = HttpEndpoint(CallPlan(lambda: "x"))
    assert with_middleware(endpoint, ()) is endpoint
    wrapped = with_middleware(endpoint, (passing,))
    assert isinstance(wrapped, HttpEndpoint)
    assert wrapped is not endpoint


def test_links_give_responses() -> None:
    endpoint = HttpEndpoint(CallPlan(lambda: {"a": 1}), mode="inline", status_code=201)
    link = MiddlewareLink(endpoint, passing, HandlerLink(endpoint))
    response = finish(link(request_for(MemoryExchange())))
    assert (response.status_code, response.body, response.media_type) == (201, b'{"a":1}', "application/json")


def test_links_render_what_is_raised() -> None:
    def failing() -> None:
        raise KeyError("x")

    def on_error(request: Request, error: Exception) -> Response:
        return Response(repr(error), 418)

    endpoint = HttpEndpoint(CallPlan(failing), mode="inline")
    x = MemoryExchange(route=Route(endpoint, on_error=on_error), local=LoopLocal(NO_LOOP))
    response = finish(HandlerLink(endpoint)(request_for(x)))
    assert (response.status_code, response.body) == (418, b"KeyError('x')")


def test_nothing_is_rendered_for_nobody() -> None:
    def failing() -> None:
        raise KeyError("x")

    endpoint = HttpEndpoint(CallPlan(failing), mode="inline")
    x = MemoryExchange(route=Route(endpoint), local=LoopLocal(NO_LOOP))
    request = request_for(x)
    x.disconnect()
    with pytest.raises(KeyError):
        HandlerLink(endpoint)(request).send(None)  # type: ignore[attr-defined]


def test_links_want_an_endpoint() -> None:
    with pytest.raises(TypeError):
        HandlerLink(None)  # type: ignore[arg-type]
