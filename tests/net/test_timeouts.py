"""Deadlines of a connection: what is late gets its answer, what is not late is left alone.

Order and outcome are asserted, never durations: the sweep is coarse, and a busy machine makes it coarser.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
import pytest

from fastnet import App, Request
from fastnet_ext.exchange.errors import RequestTimeout
from fastnet_ext.net.loop_state import LoopState
from tests.loops import run
from tests.wire.live import Live, live, until

SHORT = 0.1


def make_app() -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/body")
    async def body(body: bytes) -> bytes:
        return body

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(SHORT * 6)
        return "slow"

    @app.post("/slow")
    async def slow_reader(request: Request) -> str:
        total = 0
        async for chunk in request.stream():
            total += len(chunk)
            await asyncio.sleep(SHORT / 2)
        return str(total)

    return app


def refused(live: Live, data: bytes, kind: str) -> None:
    with live.peer() as peer:
        answer = peer.send(data).answer()
        assert (answer.status, answer["connection"]) == (408, "close")
        assert kind in orjson.loads(answer.body)["detail"]
        assert peer.closed()


def test_a_head_that_does_not_end_is_408() -> None:
    with live(make_app(), timeout_head=SHORT) as server:
        refused(server, b"GET / HTTP/1.1\r\nhost: ", "head")
        # After another request of the connection too.
        with server.peer() as peer:
            peer.get("/").answer()
            assert peer.send(b"G").answer().status == 408
            assert peer.closed()
        assert server.counters["timeouts"] == 2


def test_a_head_that_trickles_is_late_all_the_same() -> None:
    """The deadline is of the head, not of the silence in it."""
    with live(make_app(), timeout_head=3 * SHORT) as server, server.peer() as peer:
        peer.sock.settimeout(SHORT / 4)
        peer.send(b"GET / HTTP/1.1\r\n")
        begun = time.monotonic()
        while True:
            assert time.monotonic() - begun < 10
            try:
                peer.send(b"x: y\r\n")
                peer._more()
                break
            except TimeoutError:
                continue
        assert peer.answer().status == 408


def test_silence_from_the_start_is_closed_without_a_word() -> None:
    with live(make_app(), timeout_head=SHORT) as server, server.peer() as peer:
        assert peer.closed()


def test_an_idle_connection_is_closed_without_a_word() -> None:
    with live(make_app(), timeout_idle=SHORT) as server, server.peer() as peer:
        assert peer.get("/").answer().status == 200
        assert peer.closed()
        # That is no error.
        assert server.settle()["timeouts"] == 0


def test_a_body_that_stalls_is_408() -> None:
    with live(make_app(), timeout_body=SHORT) as server:
        refused(server, b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345", "body")
        assert server.settle()["timeouts"] == 1


def test_a_body_that_keeps_coming_is_never_late() -> None:
    with live(make_app(), timeout_body=4 * SHORT) as server, server.peer() as peer:
        peer.send(b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n")
        for _ in range(10):
            server.run(asyncio.sleep(SHORT))
            peer.send(b"x")
        assert peer.answer().body == b"x" * 10


def test_the_reader_of_a_stalled_body_is_told() -> None:
    app = App()
    raised: list[BaseException] = []

    @app.post("/")
    async def read(request: Request) -> str:
        try:
            async for _ in request.stream():
                pass
        except RequestTimeout as error:
            raised.append(error)
            raise
        return "never"

    with live(app, keeps=True, timeout_body=SHORT) as server:
        refused(server, b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345", "body")
        server.settle()
    assert len(raised) == 1


def test_a_slow_handler_is_not_the_peers_delay() -> None:
    with live(make_app(), timeout_head=SHORT, timeout_idle=SHORT, timeout_body=SHORT) as server, server.peer() as peer:
        assert peer.get("/slow").answer().body == b"slow"


def test_neither_is_a_slow_reader_of_the_body() -> None:
    """While the handler holds the upload back, its peer owes nothing."""
    with live(make_app(), timeout_body=SHORT) as server, server.peer() as peer:
        answer = peer.post("/slow", b"x" * (1 << 20)).answer()
        assert (answer.status, answer.body) == (200, str(1 << 20).encode())


def test_a_peer_that_waits_for_100_owes_no_body() -> None:
    app = App()

    @app.post("/")
    async def late(request: Request) -> bytes:
        await asyncio.sleep(SHORT * 4)
        return await request.body()

    with live(app, timeout_body=SHORT) as server, server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert peer.answer().status == 100
        assert peer.send(b"hello").answer().body == b"hello"


def endless_app(closed: list[str]) -> App:
    app = App()

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            closed.append("stream")

    @app.get("/big")
    async def big() -> bytes:
        return b"x" * (32 << 20)

    return app


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    closed: list[str] = []
    with live(endless_app(closed), timeout_write=SHORT) as server, server.peer(receive_buffer=4096) as peer:
        peer.get("/stream")
        until(lambda: bool(closed))
        assert server.settle()["timeouts"] == 1
        assert not peer.rest().endswith(b"0\r\n\r\n")


def test_neither_does_a_whole_answer_wait_for_ever() -> None:
    """Its handler is long done, so that the connection is idle but for what is not taken."""
    app = endless_app([])
    with live(app, timeout_write=SHORT, timeout_idle=60) as server, server.peer(receive_buffer=4096) as peer:
        peer.get("/big")
        assert server.settle()["timeouts"] == 1
        assert len(peer.rest()) < 32 << 20


def test_a_connection_is_idle_again_when_its_peer_has_read() -> None:
    with live(endless_app([]), timeout_write=60, timeout_idle=2 * SHORT) as server, server.peer() as peer:
        assert len(peer.get("/big").answer().body) == 32 << 20
        assert peer.closed()


def test_the_time_for_which_the_loop_was_blocked_does_not_count() -> None:
    with live(make_app(), timeout_body=4 * SHORT, timeout_head=4 * SHORT) as server:
        with server.peer() as body, server.peer() as head:
            body.send(b"POST /body HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\n123")
            head.send(b"GET / HTTP")
            until(lambda: server.counters["requests_active"] == 1)
            server.call(time.sleep, 12 * SHORT)
            assert body.send(b"45").answer().body == b"12345"
            assert head.send(b"/1.1\r\nhost: t\r\n\r\n").answer().status == 200
        assert server.settle()["timeouts"] == 0


def test_a_sweep_interval_is_a_positive_number() -> None:
    async def main() -> None:
        for interval in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match="interval"):
                LoopState(asyncio.get_running_loop(), sweep_interval=interval)

    run(main())
