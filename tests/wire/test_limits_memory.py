"""What all connections keep in buffers together: counted, bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import orjson
import pytest

from fastnet import App, Request
from fastnet.websocket import WebSocket
from tests.wire.h2peer import H2Peer
from tests.wire.live import live, until

MIB = 1 << 20


def make_app() -> App:
    app = App(max_body=8 * MIB)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/whole")
    async def whole(body: bytes) -> str:
        return str(len(body))

    @app.post("/late")
    async def late(request: Request) -> str:
        await asyncio.sleep(0.3)
        return str(len(await request.body()))

    @app.get("/big")
    async def big() -> bytes:
        return b"x" * (8 * MIB)

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await asyncio.sleep(0.3)
        await socket.send(str(len(await socket.receive_bytes())))

    return app


def upload(size: int, target: str = "/whole") -> bytes:
    return f"POST {target} HTTP/1.1\r\nhost: t\r\ncontent-length: {size}\r\n\r\n".encode()


def test_a_plain_request_keeps_nothing() -> None:
    with live(make_app()) as server, server.peer() as peer:
        for _ in range(10):
            peer.get("/").answer()
            peer.post("/whole", b"x" * 1000).answer()
        assert server.counters["bytes_buffered"] == 0


@pytest.mark.parametrize("target", ["/whole", "/late"])
def test_a_body_counts_until_it_is_taken(target: str) -> None:
    with live(make_app()) as server, server.peer() as peer:
        peer.send(upload(200_000, target) + b"x" * 100_000)
        until(lambda: 100_000 <= server.counters["bytes_buffered"] <= 110_000)
        assert peer.send(b"x" * 100_000).answer().body == b"200000"
        until(lambda: server.counters["bytes_buffered"] == 0)


def test_a_head_and_a_body_count_until_their_peer_is_gone() -> None:
    with live(make_app()) as server:
        with server.peer() as head, server.peer() as body, H2Peer(server.port) as many:
            head.send(b"GET / HTTP/1.1\r\nx: " + b"x" * 10_000)
            body.send(upload(200_000) + b"x" * 10_000)
            many.request("POST", "/whole", b"x" * 10_000, end=False)
            until(lambda: 30_000 <= server.counters["bytes_buffered"] <= 35_000)
        server.opened += 1
        assert server.settle()["bytes_buffered"] == 0


def test_output_counts_until_it_is_taken() -> None:
    with live(make_app()) as server, server.peer(receive_buffer=4096) as peer, H2Peer(server.port, window=0) as many:
        peer.get("/big")
        many.request("GET", "/big")
        until(lambda: server.counters["bytes_buffered"] > 10 * MIB)
        assert len(peer.answer().body) == 8 * MIB
        until(lambda: server.counters["bytes_buffered"] <= 8 * MIB + 100_000)


def test_messages_of_a_websocket_count_until_they_are_received() -> None:
    with live(make_app()) as server, server.peer() as peer:
        key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
        peer.get("/ws", "connection: upgrade", "upgrade: websocket", key, "sec-websocket-version: 13")
        assert peer.answer().status == 101
        size = 60_000
        peer.send(b"\x82\xfe" + size.to_bytes(2, "big") + b"\0\0\0\0" + b"x" * size)
        until(lambda: server.counters["bytes_buffered"] >= size)
        assert peer.exactly(7) == b"\x81\x0560000"
        until(lambda: server.counters["bytes_buffered"] == 0)


def test_above_the_limit_bodies_are_refused_or_wait_and_all_else_is_served() -> None:
    with live(make_app(), limit_memory=MIB, limit_queue_time=0) as server, server.peer() as open_before:
        open_before.get("/").answer()
        with server.peer() as big:
            big.send(upload(4 * MIB))
            big.send(b"x" * (MIB + 10_000))
            until(lambda: server.counters["bytes_buffered"] > MIB)
            answer = open_before.post("/whole", b"x").answer()
            assert (answer.status, answer["retry-after"]) == (503, "1")
            assert "too much to keep" in orjson.loads(answer.body)["detail"]
            assert server.counters["limit_memory"] >= 1
            with server.peer() as late:
                assert late.get("/").answer().status == 200
        # It is gone, and what it kept is free.
        until(lambda: server.counters["bytes_buffered"] == 0)
        assert open_before.get("/").answer().status == 200


def test_what_stays_above_it_is_cut_the_largest_first() -> None:
    """Twelve uploads stop midway, all of them paused: those that keep most have to go, the rest goes on."""
    with live(make_app(), limit_memory=2 * MIB, timeout_idle=60) as server:
        small = server.peer().send(upload(20_000) + b"x" * 10_000)
        until(lambda: server.counters["requests_active"] == 1)
        large = []
        for _ in range(12):
            peer = server.peer().send(upload(4 * MIB))
            peer.sock.settimeout(0.5)
            large.append(peer)
        for peer in large:
            with suppress(OSError):
                peer.sock.sendall(b"x" * MIB)
        until(lambda: server.counters["limit_memory"] > 0)
        until(lambda: server.counters["bytes_buffered"] <= 2 * MIB)
        small.sock.settimeout(10)
        assert small.send(b"x" * 10_000).answer().body == b"20000"
        with server.peer() as other:
            assert other.get("/").answer().status == 200
        for peer in (small, *large):
            peer.sock.close()


# --- the memory of a whole process

SCRIPT = """
    import asyncio, sys
    from collections.abc import AsyncIterator
    from fastnet import App

    app = App(max_body=8 << 20)

    @app.get("/counters")
    async def counters() -> dict[str, int]:
        return server.counters

    @app.post("/whole")
    async def whole(body: bytes) -> str:
        return str(len(body))

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    server = app.serve(port=int(sys.argv[1]), limit_memory=sys.argv[2], log_level="error")

    async def main() -> None:
        async with server:
            await asyncio.Event().wait()

    asyncio.run(main())
"""


@dataclass
class Process:
    port: int
    pid: int

    def resident(self) -> int:
        """Bytes of resident memory at their peak."""
        with open(f"/proc/{self.pid}/status") as file:
            (line,) = (line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def counters(self) -> dict[str, int]:
        # Turned away, it may see a reset before its answer.
        with suppress(OSError, EOFError), socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(b"GET /counters HTTP/1.0\r\nhost: t\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 200"):
                counters: dict[str, int] = orjson.loads(body)
                return counters
        return {}


@contextmanager
def process(limit: str) -> Iterator[Process]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(port), limit]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()}, stderr=subprocess.DEVNULL)
    running = Process(port, child.pid)

    try:
        until(lambda: bool(running.counters()))
        yield running
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(20)


LIMIT = 16 * MIB
CONNECTIONS = 100


@pytest.mark.measures
def test_uploads_and_slow_readers_do_not_fill_the_memory_of_the_process() -> None:
    """200 connections that would keep 400 MiB and more without a limit."""
    with process("16MiB") as server:
        before = server.resident()
        peers: list[socket.socket] = []
        for head in (b"GET /stream HTTP/1.1\r\nhost: t\r\n\r\n", upload(4 * MIB)):
            for _ in range(CONNECTIONS):
                peers.append(sock := socket.create_connection(("127.0.0.1", server.port), timeout=10))
                sock.settimeout(0.02)
                with suppress(OSError):
                    sock.sendall(head)
        end = time.monotonic() + 6
        piece = b"x" * 65536
        while time.monotonic() < end:
            for peer in peers[CONNECTIONS:]:
                with suppress(OSError):
                    peer.send(piece)
        # Buffers grow by doubling, and what one read brings comes on top of the limit.
        bound = 2 * (LIMIT + LIMIT // 4) + CONNECTIONS * 2 * 65536 + 8 * MIB
        assert server.resident() - before < bound
        for peer in peers:
            peer.close()
        end = time.monotonic() + 40
        while not (counters := server.counters()):
            assert time.monotonic() < end, "it never recovers"
            time.sleep(0.2)
        assert counters["limit_memory"] > 0
