"""Slow peers and slow handlers: what waits is bounded, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastnet import App
from tests.memory import resident
from tests.wire.live import Live, live, until

KERNEL = 8 << 20  # what socket buffers on both sides may hold, generously


def stands_still(live: Live, value: Callable[[], int]) -> int:
    """The value, once it has not changed for a few turns of the loop."""
    seen = -1
    while (now := value()) != seen:
        seen = now
        live.run(asyncio.sleep(0.05))
    return seen


@pytest.mark.parametrize("chunk", [100, 20_000, 1_000_000])
def test_a_stream_waits_for_its_reader(chunk: int) -> None:
    app = App()
    pulled = 0
    count = (256 << 20) // chunk

    @app.get("/")
    async def stream() -> AsyncIterator[bytes]:
        nonlocal pulled
        data = b"x" * chunk
        for _ in range(count):
            pulled += chunk
            yield data

    with live(app) as server, server.peer(receive_buffer=64 << 10) as peer:
        before = resident(os.getpid())
        peer.get("/")
        until(lambda: pulled > 0)
        assert stands_still(server, lambda: pulled) < KERNEL + 2 * chunk
        assert resident(os.getpid()) - before < 64 << 20
        # It goes on when the peer reads on.
        stood = pulled
        peer.until(b"\r\n\r\n")
        read = 0
        while pulled == stood:
            read += len(peer.sock.recv(1 << 20))
            assert read < 64 << 20
        peer.reset()
        server.settle()


def test_a_slow_reader_gets_every_byte() -> None:
    app = App()
    size = 24 << 20

    @app.get("/")
    async def stream() -> AsyncIterator[bytes]:
        for n in range(size // 65536):
            yield bytes([n % 251]) * 65536

    with live(app) as server, server.peer(receive_buffer=64 << 10) as peer:
        peer.get("/")
        stands_still(server, lambda: server.counters["bytes_sent"])
        body = peer.answer().body
        assert body == b"".join(bytes([n % 251]) * 65536 for n in range(size // 65536))


def test_pipelined_requests_wait_in_bounded_room() -> None:
    app = App()
    release = asyncio.Event()

    @app.get("/wait")
    async def wait() -> str:
        await release.wait()
        return "waited"

    @app.get("/{n}")
    async def number(n: int) -> str:
        return str(n)

    count = 50_000
    requests = b"".join(b"GET /%d HTTP/1.1\r\nhost: t\r\n\r\n" % n for n in range(count))
    with live(app) as server, server.peer(receive_buffer=4 << 20) as peer, ThreadPoolExecutor(1) as pool:
        upload = pool.submit(peer.send, b"GET /wait HTTP/1.1\r\nhost: t\r\n\r\n" + requests)
        until(lambda: server.counters["requests"] == 1)
        taken = stands_still(server, lambda: server.counters["bytes_received"])
        # One read, and what may wait.
        assert taken <= 256 * 1024 + 64 * 1024 + 256 * 1024
        server.call(release.set)
        assert peer.answer().body == b"waited"
        for n in range(count):
            assert peer.answer().body == b"%d" % n
        upload.result(10)
        assert server.counters["requests"] == count + 1


def test_requests_wait_while_their_peer_reads_no_answers() -> None:
    """One small request per read, each for a big answer: none is begun while the answers are not taken."""
    app = App()
    answer = b"x" * (4 << 20)

    @app.get("/")
    async def big() -> bytes:
        return answer

    with live(app) as server, server.peer(receive_buffer=64 << 10) as peer:
        before = resident(os.getpid())
        for _ in range(64):
            peer.get("/")
            server.run(asyncio.sleep(0.001))
        assert server.counters["requests"] < 8
        assert resident(os.getpid()) - before < 64 << 20
        for _ in range(64):
            assert len(peer.answer().body) == len(answer)
        assert server.counters["requests"] == 64


def test_a_half_head_behind_a_full_carry_is_read_on() -> None:
    """Reading paused for the requests that waited; when they are answered the rest of the last one is read."""
    app = App()
    release = asyncio.Event()

    @app.get("/")
    async def wait() -> str:
        await release.wait()
        await asyncio.sleep(0)
        return "ok"

    request = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"
    count = 40_000
    with live(app) as server, server.peer(receive_buffer=4 << 20) as peer, ThreadPoolExecutor(1) as pool:
        upload = pool.submit(peer.send, request * count + request[:10])
        stands_still(server, lambda: server.counters["bytes_received"])
        server.call(release.set)
        for _ in range(count):
            assert peer.answer().status == 200
        upload.result(10)
        assert peer.send(request[10:]).answer().status == 200


def test_one_connection_with_many_requests_leaves_others_their_turn() -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "ok"

    request = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"
    count = 40_000
    with live(app) as server, server.peer(receive_buffer=8 << 20) as busy, server.peer() as other:
        with ThreadPoolExecutor(2) as pool:
            upload = pool.submit(busy.send, request * count)
            download = pool.submit(lambda: [busy.answer().status for _ in range(count)])
            answered = 0
            while not download.done():
                assert other.get("/").answer().status == 200
                answered += 1
            upload.result(10)
            assert download.result(10) == [200] * count
        assert answered > 10
