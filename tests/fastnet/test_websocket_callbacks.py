"""WebSocket routes of callbacks: registration, the order of calls, refusals, failures, backpressure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
import websockets

from fastnet import App, Depends, HTTPException, Router
from fastnet.handlers import HandlerError
from fastnet.websocket import WebSocket, WebSocketDisconnect
from tests.fastnet.test_websocket import dial, refusal
from tests.loops import run
from tests.wire.frames import UPGRADE, masked
from tests.wire.live import live, until


class Point(msgspec.Struct):
    x: int


async def settled(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what peers cause tells nobody that it is done
            await asyncio.sleep(0.002)


def test_the_order_of_calls() -> None:
    async def test() -> None:
        app = App()
        seen: list[Any] = []

        def on_open(ws: WebSocket, room: int) -> None:
            seen.append(("open", room))
            ws.state.room = room

        def on_message(ws: WebSocket, message: str | bytes) -> None:
            seen.append((ws.state.room, message))
            assert ws.send_nowait(message) is True

        def on_close(ws: WebSocket, code: int, reason: str) -> None:
            seen.append(("close", code, reason, ws.closed))

        app.websocket("/{room}", on_open=on_open, on_message=on_message, on_close=on_close, subprotocols=["v1"])
        async with app.serve(port=0) as server:
            async with dial(server, "/7", subprotocols=["v1"]) as client:
                assert client.subprotocol == "v1"
                await client.send("a")
                await client.send(b"b")
                assert [await client.recv(), await client.recv()] == ["a", b"b"]
                await client.close(4000, "tired")
            await settled(lambda: len(seen) == 4)
            assert seen == [("open", 7), (7, "a"), (7, b"b"), ("close", 4000, "tired", True)]
            assert server.counters["requests_active"] == 0

    run(test())


def test_each_callback_may_be_missing() -> None:
    async def test() -> None:
        app = App()
        router = Router()
        got: list[Any] = []

        def greet(ws: WebSocket) -> None:
            ws.send_nowait("hello")

        router.websocket("/greets", on_open=greet)
        router.websocket("/takes", on_message=lambda ws, message: got.append(message))
        app.include(router, "/api")
        async with app.serve(port=0) as server:
            async with dial(server, "/api/greets") as client:
                assert await client.recv() == "hello"
                await client.send("for nobody")
            async with dial(server, "/api/takes") as client:
                await client.send("x")
                await settled(lambda: got == ["x"])

    run(test())


def test_typed_messages() -> None:
    async def test() -> None:
        app = App()

        def on_message(ws: WebSocket[Point, Point], point: Point) -> None:
            ws.send_nowait(Point(point.x + 1))

        app.websocket("/", on_message=on_message)
        async with app.serve(port=0) as server, dial(server, "/") as client:
            await client.send('{"x": 1}')
            assert await client.recv() == '{"x":2}'
            await client.send('{"x": "no"}')
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1007

    run(test())


def test_on_open_refuses() -> None:
    async def test() -> None:
        app = App()
        closed: list[Any] = []

        def on_open(ws: WebSocket, token: str = "") -> None:
            if token != "secret":
                raise HTTPException(403, "wrong token")

        app.websocket("/", on_open=on_open, on_close=lambda *end: closed.append(end))
        async with app.serve(port=0) as server:
            status, _, problem = await refusal(server, "/")
            assert (status, problem["detail"]) == (403, "wrong token")
            assert (await refusal(server, "/", origin="https://elsewhere.example"))[0] == 403
            async with dial(server, "/?token=secret"):
                pass
            await settled(lambda: len(closed) == 1)  # of the one that was open
            assert server.counters["internal"] == 0

    run(test())


def test_dependencies_are_open_until_the_end() -> None:
    async def test() -> None:
        app = App()
        steps: list[str] = []

        async def session() -> AsyncIterator[str]:
            await asyncio.sleep(0)
            steps.append("opened")
            try:
                yield "session"
            finally:
                steps.append("closed")

        def on_open(ws: WebSocket, name: Annotated[str, Depends(session)]) -> None:
            ws.state.name = name

        def on_message(ws: WebSocket, message: str) -> None:
            steps.append(message)
            ws.send_nowait(ws.state.name)

        def on_close(ws: WebSocket, code: int, reason: str) -> None:
            steps.append(str(code))

        app.websocket("/", on_open=on_open, on_message=on_message, on_close=on_close)
        async with app.serve(port=0) as server:
            async with dial(server, "/") as client:
                await client.send("message")
                assert await client.recv() == "session"
            await settled(lambda: len(steps) == 4)
            assert steps == ["opened", "message", "1000", "closed"]
            await settled(lambda: server.counters["requests_active"] == 0)

    run(test())


def test_a_dependency_refuses() -> None:
    async def test() -> None:
        app = App()

        def deny() -> None:
            raise HTTPException(401)

        app.websocket("/", on_message=lambda ws, message: None, dependencies=[Depends(deny)])
        async with app.serve(port=0) as server:
            assert (await refusal(server, "/"))[0] == 401

    run(test())


@pytest.mark.parametrize("where", ["open", "message", "close"])
def test_a_callback_that_raises(where: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        app = App()
        codes: list[int] = []

        def on_open(ws: WebSocket) -> None:
            ws.send_nowait("hello")
            if where == "open":
                raise LookupError("secret")

        def on_message(ws: WebSocket, message: str) -> None:
            if where == "message":
                raise LookupError("secret")

        def on_close(ws: WebSocket, code: int, reason: str) -> None:
            codes.append(code)
            if where == "close":
                raise LookupError("secret")

        app.websocket("/", on_open=on_open, on_message=on_message, on_close=on_close)
        async with app.serve(port=0) as server:
            async with dial(server, "/") as client:
                assert await client.recv() == "hello"
                if where == "message":
                    await client.send("x")
                if where == "close":
                    await client.close()
                else:
                    with pytest.raises(websockets.ConnectionClosedError):
                        await client.recv()
                    assert client.close_code == 1011
                    assert "secret" not in (client.close_reason or "")
            await settled(lambda: server.counters["requests_active"] == 0)
            # What on_open raised was before there was a connection to close.
            assert codes == {"open": [], "message": [1011], "close": [1000]}[where]
            assert server.counters["internal"] == 0

    with caplog.at_level(logging.ERROR, "fastnet.error"):
        run(test())
    assert caplog.text.count("LookupError: secret") == 1


def test_a_callback_closes_and_hears_of_it_later() -> None:
    async def test() -> None:
        app = App()
        steps: list[Any] = []

        def on_message(ws: WebSocket, message: str) -> None:
            ws.close(4001, "enough")
            with pytest.raises(WebSocketDisconnect):
                ws.send_nowait("late")
            steps.append(message)

        app.websocket("/", on_message=on_message, on_close=lambda ws, code, reason: steps.append((code, reason)))
        async with app.serve(port=0) as server, dial(server, "/") as client:
            await client.send("first")
            await client.send("second")
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 4001
            await settled(lambda: len(steps) == 2)
            assert steps == ["first", (4001, "enough")]

    run(test())


def test_messages_are_the_callbacks() -> None:
    async def test() -> None:
        app = App()
        failures: list[BaseException] = []

        def on_message(ws: WebSocket, message: str) -> None:
            async def receive() -> None:
                try:
                    await ws.receive()
                except RuntimeError as error:
                    failures.append(error)

            app.background(receive())

        app.websocket("/", on_message=on_message)
        async with app.serve(port=0) as server, dial(server, "/") as client:
            await client.send("x")
            await settled(lambda: failures)
            assert "on_message" in str(failures[0])

    run(test())


def test_a_server_that_stops_says_goodbye() -> None:
    async def test() -> None:
        app = App()
        codes: list[int] = []
        app.websocket("/", on_message=lambda ws, message: None, on_close=lambda ws, code, reason: codes.append(code))
        async with app.serve(port=0, timeout_drain=5) as server:
            client = await dial(server, "/")
        assert client.close_code == 1001
        assert codes == [1001]

    run(test())


@pytest.mark.limit("WebSocket: what is read while a callback's answers wait for the peer", memory=True)
def test_a_peer_that_does_not_read_is_not_read() -> None:
    """Messages stay where they are while what they caused is not taken."""
    app = App()
    taken = 0

    def on_message(ws: WebSocket, message: bytes) -> None:
        nonlocal taken
        taken += 1
        ws.send_nowait(bytes(64 * 1024))

    app.websocket("/", on_message=on_message)
    with live(app) as server, server.peer(receive_buffer=4096) as peer:
        assert peer.get("/", *UPGRADE).answer().status == 101
        peer.send(masked(2, b"x") * 2000)
        until(lambda: server.counters["bytes_buffered"] > 64 * 1024)
        server.call(lambda: None)
        assert taken < 1000
        assert server.counters["bytes_buffered"] < 1024 * 1024
        for _ in range(2000):
            assert peer.exactly(10)[0] == 0x82
            peer.exactly(64 * 1024)
        assert taken == 2000


def test_many_small_messages_leave_the_loop_to_others() -> None:
    app = App()
    taken = 0

    def on_message(ws: WebSocket, message: bytes) -> None:
        nonlocal taken
        taken += 1

    app.websocket("/", on_message=on_message)
    with live(app) as server, server.peer() as peer:
        assert peer.get("/", *UPGRADE).answer().status == 101
        peer.send(masked(2, b"") * 30_000)
        until(lambda: taken == 30_000)


# --- registration


@pytest.mark.parametrize("which", ["on_open", "on_message", "on_close"])
def test_callbacks_are_no_coroutines(which: str) -> None:
    async def callback(*arguments: Any) -> None:
        pass

    callbacks: dict[str, Any] = {"on_message": lambda ws, message: None, which: callback}
    with pytest.raises(HandlerError, match="write def"):
        App().websocket("/", **callbacks)


def test_on_message_takes_two() -> None:
    with pytest.raises(HandlerError, match="the WebSocket and the message"):
        App().websocket("/", on_message=lambda ws: None)  # type: ignore[misc, arg-type]


def test_options_are_those_of_handlers() -> None:
    app = App()
    with pytest.raises(TypeError, match="status_code: no option"):
        app.websocket("/", on_message=lambda ws, message: None, status_code=201)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="at least 0 seconds"):
        app.websocket("/", on_message=lambda ws, message: None, ping_interval=-1)
    app.websocket("/", on_message=lambda ws, message: None, max_message=10, origins=["*"])
    with pytest.raises(ValueError, match="answered twice"):
        app.websocket("/", on_open=lambda: None)
