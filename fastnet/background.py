"""Tasks that outlive the request that started them: logged when they fail, ended at shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["BackgroundTasks"]

T = TypeVar("T")

log = logging.getLogger("fastnet.error")


class BackgroundTasks:
    """The running background tasks of an application. One that fails does not touch the others."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def open(self) -> None:
        """Take tasks (again)."""
        self._closed = False

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine on the running loop and keep it until it ends.

        Raises ``RuntimeError`` after ``close``, and where no loop runs.
        """
        if self._closed:
            coroutine.close()
            raise RuntimeError("the application is shutting down: it starts no background tasks any more")
        try:
            task = asyncio.get_running_loop().create_task(coroutine, name=name)
        except RuntimeError:
            coroutine.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background task %s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel what still runs and wait until it has ended; takes no more tasks."""
        self._closed = True
        running = list(self._tasks)
        for task in running:
            task.cancel()
        if running:
            # Not gather: a task that ends by its own exception has been logged already.
            await asyncio.wait(running)
