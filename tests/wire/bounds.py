"""What a limit promises beside its answer: everyone else is served meanwhile, and little is kept for who is cut off."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from fastnet import App, Request
from fastnet.websocket import WebSocket
from tests.wire.live import WAIT, Live

KIB = 1024
MIB = 1024 * KIB


def bounded_app() -> App:
    """Handlers that wait for their peer in every way."""
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

    @app.post("/free", rate_body=0)
    async def free(body: bytes) -> str:
        return str(len(body))

    @app.post("/patient", timeout_body=30)
    async def patient(body: bytes) -> str:
        return str(len(body))

    @app.get("/big")
    async def big(size: int = 8 * MIB) -> bytes:
        return b"x" * size

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
    """The head of a request whose body is to come."""
    return f"POST {target} HTTP/1.1\r\nhost: t\r\ncontent-length: {size}\r\n\r\n".encode()


@contextmanager
def beside(server: Live, *, keeps: int = 0, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Somebody else asks all the while and is answered, and connections keep at most ``keeps`` bytes in buffers.

    What is asked, ``/``, has to be quick: the buffers are looked at after each answer. ``context`` is for TLS.
    """
    over = threading.Event()
    statuses: set[int] = set()
    failures: list[BaseException] = []
    most = served = 0

    def ask() -> None:
        nonlocal most, served
        try:
            with server.peer(context=context) as other:
                while served < 3 or not over.is_set():
                    statuses.add(other.get().answer().status)
                    most = max(most, server.counters["bytes_buffered"])
                    served += 1
                    time.sleep(0.002)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(WAIT)
    assert failures == []
    assert statuses == {200}
    assert most <= keeps, f"{most} bytes were kept"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of those whom a limit cut off."""
    return [record.getMessage() for record in caplog.records if record.name == "fastnet.limits"]


def told(caplog: pytest.LogCaptureFixture, limit: str, value: str, setting: str, end: str) -> None:
    """The one line of the log names the peer, the limit's value, the setting that changes it, and what it got."""
    (record,) = (record for record in caplog.records if record.name == "fastnet.limits")
    line = record.getMessage()
    assert line.startswith("listener main: 127.0.0.1:")
    assert f"(limit {value}; {setting} changes it)" in line if setting else "(limit" not in line
    assert line.endswith(end), line
    assert vars(record)["limit"] == limit
    assert record.levelno == logging.INFO
