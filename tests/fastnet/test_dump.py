"""What SIGUSR1 tells of a serving process, and debug mode as ``fastnet run`` turns it on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastnet import App, Request, WebSocket
from fastnet.debugging.dump import dump
from fastnet.debugging.stacks import coroutine_stack, describe_place, thread_stack
from tests.wire.h2peer import H2Peer
from tests.wire.live import WAIT, Live, Peer, live, until

ROOT = Path(__file__).parents[2]

HAND_SHAKE = (
    "upgrade: websocket",
    "connection: Upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)

SERVICE = """
import asyncio, ctypes, socket, time
from fastnet import App

app = App()

@app.get("/")
async def index() -> str:
    return "fine"

@app.get("/fails")
async def fails() -> str:
    raise ValueError("for all to see")

@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(600)
    return "never"

@app.get("/stuck")
async def stuck() -> str:
    # In C, from where no Python code runs until it is over.
    ctypes.PyDLL(None).usleep(600_000)
    ctypes.PyDLL(None).usleep(600_000)
    return "over"

@app.get("/leaks")
async def leaks() -> str:
    socket.socket()
    return "leaked"

@app.get("/debug")
async def debug() -> bool:
    return asyncio.get_running_loop().get_debug() and app.debug
"""


class Service:
    """A process of ``fastnet run`` and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: "listening on http" in self.text)
        match = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.text)
        assert match is not None
        self.port = int(match[1])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def peer(self) -> Peer:
        return Peer(self.port)

    def ask(self) -> None:
        self.process.send_signal(signal.SIGUSR1)

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.text)


@contextmanager
def service(folder: Path, *options: str) -> Iterator[Service]:
    (folder / "svc.py").write_text(SERVICE)
    command = [sys.executable, "-m", "fastnet", "run", "svc:app", "--port", "0", "--log-format", "text", *options]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield Service(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


# --- real processes


def test_a_signal_tells_what_a_process_is_at(tmp_path: Path) -> None:
    with service(tmp_path, "--timeout-drain", "100ms") as running, running.peer() as peer, running.peer():
        peer.get("/slow?token=swordfish&page=2", "authorization: Bearer swordfish", "x-request-id: the-id")
        time.sleep(0.3)
        running.ask()
        running.wait_for("== threads")
        running.wait_for("this one")
        text = running.text
        assert f"pid {running.process.pid}" in text
        assert "GET /slow?token=***&page=2 of 127.0.0.1:" in text
        assert "request the-id, route /slow, handler slow (svc.py:" in text
        assert "in slow: await asyncio.sleep(600)" in text
        assert re.search(r"^ *2 +127\.0\.0\.1:\d+ +127\.0\.0\.1:\d+ +- +head ", text, re.MULTILINE)
        assert "swordfish" not in text
        # By the signal itself, in C.
        assert "(most recent call first)" in text
        assert "listening on" in text
        # It goes on as if nothing had been.
        with running.peer() as other:
            assert other.get("/").answer().body == b"fine"
        running.ask()
        until(lambda: running.text.count("== threads") == 2)


def test_the_stacks_come_while_the_loop_is_stuck_in_c(tmp_path: Path) -> None:
    with service(tmp_path, "--stall-threshold", "0") as running, running.peer() as peer:
        peer.get("/stuck")
        time.sleep(0.2)
        running.ask()
        assert peer.answer().body == b"over"
        running.wait_for("== threads")
        stacks, _, rest = running.text.partition("asked by SIGUSR1")
        assert re.search(r'svc\.py", line \d+ in stuck', stacks)
        assert "== process" in rest


def test_a_call_into_c_that_keeps_the_lock_is_noticed(tmp_path: Path) -> None:
    with service(tmp_path, "--stall-threshold", "300ms") as running, running.peer() as peer:
        assert peer.get("/stuck").answer().body == b"over"
        running.wait_for("the event loop goes on after")
        assert "stuck (svc.py:" in running.text
        assert "for GET /stuck by stuck (svc.py:" in running.text


def test_debug_mode(tmp_path: Path) -> None:
    with service(tmp_path, "--debug") as running, running.peer() as peer:
        running.wait_for("debug mode: errors are shown to clients")
        assert peer.get("/debug").answer().body == b"true"
        assert peer.get("/leaks").answer().body == b"leaked"
        running.wait_for("ResourceWarning: unclosed <socket.socket")
        assert b"<!doctype html>" in peer.get("/fails", "accept: text/html").answer().body
        assert "for all to see" in json.loads(peer.get("/fails").answer().body)["exception"]


def test_nothing_of_it_without(tmp_path: Path) -> None:
    with service(tmp_path) as running, running.peer() as peer:
        assert peer.get("/debug").answer().body == b"false"
        assert b"for all to see" not in peer.get("/fails", "accept: text/html").answer().body
        assert peer.get("/leaks").answer().body == b"leaked"
    assert "debug mode" not in running.text
    assert "ResourceWarning" not in running.text


# --- in this process


@pytest.fixture
def server() -> Iterator[Live]:
    app = App()

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(600)

    @app.get("/slow/{name}")
    async def slow(name: str) -> str:
        await asyncio.sleep(600)
        return name

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        async for number in numbers():
            yield str(number)

    @app.post("/late")
    async def late(request: Request) -> str:
        return str(len(await request.body()))

    @app.websocket("/ws")
    async def ws(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    with live(app, timeout_drain=0.1) as running:
        yield running


def dump_of(server: Live, **options: Any) -> str:
    state = server.server.state
    assert state is not None
    return server.call(lambda: dump(state, **options))


def test_each_protocol_and_generators(server: Live) -> None:
    with H2Peer(server.port) as many, server.peer() as stream, server.peer() as socket, server.peer() as upload:
        many.request("GET", "/slow/a")
        many.request("GET", "/slow/b")
        until(lambda: server.counters["requests_active"] == 2)
        stream.get("/stream").until(b"1")
        socket.get("/ws", *HAND_SHAKE).answer()
        upload.send(b"POST /late HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345")
        until(lambda: server.counters["requests_active"] == 5)
        text = dump_of(server, uptime=1.0)
    assert "GET /slow/a of" in text
    assert "GET /slow/b of" in text
    # Down through the generator in the generator.
    assert "in server.<locals>.stream: async for number in numbers():" in text
    assert "in server.<locals>.numbers: await asyncio.sleep(600)" in text
    assert "waits for <Future pending" in text
    assert re.search(r"HTTP/2 +answering +- +0 +0 +2 ", text)
    assert re.search(r"WebSocket +answering ", text)
    assert re.search(r"HTTP/1 +body ", text)
    assert "POST /late" in text
    assert "5 bytes in, 0 out" in text
    assert "serving for 1.0 s" in text
    assert re.search(r"\d+ parked: they wait for requests", text)


def test_what_a_peer_sends_stays_in_its_line(server: Live) -> None:
    with server.peer() as peer:
        peer.get("/slow/%0aforged%1b[0m", "x-request-id: a%0ab")
        until(lambda: server.counters["requests_active"] == 1)
        text = dump_of(server)
    assert "\nforged" not in text
    assert "\x1b" not in text
    assert "/slow/\\nforged\\x1b[0m" in text


def test_long_lists_are_cut(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnet.debugging.dump.MAX_CONNECTIONS", 2)
    monkeypatch.setattr("fastnet.debugging.dump.MAX_REQUESTS", 1)
    monkeypatch.setattr("fastnet.debugging.dump.MAX_TASKS", 2)
    with H2Peer(server.port) as many, server.peer(), server.peer():
        many.request("GET", "/slow/a")
        many.request("GET", "/slow/b")
        until(lambda: server.counters["requests_active"] == 2 and server.counters["connections_open"] == 3)
        text = dump_of(server)
    assert "and 1 connections more" in text
    assert "and 1 requests more" in text
    assert re.search(r"and \d+ tasks more", text)


def test_the_keys_to_mask_are_the_settings(server: Live) -> None:
    with server.peer() as peer:
        peer.get("/slow/a?colour=red&code=1")
        until(lambda: server.counters["requests_active"] == 1)
        assert "colour=***&code=1" in dump_of(server, masked=("colour",))


def test_a_stack_of_a_thread_is_bounded() -> None:
    def down(n: int) -> list[str]:
        return thread_stack(sys._getframe()) if n == 0 else down(n - 1)

    lines = down(150)
    assert len(lines) == 101
    assert lines[0] == "…"
    assert "in test_a_stack_of_a_thread_is_bounded.<locals>.down: " in lines[-1]


def test_things_without_a_stack() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert coroutine_stack(Broken()) == ["waits for <Broken: its repr failed with RuntimeError>"]
    assert coroutine_stack(object())[0].startswith("waits for <object object")
    assert describe_place(len) == "len"
    assert describe_place(describe_place).startswith("describe_place (fastnet/debugging/stacks.py:")
