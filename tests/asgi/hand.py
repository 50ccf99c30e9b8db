"""ASGI by hand: scopes, a client that sends and takes messages, and what an application answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.validate import validator

from fastnet.asgi.wsgi import WSGI
from tests.loops import run

Message = MutableMapping[str, Any]


def http_scope(path: str = "/", *, headers: Iterable[tuple[bytes, bytes]] = (), **more: Any) -> dict[str, Any]:
    """An ``http`` scope with all that a server gives."""
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"example.org"), *headers],
        "client": ("192.0.2.1", 4711),
        "server": ("127.0.0.1", 8000),
    } | more


class Exchange:
    """The server's side of a request: gives the messages of a body, and keeps what is sent.

    ``taken`` counts calls of ``receive``. ``room`` may be cleared: then the client takes nothing. After the body,
    ``receive`` waits until :meth:`leave`.
    """

    def __init__(self, body: Iterable[bytes] = (b"",), *, whole: bool = True) -> None:
        parts = list(body)
        self._parts: list[Message] = [
            {"type": "http.request", "body": part, "more_body": not whole or at + 1 < len(parts)}
            for at, part in enumerate(parts)
        ]
        self.sent: list[Message] = []
        self.taken = 0
        self.room = asyncio.Event()
        self.room.set()
        self._left = asyncio.Event()
        self.fail: Exception | None = None

    async def receive(self) -> Message:
        self.taken += 1
        if self._parts:
            return self._parts.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.fail is not None:
            raise self.fail
        self.sent.append(message)
        await self.room.wait()

    def leave(self) -> None:
        self._left.set()
        self.room.set()

    @property
    def status(self) -> int:
        assert self.sent[0]["type"] == "http.response.start"
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it comes about in a thread
            await asyncio.sleep(0.002)


async def exchange(app: Any, scope: Any, body: Iterable[bytes] = (b"",)) -> Exchange:
    """What an ASGI application answers."""
    found = Exchange(body)
    await app(scope, found.receive, found.send)
    return found


def answer_of(
    application: WSGIApplication, scope: Any = None, body: Iterable[bytes] = (b"",), *, validate: bool = True
) -> Exchange:
    """What a WSGI application answers; wsgiref's validator watches both sides."""
    app = WSGI(validator(application) if validate else application)
    return run(exchange(app, http_scope() if scope is None else scope, body))
