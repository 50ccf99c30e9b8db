"""The limit on requests in flight: who is refused, and that every ending gives its place back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import orjson
import pytest

from fastnet import App, Request
from fastnet_ext.exchange.guards import InFlightLimit
from tests.net.test_counters import ENDINGS, make_app
from tests.wire.live import Live, Peer, live, until

LIMIT = 3


class Gate:
    """Holds handlers until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun = 0

    async def passed(self) -> None:
        self.begun += 1
        await self.open.wait()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def app(gate: Gate) -> App:
    app = App(max_in_flight=LIMIT)

    @app.get("/")
    async def wait() -> str:
        await gate.passed()
        return "answered"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "begin "
        await gate.passed()
        yield "end"

    return app


@pytest.fixture
def server(app: App) -> Iterator[Live]:
    # Nobody waits for a turn: what waits has tests of its own, in tests/wire/test_limits_queue.py.
    with live(app, limit_queue_time=0) as running:
        yield running


def limit_of(server: Live) -> InFlightLimit:
    (guard,) = server.server.app.guards
    assert isinstance(guard, InFlightLimit)
    return guard


def refused(peer: Peer) -> None:
    answer = peer.answer()
    assert (answer.status, answer["retry-after"]) == (503, "1")
    assert answer["content-type"] == "application/problem+json"
    assert orjson.loads(answer.body)["status"] == 503


@pytest.mark.parametrize("target", ["/", "/stream", "/none"])
def test_one_more_than_the_limit_is_refused(server: Live, gate: Gate, target: str) -> None:
    peers = [server.peer().get("/stream" if n else "/") for n in range(LIMIT)]
    until(lambda: gate.begun == LIMIT)
    with server.peer() as one_more:
        refused(one_more.get(target))
        assert limit_of(server).active == LIMIT
        server.call(gate.open.set)
        for peer in peers:
            assert peer.answer().status == 200
            peer.sock.close()
        # The connection that was refused is as good as any, and there is room now.
        assert one_more.get("/").answer().body == b"answered"
    assert (limit_of(server).active, limit_of(server).refused) == (0, 1)


def test_the_refused_body_is_not_read(server: Live, gate: Gate) -> None:
    peers = [server.peer().get("/") for _ in range(LIMIT)]
    until(lambda: gate.begun == LIMIT)
    with server.peer() as one_more:
        one_more.send(b"POST / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        refused(one_more)
        assert one_more.closed()
    server.call(gate.open.set)
    for peer in peers:
        peer.answer()
        peer.sock.close()


def test_a_pipelined_request_counts_when_its_turn_comes(server: Live, gate: Gate) -> None:
    with server.peer() as peer:
        for _ in range(2 * LIMIT):
            peer.get("/")
        until(lambda: gate.begun == 1)
        assert limit_of(server).active == 1
        server.call(gate.open.set)
        assert [peer.answer().status for _ in range(2 * LIMIT)] == [200] * (2 * LIMIT)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_gives_the_place_back(ending: str) -> None:
    app = make_app()
    guard = InFlightLimit(2)
    app.guards = (guard,)
    act: Callable[[Peer], None] = ENDINGS[ending][0]
    with live(app, timeout_body=0.05, timeout_head=0.05) as server:
        for _ in range(3):
            with server.peer() as peer:
                act(peer)
            server.settle()
        assert (guard.active, guard.refused) == (0, 0)
        with server.peer() as peer:
            assert peer.get("/").answer().status == 200


def test_what_the_body_limit_refuses_gives_its_place_back() -> None:
    app = App(max_in_flight=1, max_body=10)

    @app.post("/")
    async def read(request: Request) -> str:
        return str(len(await request.body()))

    with live(app) as server, server.peer() as peer:
        for _ in range(3):
            peer.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 20\r\n\r\n" + b"x" * 20)
            assert peer.answer().status == 413
        assert limit_of(server).active == 0


def test_a_route_may_have_a_limit_of_its_own(gate: Gate) -> None:
    app = App(max_in_flight=10)

    @app.get("/narrow", max_in_flight=1)
    async def narrow() -> str:
        await gate.passed()
        return "narrow"

    @app.get("/wide")
    async def wide() -> str:
        return "wide"

    with live(app, limit_queue_time=0) as server, server.peer() as one, server.peer() as two:
        one.get("/narrow")
        until(lambda: gate.begun == 1)
        refused(two.get("/narrow"))
        assert two.get("/wide").answer().status == 200
        # Who was refused by the route gave its place in the app back.
        assert limit_of(server).active == 1
        server.call(gate.open.set)
        assert one.answer().body == b"narrow"
        assert two.get("/narrow").answer().body == b"narrow"


def test_middleware_and_error_handlers_see_the_refusal(gate: Gate, app: App) -> None:
    @app.on_error(503)
    async def overloaded(request: Request, error: Exception) -> str:
        return "busy"

    with live(app, limit_queue_time=0) as server:
        peers = [server.peer().get("/") for _ in range(LIMIT)]
        until(lambda: gate.begun == LIMIT)
        with server.peer() as one_more:
            answer = one_more.get("/").answer()
            assert (answer.status, answer.body) == (503, b"busy")
        server.call(gate.open.set)
        for peer in peers:
            peer.answer()
            peer.sock.close()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        InFlightLimit(limit)
    with pytest.raises(ValueError, match="at least 1"):
        App(max_in_flight=limit)


def test_its_text_says_how_full_it_is() -> None:
    assert repr(InFlightLimit(7)) == "<InFlightLimit 0 of 7, 0 waiting>"
