"""Many streams by id: each read alone, and all of them in turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet import HTTPException
from fastnet.streaming import Chunk, End, Failure, Message, Started, StreamRefused, Token, TokenStreams, Usage
from fastnet.streaming.messages import StreamId
from tests.fastnet.streaming.sources import Source, settle
from tests.loops import run


async def words(*items: str) -> AsyncIterator[str]:
    for item in items:
        yield item


async def floods(text: str = "0123456789") -> AsyncIterator[str]:
    while True:
        yield text


# --- one at a time


def test_a_stream_by_its_id() -> None:
    async def main() -> None:
        streams = TokenStreams(chunk_size=3)
        stream = streams.start("a", words("one ", "t", "w", "o "))
        streams.start("b", words("uno"))
        assert (len(streams), list(streams), "a" in streams, "c" in streams) == (2, ["a", "b"], True, False)
        assert streams["a"] is stream
        assert [await streams.next_chunk("a") for _ in range(3)] == ["one ", "two ", None]
        assert (await streams.end("a")).tokens == 4
        assert list(streams) == ["b"]
        assert await streams.next_chunk("b") == "uno"
        await streams.aclose()
        assert len(streams) == 0

    run(main())


def test_cancel_and_end() -> None:
    async def main() -> None:
        streams, sources = TokenStreams(), [Source(), Source()]
        for id, source in zip("ab", sources, strict=True):
            streams.start(id, source)
            source.give("one")
            assert await streams.next_chunk(id) == "one"
            source.give("dropped")
            await settle()
        streams.cancel("a")
        assert await streams.next_chunk("a") is None
        assert streams["a"].finish_reason == "cancelled"
        assert (await streams.end("a")).tokens == 2
        # It goes on until then.
        assert sources[1].said == []
        assert (await streams.end("b")).tokens == 2
        assert [source.said for source in sources] == [["cancelled", "closed"]] * 2
        assert len(streams) == 0

    run(main())


IDS = ["a", "A-1", "chatcmpl-8f3a", "urn:uuid:1.2_3", "x" * 64]
NO_IDS = ["", "x" * 65, "a b", "a\n", "ä", "a/b", "\0"]


def test_ids() -> None:
    decode = msgspec.json.Decoder(StreamId).decode
    for id in IDS:
        TokenStreams().start(id, words())
        assert decode(msgspec.json.encode(id)) == id
    for id in NO_IDS:
        with pytest.raises(StreamRefused) as caught:
            TokenStreams().start(id, words())
        assert caught.value.status_code == 422
        with pytest.raises(msgspec.ValidationError):
            decode(msgspec.json.encode(id))


@pytest.mark.limit("Token streams: streams at a time", memory=True)
def test_there_are_no_more_streams_than_allowed() -> None:
    async def main() -> None:
        streams = TokenStreams(limit=3)
        for n in range(3):
            streams.start(str(n), floods())
        with pytest.raises(StreamRefused, match="there are 3 streams already") as caught:
            streams.start("3", floods())
        assert caught.value.status_code == 429
        # One that was cancelled counts until it was told to end, so that slow ends do not pile up.
        streams.cancel("0")
        with pytest.raises(StreamRefused):
            streams.start("3", floods())
        await streams.end("0")
        streams.start("3", floods())
        await streams.aclose()

    run(main())
    with pytest.raises(ValueError, match="limit is at least 1"):
        TokenStreams(limit=0)


def test_refusals() -> None:
    async def main() -> None:
        streams = TokenStreams()
        streams.start("a", words())
        with pytest.raises(StreamRefused) as caught:
            streams.start("a", words())
        assert caught.value.status_code == 409
        for act in (streams.cancel, streams.__getitem__):
            with pytest.raises(StreamRefused) as caught:
                act("b")
            assert caught.value.status_code == 404
        for wait in (streams.next_chunk, streams.end):
            with pytest.raises(StreamRefused):
                await wait("b")

    run(main())


# --- all of them


def texts_of(messages: list[Message]) -> dict[str | None, str]:
    texts: dict[str | None, str] = {}
    for message in messages:
        if isinstance(message, Chunk):
            texts[message.id] = texts.get(message.id, "") + message.text
    return texts


def test_messages() -> None:
    async def main() -> None:
        async def fails() -> AsyncIterator[str]:
            yield "x"
            raise HTTPException(503, "no model")

        streams = TokenStreams()
        streams.start("a", words("one ", "two"))
        streams.start("b", fails())
        messages = [message async for message in streams.messages()]
        assert len(streams) == 0
        own = [message for message in messages if message.id == "a"]
        assert own[:3] == [Started(id="a"), Chunk(id="a", text="one "), Chunk(id="a", text="two")]
        assert isinstance(own[3], Usage)
        assert own[4:] == [End(id="a", reason="stop")]
        *begin, usage, failure = [message for message in messages if message.id == "b"]
        assert begin == [Started(id="b"), Chunk(id="b", text="x")]
        assert isinstance(usage, Usage)
        assert isinstance(failure, Failure)
        assert failure.problem["status"] == 503

    run(main())


@given(
    tokens=st.lists(st.lists(st.text(max_size=8), max_size=30), max_size=6),
    pauses=st.lists(st.integers(0, 3), min_size=1, max_size=20),
    chunk_size=st.none() | st.integers(1, 30),
)
def test_each_stream_is_whole_whatever_is_joined(
    tokens: list[list[str]], pauses: list[int], chunk_size: int | None
) -> None:
    async def main() -> None:
        async def source(items: list[str]) -> AsyncIterator[str]:
            for n, item in enumerate(items):
                if n % 3 == 1:
                    await asyncio.sleep(0)
                yield item

        streams = TokenStreams(chunk_size=chunk_size, buffer=30)
        for n, items in enumerate(tokens):
            streams.start(str(n), source(items))
        messages: list[Message] = []
        async for message in streams.messages():
            messages.append(message)
            await settle(pauses[len(messages) % len(pauses)])
        assert texts_of(messages) == {str(n): "".join(items) for n, items in enumerate(tokens) if "".join(items)}
        assert sorted(str(message.id) for message in messages if isinstance(message, End)) == sorted(
            str(n) for n in range(len(tokens))
        )

    run(main())


def test_a_fast_stream_does_not_starve_the_others() -> None:
    """While one gives without end and without waiting, each of the others has its turn as soon as it has something."""

    async def main() -> None:
        streams, slow = TokenStreams(buffer=100), [Source(), Source()]
        streams.start("fast", floods())
        for n, source in enumerate(slow):
            streams.start(str(n), source)
        messages = streams.messages()
        for _ in range(20):
            await anext(messages)
            await settle()
        for token in ("one", "two", "three"):
            for source in slow:
                source.give(token)
            await settle()
            # The reader is slow: the fast one's buffer is full all the time, and has one turn in each round.
            turn: list[Any] = []
            while {message.id for message in turn} != {"fast", "0", "1"}:
                turn.append(await anext(messages))
                await settle()
            assert len(turn) <= 4
            assert texts_of(turn)["0"] == texts_of(turn)["1"] == token
            assert all(len(text) <= 210 for text in texts_of(turn).values())
        await messages.aclose()  # type: ignore[attr-defined]

    run(main())


@pytest.mark.limit("Token streams: text that waits for its reader", memory=True)
def test_a_slow_reader_slows_all() -> None:
    async def main() -> None:
        sources = [Source() for _ in range(5)]
        streams = TokenStreams(buffer=100)
        for n, source in enumerate(sources):
            source.give(*["0123456789"] * 1000)
            streams.start(str(n), source)
        messages = streams.messages()
        assert isinstance(await anext(messages), Started)
        await settle(200)
        assert all(source.asked <= 12 for source in sources)
        await messages.aclose()  # type: ignore[attr-defined]
        assert all("closed" in source.said for source in sources)
        assert len(streams) == 0

    run(main())


def test_streams_that_come_and_go_while_they_are_read() -> None:
    async def main() -> None:
        streams, source = TokenStreams(), Source()
        messages = streams.messages(forever=True)
        waiting = asyncio.ensure_future(anext(messages))
        await settle()
        assert not waiting.done()
        streams.start("a", source)
        assert await waiting == Started(id="a")
        source.give("one")
        assert await anext(messages) == Chunk(id="a", text="one")
        source.give("dropped")
        await settle()
        streams.cancel("a")
        assert isinstance(await anext(messages), Usage)
        # Before the end is told the id is free.
        streams.start("a", words(Token("x", finish_reason="length")))  # type: ignore[arg-type]
        assert await anext(messages) == End(id="a", reason="cancelled")
        assert [await anext(messages) for _ in range(2)] == [Started(id="a"), Chunk(id="a", text="x")]
        await anext(messages)
        assert await anext(messages) == End(id="a", reason="length")
        # One that is ended by hand is not heard of again.
        streams.start("b", floods())
        streams.start("c", words("z"))
        assert await anext(messages) == Started(id="b")
        await streams.end("b")
        assert await anext(messages) == Started(id="c")
        with pytest.raises(RuntimeError, match="somebody else reads"):
            await anext(streams.messages())
        with pytest.raises(RuntimeError, match="somebody else reads"):
            await streams.next_chunk("c")
        await messages.aclose()  # type: ignore[attr-defined]

    run(main())


def test_nothing_runs_until_it_is_read() -> None:
    async def main() -> None:
        source = Source()
        async with TokenStreams() as streams:
            streams.start("a", source)
            await settle()
            assert source.begun == 0
        assert (source.begun, source.said) == (0, ["closed"])

    run(main())
