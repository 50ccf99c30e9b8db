"""An ASGI server made by hand: scopes, and calls whose every message a test brings and sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from fastnet import App
from tests.wire.live import WAIT

Message = dict[str, Any]

END: Message = {"type": "http.request", "body": b"", "more_body": False}
GONE: Message = {"type": "http.disconnect"}
CONNECT: Message = {"type": "websocket.connect"}


def http_scope(method: str = "GET", path: str = "/", **more: Any) -> Message:
    """A scope as servers make them; ``more`` replaces and adds keys, None takes one away."""
    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": None,
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"test")],
        "client": ("192.0.2.7", 4711),
        "server": ("192.0.2.1", 80),
        "extensions": {},
    }
    if "raw_path" not in more:
        scope["raw_path"] = path.encode()
    scope.update(more)
    return {key: value for key, value in scope.items() if value is not None}


def websocket_scope(path: str = "/echo", **more: Any) -> Message:
    """The scope of a WebSocket."""
    more = {"type": "websocket", "scheme": "ws", "subprotocols": [], "method": None, **more}
    return http_scope(path=path, **more)


def part(body: bytes, *, more: bool = True) -> Message:
    """A piece of a request's body."""
    return {"type": "http.request", "body": body, "more_body": more}


class Call:
    """One call of an app: ``bring`` what ``receive`` gives, look at what was sent.

    ``slow``: ``send`` waits until ``release``. ``vanished``: it raises OSError, as ASGI 2.4 has it for a peer that is
    gone.
    """

    def __init__(self, app: App, scope: Message, *messages: Message, slow: bool = False) -> None:
        self.sent: list[Message] = []
        self.received = 0
        self.vanished = False
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._open = asyncio.Event()
        if not slow:
            self._open.set()
        self.bring(*messages)
        self.task = asyncio.create_task(self._run(app, scope))

    async def _run(self, app: App, scope: Message) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        message = await self._incoming.get()
        self.received += 1
        return message

    async def _send(self, message: Any) -> None:
        await self._open.wait()
        if self.vanished:
            raise OSError("the peer is gone")
        self.sent.append(message)

    def bring(self, *messages: Message) -> None:
        """What ``receive`` gives next."""
        for message in messages:
            self._incoming.put_nowait(message)

    def hold(self) -> None:
        """Let ``send`` wait from now on."""
        self._open.clear()

    def release(self) -> None:
        """Let what was sent go."""
        self._open.set()

    async def until(self, condition: Any) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(WAIT):
            while not condition():  # noqa: ASYNC110 - a condition of any kind tells nobody
                await asyncio.sleep(0.001)

    async def end(self) -> Call:
        """Wait until the app returns; what it raises comes out."""
        await asyncio.wait_for(self.task, WAIT)
        return self

    # --- the answer

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.sent]

    @property
    def status(self) -> int:
        return next(int(message["status"]) for message in self.sent if message["type"].endswith("response.start"))

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        return next(list(message["headers"]) for message in self.sent if message["type"].endswith("response.start"))

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent if message["type"].endswith("response.body"))


async def ask(app: App, scope: Message, body: bytes | Iterable[bytes] = b"") -> Call:
    """A whole request and its answer."""
    pieces = [body] if isinstance(body, bytes) else list(body)
    messages = [part(piece, more=index + 1 < len(pieces)) for index, piece in enumerate(pieces)]
    return await Call(app, scope, *messages).end()
