"""Nothing is left of a token stream, however it ended: neither objects nor cycles, neither tasks nor memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import pytest

from fastnet import App, EventStream, HTTPException, WebSocket
from fastnet.streaming import TokenStream, TokenStreams
from tests.memory import Growth
from tests.net.test_leaks import check
from tests.wire.frames import UPGRADE, masked
from tests.wire.live import Peer, live

MIB = 1024 * 1024


async def three() -> AsyncIterator[str]:
    for word in ("one ", "two ", "three "):
        await asyncio.sleep(0)
        yield word


async def endless() -> AsyncIterator[str]:
    while True:
        yield "token " * 10
        await asyncio.sleep(0)


async def refuses() -> AsyncIterator[str]:
    yield "one "
    await asyncio.sleep(0)
    raise HTTPException(503, "no model")


SOURCES: dict[str, Callable[[], AsyncIterator[str]]] = {"three": three, "endless": endless, "refuses": refuses}


def make_app() -> App:
    app = App()

    @app.get("/text/{name}")
    async def text(name: str) -> TokenStream:
        return TokenStream(SOURCES[name](), chunk_size=4, max_delay=60)

    @app.get("/events/{name}")
    async def events(name: str) -> EventStream:
        return EventStream(TokenStream(SOURCES[name]()).events())

    @app.get("/all/{name}")
    async def several(name: str) -> EventStream:
        streams = TokenStreams()
        for n in range(3):
            streams.start(str(n), SOURCES[name]())
        return EventStream(streams.events())

    @app.websocket("/ws")
    async def generate(ws: WebSocket) -> None:
        await TokenStreams(limit=2).serve(ws, lambda name: SOURCES[name](), str)

    return app


def reads(target: str) -> Callable[[Peer], object]:
    def act(peer: Peer) -> None:
        assert peer.get(target).answer().status == 200

    return act


def leaves(target: str) -> Callable[[Peer], object]:
    return lambda peer: peer.get(target).until(b"token")


def breaks_off(peer: Peer) -> None:
    peer.get("/text/refuses").rest()


def start(id: str, name: str) -> bytes:
    return masked(1, b'{"type":"start","id":"%b","input":"%b"}' % (id.encode(), name.encode()))


def websocket(*frames: bytes, until: bytes) -> Callable[[Peer], object]:
    def act(peer: Peer) -> None:
        peer.get("/ws", *UPGRADE).until(b"\r\n\r\n")
        peer.send(b"".join(frames)).until(until)

    return act


ENDINGS: dict[str, Callable[[Peer], object]] = {
    **{f"{way} that is read": reads(f"/{way}/three") for way in ("text", "events", "all")},
    **{f"{way} that is left": leaves(f"/{way}/endless") for way in ("text", "events", "all")},
    "text that breaks off": breaks_off,
    "events that end by an error": reads("/events/refuses"),
    "streams on a WebSocket": websocket(start("a", "three"), start("b", "three"), until=b'"end","id":"b"'),
    "one that is cancelled": websocket(
        start("a", "endless"), masked(1, b'{"type":"cancel","id":"a"}'), until=b'"cancelled"'
    ),
    "a WebSocket that is left": websocket(start("a", "endless"), until=b"token"),
    "bad messages": websocket(
        masked(1, b"{"), start("a", "nobody"), start("b c", "three"), start("d", "refuses"), until=b"no model"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_of_a_token_stream(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "fastnet.error")
    with live(make_app()) as server:
        check(server, ENDINGS[ending], 200)
        assert server.run(tasks()) < 20


async def tasks() -> int:
    return len(asyncio.all_tasks())


@pytest.mark.measures
def test_memory_does_not_grow_with_streams() -> None:
    with live(make_app()) as server:

        def some(count: int) -> None:
            for _ in range(count):
                with server.peer() as peer:
                    leaves("/all/endless")(peer)
                with server.peer() as peer:
                    ENDINGS["one that is cancelled"](peer)

        some(100)
        growth = Growth(os.getpid())
        some(400)
        # A stream that is kept, with its tasks and buffers, is 10 KiB and more: this would be 16 MiB of them.
        assert growth.most < 6 * MIB
