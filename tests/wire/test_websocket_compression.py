"""permessage-deflate over sockets: clients of others, HTTP/1.1 and HTTP/2, routes and mounts."""

from __future__ import annotations

import asyncio
import json
import os
import zlib
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from fastnet import App
from fastnet.websocket import PerMessageDeflate, WebSocket
from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.extensions import agree
from fastnet_ext.websocket.session import Limits
from tests.websocket.wire import frame
from tests.wire import test_http2_websocket as http2
from tests.wire.bounds import KIB, MIB, beside
from tests.wire.frames import UPGRADE
from tests.wire.live import Live, live

RECORDS = json.dumps([{"id": number, "name": f"name {number}", "active": True} for number in range(100)])
MESSAGES: list[str | bytes] = [
    *("", "small", RECORDS, RECORDS, "žluťoučký 🐎" * 5000, "x" * 900_000),
    *(b"", bytes(100_000), os.urandom(100_000)),
]
KEEP = PerMessageDeflate(server_no_context_takeover=False, client_no_context_takeover=False)


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    app.websocket("/default")(echo)
    app.websocket("/keep", compression=KEEP)(echo)
    app.websocket("/small", compression=PerMessageDeflate(server_max_window_bits=9, min_size=1), max_message=1000)(echo)
    app.websocket("/plain", compression=False)(echo)
    app.mount("/asgi", asgi)
    app.mount("/asgi-plain", asgi, compression=False)
    with live(app) as running:
        yield running


def dial(server: Live, path: str, **options: Any) -> ClientConnection:
    server.opened += 1
    client: ClientConnection = connect(f"ws://127.0.0.1:{server.port}{path}", proxy=None, max_size=1 << 24, **options)
    return client


def agreed_on(client: ClientConnection) -> str | None:
    assert client.response is not None
    return client.response.headers.get("Sec-WebSocket-Extensions")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/default", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ("/keep", "permessage-deflate"),
        ("/asgi/", None),
        ("/plain", None),
        ("/asgi-plain/", None),
    ],
)
def test_websockets_echoes(server: Live, path: str, answer: str | None) -> None:
    with dial(server, path) as client:
        if path != "/asgi/":
            assert agreed_on(client) == answer
        else:
            assert agreed_on(client) is not None
        for message in MESSAGES:
            client.send(message)
            assert client.recv() == message
        client.send(["frag", "ments ", RECORDS])
        assert client.recv() == "fragments " + RECORDS
    assert server.settle()["bytes_buffered"] == 0


@pytest.mark.parametrize("server_bits", [None, 9, 15])
@pytest.mark.parametrize("client_bits", [None, True, 9, 15])
@pytest.mark.parametrize("keeps", [True, False])
def test_any_parameters_of_the_client(
    server: Live, keeps: bool, client_bits: int | None, server_bits: int | None
) -> None:
    offer = ClientPerMessageDeflateFactory(not keeps, not keeps, server_bits, client_bits)
    with dial(server, "/keep", compression=None, extensions=[offer]) as client:
        assert agreed_on(client) is not None
        for _ in range(3):
            for message in MESSAGES:
                client.send(message)
                assert client.recv() == message


@pytest.mark.parametrize("path", ["/default", "/keep"])
def test_what_is_sent_is_small(server: Live, path: str) -> None:
    before = server.settle()
    with dial(server, path) as client:
        for _ in range(20):
            client.send(RECORDS)
            assert client.recv() == RECORDS
    sent = server.settle()["bytes_sent"] - before["bytes_sent"]
    assert sent < 20 * len(RECORDS) / 4


def test_aiohttp_echoes(server: Live) -> None:
    async def test() -> None:
        async with aiohttp.ClientSession() as session:
            for path in ("/default", "/keep", "/asgi/"):
                url = f"http://127.0.0.1:{server.port}{path}"
                async with session.ws_connect(url, compress=15, max_msg_size=1 << 24) as ws:
                    assert ws.compress
                    for message in MESSAGES:
                        if isinstance(message, str):
                            await ws.send_str(message)
                        else:
                            await ws.send_bytes(message)
                        assert (await ws.receive()).data == message

    asyncio.run(test())


@pytest.mark.parametrize("path", [b"/default", b"/keep", b"/asgi/"])
def test_over_http2(server: Live, path: bytes) -> None:
    settings = PerMessageDeflate(server_no_context_takeover=False, client_no_context_takeover=False)
    with http2.dial(server) as peer:
        fields = http2.connect(path, (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"))
        tunnel = http2.Tunnel(peer, fields)
        agreement = agree(tunnel.fields[b"sec-websocket-extensions"].decode(), settings)
        assert tunnel.status == 200
        tunnel.socket = Connection("client", Limits(message=4 << 20), deflate=agreement)
        for message in MESSAGES:
            tunnel.send(message)
            kind = "text" if isinstance(message, str) else "binary"
            assert tunnel.event() == (kind, message)


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; unknown",
        "x-webkit-deflate-frame",
    ],
)
def test_what_cannot_be_agreed_on_is_declined(server: Live, offer: str) -> None:
    with server.peer().get("/default", *UPGRADE, f"sec-websocket-extensions: {offer}") as peer:
        answer = peer.answer()
        assert answer.status == 101
        assert "sec-websocket-extensions" not in dict(answer.fields)


def test_a_malformed_offer_is_no_hand_shake(server: Live) -> None:
    with server.peer().get("/default", *UPGRADE, "sec-websocket-extensions: permessage-deflate; =") as peer:
        answer = peer.answer()
        assert answer.status == 400
        assert b"Sec-WebSocket-Extensions is not a list of extensions" in answer.body


OFFER = (*UPGRADE, "sec-websocket-extensions: permessage-deflate")


@pytest.mark.limit("WebSocket: message, all its fragments", memory=True)
@pytest.mark.parametrize("path", ["/default", "/keep", "/asgi/"])
def test_a_bomb(server: Live, path: str) -> None:
    """A thousandth of what it becomes: no more than the limit does, and everyone else is served meanwhile."""
    largest = 16 * MIB if path == "/asgi/" else MIB
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(200 * MIB)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    with beside(server, keeps=2 * largest + 512 * KIB), server.peer().get(path, *OFFER) as peer:
        assert peer.answer().status == 101
        peer.send(frame(2, bomb[:-4], rsv=4))
        head = peer.exactly(2)
        assert head[0] == 0x88
        assert int.from_bytes(peer.exactly(head[1])[:2]) == CloseCode.MESSAGE_TOO_BIG
    counters = server.settle()
    assert counters["limit_message"] > 0
    assert (counters["bytes_buffered"], counters["internal"]) == (0, 0)


def test_the_limit_of_a_route_is_of_what_comes_out(server: Live) -> None:
    with dial(server, "/small") as client:
        client.send("x" * 1000)
        assert client.recv() == "x" * 1000
        client.send("x" * 1001)
        with pytest.raises(ConnectionClosedError) as raised:
            client.recv()
    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == CloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(frame(1, b"Hello", rsv=4), CloseCode.INVALID_DATA, id="bad data"),
        pytest.param(frame(9, b"Hello", rsv=4), CloseCode.PROTOCOL_ERROR, id="RSV1 on a Ping"),
        pytest.param(frame(1, b"Hello", rsv=2), CloseCode.PROTOCOL_ERROR, id="RSV2"),
    ],
)
@pytest.mark.parametrize("path", ["/default", "/keep"])
def test_what_is_wrong_ends_the_connection(server: Live, path: str, frames: bytes, code: int) -> None:
    with server.peer().get(path, *OFFER) as peer:
        assert peer.answer().status == 101
        peer.send(frames)
        head = peer.exactly(2)
        assert head[0] == 0x88
        assert int.from_bytes(peer.exactly(head[1])[:2]) == code
        assert peer.closed()
    counters = server.settle()
    assert (counters["bytes_buffered"], counters["internal"]) == (0, 0)
