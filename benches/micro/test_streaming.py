"""What a token costs on its way out as an event: a ``TokenStream`` beside a bare generator, in the same run.

Two hundred tokens, each made in a turn of the loop of its own, as a model makes them, so that none is joined to
another; through a connection without a socket. ``text`` has the token as an event's data, ``messages`` the JSON of
``stream.events()``, of which the bare generator sends the same bytes. ``many`` are ten streams multiplexed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest

from benches.micro.sink import Sink
from fastnet import App, EventStream, ServerSentEvent
from fastnet.streaming import TokenStream, TokenStreams
from fastnet_ext.net.accepted import AcceptedConnection
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.net.protocols import OnePort
from fastnet_ext.net.service import Service
from tests.loops import new_loop

TOKENS = 200
MANY = 10


async def tokens(count: int = TOKENS) -> AsyncIterator[str]:
    for _ in range(count):
        await asyncio.sleep(0)
        yield " token"


async def messages() -> AsyncIterator[ServerSentEvent]:
    async for token in tokens():
        yield ServerSentEvent({"type": "chunk", "text": token}, event="chunk")


def many() -> EventStream:
    streams = TokenStreams()
    for n in range(MANY):
        streams.start(str(n), tokens(TOKENS // MANY))
    return EventStream(streams.events())


WAYS: dict[str, Callable[[], EventStream]] = {
    "text-bare": lambda: EventStream(tokens()),
    "text": lambda: EventStream(TokenStream(tokens())),
    "text-64-characters": lambda: EventStream(TokenStream(tokens(), chunk_size=64)),
    "messages-bare": lambda: EventStream(messages()),
    "messages": lambda: EventStream(TokenStream(tokens()).events()),
    "messages-many": many,
}


class EndingSink(Sink):
    """Tells when an answer is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    def write(self, data: bytes) -> None:
        super().write(data)
        if data.endswith(b"0\r\n\r\n"):
            self.over.set()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = new_loop()
    yield loop
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.mark.parametrize("way", WAYS)
def test_token(benchmark: Any, loop: asyncio.AbstractEventLoop, way: str) -> None:
    app = App()

    @app.get("/")
    async def stream() -> EventStream:
        return WAYS[way]()

    state = LoopState(loop)
    connection = AcceptedConnection(state, Service(app.build(), OnePort()))
    sink = EndingSink()
    connection.connection_made(cast(Any, sink))
    request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"

    def receive() -> None:
        connection.get_buffer(-1)[: len(request)] = request
        connection.buffer_updated(len(request))

    async def ask() -> None:
        sink.over.clear()
        # Input comes in a callback of the loop and not in a Task, as from a socket.
        loop.call_soon(receive)
        await sink.over.wait()

    benchmark.extra_info["items"] = TOKENS
    benchmark(lambda: loop.run_until_complete(ask()))
    assert sink.taken > TOKENS * len(" token")
    assert state.counters["requests_active"] == 0
    connection.connection_lost(None)
    state.close()
