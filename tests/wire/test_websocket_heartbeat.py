"""Peers of WebSockets that vanish without a word: pinged, and left when they stay silent.

Order and outcome are asserted, never durations: the sweep is coarse, and a busy machine makes it coarser.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import h2.events
import pytest

from fastnet import App
from fastnet.websocket import WebSocket, WebSocketDisconnect
from tests.http2.wire import RST_STREAM, headers
from tests.wire.bounds import KIB, beside, told
from tests.wire.frames import UPGRADE, Frames, masked
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, live, until
from tests.wire.test_http2_websocket import connect

ROOM = 256 * KIB
SHORT = 0.4
PING, PONG = 0x89, 0xA
EMPTY_PING = bytes([PING, 0])


class Ends:
    """How handlers ended."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []
        self.go = asyncio.Event()


@pytest.fixture
def ends() -> Ends:
    return Ends()


def app_of(ends: Ends) -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    async def receive(ws: WebSocket) -> None:
        try:
            while True:
                await ws.receive()
        except WebSocketDisconnect as left:
            ends.found.append((left.code, left.reason))

    app.websocket("/")(receive)
    app.websocket("/never", ping_interval=0)(receive)
    app.websocket("/often", ping_interval=SHORT)(receive)

    def on_close(ws: WebSocket, code: int, reason: str) -> None:
        ends.found.append((code, reason))

    app.websocket("/callbacks", on_message=lambda ws, message: None, on_close=on_close)

    @app.websocket("/unread")
    async def unread(ws: WebSocket) -> None:
        await ws.accept()
        await ends.go.wait()
        async for _ in ws:
            pass

    @app.websocket("/floods")
    async def floods(ws: WebSocket) -> None:
        for _ in range(64):
            await ws.send(bytes(64 * KIB))

    return app


@pytest.fixture
def server(ends: Ends) -> Iterator[Live]:
    with live(app_of(ends), keepalive_websocket=SHORT) as running:
        yield running


def opened(server: Live, target: str = "/", **options: int) -> Peer:
    peer = server.peer(**options).get(target, *UPGRADE)
    assert peer.answer().status == 101
    return peer


@pytest.mark.limit("WebSocket: silence of the peer", memory=True)
@pytest.mark.parametrize("target", ["/", "/callbacks"])
def test_a_peer_that_stays_silent_is_left_after_two_pings(
    server: Live, ends: Ends, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with beside(server, keeps=ROOM), opened(server, target) as peer:
        assert peer.exactly(4) == EMPTY_PING * 2
        with pytest.raises((EOFError, ConnectionResetError)):
            peer.exactly(1)
    until(lambda: ends.found == [(1006, "no answer to pings")])
    until(lambda: server.counters["limit_heartbeat"] == 1)
    told(caplog, "heartbeat", "0.4 s", "keepalive_websocket or ping_interval", "connection reset")


@pytest.mark.parametrize(
    "life", [masked(PONG), masked(2, b"x"), masked(2, b"a part", size=100)], ids=["pong", "message", "a part of one"]
)
def test_any_byte_is_a_sign_of_life(server: Live, ends: Ends, life: bytes) -> None:
    with opened(server) as peer:
        for _ in range(5):
            assert peer.exactly(2) == EMPTY_PING
            peer.send(life)
            life = b"t" if b"part" in life else life  # the rest of a message is bytes of it
        assert ends.found == []
        assert server.counters["limit_heartbeat"] == 0


def test_one_ping_may_be_missed(server: Live, ends: Ends) -> None:
    with opened(server) as peer:
        for _ in range(3):
            assert peer.exactly(4) == EMPTY_PING * 2
            peer.send(masked(PONG))
        assert ends.found == []


def test_a_route_says_otherwise(ends: Ends) -> None:
    with (
        live(app_of(ends), keepalive_websocket=0.0, timeout_head=SHORT) as server,
        opened(server, "/often") as often,
        opened(server, "/") as off,
        opened(server, "/never") as never,
    ):
        assert often.exactly(4) == EMPTY_PING * 2
        until(lambda: len(ends.found) == 1)
        for other in (off, never):
            other.send(masked(9, b"?"))
            # Nothing of ours came before the answer.
            assert other.exactly(3) == bytes([0x8A, 1]) + b"?"


def test_who_is_not_read_is_not_judged(server: Live, ends: Ends) -> None:
    """A handler that does not take what came keeps us from hearing more."""
    with opened(server, "/unread") as peer:
        peer.send(masked(2, bytes(64 * KIB)) * 32)
        server.run(asyncio.sleep(8 * SHORT))
        assert server.counters["limit_heartbeat"] == 0
        server.call(ends.go.set)
        while peer.exactly(2) != EMPTY_PING:
            pass


def test_who_does_not_take_what_we_write_is_not_pinged(server: Live) -> None:
    """What would be a ping stands behind all of that: the limits of output judge such a peer."""
    with opened(server, "/floods", receive_buffer=4096) as peer:
        server.run(asyncio.sleep(8 * SHORT))
        assert server.counters["limit_heartbeat"] == 0
        for _ in range(64):
            assert peer.exactly(10)[0] == 0x82
            peer.exactly(64 * KIB)


def test_over_http2(server: Live, ends: Ends) -> None:
    with Frames(server) as one, beside(server, keeps=ROOM):
        one.send(headers(1, connect(b"/")))
        assert one.status(1) == b"200"
        found = b""
        while (event := one.next()).type != RST_STREAM:
            found += event.payload if event.type == 0 else b""
        assert found == EMPTY_PING * 2
        assert event.stream_id == 1
        # The connection goes on.
        one.send(headers(3, end_stream=True))
        assert one.status(3) == b"200"
    until(lambda: ends.found == [(1006, "no answer to pings")])
    assert server.counters["limit_heartbeat"] == 1


def test_over_http2_a_peer_that_answers_stays(server: Live, ends: Ends) -> None:
    with H2Peer(server.port) as peer:
        stream = peer.machine.get_next_available_stream_id()
        peer.machine.send_headers(stream, connect(b"/"))
        peer.flush()
        for _ in range(5):
            event = peer.wait(h2.events.DataReceived, lambda event: event.stream_id == stream)
            assert event.data == EMPTY_PING
            peer.machine.send_data(stream, masked(PONG))
            peer.flush()
        assert ends.found == []
