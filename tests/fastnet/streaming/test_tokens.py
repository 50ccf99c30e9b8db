"""One token stream: when its chunks are there, what waits, how it ends, what is counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet import HTTPException
from fastnet.streaming import Chunk, End, Failure, SourceCancelled, Token, TokenStream, Usage
from tests.fastnet.streaming.sources import Clock, Source, settle
from tests.loops import run


async def words(*items: str | Token) -> AsyncIterator[str | Token]:
    """A source that never waits."""
    for item in items:
        yield item


async def read(stream: TokenStream) -> list[str]:
    return [chunk async for chunk in stream]


async def begun(source: Source, **options: Any) -> TokenStream:
    """A stream whose first token was read."""
    stream = TokenStream(source, **options)
    source.give("first")
    assert await stream.next_chunk() == "first"
    return stream


# --- when chunks are there


def test_a_reader_who_is_quick_gets_each_token() -> None:
    async def main() -> None:
        tokens = [str(n) for n in range(300)]
        assert await read(TokenStream(words(*tokens))) == tokens
        source = Source()
        stream = await begun(source)
        for token in tokens:
            source.give(token)
            assert await stream.next_chunk() == token
        await stream.aclose()

    run(main())


def test_what_comes_while_the_reader_is_away_is_joined() -> None:
    async def main() -> None:
        source = Source()
        stream = await begun(source)
        source.give("a", "b", "c")
        await settle()
        assert await stream.next_chunk() == "abc"
        source.give("d", None)
        await settle()
        assert [await stream.next_chunk() for _ in range(3)] == ["d", None, None]
        assert source.said == ["closed"]

    run(main())


@pytest.mark.parametrize("options", [{"chunk_size": 100}, {"max_delay": 60}, {"chunk_size": 100, "max_delay": 60}])
def test_the_first_token_never_waits(options: dict[str, Any]) -> None:
    async def main() -> None:
        source = Source()
        stream = TokenStream(source, **options)
        source.give("", Token(count=0), "first")
        assert await stream.next_chunk() == "first"
        source.give("second")
        waiting = asyncio.ensure_future(stream.next_chunk())
        await settle()
        assert not waiting.done()
        source.give(None)
        assert await waiting == "second"

    run(main())


def test_the_first_token_leaves_before_a_source_that_never_waits_makes_the_second() -> None:
    async def main() -> None:
        made: list[str] = []

        async def source() -> AsyncIterator[str]:
            for token in "abcd":
                made.append(token)
                yield token

        stream = TokenStream(source(), chunk_size=100)
        assert await stream.next_chunk() == "a"
        assert made == ["a"]
        assert await stream.next_chunk() == "bcd"

    run(main())


def test_chunks_of_a_size() -> None:
    async def main() -> None:
        source = words("a", "bcd", "ef", "ghijklmn", "o", "p")
        assert await read(TokenStream(source, chunk_size=5)) == ["a", "bcdef", "ghijklmn", "op"]

    run(main())


def test_chunks_after_a_time() -> None:
    async def main() -> None:
        source, clock = Source(), Clock()
        stream = await begun(source, max_delay=2.0, clock=clock)
        assert clock.waiting == 0
        for _ in range(2):
            waiting = asyncio.ensure_future(stream.next_chunk())
            source.give("a")
            await settle()
            clock.turn(1.9)
            source.give("b")
            await settle()
            assert (waiting.done(), clock.waiting) == (False, 1)
            clock.turn(0.2)
            assert await waiting == "ab"
            assert clock.waiting == 0
        # It counts from the first that waits, whether or not somebody reads.
        source.give("c")
        await settle()
        clock.turn(2.0)
        source.give("d")
        await settle()
        assert await stream.next_chunk() == "cd"
        # Nothing waits: no time passes.
        waiting = asyncio.ensure_future(stream.next_chunk())
        clock.turn(100)
        await settle()
        assert not waiting.done()
        source.give("e")
        await settle()
        await stream.aclose()
        assert await waiting is None
        assert clock.waiting == 0

    run(main())


def test_a_size_or_a_time_whichever_is_first() -> None:
    async def main() -> None:
        source, clock = Source(), Clock()
        stream = await begun(source, chunk_size=4, max_delay=1.0, clock=clock)
        source.give("abcde")
        assert await stream.next_chunk() == "abcde"
        assert clock.waiting == 0
        source.give("ab")
        await settle()
        clock.turn(1.0)
        assert await stream.next_chunk() == "ab"
        source.give("abc")
        await settle()
        assert clock.waiting == 1
        source.give("d")
        assert await stream.next_chunk() == "abcd"
        assert clock.waiting == 0
        await stream.aclose()

    run(main())


def test_the_running_loop_is_the_clock() -> None:
    async def main() -> None:
        source = Source()
        stream = await begun(source, max_delay=0.01)
        source.give("a", "b")
        assert await stream.next_chunk() == "ab"
        await stream.aclose()

    run(main())


texts = st.lists(st.text(max_size=12), max_size=60)


@given(
    tokens=texts,
    chunk_size=st.none() | st.integers(1, 50),
    max_delay=st.none() | st.just(0.5),
    buffer=st.integers(50, 60),
    steps=st.lists(st.sampled_from(["give", "read", "turn", "away"]), max_size=80),
)
def test_chunks_are_the_source_whatever_is_joined(
    tokens: list[str], chunk_size: int | None, max_delay: float | None, buffer: int, steps: list[str]
) -> None:
    """The source gives, the reader reads or stays away and the clock turns in any order."""

    async def main() -> None:
        source, clock = Source(), Clock()
        stream = TokenStream(source, chunk_size=chunk_size, max_delay=max_delay, buffer=buffer, clock=clock)
        pending, chunks = list(tokens), list[str]()
        waiting: asyncio.Task[str | None] | None = None
        for step in steps:
            if step == "give" and pending:
                source.give(pending.pop(0))
            elif step == "turn":
                clock.turn(0.3)
            elif step == "read" and waiting is None:
                waiting = asyncio.ensure_future(stream.next_chunk())
            await settle(3)
            if waiting is not None and waiting.done():
                chunk = waiting.result()
                assert chunk
                chunks.append(chunk)
                waiting = None
        source.give(*pending, None)
        chunk = await waiting if waiting is not None else await stream.next_chunk()
        while chunk is not None:
            chunks.append(chunk)
            chunk = await stream.next_chunk()
        assert "".join(chunks) == "".join(tokens)
        assert "" not in chunks
        assert stream.usage().tokens == len(tokens)
        if chunk_size is not None and max_delay is None:
            assert all(len(chunk) >= chunk_size for chunk in chunks[1:-1])
        assert source.said == ["closed"]

    run(main())


@given(tokens=texts, chunk_size=st.none() | st.integers(1, 50), buffer=st.integers(50, 60))
def test_chunks_of_a_source_that_never_waits(tokens: list[str], chunk_size: int | None, buffer: int) -> None:
    async def main() -> None:
        chunks = await read(TokenStream(words(*tokens), chunk_size=chunk_size, buffer=buffer))
        assert "".join(chunks) == "".join(tokens)
        if chunk_size is None:
            assert chunks == [token for token in tokens if token]

    run(main())


# --- what waits


@pytest.mark.limit("Token streams: text that waits for its reader", memory=True)
@pytest.mark.parametrize("options", [{}, {"chunk_size": 100}, {"max_delay": 60}])
def test_a_slow_reader_slows_the_source(options: dict[str, Any]) -> None:
    async def main() -> None:
        source = Source()
        source.give(*["0123456789"] * 1000, None)
        stream = TokenStream(source, buffer=100, **options)
        taken = 0
        while (chunk := await stream.next_chunk()) is not None:
            taken += len(chunk)
            await settle(50)
            # A token may cross the line, and one more is asked for when there is room.
            assert source.asked * 10 <= taken + 100 + 10
        assert taken == 10_000

    run(main())


def test_a_source_that_never_waits_leaves_turns_to_others() -> None:
    async def main() -> None:
        asked = 0

        async def endless() -> AsyncIterator[str | Token]:
            nonlocal asked
            while True:
                asked += 1
                yield Token(count=1)

        stream = TokenStream(endless())
        waiting = asyncio.ensure_future(stream.next_chunk())
        await settle()
        assert 0 < asked < 1000
        await stream.aclose()
        assert await waiting is None

    run(main())


# --- how it ends


def test_nothing_runs_until_it_is_read() -> None:
    async def main() -> None:
        source = Source()
        stream = TokenStream(source)
        await settle()
        assert source.begun == 0
        await stream.aclose()
        assert (source.begun, source.said) == (0, ["closed"])
        assert await stream.next_chunk() is None

    run(main())


@pytest.mark.parametrize("how", ["aclose", "break", "with", "cancelled", "cancel"])
def test_the_source_is_cancelled_and_closed_with_its_reader(how: str) -> None:
    async def main() -> None:
        source = Source()
        stream = TokenStream(source)
        source.give("a")

        async def reader() -> None:
            async for _ in stream:
                if how == "break":
                    break

        if how in ("break", "cancelled"):
            task = asyncio.ensure_future(reader())
            await settle()
            if how == "cancelled":
                task.cancel()
            await asyncio.wait((task,))
            # An iteration that was left is closed by the loop.
            await settle()
        elif how == "with":
            async with stream:
                await stream.next_chunk()
                await settle()
        else:
            await stream.next_chunk()
            await settle()
            if how == "aclose":
                await stream.aclose()
            else:
                stream.cancel()
                stream.cancel()
                await settle()
        await stream.aclose()
        assert source.said == ["cancelled", "closed"]
        assert (stream.over, stream.finish_reason) == (True, "cancelled")
        assert await stream.next_chunk() is None

    run(main())


def test_a_generator_is_closed_where_it_waits_and_where_it_yields() -> None:
    async def main() -> None:
        said: list[str] = []

        async def waits() -> AsyncIterator[str]:
            try:
                yield "a"
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                said.append("waits")

        async def yields() -> AsyncIterator[str]:
            try:
                while True:
                    yield "0123456789"
            finally:
                await asyncio.sleep(0)
                said.append("yields")

        for source in (waits(), yields()):
            stream = TokenStream(source, buffer=10)
            await stream.next_chunk()
            await settle()
            await stream.aclose()
        assert said == ["waits", "yields"]

    run(main())


def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    async def main() -> None:
        source = Source()
        stream = TokenStream(source)
        waiting = asyncio.ensure_future(stream.next_chunk())
        await settle()
        waiting.cancel()
        await settle()
        source.give("a")
        await settle()
        assert await stream.next_chunk() == "a"
        # Cancelled in the very turn in which it was woken.
        waiting = asyncio.ensure_future(stream.next_chunk())
        await settle()
        source.give("b")
        for _ in range(10):
            if stream._is_reader_woken():
                break
            await asyncio.sleep(0)
        else:
            pytest.fail("the reader was not woken")
        waiting.cancel()
        await settle()
        assert await stream.next_chunk() == "b"
        await stream.aclose()

    run(main())


def test_there_is_one_reader() -> None:
    async def main() -> None:
        stream = TokenStream(Source())
        waiting = asyncio.ensure_future(stream.next_chunk())
        await settle()
        with pytest.raises(RuntimeError, match="somebody else reads"):
            await stream.next_chunk()
        await stream.aclose()
        assert await waiting is None

    run(main())


def test_an_exception_comes_after_what_came_before() -> None:
    async def main() -> None:
        source = Source()
        stream = await begun(source, chunk_size=100)
        source.give("rest", RuntimeError("broken"))
        await settle()
        assert (stream.over, stream.finish_reason) == (True, "error")
        assert await stream.next_chunk() == "rest"
        with pytest.raises(RuntimeError, match="broken"):
            await stream.next_chunk()
        assert await stream.next_chunk() is None
        assert source.said == ["closed"]

    run(main())


def test_an_exception_that_nobody_reads_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fails_while_closed() -> AsyncIterator[str]:
        try:
            while True:
                yield "a"
                await asyncio.sleep(0)
        finally:
            raise RuntimeError("while it was closed")

    async def main() -> None:
        stream = TokenStream(fails_while_closed())
        await stream.next_chunk()
        await stream.aclose()
        for error in (RuntimeError("nobody was there"), HTTPException(400, "for the peer")):
            source = Source()
            stream = await begun(source)
            source.give(error)
            await settle()
            await stream.aclose()

    run(main())
    assert "while it was closed" in caplog.text
    assert "nobody was there" in caplog.text
    assert "for the peer" not in caplog.text


def test_a_source_that_is_cancelled_by_others_fails() -> None:
    async def main() -> None:
        async def source() -> AsyncIterator[str]:
            yield "a"
            work = asyncio.ensure_future(asyncio.sleep(60))
            work.cancel()
            await work

        stream = TokenStream(source())
        assert await stream.next_chunk() == "a"
        with pytest.raises(SourceCancelled):
            await stream.next_chunk()
        # Before its first step, too: by whoever cancels all tasks, for example.
        stream = TokenStream(words("a"))
        waiting = asyncio.ensure_future(stream.next_chunk())
        await asyncio.sleep(0)
        assert stream._task is not None
        stream._task.cancel()
        with pytest.raises(SourceCancelled):
            await waiting

    run(main())


def test_a_source_that_goes_on_when_it_is_cancelled_is_closed() -> None:
    async def main() -> None:
        said: list[str] = []

        async def stubborn() -> AsyncIterator[str]:
            try:
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        said.append("cancelled")
                    yield "more"
            finally:
                said.append("closed")

        stream = TokenStream(stubborn())
        waiting = asyncio.ensure_future(stream.next_chunk())
        await settle()
        await stream.aclose()
        assert await waiting is None
        assert said == ["cancelled", "closed"]

    run(main())


def test_a_source_does_not_wait_for_its_own_end() -> None:
    async def main() -> None:
        stream: TokenStream

        async def source() -> AsyncIterator[str]:
            await stream.aclose()
            yield "never"

        stream = TokenStream(source())
        assert await stream.next_chunk() is None

    run(main())


# --- what is taken and what is not


class Word(StrEnum):
    ONE = "one"


def test_items() -> None:
    async def main() -> None:
        stream = TokenStream(words(Word.ONE, Token("two", count=2), Token("三", finish_reason="length")))
        chunks = await read(stream)
        assert chunks == ["one", "two", "三"]
        assert [type(chunk) for chunk in chunks] == [str] * 3
        assert (stream.usage().tokens, stream.finish_reason) == (4, "length")
        for item, error in ((b"bytes", TypeError), (7, TypeError), (None, TypeError), ("\ud800", UnicodeEncodeError)):
            with pytest.raises(error):
                await read(TokenStream(words("a", item)))  # type: ignore[arg-type]

    run(main())


@pytest.mark.parametrize(
    ("source", "options", "error", "what"),
    [
        (["a"], {}, TypeError, "async iterable, not list"),
        (words("a"), {"buffer": 0}, ValueError, "buffer is at least 1"),
        (words("a"), {"chunk_size": 0}, ValueError, "chunk_size is 1 to buffer"),
        (words("a"), {"chunk_size": 5000}, ValueError, "chunk_size is 1 to buffer"),
        (words("a"), {"max_delay": 0}, ValueError, "max_delay is more than 0"),
        (words("a"), {"max_delay": float("nan")}, ValueError, "max_delay is more than 0"),
    ],
)
def test_what_cannot_be(source: Any, options: dict[str, Any], error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        TokenStream(source, **options)


# --- what is counted, and the messages


def test_usage() -> None:
    async def main() -> None:
        source, clock = Source(), Clock()
        stream = TokenStream(source, clock=clock)
        assert stream.usage() == Usage(tokens=0, duration=0.0, time_to_first_token=None, tokens_per_second=None)
        waiting = asyncio.ensure_future(stream.next_chunk())
        await settle()
        clock.turn(0.5)
        assert stream.usage() == Usage(tokens=0, duration=0.5, time_to_first_token=None, tokens_per_second=None)
        source.give(Token("ab", count=2))
        await waiting
        assert stream.usage() == Usage(tokens=2, duration=0.5, time_to_first_token=0.5, tokens_per_second=None)
        for _ in range(8):
            clock.turn(0.25)
            source.give("c")
            await settle()
        clock.turn(0.5)
        source.give(None)
        await settle()
        clock.turn(60)
        expected = Usage(tokens=10, duration=3.0, time_to_first_token=0.5, tokens_per_second=4.0)
        assert stream.usage() == expected

    run(main())


def collect(stream: TokenStream) -> Iterable[Any]:
    async def main() -> list[Any]:
        return [message async for message in stream.messages()]

    return run(main())


def test_messages() -> None:
    chunks = [Chunk(text="a"), Chunk(text="b")]
    *begin, usage, end = collect(TokenStream(words("a", "b")))
    assert begin == chunks
    assert isinstance(usage, Usage)
    assert usage.tokens == 2
    assert end == End(reason="stop")
    *begin, usage, end = collect(TokenStream(words("a", Token("b", finish_reason="length"))))
    assert (begin, end) == (chunks, End(reason="length"))


def test_messages_of_a_source_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def fails(error: Exception) -> AsyncIterator[str]:
        yield "a"
        raise error

    chunk, usage, failure = collect(TokenStream(fails(RuntimeError("secret"))))
    assert (chunk, usage.tokens) == (Chunk(text="a"), 1)
    assert isinstance(failure, Failure)
    assert failure.problem["status"] == 500
    assert "secret" not in str(failure)
    assert "secret" in caplog.text
    assert "Traceback" in caplog.text
    caplog.clear()
    *_, failure = collect(TokenStream(fails(HTTPException(503, "the model is loading", wait=5))))
    assert failure.problem == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "the model is loading",
        "wait": 5,
    }
    assert caplog.text == ""


def test_events() -> None:
    async def main() -> None:
        events = [event async for event in TokenStream(words("a\r\n", "b")).events()]
        assert [event.event for event in events] == ["chunk", "chunk", "usage", "end"]
        assert events[0].data == b'{"type":"chunk","text":"a\\r\\n"}'
        assert events[-1].data == b'{"type":"end","reason":"stop"}'

        # Details of a problem that have no form in JSON are no reason to tell nothing.
        async def odd() -> AsyncIterator[str]:
            raise HTTPException(400, object())
            yield ""

        events = [event async for event in TokenStream(odd()).events()]
        assert b'"status":500' in events[-1].data

    run(main())
