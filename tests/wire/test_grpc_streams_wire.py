"""Streaming gRPC over sockets, by grpcio's own clients: what ends a stream, slow peers, the drain, what is left."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import grpc
import pytest

from fastnet import App, Depends, Header, HTTPException
from fastnet.grpc import ServicerContext
from tests.net.test_leaks import grown, ours
from tests.protos import greeter
from tests.wire.live import Live, live, until

pb, pb_grpc = greeter()

PATIENCE = 20
BIG = "x" * 100_000


class Servicer(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        self.started = threading.Event()
        self.cancelled = threading.Event()
        self.sent = 0

    async def SayHelloStream(self, request: Any, context: ServicerContext) -> AsyncIterator[Any]:
        self.started.set()
        try:
            if request.name == "wait":
                yield pb.HelloReply(message="first")
                await asyncio.get_running_loop().create_future()
            while request.name == "big":
                yield pb.HelloReply(message=BIG)
                self.sent += 1
            for number in range(3):
                yield pb.HelloReply(message=str(number))
        except (asyncio.CancelledError, GeneratorExit):
            assert context.done()
            self.cancelled.set()
            raise

    async def RecordGreetings(self, requests: Any, context: ServicerContext) -> Any:
        self.started.set()
        count = 0
        try:
            async for _ in requests:
                count += 1
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return pb.GreetingSummary(count=count)

    async def Chat(self, requests: Any, context: ServicerContext) -> AsyncIterator[Any]:
        async for message in requests:
            yield message


class Blocking(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        self.closed = threading.Event()

    def SayHelloStream(self, request: Any, context: Any) -> Iterator[Any]:
        try:
            while True:
                yield pb.HelloReply(message=BIG)
        finally:
            self.closed.set()

    def Chat(self, requests: Any, context: Any) -> Iterator[Any]:
        try:
            yield from requests
        finally:
            self.closed.set()


def app_of(servicer: Any) -> App:
    app = App()
    pb_grpc.add_GreeterServicer_to_server(servicer, app.grpc)
    return app


@pytest.fixture
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture
def server(servicer: Servicer) -> Iterator[Live]:
    with live(app_of(servicer)) as server:
        yield server


@asynccontextmanager
async def stub_of(server: Live) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield pb_grpc.GreeterStub(channel)


def hello(name: str) -> Any:
    return pb.HelloRequest(name=name)


def test_the_asynchronous_client(server: Live) -> None:
    async def main() -> None:
        async with stub_of(server) as stub:
            call = stub.SayHelloStream(hello("few"), timeout=PATIENCE)
            assert [reply.message async for reply in call] == ["0", "1", "2"]
            call = stub.Chat(timeout=PATIENCE)
            for number in range(20):
                # One message there and back before the next.
                await call.write(pb.ChatMessage(content=str(number)))
                assert (await call.read()).content == str(number)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    asyncio.run(main())


def test_many_streams_on_one_connection(server: Live) -> None:
    async def main() -> None:
        async with stub_of(server) as stub:

            async def talk(size: int) -> int:
                requests = (pb.ChatMessage(content=str(number) * size) for number in range(50))
                return len([reply async for reply in stub.Chat(requests, timeout=PATIENCE)])

            assert await asyncio.gather(*[talk(size * 50) for size in range(50)]) == [50] * 50

    asyncio.run(main())


def test_a_client_that_cancels(server: Live, servicer: Servicer) -> None:
    async def main() -> None:
        async with stub_of(server) as stub:
            call = stub.SayHelloStream(hello("wait"), timeout=PATIENCE)
            assert (await call.read()).message == "first"
            call.cancel()
            assert await asyncio.to_thread(servicer.cancelled.wait, PATIENCE)

    asyncio.run(main())


def test_a_client_that_cancels_while_it_sends(server: Live, servicer: Servicer) -> None:
    async def main() -> None:
        async with stub_of(server) as stub:
            call = stub.RecordGreetings(timeout=PATIENCE)
            await call.write(hello("a"))
            assert await asyncio.to_thread(servicer.started.wait, PATIENCE)
            call.cancel()
            assert await asyncio.to_thread(servicer.cancelled.wait, PATIENCE)

    asyncio.run(main())


def test_deadlines(server: Live, servicer: Servicer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = pb_grpc.GreeterStub(channel).SayHelloStream(hello("wait"), timeout=0.2)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert servicer.cancelled.wait(PATIENCE)


def test_a_client_that_does_not_read_stops_the_handler(server: Live, servicer: Servicer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = pb_grpc.GreeterStub(channel).SayHelloStream(hello("big"), timeout=PATIENCE)
        assert next(call).message == BIG
        until(lambda: stands_still(server, servicer))
        assert servicer.sent < 1000
        call.cancel()
        assert servicer.cancelled.wait(PATIENCE)


def stands_still(server: Live, servicer: Servicer) -> bool:
    before = servicer.sent
    server.run(asyncio.sleep(0.05))
    return servicer.sent == before


def test_a_handler_that_does_not_read_stops_the_client() -> None:
    go = asyncio.Event()
    app = App()

    @app.grpc.method("/greeter.Greeter/RecordGreetings")
    async def record(requests: Any, context: ServicerContext) -> Any:
        await go.wait()
        return pb.GreetingSummary(count=len([each async for each in requests]))

    sent = 0

    def requests() -> Iterator[Any]:
        nonlocal sent
        for _ in range(500):
            sent += 1
            yield hello("x" * 10_000)

    with live(app) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = pb_grpc.GreeterStub(channel).RecordGreetings.future(requests(), timeout=PATIENCE)

        def waits() -> bool:
            before = sent
            server.run(asyncio.sleep(0.1))
            return 0 < before == sent

        until(waits)
        assert sent < 400
        server.call(go.set)
        assert call.result().count == 500


@pytest.mark.parametrize("where", ["reading", "writing"])
def test_threads_are_free_when_the_client_leaves(where: str) -> None:
    servicer = Blocking()
    with live(app_of(servicer)) as server:
        channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        stub = pb_grpc.GreeterStub(channel)
        leave = threading.Event()

        def requests() -> Iterator[Any]:
            yield pb.ChatMessage(content="one")
            leave.wait(PATIENCE)

        call = stub.Chat(requests()) if where == "reading" else stub.SayHelloStream(hello("x"))
        next(call)
        call.cancel()
        assert servicer.closed.wait(PATIENCE)
        leave.set()
        channel.close()


def test_streams_end_at_the_end_of_the_drain(servicer: Servicer) -> None:
    """New calls are refused, those that run have the drain's time, and then they are cancelled."""
    with (
        live(app_of(servicer), timeout_drain=0.5) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = pb_grpc.GreeterStub(channel).SayHelloStream(hello("wait"), timeout=PATIENCE)
        assert next(call).message == "first"
        stopped = asyncio.run_coroutine_threadsafe(server.server.stop(), server.loop)
        with pytest.raises(grpc.RpcError):
            next(call)
        assert servicer.cancelled.wait(PATIENCE)
        stopped.result(PATIENCE)


def test_streams_may_finish_while_the_server_drains(servicer: Servicer) -> None:
    with (
        live(app_of(servicer), timeout_drain=PATIENCE) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        sending = threading.Event()

        def requests() -> Iterator[Any]:
            yield pb.ChatMessage(content="one")
            sending.wait(PATIENCE)
            yield pb.ChatMessage(content="two")

        call = pb_grpc.GreeterStub(channel).Chat(requests(), timeout=PATIENCE)
        assert next(call).content == "one"
        stopped = asyncio.run_coroutine_threadsafe(server.server.stop(), server.loop)
        sending.set()
        assert [each.content for each in call] == ["two"]
        stopped.result(PATIENCE)


# --- dependencies


def test_dependencies_in_streams() -> None:
    events: list[str] = []

    async def user_of(token: Annotated[str, Header("authorization")]) -> AsyncIterator[str]:
        if token != "secret":
            raise HTTPException(401, "who are you?")
        events.append("opened")
        yield "Ada"
        events.append("closed")

    User = Annotated[str, Depends(user_of)]
    app = App()

    @app.grpc.service("greeter.Greeter")
    class Greeter:
        async def SayHelloStream(self, request: Any, context: ServicerContext, user: User) -> AsyncIterator[Any]:
            events.append("streams")
            yield pb.HelloReply(message=user)

        async def RecordGreetings(self, requests: Any, context: ServicerContext, user: User) -> Any:
            return pb.GreetingSummary(count=len([each async for each in requests]), summary=user)

        def Chat(self, requests: Iterator[Any], context: Any, user: User) -> Iterator[Any]:
            for message in requests:
                yield pb.ChatMessage(user=user, content=message.content)

    with live(app) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = pb_grpc.GreeterStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.SayHelloStream(hello("x"), metadata=(("authorization", "guess"),), timeout=PATIENCE))
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        known = {"metadata": (("authorization", "secret"),), "timeout": PATIENCE}
        assert [reply.message for reply in stub.SayHelloStream(hello("x"), **known)] == ["Ada"]
        until(lambda: events == ["opened", "streams", "closed"])
        assert stub.RecordGreetings(iter([hello("a"), hello("b")]), **known).count == 2
        talk = stub.Chat(iter([pb.ChatMessage(content="hi")]), **known)
        assert [(each.user, each.content) for each in talk] == [("Ada", "hi")]


@pytest.mark.parametrize("blocking", [False, True])
def test_dependencies_of_the_app_before_unmodified_servicers(blocking: bool) -> None:
    async def guard(token: Annotated[str, Header("authorization")] = "") -> None:
        if token != "secret":
            raise HTTPException(401, "who are you?")

    app = App(dependencies=[Depends(guard)])
    pb_grpc.add_GreeterServicer_to_server(Blocking() if blocking else Servicer(), app.grpc)
    with live(app) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        chat = pb_grpc.GreeterStub(channel).Chat
        with pytest.raises(grpc.RpcError) as caught:
            list(chat(iter([]), timeout=PATIENCE))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        known = {"metadata": (("authorization", "secret"),), "timeout": PATIENCE}
        assert [each.content for each in chat(iter([pb.ChatMessage(content="a")]), **known)] == ["a"]


# --- what is left


@pytest.mark.parametrize("ending", ["complete", "cancelled", "deadline", "connection lost"])
def test_nothing_is_left_of_streams(server: Live, servicer: Servicer, ending: str) -> None:
    async def act(stub: Any) -> None:
        if ending == "complete":
            await asyncio.gather(*[drained(stub.SayHelloStream(hello("few"))) for _ in range(10)])
            await asyncio.gather(*[drained(stub.Chat(pb.ChatMessage() for _ in range(3))) for _ in range(10)])
            await asyncio.gather(*[stub.RecordGreetings(hello("x") for _ in range(3)) for _ in range(10)])
            return
        calls = [stub.SayHelloStream(hello("wait"), timeout=0.1 if ending == "deadline" else None) for _ in range(10)]
        calls += [stub.SayHelloStream(hello("big")) for _ in range(2)]
        if ending != "deadline":
            for call in calls:
                await call.read()
        else:
            for call in calls[:10]:
                assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for call in calls:
            if ending != "connection lost":
                call.cancel()

    async def drained(call: Any) -> None:
        async for _ in call:
            pass

    async def rounds(count: int) -> None:
        for _ in range(count):
            async with stub_of(server) as stub:
                await act(stub)

    asyncio.run(rounds(3))
    server.settle()
    server.call(gc.collect)
    before = server.call(ours)
    asyncio.run(rounds(15))
    server.settle()
    server.run(asyncio.sleep(0.05))
    server.call(gc.collect)
    assert grown(before, server.call(ours)) == {}
    state = server.server.state
    assert state is not None
    until(lambda: state.counters["requests_active"] == 0)
