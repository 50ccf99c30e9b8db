"""Streaming gRPC calls over an exchange in memory: how messages are kept, who waits, and what ends a call early."""

import asyncio
import gc
import gzip
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.grpc.framing import frame
from fastnet_ext.serve.grpc import GrpcEndpoint
from fastnet_ext.serve.grpc_context import ServicerContext
from fastnet_ext.serve.grpc_threads import SyncServicerContext
from fastnet_ext.serve.plan import CallPlan, SlotArgument
from tests.serve.test_grpc import Caller, ended, endpoint, outcome, run, until


def answering(handler: Any, **options: Any) -> GrpcEndpoint:
    return endpoint(handler, response_streaming=True, **options)


def taking(handler: Any, **options: Any) -> GrpcEndpoint:
    return endpoint(handler, request_streaming=True, **options)


def talking(handler: Any, **options: Any) -> GrpcEndpoint:
    return endpoint(handler, request_streaming=True, response_streaming=True, **options)


def messages(x: MemoryExchange) -> list[bytes]:
    """The messages of an answer, none of them compressed."""
    found, rest = [], x.content
    while rest:
        size = int.from_bytes(rest[1:5], "big")
        assert rest[0] == 0
        found.append(rest[5 : 5 + size])
        rest = rest[5 + size :]
    return found


async def echo(requests: Any, context: ServicerContext) -> AsyncIterator[bytes]:
    async for message in requests:
        yield message


async def join(requests: Any, context: ServicerContext) -> bytes:
    return b",".join([message async for message in requests])


async def for_ever(request: Any, context: ServicerContext) -> AsyncIterator[bytes]:
    while True:
        yield b"more"


# --- answers


def test_a_stream_of_answers() -> None:
    async def handler(message: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
        for number in range(3):
            yield message + b"%d" % number

    async def main(caller: Caller) -> None:
        x = await caller.call(answering(handler))
        assert messages(x) == [b"request0", b"request1", b"request2"]
        assert outcome(x) == (0, "")

    run(main)


@pytest.mark.parametrize("form", ["asyncgen", "coroutine of a generator", "object", "writer", "plan"])
def test_forms_of_handlers(form: str) -> None:
    async def generator(message: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
        yield message

    async def returns(message: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
        return generator(message, context)

    async def writer(message: bytes, context: ServicerContext) -> None:
        await context.write(message)

    class Hidden:
        """Iterated over asynchronously, and no generator."""

        def __init__(self, message: bytes) -> None:
            self.left = [message]

        def __aiter__(self) -> "Hidden":
            return self

        async def __anext__(self) -> bytes:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    handler: Any = {
        "asyncgen": generator,
        "coroutine of a generator": returns,
        "object": lambda message, context: Hidden(message),
        "writer": writer,
        "plan": generator,
    }[form]
    arguments = [SlotArgument("message", 0), SlotArgument("context", 1)]
    plan = CallPlan(generator, arguments) if form == "plan" else None

    async def main(caller: Caller) -> None:
        x = await caller.call(answering(handler, plan=plan))
        assert (messages(x), outcome(x)) == ([b"request"], (0, ""))

    run(main)


def test_what_is_no_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(message: bytes, context: ServicerContext) -> Any:
        return b"a message"

    async def main(caller: Caller) -> None:
        assert outcome(await caller.call(answering(handler)))[0] == 2

    run(main)
    assert "yields its messages, or writes them" in caplog.text


def test_a_message_that_cannot_be_serialised(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    async def handler(message: bytes, context: ServicerContext) -> AsyncIterator[Any]:
        try:
            yield b"first"
            yield 1
        finally:
            closed.append(True)

    async def main(caller: Caller) -> None:
        x = await caller.call(answering(handler))
        assert messages(x) == [b"first"]
        assert outcome(x)[0] == 13
        await until(lambda: closed)

    run(main)
    assert "bytes" in caplog.text


@pytest.mark.parametrize("writes", [True, False])
def test_a_slow_peer_is_waited_for(writes: bool) -> None:
    given = []

    async def generator(message: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
        for number in range(10):
            given.append(number)
            yield b"%d" % number

    async def writer(message: bytes, context: ServicerContext) -> None:
        for number in range(10):
            given.append(number)
            await context.write(b"%d" % number)

    async def main(caller: Caller) -> None:
        x = caller.open(answering(writer if writes else generator))
        x.slow = True
        x.push(frame(b""))
        x.push_end()
        await until(lambda: given)
        for _ in range(5):
            await asyncio.sleep(0)
        assert given == [0]
        x.drain()
        await ended(x)
        assert len(messages(x)) == 10

    run(main)


@pytest.mark.parametrize("slow", [True, False])
def test_a_peer_that_leaves_ends_a_generator(slow: bool) -> None:
    closed = []

    async def handler(message: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            closed.append(context.cancelled())

    async def main(caller: Caller) -> None:
        x = caller.open(answering(handler))
        x.slow = slow
        x.push(frame(b""))
        x.push_end()
        # A source that never waits leaves others their turns.
        for _ in range(3):
            await asyncio.sleep(0)
        x.disconnect()
        await until(lambda: closed and x.is_finished)
        assert closed == [True]

    run(main)


def test_the_deadline_ends_a_stream() -> None:
    async def main(caller: Caller) -> None:
        x = await caller.call(answering(for_ever), (b"grpc-timeout", b"20m"))
        assert outcome(x)[0] == 4
        await until(lambda: x.is_finished)

    run(main)


def test_compression_of_each_message() -> None:
    async def handler(message: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
        context.set_compression(grpc.Compression.Gzip)
        yield bytes(1000)
        context.disable_next_message_compression()
        yield bytes(10)
        yield bytes(1000)

    async def main(caller: Caller) -> None:
        x = await caller.call(answering(handler), (b"grpc-accept-encoding", b"gzip"))
        found, rest = [], x.content
        while rest:
            size = int.from_bytes(rest[1:5], "big")
            message = rest[5 : 5 + size]
            found.append((rest[0], gzip.decompress(message) if rest[0] else message))
            rest = rest[5 + size :]
        assert found == [(1, bytes(1000)), (0, bytes(10)), (1, bytes(1000))]

    run(main)


# --- requests


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=30), st.lists(st.integers(1, 400), max_size=60), st.booleans())
def test_pieces_of_the_stream_do_not_matter(sent: list[bytes], sizes: list[int], turns: bool) -> None:
    async def main(caller: Caller) -> None:
        x = caller.open(talking(echo))
        rest = b"".join(frame(message) for message in sent)
        for size in sizes:
            x.push(rest[:size])
            rest = rest[size:]
            if turns:
                await asyncio.sleep(0)
        x.push(rest)
        x.push_end()
        await ended(x)
        assert messages(x) == sent

    run(main)


def test_the_request_may_be_whole_when_the_call_starts() -> None:
    async def main(caller: Caller) -> None:
        x = await caller.call(taking(join), body=frame(b"a") + frame(b"b"))
        assert messages(x) == [b"a,b"]
        x = await caller.call(taking(join), body=b"")
        assert messages(x) == [b""]

    run(main)


def test_answers_leave_while_the_request_comes() -> None:
    async def main(caller: Caller) -> None:
        x = caller.open(talking(echo))
        for number in range(3):
            x.push(frame(b"%d" % number))
            await until(lambda: len(messages(x)) == number + 1)  # noqa: B023
        assert not x.complete
        x.push_end()
        await ended(x)

    run(main)


def test_what_is_not_read_stops_the_peer() -> None:
    """The carrier is paused at its high water, and goes on as messages are read."""
    go = asyncio.Event()

    async def handler(requests: Any, context: ServicerContext) -> bytes:
        await go.wait()
        return b"%d" % len([message async for message in requests])

    async def main(caller: Caller) -> None:
        x = caller.open(taking(handler))
        message = frame(bytes(1000))
        pushed = 0
        while not x.paused:
            x.push(message)
            pushed += 1
            assert pushed < 1000
        assert 64 <= pushed <= 100
        go.set()
        await until(lambda: not x.paused)
        x.push_end()
        await ended(x)
        assert messages(x) == [b"%d" % pushed]

    run(main)


def test_large_messages_are_read_through_a_paused_carrier() -> None:
    async def main(caller: Caller) -> None:
        x = caller.open(taking(join))
        whole = frame(bytes(1_000_000))
        for at in range(0, len(whole), 16_384):
            x.push(whole[at : at + 16_384])
            await until(lambda: not x.paused)
        x.push_end()
        await ended(x)
        assert messages(x) == [bytes(1_000_000)]

    run(main)


def broken(body: bytes, *headers: tuple[bytes, bytes], end: bool = True, **options: Any) -> tuple[int, list[Any]]:
    """The status of a call whose stream breaks the rules, and what its handler saw."""
    events: list[Any] = []

    async def handler(requests: Any, context: ServicerContext) -> bytes:
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                events.append(message)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        events.append("end")
        return b""

    async def main(caller: Caller) -> int:
        x = caller.open(taking(handler, **options), *headers)
        x.push(body)
        if end:
            x.push_end()
        await ended(x)
        await until(lambda: events)
        return outcome(x)[0]

    return run(main), events


@pytest.mark.parametrize("rest", [frame(b"abc")[:-1], b"\x00\x00", frame(b"x", 1), frame(b"x", 4)])
def test_streams_that_break_the_rules(rest: bytes) -> None:
    assert broken(frame(b"fine") + rest) == (13, [b"fine", "cancelled"])


def test_every_message_has_the_limit() -> None:
    body = frame(bytes(10)) + frame(bytes(11))[:5]
    assert broken(body, end=False, max_message=10) == (8, [bytes(10), "cancelled"])
    packed = frame(gzip.compress(bytes(1000)), 1)
    assert broken(packed, (b"grpc-encoding", b"gzip"), end=False, max_message=999) == (8, ["cancelled"])


def test_messages_that_cannot_be_parsed() -> None:
    code, events = broken(frame(b"1") + frame(b"x") + frame(b"2"), deserialize=int)
    assert (code, events) == (13, [1, "cancelled"])


def test_values_of_any_type_are_messages() -> None:
    async def handler(requests: Any, context: ServicerContext) -> bytes:
        return repr([message async for message in requests]).encode()

    async def main(caller: Caller) -> None:
        for convert in (lambda raw: (raw,), lambda raw: ValueError(raw), lambda raw: None):
            x = await caller.call(taking(handler, deserialize=convert), body=frame(b"m"))
            assert messages(x) == [repr([convert(b"m")]).encode()]

    run(main)


def test_two_tasks_do_not_read_at_once() -> None:
    async def handler(requests: Any, context: ServicerContext) -> bytes:
        first = asyncio.ensure_future(context.read())
        await asyncio.sleep(0)
        with pytest.raises(grpc.aio.UsageError, match="one at a time"):
            await context.read()
        return bytes(await first)

    async def main(caller: Caller) -> None:
        x = caller.open(taking(handler))
        await asyncio.sleep(0.01)
        x.push(frame(b"for the first"))
        await ended(x)
        assert messages(x) == [b"for the first"]

    run(main)


def test_a_read_that_is_given_up_loses_nothing() -> None:
    async def handler(requests: Any, context: ServicerContext) -> bytes:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await context.read()
        return bytes(await context.read())

    async def main(caller: Caller) -> None:
        x = caller.open(taking(handler))
        await asyncio.sleep(0.05)
        x.push(frame(b"late"))
        await ended(x)
        assert messages(x) == [b"late"]

    run(main)


def test_calls_with_one_message_have_none_to_read() -> None:
    async def reads(message: bytes, context: ServicerContext) -> AsyncIterator[bytes]:
        with pytest.raises(grpc.aio.UsageError):
            await context.read()
        yield message

    async def writes(requests: Any, context: ServicerContext) -> bytes:
        with pytest.raises(grpc.aio.UsageError):
            await context.write(b"")
        return bytes(await context.read())

    async def main(caller: Caller) -> None:
        assert messages(await caller.call(answering(reads))) == [b"request"]
        assert messages(await caller.call(taking(writes))) == [b"request"]

    run(main)


# --- ends that come early


@pytest.mark.parametrize("how", ["gone", "deadline", "cancel"])
@pytest.mark.parametrize("where", ["reading", "elsewhere", "child"])
def test_the_end_reaches_whoever_waits(how: str, where: str) -> None:
    events: list[str] = []
    contexts: list[ServicerContext] = []

    async def read(context: ServicerContext) -> None:
        try:
            await context.read()
        except asyncio.CancelledError:
            events.append("reader")
            raise

    async def handler(requests: Any, context: ServicerContext) -> bytes:
        contexts.append(context)
        child = asyncio.ensure_future(read(context)) if where == "child" else None
        try:
            await (context.read() if where == "reading" else asyncio.get_running_loop().create_future())
        except asyncio.CancelledError:
            events.append("handler")
            if child is not None:
                await asyncio.wait([child])
            raise
        return b""

    async def main(caller: Caller) -> None:
        x = caller.open(taking(handler), *([(b"grpc-timeout", b"30m")] if how == "deadline" else []))
        await until(lambda: contexts)
        await asyncio.sleep(0)
        if how == "gone":
            x.disconnect()
        elif how == "cancel":
            contexts[0].cancel()
        await until(lambda: x.is_finished)
        await until(lambda: len(events) == (2 if where == "child" else 1))
        if how != "gone":
            assert outcome(x)[0] == (4 if how == "deadline" else 1)

    run(main)


def test_a_handler_that_goes_on_after_the_end() -> None:
    events: list[Any] = []

    async def handler(requests: Any, context: ServicerContext) -> None:
        for _ in range(2):
            try:
                await context.read()
            except asyncio.CancelledError:
                events.append("read")
        try:
            await context.write(b"late")
        except asyncio.CancelledError:
            events.append("write")

    async def main(caller: Caller) -> None:
        x = caller.open(talking(handler))
        await asyncio.sleep(0.01)
        x.disconnect()
        await until(lambda: x.is_finished and len(events) == 3)
        assert x.content == b""

    run(main)


# --- threads


def test_generators_in_threads() -> None:
    threads = set()

    def handler(requests: Iterator[bytes], context: SyncServicerContext) -> Iterator[bytes]:
        assert isinstance(context, SyncServicerContext)
        for message in requests:
            threads.add(threading.current_thread())
            yield message

    async def main(caller: Caller) -> None:
        sent = [b"%d" % number for number in range(200)]
        x = await caller.call(talking(handler, thread=True, sync_context=True), body=b"".join(map(frame, sent)))
        assert messages(x) == sent
        assert outcome(x) == (0, "")
        # One thread from the first message to the last.
        assert len(threads) == 1
        assert threading.current_thread() not in threads

    run(main)


def test_a_thread_does_not_run_away_from_a_slow_peer() -> None:
    given = []

    def handler(message: bytes, context: SyncServicerContext) -> Iterator[bytes]:
        for number in range(1000):
            given.append(number)
            yield b"%d" % number

    async def main(caller: Caller) -> None:
        x = caller.open(answering(handler, thread=True, sync_context=True))
        x.slow = True
        x.push(frame(b""))
        x.push_end()
        await until(lambda: len(given) > 16)
        await asyncio.sleep(0.05)
        assert len(given) < 60
        x.drain()
        await ended(x)
        assert len(messages(x)) == 1000

    run(main)


@pytest.mark.parametrize("where", ["reading", "writing"])
def test_a_thread_is_free_when_the_peer_leaves(where: str) -> None:
    started = threading.Event()
    closed = threading.Event()

    def handler(requests: Iterator[bytes], context: SyncServicerContext) -> Iterator[bytes]:
        try:
            started.set()
            if where == "reading":
                yield from requests
            while True:
                yield b"more"
        finally:
            assert not context.is_active()
            closed.set()

    async def main(caller: Caller) -> None:
        x = caller.open(talking(handler, thread=True, sync_context=True))
        x.slow = True
        await until(started.is_set)
        x.disconnect()
        await until(lambda: closed.is_set() and x.is_finished)

    run(main)


def test_threads_see_the_context_variables_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    def failing(requests: Iterator[bytes], context: SyncServicerContext) -> Iterator[bytes]:
        yield from requests
        raise RuntimeError("secret")

    async def main(caller: Caller) -> None:
        x = await caller.call(talking(failing, thread=True, sync_context=True))
        assert messages(x) == [b"request"]
        code, details = outcome(x)
        assert code == 2
        assert "secret" not in details

    run(main)
    assert "secret" in caplog.text


def test_without_a_pool_the_loops_own_threads_are_used() -> None:
    def handler(requests: Iterator[bytes], context: SyncServicerContext) -> Iterator[bytes]:
        yield from requests

    async def main() -> None:
        caller = Caller(None)  # type: ignore[arg-type]
        x = await caller.call(talking(handler, thread=True, sync_context=True))
        assert messages(x) == [b"request"]
        caller.state.close()

    asyncio.run(main())


def test_functions_that_turn_out_to_be_asynchronous() -> None:
    async def main(caller: Caller) -> None:
        x = await caller.call(
            talking(lambda requests, context: echo(requests, context), thread=True, sync_context=True)
        )
        assert messages(x) == [b"request"]
        x = await caller.call(taking(lambda requests, context: join(requests, context), thread=True, sync_context=True))
        assert messages(x) == [b"request"]

    run(main)


def test_iterators_that_do_not_block() -> None:
    def handler(message: bytes, context: SyncServicerContext) -> Iterator[bytes]:
        yield threading.current_thread().name.encode()

    async def main(caller: Caller) -> None:
        x = await caller.call(answering(handler, sync_context=True))
        assert messages(x) == [threading.current_thread().name.encode()]

    run(main)


# --- what is left


def test_nothing_is_kept_of_a_stream() -> None:
    references: list[Any] = []

    class Message:
        def __init__(self, raw: bytes) -> None:
            references.append(weakref.ref(self))

    async def handler(requests: Any, context: ServicerContext) -> AsyncIterator[bytes]:
        context.add_done_callback(lambda done: None)
        async for message in requests:
            context.state.message = message
            yield b"x"

    def blocking(requests: Any, context: SyncServicerContext) -> Iterator[bytes]:
        for message in requests:
            context.state.message = message
            yield b"x"

    async def main(caller: Caller) -> None:
        for target in (
            talking(handler, deserialize=Message),
            talking(blocking, deserialize=Message, thread=True, sync_context=True),
        ):
            references.clear()
            gc.collect()
            gc.disable()
            try:
                await caller.call(target)
                x = caller.open(target, (b"grpc-timeout", b"99999999H"))
                x.push(frame(b"a"))
                await until(lambda: len(references) == 2)
                x.disconnect()
                del x
                await until(lambda: not any(reference() for reference in references))
            finally:
                gc.enable()

    run(main)


def test_many_streams_share_few_threads() -> None:
    """Whoever waits for a thread is served once one is free."""

    def handler(requests: Iterator[bytes], context: SyncServicerContext) -> Iterator[bytes]:
        yield from requests

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            caller = Caller(executor)
            target = talking(handler, thread=True, sync_context=True)
            calls = [caller.call(target, body=frame(b"%d" % number)) for number in range(10)]
            assert [messages(x) for x in await asyncio.gather(*calls)] == [[b"%d" % number] for number in range(10)]
            caller.state.close()

    asyncio.run(main())
