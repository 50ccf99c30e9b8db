"""Many token streams at a time, by id: each read by itself, or all of them as messages on one connection."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec

from fastnet.http.errors import HTTPException
from fastnet.streaming.messages import (
    ID_PATTERN,
    Cancel,
    Chunk,
    End,
    Message,
    Start,
    Started,
    Usage,
    encode,
    event_of,
    fail,
)
from fastnet.streaming.sources import Clock, Token
from fastnet.streaming.tokens import BUFFER, TokenStream
from fastnet_ext.serve.errors import WebSocketDisconnect
from fastnet_ext.serve.events import ServerSentEvent
from fastnet_ext.serve.runner import current_context
from fastnet_ext.serve.websocket import WebSocket

__all__ = ["StreamRefused", "TokenStreams"]

log = logging.getLogger("fastnet.error")

InputT = TypeVar("InputT")

LIMIT: Final = 16
"""Streams at a time."""

REPLIES: Final = 32
"""Answers to bad messages that wait for the peer, before what it says is read on."""

_is_id = re.compile(ID_PATTERN).match


class StreamRefused(HTTPException):
    """No stream of that id (404), one already (409), as many as are allowed (429), or what is no id (422)."""


class TokenStreams:
    """Streams by id, at most ``limit`` of them at a time; the other arguments are those of each ``TokenStream``.

    Either each is read with ``next_chunk``, or all of them as ``messages``, ``events`` or by ``serve``, in turns: one
    turn of a stream sends what waits of it, at most ``buffer`` characters and a token, so that a fast one does not
    starve the others, and what waits for a slow connection is at most that for each. A source is begun when it is read
    first.
    """

    def __init__(
        self,
        *,
        limit: int = LIMIT,
        chunk_size: int | None = None,
        max_delay: float | None = None,
        buffer: int = BUFFER,
        clock: Clock | None = None,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit is at least 1 stream, not {limit}")
        self.limit = limit
        self._options: dict[str, Any] = {
            "chunk_size": chunk_size,
            "max_delay": max_delay,
            "buffer": buffer,
            "clock": clock,
        }
        self._lanes: dict[str, _Lane] = {}
        # Somebody reads `messages`: the lanes whose turn it is, what else is to be told, and how the reader waits.
        self._followed = False
        self._turns: deque[_Lane] = deque()
        self._replies: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._lanes))

    def __contains__(self, id: object) -> bool:
        return id in self._lanes

    def __getitem__(self, id: str) -> TokenStream:
        """The stream of that id; raises ``StreamRefused``."""
        return self._lane(id).stream

    # --- one stream

    def start(self, id: str, source: AsyncIterable[str | Token]) -> TokenStream:
        """Add a stream. Raises ``StreamRefused``."""
        self._check(id)
        lane = _Lane(self, id, TokenStream(source, **self._options))
        self._lanes[id] = lane
        if self._followed:
            self._let_run(lane)
        return lane.stream

    async def next_chunk(self, id: str) -> str | None:
        """The next chunk of a stream, as ``TokenStream.next_chunk``; None after its last. Raises ``StreamRefused``."""
        return await self._lane(id).stream.next_chunk()

    def cancel(self, id: str) -> None:
        """Have a stream's source cancelled and closed; what waits of it is dropped, its end is still told.

        Raises ``StreamRefused``.
        """
        self._lane(id).stream.cancel()

    async def end(self, id: str) -> Usage:
        """Forget a stream, and close its source if it is not over; what it has cost. Raises ``StreamRefused``."""
        lane = self._lane(id)
        await lane.stream.aclose()
        if self._lanes.get(id) is lane:
            del self._lanes[id]
        self._wake()
        return lane.stream.usage()

    # --- all of them

    async def messages(self, *, forever: bool = False) -> AsyncIterator[Message]:
        """What all streams say, in turns, until none is left; ``forever``: more may be started then.

        Of each: ``Started``, its ``Chunk``s, ``Usage``, and ``End`` or ``Failure``. The end of the iteration closes
        all.
        """
        if self._followed:
            raise RuntimeError("somebody else reads these streams")
        self._followed = True
        try:
            for lane in self._lanes.values():
                self._let_run(lane)
            while True:
                while self._replies:
                    yield self._replies.popleft()
                    self._make_room()
                if self._turns:
                    for message in self._turn_of(self._turns.popleft()):
                        yield message
                elif self._lanes or forever:
                    await self._wait()
                else:
                    return
        finally:
            self._followed = False
            self._make_room()
            await self.aclose()

    async def events(self, *, forever: bool = False) -> AsyncIterator[ServerSentEvent]:
        """The messages as events, for an ``EventStream``."""
        try:
            async for message in self.messages(forever=forever):
                yield event_of(message)
        finally:
            await self.aclose()

    async def serve(
        self, ws: WebSocket, generate: Callable[[InputT], AsyncIterable[str | Token]], input: type[InputT]
    ) -> None:
        """Let the peer start streams and cancel them, until the connection is closed, which cancels all.

        ``generate`` makes a source of an ``input``, which the peer sends. It hears of bad messages in ``Failure``s.
        """
        writer = asyncio.get_running_loop().create_task(self._write(ws), context=current_context())
        decode_input = msgspec.json.Decoder(input).decode
        try:
            async for raw in ws:
                reply = self._take(raw, generate, decode_input)
                if reply is not None:
                    await self._reply(reply)
        finally:
            writer.cancel()
            try:
                await asyncio.wait((writer,))
            finally:
                await self.aclose()

    async def aclose(self) -> None:
        """Cancel all sources and wait until they are closed. Idempotent."""
        lanes = list(self._lanes.values())
        self._lanes.clear()
        self._turns.clear()
        # All at once: one that takes long to end does not hold up the others.
        for lane in lanes:
            lane.stream.cancel()
        for lane in lanes:
            await lane.stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- turns

    def _check(self, id: str) -> None:
        if not _is_id(id):
            raise StreamRefused(422, "the id of a stream is 1 to 64 letters, digits and characters of ._:-")
        if id in self._lanes:
            raise StreamRefused(409, f"there is a stream {id!r} already; it must end first", id=id)
        if len(self._lanes) >= self.limit:
            raise StreamRefused(429, f"there are {self.limit} streams already, and no more are allowed at a time")

    def _lane(self, id: str) -> _Lane:
        lane = self._lanes.get(id)
        if lane is None:
            raise StreamRefused(404, f"there is no stream {id!r}; it may have ended")
        return lane

    def _let_run(self, lane: _Lane) -> None:
        self.queue(lane)
        lane.stream.attach(lane)

    def queue(self, lane: _Lane) -> None:
        """A lane has something to say: it gets its turn behind the others."""
        if not lane.queued:
            lane.queued = True
            self._turns.append(lane)
            self._wake()

    def _turn_of(self, lane: _Lane) -> list[Message]:
        lane.queued = False
        if self._lanes.get(lane.id) is not lane:
            return []
        stream = lane.stream
        if not lane.started:
            lane.started = True
            if stream.has_more:
                self.queue(lane)
            return [Started(id=lane.id)]
        last: Message
        try:
            chunk = stream.take()
            if chunk is not None:
                if stream.has_more:
                    self.queue(lane)
                return [Chunk(id=lane.id, text=chunk)]
            if not stream.over:
                return []
            last = End(id=lane.id, reason=stream.finish_reason or "")
        except Exception as error:
            last = fail(error, lane.id)
        # Who hears of the end may use the id again.
        del self._lanes[lane.id]
        stream.detach()
        return [stream.usage(lane.id), last]

    @property
    def woken(self) -> bool:
        """Whether the reader of the messages was woken and has not had its turn since."""
        return self._waiter is not None and self._waiter.done()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # --- the WebSocket

    async def _write(self, ws: WebSocket) -> None:
        try:
            async for message in self.messages(forever=True):
                await ws.send(encode(message).decode())
        except WebSocketDisconnect:
            # The reader has it too.
            pass
        except Exception:
            log.exception("the messages of token streams could not be sent")
            await ws.close(1011)

    def _take(
        self,
        raw: str | bytes,
        generate: Callable[[InputT], AsyncIterable[str | Token]],
        decode_input: Callable[[msgspec.Raw], InputT],
    ) -> Message | None:
        """Do what the peer asks for; what it is told when that cannot be."""
        try:
            asked = _decode(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            return fail(StreamRefused(_status_of(error), f"the message is no start and no cancel: {error}"))
        id = asked.id
        try:
            if isinstance(asked, Cancel):
                self.cancel(id)
                return None
            self._check(id)
            try:
                value = decode_input(asked.input)
            except (msgspec.MsgspecError, RecursionError) as error:
                return fail(StreamRefused(_status_of(error), f"the input is not what is wanted: {error}"), id)
            self.start(id, generate(value))
        except StreamRefused as refused:
            # With an id it would be the end of the stream that there is.
            return fail(refused, None if refused.status_code == 409 else id)
        except Exception as error:
            return fail(error, id)
        return None

    async def _reply(self, message: Message) -> None:
        """Have it told before what else there is. A peer that does not read is not read from either."""
        self._replies.append(message)
        self._wake()
        while self._followed and len(self._replies) > REPLIES:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)


_decode = msgspec.json.Decoder(Start | Cancel).decode


def _status_of(error: Exception) -> int:
    return 422 if isinstance(error, msgspec.ValidationError) else 400


class _Lane:
    """One of the streams; what its stream wakes."""

    def __init__(self, streams: TokenStreams, id: str, stream: TokenStream) -> None:
        self.streams = streams
        self.id = id
        self.stream = stream
        self.queued = False
        self.started = False  # the peer was told

    @property
    def woken(self) -> bool:
        return self.streams.woken

    def wake(self, stream: TokenStream) -> None:
        self.streams.queue(self)
