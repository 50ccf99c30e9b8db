"""The contract in the test clients of others, which call the app in the process of the test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fastnet import App, Request, WebSocket
from fastnet_ext.net.asgi_errors import AnswerAborted
from tests.asgi.contract import app as contract
from tests.loops import run

starlette = pytest.importorskip("starlette")
testclient = pytest.importorskip("starlette.testclient")
applications = pytest.importorskip("starlette.applications")
responses = pytest.importorskip("starlette.responses")
routing = pytest.importorskip("starlette.routing")
base = pytest.importorskip("starlette.middleware.base")


# --- Starlette's TestClient


def test_requests() -> None:
    with testclient.TestClient(contract) as client:
        assert client.get("/").text == "Hello, World!"
        assert client.get("/ready").json() is True
        assert client.get("/users/7?verbose=true").json() == {"id": 7, "verbose": True}
        assert client.post("/users", json={"name": "ada"}).status_code == 201
        assert client.post("/users", json={"name": ""}).status_code == 422
        assert client.get("/report").text == "line 0\nline 1\nline 2\n"
        assert client.head("/").headers["content-length"] == "13"
        assert client.get("/absent").status_code == 404
        assert client.get("/report/").text == "line 0\nline 1\nline 2\n"  # redirected
        assert client.post("/count", content=b"x" * 1_000_000).json() == {"bytes": 1_000_000}
        assert client.get("/events").text.count("event: tick") == 3


def test_trailers() -> None:
    with testclient.TestClient(contract) as client:
        answer = client.get("/summed")
    assert answer.text == "abc"
    assert list(answer.extensions["http.response.trailers"]) == [(b"x-sum", b"294")]


def test_without_its_context_each_request_has_a_loop_of_its_own() -> None:
    client = testclient.TestClient(contract)
    for _ in range(5):
        assert client.get("/").text == "Hello, World!"
        assert client.get("/fails").status_code == 500


def test_websockets() -> None:
    with testclient.TestClient(contract) as client:
        with client.websocket_connect("/echo", subprotocols=["chat"]) as ws:
            ws.send_text("héllo")
            assert ws.receive_text() == "héllo"
            ws.send_bytes(b"\0\1")
            assert ws.receive_bytes() == b"\0\1"
            ws.send_json({"a": 1})
            assert ws.receive_json() == {"a": 1}
            assert ws.accepted_subprotocol == "chat"
        with client.websocket_connect("/bye") as ws:
            ws.send_text("x")
            assert ws.receive() == {"type": "websocket.close", "code": 4001, "reason": "enough"}
        with pytest.raises(testclient.WebSocketDenialResponse) as refused, client.websocket_connect("/private"):
            raise AssertionError("it was accepted")
        assert refused.value.status_code == 422


def test_an_answer_that_breaks_midway_raises_in_the_test(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "fastnet.error")
    with testclient.TestClient(contract) as client, pytest.raises(AnswerAborted):
        client.get("/breaks")


# --- within applications of others


def test_it_can_be_mounted_in_starlette() -> None:
    outer = applications.Starlette(routes=[routing.Mount("/api", app=contract)])
    with testclient.TestClient(outer) as client:
        assert client.get("/api/").text == "Hello, World!"
        assert client.get("/api/users/7").json()["id"] == 7
        assert client.get("/api/seen").json()["url"] == "http://testserver/api/seen"
        with client.websocket_connect("/api/echo") as ws:
            ws.send_text("x")
            assert ws.receive_text() == "x"


def test_middleware_of_starlette_surrounds_it() -> None:
    class Stamp(base.BaseHTTPMiddleware):  # type: ignore[misc, name-defined]
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            request.state.user = "ada"
            response = await call_next(request)
            response.headers["x-stamp"] = "1"
            return response

    app = App()

    @app.post("/")
    async def index(request: Request, body: bytes) -> str:
        return f"{request.state.user} {len(body)}"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for i in range(3):
            yield str(i)
            await asyncio.sleep(0.001)

    with testclient.TestClient(Stamp(app)) as client:
        answer = client.post("/", content=b"abc")
        assert (answer.text, answer.headers["x-stamp"]) == ("ada 3", "1")
        assert client.get("/stream").text == "012"


def test_what_is_mounted_in_it_is_hosted_with_it() -> None:
    """Somebody's application in ours in somebody's server: the scope goes through two hands."""

    async def see(request: Any) -> Any:
        body = await request.body()
        return responses.JSONResponse([request.url.path, request.scope["root_path"], list(request.client), len(body)])

    async def echo(ws: Any) -> None:
        await ws.accept()
        await ws.send_text(await ws.receive_text())
        await ws.close(4002)

    routes = [routing.Route("/see", see, methods=["POST"]), routing.WebSocketRoute("/echo", echo)]
    app = App()
    app.mount("/old", applications.Starlette(routes=routes))
    with testclient.TestClient(app) as client:
        assert client.post("/old/see", content=b"abc").json() == ["/old/see", "/old", ["testclient", 50000], 3]
        assert client.get("/old/absent").status_code == 404
        with client.websocket_connect("/old/echo") as ws:
            ws.send_text("x")
            assert ws.receive_text() == "x"
            assert ws.receive()["code"] == 4002


def test_an_app_can_be_mounted_in_an_app() -> None:
    outer = App()
    outer.mount("/inner", contract)
    with testclient.TestClient(outer) as client:
        assert client.get("/inner/ready").json() is True
        assert client.post("/inner/users", json={"name": "ada"}).status_code == 201
        assert client.get("/inner/report").text == "line 0\nline 1\nline 2\n"
        with client.websocket_connect("/inner/echo") as ws:
            ws.send_bytes(b"x")
            assert ws.receive_bytes() == b"x"


# --- the transports of httpx and httpx2


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def within(library: Any, app: Any, body: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        transport = library.ASGITransport(app)
        async with library.AsyncClient(transport=transport, base_url="http://test") as client:
            await body(client)

    run(main())


def test_a_transport(library: Any) -> None:
    async def body(client: Any) -> None:
        assert (await client.get("/")).text == "Hello, World!"
        assert (await client.get("/users/7")).json() == {"id": 7, "verbose": False}
        assert (await client.post("/users", json={"name": "ada"})).status_code == 201
        assert (await client.get("/report")).text == "line 0\nline 1\nline 2\n"
        assert (await client.head("/")).headers["content-length"] == "13"
        assert (await client.get("/fails")).status_code == 500
        assert (await client.get("/seen")).json()["url"] == "http://test/seen"

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * 1000

        assert (await client.post("/count", content=pieces())).json() == {"bytes": 10_000}
        many = await asyncio.gather(*[client.get("/report") for _ in range(50)])
        assert {answer.status_code for answer in many} == {200}

    within(library, contract, body)


def test_a_plain_request_for_a_websocket_is_426(library: Any) -> None:
    app = App()

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        raise AssertionError("no WebSocket was asked for")

    async def body(client: Any) -> None:
        assert (await client.get("/echo")).status_code == 426

    within(library, app, body)
