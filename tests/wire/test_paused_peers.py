"""Peers that leave while we do not read from them: noticed by the sweep, and treated as if we had read their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fastnet import App, ClientDisconnect, Request
from tests.wire.live import Live, Peer, live, until

KIB = 1024
# The sweep comes every quarter of the smallest timeout.
SWEEPS: dict[str, Any] = {"timeout_write": 0.4, "timeout_idle": 60}


class Told:
    """What the handlers noticed."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.left = 0
        self.closed = 0


def make_app(told: Told) -> App:
    app = App(max_body=8 * KIB * KIB)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/slow")
    async def slow(request: Request[Any]) -> int:
        """Takes the body when it is told to."""
        total = 0
        await told.released.wait()
        try:
            async for piece in request.stream():
                total += len(piece)
        except ClientDisconnect:
            told.left += 1
            raise
        return total

    @app.post("/whole")
    async def whole(body: bytes) -> int:
        return len(body)

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        try:
            yield "begin"
            await asyncio.get_running_loop().create_future()
        finally:
            told.closed += 1

    return app


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def server(told: Told) -> Iterator[Live]:
    with live(make_app(told), **SWEEPS) as server:
        yield server


def upload(size: int, target: str = "/slow") -> bytes:
    return f"POST {target} HTTP/1.1\r\nhost: t\r\ncontent-length: {size}\r\n\r\n".encode()


def paused(server: Live) -> bool:
    """Whether the one connection is not read."""
    state = server.server.state
    assert state is not None
    found = server.call(state.describe)["connections"]
    return len(found) == 1 and found[0]["reading_paused"]


def leave(peer: Peer, how: str) -> None:
    if how == "reset":
        peer.reset()
    else:
        peer.sock.close()


@pytest.mark.parametrize("how", ["end", "reset"])
def test_in_the_middle_of_a_body(server: Live, told: Told, how: str) -> None:
    """What it sent fits into our buffer and the system's, so that its FIN is there as well."""
    with server.peer() as peer:
        peer.send(upload(1024 * KIB) + bytes(300 * KIB))
        until(lambda: paused(server))
        peer.send(bytes(20 * KIB))
        leave(peer, how)
        until(lambda: server.counters["disconnects"] == 1)
        until(lambda: server.counters["connections_open"] == 0)
    # A plain handler runs on; its next read tells it.
    assert told.left == 0
    server.call(told.released.set)
    until(lambda: told.left == 1)


@pytest.mark.parametrize("size", [0, 20 * KIB])
def test_a_stream_ends_at_once_whatever_was_asked_for_behind_it(server: Live, told: Told, size: int) -> None:
    """`size` bytes of requests are not read, and stand before the end."""
    with server.peer() as peer:
        peer.get("/stream")
        assert b"begin" in peer.until(b"begin")
        peer.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n" * 4000)
        until(lambda: paused(server))
        peer.send(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"[:1] * size)
        peer.half_close()
        until(lambda: told.closed == 1)
        until(lambda: server.counters["connections_open"] == 0)
    assert server.counters["disconnects"] == 1


def test_a_whole_body_is_none_that_was_left(server: Live, told: Told) -> None:
    """It has half-closed, and all that it owed is there, partly unread."""
    with server.peer() as peer:
        peer.send(upload(320 * KIB) + bytes(300 * KIB))
        until(lambda: paused(server))
        peer.send(bytes(20 * KIB)).half_close()
        swept = server.server.state
        assert swept is not None
        # Several sweeps see it.
        server.run(asyncio.sleep(5 * swept.sweep_interval))
        server.call(told.released.set)
        assert peer.answer().body == str(320 * KIB).encode()
    assert server.counters["disconnects"] == 0
    assert told.left == 0


def test_a_peer_that_stays_is_left_alone(server: Live, told: Told) -> None:
    with server.peer() as peer:
        peer.send(upload(400 * KIB) + bytes(320 * KIB))
        until(lambda: paused(server))
        swept = server.server.state
        assert swept is not None
        server.run(asyncio.sleep(5 * swept.sweep_interval))
        assert server.counters["connections_open"] == 1
        server.call(told.released.set)
        assert peer.send(bytes(80 * KIB)).answer().body == str(400 * KIB).encode()


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_connection_that_is_held_back_for_memory(told: Told, how: str) -> None:
    with live(make_app(told), limit_memory=1024 * KIB, **SWEEPS) as server, server.peer() as peer:
        peer.send(upload(4096 * KIB, "/whole") + bytes(1100 * KIB))
        until(lambda: paused(server))
        assert server.counters["bytes_buffered"] > 1000 * KIB
        leave(peer, how)
        until(lambda: server.counters["disconnects"] == 1)
        assert server.counters["bytes_buffered"] == 0
        assert server.counters["limit_memory"] == 0
