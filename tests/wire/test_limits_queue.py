"""Requests in flight: who waits for a turn, for how long, in which order, and when load is shed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

import orjson
import pytest

from fastnet import App, Request
from fastnet.websocket import WebSocket
from tests.wire.bounds import KIB, lines, told
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, live, until

SHORT = 0.1


class Gate:
    """Holds handlers until it is opened; ``begun`` says which have started."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[str] = []


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def app(gate: Gate) -> App:
    app = App(max_body=1 << 20)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/held/{name}")
    async def held(name: str) -> str:
        gate.begun.append(name)
        await gate.open.wait()
        return name

    @app.post("/whole")
    async def whole(body: bytes) -> str:
        gate.begun.append("whole")
        return str(len(body))

    @app.post("/late")
    async def late(request: Request) -> str:
        gate.begun.append("late")
        return str(len(await request.body()))

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()

    return app


@pytest.fixture
def server(app: App) -> Iterator[Live]:
    with live(app, limit_in_flight=1, limit_queue_time=30) as running:
        yield running


def busy(peer: Peer) -> None:
    answer = peer.answer()
    assert (answer.status, answer["retry-after"]) == (503, "1")
    assert orjson.loads(answer.body)["status"] == 503


def active(server: Live, count: int) -> None:
    until(lambda: server.counters["requests_active"] == count)


def holding(server: Live, gate: Gate, name: str = "first") -> Peer:
    """A request that is being answered until the gate is opened."""
    peer = server.peer().get(f"/held/{name}")
    until(lambda: name in gate.begun)
    return peer


@pytest.mark.limit("Requests in flight: requests being answered in a worker", memory=True)
def test_requests_wait_for_their_turn_and_keep_their_order(server: Live, gate: Gate) -> None:
    names = [str(n) for n in range(10)]
    peers = [holding(server, gate)]
    for count, name in enumerate(names, 2):
        peers.append(server.peer().get(f"/held/{name}"))
        active(server, count)
    assert gate.begun == ["first"]
    assert server.counters["bytes_buffered"] <= len(peers) * KIB
    server.call(gate.open.set)
    assert [peer.answer().body.decode() for peer in peers] == ["first", *names]
    assert gate.begun == ["first", *names]
    # The connections are as good as before, and so is the place.
    assert peers[5].get("/").answer().status == 200
    for peer in peers:
        peer.sock.close()


@pytest.mark.limit("Requests in flight: time that one waits", memory=True)
def test_who_waits_for_too_long_is_shed(app: App, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(app, limit_in_flight=1, limit_queue_time=2 * SHORT, timeout_idle=30) as server:
        first, second = holding(server, gate), server.peer().get("/held/second")
        until(lambda: server.counters["requests_active"] == 2)
        assert server.counters["bytes_buffered"] <= KIB
        busy(second)
        assert (server.counters["limit_queue_time"], gate.begun) == (1, ["first"])
        server.call(gate.open.set)
        assert first.answer().status == 200
        assert second.get("/").answer().status == 200
        first.sock.close()
        second.sock.close()
    told(caplog, "queue_time", "0.2 s", "limit_queue_time", "answered 503")


@pytest.mark.limit("Requests in flight: requests that wait for a turn", memory=True)
@pytest.mark.limit("Requests in flight: requests being answered in a worker", memory=True)
def test_the_queue_is_bounded(server: Live, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    peers = [holding(server, gate)]
    for n in range(16):
        peers.append(server.peer().get("/"))
        active(server, n + 2)
    with server.peer() as one_more:
        busy(one_more.get("/"))
    assert server.counters["limit_in_flight"] == 1
    assert server.counters["bytes_buffered"] <= len(peers) * KIB
    told(caplog, "in_flight", "1 requests", "limit_in_flight or max_in_flight", "answered 503")
    server.call(gate.open.set)
    assert {peer.answer().status for peer in peers} == {200}
    for peer in peers:
        peer.sock.close()


def test_who_leaves_gives_its_place_in_the_queue_up(server: Live, gate: Gate) -> None:
    first = holding(server, gate)
    for _ in range(5):
        gone = [server.peer().get("/held/gone") for _ in range(16)]
        until(lambda: server.counters["requests_active"] == 17)
        for peer in gone:
            peer.reset()
        until(lambda: server.counters["requests_active"] == 1)
    with server.peer() as half_closed:
        busy(half_closed.get("/held/gone").half_close())
    second = server.peer().get("/held/second")
    server.call(gate.open.set)
    assert (first.answer().body, second.answer().body) == (b"first", b"second")
    assert gate.begun == ["first", "second"]
    first.sock.close()
    second.sock.close()


@pytest.mark.parametrize("target", ["/whole", "/late"])
def test_the_body_of_who_waits_is_kept_within_bounds(server: Live, gate: Gate, target: str) -> None:
    size = 1 << 20
    with holding(server, gate) as first, server.peer() as second:
        second.sock.settimeout(1)
        head = f"POST {target} HTTP/1.1\r\nhost: t\r\ncontent-length: {size}\r\n\r\n"
        second.send(head.encode())
        until(lambda: server.counters["requests_active"] == 2)
        sent = 0
        try:
            while sent < size:
                sent += second.sock.send(b"x" * (size - sent))
        except TimeoutError:
            pass
        # 256 KiB, one read more, and a carry.
        until(lambda: server.counters["bytes_buffered"] > 0)
        assert server.counters["bytes_buffered"] <= 900 * 1024
        server.call(gate.open.set)
        assert first.answer().status == 200
        second.sock.settimeout(10)
        second.send(b"x" * (size - sent))
        assert second.answer().body == str(size).encode()
    assert server.settle()["bytes_buffered"] == 0


def test_streams_of_http2_wait_too(server: Live, gate: Gate) -> None:
    with H2Peer(server.port) as peer:
        first = peer.request("GET", "/held/first")
        until(lambda: gate.begun == ["first"])
        second = peer.request("POST", "/whole", b"12345")
        gone = peer.request("GET", "/held/gone")
        until(lambda: server.counters["requests_active"] == 3)
        peer.machine.reset_stream(gone)
        peer.flush()
        until(lambda: server.counters["requests_active"] == 2)
        server.call(gate.open.set)
        assert peer.status(first) == 200
        assert peer.status(second) == 200
    assert gate.begun == ["first", "whole"]


def test_a_websocket_does_not_wait(server: Live, gate: Gate) -> None:
    with holding(server, gate) as first:
        with server.peer() as peer:
            key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
            peer.get("/ws", "connection: upgrade", "upgrade: websocket", key, "sec-websocket-version: 13")
            assert peer.answer().status == 503
        server.call(gate.open.set)
        assert first.answer().status == 200


@pytest.mark.limit("Requests in flight: all routes of an app, or one", memory=True)
def test_limits_of_the_app_and_of_a_route_are_waited_for_one_after_the_other(gate: Gate) -> None:
    app = App(max_in_flight=2)

    @app.get("/one/{name}", max_in_flight=1)
    async def one(name: str) -> str:
        gate.begun.append(name)
        await gate.open.wait()
        return name

    with live(app, limit_in_flight=3) as server:
        peers = [server.peer().get("/one/0")]
        until(lambda: gate.begun == ["0"])
        peers += [server.peer().get(f"/one/{n}") for n in range(1, 6)]
        until(lambda: server.counters["requests_active"] == 6)
        assert gate.begun == ["0"]
        assert server.counters["bytes_buffered"] <= len(peers) * KIB
        server.call(gate.open.set)
        assert sorted(peer.answer().body.decode() for peer in peers) == list("012345")
        for peer in peers:
            peer.sock.close()
        assert server.settle()["limit_in_flight"] == 0


def test_a_drain_gives_those_that_wait_no_more_time_than_the_others(app: App, gate: Gate) -> None:
    with live(app, limit_in_flight=1, limit_queue_time=30, timeout_drain=0.5, keeps=True) as server:
        first, second = holding(server, gate), server.peer().get("/held/second")
        until(lambda: server.counters["requests_active"] == 2)
    with first, second:
        assert gate.begun == ["first"]


# --- the loop itself is behind


def stalls(server: Live, seconds: float, count: int) -> None:
    for _ in range(count):
        server.call(time.sleep, seconds)


def test_one_stall_sheds_nothing(app: App) -> None:
    with live(app, limit_queue_time=2 * SHORT) as server, server.peer() as peer:
        peer.get("/").answer()
        stalls(server, 6 * SHORT, 1)
        assert peer.get("/").answer().status == 200
        assert server.counters["limit_lag"] == 0


@pytest.mark.limit("Requests in flight: lateness of the event loop", memory=True)
def test_a_loop_that_stays_behind_sheds_load_until_it_has_caught_up(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")

    @app.get("/blocks")
    async def blocks() -> str:
        time.sleep(3 * SHORT)  # noqa: ASYNC251
        return "blocked"

    with live(app, limit_queue_time=2 * SHORT) as server:
        # Enough of them that each turn of the loop is late: load that does not fit.
        peers = [server.peer() for _ in range(4)]
        statuses: list[int] = []
        end = time.monotonic() + 10
        while 503 not in statuses and time.monotonic() < end:
            for peer in peers:
                peer.get("/blocks")
            statuses += [peer.answer().status for peer in peers]
        assert 503 in statuses
        assert 200 in statuses
        assert server.counters["limit_lag"] >= 1
        assert server.counters["bytes_buffered"] <= len(peers) * KIB
        assert "(limit 0.2 s; limit_queue_time changes it): answered 503" in lines(caplog)[0]
        until(lambda: peers[0].get("/").answer().status == 200)
        for peer in peers:
            peer.sock.close()
