"""Nothing is left of a request whose body, or whose answer's, was compressed, whatever way it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from fastnet import App, Request
from fastnet.compression import Compression, compress
from tests.net.test_leaks import check
from tests.wire.live import Peer, live

TEXT = "a line of text\n" * 200
ACCEPT = "accept-encoding: "
CODED = compress(TEXT.encode(), "gzip")


def make_app() -> App:
    app = App()
    app.compress()
    app.decompress()

    @app.get("/")
    async def text() -> str:
        return TEXT

    @app.get("/thread", compress=Compression(thread_size=1))
    async def threads() -> str:
        return TEXT

    @app.get("/pieces")
    async def pieces() -> AsyncIterator[str]:
        for _ in range(3):
            yield TEXT
            await asyncio.sleep(0)

    @app.get("/thread/pieces", compress=Compression(thread_size=1))
    async def thread_pieces() -> AsyncIterator[str]:
        yield TEXT
        yield TEXT

    @app.get("/endless")
    async def endless() -> AsyncIterator[str]:
        while True:
            yield TEXT
            await asyncio.sleep(0.005)

    @app.sse("/events")
    async def events() -> AsyncIterator[str]:
        while True:
            yield TEXT
            await asyncio.sleep(0.005)

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    return app


def answered(target: str, coding: str, status: int = 200) -> Callable[[Peer], object]:
    def act(peer: Peer) -> None:
        assert peer.get(target, ACCEPT + coding).answer().status == status

    return act


def left(target: str, coding: str) -> Callable[[Peer], object]:
    def act(peer: Peer) -> None:
        peer.get(target, ACCEPT + coding).until(b"\r\n\r\n")
        peer.reset()

    return act


def posted(body: bytes, status: int, coding: str = "gzip") -> Callable[[Peer], object]:
    def act(peer: Peer) -> None:
        assert peer.post("/", body, f"content-encoding: {coding}").answer().status == status

    return act


def upload_left(peer: Peer) -> None:
    peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-encoding: gzip\r\ncontent-length: 9999\r\n\r\n" + CODED[:20])
    peer.reset()


def left_at_once(peer: Peer) -> None:
    peer.get("/thread", ACCEPT + "br")
    peer.reset()


KEEP_ALIVE: dict[str, Callable[[Peer], object]] = {
    "whole": answered("/", "zstd"),
    "from a thread": answered("/thread", "br"),
    "pieces": answered("/pieces", "gzip"),
    "pieces from a thread": answered("/thread/pieces", "zstd"),
    "not acceptable": answered("/", "*;q=0", 406),
    "upload": posted(CODED, 200),
}
CLOSED: dict[str, Callable[[Peer], object]] = {
    "left midway": left("/endless", "br"),
    "events left": left("/events", "zstd"),
    "left while a thread works": left("/thread/pieces", "br"),
    "left before a thread is done": left_at_once,
    "upload left": upload_left,
    "bomb": posted(compress(bytes(5_000_000), "gzip"), 413),
    "damaged": posted(CODED[:-1], 400),
    "unknown": posted(CODED, 415, "lzma"),
}


@pytest.mark.parametrize("ending", KEEP_ALIVE)
def test_nothing_is_left_of_an_answer(ending: str) -> None:
    with live(make_app()) as server:
        check(server, KEEP_ALIVE[ending], 1000, per_peer=250)


@pytest.mark.parametrize("ending", CLOSED)
def test_nothing_is_left_of_who_left(ending: str) -> None:
    with live(make_app()) as server:
        check(server, CLOSED[ending], 600)
