"""An ASGI application behind middleware: its answer as a ``Response``, streamed as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastnet.asgi.types import Message
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response, Stream
from fastnet_ext.serve.asgi import request_side
from fastnet_ext.serve.asgi_messages import checked_body, checked_head
from fastnet_ext.serve.asgi_scope import AsgiApplication

__all__ = ["respond_with"]


async def respond_with(of: AsgiApplication, request: Request[Any]) -> Response:
    """Run the application for a request. Raises what it raises before its answer has begun.

    It runs in a task of its own, beside the middleware that waits for the answer, and goes on after it: what
    frameworks call background tasks.
    """
    answer = _Answer()
    scope, receive = request_side(of, request)
    task = asyncio.ensure_future(_run(of, scope, receive, answer))
    try:
        return await answer.response(task)
    except BaseException:
        task.cancel()
        raise


async def _run(of: AsgiApplication, scope: Any, receive: Any, answer: _Answer) -> None:
    await of.application(scope, receive, answer.send)


class _Answer:
    """What the application sends, handed on one piece at a time."""

    def __init__(self) -> None:
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._complete = False
        self._abandoned = False
        # One piece on its way: who sends the next waits until it is taken.
        self._pieces: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue(1)

    async def send(self, message: Message) -> None:
        """The application's ``send``."""
        fields = dict(message)
        kind = fields.get("type")
        if kind == "http.response.start" and self._head is None:
            self._head = checked_head(fields)
        elif kind == "http.response.body" and self._head is not None and not self._complete:
            self._complete = not fields.get("more_body")
            if not self._abandoned:
                await self._pieces.put((checked_body(fields), not self._complete))
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}: behind middleware, one start and then the body")

    async def response(self, task: asyncio.Future[None]) -> Response:
        """The answer, as soon as its first piece is there."""
        first, more = await self._next(task)
        assert self._head is not None
        status, fields = self._head
        response = Stream(self._stream(task, first), status) if more else Response(first, status)
        for name, value in fields:
            response.headers.append(name.decode("latin-1"), value)
        return response

    async def _next(self, task: asyncio.Future[None]) -> tuple[bytes, bool]:
        getter = asyncio.ensure_future(self._pieces.get())
        try:
            waiting: set[asyncio.Future[Any]] = {getter, task}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if getter.done():
                return getter.result()
            if not self._pieces.empty():
                return self._pieces.get_nowait()
        finally:
            getter.cancel()
        if task.cancelled():
            raise RuntimeError("the ASGI application was cancelled before its answer was complete")
        if (error := task.exception()) is not None:
            raise error
        raise RuntimeError("the ASGI application returned before its answer was complete")

    async def _stream(self, task: asyncio.Future[None], first: bytes) -> AsyncIterator[bytes]:
        piece, more = first, True
        try:
            while True:
                if piece:
                    yield piece
                if not more:
                    return
                piece, more = await self._next(task)
        finally:
            # Nobody takes what is still to come; a sender that waits for room is let go.
            self._abandoned = True
            if not self._pieces.empty():
                self._pieces.get_nowait()
