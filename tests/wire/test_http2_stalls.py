"""HTTP/2 peers that stall, leave or are sent away: each stream for itself, the connection as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import h2.events
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame

from fastnet import App, Request
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, live, until

SHORT = 0.1
CANCEL = 8


class Seen:
    """What handlers noticed."""

    def __init__(self) -> None:
        self.events: list[str] = []


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def app(seen: Seen) -> App:
    app = App(max_body=1 << 20)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/slow")
    async def slow() -> str:
        seen.events.append("slow begun")
        await asyncio.sleep(4 * SHORT)
        return "slow"

    @app.get("/big")
    async def big() -> bytes:
        return b"x" * 500_000

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.001)
        finally:
            seen.events.append("stream closed")

    @app.get("/pieces")
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 1_000_000

    @app.post("/whole")
    async def whole(body: bytes) -> int:
        return len(body)

    @app.post("/late")
    async def late(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture
def server(app: App) -> Iterator[Live]:
    with live(app) as running:
        yield running


@pytest.fixture
def hurried(app: App) -> Iterator[Live]:
    with live(app, timeout_body=SHORT, timeout_write=SHORT) as running:
        yield running


@pytest.mark.parametrize("target", ["/whole", "/late"])
def test_an_upload_that_stalls_is_408_and_others_go_on(hurried: Live, target: str) -> None:
    with H2Peer(hurried.port) as peer:
        stalled = peer.request("POST", target, b"12345", end=False)
        slow = peer.request("GET", "/slow")
        assert peer.status(stalled) == 408
        assert peer.status(slow) == 200
        assert peer.status(peer.request("POST", target, b"123")) == 200
    assert hurried.settle()["timeouts"] == 1


def test_an_upload_that_keeps_coming_is_never_late(hurried: Live) -> None:
    with H2Peer(hurried.port) as peer:
        stream = peer.request("POST", "/whole", b"x", end=False)
        for _ in range(12):
            hurried.run(asyncio.sleep(SHORT / 2))
            peer.send(stream, b"x")
        peer.send(stream, b"x", end=True)
        assert peer.status(stream) == 200
    assert hurried.settle()["timeouts"] == 0


def test_a_stream_whose_window_stays_shut_is_reset(hurried: Live, seen: Seen) -> None:
    with H2Peer(hurried.port) as peer:
        stalled = peer.request("GET", "/stream")
        assert peer.status(stalled) == 200
        assert peer.reset(stalled) == CANCEL
        until(lambda: seen.events == ["stream closed"])
        assert peer.status(peer.request("GET", "/")) == 200
    assert hurried.settle()["timeouts"] == 1


def test_so_is_one_whose_handler_is_long_done(hurried: Live) -> None:
    with H2Peer(hurried.port, window=0) as peer:
        stalled = peer.request("GET", "/big")
        slow = peer.request("GET", "/slow")
        assert peer.status(stalled) == 200
        assert peer.reset(stalled) == CANCEL
        assert peer.status(slow) == 200
    assert hurried.settle()["timeouts"] >= 1


def test_alone_on_its_connection_it_is_idle(app: App) -> None:
    with live(app, timeout_idle=SHORT) as server, H2Peer(server.port, window=0) as peer:
        assert peer.status(peer.request("GET", "/big")) == 200
        assert peer.closed()


def test_a_slow_reader_is_not_stalled(hurried: Live) -> None:
    with H2Peer(hurried.port) as peer:
        stream = peer.request("GET", "/big")
        assert peer.status(stream) == 200
        body = b""
        while len(body) < 500_000:
            body += peer.take(stream)
            hurried.run(asyncio.sleep(SHORT / 8))
        peer.ended(stream)
    assert hurried.settle()["timeouts"] == 0


def test_large_pieces_go_through_windows_that_are_wide_open(server: Live) -> None:
    # A piece that is gone as soon as it was given must not be waited for.
    with H2Peer(server.port, window=1 << 24) as peer:
        peer.machine.increment_flow_control_window(1 << 24)
        for _ in range(3):
            stream = peer.request("GET", "/pieces")
            assert peer.status(stream) == 200
            size = 0
            while size < 4_000_000:
                size += len(peer.take(stream))
            peer.ended(stream)


def test_silence_is_answered_by_goaway(app: App) -> None:
    with live(app, timeout_idle=SHORT) as server, H2Peer(server.port) as peer:
        assert peer.status(peer.request("GET", "/")) == 200
        assert peer.wait(h2.events.ConnectionTerminated).error_code == 0
        assert peer.closed()


def test_a_slow_handler_is_not_silence(app: App) -> None:
    with live(app, timeout_idle=SHORT, timeout_body=SHORT) as server, H2Peer(server.port) as peer:
        assert peer.status(peer.request("GET", "/slow")) == 200


def test_a_reset_closes_the_stream_and_no_other(server: Live, seen: Seen) -> None:
    with H2Peer(server.port) as peer:
        one, two = peer.request("GET", "/stream"), peer.request("GET", "/stream")
        assert peer.status(one) == peer.status(two) == 200
        peer.machine.reset_stream(one)
        peer.flush()
        until(lambda: seen.events == ["stream closed"])
        assert len(peer.take(two)) > 0
        assert server.counters["requests_active"] == 1
        assert server.counters["disconnects"] == 1
    until(lambda: seen.events == ["stream closed"] * 2)
    assert server.settle()["disconnects"] == 2


def test_a_body_cut_off_by_its_reset(server: Live) -> None:
    with H2Peer(server.port) as peer:
        for target in ("/whole", "/late"):
            stream = peer.request("POST", target, b"123", end=False)
            until(lambda: server.counters["requests_active"] == 1)
            peer.machine.reset_stream(stream)
            peer.flush()
            until(lambda: server.counters["requests_active"] == 0)
        assert peer.status(peer.request("GET", "/")) == 200
    assert server.settle()["disconnects"] == 2


def test_a_drain_says_goaway_and_finishes_what_runs(server: Live, seen: Seen) -> None:
    with H2Peer(server.port) as peer:
        stream = peer.request("GET", "/slow")
        until(lambda: seen.events == ["slow begun"])
        stopped = asyncio.run_coroutine_threadsafe(server.server.stop(10), server.loop)
        # The library takes GOAWAY for the end of everything; it is not (RFC 9113, 6.8).
        announced, head, body, settled = (
            frame for frame in peer.frames() if isinstance(frame, (GoAwayFrame, HeadersFrame, DataFrame))
        )
        assert isinstance(announced, GoAwayFrame)
        assert (announced.error_code, announced.last_stream_id) == (0, 2**31 - 1)
        assert isinstance(settled, GoAwayFrame)
        assert (settled.error_code, settled.last_stream_id) == (0, stream)
        assert isinstance(head, HeadersFrame)
        assert isinstance(body, DataFrame)
        assert (body.stream_id, body.data, "END_STREAM" in body.flags) == (stream, b"slow", True)
        stopped.result(10)


def test_the_end_of_the_input_ends_every_stream(server: Live, seen: Seen) -> None:
    with H2Peer(server.port) as peer:
        streams = [peer.request("GET", "/stream") for _ in range(5)]
        assert {peer.status(stream) for stream in streams} == {200}
    until(lambda: seen.events == ["stream closed"] * 5)
    assert server.settle()["disconnects"] == 5
