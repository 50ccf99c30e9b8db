"""Token streams over HTTP/1.1 and HTTP/2, as text and as events: what leaves when, slow readers, their end, errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h2.events
import msgspec
import pytest

from fastnet import App, EventStream, HTTPException, Request, ServerSentEvent, current_request_id
from fastnet.streaming import TokenStream, TokenStreams
from fastnet_ext.sse.parser import EventParser
from tests.wire.live import Live, live, until
from tests.wire.test_sse_wire import PROTOCOLS, Reader, closed, readers

__all__ = ["closed", "readers"]  # the fixture that closes connections


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.given = 0


@contextmanager
def serving(log: Log) -> Iterator[Live]:
    app = App()

    async def waits() -> AsyncIterator[str]:
        try:
            yield "first "
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.said.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            log.said.append("closed")

    async def floods() -> AsyncIterator[str]:
        try:
            while True:
                log.given += 1
                yield "0123456789" * 10
        finally:
            log.said.append("closed")

    async def fails(error: Exception) -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(0)
        raise error

    async def three() -> AsyncIterator[str]:
        for word in ("one ", "two ", "drei\n"):
            yield word

    sources: dict[str, Callable[[], AsyncIterator[str]]] = {
        "waits": waits,
        "floods": floods,
        "three": three,
        "breaks": lambda: fails(RuntimeError("secret")),
        "refuses": lambda: fails(HTTPException(503, "no model")),
    }

    @app.get("/text/{name}")
    async def text(name: str) -> TokenStream:
        return TokenStream(sources[name]())

    @app.get("/data/{name}")
    async def data(name: str) -> EventStream:
        return EventStream(TokenStream(sources[name]()))

    @app.get("/events/{name}")
    async def events(name: str) -> EventStream:
        return EventStream(TokenStream(sources[name]()).events())

    @app.sse("/generator/{name}")
    async def generator(name: str) -> AsyncIterator[ServerSentEvent]:
        async with TokenStream(sources[name]()) as stream:
            async for event in stream.events():
                yield event

    @app.get("/all/{names}")
    async def several(names: str) -> EventStream:
        streams = TokenStreams()
        for n, name in enumerate(names.split("+")):
            streams.start(str(n), sources[name]())
        return EventStream(streams.events())

    @app.get("/id")
    async def identity(request: Request) -> TokenStream:
        async def source() -> AsyncIterator[str]:
            await asyncio.sleep(0)
            yield f"{request.id} {current_request_id()}"

        return TokenStream(source())

    with live(app) as server:
        yield server


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


WAYS = ["text", "data", "events", "generator", "all"]


def read(server: Live, protocol: str, path: str) -> bytes:
    """The whole body."""
    reader = Reader(server, protocol, path)
    if reader.http1 is None:
        reader.http2.ended(reader.stream)
        pieces = [event.data for event in reader.http2.events if isinstance(event, h2.events.DataReceived)]
    else:
        pieces = list(iter(reader.piece, b""))
    reader.close()
    return b"".join(pieces)


def told(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    return [(event.event, msgspec.json.decode(event.data)) for event in EventParser().feed(body)]


def test_text(protocol: str) -> None:
    with serving(Log()) as server:
        assert read(server, protocol, "/text/three") == b"one two drei\n"
        assert [event.data for event in EventParser().feed(read(server, protocol, "/data/three"))] == [
            "one ",
            "two ",
            "drei\n",
        ]


@pytest.mark.parametrize("way", ["events", "generator"])
def test_events(protocol: str, way: str) -> None:
    with serving(Log()) as server:
        *chunks, usage, end = told(read(server, protocol, f"/{way}/three"))
        assert chunks == [("chunk", {"type": "chunk", "text": text}) for text in ("one ", "two ", "drei\n")]
        assert (usage[0], usage[1]["tokens"]) == ("usage", 3)
        assert end == ("end", {"type": "end", "reason": "stop"})


def test_several_streams_in_one_answer(protocol: str) -> None:
    with serving(Log()) as server:
        messages = told(read(server, protocol, "/all/three+three+refuses"))
        assert {message["id"] for _, message in messages} == {"0", "1", "2"}
        for id in ("0", "1"):
            own = [message for _, message in messages if message["id"] == id]
            assert [message["type"] for message in own] == ["start", "chunk", "chunk", "chunk", "usage", "end"]
        kinds = [kind for kind, message in messages if message["id"] == "2"]
        assert kinds == ["start", "chunk", "usage", "error"]


@pytest.mark.parametrize("way", WAYS)
def test_the_first_token_leaves_at_once_and_the_source_ends_with_its_reader(protocol: str, way: str) -> None:
    log = Log()
    with serving(log) as server:
        reader = Reader(server, protocol, f"/{way}/waits")
        reader.until(b"first ")
        assert log.said == []
        reader.leave()
        until(lambda: log.said == ["cancelled", "closed"])
        until(lambda: server.counters["requests_active"] == 0)
        reader.close()


@pytest.mark.limit("Token streams: text that waits for its reader")
@pytest.mark.parametrize("way", WAYS)
def test_a_slow_reader_slows_the_source(protocol: str, way: str) -> None:
    log = Log()
    options: dict[str, Any] = {"receive_buffer": 8192} if protocol == "HTTP/1.1" else {"window": 20_000}
    with serving(log) as server:
        reader = Reader(server, protocol, f"/{way}/floods", **options)
        given = -1
        while log.given != given:
            given = log.given
            time.sleep(0.3)
        # What the sockets, our own output and the stream's buffer hold, in tokens of 100 bytes.
        assert given < 100_000
        # What waited was joined; what comes is still what was given.
        reader.until(b"0123456789" * 20)
        reader.leave()
        until(lambda: log.said == ["closed"])
        reader.close()


@pytest.mark.parametrize("way", ["events", "generator", "all"])
def test_an_exception_is_an_event_without_its_traceback(
    protocol: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Log()) as server:
        body = read(server, protocol, f"/{way}/breaks")
        kind, message = told(body)[-1]
        assert (kind, message["problem"]["status"]) == ("error", 500)
        assert b"secret" not in body
        identity = message["problem"]["request_id"]
        assert f"[request {identity}]" in caplog.text
        assert "RuntimeError: secret" in caplog.text
        kind, message = told(read(server, protocol, f"/{way}/refuses"))[-1]
        assert (kind, message["problem"]["status"], message["problem"]["detail"]) == ("error", 503, "no model")


def test_an_exception_breaks_a_text_off(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(Log()) as server:
        reader = Reader(server, protocol, "/text/breaks")
        if reader.http1 is None:
            assert reader.http2.reset(reader.stream) == 2
        else:
            with pytest.raises(EOFError):
                reader.ended()
        reader.close()
    assert "RuntimeError: secret" in caplog.text


def test_a_source_knows_its_request(protocol: str) -> None:
    with serving(Log()) as server:
        one, other = read(server, protocol, "/id").split()
        assert one == other
