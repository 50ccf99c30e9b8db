"""The servers of others, as processes that host an app."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.loops import NAME as LOOP
from tests.wire.live import Peer

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = "tests.asgi.contract:app"

# Seconds for a process to start or to stop: it imports everything first, on a machine that may be busy.
PATIENCE = 60.0


def command(server: str, place: str, port: int, flags: Sequence[str] = ()) -> list[str]:
    """What starts a server in a process."""
    rest: dict[str, list[str]] = {
        "uvicorn": ["--port", str(port), "--no-access-log", "--loop", LOOP, "--timeout-graceful-shutdown", "5"],
        # 0 workers: in this process.
        "hypercorn": ["--bind", f"127.0.0.1:{port}", "--worker-class", LOOP, "--workers", "0"],
        "granian": ["--port", str(port), "--interface", "asgi", "--loop", LOOP, "--workers-kill-timeout", "10"],
    }
    return [sys.executable, "-m", server, place, *rest[server], *flags]


@dataclass
class Host:
    """A server that runs; what it wrote is in ``log`` once it has ended."""

    name: str
    port: int
    process: subprocess.Popen[str]
    log: str = field(default="")

    def peer(self) -> Peer:
        return Peer(self.port)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def hosted(server: str, place: str = CONTRACT, *flags: str, starts: bool = True) -> Iterator[Host]:
    """A server with an app, from the moment in which it listens (unless it never ``starts``) to its end."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command(server, place, port, flags),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    host = Host(server, port, process)
    try:
        if starts:
            _wait_until_it_listens(host)
        yield host
        if starts:
            process.terminate()
        host.log = process.communicate(timeout=PATIENCE)[0]
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                host.log = process.communicate(timeout=PATIENCE)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                host.log = process.communicate()[0]


def _wait_until_it_listens(host: Host) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if host.process.poll() is not None:
            raise RuntimeError(f"{host.name} ended:\n{host.process.communicate()[0]}")
        try:
            socket.create_connection(("127.0.0.1", host.port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"{host.name} does not listen")
