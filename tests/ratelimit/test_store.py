"""Limits that a store counts: what it is asked, what its answers and failures do, and that requests wait for it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import h2.connection
import orjson
import pytest

from fastnet import App, Request
from fastnet.ratelimit import Ask, Concurrency, Decision, Quota, RateLimit, Store, everyone, header
from fastnet.ratelimit.limits import guards_of
from fastnet.websocket import WebSocket
from fastnet_ext.exchange.rate_limit import RateLimitGuard
from fastnet_ext.ratelimit.limiter import FixedWindow, Limiter, TokenBucket
from tests.fastnet.grpc_calls import Dialect, Method, call
from tests.fastnet.serving import serving
from tests.fastnet.test_websocket import dial, refusal
from tests.loops import run
from tests.net import asgi_host
from tests.net.asgi_host import http_scope
from tests.protos import greeter
from tests.wire.live import Answer, Live, live

HOUR = "/hour"
pb, _ = greeter()


class Memory:
    """A store in memory, of which everything is awaited."""

    def __init__(self, delay: float = 0.001) -> None:
        self.delay = delay
        self.asked: list[list[Ask]] = []
        self.limiters: dict[Quota, Limiter] = {}
        self.began = time.time_ns()

    def count(self, asks: Sequence[Ask], now: int) -> list[Decision]:
        self.asked.append(list(asks))
        decisions: list[Decision] = []
        taken: list[tuple[Limiter, Ask]] = []
        for ask in asks:
            quota = ask.quota
            assert quota.algorithm == "TokenBucket"
            if quota not in self.limiters:
                self.limiters[quota] = TokenBucket(quota.count, quota.period, burst=quota.burst)
            limiter = self.limiters[quota]
            decisions.append(limiter.decide(ask.key, now - self.began, ask.cost))
            if not decisions[-1]:
                for one, before in taken:
                    one.give_back(before.key, now - self.began, before.cost)
                break
            taken.append((limiter, ask))
        return decisions

    async def reserve(self, asks: Sequence[Ask], now: int) -> Sequence[Decision]:
        await asyncio.sleep(self.delay)
        return self.count(asks, now)


class AtOnce(Memory):
    """The same for those that need not wait."""

    def reserve(self, asks: Sequence[Ask], now: int) -> Sequence[Decision]:  # type: ignore[override]
        return self.count(asks, now)


STORES: list[Callable[[], Store]] = [Memory, AtOnce]


def get(server: Live, target: str = "/", *fields: str) -> Answer:
    with server.peer() as peer:
        return peer.get(target, *fields).answer()


def statuses(server: Live, count: int, target: str = "/", *fields: str) -> list[int]:
    with server.peer() as peer:
        return [peer.get(target, *fields).answer().status for _ in range(count)]


def hello(app: App, path: str = "/", **options: Any) -> None:
    @app.get(path, **options)
    async def answer() -> str:
        return "hello"


@pytest.mark.parametrize("make", STORES)
def test_what_a_store_refuses_is_refused(make: Callable[[], Store]) -> None:
    app = App()
    app.limit("3" + HOUR, store=make(), name="shared", headers=True)
    hello(app)
    with live(app) as server:
        answer = get(server)
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer["ratelimit-policy"] == '"shared";q=3;w=3600'
        assert answer["ratelimit"] == '"shared";r=2;t=1200'
        assert statuses(server, 2) == [200, 200]
        answer = get(server)
        assert answer.status == 429
        assert 0 < int(answer["retry-after"] or 0) <= 1200
        assert orjson.loads(answer.body)["limit"] == "shared"
        assert server.server.counters["limit_rate"] == 1


@pytest.mark.parametrize("make", STORES)
def test_what_it_is_asked(make: Callable[[], Any]) -> None:
    store = make()
    app = App()
    app.limit("100" + HOUR, store=store, key=header("x-key"), name="outer")
    app.limit("50" + HOUR, burst=60, store=store, key=lambda request: "é", cost=3, name="inner")
    app.limit("50" + HOUR, store=store, key=lambda request: None, name="nobody")
    hello(app)
    with live(app) as server:
        assert get(server, "/", "x-key: a").status == 200
    assert store.asked == [
        [
            Ask(Quota("outer", "TokenBucket", 100, 3600.0, 100), b"=a", 1),
            Ask(Quota("inner", "TokenBucket", 50, 3600.0, 60), "é".encode(), 3),
        ]
    ]


@pytest.mark.parametrize("make", STORES)
def test_what_was_taken_is_given_back(make: Callable[[], Store]) -> None:
    store = make()
    app = App()
    local = RateLimit("9" + HOUR, key=everyone, name="local")
    outer = RateLimit("5" + HOUR, key=everyone, store=store, name="outer")
    app.limit(local)
    app.limit(outer)
    hello(app, "/narrow", limit=RateLimit("1" + HOUR, key=everyone, store=store, name="inner"))
    hello(app)
    with live(app) as server:
        assert statuses(server, 4, "/narrow") == [200, 429, 429, 429]
        assert local.limiter.peek(b"", time.monotonic_ns()).remaining == 7, "one was admitted, and one is foreseen"
        assert statuses(server, 5) == [200, 200, 200, 200, 429]
        assert orjson.loads(get(server).body)["limit"] == "outer"


def test_local_limits_are_asked_first() -> None:
    store = Memory()
    app = App()
    app.limit("5" + HOUR, store=store)
    app.limit("1" + HOUR, name="local")
    hello(app)
    with live(app) as server:
        assert statuses(server, 3) == [200, 429, 429]
    assert len(store.asked) == 1


class Broken:
    """Fails in the way it is told."""

    def __init__(self, how: str) -> None:
        self.how = how

    def reserve(self, asks: Sequence[Ask], now: int) -> Sequence[Decision] | Awaitable[Sequence[Decision]]:
        match self.how:
            case "raises":
                raise ConnectionError("nobody there")
            case "raises later":
                return self.later(ConnectionError("nobody there"))
            case "is silent":
                return asyncio.sleep(60, result=[])
            case "is cancelled":
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                return future
            case "says nonsense":
                return [True]  # type: ignore[list-item]
            case "says nothing":
                return []
            case "says None":
                return None  # type: ignore[return-value]
            case "says too much":
                return [Decision(True), Decision(True)]
        return [Decision(True, 0, 5, 0)]

    async def later(self, error: Exception) -> Sequence[Decision]:
        await asyncio.sleep(0)
        raise error


HOWS = (
    "raises",
    "raises later",
    "is silent",
    "is cancelled",
    "says nonsense",
    "says nothing",
    "says None",
    "says too much",
)


@pytest.mark.parametrize("policy", ["admit", "refuse"])
@pytest.mark.parametrize("how", HOWS)
def test_a_store_that_fails(how: str, policy: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = Broken(how)
    app = App()
    local = RateLimit("9" + HOUR, key=everyone)
    stored = RateLimit("9" + HOUR, store=store, store_timeout=0.05, when_store_fails=policy)
    hello(app, limit=[local, stored])
    expected = {"admit": 200, "refuse": 503}[policy]
    with caplog.at_level(logging.WARNING), live(app, keeps=True) as server:
        answer = get(server)
        assert answer.status == expected
        if policy == "refuse":
            assert "rate limits cannot be counted just now" in orjson.loads(answer.body)["detail"]
            assert answer["retry-after"] == "1"
        assert get(server).status == expected
        store.how = "works"
        assert get(server).status == 200
        taken = 3 if policy == "admit" else 1
        assert local.limiter.peek(b"", time.monotonic_ns()).remaining == 9 - taken - 1
        assert stored.store_failures == 2
    said = [record.getMessage() for record in caplog.records if "rate limits" in record.getMessage()]
    assert [("failed" in one, "answers again" in one) for one in said] == [(True, False), (False, True)]
    assert f"requests are {policy}" in said[0]


@pytest.mark.parametrize("option", ["key", "cost"])
def test_a_function_that_fails_is_an_error_of_the_app(option: str) -> None:
    store = Memory()

    def fail(request: Any) -> Any:
        raise KeyError("secret")

    options: Any = {option: fail}
    app = App()
    hello(app, limit=RateLimit("1" + HOUR, store=store, **options))
    with live(app, keeps=True) as server:
        assert statuses(server, 2) == [500, 500]
    assert not store.asked


def test_bodies_that_come_while_it_waits() -> None:
    app = App()
    app.limit("100" + HOUR, store=Memory(0.05))

    @app.post("/whole")
    async def whole(request: Request) -> int:
        return len(await request.body())

    @app.post("/streamed")
    async def streamed(request: Request) -> int:
        return sum([len(piece) async for piece in request.stream()])

    with live(app) as server, server.peer() as peer:
        for _ in range(2):
            for path in ("/whole", "/streamed"):
                peer.post(path, b"x" * 300_000)
                assert peer.answer().body == b"300000"


def test_pipelined_requests_are_answered_in_their_order() -> None:
    app = App()
    app.limit("5" + HOUR, store=Memory())

    @app.get("/{number}")
    async def answer(number: int) -> int:
        return number

    with live(app) as server, server.peer() as peer:
        for number in range(8):
            peer.get(f"/{number}")
        answers = [peer.answer() for _ in range(8)]
        assert [answer.body for answer in answers[:5]] == [b"0", b"1", b"2", b"3", b"4"]
        assert [answer.status for answer in answers[5:]] == [429] * 3


def test_who_leaves_is_not_waited_for() -> None:
    cancelled = threading.Event()

    class Slow:
        async def reserve(self, asks: Sequence[Ask], now: int) -> Sequence[Decision]:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return []

    app = App()
    local = app.limit("9" + HOUR, key=everyone)
    app.limit("9" + HOUR, store=Slow(), store_timeout=60)
    hello(app)
    assert isinstance(local, RateLimit)
    with live(app) as server:
        with server.peer() as peer:
            peer.get("/")
            deadline = time.monotonic() + 10
            while local.limiter.peek(b"", time.monotonic_ns()).remaining == 8:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert cancelled.wait(10)
        assert local.limiter.peek(b"", time.monotonic_ns()).remaining == 8, "what it took was given back"


def test_who_leaves_before_the_store_is_asked() -> None:
    """A stream that is begun and reset by one piece of input."""
    store = Memory()
    app = App()
    app.limit("9" + HOUR, store=store)
    hello(app)
    fields = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "test")]
    client = h2.connection.H2Connection()
    client.initiate_connection()
    for stream in range(1, 40, 2):
        client.send_headers(stream, fields, end_stream=True)
        client.reset_stream(stream)
    with live(app) as server:
        with server.peer() as peer:
            peer.send(client.data_to_send())
            assert get(server).body == b"hello"
        assert get(server).body == b"hello"
    assert len(store.asked) == 2


@pytest.mark.parametrize("make", STORES)
def test_calls_whose_messages_come_while_it_waits(make: Callable[[], Store]) -> None:
    app = App()
    app.limit("3" + HOUR, store=make())

    class Greeter:
        async def SayHello(self, request: Any, context: Any) -> Any:
            return pb.HelloReply(message=f"Hello, {request.name}!")

        async def RecordGreetings(self, requests: Any, context: Any) -> Any:
            return pb.GreetingSummary(count=len([request async for request in requests]))

    app.grpc.add(Greeter(), "greeter.Greeter")
    with serving(app) as client:
        many = Method("/greeter.Greeter/RecordGreetings", request_streaming=True)
        code, replies = call(client, "grpc", many, [pb.HelloRequest(name="Ada" * 1000)] * 50)
        assert (code, len(replies)) == (0, 1)
        hello_to = Method("/greeter.Greeter/SayHello")
        dialects: list[Dialect] = ["grpc", "connect-proto"]
        for dialect in dialects:
            code, replies = call(client, dialect, hello_to, [pb.HelloRequest(name="Ada")])
            assert (code, len(replies)) == (0, 1)
        assert call(client, "grpc", hello_to, [pb.HelloRequest(name="Ada")]) == (8, [])


@pytest.mark.parametrize("make", STORES)
def test_websockets(make: Callable[[], Store]) -> None:
    app = App()

    @app.websocket("/", limit=RateLimit("1" + HOUR, store=make()))
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with app.serve(port=0) as server:
            async with dial(server, "/") as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            assert (await refusal(server, "/"))[0] == 429

    run(main())


def test_under_the_server_of_others() -> None:
    """As an ASGI application, which is brought bodies only when it asks for them."""
    app = App()
    app.limit("4" + HOUR, store=Memory(), name="shared", headers=True)
    hello(app)

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    class Greeter:
        async def SayHello(self, request: Any, context: Any) -> Any:
            return pb.HelloReply(message=f"Hello, {request.name}!")

    app.grpc.add(Greeter(), "greeter.Greeter")
    connect = http_scope("POST", "/greeter.Greeter/SayHello", headers=[(b"content-type", b"application/json")])

    async def main() -> None:
        answer = await asgi_host.ask(app, http_scope())
        assert (answer.status, answer.body) == (200, b"hello")
        assert (b"ratelimit", b'"shared";r=3;t=900') in answer.fields
        assert (await asgi_host.ask(app, http_scope("POST", "/length"), [b"x" * 1000] * 9)).body == b"9000"
        for _ in range(2):
            answer = await asgi_host.ask(app, connect, [b'{"name":', b'"Ada"}'])
            assert (answer.status, orjson.loads(answer.body)) == (200, {"message": "Hello, Ada!"})
        assert orjson.loads((await asgi_host.ask(app, connect, b'{"name":"Ada"}')).body)["code"] == "resource_exhausted"
        assert (await asgi_host.ask(app, http_scope())).status == 429

    run(main())


def test_what_cannot_be() -> None:
    store = Memory()
    with pytest.raises(TypeError, match="has a method reserve"):
        RateLimit("1/s", store=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 s to answer"):
        RateLimit("1/s", store=store, store_timeout=0)
    with pytest.raises(ValueError, match="when_store_fails is"):
        RateLimit("1/s", store=store, when_store_fails="wait")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="do not wait for a store"):
        App().websocket("/", message_limit=RateLimit("1/s", store=store), on_message=lambda ws, message: None)
    with pytest.raises(ValueError, match="are in 2 stores"):
        guards_of([RateLimit("1/s", store=store), RateLimit("1/s", store=Memory())])


def test_without_a_store_there_is_nothing_of_it() -> None:
    limits: list[RateLimit | Concurrency] = [RateLimit("1/s"), RateLimit("5/s", algorithm=FixedWindow), Concurrency(5)]
    assert [type(guard).__name__ for guard in guards_of(limits)] == ["RateLimitGuard", "InFlightLimit"]
    assert [type(guard) for guard in guards_of(limits[:2])] == [RateLimitGuard]


def test_a_decision_of_a_store() -> None:
    decision = Decision(False, 5, 2, 9)
    assert (decision.admitted, decision.retry_after, decision.remaining, decision.reset_after) == (False, 5, 2, 9)
    assert Decision(True).retry_after == 0
    assert Decision(False, None).retry_after is None
    with pytest.raises(ValueError, match="nothing to wait for"):
        Decision(True, 5)
