"""Event streams over HTTP/1.1 and HTTP/2: when events leave, silence, slow clients, ends from either side."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import h2.events
import pytest
from hyperframe.frame import DataFrame

from fastnet import App, EventStream, ServerSentEvent
from fastnet_ext.sse.parser import EventParser
from tests.wire.h2peer import H2Peer
from tests.wire.live import WAIT, Live, Peer, live, until

PROTOCOLS = ["HTTP/1.1", "HTTP/2"]


readers: list[Reader] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Whatever becomes of a test, its connections are closed."""
    yield
    while readers:
        readers.pop().close()


class Reader:
    """One stream of events, read piece by piece; what has come is in ``text``."""

    def __init__(self, server: Live, protocol: str, path: str, method: str = "GET", **options: Any) -> None:
        self.text = b""
        self.http1: Peer | None = None
        server.opened += 1
        readers.append(self)
        if protocol == "HTTP/2":
            self.http2 = H2Peer(server.port, **options)
            self.stream = self.http2.request(method, path)
            assert self.http2.status(self.stream) == 200
        else:
            self.http1 = Peer(server.port, **options)
            self.http1.sock.sendall(f"{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n".encode())
            assert self.http1.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")

    def piece(self) -> bytes:
        """The next piece of the body; b"" at its end."""
        if self.http1 is None:
            return self.http2.take(self.stream)
        size = int(self.http1.until(b"\r\n"), 16)
        return self.http1.exactly(size + 2)[:size]

    def until(self, mark: bytes) -> bytes:
        while mark not in self.text:
            self.text += self.piece()
        return self.text

    def ended(self) -> None:
        """Wait for the proper end of the stream."""
        if self.http1 is None:
            return self.http2.ended(self.stream)
        while self.piece():
            pass
        return None

    def drained(self, mark: bytes = b"") -> None:
        """The proper end of the stream on a connection that ends with it; ``mark`` comes before."""
        if self.http1 is not None:
            if mark:
                self.until(mark)
            return self.ended()
        # h2 takes nothing more after GOAWAY, so the frames are read as they are.
        data = [
            frame for frame in self.http2.frames() if isinstance(frame, DataFrame) and frame.stream_id == self.stream
        ]
        assert mark in b"".join(frame.data for frame in data)
        assert "END_STREAM" in data[-1].flags
        return None

    def read_out(self) -> None:
        """Read to the end of the stream, giving windows back."""
        if self.http1 is not None:
            return self.ended()
        while not any(isinstance(event, h2.events.StreamEnded) for event in self.http2.events):
            self.piece()
        return None

    def leave(self) -> None:
        """As clients do: HTTP/1.1 closes the connection, HTTP/2 resets the stream."""
        if self.http1 is not None:
            self.http1.sock.close()
        else:
            self.http2.machine.reset_stream(self.stream, 8)
            self.http2.flush()

    def close(self) -> None:
        (self.http2.sock if self.http1 is None else self.http1.sock).close()


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.sent = 0


@contextmanager
def serving(log: Log, **settings: Any) -> Iterator[Live]:
    app = App()

    @app.sse("/once", methods=["GET", "POST"], heartbeat=0)
    async def once() -> AsyncIterator[Any]:
        try:
            yield ServerSentEvent({"n": 1}, event="tick", id="1")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.said.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            log.said.append("closed")

    @app.sse("/silent", heartbeat=0)
    async def silent() -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield "never"

    @app.sse("/beats", heartbeat=0.2)
    async def beats() -> AsyncIterator[Any]:
        yield "one"
        await asyncio.Event().wait()

    @app.sse("/talks", heartbeat=0.5)
    async def talks() -> AsyncIterator[Any]:
        while True:
            yield "word"
            await asyncio.sleep(0.05)

    @app.sse("/flood", heartbeat=0.1)
    async def flood() -> AsyncIterator[Any]:
        try:
            while True:
                log.sent += 1
                yield "x" * 1000
        finally:
            log.said.append("closed")

    @app.sse("/fails")
    async def fails() -> AsyncIterator[Any]:
        yield "one"
        await asyncio.sleep(0)
        raise RuntimeError("secret")

    @app.sse("/shared", replay=4, linger=0)
    async def shared() -> AsyncIterator[Any]:
        try:
            while True:
                log.sent += 1
                yield "x" * 20_000
        finally:
            log.said.append("closed")

    @app.get("/returned")
    async def returned() -> EventStream:
        return EventStream(once())

    with live(app, **settings) as server:
        yield server


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("path", ["/once", "/returned"])
def test_the_first_event_leaves_at_once(protocol: str, path: str) -> None:
    with serving(Log()) as server:
        reader = Reader(server, protocol, path)
        assert reader.until(b"\n\n") == b'event: tick\nid: 1\ndata: {"n":1}\n\n'
        reader.close()


def test_the_head_leaves_before_the_first_event(protocol: str) -> None:
    with serving(Log()) as server:
        # The reader waits for status 200 when it is made.
        Reader(server, protocol, "/silent").close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_generator_is_closed_when_the_client_goes(protocol: str, method: str) -> None:
    log = Log()
    with serving(log) as server:
        reader = Reader(server, protocol, "/once", method)
        reader.until(b"\n\n")
        assert log.said == []
        reader.leave()
        until(lambda: log.said == ["cancelled", "closed"])
        until(lambda: server.counters["requests_active"] == 0)
        reader.close()


def test_silence_is_filled_with_comments(protocol: str) -> None:
    # The sweep comes four times in the shortest timeout.
    with serving(Log(), timeout_idle=0.4) as server:
        reader = Reader(server, protocol, "/beats")
        text = reader.until(b":\n\n:\n\n:\n\n")
        assert text.startswith(b"data: one\n\n:\n\n")
        assert [one.data for one in EventParser().feed(text)] == ["one"]
        reader.close()


def test_a_stream_that_talks_has_no_heartbeats(protocol: str) -> None:
    with serving(Log(), timeout_idle=0.4) as server:
        reader = Reader(server, protocol, "/talks")
        reader.until(b"data: word\n\n" * 30)
        # A pause of the whole machine is silence too: none is normal, each second of words with one is not.
        assert reader.text.count(b":\n\n") <= 3
        reader.close()


@pytest.mark.limit("Event streams: what waits for a slow client", memory=True)
def test_a_slow_client_is_waited_for(protocol: str) -> None:
    log = Log()
    options: dict[str, Any] = {"receive_buffer": 8192} if protocol == "HTTP/1.1" else {"window": 20_000}
    with serving(log) as server:
        reader = Reader(server, protocol, "/flood", **options)
        sent = -1
        while log.sent != sent:
            sent = log.sent
            time.sleep(0.3)
        # What the sockets and our own output hold; without a bound it would go on for ever.
        assert sent < 20_000
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        time.sleep(0.3)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 0.2
        assert log.sent == sent
        reader.until(b"data: ")
        reader.leave()
        until(lambda: log.said == ["closed"])
        reader.close()


@pytest.mark.limit("Event streams: events kept for replay", memory=True)
def test_a_slow_client_of_a_shared_stream_is_ended(protocol: str) -> None:
    log = Log()
    options: dict[str, Any] = {"receive_buffer": 8192} if protocol == "HTTP/1.1" else {"window": 20_000}
    with serving(log) as server:
        reader = Reader(server, protocol, "/shared", **options)
        until(lambda: log.sent > 2_000, 4 * WAIT)
        # It reads on, finds that it fell behind, and is told so by the stream's end.
        reader.read_out()
        until(lambda: log.said == ["closed"])
        reader.close()


def test_a_drain_ends_streams_properly(protocol: str) -> None:
    log = Log()
    with serving(log) as server:
        streams = [Reader(server, protocol, path) for path in ("/once", "/silent", "/beats")]
        streams[0].until(b"\n\n")
        stopped = asyncio.run_coroutine_threadsafe(server.server.stop(timeout=WAIT), server.loop)
        for reader in streams:
            reader.drained()
            reader.close()
        stopped.result(WAIT)
        assert log.said == ["cancelled", "closed"]


def test_a_drain_lets_the_answer_to_a_post_end_by_itself(protocol: str) -> None:
    app, go = App(), asyncio.Event()

    @app.sse("/", methods=["POST"])
    async def tokens() -> AsyncIterator[str]:
        yield "first"
        await go.wait()
        yield "last"

    with live(app) as server:
        reader = Reader(server, protocol, "/", "POST")
        reader.until(b"first\n\n")
        stopped = asyncio.run_coroutine_threadsafe(server.server.stop(timeout=WAIT), server.loop)
        until(lambda: app.shutting_down)
        server.loop.call_soon_threadsafe(go.set)
        reader.drained(b"last\n\n")
        reader.close()
        stopped.result(WAIT)


def test_a_generator_that_fails_breaks_the_stream_off(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(Log()) as server:
        reader = Reader(server, protocol, "/fails")
        if reader.http1 is None:
            assert reader.http2.reset(reader.stream) == 2
        else:
            # It ends without the last chunk, so that the client knows.
            with pytest.raises(EOFError):
                reader.until(b"never")
        assert b"secret" not in reader.text
        reader.close()
    assert "an answer failed midway" in caplog.text


def test_many_streams_on_one_connection() -> None:
    with serving(Log()) as server:
        server.opened += 1
        with H2Peer(server.port) as peer:
            streams = [peer.request("GET", "/once") for _ in range(50)]
            for stream in streams:
                assert peer.status(stream) == 200
                assert peer.take(stream).endswith(b"\n\n")
