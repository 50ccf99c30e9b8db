"""Attacks on a real process, from outside: it stays within a bound of memory, and everyone else is served meanwhile.

Each limit by itself: tests/wire. Here many peers at once do their worst for some seconds, and the process must be as
good as before when they have gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.loops import NAME
from tests.memory import Growth
from tests.server.service import WAIT, Client, Load, Service, running, until
from tests.wire.tools import needs

# Nobody who asks beside an attack waits for longer, on a machine that others use as well.
PATIENCE = 5.0

# What a process may grow by. The stock loop accepts a whole backlog at once and makes a task of each connection, and
# its transport copies the output that waits.
STOCK = NAME == "asyncio"
GROWTH = (64 if STOCK else 16) << 20
BIG = 4 << 20

APP = """
from fastnet import App

app = App()
BIG = b"x" * (4 << 20)

@app.get("/")
async def index() -> str:
    return "here"

@app.get("/big")
async def big() -> bytes:
    return BIG

@app.post("/upload")
async def upload(body: bytes) -> int:
    return len(body)
"""


def sockets(service: Service) -> int:
    """How many sockets the process has open."""
    count = 0
    for descriptor in Path(f"/proc/{service.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(descriptor).startswith("socket:")
    return count


@contextlib.contextmanager
def beside(service: Service, growth: int) -> Iterator[Load]:
    """Somebody else asks all the while, is answered rightly and in time, and the process grows by ``growth`` at most.

    What is asked before is not counted: its memory is that of any server at work.
    """
    load = Load(service.port, pause=0.005)
    with load.going(2):
        load.more(50)
        grown = Growth(service.pid)
        yield load
        load.more(50)
        most = grown.most
    assert load.failures == []
    assert load.bodies == {"here"}
    assert load.slowest < PATIENCE
    assert most < growth, f"grown by {most >> 10} KiB"


def in_threads(count: int, attack: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=attack, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_a_flood_of_connections(tmp_path: Path) -> None:
    """Two thousand connections that say nothing; they are served as well once they ask, or told that they cannot be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(2000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened: list[socket.socket] = []
    try:
        with running(tmp_path, APP) as service, beside(service, 2000 * 8192 + (8 << 20)):
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", service.port), WAIT)
                opened.append(sock)
            answers = {b"200": 0, b"503": 0}
            for sock in opened[::10]:
                sock.settimeout(WAIT)
                with contextlib.suppress(ConnectionError):
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                answers[sock.recv(12)[9:]] += 1
            assert answers[b"200"] > 0
    finally:
        for sock in opened:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_flood_of_small_requests(tmp_path: Path) -> None:
    """Pipelined as fast as they can be written, by peers that read and by peers that never do."""
    burst = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500
    ended = threading.Event()

    def flood(reads: bool) -> None:
        with socket.create_connection(("127.0.0.1", port), WAIT) as sock:
            sock.settimeout(0.05)
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    sock.sendall(burst)
                if reads:
                    with contextlib.suppress(TimeoutError):
                        sock.recv(1 << 20)

    with running(tmp_path, APP) as service:
        port = service.port
        with beside(service, GROWTH) as load:
            threads = in_threads(4, lambda: flood(True)) + in_threads(4, lambda: flood(False))
            until(lambda: load.answered > 300, "answers beside the flood")
            ended.set()
            for thread in threads:
                thread.join(WAIT)


def test_a_flood_of_connections_that_come_and_go(tmp_path: Path) -> None:
    """Opened and reset, closed in the middle of a head, or left half-closed: nothing of them stays behind."""
    ended = threading.Event()
    whole, half = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /upload HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"
    words = (b"", b"GET / HT", whole, half)

    def flood() -> None:
        while not ended.is_set():
            for word in words:
                with socket.create_connection(("127.0.0.1", port), WAIT) as sock:
                    sock.sendall(word)
                    if word:
                        # RST instead of FIN.
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with running(tmp_path, APP) as service:
        port = service.port
        with beside(service, GROWTH) as load:
            threads = in_threads(4, flood)
            until(lambda: load.answered > 300, "answers beside the flood")
            ended.set()
            for thread in threads:
                thread.join(WAIT)
        before = sockets(service)
        with Client(service.port) as client:
            assert client.get() == (200, "here")
            until(lambda: sockets(service) <= before + 1, "the end of all connections")


# What slowhttptest sends and how slowly: heads and bodies a few bytes a second, answers read at 16 bytes a second, and
# a Range of thousands of overlapping parts.
SLOW = {
    "slow heads": ("-H", "-i", "1", "-x", "20"),
    "slow bodies": ("-B", "-i", "1", "-s", "8192", "-x", "10"),
    "slow readers": ("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "16", "-k", "3"),
    "ranges": ("-R", "-t", "GET", "-a", "10", "-b", "3000"),
}
TARGETS = {"slow bodies": "/upload", "slow readers": "/big"}


def _slow(name: str, port: int) -> subprocess.Popen[bytes]:
    argv = ["slowhttptest", "-c", "100", "-r", "100", "-l", "40", "-p", f"{PATIENCE:.0f}", *SLOW[name]]
    argv += ["-u", f"http://127.0.0.1:{port}{TARGETS.get(name, '/')}"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


@needs("slowhttptest")
def test_slowhttptest_in_all_its_modes(tmp_path: Path) -> None:
    """Every slow connection is cut off before the tool gives up by itself."""
    flags = ("--timeout-head", "3s", "--timeout-body", "3s", "--timeout-write", "3s", "--timeout-idle", "3s")
    with running(tmp_path, APP, *flags) as service, beside(service, 2 * GROWTH + 100 * BIG * STOCK):
        before = sockets(service)
        tools = {name: _slow(name, service.port) for name in SLOW}
        ends = {}
        try:
            until(lambda: sockets(service) > before + 100, "the attack")
            # A reader that has been cut off reads on from its own buffer and does not see it: the server's side counts.
            until(lambda: sockets(service) <= before, "the end of all slow connections")
            for name in SLOW.keys() - {"slow readers"}:
                told = re.sub(r"\x1b\[[\d;]*m", "", tools[name].communicate(timeout=60)[0].decode("latin-1"))
                ends[name] = told[told.rindex("Exit status:") :].split("\n")[0]
        finally:
            for tool in tools.values():
                tool.kill()
                tool.communicate()
        assert set(ends.values()) == {"Exit status: No open connections left"}
