"""Routes of events: registration, what may be yielded, options, Last-Event-ID, replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import msgspec
import pytest

from fastnet import (
    App,
    Depends,
    EventStream,
    Header,
    HTTPException,
    LastEventId,
    Request,
    Response,
    Router,
    ServerSentEvent,
)
from fastnet.handlers import HandlerError
from fastnet.sse import replay
from fastnet.sse.replay import ReplayLogs
from fastnet_ext.sse.parser import EventParser, ServerEvent
from tests.fastnet.serving import Answer, serving
from tests.loops import run


class Point(msgspec.Struct):
    x: int
    y: int = 0


def events(answer: Answer) -> list[tuple[str, str, str]]:
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    return [(one.event, one.data, one.id) for one in EventParser().feed(answer.body)]


# --- what may be yielded


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("text", b"data: text\n\n"),
        ("two\nlines", b"data: two\ndata: lines\n\n"),
        (b"bytes", b"data: bytes\n\n"),
        ({"n": 1}, b'data: {"n":1}\n\n'),
        ([1, None], b"data: [1,null]\n\n"),
        (None, b"data: null\n\n"),
        (7, b"data: 7\n\n"),
        (Point(1, 2), b'data: {"x":1,"y":2}\n\n'),
        (ServerSentEvent({"n": 1}, event="tick", id="1"), b'event: tick\nid: 1\ndata: {"n":1}\n\n'),
        (ServerSentEvent(Point(1)), b'data: {"x":1,"y":0}\n\n'),
        (ServerSentEvent(b"raw"), b"data: raw\n\n"),
        (ServerSentEvent(comment="hm", retry=5), b": hm\nretry: 5\n\n"),
    ],
)
def test_what_is_yielded(item: Any, expected: bytes) -> None:
    app = App()

    @app.sse("/async")
    async def asynchronous() -> AsyncIterator[Any]:
        yield item
        yield item

    @app.sse("/sync")
    def synchronous() -> Iterator[Any]:
        yield item
        yield item

    @app.get("/returned")
    async def returned() -> EventStream:
        return EventStream([item, item])

    with serving(app) as client:
        for path in ("/async", "/sync", "/returned"):
            answer = client.get(path)
            assert (answer.status, answer.body) == (200, expected * 2)
            assert answer.headers["content-type"] == "text/event-stream"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-accel-buffering"] == "no"


def test_an_event_is_checked_when_it_is_made() -> None:
    mistakes: list[dict[str, Any]] = [{"event": "a\nb"}, {"id": "a\rb"}, {"id": "\0"}, {"retry": -1}]
    for mistake in mistakes:
        with pytest.raises(ValueError, match=next(iter(mistake))):
            ServerSentEvent("x", **mistake)
    event = ServerSentEvent("x", id="1")
    assert event == ServerSentEvent("x", id="1") != ServerSentEvent("x")
    assert repr(event) == "ServerSentEvent('x', id='1')"
    with pytest.raises(AttributeError):
        event.data = "y"  # type: ignore[misc]


def test_a_stream_is_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        EventStream([], heartbeat=-1)
    with pytest.raises(ValueError, match="heartbeat"):
        EventStream([], heartbeat=float("nan"))
    with pytest.raises(ValueError, match="retry"):
        EventStream([], retry=-1)
    with pytest.raises(TypeError, match="iterable"):
        EventStream("text")
    stream = EventStream([], headers={"Cache-Control": "no-cache"}, status_code=202)
    assert (stream.headers["cache-control"], stream.status_code) == ("no-cache", 202)


# --- registration


def test_the_decorator_returns_the_function() -> None:
    app = App()

    async def handler() -> AsyncIterator[str]:
        yield ""

    assert app.sse("/")(handler) is handler


def test_a_handler_is_a_generator() -> None:
    app = App()

    async def handler() -> list[str]:
        return []

    with pytest.raises(HandlerError, match="generator"):
        app.sse("/")(handler)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"heartbeats": 1}, TypeError, "no option of a route of events; there are compress, decompress, dependencies"),
        ({"heartbeat": -1}, ValueError, "heartbeat"),
        ({"retry": -1}, ValueError, "retry"),
        ({"replay": 0}, ValueError, "replay is at least 1"),
        ({"replay": 1, "linger": -1}, ValueError, "linger at least 0"),
        ({"linger": 1}, TypeError, "linger: only with replay"),
        ({"methods": "GET"}, TypeError, "methods is a list"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], error: type[Exception], words: str) -> None:
    app = App()

    async def handler() -> AsyncIterator[str]:
        yield ""

    with pytest.raises(error, match=words):
        app.sse("/", **options)(handler)


def test_replay_needs_an_async_generator() -> None:
    app = App()

    def handler() -> Iterator[str]:
        yield ""

    with pytest.raises(HandlerError, match="async def"):
        app.sse("/", replay=3)(handler)


def test_methods_routers_and_arguments() -> None:
    app, router = App(), Router()

    @router.sse("/rooms/{room}", methods=["GET", "POST"])
    async def room(room: str, n: int = 1, word: Annotated[str, Header("x-word")] = "") -> AsyncIterator[str]:
        for i in range(n):
            yield f"{room} {i}"

    @app.sse("/points", methods=["POST"])
    async def points(point: Point) -> AsyncIterator[Point]:
        yield point

    app.include(router, "/api")
    with serving(app) as client:
        assert events(client.get("/api/rooms/a?n=2")) == [("message", "a 0", ""), ("message", "a 1", "")]
        assert events(client.request("POST", "/api/rooms/b")) == [("message", "b 0", "")]
        assert events(client.post("/points", b'{"x": 3}')) == [("message", '{"x":3,"y":0}', "")]
        assert client.post("/points", b'{"x": "no"}').status == 422
        assert client.get("/api/rooms/a?n=x").status == 422
        assert client.get("/points").status == 405
        head = client.request("HEAD", "/api/rooms/a")
        assert (head.status, head.headers["content-type"], head.body) == (200, "text/event-stream", b"")


# --- dependencies, middleware, errors


def test_dependencies_and_middleware() -> None:
    app = App()
    said: list[str] = []

    async def opened() -> AsyncIterator[str]:
        said.append("open")
        yield "value"
        said.append("closed")

    def refuse(request: Request) -> None:
        if "x-key" not in request.headers:
            raise HTTPException(401, "no key")

    @app.middleware
    async def around(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-around"] = type(response).__name__
        return response

    @app.sse("/", dependencies=[Depends(refuse)])
    async def handler(value: Annotated[str, Depends(opened)]) -> AsyncIterator[str]:
        said.append("begins")
        yield value
        said.append("ends")

    with serving(app) as client:
        assert client.get("/").status == 401
        answer = client.get("/", x_key="k")
        assert events(answer) == [("message", "value", "")]
        assert answer.headers["x-around"] == "EventStream"
    assert said == ["open", "begins", "ends", "closed"]


def test_an_error_before_the_first_wait_is_answered() -> None:
    app = App()

    @app.sse("/")
    async def handler() -> AsyncIterator[str]:
        raise HTTPException(404, "no such stream")
        yield ""

    @app.sse("/sync")
    def synchronous() -> Iterator[str]:
        yield "one"

    with serving(app) as client:
        assert client.get("/").status == 404
        assert events(client.get("/sync")) == [("message", "one", "")]


def test_retry_is_said_first() -> None:
    app = App()

    @app.sse("/", retry=2500)
    async def handler() -> AsyncIterator[str]:
        yield "x"

    with serving(app) as client:
        assert client.get("/").body == b"retry: 2500\n\ndata: x\n\n"


@pytest.mark.parametrize(("sent", "seen"), [(None, ""), ("7", "7"), ("…", "…"), (b"\xff", "")])
def test_the_last_event_id_is_handed_to_the_handler(sent: str | bytes | None, seen: str) -> None:
    app = App()

    @app.sse("/")
    async def handler(last: LastEventId) -> AsyncIterator[str]:
        yield f"[{last}]"

    value = sent.encode() if isinstance(sent, str) else sent
    headers = {} if value is None else {"Last-Event-ID": value.decode("latin-1")}
    with serving(app) as client:
        assert events(client.request("GET", "/", headers=headers)) == [("message", f"[{seen}]", "")]


# --- replay


class Source:
    """What a test says is in a stream, and how its generators fared."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.begun = self.closed = 0

    async def events(self) -> AsyncIterator[Any]:
        self.begun += 1
        try:
            while (item := await self.queue.get()) is not None:
                yield item
        finally:
            self.closed += 1


class FakeRequest:
    """What a log asks of a request."""

    def __init__(self, path: str, last: str = "") -> None:
        self.path = path
        self.headers = {"last-event-id": last} if last else {}


def logs(keep: int = 3, linger: float = 60, max_idle: int = 10) -> ReplayLogs:
    return ReplayLogs(asyncio.ensure_future, keep=keep, linger=linger, max_idle=max_idle)


def subscribe(log: ReplayLogs, source: Source, path: str = "/", last: str = "") -> AsyncIterator[ServerSentEvent]:
    return log.subscribe(FakeRequest(path, last), source.events())  # type: ignore[arg-type]


def id_of(event: ServerSentEvent) -> str:
    assert event.id is not None
    return event.id


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_clients_share_one_generator_and_ids_go_on() -> None:
    async def main() -> None:
        log, source = logs(), Source()
        one, two = subscribe(log, source), subscribe(log, source)
        waiting = [asyncio.ensure_future(anext(client)) for client in (one, two)]
        await settle()
        source.queue.put_nowait(ServerSentEvent({"n": 1}, event="tick", id="mine", retry=5))
        first, second = await asyncio.gather(*waiting)
        assert first is second
        assert (first.data, first.event, first.retry) == ({"n": 1}, "tick", 5)
        token, number = id_of(first).split("-")
        assert (number, len(token)) == ("0", 8)
        source.queue.put_nowait("text")
        assert (await anext(one)).id == (await anext(two)).id == f"{token}-1"
        assert source.begun == 1
        source.queue.put_nowait(None)
        for client in (one, two):
            with pytest.raises(StopAsyncIteration):
                await anext(client)
        assert source.closed == 1

    run(main())


def test_a_client_that_comes_again_gets_what_it_missed() -> None:
    async def main() -> None:
        log, source = logs(keep=3), Source()
        client = subscribe(log, source)
        waiting = asyncio.ensure_future(anext(client))
        await settle()
        source.queue.put_nowait("0")
        seen = id_of(await waiting)
        await client.aclose()  # type: ignore[attr-defined]
        source.queue.put_nowait("1")
        source.queue.put_nowait("2")
        await settle()
        again = subscribe(log, source, last=seen)
        assert [(await anext(again)).data for _ in range(2)] == ["1", "2"]
        # More than is kept: from the oldest on. The same for an id that nobody knows.
        for i in range(3, 6):
            source.queue.put_nowait(str(i))
        await settle()
        for last in (seen, "nonsense", "-", f"{seen}9999", seen.split("-")[0] + "-", "00000000-5", "x" * 5000):
            late = subscribe(log, source, last=last)
            assert [(await anext(late)).data for _ in range(3)] == ["3", "4", "5"], last
            await late.aclose()  # type: ignore[attr-defined]
        # One that has seen nothing begins with what comes.
        fresh = subscribe(log, source)
        waiting = asyncio.ensure_future(anext(fresh))
        await settle()
        source.queue.put_nowait("6")
        assert (await waiting).data == "6"
        assert (source.begun, source.closed) == (1, 0)

    run(main())


def test_a_client_that_is_too_slow_is_ended_and_nobody_waits_for_it() -> None:
    async def main() -> None:
        log, source = logs(keep=3), Source()
        slow, quick = subscribe(log, source), subscribe(log, source)
        waiting = [asyncio.ensure_future(anext(client)) for client in (slow, quick)]
        await settle()
        source.queue.put_nowait(0)
        await asyncio.gather(*waiting)
        for i in range(1, 6):
            source.queue.put_nowait(i)
            assert (await anext(quick)).data == i
        with pytest.raises(StopAsyncIteration):
            await anext(slow)

    run(main())


def test_a_stream_without_clients_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "FIRST_CLIENT", 0.05)

    async def main() -> None:
        log, source = logs(linger=0.05), Source()
        client = subscribe(log, source)
        waiting = asyncio.ensure_future(anext(client))
        await settle()
        waiting.cancel()
        await settle()
        assert (len(log), source.closed) == (1, 0)
        await until(lambda: source.closed == 1)
        assert len(log) == 0
        # A client that never began to read has no stream to itself for ever either.
        subscribe(log, source)
        assert len(log) == 1
        await until(lambda: len(log) == 0)

    run(main())


@pytest.mark.limit("Event streams: streams without a client", memory=True)
@pytest.mark.parametrize("max_idle", [0, 5])
def test_streams_without_clients_are_few(max_idle: int) -> None:
    async def main() -> None:
        log, source = logs(max_idle=max_idle), Source()
        for i in range(50):
            waiting = asyncio.ensure_future(anext(subscribe(log, source, f"/{i}")))
            await settle()
            waiting.cancel()
            await settle()
            assert len(log) <= max_idle
        assert source.begun == 50
        assert source.closed == 50 - max_idle

    run(main())


def test_a_stream_that_is_over_gives_the_rest_and_then_begins_anew() -> None:
    async def main() -> None:
        log, source = logs(), Source()
        client = subscribe(log, source)
        for item in (1, 2, None):
            source.queue.put_nowait(item)
        seen = [id_of(event) async for event in client]
        assert len(seen) == 2
        rest = subscribe(log, source, last=seen[0])
        assert [event.id async for event in rest] == seen[1:]
        assert source.begun == 1
        source.queue.put_nowait(3)
        source.queue.put_nowait(None)
        anew = subscribe(log, source, last=seen[1])
        assert [event.data async for event in anew] == [3]
        assert source.begun == 2

    run(main())


def test_a_source_that_fails_ends_its_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> AsyncIterator[str]:
        yield "one"
        raise RuntimeError("broken source")

    async def main() -> None:
        log = logs()
        client = log.subscribe(FakeRequest("/x"), broken())  # type: ignore[arg-type]
        assert [event.data async for event in client] == ["one"]

    run(main())
    assert "the events of /x ended by an exception" in caplog.text


def test_replay_over_the_wire() -> None:
    app = App()
    starts: list[str] = []

    @app.sse("/rooms/{room}", replay=10)
    async def room(room: str) -> AsyncIterator[Any]:
        starts.append(room)
        for i in range(4):
            yield ServerSentEvent(i, event=room)

    with serving(app) as client:
        whole = events(client.get("/rooms/a"))
        assert [(kind, data) for kind, data, _ in whole] == [("a", str(i)) for i in range(4)]
        again = events(client.request("GET", "/rooms/a", headers={"Last-Event-ID": whole[1][2]}))
        assert again == whole[2:]
        assert starts == ["a"]
        other = events(client.request("GET", "/rooms/b", headers={"Last-Event-ID": whole[1][2]}))
        assert [data for _, data, _ in other] == ["0", "1", "2", "3"]
        assert starts == ["a", "b"]


def test_the_parser_and_the_names_agree() -> None:
    assert EventParser().feed(b"data: x\n\n") == [ServerEvent(data="x")]
