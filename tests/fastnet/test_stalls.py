"""Who blocks the loop is named, with the stack at that moment: once, and only who blocks it."""

from __future__ import annotations

import asyncio
import logging
import pdb
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated, Any

import grpc
import pytest

from fastnet import App, Depends, Request, Response, WebSocket
from fastnet.debugging.stalls import StallDetector
from fastnet_ext.net.loop_state import LoopState
from tests.protos import greeter
from tests.wire.live import Live, live, until

pb, pb_grpc = greeter()

THRESHOLD = 0.2
BLOCKED = 0.8

HAND_SHAKE = (
    "upgrade: websocket",
    "connection: Upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)


def block() -> None:
    time.sleep(BLOCKED)


class Servicer(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    async def SayHello(self, request: Any, context: Any) -> Any:
        block()
        return pb.HelloReply(message="hello")


def make_app() -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/async")
    async def async_handler() -> str:
        block()
        return "blocked"

    @app.get("/later")
    async def later_handler() -> str:
        await asyncio.sleep(0.01)
        block()
        return "blocked"

    @app.get("/inline", inline=True)
    def inline_handler() -> str:
        block()
        return "blocked"

    async def dependency() -> str:
        block()
        return "value"

    @app.get("/dependency")
    async def depends(value: Annotated[str, Depends(dependency)]) -> str:
        return value

    @app.middleware
    async def middleware(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if "x-block" in request.headers:
            block()
        return await call_next(request)

    @app.websocket("/ws")
    async def websocket_handler(ws: WebSocket) -> None:
        async for message in ws:
            block()
            await ws.send(message)

    @app.get("/thread")
    def thread_handler() -> str:
        block()
        return "worked"

    @app.get("/yields")
    async def yielding_handler() -> str:
        end = time.monotonic() + BLOCKED
        while time.monotonic() < end:
            time.sleep(0.01)  # noqa: ASYNC251
            await asyncio.sleep(0)
        return "worked"

    @app.get("/spins")
    async def spinning_handler() -> str:
        end = time.monotonic() + BLOCKED
        while time.monotonic() < end:
            pass
        return "blocked"

    pb_grpc.add_GreeterServicer_to_server(Servicer(), app.grpc)
    return app


@pytest.fixture
def server() -> Iterator[Live]:
    with live(make_app(), stall_threshold=THRESHOLD) as running:
        yield running


@pytest.fixture
def stalls(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "fastnet.stall")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "fastnet.stall"]


Stalls = Callable[[], list[str]]


@pytest.mark.parametrize(
    ("path", "fields", "handler", "function"),
    [
        ("/async", (), "async_handler", "async_handler"),
        ("/later", (), "later_handler", "later_handler"),
        ("/inline", (), "inline_handler", "inline_handler"),
        ("/dependency", (), "depends", "dependency"),
        ("/", ("x-block: 1",), "index", "middleware"),
        ("/spins", (), "spinning_handler", "spinning_handler"),
    ],
)
def test_who_blocks_the_loop_is_named_once(
    server: Live, stalls: Stalls, path: str, fields: tuple[str, ...], handler: str, function: str
) -> None:
    with server.peer() as peer:
        assert peer.get(path, "x-request-id: the-id", *fields).answer().status == 200
    until(lambda: len(stalls()) == 2)
    report, end = stalls()
    first, *stack = report.splitlines()
    assert first.startswith("the event loop has stood still for 0.")
    assert f"for GET {path} by make_app.<locals>.{handler} (tests/fastnet/test_stalls.py:" in first
    assert first.endswith("[request the-id]")
    assert any(f"in make_app.<locals>.{function}: " in line for line in stack)
    assert "asyncio/runners.py" not in report or server.loop.__class__.__module__.startswith("asyncio")
    if function != "spinning_handler":
        assert first.partition(": ")[2].startswith("block (tests/fastnet/test_stalls.py:")
        assert stack[-1].endswith("in block: time.sleep(BLOCKED)")
    # In all, at least what was slept less the time until the next question.
    assert end.startswith("the event loop goes on after ")
    assert float(end.split()[-2]) > THRESHOLD


def test_a_websocket_handler(server: Live, stalls: Stalls) -> None:
    with server.peer() as peer:
        peer.get("/ws", *HAND_SHAKE).answer()
        peer.send(b"\x81\x81\0\0\0\0a")
        assert peer.exactly(3) == b"\x81\x01a"
        until(lambda: len(stalls()) == 2)
        assert "for GET /ws by make_app.<locals>.websocket_handler (" in stalls()[0]
        assert "in make_app.<locals>.websocket_handler: block()" in stalls()[0]


def test_a_grpc_handler(server: Live, stalls: Stalls) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert pb_grpc.GreeterStub(channel).SayHello(pb.HelloRequest(name="a"), timeout=20).message == "hello"
    until(lambda: len(stalls()) == 2)
    assert "for POST /greeter.Greeter/SayHello by " in stalls()[0]
    assert "in Servicer.SayHello: block()" in stalls()[0]


def test_what_is_no_handler(server: Live, stalls: Stalls) -> None:
    server.call(block)
    until(lambda: len(stalls()) == 2)
    assert "block (tests/fastnet/test_stalls.py:" in stalls()[0]
    assert "[request" not in stalls()[0]


@pytest.mark.parametrize("path", ["/thread", "/yields", "/"])
def test_who_does_not_block_it_is_not(server: Live, stalls: Stalls, path: str) -> None:
    with server.peer() as peer:
        assert peer.get(path).answer().status == 200
    server.run(asyncio.sleep(2 * THRESHOLD))
    assert stalls() == []


def watching() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "fastnet-stalls"}


def test_it_can_be_turned_off(stalls: Stalls) -> None:
    # Those of servers that have just stopped may still be ending.
    before = watching()
    with live(make_app(), stall_threshold=0) as server, server.peer() as peer:
        assert watching() <= before
        assert peer.get("/async").answer().status == 200
    assert stalls() == []


def test_the_thread_ends_with_the_server() -> None:
    def watching() -> bool:
        return any(thread.name == "fastnet-stalls" for thread in threading.enumerate())

    with live(make_app(), stall_threshold=THRESHOLD):
        assert watching()
    until(lambda: not watching())


def test_a_breakpoint_is_no_stall(server: Live, stalls: Stalls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person looks at it: the stack goes through the debugger's waiting for input."""
    entered = threading.Event()

    def read(self: pdb.Pdb) -> str:
        entered.set()
        block()
        return "continue"

    def stop() -> None:
        debugger = pdb.Pdb(nosigint=True)
        monkeypatch.setattr(debugger, "cmdloop", lambda: read(debugger))
        namespace = {"__name__": "pdb", "wait": debugger.cmdloop}
        exec("def interaction():\n    wait()", namespace)
        namespace["interaction"]()  # type: ignore[operator]

    server.call(stop)
    assert entered.is_set()
    server.run(asyncio.sleep(2 * THRESHOLD))
    assert stalls() == []


def test_the_looks_are_few() -> None:
    async def interval(threshold: float) -> float:
        loop = asyncio.get_running_loop()
        return StallDetector(LoopState(loop), loop, threshold)._interval

    assert [asyncio.run(interval(seconds)) for seconds in (0.001, 1.0, 60.0)] == [0.01, 0.25, 0.5]
