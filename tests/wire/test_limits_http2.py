"""The limits of an HTTP/2 connection over a real socket: refused streams, and GOAWAY with ENHANCE_YOUR_CALM.

The machine's own tests, tests/http2/test_floods.py, have more kinds of floods; these show what the server makes of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from fastnet import App, Request
from fastnet_ext.http2.errors import ErrorCode
from fastnet_ext.http2.hpack import encode
from tests.http2.wire import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    data,
    frame,
    headers,
    reset,
    settings,
    window,
)
from tests.wire.bounds import KIB, MIB, beside, lines, told
from tests.wire.frames import Frames, at
from tests.wire.live import Live, live, until

STREAMS = 100
# The read buffer of the loop, and what one connection may have to send.
ROOM = 512 * KIB


@pytest.fixture
def go() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def server(go: asyncio.Event) -> Iterator[Live]:
    app = App(max_body=8 * MIB)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/held")
    async def held(request: Request) -> str:
        await go.wait()
        return str(len(await request.body()))

    @app.post("/read")
    async def read(body: bytes) -> str:
        return str(len(body))

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    with live(app) as running:
        yield running
        running.call(go.set)


HELD = at(b"/held")


@pytest.mark.limit("HTTP/2: concurrent streams", "Requests in flight: requests on an HTTP/2 connection", memory=True)
def test_more_streams_than_the_limit(server: Live, go: asyncio.Event) -> None:
    with beside(server, keeps=ROOM), Frames(server) as one:
        one.send(b"".join(headers(i, HELD, end_stream=True) for i in range(1, 2 * STREAMS, 2)))
        until(lambda: server.counters["requests_active"] == STREAMS)
        one.send(headers(2 * STREAMS + 1, HELD, end_stream=True))
        assert one.wait(RST_STREAM, 2 * STREAMS + 1).number == ErrorCode.REFUSED_STREAM
        # One that was reset counts until its handler has ended.
        one.send(reset(1) + headers(2 * STREAMS + 3, HELD, end_stream=True))
        assert one.wait(RST_STREAM, 2 * STREAMS + 3).number == ErrorCode.REFUSED_STREAM
        server.call(go.set)
        one.wait(HEADERS, 2 * STREAMS - 1)
        one.send(headers(2 * STREAMS + 5, HELD, end_stream=True)).wait(HEADERS, 2 * STREAMS + 5)


LONG = b"\x40\x01x\x7f\xb9\x16" + b"y" * 3000  # a field of 3,000 bytes that enters the table: RFC 7541, 6.2.1
FIRST_OF_TABLE = b"\xbe"


@pytest.mark.limit("HTTP/2: header list", "HTTP/2: header fields, cookie crumbs included", memory=True)
@pytest.mark.parametrize(
    ("block", "counter", "value", "setting"),
    [
        (encode([*GET, (b"x", b"y" * 70_000)]), "head", "65536 bytes", "limit_head"),
        (encode(GET) + LONG + FIRST_OF_TABLE * 100, "head", "65536 bytes", "limit_head"),
        (
            encode([*GET, *[(b"x", b"y")] * 125]) + LONG + FIRST_OF_TABLE * 16_000,
            "fields",
            "128 fields",
            "limit_fields",
        ),
        (encode([*GET, *[(b"cookie", b"a")] * 129]), "fields", "128 fields", "limit_fields"),
        (encode([*GET, *[(b"cookie", b"")] * 2000]), "fields", "128 fields", "limit_fields"),
    ],
    ids=["one long field", "references to a long field", "many references", "crumbs", "empty crumbs"],
)
def test_a_head_that_is_too_large(
    server: Live, block: bytes, counter: str, value: str, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    pieces = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    sent = frame(HEADERS, END_STREAM | (END_HEADERS if len(pieces) == 1 else 0), 1, pieces[0])
    for number, piece in enumerate(pieces[1:], 2):
        sent += frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, 1, piece)
    with beside(server, keeps=ROOM), Frames(server) as one:
        assert one.send(sent).status(1) == b"431"
        # The connection goes on, its table in step.
        assert one.send(headers(3, end_stream=True)).status(3) == b"200"
    counters = server.settle()
    assert {name for name, count in counters.items() if name.startswith("limit_") and count} == {f"limit_{counter}"}
    told(caplog, counter, value, setting, "answered 431")


@dataclass
class Flood:
    """What is sent again and again; ``allowed`` of it first, which is let through."""

    piece: bytes
    allowed: int
    first: bytes = b""
    # Whether each piece opens a stream of its own: then it is made for that.
    streams: bool = False

    def bytes(self, count: int, begin: int = 0) -> bytes:
        if not self.streams:
            return self.piece * count
        return b"".join(headers(2 * n + 1) + reset(2 * n + 1) for n in range(begin, begin + count))


OPEN = headers(1, HELD)
FLOODS = [
    pytest.param(
        Flood(frame(CONTINUATION, 0, 1, b""), 8, frame(HEADERS, 0, 1, encode(GET))),
        marks=pytest.mark.limit("HTTP/2: CONTINUATION frames of a block", memory=True),
        id="continuations",
    ),
    pytest.param(
        Flood(b"", 1000, streams=True),
        marks=pytest.mark.limit("HTTP/2: resets, the peer's and those it provokes", memory=True),
        id="resets",
    ),
    pytest.param(
        Flood(window(1, 1), 9000, OPEN),
        marks=pytest.mark.limit("HTTP/2: frames that do nothing for a request", memory=True),
        id="window updates",
    ),
    pytest.param(
        Flood(frame(0x99), 9000),
        marks=pytest.mark.limit("HTTP/2: frames that do nothing for a request", memory=True),
        id="unknown frames",
    ),
    pytest.param(
        Flood(data(1), 100, OPEN),
        marks=pytest.mark.limit("HTTP/2: empty DATA frames in a row", memory=True),
        id="empty data",
    ),
]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_the_connection(
    server: Live, go: asyncio.Event, flood: Flood, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with beside(server, keeps=ROOM), Frames(server) as one:
        one.send(flood.first + flood.bytes(flood.allowed))
        if flood.first[3:5] != frame(HEADERS, 0, 1)[3:5]:
            # Up to here it is let through: within a block of headers nothing else may be sent.
            one.send(frame(PING, 0, 0, b"12345678")).wait(PING)
        one.send(flood.bytes(4000, flood.allowed))
        assert one.wait(GOAWAY).number == ErrorCode.ENHANCE_YOUR_CALM
    server.call(go.set)
    counters = server.settle()
    assert (counters["limit_flood"], counters["bytes_buffered"], counters["internal"]) == (1, 0, 0)
    told(caplog, "flood", "", "", "closed")


@pytest.mark.limit("HTTP/2: entries of a SETTINGS frame", memory=True)
def test_a_large_settings_frame(server: Live) -> None:
    entries = [(INITIAL_WINDOW_SIZE, size) for size in range(33)]
    with beside(server, keeps=ROOM), Frames(server, settings(*entries[:32])) as one:
        # The first acknowledges the 32, all of them.
        assert one.wait(SETTINGS).flags == 0
        assert one.wait(SETTINGS).flags == ACK
        assert one.send(settings(*entries)).wait(GOAWAY).number == ErrorCode.ENHANCE_YOUR_CALM
    assert server.settle()["limit_flood"] == 1


@pytest.mark.limit("HTTP/2: answers owed and not yet taken (SETTINGS, PING, RST)", memory=True)
@pytest.mark.parametrize("asked", [frame(PING, 0, 0, bytes(8)), settings()], ids=["pings", "settings"])
def test_answers_that_are_owed(server: Live, asked: bytes) -> None:
    with beside(server, keeps=ROOM), Frames(server) as one:
        one.send(asked * 20_000)
        assert one.wait(GOAWAY).number == ErrorCode.ENHANCE_YOUR_CALM
    assert server.settle()["limit_flood"] == 1


@pytest.mark.limit("HTTP/2: stream window, connection window", memory=True)
def test_a_body_stops_at_its_window(server: Live, go: asyncio.Event) -> None:
    """Nobody reads it: no more window is given, and a stream that goes on all the same is in error."""
    piece = data(1, b"x" * 16_384)
    # What waits for its reader, and a window beyond it.
    most = (256 + 64) * KIB
    with beside(server, keeps=most + ROOM), Frames(server) as one:
        one.send(OPEN + piece * 40)
        assert one.wait(RST_STREAM, 1).number == ErrorCode.FLOW_CONTROL_ERROR
    with beside(server, keeps=most + ROOM), Frames(server) as another:
        another.send(OPEN + piece * 4).wait(WINDOW_UPDATE, 1)
        sent, window = 64 * KIB, 0
        # A peer that keeps to it is never in error; it waits.
        another.peer.sock.settimeout(0.3)
        with suppress(TimeoutError):
            while True:
                another.send(piece)
                window += another.wait(WINDOW_UPDATE, 1).number
                sent += 16_384
        assert sent <= most + 16_384
        another.peer.sock.settimeout(10)
        server.call(go.set)
        assert another.send(data(1, b"", end_stream=True)).status(1) == b"200"


@pytest.mark.limit("HTTP/2: stream window while its reader keeps up", memory=True)
def test_the_window_of_a_stream_that_is_read(server: Live) -> None:
    """It is 1 MiB once the reader has shown that it reads, and 64 KiB before."""
    with beside(server, keeps=8 * MIB), Frames(server) as one:
        one.send(headers(1, at(b"/read")) + data(1, b"x" * 16_384) * 4)
        # Told when half of the first window was used.
        assert one.wait(WINDOW_UPDATE, 1).number == MIB - 32 * KIB
        one.send(data(1, b"x" * 16_384) * 61 + data(1, b"x" * 16_384, end_stream=True))
        assert one.status(1) == b"200"


@pytest.mark.limit("HTTP/2: what handlers leave unread on a connection", memory=True)
def test_bodies_that_nobody_reads(server: Live, go: asyncio.Event, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    part = 4 * [b"x" * 16_384]

    kept = 0

    def round(one: Frames, *streams: int) -> None:
        nonlocal kept
        one.send(b"".join(data(stream, piece) for stream in streams for piece in part))
        kept += len(streams) * 64 * KIB
        until(lambda: server.counters["bytes_buffered"] >= kept)

    others = range(3, 65, 2)
    with beside(server, keeps=8 * MIB + ROOM), Frames(server) as one:
        one.send(b"".join(headers(stream, HELD) for stream in (1, *others)))
        for _ in range(5):
            round(one, 1)
        for _ in range(3):
            round(one, *others)
        assert lines(caplog) == []
        # 31 streams of 256 KiB, and one with more.
        one.send(b"".join(data(stream, piece) for stream in others for piece in part))
        assert one.wait(RST_STREAM, 1).number == ErrorCode.ENHANCE_YOUR_CALM
        server.call(go.set)
        one.send(b"".join(data(stream, b"", end_stream=True) for stream in others))
        # The rest is answered, whole.
        for _ in others:
            assert one.any_status() == b"200"
    told(caplog, "unread", "8388608 bytes", "", "stream reset")
    counters = server.settle()
    assert (counters["limit_unread"], counters["bytes_buffered"]) == (1, 0)


@pytest.mark.limit("HTTP/2: bytes of a stream that wait for its window", memory=True)
def test_output_that_waits_for_its_window(server: Live, caplog: pytest.LogCaptureFixture) -> None:
    streams = 20
    with Frames(server, settings((INITIAL_WINDOW_SIZE, 0))) as one:
        with beside(server, keeps=streams * 2 * 64 * KIB + ROOM):
            one.send(b"".join(headers(2 * n + 1, at(b"/stream", GET), end_stream=True) for n in range(streams)))
            until(lambda: server.counters["bytes_buffered"] >= streams * 64 * KIB)
            server.run(asyncio.sleep(0.1))
        # A window that opens lets the handler go on.
        one.send(window(1, 70_000)).wait(0, 1)
    until(lambda: server.counters["bytes_buffered"] == 0)
    assert lines(caplog) == []
