"""An ASGI application behind middleware: its answer as a ``Response``, streamed as it comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastnet.asgi.types import Message
from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response, Stream
from fastnet_ext.serve.asgi import AsgiHttp, request_side
from fastnet_ext.serve.asgi_messages import checked_body, checked_head
from fastnet_ext.serve.asgi_scope import AsgiApplication

__all__ = ["respond_with"]

log = logging.getLogger("fastnet.error")


async def respond_with(of: AsgiApplication, request: Request[Any]) -> Response:
    """Run the application for a request. Raises what it raises before its answer has begun.

    It runs in a task of its own, beside the middleware that waits for the answer, and goes on after it: what
    frameworks call background tasks.
    """
    answer = _Answer(is_head=request.method == "HEAD")
    scope, answer.call = request_side(of, request, answer.close)
    task = asyncio.ensure_future(_run(of, scope, answer))
    try:
        return await answer.response(task)
    except BaseException:
        task.cancel()
        raise


async def _run(of: AsgiApplication, scope: dict[str, Any], answer: _Answer) -> None:
    try:
        await of.application(scope, answer.call.receive, answer.send)
    except Exception:
        if not answer.over:
            raise
        # Nobody waits for it any more.
        log.exception("the ASGI application of %s %s failed after its answer", scope["method"], scope["path"])


class _Answer:
    """What the application sends, handed on one piece at a time."""

    call: AsgiHttp

    def __init__(self, *, is_head: bool) -> None:
        self._is_head = is_head
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._complete = False
        self._abandoned = False
        # The piece that is on its way, and whether one more follows: who sends the next waits until it is taken.
        self._piece: tuple[bytes, bool] | None = None
        self._given = asyncio.Event()
        self._taken = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether nothing that the application sends is still waited for."""
        return self._complete or self._abandoned

    async def send(self, message: Message) -> None:
        """The application's ``send``."""
        fields = dict(message)
        kind = fields.get("type")
        if kind == "http.response.start" and self._head is None:
            self._head = checked_head(fields)
        elif kind == "http.response.body" and self._head is not None and not self._complete:
            piece = checked_body(fields)
            self._complete = not fields.get("more_body")
            if self._complete:
                self.call.answered()
            await self._give(piece, not self._complete)
        else:
            raise RuntimeError(f"unexpected ASGI message {kind!r}: behind middleware, one start and then the body")

    async def response(self, task: asyncio.Future[None]) -> Response:
        """The answer, as soon as its first piece is there."""
        task.add_done_callback(lambda _: self._given.set())
        first, more = await self._next(task)
        assert self._head is not None
        status, fields = self._head
        response: Response
        # Of what HEAD does not get, an empty body says nothing: only GET's would have a length.
        if more or (self._is_head and not first):
            response = Stream(self._stream(task, first, more), status)
            response.untyped = True
        else:
            response = Response(first, status)
        response.headers.clear()
        for name, value in fields:
            response.headers.append(name.decode("latin-1"), value)
        return response

    async def _give(self, data: bytes, more: bool) -> None:
        while self._piece is not None and not self._abandoned:
            self._taken.clear()
            await self._taken.wait()
        if self._abandoned:
            # Whoever sends for ever without looking must not stop the loop.
            await asyncio.sleep(0)
            return
        self._piece = (data, more)
        self._given.set()

    async def _next(self, task: asyncio.Future[None]) -> tuple[bytes, bool]:
        while self._piece is None:
            if task.done():
                raise _reason(task)
            self._given.clear()
            await self._given.wait()
        piece, self._piece = self._piece, None
        self._taken.set()
        return piece

    async def _stream(self, task: asyncio.Future[None], piece: bytes, more: bool) -> AsyncIterator[bytes]:
        try:
            while True:
                if piece:
                    yield piece
                if not more:
                    return
                piece, more = await self._next(task)
        finally:
            await self.close()

    async def close(self, error: BaseException | None = None) -> None:
        """Nobody takes what is still to come: who waits for room is let go, who listens is told."""
        self._abandoned = True
        self._taken.set()
        self.call.answered()


def _reason(task: asyncio.Future[None]) -> BaseException:
    """Why an application that has ended gave no more of its answer."""
    if task.cancelled():
        return RuntimeError("the ASGI application was cancelled before its answer was complete")
    return task.exception() or RuntimeError("the ASGI application returned before its answer was complete")
