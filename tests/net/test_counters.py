"""What the server counts, after a script of all the ways in which requests and connections end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from fastnet import App, Request
from tests.wire.live import Live, Peer, live


def make_app() -> App:
    app = App(max_body=1000)

    @app.get("/")
    async def index() -> str:
        return "Hello, World!"

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(0)
        return "slow"

    @app.get("/thread")
    def thread() -> str:
        return "thread"

    @app.get("/inline", inline=True)
    def inline() -> str:
        return "inline"

    @app.get("/fails")
    async def fails() -> str:
        raise RuntimeError

    @app.post("/")
    async def read(request: Request) -> str:
        return str(len(await request.body()))

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        while True:
            yield "tick\n"
            await asyncio.sleep(0.005)

    @app.get("/midway")
    async def midway() -> AsyncIterator[str]:
        yield "tick\n"
        raise RuntimeError

    @app.get("/cancelled", cancel_on_disconnect=True)
    async def cancelled() -> str:
        await asyncio.Event().wait()  # no timer: the stock loop keeps cancelled ones for a while
        return "never"

    return app


@pytest.fixture
def server() -> Iterator[Live]:
    with live(make_app(), timeout_body=0.1, timeout_head=0.1) as running:
        yield running


def answered(target: str) -> Callable[[Peer], None]:
    def act(peer: Peer) -> None:
        peer.get(target).answer()

    return act


def stream_left(peer: Peer) -> None:
    peer.get("/stream").until(b"tick")
    peer.reset()


def cancelled(peer: Peer) -> None:
    peer.get("/cancelled")
    peer.reset()


def body_left(peer: Peer) -> None:
    peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345")
    peer.half_close().rest()


def body_stalled(peer: Peer) -> None:
    assert peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345").answer().status == 408


def too_large(peer: Peer) -> None:
    peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000)
    assert peer.answer().status == 413


def malformed_body(peer: Peer) -> None:
    peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n").rest()


def malformed_head(peer: Peer) -> None:
    assert peer.send(b"GET / HTTP/1.1\r\n\r\n").answer().status == 400


def big_head(peer: Peer) -> None:
    assert peer.send(b"GET / HTTP/1.1\r\nhost: t\r\n" + b"x: y\r\n" * 200 + b"\r\n").answer().status == 431


def late_head(peer: Peer) -> None:
    assert peer.send(b"GET / HTT").answer().status == 408


def midway(peer: Peer) -> None:
    peer.get("/midway").rest()


NONE: dict[str, int] = {}
ENDINGS: dict[str, tuple[Callable[[Peer], None], int, dict[str, int]]] = {
    "answered": (answered("/"), 1, NONE),
    "answered later": (answered("/slow"), 1, NONE),
    "answered from a thread": (answered("/thread"), 1, NONE),
    "answered inline": (answered("/inline"), 1, NONE),
    "not found": (answered("/none"), 1, NONE),
    "failed": (answered("/fails"), 1, NONE),
    "failed midway": (midway, 1, NONE),
    "stream left": (stream_left, 1, {"disconnects": 1}),
    "cancelled": (cancelled, 1, {"disconnects": 1}),
    "body left": (body_left, 1, {"disconnects": 1}),
    "body stalled": (body_stalled, 1, {"timeouts": 1}),
    "body too large": (too_large, 1, NONE),
    "body malformed": (malformed_body, 1, {"malformed": 1}),
    "head malformed": (malformed_head, 0, {"malformed": 1}),
    "head too big": (big_head, 0, {"over_limit": 1}),
    "head late": (late_head, 0, {"timeouts": 1}),
}
KINDS = ("malformed", "over_limit", "timeouts", "disconnects", "internal", "upgrades")


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_ending_is_counted_once(server: Live, ending: str) -> None:
    act, requests, errors = ENDINGS[ending]
    with server.peer() as peer:
        act(peer)
        if ending == "cancelled":
            server.run(asyncio.sleep(0.01))
    counters = server.settle()
    assert counters["requests"] in ((0, 1) if ending == "cancelled" else (requests,))
    assert {kind: counters[kind] for kind in KINDS} == {kind: errors.get(kind, 0) for kind in KINDS}


def test_bytes_are_counted_as_they_are_on_the_wire(server: Live) -> None:
    with server.peer() as peer:
        request = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"
        peer.send(request * 3)
        received = sum(len(peer.until(b"Hello, World!")) for _ in range(3))
        # A big one goes to the socket from where it is.
    counters = server.settle()
    assert (counters["bytes_received"], counters["bytes_sent"]) == (3 * len(request), received)
    assert (counters["connections"], counters["requests"]) == (1, 3)


def test_active_and_open_are_what_is_there_now(server: Live) -> None:
    with server.peer() as one, server.peer() as two:
        one.get("/stream").until(b"tick")
        two.get("/stream").until(b"tick")
        assert (server.counters["connections_open"], server.counters["requests_active"]) == (2, 2)
    assert server.settle()["connections"] == 2
