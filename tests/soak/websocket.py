"""Many idle WebSockets, then a storm of broadcasts that some hardly read: what is kept, who is served, what is left."""

from __future__ import annotations

import json
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.memory import resident
from tests.server.service import Client, Service, running
from tests.wire.frames import UPGRADE, masked

__all__ = ["Found", "soak"]

KIB, MIB = 1024, 1024 * 1024
# Seconds until something that does not come about has failed.
WAIT = 60.0
# What one idle connection may take of the server's memory, its kernel buffers not counted.
IDLE_MOST = 16 * KIB
# What those who hardly read may make a storm cost, each: their queue, and what the transport keeps of it.
SLOW_MOST = 512 * KIB
# What the server may have more after all of them have left than it had before.
LEFT_MOST = 16 * MIB
PAYLOAD = 4 * KIB
BURST = 50
# Seconds of silence until the server pings; nobody answers while connections are being opened.
HEARTBEAT = 15.0
# Seconds between two sips of those who are slow, while nobody is pinged.
SIP = 0.05
PING, PONG = b"\x89\x00", masked(0xA)

CODE = f"""
import asyncio

from fastnet import App, WebSocket

app = App(settings={{"keepalive_websocket": {HEARTBEAT}}})
hub = app.hub(queue=16, queue_bytes=64 * 1024)
sent = 0

@app.get("/")
async def index() -> dict[str, int]:
    here = sum(len(hub.members(room)) for room in hub.rooms)
    return {{"here": here, "rooms": len(hub.rooms), "broadcasts": sent, **hub.counters}}

@app.get("/burst")
async def burst() -> dict[str, int]:
    global sent
    for _ in range({BURST}):
        hub.broadcast("storm", sent.to_bytes(4, "big") + bytes({PAYLOAD - 4}))
        sent += 1
        await asyncio.sleep(0)
    return {{"sent": sent}}

def on_open(ws: WebSocket, room: str) -> None:
    hub.join(ws, room)

app.websocket("/{{room}}", on_open=on_open)
"""


@dataclass
class Found:
    """What a soak has shown, in bytes and messages."""

    connections: int
    idle: int  # of memory for each idle connection
    sent: int  # broadcasts
    read: int  # messages that those who read have had
    dropped: int
    storm: int  # of memory that the storm took at most
    left: int  # of memory that is left of it all

    def __str__(self) -> str:
        return (
            f"{self.connections} connections, {self.idle / KIB:.1f} KiB each while idle; {self.sent} broadcasts, "
            f"{self.read} messages read, {self.dropped} dropped, {self.storm / MIB:.1f} MiB at most for them; "
            f"{self.left / MIB:.1f} MiB left"
        )


def soak(connections: int, seconds: float, *, slow: int = 20, quick: int = 5) -> Found:
    """Open idle ``connections``, then broadcast for ``seconds`` to ``slow`` that hardly read and ``quick`` that do.

    Raises ``AssertionError`` for whatever is not as promised, ``OSError`` where the system has too few files.
    """
    _allow(connections + slow + quick + 200)
    with TemporaryDirectory() as folder, running(Path(folder), CODE, "--workers", "1") as service, ExitStack() as stack:
        pid = _pid(service)
        port = service.port
        for _ in range(20):  # what the first requests make once
            service.get()
        before = resident(pid)
        with ExitStack() as first:
            for _ in range(connections):
                first.enter_context(_opened(port, "idle"))
            each = (resident(pid) - before) // connections
        assert each <= IDLE_MOST, f"an idle connection takes {each} bytes"
        _until(lambda: _asked(service)["rooms"] == 0, "an empty hub")
        # The allocator keeps some of that for the next ones: what is left after them as well would be a leak.
        before = resident(pid)
        idle = [stack.enter_context(_opened(port, "idle")) for _ in range(connections)]
        standing = resident(pid)
        readers = [stack.enter_context(_opened(port, "storm")) for _ in range(quick)]
        sleepers = [stack.enter_context(_opened(port, "storm", receive_buffer=4 * KIB)) for _ in range(slow)]
        with _living(idle, sleepers):
            most, read = _storm(service, pid, seconds, readers)
        after = _asked(service)
        assert after["here"] == connections + slow + quick, f"not all are left: {after}\n{service.log[-2000:]}"
        assert after["dropped"] > 0, "nobody was too slow: the storm was none"
        assert most - standing <= slow * SLOW_MOST + 8 * MIB, f"the storm took {most - standing} bytes"
        for sock in (*idle, *readers, *sleepers):
            sock.close()
        _until(lambda: _asked(service)["rooms"] == 0, "an empty hub")
        left = resident(pid) - before
        assert left <= LEFT_MOST, f"{left} bytes are left"
        assert service.end() == 0
        assert "Traceback" not in service.log, service.log
    return Found(connections, each, after["broadcasts"], read, after["dropped"], most - standing, left)


def _storm(service: Service, pid: int, seconds: float, readers: list[socket.socket]) -> tuple[int, int]:
    """Burst after burst, each read whole and in order by those who read; the most memory, and the messages read."""
    end = time.monotonic() + seconds
    most = read = number = 0
    frame = 4 + PAYLOAD
    with Client(service.port) as client:
        while number == 0 or time.monotonic() < end:
            client.send("/burst")
            for sock in readers:
                for offset in range(BURST):
                    data = _exactly(sock, frame)
                    assert data[:2] == b"\x82\x7e", data[:8]
                    got = int.from_bytes(data[4:8], "big")
                    assert got == number + offset, f"message {got} in the place of {number + offset}"
                    read += 1
            assert client.answer()[0] == 200
            number += BURST
            most = max(most, resident(pid))
    return most, read


def _exactly(sock: socket.socket, count: int) -> bytes:
    """So many bytes, pings of the server passed over: they stand between frames."""
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        assert more, "the server closed a connection that reads"
        data += more
        if data.startswith(PING):
            data = data[2:]
            sock.sendall(PONG)
    return data


@contextmanager
def _living(idle: list[socket.socket], sleepers: list[socket.socket]) -> Iterator[None]:
    """Beside what goes on, the idle answer pings, and the slow read a little of what they are sent."""
    over = threading.Event()
    pings = selectors.DefaultSelector()
    for sock in idle:
        pings.register(sock, selectors.EVENT_READ)
    for sock in sleepers:
        sock.setblocking(False)

    def live() -> None:
        while not over.is_set():
            for key, _ in pings.select(SIP):
                found = key.fileobj
                assert isinstance(found, socket.socket)
                try:
                    alive = found.recv(len(PING)) == PING
                    found.sendall(PONG)
                except OSError:
                    alive = False
                if not alive:
                    # What is left of all is counted at the end.
                    pings.unregister(found)
            for sock in sleepers:
                with suppress(BlockingIOError):
                    sock.recv(KIB)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WAIT)
        pings.close()


@contextmanager
def _opened(port: int, room: str, *, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.settimeout(WAIT)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", port))
        sock.sendall("\r\n".join((f"GET /{room} HTTP/1.1", "host: t", *UPGRADE, "", "")).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert b" 101 " in head.splitlines()[0], head
        yield sock


def _asked(service: Service) -> dict[str, int]:
    found: dict[str, int] = json.loads(service.get())
    return found


def _pid(service: Service) -> int:
    """Of the process that serves: one worker needs no supervisor."""
    assert service.port
    return service.pid


def _until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about in time"
        time.sleep(0.05)


def _allow(files: int) -> None:
    """Let this process and its children have so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise OSError(f"{files} open files are needed, and the system allows {hard}: see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
