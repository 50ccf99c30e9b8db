"""The limits of messages: WebSocket's, by close codes, and gRPC's, by status."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from fastnet import App
from fastnet.websocket import WebSocket
from tests.http2.wire import HEADERS, data, headers
from tests.protos import greeter
from tests.wire.bounds import KIB, MIB, beside
from tests.wire.frames import UPGRADE, Frames, at, masked
from tests.wire.live import Live, Peer, live, until

pb, pb_grpc = greeter()

# What one read may bring.
READ = 256 * KIB


class Greeter(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    async def SayHello(self, request: Any, context: object) -> Any:
        return pb.HelloReply(message=str(len(request.name)))


@pytest.fixture
def go() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def server(go: asyncio.Event) -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(str(len(message)))

    @app.websocket("/small", max_message=100)
    async def small(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(str(len(message)))

    @app.websocket("/large", max_message=4 * MIB)
    async def large(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(str(len(message)))

    @app.websocket("/held")
    async def held(ws: WebSocket) -> None:
        await ws.accept()
        await go.wait()
        count = 0
        async for message in ws:
            if message == b"end":
                break
            count += 1
        await ws.send(str(count))

    @app.websocket("/leaves")
    async def leaves(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)

    pb_grpc.add_GreeterServicer_to_server(Greeter(), app.grpc)
    with live(app) as running:
        yield running


def opened(server: Live, target: str) -> Peer:
    peer = server.peer().get(target, *UPGRADE)
    assert peer.answer().status == 101
    return peer


def closed_with(peer: Peer) -> int:
    """The code of the Close frame that comes next."""
    head = peer.exactly(2)
    assert head[0] == 0x88
    return int(struct.unpack(">H", peer.exactly(head[1])[:2])[0])


def message(peer: Peer) -> str:
    head = peer.exactly(2)
    assert head[0] == 0x81
    return peer.exactly(head[1]).decode()


PIECE = b"x" * 65536


@pytest.mark.limit("WebSocket: message, all its fragments", memory=True)
@pytest.mark.parametrize(
    ("target", "frames"),
    [
        ("/echo", masked(2, size=MIB + 1)),
        ("/echo", masked(2, size=2**63 - 1)),
        ("/echo", masked(2, PIECE, final=False) + masked(0, PIECE, final=False) * 15 + masked(0, b"x")),
        ("/small", masked(1, size=101)),
    ],
    ids=["one frame", "a frame without end", "fragments", "limit of a route"],
)
def test_a_message_above_the_limit(server: Live, target: str, frames: bytes) -> None:
    with beside(server, keeps=MIB + 2 * READ), opened(server, target) as peer:
        # Known from the frame's header: of a message that is one frame, nothing has come.
        assert closed_with(peer.send(frames)) == 1009
    counters = server.settle()
    assert (counters["bytes_buffered"], counters["internal"]) == (0, 0)


@pytest.mark.parametrize(("target", "size"), [("/echo", MIB), ("/small", 100)])
def test_a_message_of_exactly_the_limit(server: Live, target: str, size: int) -> None:
    with opened(server, target) as peer:
        assert message(peer.send(masked(2, b"x" * size))) == str(size)


@pytest.mark.limit("WebSocket: fragments of a message", memory=True)
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_message_of_too_many_fragments(server: Live, payload: bytes) -> None:
    most = 16_384
    with beside(server, keeps=most + 2 * READ), opened(server, "/echo") as peer:
        peer.send(masked(2, payload, final=False) + masked(0, payload, final=False) * (most - 2))
        assert message(peer.send(masked(0, payload))) == str(most * len(payload))
        peer.send(masked(2, payload, final=False) + masked(0, payload, final=False) * most)
        assert closed_with(peer) == 1008
    assert server.settle()["bytes_buffered"] == 0


def test_larger_messages_may_have_more_fragments(server: Live) -> None:
    """4 MiB in pieces of 64 bytes, and not one piece more."""
    most = 4 * MIB // 64
    with opened(server, "/large") as peer:
        peer.send(masked(2, b"x" * 64, final=False) + masked(0, b"x" * 64, final=False) * (most - 2))
        assert message(peer.send(masked(0, b"x" * 64))) == str(4 * MIB)
        peer.send(masked(2, final=False) + masked(0, final=False) * most)
        assert closed_with(peer) == 1008


@pytest.mark.limit("WebSocket: messages that wait for their reader", memory=True)
@pytest.mark.parametrize(("size", "kept"), [(10, 16 * 10), (100_000, MIB)], ids=["16", "1 MiB"])
def test_messages_that_wait_for_their_reader(server: Live, go: asyncio.Event, size: int, kept: int) -> None:
    count = 6 * MIB // size // 10
    with opened(server, "/held") as peer, ThreadPoolExecutor(1) as pool:
        with beside(server, keeps=kept + size + 2 * READ):
            upload = pool.submit(peer.send, masked(2, b"x" * size) * count + masked(2, b"end"))
            until(lambda: server.counters["bytes_buffered"] >= min(kept, count * size // 2))
            server.run(asyncio.sleep(0.1))
        server.call(go.set)
        upload.result(10)
        assert message(peer) == str(count)


@pytest.mark.limit("WebSocket: the peer's answer to Close", memory=True)
def test_a_close_that_is_not_answered(server: Live) -> None:
    with beside(server, keeps=2 * READ), opened(server, "/leaves") as peer:
        assert closed_with(peer) == 4000
        begun = time.monotonic()
        peer.sock.settimeout(30)
        # What else it sends is dropped.
        peer.send(masked(2, PIECE) * 100)
        with suppress(ConnectionResetError):
            assert peer.closed()
        assert time.monotonic() - begun > 5
    assert server.settle()["bytes_buffered"] == 0


@pytest.mark.limit("gRPC: message received, and what it decompresses to", memory=True)
@pytest.mark.parametrize("size", [4 * MIB + 1, 2**32 - 1])
def test_a_grpc_message_above_the_limit(server: Live, size: int) -> None:
    fields = [
        *at(b"/greeter.Greeter/SayHello"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    with beside(server, keeps=2 * READ), Frames(server) as one:
        one.send(headers(1, fields) + data(1, b"\0" + size.to_bytes(4, "big") + b"x" * 16_000))
        # From the prefix, though nearly all of the message is still to come: RESOURCE_EXHAUSTED.
        assert one.status(1) == b"200"
        assert (b"grpc-status", b"8") in one.decoder.decode(one.wait(HEADERS, 1).payload)
        # The connection goes on.
        assert one.send(headers(3, at(b"/", [(b":method", b"GET"), *fields[1:4]]), end_stream=True)).status(3) == b"200"
    counters = server.settle()
    assert (counters["bytes_buffered"], counters["internal"]) == (0, 0)
