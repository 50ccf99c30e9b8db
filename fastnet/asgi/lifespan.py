"""Drives the lifespan of an ASGI application: start-up before the first request, shutdown after the last one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal

from fastnet.asgi.types import AsgiApp, Message

__all__ = ["AsgiLifespan", "LifespanFailed", "LifespanMode"]

LifespanMode = Literal["auto", "on", "off"]

log = logging.getLogger("fastnet.server")


class LifespanFailed(RuntimeError):
    """An ASGI application said that it cannot start, or cannot stop in order; the message is its own."""


class AsgiLifespan(AbstractAsyncContextManager[None]):
    """The lifespan of an application as a context: entered once it has started, left once it has stopped.

    ``mode``: ``"auto"`` takes an application that raises before it has answered for one without a lifespan,
    ``"on"`` raises what it raises. ``state`` is what the application may fill for its requests.
    Raises :class:`LifespanFailed` when the application says that it failed.
    """

    def __init__(self, application: AsgiApp, state: dict[str, Any], mode: LifespanMode = "auto") -> None:
        self._application = application
        self._state = state
        self._mode = mode
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._state.clear()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(), name="fastnet ASGI lifespan")
        self._messages.put_nowait({"type": "lifespan.startup"})
        try:
            answer = await self._answer()
        except BaseException:
            # Ours or the application's: what it has begun is not left alone.
            await self._end()
            raise
        if answer is None:
            await self._end()
        elif answer["type"] == "lifespan.startup.failed":
            await self._end()
            raise LifespanFailed(answer.get("message") or "the ASGI application failed to start and did not say why")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        try:
            answer = await self._answer()
        finally:
            await self._end()
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            raise LifespanFailed(answer.get("message") or "the ASGI application failed to stop and did not say why")

    async def _answer(self) -> Message | None:
        """What the application says next; None when it ends instead, and may."""
        assert self._task is not None
        getter = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait({getter, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if getter.done():
                return getter.result()
        finally:
            getter.cancel()
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None and (self._mode == "on" or not isinstance(error, Exception)):
            raise error
        if error is not None:
            log.debug("an ASGI application has no lifespan: it raised %r", error)
        return None

    async def _end(self) -> None:
        """The application's task is over, whatever it was at."""
        task, self._task = self._task, None
        if task is None:
            return
        if not task.done():
            # It has said its last word; what it does after that is cut off if it does not end by itself.
            await asyncio.wait({task}, timeout=0.1)
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("the lifespan of an ASGI application ended with %r", error)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        await self._application(scope, self._messages.get, self._send)

    async def _send(self, message: Message) -> None:
        kind = message.get("type")
        if kind not in _ANSWERS:
            raise RuntimeError(f"{kind!r} is no message that a lifespan sends: there are {', '.join(_ANSWERS)}")
        self._answers.put_nowait(message)


_ANSWERS = (
    "lifespan.startup.complete",
    "lifespan.startup.failed",
    "lifespan.shutdown.complete",
    "lifespan.shutdown.failed",
)
