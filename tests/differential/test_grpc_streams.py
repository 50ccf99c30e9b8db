"""Servicers with streams behind grpcio's own asynchronous server and behind ours: a client must not tell them apart.

What differs on purpose is left out of the comparison: the text of exceptions, which ours keeps to itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from fastnet import App
from tests.differential.test_grpc_server import PATIENCE, grpcio_serving
from tests.fastnet.serving import serving
from tests.protos import greeter

pb, pb_grpc = greeter()


def reply(text: str) -> Any:
    return pb.HelloReply(message=text)


def said(text: str) -> Any:
    return pb.ChatMessage(content=text)


class Yields:
    """Server streaming: each request names what is done."""

    async def few(self, context: Any) -> AsyncIterator[Any]:
        for number in range(5):
            yield reply(str(number))

    async def none(self, context: Any) -> AsyncIterator[Any]:
        return
        yield

    async def many(self, context: Any) -> AsyncIterator[Any]:
        for number in range(2000):
            yield reply(str(number))

    async def large(self, context: Any) -> AsyncIterator[Any]:
        for _ in range(5):
            yield reply("x" * 1_000_000)

    async def waits(self, context: Any) -> AsyncIterator[Any]:
        for number in range(3):
            await asyncio.sleep(0)
            yield reply(str(number))

    async def code(self, context: Any) -> AsyncIterator[Any]:
        yield reply("one")
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("no more")

    async def trailing(self, context: Any) -> AsyncIterator[Any]:
        context.set_trailing_metadata((("a", "1"), ("b-bin", b"\x00\xff")))
        yield reply("one")

    async def initial(self, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("a", "1"),))
        yield reply("one")

    async def late_initial(self, context: Any) -> AsyncIterator[Any]:
        yield reply("one")
        await context.send_initial_metadata((("a", "1"),))

    async def abort(self, context: Any) -> AsyncIterator[Any]:
        yield reply("one")
        await context.abort(grpc.StatusCode.ABORTED, "no", (("why", "so"),))

    async def abort_first(self, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who?")
        yield reply("never")

    async def suppressed_abort(self, context: Any) -> AsyncIterator[Any]:
        yield reply("one")
        try:
            await context.abort(grpc.StatusCode.ABORTED, "first")
        except grpc.aio.AbortError:
            yield reply("never")

    async def exception(self, context: Any) -> AsyncIterator[Any]:
        yield reply("one")
        raise ValueError("secret")

    async def exception_first(self, context: Any) -> AsyncIterator[Any]:
        raise ValueError("secret")
        yield

    async def exception_after_code(self, context: Any) -> AsyncIterator[Any]:
        yield reply("one")
        context.set_code(grpc.StatusCode.DATA_LOSS)
        raise ValueError("secret")

    async def gzip(self, context: Any) -> AsyncIterator[Any]:
        context.set_compression(grpc.Compression.Gzip)
        yield reply("z" * 10_000)
        context.disable_next_message_compression()
        yield reply("y" * 10_000)
        yield reply("x" * 10_000)


class Writes:
    """The same by coroutines that write."""

    async def write(self, context: Any) -> None:
        for number in range(5):
            await context.write(reply(str(number)))

    async def write_nothing(self, context: Any) -> None: ...

    async def write_and_fail(self, context: Any) -> None:
        await context.write(reply("one"))
        raise ValueError("secret")

    async def write_and_abort(self, context: Any) -> None:
        await context.write(reply("one"))
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "that is all")

    async def write_after_abort(self, context: Any) -> None:
        try:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "that is all")
        except grpc.aio.AbortError:
            await context.write(reply("never"))

    async def write_late(self, context: Any) -> None:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        await context.write(reply("one"))


YIELDS = [name for name in vars(Yields) if not name.startswith("_")]
WRITES = [name for name in vars(Writes) if not name.startswith("_")]
# Texts of exceptions are grpcio's own.
HIDDEN = {"exception", "exception_first", "exception_after_code", "late_initial", "write_and_fail", "write_after_abort"}


class Talks:
    """Bidirectional: the first message names what is done with the others."""

    async def echo(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            yield said(message.content)

    async def reader(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        while (message := await context.read()) is not grpc.aio.EOF:
            yield said(message.content)
        assert await context.read() is grpc.aio.EOF

    async def mixed(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        message = await context.read()
        yield said(f"read {message.content}")
        async for message in requests:
            yield said(f"iterated {message.content}")

    async def iterated_twice(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            yield said(message.content)
        async for _ in requests:
            yield said("never")

    async def stops_early(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        yield said((await context.read()).content)

    async def ends_without_reading(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        yield said("enough")

    async def fails(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            yield said(message.content)
            raise ValueError("secret")


TALKS = [name for name in vars(Talks) if not name.startswith("_")]


class Servicer(pb_grpc.GreeterServicer, Yields):  # type: ignore[misc, name-defined]
    async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        async for message in getattr(self, request.name)(context):
            yield message

    async def RecordGreetings(self, requests: Any, context: Any) -> Any:
        names = []
        async for request in requests:
            names.append(request.name)
            if request.name == "abort":
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a bad one")
            if request.name == "fail":
                raise ValueError("secret")
            if request.name == "stop":
                break
            if request.name == "code":
                context.set_code(grpc.StatusCode.NOT_FOUND)
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        name = dict(context.invocation_metadata())["action"]
        async for message in getattr(Talks(), name)(requests, context):
            yield message


class Writer(pb_grpc.GreeterServicer, Writes):  # type: ignore[misc, name-defined]
    async def SayHelloStream(self, request: Any, context: Any) -> None:
        await getattr(self, request.name)(context)

    async def Chat(self, requests: Any, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(said(message.content))


class Blocking(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    """Plain functions, which run in threads."""

    def SayHelloStream(self, request: Any, context: Any) -> Iterator[Any]:
        if request.name == "abort_first":
            context.abort(grpc.StatusCode.ABORTED, "no")
        for number in range(40):
            yield reply(str(number))
        if request.name == "abort":
            context.abort(grpc.StatusCode.ABORTED, "no")
        if request.name == "exception":
            raise ValueError("secret")
        if request.name == "code":
            context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_trailing_metadata((("a", "1"),))

    def RecordGreetings(self, requests: Any, context: Any) -> Any:
        names = [request.name for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    def Chat(self, requests: Any, context: Any) -> Iterator[Any]:
        for message in requests:
            yield said(message.content)


Stubs = tuple[Any, Any]


def serving_both(servicer: Any) -> Iterator[Stubs]:
    app = App()
    pb_grpc.add_GreeterServicer_to_server(servicer, app.grpc)
    with (
        grpcio_serving(servicer) as theirs,
        serving(app) as client,
        grpc.insecure_channel(theirs) as one,
        grpc.insecure_channel(f"127.0.0.1:{client.port}") as other,
    ):
        yield pb_grpc.GreeterStub(one), pb_grpc.GreeterStub(other)


@pytest.fixture(scope="module")
def stubs() -> Iterator[Stubs]:
    yield from serving_both(Servicer())


@pytest.fixture(scope="module")
def writers() -> Iterator[Stubs]:
    yield from serving_both(Writer())


@pytest.fixture(scope="module")
def blocking() -> Iterator[Stubs]:
    yield from serving_both(Blocking())


def seen(call: Any) -> dict[str, Any]:
    """All that a client sees of a call that is answered by a stream. ``date`` is HTTP's, and of ours alone."""
    messages: list[Any] = []
    with contextlib.suppress(grpc.RpcError):
        messages.extend(call)
    return {
        "messages": messages,
        "code": call.code(),
        "details": call.details(),
        "initial": [pair for pair in call.initial_metadata() if pair[0] != "date"],
        "trailing": list(call.trailing_metadata()),
    }


def same(ours: dict[str, Any], theirs: dict[str, Any], hidden: bool) -> None:
    if hidden:
        assert "secret" not in ours.pop("details")
        theirs.pop("details")
    assert ours == theirs


@pytest.mark.parametrize("action", YIELDS)
def test_generators(stubs: Stubs, action: str) -> None:
    theirs, ours = (seen(stub.SayHelloStream(pb.HelloRequest(name=action), timeout=PATIENCE)) for stub in stubs)
    same(ours, theirs, action in HIDDEN)


@pytest.mark.parametrize("action", WRITES)
def test_writers(writers: Stubs, action: str) -> None:
    theirs, ours = (seen(stub.SayHelloStream(pb.HelloRequest(name=action), timeout=PATIENCE)) for stub in writers)
    same(ours, theirs, action in HIDDEN)


@pytest.mark.parametrize("action", ["", "abort_first", "abort", "exception", "code"])
def test_generators_in_threads(blocking: Stubs, action: str) -> None:
    theirs, ours = (seen(stub.SayHelloStream(pb.HelloRequest(name=action), timeout=PATIENCE)) for stub in blocking)
    if action == "abort":
        # An abort overtakes now and then what grpcio's server has not sent yet.
        sent, theirs["messages"] = theirs["messages"], ours["messages"]
        assert ours["messages"][: len(sent)] == sent
        assert len(ours["messages"]) == 40
    same(ours, theirs, action in HIDDEN)


def recorded(stub: Any, names: list[str], **options: Any) -> tuple[Any, ...]:
    call = stub.RecordGreetings.future((pb.HelloRequest(name=name) for name in names), timeout=PATIENCE, **options)
    try:
        summary = call.result()
    except grpc.RpcError:
        summary = None
    details = None if call.code() is grpc.StatusCode.UNKNOWN else call.details()
    return summary, call.code(), details, list(call.trailing_metadata())


NAMES: list[list[str]] = [
    [],
    ["a"],
    ["a", "b"],
    [str(number) for number in range(500)],
    ["x" * 100_000] * 20,
    ["a", "abort", "b"],
    ["a", "fail", "b"],
    ["a", "stop", "b"],
    ["a", "code", "b"],
]


@pytest.mark.parametrize("names", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_streams_of_requests(stubs: Stubs, names: list[str], compression: Any) -> None:
    theirs, ours = (recorded(stub, names, compression=compression) for stub in stubs)
    assert ours == theirs


@pytest.mark.parametrize("names", NAMES[:5], ids=range(5))
def test_streams_of_requests_in_threads(blocking: Stubs, names: list[str]) -> None:
    theirs, ours = (recorded(stub, names) for stub in blocking)
    assert ours == theirs


CONTENTS = [[], ["a"], [str(number) for number in range(300)], ["x" * 100_000] * 10]


@pytest.mark.parametrize("contents", CONTENTS, ids=range(len(CONTENTS)))
@pytest.mark.parametrize("action", TALKS)
def test_conversations(stubs: Stubs, action: str, contents: list[str]) -> None:
    if action in ("mixed", "stops_early", "fails") and not contents:
        contents = ["one"]
    metadata = (("action", action),)
    theirs, ours = (
        seen(stub.Chat((said(each) for each in contents), timeout=PATIENCE, metadata=metadata)) for stub in stubs
    )
    same(ours, theirs, action == "fails")


@pytest.mark.parametrize("contents", CONTENTS, ids=range(len(CONTENTS)))
def test_conversations_of_readers_and_writers(writers: Stubs, contents: list[str]) -> None:
    theirs, ours = (seen(stub.Chat((said(each) for each in contents), timeout=PATIENCE)) for stub in writers)
    same(ours, theirs, False)


@pytest.mark.parametrize("contents", CONTENTS, ids=range(len(CONTENTS)))
def test_conversations_in_threads(blocking: Stubs, contents: list[str]) -> None:
    theirs, ours = (seen(stub.Chat((said(each) for each in contents), timeout=PATIENCE)) for stub in blocking)
    same(ours, theirs, False)
