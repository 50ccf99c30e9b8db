"""ASGI applications for tests: mounted, served, and noting what happened to them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastnet import App
from tests.wire.live import WAIT, Live, Peer, live, until

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Message, Receive, Send], Awaitable[Any]]

START: Message = {"type": "http.response.start", "status": 200}


def body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


@dataclass
class Notes:
    """What an application under test has seen."""

    scopes: list[Message] = field(default_factory=list)
    received: list[Message] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    ended: int = 0

    def wait(self, ended: int = 1) -> Notes:
        until(lambda: self.ended >= ended)
        return self


class Gate:
    """What an application waits for and a test opens, from another thread."""

    def __init__(self) -> None:
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    async def passed(self) -> None:
        assert await asyncio.to_thread(self._opened.wait, WAIT)


def stuck_at(peer: Peer, sent: list[int]) -> int:
    """How much an application has sent when a peer that hardly reads makes it wait."""
    until(lambda: bool(sent))
    count = -1
    peer.sock.settimeout(0.2)
    while count != len(sent):
        count = len(sent)
        with suppress(TimeoutError):
            peer.sock.recv(1)
    return count


@dataclass
class Served:
    live: Live
    notes: Notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.live, name)


@contextmanager
def serving(handler: Handler, path: str = "/", *, lifespan: Any = "off", **settings: Any) -> Iterator[Served]:
    """An application that is a handler of one request, mounted at a path and served.

    What it raises is noted before it goes on to the server.
    """
    notes = Notes()

    async def application(scope: Message, receive: Receive, send: Send) -> Any:
        notes.scopes.append(scope)

        async def noting() -> Message:
            message = await receive()
            notes.received.append(message)
            return message

        try:
            return await handler(scope, noting, send)
        except BaseException as error:
            notes.errors.append(error)
            raise
        finally:
            notes.ended += 1

    options = {
        name: settings.pop(name) for name in ("max_body", "max_message", "max_in_flight", "timeout") if name in settings
    }
    app = settings.pop("app", None) or App()
    app.mount(path, application, lifespan=lifespan, **options)
    # A traceback that is noted keeps frames, and they the request.
    with live(app, keeps=True, **settings) as server:
        yield Served(server, notes)


async def whole_body(receive: Receive) -> bytes:
    data = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        data += bytes(message["body"])
        if not message["more_body"]:
            return data
