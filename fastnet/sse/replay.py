"""Streams that outlive their clients for a while, so that one that reconnects misses nothing.

The clients of a stream share one run of its handler. Its latest events are kept in a log, under ids that tell where in
the log they stand, and each client is a position in that log: a slow one is never waited for, and costs no memory.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from typing import Any, Final

from fastnet_ext.exchange.request import Request
from fastnet_ext.serve.events import ServerSentEvent

__all__ = ["ReplayLogs", "last_event_id_of"]

log = logging.getLogger("fastnet.error")

FIRST_CLIENT: Final = 5.0
"""Seconds that a stream has at least for its first client to read."""


def last_event_id_of(request: Request[Any]) -> str:
    """What the client says in ``Last-Event-ID``, which is UTF-8; "" when it says nothing, or no text."""
    value = request.headers.get("last-event-id", "")
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return ""


class ReplayLogs:
    """The streams of one route, by path.

    ``start`` runs a coroutine in the background and returns its task. ``keep``: events of a stream. ``linger``: seconds
    that a stream goes on without clients. ``max_idle``: how many may do so; the one idle for longest ends first.
    """

    def __init__(
        self,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        keep: int,
        linger: float,
        max_idle: int,
    ) -> None:
        if keep < 1 or not linger >= 0 or max_idle < 0:
            raise ValueError("replay is at least 1 event, linger at least 0 seconds and max_idle_streams at least 0")
        self._start = start
        self.keep = keep
        self.linger = linger
        self.max_idle = max_idle
        self._streams: dict[str, StreamLog] = {}
        # Those without a client, in the order in which they lost it, and what will end each.
        self._idle: dict[StreamLog, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def subscribe(self, request: Request[Any], events: AsyncIterable[Any]) -> AsyncIterator[ServerSentEvent]:
        """The events for one client of the stream at the request's path.

        ``events`` becomes the stream's source when there is no stream yet, or one that is over and has nothing for
        this client; otherwise it is dropped, not begun.
        """
        last_id = last_event_id_of(request)
        stream = self._streams.get(request.path)
        if stream is None or (stream.over and stream.position_of(last_id) == stream.end):
            if stream is not None:
                self._forget(stream)
            stream = StreamLog(self, request.path)
            # In a context of its own: it belongs to no request.
            stream.task = contextvars.Context().run(self._start, stream.run(events))
            self._streams[request.path] = stream
            # This one is about to get its client, in a turn of the loop or two.
            self._rest(stream, max(self.linger, FIRST_CLIENT))
            self._limit_idle(self.max_idle + 1)
        return stream.follow(stream.position_of(last_id))

    def has_client(self, stream: StreamLog) -> None:
        """Its first client came."""
        if (handle := self._idle.pop(stream, None)) is not None:
            handle.cancel()

    def lost_client(self, stream: StreamLog) -> None:
        """It has no client now."""
        if self._streams.get(stream.name) is stream:
            self._rest(stream, self.linger)
            self._limit_idle(self.max_idle)

    def _rest(self, stream: StreamLog, seconds: float) -> None:
        self._idle[stream] = asyncio.get_running_loop().call_later(seconds, self._forget, stream)

    def _limit_idle(self, most: int) -> None:
        while len(self._idle) > most:
            self._forget(next(iter(self._idle)))

    def _forget(self, stream: StreamLog) -> None:
        self.has_client(stream)
        if self._streams.get(stream.name) is stream:
            del self._streams[stream.name]
        stream.close()


class StreamLog:
    """The latest events of one stream, and whoever waits for the next."""

    def __init__(self, logs: ReplayLogs, name: str) -> None:
        self.name = name
        self.task: asyncio.Task[None] | None = None
        self.over = False
        self._logs = logs
        # Another run, or another worker, gives the same numbers to other events.
        self._token = secrets.token_hex(4)
        self._events: deque[ServerSentEvent] = deque(maxlen=logs.keep)
        self.end = 0  # how many events there were, and so the position of the next
        self._clients = 0
        self._waiting: set[asyncio.Future[None]] = set()

    async def run(self, source: AsyncIterable[Any]) -> None:
        """Take down what the source gives until its end."""
        try:
            async for item in source:
                self._append(item)
                # A source that never waits would run ahead of its clients.
                await asyncio.sleep(0)
        except Exception:
            log.exception("the events of %s ended by an exception", self.name)
        finally:
            self.over = True
            self._wake()
            if (aclose := getattr(source, "aclose", None)) is not None:
                await aclose()

    def close(self) -> None:
        """End the source."""
        if self.task is not None:
            self.task.cancel()

    def position_of(self, last_id: str) -> int:
        """Where a client goes on that has seen ``last_id``.

        Behind it, or at the oldest event kept when that is gone or unknown: better twice than never. One that has
        seen nothing begins with what comes now.
        """
        if not last_id:
            return self.end
        oldest = self.end - len(self._events)
        token, _, number = last_id.rpartition("-")
        if token != self._token or not (number.isascii() and number.isdecimal()) or len(number) > 19:
            return oldest
        position = int(number) + 1
        return position if oldest <= position <= self.end else oldest

    async def follow(self, position: int) -> AsyncIterator[ServerSentEvent]:
        """The events from ``position`` on; ends with the source, or when what is next is kept no longer."""
        self._clients += 1
        if self._clients == 1:
            self._logs.has_client(self)
        try:
            while True:
                while position < self.end:
                    kept = len(self._events)
                    if position < self.end - kept:
                        return
                    position += 1
                    yield self._events[kept - (self.end - position) - 1]
                if self.over:
                    return
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.add(waiter)
                try:
                    await waiter
                finally:
                    self._waiting.discard(waiter)
        finally:
            self._clients -= 1
            if self._clients == 0:
                self._logs.lost_client(self)

    def _append(self, item: Any) -> None:
        number = f"{self._token}-{self.end}"
        if isinstance(item, ServerSentEvent):
            event = ServerSentEvent(item.data, event=item.event, id=number, retry=item.retry, comment=item.comment)
        else:
            event = ServerSentEvent("null" if item is None else item, id=number)
        self._events.append(event)
        self.end += 1
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
