"""Nothing is left of an attack on HTTP/2: neither streams, nor tasks, nor objects, nor memory."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import islice

import pytest

from fastnet import App, Request
from fastnet_ext.http2.hpack import encode
from tests.http2.test_floods import floods
from tests.http2.wire import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    POST,
    PREFACE,
    SETTINGS,
    data,
    frame,
    headers,
    settings,
)
from tests.memory import resident
from tests.net.test_leaks import check
from tests.wire.bounds import KIB
from tests.wire.frames import at
from tests.wire.live import Live, Peer, live

ROUNDS = 60
# More than any budget lets through.
PIECES = 14_000
# A process grows by less than this in so many rounds once it has what it needs: 2 KiB for each would be too much.
GROWTH = ROUNDS * 2 * KIB
TRIES = 6
STARTED = PREFACE + settings() + frame(SETTINGS, ACK)


def application() -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "Hello, World!"

    @app.post("/")
    async def read(request: Request) -> str:
        return str(len(await request.body()))

    @app.get("/wait", cancel_on_disconnect=True)
    async def wait() -> str:
        await asyncio.Event().wait()
        return "never"

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    return app


def flood(name: str) -> Callable[[Peer], None]:
    # Made once: all rounds send the same.
    pieces = b"".join(islice(floods()[name], PIECES))

    def act(peer: Peer) -> None:
        with suppress(ConnectionError):
            peer.send(STARTED + pieces)
            peer.rest()

    return act


def header_bombs(peer: Peer) -> None:
    """Blocks that unpack to far more than they are; each is answered with 431."""
    block = b"\x40\x01x\x7f\xb9\x16" + b"y" * 3000 + b"\xbe" * 12_000
    first = encode(GET) + block
    peer.send(STARTED + frame(HEADERS, END_STREAM | END_HEADERS, 1, first))
    for stream in range(3, 41, 2):
        peer.send(frame(HEADERS, END_STREAM, stream, encode(GET)))
        peer.send(frame(CONTINUATION, END_HEADERS, stream, b"\xbe" * 16_000))
    peer.until(b"431")


def unread(path: bytes) -> Callable[[Peer], None]:
    """As many streams as there may be, whose windows stay shut, and then nobody any more."""

    def act(peer: Peer) -> None:
        peer.send(PREFACE + settings((INITIAL_WINDOW_SIZE, 0)) + frame(SETTINGS, ACK))
        peer.send(b"".join(headers(stream, at(path, GET), end_stream=True) for stream in range(1, 200, 2)))
        peer.exactly(500)
        peer.reset()

    return act


def bodies_without_end(peer: Peer) -> None:
    """Requests that stay open, each with as much of a body as it may have, and then nobody any more."""
    peer.send(STARTED)
    for stream in range(1, 40, 2):
        peer.send(headers(stream, POST) + data(stream, bytes(3000)))
    peer.exactly(50)
    peer.reset()


def left_waiting(peer: Peer) -> None:
    """Handlers that wait when their client leaves."""
    peer.send(STARTED)
    peer.send(b"".join(headers(stream, at(b"/wait", GET), end_stream=True) for stream in range(1, 100, 2)))
    peer.exactly(50)
    peer.reset()


OTHERS: dict[str, Callable[[Peer], None]] = {
    "header bombs": header_bombs,
    "windows that stay shut": unread(b"/stream"),
    "windows that stay shut before small answers": unread(b"/"),
    "bodies without end": bodies_without_end,
    "handlers that wait": left_waiting,
}


@pytest.fixture(params=[*floods(), *OTHERS])
def attack(request: pytest.FixtureRequest) -> Callable[[Peer], None]:
    return OTHERS.get(request.param) or flood(request.param)


def test_nothing_is_left_of_an_attack(attack: Callable[[Peer], None], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    with live(application()) as server:
        check(server, attack, ROUNDS)
        assert server.counters["bytes_buffered"] == 0


@pytest.mark.measures
def test_memory_comes_back(attack: Callable[[Peer], None], caplog: pytest.LogCaptureFixture) -> None:
    """The process stops growing. Other things in it take memory now and then; what leaks does so every time."""
    caplog.set_level(logging.CRITICAL)

    def after_rounds(server: Live) -> int:
        for _ in range(ROUNDS):
            with server.peer() as peer:
                attack(peer)
        server.settle()
        return resident(os.getpid())

    with live(application()) as server:
        sizes = [after_rounds(server)]
        while len(sizes) <= TRIES:
            sizes.append(after_rounds(server))
            if sizes[-1] - sizes[-2] < GROWTH:
                return
    pytest.fail(f"it grew every time: {sizes} bytes")
