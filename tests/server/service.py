"""Real server processes, and clients that count what goes wrong.

``running(folder, code, "--flag", "value")`` writes an app into a folder, runs ``fastnet run`` there on a free port, and
kills whatever is left of it at the end.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.loops import NAME

ROOT = Path(__file__).resolve().parents[2]
WAIT = 20.0  # seconds until a test gives up on a process

# Answers with the worker's process id, and by its module's version: tests change it.
APP = """
import asyncio, os
from collections.abc import AsyncIterator
from fastnet import App, WebSocket

app = App()
VERSION = "one"

@app.get("/")
async def index() -> str:
    return str(os.getpid())

@app.get("/version")
async def version() -> str:
    return VERSION
"""


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for something that another process brings about."""
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about in time"
        time.sleep(0.01)


# A log that a test can read, and no traces in the tree.
PLAIN = {"PYTHONDONTWRITEBYTECODE": "1", "FASTNET_LOG_FORMAT": "text"}


@dataclass
class Service:
    """A running command and what it has written to standard error."""

    process: subprocess.Popen[bytes]
    folder: Path
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """Wait until the log has so many matches; all of them."""

        def enough() -> bool:
            if len(re.findall(pattern, self.log)) >= count:
                return True
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log}"
            return False

        try:
            until(enough)
        except AssertionError as error:
            raise AssertionError(f"no {count} x {pattern!r} in:\n{self.log}") from error
        return re.findall(pattern, self.log)

    @property
    def port(self) -> int:
        return int(self.wait_for(r"listening on https?://[^ ]*?:(\d+)")[0])

    def ready(self, workers: int = 2) -> Service:
        """Wait until so many workers in all have been ready."""
        self.wait_for(r"worker \d+ is ready", workers)
        return self

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that have been ready, in that order."""
        return [int(pid) for pid in re.findall(r"worker (\d+) is ready", self.log)]

    def tell(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.tell(number)
        return self.process.wait(WAIT)

    def get(self, target: str = "/", *fields: str) -> str:
        """The body of an answer on a connection of its own."""
        with Client(self.port) as client:
            status, body = client.get(target, *fields)
        assert status == 200, (status, body)
        return body

    def answering(self, count: int) -> set[str]:
        """The bodies of answers, once there are so many different ones."""
        seen: set[str] = set()

        def enough() -> bool:
            seen.add(self.get())
            return len(seen) >= count

        until(enough, f"{count} different answers")
        return seen


@contextlib.contextmanager
def running(
    folder: Path,
    code: str = APP,
    *flags: str,
    app: str = "service:app",
    environment: Mapping[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    command: list[str] | None = None,
    port: str = "0",
) -> Iterator[Service]:
    """The command, until the block ends. What is left of its process group is killed."""
    (folder / "service.py").write_text(code)
    output = folder / "stderr.txt"
    if command is None:
        command = [sys.executable, "-m", "fastnet", "run", app, "--loop", NAME, *flags]
        if port:
            command += ["--port", port]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stderr=stream,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, **PLAIN, **(environment or {})},
            pass_fds=pass_fds,
            start_new_session=True,
        )
    try:
        yield Service(process, folder, output)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(WAIT)


def ended(folder: Path, code: str = APP, *flags: str, **options: str) -> tuple[int, str]:
    """Exit code and standard error of a command that ends by itself."""
    with running(folder, code, *flags, **options) as service:  # type: ignore[arg-type]
        return service.process.wait(WAIT), service.log


class Client:
    """A keep-alive connection that reads answers by their Content-Length; encrypted for ``localhost`` with ``tls``."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection((host, port), WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.last = False
        self._data = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, target: str = "/", *fields: str) -> None:
        self.sock.sendall("\r\n".join((f"GET {target} HTTP/1.1", "host: test", *fields, "", "")).encode())

    def answer(self) -> tuple[int, str]:
        """Status and body; ``last`` is True after an answer that ends the connection."""
        while b"\r\n\r\n" not in self._data:
            self._more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        self.last = fields.get("connection") == "close"
        length = int(fields["content-length"])
        while len(self._data) < length:
            self._more()
        body, self._data = self._data[:length], self._data[length:]
        return int(lines[0].split()[1]), body.decode()

    def get(self, target: str = "/", *fields: str) -> tuple[int, str]:
        self.send(target, *fields)
        return self.answer()

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the server closed before the answer was complete")
        self._data += data


@dataclass
class Load:
    """Clients that send one request after another on keep-alive connections, and note what happens.

    A connection that the server has ended by an answer with ``Connection: close`` is no failure; everything else
    that is not a 200 is one. ``failed_at`` has, for each failure, the last body that its connection brought ("": none).
    """

    port: int
    pause: float = 0.001
    tls: ssl.SSLContext | None = None
    answered: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)
    failed_at: list[str] = field(default_factory=list)
    bodies: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def _client(self) -> None:
        client: Client | None = None
        body = ""
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                if client is None:
                    body = ""
                    client = Client(self.port, tls=self.tls)
                status, body = client.get()
                if status != 200:
                    self._failed(f"status {status}", body)
                self.answered += 1
                self.bodies.add(body)
                self.slowest = max(self.slowest, time.perf_counter() - began)
                if client.last:
                    client.sock.close()
                    client = None
            except (OSError, EOFError) as error:
                self._failed(repr(error), body)
                if client is not None:
                    client.sock.close()
                client = None
            time.sleep(self.pause)
        if client is not None:
            client.sock.close()

    def _failed(self, how: str, last: str) -> None:
        self.failures.append(how)
        self.failed_at.append(last)

    @contextlib.contextmanager
    def going(self, clients: int = 8) -> Iterator[Load]:
        threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: self.answered >= clients, "the first answers")
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(WAIT)

    def more(self, count: int = 100) -> None:
        """Wait for further answers."""
        before = self.answered
        until(lambda: self.answered >= before + count, "further answers")


def alive(pid: int) -> bool:
    """Whether a process runs; zombies do not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
