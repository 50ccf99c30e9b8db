"""python-socketio on our engine, driven by its own client: both transports, rooms, and a server that is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from tests.asgi.both import Way, served
from tests.asgi.socketio_app import make
from tests.loops import run
from tests.server.service import running

WAYS = (Way("plain"), Way("behind-middleware", wrapped=True))
TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]
WAIT = 10.0


class Listener:
    """A client and what it has heard."""

    def __init__(self) -> None:
        self.session = aiohttp.ClientSession()
        self.client = socketio.AsyncClient(
            http_session=self.session, reconnection_delay=0.05, reconnection_delay_max=0.1
        )
        self.heard: list[Any] = []
        self.connects = 0
        self.client.on("said", self.heard.append)
        self.client.on("connect", self._connected)

    def _connected(self) -> None:
        self.connects += 1

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Without a word: a client that polls says goodbye when its last poll is answered, after half a minute.
        await self.client.eio.disconnect(abort=True)
        await self.session.close()

    async def to(self, port: int, transports: list[str], **options: Any) -> Listener:
        await self.client.connect(f"http://127.0.0.1:{port}", transports=transports, wait_timeout=WAIT, **options)
        return self


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 -- what it asks is told by no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
def test_rooms(way: Way, transports: list[str]) -> None:
    async def body(port: int) -> None:
        async with Listener() as one, Listener() as two, Listener() as other:
            for listener in (one, two, other):
                await listener.to(port, transports)
            await meet(one, two, other)
            assert one.client.transport() == transports[-1]

    async def meet(one: Listener, two: Listener, other: Listener) -> None:
        assert await one.client.call("join", "a") == "joined a"
        assert await two.client.call("join", "a") == "joined a"
        assert await other.client.call("join", "b") == "joined b"
        said = ["text", {"a": [1, 2]}, b"\x00bytes", "long" * 100_000]
        for what in said:
            await one.client.emit("say", ("a", what))
        await eventually(lambda: len(two.heard) == len(said))
        assert two.heard == said
        assert (one.heard, other.heard) == ([], [])

    with served(make(), way, timeout_drain=0.1) as server:
        run(body(server.port))


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids="+".join)
def test_a_client_that_is_refused(transports: list[str]) -> None:
    async def body(port: int) -> None:
        async with Listener() as listener:
            reasons: list[Any] = []
            listener.client.on("connect_error", reasons.append)
            # The client's own way to leave waits for its poll.
            attempt = asyncio.ensure_future(listener.to(port, transports, auth="nobody"))
            await eventually(lambda: bool(reasons))
            assert reasons[0]["message"] == "not you"
            attempt.cancel()

    with served(make(), timeout_drain=0.1) as server:
        run(body(server.port))


SERVICE = """
from fastnet import App
from tests.asgi.socketio_app import make

app = App()
app.mount("/", make())
"""


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids="+".join)
def test_clients_come_back_to_a_server_that_was_killed(tmp_path: Path, transports: list[str]) -> None:
    with running(tmp_path, SERVICE) as first:
        port = first.port

        async def body() -> None:
            async with Listener() as listener:
                await listener.to(port, transports)
                assert await listener.client.call("join", "a") == "joined a"
                os.kill(first.pid, signal.SIGKILL)
                with running(tmp_path, SERVICE, port=str(port)):
                    await eventually(lambda: listener.connects == 2)
                    assert await listener.client.call("join", "b") == "joined b"

        run(body())
