"""WebSocket over HTTP/2 (RFC 8441): the h2 library as the client, and our own machine's frames through its streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import h2.events
import h2.settings
import pytest

from fastnet import App, HTTPException
from fastnet.websocket import WebSocket, WebSocketDisconnect
from fastnet_ext.http2.errors import ErrorCode
from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.session import Limits
from tests.http2.wire import ACK, DATA, END_STREAM, GET, GOAWAY, HEADERS, PING, RST_STREAM, Field, data, frame, headers
from tests.wire.bounds import KIB, beside
from tests.wire.frames import Frames, masked
from tests.wire.h2peer import H2Peer
from tests.wire.live import WAIT, Live, live, until

CONNECT: list[Field] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"http"),
    (b":path", b"/echo"),
    (b":authority", b"test"),
    (b"sec-websocket-version", b"13"),
]


def connect(path: bytes = b"/echo", *more: Field, without: bytes = b"") -> list[Field]:
    fields = [(name, path if name == b":path" else value) for name, value in CONNECT if name != without]
    return [*fields, *more]


class Seen:
    """How handlers ended."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.go = asyncio.Event()


@pytest.fixture
def seen() -> Seen:
    return Seen()


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application that tells its scope, and echoes."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    await send({"type": "websocket.send", "text": f"{scope['http_version']} {scope['scheme']} {scope['path']}"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


@pytest.fixture
def server(seen: Seen) -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.websocket("/echo", max_message=4 << 20, subprotocols=["chat"])
    async def echo(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send(await ws.receive())
        except WebSocketDisconnect as left:
            seen.codes.append(left.code)
            raise

    @app.websocket("/own", origins=["https://example.com"])
    async def own(ws: WebSocket) -> None:
        await ws.send(f"{ws.http_version} {ws.scheme}")

    @app.websocket("/refused")
    async def refused(ws: WebSocket) -> None:
        raise HTTPException(418)

    @app.websocket("/unread", max_message=1 << 20)
    async def unread(ws: WebSocket) -> None:
        await ws.accept()
        await seen.go.wait()
        total = 0
        async for message in ws:
            total += len(message)
            if message == b"end":
                await ws.send(str(total))

    app.mount("/asgi", asgi)
    with live(app) as running:
        yield running


class Tunnel:
    """A WebSocket on a stream of a connection of the h2 library."""

    def __init__(self, peer: H2Peer, fields: list[Field], *, end: bool = False) -> None:
        self.peer = peer
        self.stream = peer.machine.get_next_available_stream_id()
        peer.machine.send_headers(self.stream, fields, end_stream=end)
        peer.flush()
        self.socket = Connection("client", Limits(message=4 << 20))
        self.fields = dict(peer.wait(h2.events.ResponseReceived, lambda event: event.stream_id == self.stream).headers)
        self.status = int(self.fields[b":status"])
        self.events: list[Any] = []

    def flush(self, *, end: bool = False) -> None:
        """Send what the machine has to say, as the windows allow."""
        waiting = self.socket.data_to_send()
        machine = self.peer.machine
        while waiting:
            room = min(machine.local_flow_control_window(self.stream), machine.max_outbound_frame_size)
            if room == 0:
                self.peer.wait(h2.events.WindowUpdated)
                continue
            machine.send_data(self.stream, waiting[:room])
            waiting = waiting[room:]
            self.peer.flush()
        if end:
            machine.end_stream(self.stream)
            self.peer.flush()

    def send(self, message: str | bytes) -> Tunnel:
        if isinstance(message, str):
            self.socket.send_text(message)
        else:
            self.socket.send_bytes(message)
        self.flush()
        return self

    def event(self) -> Any:
        while not self.events:
            self.events += self.socket.receive_data(self.peer.take(self.stream))
        return self.events.pop(0)


def dial(server: Live) -> H2Peer:
    server.opened += 1
    peer = H2Peer(server.port)
    peer.wait(h2.events.RemoteSettingsChanged)
    return peer


def test_it_is_announced(server: Live) -> None:
    with dial(server) as peer:
        assert peer.machine.remote_settings.enable_connect_protocol == 1


def test_messages_of_every_size_on_streams_beside_each_other(server: Live) -> None:
    with dial(server) as peer:
        tunnels = [Tunnel(peer, connect()) for _ in range(3)]
        assert {tunnel.status for tunnel in tunnels} == {200}
        # RFC 8441, 5: none of what belongs to the upgrade of HTTP/1.1.
        assert not {b"upgrade", b"connection", b"sec-websocket-accept"} & set(tunnels[0].fields)
        for size in (0, 125, 126, 65_535, 65_536, 300_000, 2 << 20):
            for tunnel in tunnels:
                assert tunnel.send(bytes(size)).event() == ("binary", bytes(size))
        assert tunnels[0].send("ä").event() == ("text", "ä")
        stream = peer.request("GET", "/")
        assert peer.status(stream) == 200
        assert server.counters["upgrades"] == 3


def test_a_subprotocol(server: Live) -> None:
    with dial(server) as peer:
        tunnel = Tunnel(peer, connect(b"/echo", (b"sec-websocket-protocol", b"news, chat")))
        assert tunnel.fields[b"sec-websocket-protocol"] == b"chat"


def test_a_mounted_application(server: Live) -> None:
    with dial(server) as peer:
        tunnel = Tunnel(peer, connect(b"/asgi/room", (b"sec-websocket-protocol", b"a")))
        assert (tunnel.status, tunnel.fields[b"sec-websocket-protocol"]) == (200, b"a")
        assert tunnel.event() == ("text", "2 ws /asgi/room")
        assert tunnel.send(b"abc").event() == ("binary", b"abc")
        tunnel.socket.close(1000)
        tunnel.flush(end=True)
        assert tunnel.event() == ("close", 1000, "")
        peer.ended(tunnel.stream)


def test_frames_in_the_packet_of_the_hand_shake(server: Live) -> None:
    for path in (b"/echo", b"/asgi/"):
        with Frames(server) as one:
            fields = connect(path, (b"sec-websocket-protocol", b"chat"))
            one.send(headers(1, fields) + data(1, masked(0x2, b"abc")) + data(1, masked(0x2, b"de")))
            one.wait(HEADERS, 1)
            came = b""
            while not came.endswith(b"\x82\x03abc\x82\x02de"):
                came += one.wait(DATA, 1).payload


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (connect(b"/nowhere"), 404),
        (connect(b"/"), 405),
        (connect(b"/refused"), 418),
        (connect(without=b"sec-websocket-version"), 426),
        (connect(b"/echo", (b"sec-websocket-protocol", b"a, a")), 400),
        (connect(b"/echo", (b"origin", b"https://elsewhere.example")), 403),
        (connect(b"/own", (b"origin", b"http://test")), 403),
        ([(name, b"connect-udp" if name == b":protocol" else value) for name, value in CONNECT], 501),
    ],
    ids=["path", "no WebSocket", "handler", "version", "subprotocols", "origin", "listed origins", "protocol"],
)
def test_a_hand_shake_that_is_refused(server: Live, fields: list[Field], status: int) -> None:
    with dial(server) as peer:
        assert Tunnel(peer, fields).status == status
        # The connection goes on.
        assert peer.status(peer.request("GET", "/")) == 200
    assert server.settle()["upgrades"] == 0


def test_origins_that_are_let_in(server: Live) -> None:
    with dial(server) as peer:
        assert Tunnel(peer, connect(b"/echo", (b"origin", b"http://test"))).status == 200
        tunnel = Tunnel(peer, connect(b"/own", (b"origin", b"https://example.com")))
        assert tunnel.event() == ("text", "2 ws")
        # The handler has returned.
        assert tunnel.event() == ("close", 1000, "")


def test_a_plain_connect_is_no_websocket(server: Live) -> None:
    with dial(server) as peer:
        stream = peer.machine.get_next_available_stream_id()
        peer.machine.send_headers(stream, [(b":method", b"CONNECT"), (b":authority", b"test:80")])
        peer.flush()
        assert peer.status(stream) in (404, 405)


# --- ends


def test_the_client_closes(server: Live, seen: Seen) -> None:
    with dial(server) as peer:
        tunnel = Tunnel(peer, connect())
        tunnel.socket.close(3000, "bye")
        tunnel.flush()
        assert tunnel.event() == ("close", 3000, "bye")
        peer.ended(tunnel.stream)
        # Its own end may follow later: it is not told to stop, with RST_STREAM, before that.
        tunnel.flush(end=True)
        assert peer.status(peer.request("GET", "/")) == 200
        assert not [event for event in peer.events if isinstance(event, h2.events.StreamReset)]
    assert seen.codes == [3000]
    server.settle()


def test_an_end_without_close(server: Live, seen: Seen) -> None:
    """RFC 8441, 5: END_STREAM is the FIN of TCP."""
    with dial(server) as peer:
        tunnel = Tunnel(peer, connect())
        assert tunnel.send("a").event() == ("text", "a")
        tunnel.flush(end=True)
        peer.ended(tunnel.stream)
        until(lambda: seen.codes == [1006])
        tunnel = Tunnel(peer, connect(), end=True)
        assert tunnel.status == 200
        peer.ended(tunnel.stream)
        until(lambda: seen.codes == [1006, 1006])


def test_a_reset(server: Live, seen: Seen) -> None:
    """RFC 8441, 5: RST_STREAM with CANCEL is its RST."""
    with dial(server) as peer:
        tunnel = Tunnel(peer, connect())
        peer.machine.reset_stream(tunnel.stream, ErrorCode.CANCEL)
        peer.flush()
        until(lambda: seen.codes == [1006])
        assert peer.status(peer.request("GET", "/")) == 200


def test_a_peer_that_breaks_the_protocol_loses_its_stream_only(server: Live, seen: Seen) -> None:
    with Frames(server) as one:
        one.send(headers(1, CONNECT) + data(1, masked(0x3)))
        assert one.wait(HEADERS, 1).flags & END_STREAM == 0
        assert one.wait(0, 1).payload[2:4] == (1002).to_bytes(2, "big")
        one.send(headers(3, GET, end_stream=True)).wait(HEADERS, 3)
    assert seen.codes == [1002]


@pytest.mark.limit("HTTP/2: a WebSocket's stream that its client leaves open, once our end is closed", memory=True)
def test_a_tunnel_that_the_client_never_ends(seen: Seen) -> None:
    """Ours is over; two seconds later the stream is reset, so that it does not count for ever."""
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        await ws.accept()

    with live(app, limit_streams=1) as server, beside(server, keeps=512 * KIB), Frames(server) as one:
        one.send(headers(1, CONNECT)).wait(HEADERS, 1)
        one.send(data(1, masked(0x8, (1000).to_bytes(2, "big"))))
        until(lambda: server.counters["requests_active"] == 0)
        assert one.send(headers(3, CONNECT)).wait(RST_STREAM, 3).number == ErrorCode.REFUSED_STREAM
        # What it still sends goes nowhere.
        one.send(data(1, bytes(16_384)) * 3)
        assert one.wait(RST_STREAM, 1).number == ErrorCode.NO_ERROR
        one.send(headers(5, CONNECT)).wait(HEADERS, 5)


def test_the_server_stops(server: Live, seen: Seen) -> None:
    with Frames(server) as one:
        one.send(headers(1, CONNECT)).wait(HEADERS, 1)
        stopping = asyncio.run_coroutine_threadsafe(server.server.stop(), server.loop)
        assert one.wait(GOAWAY).number == ErrorCode.NO_ERROR
        ping = one.wait(PING)
        assert one.wait(DATA, 1).payload[2:4] == (1001).to_bytes(2, "big")
        one.send(data(1, masked(0x8, (1001).to_bytes(2, "big")), end_stream=True))
        assert one.wait(DATA, 1).flags == END_STREAM
        # What was on its way is served too.
        one.send(frame(PING, ACK, 0, ping.payload))
        assert one.wait(GOAWAY).payload[:4] == (1).to_bytes(4, "big")
        assert one.peer.closed()
        stopping.result(WAIT)
    assert seen.codes == [1001]


# --- flow control


def test_a_handler_that_does_not_read_holds_the_peer_back(server: Live, seen: Seen) -> None:
    with dial(server) as peer:
        tunnel = Tunnel(peer, connect(b"/unread"))
        sent = 0
        peer.sock.settimeout(0.3)
        with suppress(TimeoutError):
            while True:
                tunnel.send(bytes(60_000))
                sent += 60_000
        # 16 messages, and a window that had grown while they were taken.
        assert 16 * 60_000 <= sent < 4 << 20
        peer.sock.settimeout(WAIT)
        # Others on the connection are served meanwhile.
        assert peer.status(peer.request("GET", "/")) == 200
        server.call(seen.go.set)
        assert Tunnel(peer, connect()).send("a").event() == ("text", "a")


def test_a_peer_that_opens_no_window_holds_the_handler_back(server: Live) -> None:
    with dial(server) as peer:
        peer.machine.increment_flow_control_window(4 << 20)
        tunnel = Tunnel(peer, connect())
        tunnel.send(bytes(1 << 20))
        until(lambda: server.counters["bytes_buffered"] > 0)
        assert Tunnel(peer, connect()).send("a").event() == ("text", "a")
        assert tunnel.event() == ("binary", bytes(1 << 20))
    server.settle()
    assert server.counters["bytes_buffered"] == 0
