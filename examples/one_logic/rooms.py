"""The logic: rooms in which people talk. Knows no protocol."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import msgspec

# Messages that a room remembers, and that may wait for one who listens slowly.
KEPT = 100
WAITING = 100


class ChatError(Exception):
    """What was said cannot be taken; the text is for whoever said it."""


class Said(msgspec.Struct, frozen=True):
    """A message in a room; ``at`` in seconds since 1970."""

    room: str
    user: str
    text: str
    at: float


class Room:
    """What was said in one room, and who listens."""

    def __init__(self) -> None:
        self.history: deque[Said] = deque(maxlen=KEPT)
        self.listeners: set[asyncio.Queue[Said]] = set()


class Rooms:
    """All rooms, on one event loop."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def say(self, room: str, user: str, text: str) -> Said:
        """Say something in a room. Raises ChatError."""
        for what, value, most in (("room", room, 40), ("user", user, 40), ("text", text, 1000)):
            if not value.strip() or len(value) > most:
                raise ChatError(f"{what}: 1 to {most} characters")
        said = Said(room, user, text, time.time())
        place = self._rooms.setdefault(room, Room())
        place.history.append(said)
        for listener in place.listeners:
            if listener.full():
                # Who is slow loses the oldest, and holds up nobody.
                listener.get_nowait()
            listener.put_nowait(said)
        return said

    def history(self, room: str, limit: int = 0) -> list[Said]:
        """The latest messages of a room, oldest first."""
        place = self._rooms.get(room)
        said = list(place.history) if place is not None else []
        return said[-limit:] if limit > 0 else said

    @contextmanager
    def listening(self, room: str) -> Iterator[AsyncIterator[Said]]:
        """What is said in a room from now on, until the block is left."""
        place = self._rooms.setdefault(room, Room())
        queue: asyncio.Queue[Said] = asyncio.Queue(WAITING)

        async def messages() -> AsyncIterator[Said]:
            while True:
                yield await queue.get()

        place.listeners.add(queue)
        try:
            yield messages()
        finally:
            place.listeners.discard(queue)

    def listeners(self, room: str) -> int:
        """How many listen."""
        place = self._rooms.get(room)
        return len(place.listeners) if place is not None else 0
