"""Slow heads, slow bodies and slow readers: cut off by silence or by their rate, while everyone else is served."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fastnet import App, Request
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, live, until

SHORT = 0.1
# Every transfer may be 5 s behind its rate; a test that waits for that takes a little longer.
RATE = 1000


def make_app() -> App:
    app = App(max_body=1 << 20)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/whole")
    async def whole(body: bytes) -> str:
        return str(len(body))

    @app.post("/late")
    async def late(request: Request) -> str:
        return str(len(await request.body()))

    @app.post("/free", rate_body=0)
    async def free(body: bytes) -> str:
        return str(len(body))

    @app.post("/patient", timeout_body=30)
    async def patient(body: bytes) -> str:
        return str(len(body))

    @app.get("/big")
    async def big() -> bytes:
        return b"x" * (32 << 20)

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    return app


def dripping(*drips: Callable[[], object]) -> Callable[[], None]:
    """Do each thing again and again in a thread until it fails; the function that waits for the end."""
    over = threading.Event()

    def target() -> None:
        left = list(drips)
        while left and not over.wait(SHORT):
            for drip in list(left):
                try:
                    drip()
                except (OSError, EOFError):
                    left.remove(drip)

    thread = threading.Thread(target=target)
    thread.start()

    def end() -> None:
        over.set()
        thread.join(10)

    return end


@pytest.fixture
def server() -> Iterator[Live]:
    with live(make_app(), rate_body=RATE, rate_write=RATE) as running:
        yield running


def test_who_is_slower_than_the_rate_is_cut_off_and_others_are_served(server: Live) -> None:
    """All kinds at once, as each takes the grace of 5 s."""
    head = b"POST %s HTTP/1.1\r\nhost: t\r\ncontent-length: 100000\r\n\r\n"
    whole, late, free = (server.peer().send(head % path) for path in (b"/whole", b"/late", b"/free"))
    reader = server.peer(receive_buffer=4096).get("/stream")
    creeping = H2Peer(server.port)
    upload = creeping.request("POST", "/whole", b"x", end=False)
    shut = H2Peer(server.port, window=0)
    download = shut.request("GET", "/big")
    end = dripping(
        lambda: whole.send(b"x"),
        lambda: late.send(b"x"),
        lambda: free.send(b"x"),
        lambda: creeping.send(upload, b"x"),
        lambda: reader.sock.recv(16),
    )
    served = 0
    try:
        with server.peer() as other:
            begun = time.monotonic()
            while server.counters["timeouts"] < 5:
                assert time.monotonic() - begun < 12, server.counters
                assert other.get("/").answer().status == 200
                served += 1
                time.sleep(0.01)
    finally:
        end()
    assert served > 50
    assert (whole.answer().status, late.answer().status) == (408, 408)
    assert creeping.status(upload) == 408
    assert shut.status(download) == 200
    assert shut.reset(download) == 8
    counters = server.counters
    assert (counters["limit_body_rate"], counters["limit_write_rate"]) == (3, 2)
    # A route without a rate goes on.
    assert counters["requests_active"] == 1
    for peer in (whole, late, free, reader):
        peer.sock.close()
    for h2 in (creeping, shut):
        h2.sock.close()
    server.opened += 2
    assert server.settle()["bytes_buffered"] == 0


def test_who_takes_little_but_takes_it_is_left_alone() -> None:
    """Silence is what timeout_write bounds, not the whole of a long download."""
    with live(make_app(), timeout_write=4 * SHORT, rate_write=0) as server, server.peer(receive_buffer=4096) as peer:
        peer.get("/big")
        for _ in range(30):
            peer.exactly(40_000)
            time.sleep(SHORT / 2)
        assert server.counters["timeouts"] == 0


def test_the_end_of_a_slow_download_is_awaited_when_the_connection_closes() -> None:
    with live(make_app(), timeout_write=2, timeout_idle=10) as server, server.peer(receive_buffer=65536) as peer:
        peer.get("/big", "connection: close")
        size = 0
        for _ in range(40):
            size += len(peer.exactly(100_000))
            time.sleep(SHORT)
        size += len(peer.rest())
        assert size > 32 << 20
        assert server.settle()["timeouts"] == 0


def test_a_route_has_its_own_patience_with_a_body(server: Live) -> None:
    with live(make_app(), timeout_body=SHORT) as hurried:
        head = b"POST %s HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nx"
        patient, whole = hurried.peer().send(head % b"/patient"), hurried.peer().send(head % b"/whole")
        assert whole.answer().status == 408
        hurried.run(asyncio.sleep(4 * SHORT))
        assert patient.send(b"x").answer().body == b"2"
        assert hurried.counters["limit_body_time"] == 1
        for peer in (patient, whole):
            peer.sock.close()


def test_zero_turns_a_timeout_off() -> None:
    off: dict[str, Any] = {"timeout_head": 0, "timeout_idle": 0, "timeout_body": 0, "timeout_write": 0, "rate_body": 0}
    with live(make_app(), **off, timeout_handler=SHORT) as server, server.peer() as idle, server.peer() as slow:
        idle.get("/").answer()
        slow.send(b"POST /whole HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nx")
        server.run(asyncio.sleep(6 * SHORT))
        assert slow.send(b"x").answer().body == b"2"
        assert idle.get("/").answer().status == 200


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [b"", b"G", b"PRI * HTTP/2", PREFACE, PREFACE + b"\0\0\0\4\0\0\0\0\0"],
    ids=["nothing", "a byte", "half a preface", "a preface", "settings"],
)
def test_who_says_nothing_more_at_the_start_is_closed(said: bytes) -> None:
    with live(make_app(), timeout_head=SHORT) as server, server.peer() as silent, server.peer() as other:
        silent.send(said)
        begun = time.monotonic()
        while server.counters["limit_head_time"] == 0:
            assert time.monotonic() - begun < 10
            assert other.get("/").answer().status == 200
        silent.rest()


def test_a_stream_of_messages_may_be_silent_and_a_connection_without_streams_is_idle() -> None:
    with live(make_app(), timeout_idle=2 * SHORT) as server, H2Peer(server.port) as peer:
        assert peer.status(peer.request("GET", "/")) == 200
        assert peer.closed()
        assert server.counters["limit_idle_time"] == 1
        until(lambda: server.counters["connections_open"] == 0)


def slow_heads(server: Live, count: int) -> list[Peer]:
    return [server.peer().send(b"GET / HTTP/1.1\r\nhost: ") for _ in range(count)]


def test_many_slow_heads_keep_nobody_from_being_served() -> None:
    with live(make_app(), timeout_head=4 * SHORT) as server:
        attackers = slow_heads(server, 200)
        with server.peer() as other:
            while server.counters["limit_head_time"] < 200:
                assert other.get("/").answer().status == 200
                time.sleep(0.005)
        assert all(peer.answer().status == 408 for peer in attackers)
        for peer in attackers:
            peer.sock.close()
