"""A served app and a client that says exactly what goes over the wire.

``live(app)`` serves in a thread of its own; ``Peer`` is a plain socket that reads answers by their
framing, with nothing of the engine in it.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastnet import App
from fastnet.server import Server
from fastnet_ext.core import debug
from tests.loops import new_loop, run

T = TypeVar("T")

WAIT = 10.0  # seconds until a test gives up on its peer


@dataclass
class Answer:
    """One answer off the wire; names of fields in lower case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)

    def __getitem__(self, name: str) -> str | None:
        """The value of a field; None when it is absent. A field that must be single is."""
        values = [value for key, value in self.fields if key == name]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Peer:
    """A client connection. Everything fails after ``WAIT`` seconds instead of hanging."""

    def __init__(self, port: int, *, receive_buffer: int | None = None, context: ssl.SSLContext | None = None) -> None:
        sock = socket.socket()
        sock.settimeout(WAIT)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock if context is None else context.wrap_socket(sock, server_hostname="localhost")
        # A bytearray gives bytes off its front cheaply.
        self.buffer = bytearray()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Peer:
        self.sock.sendall(data)
        return self

    def get(self, target: str = "/", *fields: str) -> Peer:
        """Send a GET without a body."""
        lines = [f"GET {target} HTTP/1.1", "host: test", *fields, "", ""]
        return self.send("\r\n".join(lines).encode())

    def post(self, target: str, body: bytes, *fields: str) -> Peer:
        """Send a POST with its body and the length of it."""
        lines = [f"POST {target} HTTP/1.1", "host: test", f"content-length: {len(body)}", *fields, "", ""]
        return self.send("\r\n".join(lines).encode() + body)

    def half_close(self) -> Peer:
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # --- what comes back

    def _more(self) -> None:
        data = self.sock.recv(1 << 20)
        if not data:
            raise EOFError(f"the server closed; {bytes(self.buffer[:200])!r} was left")
        self.buffer += data

    def until(self, mark: bytes) -> bytes:
        """What comes up to and with a mark."""
        while mark not in self.buffer:
            self._more()
        return self.exactly(self.buffer.index(mark) + len(mark))

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._more()
        found = bytes(self.buffer[:count])
        del self.buffer[:count]
        return found

    def rest(self) -> bytes:
        """Everything until the server closes. A reset raises."""
        while data := self.sock.recv(1 << 20):
            self.buffer += data
        return self.exactly(len(self.buffer))

    def closed(self) -> bool:
        """Whether nothing but the end follows."""
        return self.rest() == b""

    def answer(self, method: str = "GET") -> Answer:
        """The next answer; interim ones are answers too."""
        line, *lines = self.until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        assert line.startswith("HTTP/1.1 "), line
        answer = Answer(int(line[9:12]), [_field(text) for text in lines], b"")
        if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
            return answer
        if answer["transfer-encoding"] == "chunked":
            self._chunks(answer)
        elif (length := answer["content-length"]) is not None:
            answer.body = self.exactly(int(length))
        else:
            assert answer["connection"] == "close"
            answer.body = self.rest()
        return answer

    def _chunks(self, answer: Answer) -> None:
        while size := int(self.until(b"\r\n"), 16):
            answer.chunks.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        while (line := self.until(b"\r\n")) != b"\r\n":
            answer.trailers.append(_field(line[:-2].decode("latin-1")))
        answer.body = b"".join(answer.chunks)


def _field(line: str) -> tuple[str, str]:
    name, value = line.split(":", 1)
    return name.lower(), value.strip()


@dataclass
class Live:
    """A running server, seen from another thread."""

    server: Server
    loop: asyncio.AbstractEventLoop
    opened: int = 0

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def counters(self) -> dict[str, int]:
        return self.server.counters

    def peer(self, **options: Any) -> Peer:
        self.opened += 1
        return Peer(self.port, **options)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function on the server's loop; what it returns."""

        async def body() -> T:
            return function(*args)

        return self.run(body())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop; what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT)

    def settle(self) -> dict[str, int]:
        """The counters once nothing is being answered and no connection is open."""
        until(lambda: self.counters["connections"] >= self.opened)
        until(lambda: self.counters["requests_active"] == 0 and self.counters["connections_open"] == 0)
        return self.counters


def until(condition: Callable[[], bool], seconds: float = WAIT) -> None:
    """Wait for something that another thread brings about; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.002)


def counted() -> dict[str, int]:
    """How many objects of a connection or an exchange live; empty in a plain build, which does not count."""
    if debug.enabled():
        gc.collect()
    # A test may keep a head, a request or a response.
    kept = ("HeaderBlock", "Exchange")
    return {kind: count for kind, count in debug.live().items() if kind not in kept}


# The apps being served: objects are counted for all of them together.
served: list[App] = []


@contextmanager
def live(
    app: App,
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_loop,
    keeps: bool = False,
    **settings: Any,
) -> Iterator[Live]:
    """The app, served on a free port until the block ends.

    Builds that count objects see that none is left, unless the test ``keeps`` a task, a request or a traceback, or
    another server runs.
    """
    alone = not served
    before = counted()
    served.append(app)
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        settings.setdefault("timeout_drain", 2.0)
        async with app.serve(port=0, **settings) as server:
            found["live"] = Live(server, loop)
            found["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
            ready.set()
            await stop.wait()

    def target() -> None:
        try:
            run(main(), loop_factory=loop_factory)
        except BaseException as error:
            found["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    assert ready.wait(WAIT)
    if "live" in found:
        try:
            yield found["live"]
        finally:
            # The loop may have ended by itself, by what a handler raised.
            with suppress(RuntimeError):
                found["stop"]()
            thread.join(WAIT)
            served.remove(app)
            assert not thread.is_alive(), "the server does not stop"
    else:
        served.remove(app)
    if "error" in found:
        raise found["error"]
    found.clear()
    left = {kind: count - before[kind] for kind, count in counted().items() if count > before[kind]}
    assert keeps or not left or served or not alone, "objects of the engine outlive their server"
