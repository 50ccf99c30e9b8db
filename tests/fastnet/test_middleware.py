"""Middleware: order, one task, errors as responses, nothing buffered."""

import asyncio
import contextvars
import functools
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

from fastnet import App, Body, CallNext, HTTPException, Request, Response, Router
from tests.fastnet.serving import serving


def marking(mark: str, log: list[str]) -> Any:
    async def middleware(request: Request, call_next: CallNext) -> Response:
        log.append(f"+{mark}")
        response = await call_next(request)
        log.append(f"-{mark}")
        return response

    return middleware


def test_order_from_app_to_router() -> None:
    log: list[str] = []
    app, outer, inner = App(middleware=[marking("app1", log)]), Router(), Router(middleware=[marking("inner", log)])
    outer.include(inner, "/in", middleware=[marking("include inner", log)])
    app.include(outer, "/out", middleware=[marking("include outer", log)])
    # Registered after the includes, and counting all the same.
    app.middleware(marking("app2", log))
    outer.middleware(marking("outer", log))

    @inner.get("/x")
    async def handler() -> str:
        log.append("handler")
        return "x"

    @app.get("/y")
    async def other() -> str:
        return "y"

    with serving(app) as client:
        assert client.get("/out/in/x").text == "x"
        names = ["app1", "app2", "include outer", "outer", "include inner", "inner"]
        assert log == [*(f"+{name}" for name in names), "handler", *(f"-{name}" for name in reversed(names))]
        log.clear()
        client.get("/y")
        assert log == ["+app1", "+app2", "-app2", "-app1"]


def test_same_task_and_same_context() -> None:
    app = App()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    tasks: list[Any] = []

    @app.middleware
    async def outer(request: Request, call_next: CallNext) -> Response:
        tasks.append(asyncio.current_task())
        variable.set("by middleware")
        response = await call_next(request)
        response.headers["x-seen"] = variable.get()
        return response

    @app.get("/")
    async def handler() -> str:
        tasks.append(asyncio.current_task())
        seen = variable.get()
        variable.set("by handler")
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())
        return seen

    with serving(app) as client:
        answer = client.get("/")
        assert (answer.text, answer.headers["x-seen"]) == ("by middleware", "by handler")
        assert tasks[0] is tasks[1] is tasks[2] is not None
        # What one request sets is not seen by the next.
        assert client.get("/").text == "by middleware"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/http", 418), ("/boom", 500), ("/nope", 404), ("/slash/", 308), ("/typed/x", 422), ("/thread", 409)],
)
def test_errors_and_fallbacks_are_responses(path: str, status: int) -> None:
    app = App()

    @app.middleware
    async def header(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers["x-status"] = str(response.status_code)
        return response

    @app.get("/http")
    async def http() -> None:
        raise HTTPException(418)

    @app.get("/boom")
    async def boom() -> None:
        raise KeyError("x")

    @app.get("/slash")
    async def slash() -> None: ...

    @app.get("/typed/{n}")
    async def typed(n: int) -> None: ...

    @app.get("/thread")
    def thread() -> None:
        raise HTTPException(409)

    with serving(app) as client:
        answer = client.get(path)
        assert (answer.status, answer.headers["x-status"]) == (status, str(status))
        assert client.request("PATCH", "/http").headers["x-status"] == "405"
        assert client.request("OPTIONS", "/http").headers["x-status"] == "204"


def test_an_inner_middleware_that_raises_is_a_response_to_the_outer_one() -> None:
    app = App()

    @app.middleware
    async def outer(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers["access-control-allow-origin"] = "*"
        return response

    @app.middleware
    async def refusing(request: Request, call_next: CallNext) -> Response:
        raise HTTPException(401, headers={"www-authenticate": "Bearer"})

    @app.get("/")
    async def handler() -> str:
        raise AssertionError("not reached")

    with serving(app) as client:
        answer = client.get("/")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, "*")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_middleware_may_answer_by_any_value_and_change_the_body() -> None:
    app, router = App(), Router()

    @app.middleware
    async def upper(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        assert isinstance(response, Response)
        if response.body is not None:
            response.body = response.body.upper()
        else:
            response.iterator = _upper(response.iterator)
        return response

    async def _upper(chunks: Any) -> AsyncIterator[str]:
        async for chunk in chunks:
            yield chunk.upper()

    @router.middleware
    async def short(request: Request, call_next: CallNext) -> Any:
        return {"short": True} if "short" in request.query_params else await call_next(request)

    @router.get("/x")
    async def handler() -> str:
        return "x"

    @router.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    app.include(router)
    with serving(app) as client:
        assert client.get("/x").text == "X"
        assert client.get("/x?short").text == '{"SHORT":TRUE}'
        assert client.get("/stream").text == "AB"


def test_streams_are_not_buffered() -> None:
    app = App()
    after: list[str] = []

    @app.middleware
    async def passing(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        # The generator has not begun: the body is not gathered before the middleware has it.
        assert after == []
        return response

    @app.get("/")
    async def stream() -> AsyncIterator[str]:
        after.append("begun")
        yield "a"

    with serving(app) as client:
        assert client.get("/").text == "a"
        assert after == ["begun"]


def test_the_body_is_read_by_whoever_wants_it() -> None:
    app = App()

    @app.middleware
    async def reading(request: Request, call_next: CallNext) -> Response:
        if request.method == "POST":
            request.state.size = len(await request.body())
        return await call_next(request)

    @app.post("/typed")
    async def typed(items: Annotated[list[int], Body()], request: Request) -> list[int]:
        return [*items, request.state.size]

    @app.post("/plain")
    async def plain() -> str:
        return "x"

    with serving(app) as client:
        assert client.post("/typed", b"[1, 2]").json == [1, 2, 6]
        assert client.post("/plain", b"12345").text == "x"
        assert client.post("/typed", b"[1, x]").status == 400


def test_a_middleware_may_refuse_before_the_body_is_read() -> None:
    app = App()

    @app.middleware
    async def refusing(request: Request, call_next: CallNext) -> Response:
        raise HTTPException(403)

    @app.post("/")
    async def handler(items: Annotated[list[int], Body()]) -> None: ...

    with serving(app) as client:
        answer = client.request("POST", "/", b"[1, 2", {"content-type": "application/json"})
        assert answer.status == 403


def test_a_refusal_before_the_handler_passes_middleware() -> None:
    app = App(max_body=3)

    @app.middleware
    async def outer(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers["access-control-allow-origin"] = "*"
        return response

    @app.post("/")
    async def handler(body: Annotated[bytes, Body()]) -> None: ...

    with serving(app) as client:
        answer = client.post("/", b"four")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (413, "*")


def test_call_next_twice() -> None:
    app = App()
    calls: list[int] = []

    @app.middleware
    async def retrying(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        return await call_next(request) if response.status_code == 503 else response

    @app.post("/")
    async def handler(n: int, items: Annotated[list[int], Body()]) -> list[int]:
        calls.append(n)
        if len(calls) == 1:
            raise HTTPException(503)
        return items

    with serving(app) as client:
        assert client.post("/?n=1", b"[7]").json == [7]
        assert calls == [1, 1]


async def good(request: Request, call_next: CallNext) -> Response:
    return await call_next(request)


@functools.wraps(good)
def wrapper(request: Request, call_next: CallNext) -> Any:
    return good(request, call_next)


class CallableMiddleware:
    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        return await call_next(request)

    async def method(self, request: Request, call_next: CallNext, extra: int = 0) -> Response:
        return await call_next(request)


@pytest.mark.parametrize("middleware", [good, CallableMiddleware(), CallableMiddleware().method, wrapper])
def test_what_can_be_a_middleware(middleware: Any) -> None:
    app = App(middleware=[middleware])

    @app.get("/")
    async def handler() -> str:
        return "x"

    with serving(app) as client:
        assert client.get("/").text == "x"


def not_async(request: Any, call_next: Any) -> Any: ...


async def one_argument(request: Any) -> Any: ...


async def three_arguments(request: Any, call_next: Any, third: Any) -> Any: ...


@pytest.mark.parametrize(
    "middleware", [None, "x", not_async, one_argument, three_arguments, CallableMiddleware, lambda a, b: a]
)
def test_what_cannot(middleware: Any) -> None:
    app = App()
    for attempt in (
        lambda: app.middleware(middleware),
        lambda: App(middleware=[middleware]),
        lambda: app.include(Router(), middleware=[middleware]),
    ):
        with pytest.raises(TypeError, match="middleware"):
            attempt()
