"""One ASGI request: what the engine adds to an application that sends a small answer.

``test_application`` is the work that any server has: a coroutine that takes one message and sends two.
``test_connection`` does the same behind an HTTP/1 connection whose input is at hand (a hundred requests in one read,
without a socket).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, cast

import pytest

from benches.micro.sink import Sink
from fastnet import App
from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.memory import MemoryConnection, MemoryExchange
from fastnet_ext.exchange.request import request_for
from fastnet_ext.net.accepted import AcceptedConnection
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.net.protocols import OnePort
from fastnet_ext.net.service import Service
from fastnet_ext.serve.asgi import request_side
from fastnet_ext.serve.asgi_scope import AsgiApplication
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan

BATCH = 100
SMALL = [(b"host", b"localhost:8000"), (b"user-agent", b"wrk/4.1"), (b"accept", b"*/*")]
BROWSER = [
    (b"host", b"www.example.com"),
    (b"connection", b"keep-alive"),
    (b"cache-control", b"max-age=0"),
    (b"sec-ch-ua", b'"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'),
    (b"upgrade-insecure-requests", b"1"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (b"sec-fetch-site", b"none"),
    (b"sec-fetch-mode", b"navigate"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-US,en;q=0.9"),
    (b"cookie", b"session=0123456789abcdef0123456789abcdef; theme=dark"),
]
REQUEST = {"type": "http.request", "body": b"", "more_body": False}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"Hello, World!"})


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_application(benchmark: Any) -> None:
    """Without a server: the floor."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return REQUEST

    async def send(message: dict[str, Any]) -> None:
        sent[:] = [message]

    def run() -> None:
        coroutine = application({}, receive, send)
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError

    benchmark(run)
    assert sent[0]["body"] == b"Hello, World!"


@pytest.mark.parametrize("fields", [pytest.param(SMALL, id="small"), pytest.param(BROWSER, id="browser")])
def test_connection(benchmark: Any, loop: asyncio.AbstractEventLoop, fields: list[tuple[bytes, bytes]]) -> None:
    """A hundred pipelined requests of one read, answered in one write."""
    app = App()
    app.mount("/", application, lifespan="off")
    state = LoopState(loop)
    connection = AcceptedConnection(state, Service(app.build(), OnePort()))
    sink = Sink()
    connection.connection_made(cast(Any, sink))
    head = b"".join(b"%b: %b\r\n" % field for field in fields)
    batch = (b"GET / HTTP/1.1\r\n" + head + b"\r\n") * BATCH

    def receive() -> None:
        connection.get_buffer(-1)[: len(batch)] = batch
        connection.buffer_updated(len(batch))

    for _ in range(3):
        # The first requests come to their end in Tasks, which then wait for the next ones.
        receive()
        loop.run_until_complete(asyncio.sleep(0.01))
    benchmark.extra_info["items"] = BATCH
    benchmark(receive)
    assert sink.latest.count(b"Hello, World!") == BATCH
    assert state.counters["requests_active"] == 0
    connection.connection_lost(None)
    state.close()


@pytest.mark.parametrize("fields", [pytest.param(SMALL, id="small"), pytest.param(BROWSER, id="browser")])
def test_scope(benchmark: Any, loop: asyncio.AbstractEventLoop, fields: list[tuple[bytes, bytes]]) -> None:
    """What an application is told of one request."""
    connection = MemoryConnection(LoopState(loop).local)
    route = Route(HttpEndpoint(CallPlan(lambda: None)), path="/{path:path}", param_names=("path",))
    x = MemoryExchange("GET", "/?a=1", fields, route=route, params=("",), connection=connection)
    request = request_for(x)
    scope, _ = benchmark(request_side, AsgiApplication(application), request, None)
    assert scope["headers"] == fields
