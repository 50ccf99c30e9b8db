"""One stream of text that somebody makes piece by piece, a language model for example."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from fastnet.http.errors import HTTPException
from fastnet.streaming.messages import Chunk, End, Message, Usage, event_of, fail
from fastnet.streaming.sources import Clock, SourceCancelled, TimerLike, Token
from fastnet_ext.serve.events import ServerSentEvent
from fastnet_ext.serve.runner import current_context

__all__ = ["BUFFER", "Reader", "TokenStream"]

ToldT = TypeVar("ToldT")

log = logging.getLogger("fastnet.error")

BUFFER: Final = 4096
"""Characters of a stream that wait for its reader before its source does."""

FIRST: Final = 0
"""Fewer characters than a first token has."""

CANCELLED: Final = "cancelled"
ERROR: Final = "error"

STREAK: Final = 64
"""Items of a source that never waits, after which others get a turn of the loop."""


class Reader(Protocol):
    """Who takes the chunks of several streams."""

    @property
    def woken(self) -> bool:
        """Whether it was told that there is something, and has not had its turn since."""
        ...

    def wake(self, stream: TokenStream, /) -> None:
        """There is something, or the end."""
        ...


class TokenStream:
    """Text from ``source``, for one reader, in chunks.

    ``source`` is an async iterable of str, each of which counts as a token, or of ``Token``. (Other values cannot be
    joined: make text of them in a generator.) It runs in a task of its own, begun when the first chunk is asked for,
    so that it goes on while the reader waits for its socket. What comes meanwhile is joined; otherwise each token is a
    chunk of its own, unless

    * ``chunk_size``: a chunk has at least so many characters, the last excepted, or
    * ``max_delay``: so many seconds have passed since its first token came.

    With both, whichever is first. Neither ever holds up the first token, nor splits one. When ``buffer`` characters
    wait for the reader, the source waits too.

    A handler returns the stream (its text, as text/plain), ``EventStream(stream)`` (events with the text as data) or
    ``EventStream(stream.events())`` (``messages.py``, with usage and errors). All of these close it when the peer has
    left: the source is cancelled where it waits, and closed. Whoever reads it by himself does so with ``async with``.

    ``clock`` is the running loop by default. Raises ``ValueError`` and ``TypeError`` for what cannot be.
    """

    def __init__(
        self,
        source: AsyncIterable[str | Token],
        *,
        chunk_size: int | None = None,
        max_delay: float | None = None,
        buffer: int = BUFFER,
        clock: Clock | None = None,
    ) -> None:
        if not hasattr(type(source), "__aiter__"):
            raise TypeError(f"a source of tokens is an async iterable, not {type(source).__name__}")
        if buffer < 1:
            raise ValueError(f"buffer is at least 1 character, not {buffer}")
        if chunk_size is not None and not 1 <= chunk_size <= buffer:
            raise ValueError(f"chunk_size is 1 to buffer ({buffer}) characters, not {chunk_size}")
        if max_delay is not None and not max_delay > 0:
            raise ValueError(f"max_delay is more than 0 seconds, not {max_delay}: leave it out for none")
        self._source = source
        self._max_delay = max_delay
        self._buffer = buffer
        self._clock = clock
        self._chunk_size = chunk_size if chunk_size is not None else 1 if max_delay is None else buffer

        # What waits for the reader; `ready` when it may have it. Only then, or with the end, it is woken.
        self._parts: list[str] = []
        self._size = 0
        self._enough = FIRST  # characters that make it ready: the first token always does
        self._ready = False
        self._timer: TimerLike | None = None
        # Who takes it: a reader that waits for this, or several streams' multiplexer.
        self._waiter: asyncio.Future[None] | None = None
        self._reader: Reader | None = None
        # The source waits for room.
        self._room: asyncio.Future[None] | None = None

        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None  # until it has ended
        self._started = False
        self._running = False  # the task has taken its first step, and can be cancelled
        self._closing = False
        self._over = False
        self._failure: BaseException | None = None
        self._reason = "stop"

        # Moments by the clock, and tokens: all of them, and those that came with the first.
        self._began = self._first = self._latest = self._ended = 0.0
        self._tokens = self._tokens_first = 0

    # --- reading

    async def next_chunk(self) -> str | None:
        """Wait for the next chunk; None after the last.

        Raises what the source raised, once, after all that came before. ``RuntimeError`` when somebody else waits. A
        reader that is cancelled while it waits loses nothing, and closes nothing.
        """
        self._check_reader()
        while not self._ready and not self._over:
            await self._wait()
        return self.take()

    async def __aiter__(self) -> AsyncIterator[str]:
        """The chunks; the end of the iteration, whatever ends it, closes the stream."""
        self._check_reader()
        try:
            while True:
                while not self._ready and not self._over:
                    await self._wait()
                chunk = self.take()
                if chunk is None:
                    return
                yield chunk
        finally:
            await self.aclose()

    def messages(self) -> AsyncIterator[Message]:
        """The chunks as messages, then usage, then the end or what the source raised; closes the stream."""
        return self._tell(_as_it_is)

    def events(self) -> AsyncIterator[ServerSentEvent]:
        """The messages as events, for an ``EventStream`` or a route of events."""
        return self._tell(event_of)

    async def _tell(self, form: Callable[[Message], ToldT]) -> AsyncIterator[ToldT]:
        self._check_reader()
        last: Message | None = None
        try:
            while last is None:
                while not self._ready and not self._over:
                    await self._wait()
                try:
                    chunk = self.take()
                except Exception as error:
                    last = fail(error)
                else:
                    if chunk is not None:
                        yield form(Chunk(text=chunk))
                    else:
                        last = End(reason=self._reason)
            yield form(self.usage())
            yield form(last)
        finally:
            await self.aclose()

    def _check_reader(self) -> None:
        """Begin to read."""
        if self._reader is not None or (self._waiter is not None and not self._waiter.done()):
            raise RuntimeError("somebody else reads this token stream")
        self.start()

    def _wait(self) -> asyncio.Future[None]:
        """What the reader waits for."""
        assert self._loop is not None
        self._waiter = waiter = self._loop.create_future()
        return waiter

    def take(self) -> str | None:
        """What waits, joined; None when nothing does. Raises what the source raised, once, when nothing waits."""
        if self._parts:
            chunk = self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
            self._clear()
            self._enough = self._chunk_size
            self._waiter = None
            return chunk
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                # Its traceback knows this frame: a cycle.
                del failure
        return None

    def usage(self, id: str | None = None) -> Usage:
        """What was counted and timed so far, or in the end; ``id``: for the message."""
        clock = self._clock
        now = self._ended if self._over or not self._started or clock is None else clock.time()
        after, seconds = self._tokens - self._tokens_first, self._latest - self._first
        return Usage(
            id=id,
            tokens=self._tokens,
            duration=now - self._began,
            time_to_first_token=self._first - self._began if self._tokens else None,
            tokens_per_second=after / seconds if after and seconds > 0 else None,
        )

    @property
    def over(self) -> bool:
        """Whether the source has ended and is closed; chunks may still wait."""
        return self._over

    @property
    def finish_reason(self) -> str | None:
        """Why the source ended: what it said, "stop", "cancelled" or "error"; None while it goes on."""
        return self._reason if self._over else None

    # --- ending

    def cancel(self) -> None:
        """Have the source cancelled and closed, and drop what waits; the reader gets the end when that is done."""
        self.start()
        self._clear()
        if self._over:
            self._drop_failure()
        elif not self._closing:
            self._closing = True
            if self._running:
                assert self._task is not None
                self._task.cancel()
        self._reason = CANCELLED

    async def aclose(self) -> None:
        """Cancel the source, unless it has ended, and wait until it is closed. Idempotent."""
        if not self._over:
            self.cancel()
            assert self._task is not None
            if self._task is asyncio.current_task():
                raise RuntimeError("a source cannot wait for its own end: it returns")
            await asyncio.wait((self._task,))
        self._clear()
        self._drop_failure()
        self.detach()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- for the multiplexer

    def attach(self, reader: Reader) -> None:
        """Let ``reader`` be woken, until the end, to ``take``. Raises ``RuntimeError`` when somebody else reads."""
        self._check_reader()
        self._reader = reader
        if self._ready or self._over:
            reader.wake(self)

    def detach(self) -> None:
        """Forget the reader, which has had the end: nobody is left to be woken, and no cycle of references."""
        self._reader = None
        self._waiter = None

    @property
    def has_more(self) -> bool:
        """Whether the reader need not wait: for a chunk, or for the end."""
        return self._ready or self._over

    # --- the source's task

    def start(self) -> None:
        """Begin the source, if that was not done."""
        if self._started:
            return
        self._started = True
        # Kept: to ask for it costs a system call.
        self._loop = loop = asyncio.get_running_loop()
        if self._clock is None:
            self._clock = loop
        self._began = self._ended = self._clock.time()
        # It belongs to the request that is being handled here, if there is one.
        self._task = loop.create_task(self._run(self._clock), context=current_context())
        self._task.add_done_callback(self._finished)

    async def _run(self, clock: Clock) -> None:
        self._running = True
        streak = 0
        try:
            if self._closing:
                return
            async for item in self._source:
                if self._closing:
                    return
                text, count = (item, 1) if type(item) is str else self._opened(item)
                self._latest = clock.time()
                if not self._tokens:
                    self._first, self._tokens_first = self._latest, count
                self._tokens += count
                streak += 1
                if text:
                    if not text.isascii():
                        # What cannot be sent fails here, where it is the source's doing.
                        text.encode()
                    if self._ready and self._is_reader_woken():
                        # The source has not waited since the last: the reader may not be slow, it had no turn.
                        await asyncio.sleep(0)
                    first = self._enough == FIRST
                    self._put(text, clock)
                    if first or streak >= STREAK:
                        streak = 0
                        await asyncio.sleep(0)
                    while self._size >= self._buffer and not self._closing:
                        assert self._loop is not None
                        self._room = self._loop.create_future()
                        await self._room
                elif streak >= STREAK:
                    streak = 0
                    await asyncio.sleep(0)
        finally:
            if (aclose := getattr(self._source, "aclose", None)) is not None:
                await aclose()

    def _opened(self, item: object) -> tuple[str, int]:
        """Text and count of an item that is no plain str."""
        if isinstance(item, Token):
            if item.finish_reason is not None and not self._closing:
                self._reason = item.finish_reason
            return item.text, item.count
        if isinstance(item, str):
            return str.__str__(item), 1
        raise TypeError(f"a source of tokens gives str or Token, not {type(item).__name__}")

    def _put(self, text: str, clock: Clock) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._ready:
            return
        if self._size >= self._enough:
            self._make_ready()
        elif self._timer is None and self._max_delay is not None:
            self._timer = clock.call_later(self._max_delay, self._make_ready)

    def _make_ready(self) -> None:
        self._ready = True
        if self._timer is not None:
            self._stop_timer()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if self._reader is not None:
            self._reader.wake(self)
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _is_reader_woken(self) -> bool:
        """Whether it was told that there is something, and has not had its turn since."""
        if self._reader is not None:
            return self._reader.woken
        return self._waiter is not None and self._waiter.done()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _clear(self) -> None:
        """Nothing waits; there is room."""
        self._parts = []
        self._size = 0
        self._ready = False
        if self._timer is not None:
            self._stop_timer()
        if self._room is not None:
            room, self._room = self._room, None
            if not room.done():
                room.set_result(None)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """The source has ended, by itself or not, and is closed."""
        assert self._clock is not None
        # What it ended by has a traceback whose frames know this stream: a cycle.
        self._task = None
        self._over = True
        self._ended = self._clock.time()
        self._stop_timer()
        error: BaseException | None
        if task.cancelled():
            error = None if self._closing else SourceCancelled("the source of the stream was cancelled")
        else:
            error = task.exception()
        if error is not None:
            self._failure = error
            if self._closing:
                self._drop_failure()
            else:
                self._reason = ERROR
        self._ready = bool(self._parts)
        self._wake()

    def _drop_failure(self) -> None:
        """Nobody will be told of it any more, but the log."""
        failure, self._failure = self._failure, None
        if failure is not None and not isinstance(failure, HTTPException):
            log.error("the source of a token stream failed when nobody read it any more", exc_info=failure)


def _as_it_is(message: Message) -> Message:
    return message
