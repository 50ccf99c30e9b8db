"""Limits of WebSocket connections and of their messages."""

from __future__ import annotations

from typing import Any

import pytest
import websockets

from fastnet import App
from fastnet.ratelimit import Concurrency, RateLimit, everyone
from fastnet.websocket import InvalidMessage, WebSocket
from tests.fastnet.test_websocket import dial, refusal
from tests.loops import run


def echo(*, callbacks: bool = False, **options: Any) -> App:
    app = App()

    async def answer(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    def on_message(ws: WebSocket, message: str | bytes) -> None:
        _ = ws.send(message)

    if callbacks:
        app.websocket("/", on_message=on_message, **options)
    else:
        app.websocket("/", **options)(answer)
    return app


def test_connections() -> None:
    async def main() -> None:
        async with echo(limit="1/hour").serve(port=0) as server:
            async with dial(server, "/") as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            status, headers, problem = await refusal(server, "/")
            assert status == 429
            assert "retry-after" in headers
            assert problem["limit"] == "default"

    run(main())


@pytest.mark.parametrize("callbacks", [False, True])
def test_one_message_too_many_closes_with_1013(callbacks: bool) -> None:
    async def main() -> None:
        async with echo(callbacks=callbacks, message_limit=RateLimit("2/hour", key=everyone)).serve(port=0) as server:
            async with dial(server, "/") as ws:
                for _ in range(2):
                    await ws.send("hello")
                    assert await ws.recv() == "hello"
                await ws.send("hello")
                with pytest.raises(websockets.ConnectionClosedError) as caught:
                    await ws.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1013
            assert caught.value.rcvd.reason.startswith("too many requests; try again in ")
            assert server.counters["limit_rate"] == 1

    run(main())


@pytest.mark.parametrize("callbacks", [False, True])
@pytest.mark.parametrize("warning", ["slow down", b"slow down"])
def test_a_warning_in_place_of_the_close(warning: str | bytes, callbacks: bool) -> None:
    async def main() -> None:
        app = echo(callbacks=callbacks, message_limit=RateLimit("2/hour"), message_warning=warning)
        async with app.serve(port=0) as server, dial(server, "/") as ws:
            for number in range(5):
                await ws.send(str(number))
            assert [await ws.recv() for _ in range(5)] == ["0", "1", warning, warning, warning]

    run(main())


def test_a_handler_may_go_on_after_a_refusal() -> None:
    app = App()

    @app.websocket("/", message_limit="1/hour")
    async def answer(ws: WebSocket) -> None:
        await ws.receive()
        try:
            await ws.receive()
        except InvalidMessage as error:
            await ws.send(f"{error.code}")

    async def main() -> None:
        async with app.serve(port=0) as server, dial(server, "/") as ws:
            await ws.send("one")
            await ws.send("two")
            assert await ws.recv() == "1013"

    run(main())


def test_what_is_dropped_does_not_end_a_wait() -> None:
    app = App()

    @app.websocket("/", message_limit="1/hour", message_warning="slow down")
    async def answer(ws: WebSocket) -> None:
        await ws.receive()
        try:
            await ws.receive(timeout=0.2)
        except TimeoutError:
            await ws.send("nothing came")

    async def main() -> None:
        async with app.serve(port=0) as server, dial(server, "/") as ws:
            await ws.send("one")
            await ws.send("two")
            assert [await ws.recv(), await ws.recv()] == ["slow down", "nothing came"]

    run(main())


def test_what_cannot_be_a_limit_of_messages() -> None:
    with pytest.raises(TypeError, match="message_limit takes rates"):
        echo(message_limit=Concurrency(1))
