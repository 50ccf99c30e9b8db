"""Sources that tests hold in their hands, and a clock that they turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastnet.streaming import Token


class Source:
    """Gives what ``give`` puts in; ``None`` ends it, an exception is raised. Tells what became of it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | Token | BaseException | None] = asyncio.Queue()
        self.begun = 0
        self.asked = 0
        self.said: list[str] = []

    def give(self, *items: str | Token | BaseException | None) -> None:
        for item in items:
            self.queue.put_nowait(item)

    def __aiter__(self) -> Source:
        self.begun += 1
        return self

    async def __anext__(self) -> str | Token:
        self.asked += 1
        try:
            item = await self.queue.get()
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        return item

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.said.append("closed")


class Timer:
    def __init__(self, at: float, callback: Callable[[], object]) -> None:
        self.at = at
        self.callback = callback

    def cancel(self) -> None:
        self.at = float("inf")


class Clock:
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        self.timers = [timer for timer in self.timers if timer.at > self.now and timer.at != float("inf")]
        self.timers.append(Timer(self.now + delay, callback))
        return self.timers[-1]

    @property
    def waiting(self) -> int:
        return sum(self.now < timer.at < float("inf") for timer in self.timers)

    def turn(self, seconds: float) -> None:
        self.now += seconds
        for timer in self.timers:
            if timer.at <= self.now:
                timer.at = float("inf")
                timer.callback()


async def settle(turns: int = 10) -> None:
    """Let everything that can go on do so."""
    for _ in range(turns):
        await asyncio.sleep(0)
