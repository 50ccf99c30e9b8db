"""gRPC over sockets: grpcio's own clients, synchronous and asynchronous, with the code that protoc generates."""

import asyncio
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

from fastnet import App
from fastnet.grpc import ServicerContext
from tests.fastnet.serving import serving
from tests.protos import greeter

pb, pb_grpc = greeter()

# Of a call that is to answer: generous, as machines are slow at times.
PATIENCE = 20


class Servicer(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    """What the tests call, by the name in the request."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.started = threading.Event()
        self.done = threading.Event()

    async def SayHello(self, request: Any, context: ServicerContext) -> Any:
        action: Callable[[Any, ServicerContext], Any] | None = getattr(self, f"do_{request.name}", None)
        if action is not None:
            return await action(request, context)
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def do_wait(self, request: Any, context: ServicerContext) -> Any:
        context.add_done_callback(lambda done: self.done.set())
        self.started.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def do_abort(self, request: Any, context: ServicerContext) -> Any:
        details = "no: \u00e9 % \n" + "x" * 100
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, details, (("x-why", "so"), ("x-why-bin", b"\x00\xff")))

    async def do_fail(self, request: Any, context: ServicerContext) -> Any:
        raise RuntimeError("secret")

    async def do_metadata(self, request: Any, context: ServicerContext) -> Any:
        given = {key: value for key, value in context.invocation_metadata() if key.startswith("x-")}
        assert given == {"x-text": "a b", "x-data-bin": b"\x00\xff\x00"}
        await context.send_initial_metadata(tuple(given.items()))
        context.set_trailing_metadata((("y-text", "c"), ("y-data-bin", bytes(range(256)))))
        return pb.HelloReply(message=context.peer())

    async def do_remaining(self, request: Any, context: ServicerContext) -> Any:
        return pb.HelloReply(message=str(context.time_remaining()))

    async def do_zip(self, request: Any, context: ServicerContext) -> Any:
        context.set_compression(grpc.Compression.Gzip)
        return pb.HelloReply(message="z" * 10_000)

    async def do_later(self, request: Any, context: ServicerContext) -> Any:
        await asyncio.sleep(0)
        return pb.HelloReply(message="later")


@pytest.fixture(scope="module")
def servicer() -> Servicer:
    return Servicer()


@pytest.fixture(scope="module")
def target(servicer: Servicer) -> Iterator[str]:
    app = App()
    pb_grpc.add_GreeterServicer_to_server(servicer, app.grpc)

    @app.get("/plain")
    async def plain() -> str:
        return "beside gRPC"

    with serving(app) as client:
        yield f"127.0.0.1:{client.port}"


@pytest.fixture
def stub(target: str) -> Iterator[Any]:
    with grpc.insecure_channel(target) as channel:
        yield pb_grpc.GreeterStub(channel)


def hello(name: str) -> Any:
    return pb.HelloRequest(name=name)


def failure(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def test_a_call(stub: Any) -> None:
    assert stub.SayHello(hello("you"), timeout=PATIENCE).message == "Hello, you!"
    assert stub.SayHello(hello("later"), timeout=PATIENCE).message == "later"


def test_a_call_without_a_deadline(stub: Any) -> None:
    assert stub.SayHello(hello("remaining")).message == "None"


def test_one_port(target: str, stub: Any) -> None:
    assert stub.SayHello(hello("you"), timeout=PATIENCE).message == "Hello, you!"
    host, _, port = target.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        connection.request("GET", "/plain")
        assert connection.getresponse().read() == b"beside gRPC"
        connection.request("POST", "/greeter.Greeter/SayHello", b"{}", {"content-type": "text/plain"})
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (415, True)
        connection.request(
            "POST", "/greeter.Greeter/SayHello", b'{"name": "Ada"}', {"content-type": "application/json"}
        )
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'{"message": "Hello, Ada!"}')
    finally:
        connection.close()


@pytest.mark.parametrize("size", [0, 1, 5_000, 20_000, 1_000_000, 3_000_000])
def test_messages_of_any_size(stub: Any, size: int) -> None:
    assert stub.SayHello(hello("n" * size), timeout=PATIENCE).message == f"Hello, {'n' * size}!"


def test_a_message_over_the_limit(stub: Any) -> None:
    error = failure(lambda: stub.SayHello(hello("n" * (4 * 1024 * 1024 + 1)), timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_abort(stub: Any) -> None:
    error = failure(lambda: stub.SayHello(hello("abort"), timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "no: \u00e9 % \n" + "x" * 100
    assert ("x-why", "so") in error.trailing_metadata()
    assert ("x-why-bin", b"\x00\xff") in error.trailing_metadata()


def test_an_exception(stub: Any) -> None:
    error = failure(lambda: stub.SayHello(hello("fail"), metadata=(("x-request-id", "abc"),), timeout=PATIENCE))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert error.details() == "Unexpected failure (request abc)"


def test_metadata(stub: Any) -> None:
    reply, call = stub.SayHello.with_call(
        hello("metadata"), metadata=(("x-text", "a b"), ("x-data-bin", b"\x00\xff\x00")), timeout=PATIENCE
    )
    assert reply.message.startswith("ipv4:127.0.0.1:")
    assert {("x-text", "a b"), ("x-data-bin", b"\x00\xff\x00")} <= set(call.initial_metadata())
    assert {("y-text", "c"), ("y-data-bin", bytes(range(256)))} <= set(call.trailing_metadata())


def test_the_deadline_reaches_the_handler(stub: Any) -> None:
    remaining = float(stub.SayHello(hello("remaining"), timeout=100).message)
    # The client rounds what it sends up.
    assert 50 < remaining < 110


def test_the_deadline(stub: Any, servicer: Servicer) -> None:
    servicer.cancelled.clear()
    error = failure(lambda: stub.SayHello(hello("wait"), timeout=0.1))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert servicer.cancelled.wait(PATIENCE)


def test_a_call_that_the_client_cancels(stub: Any, servicer: Servicer) -> None:
    servicer.cancelled.clear()
    servicer.started.clear()
    servicer.done.clear()
    call = stub.SayHello.future(hello("wait"), timeout=PATIENCE)
    assert servicer.started.wait(PATIENCE)
    call.cancel()
    assert servicer.cancelled.wait(PATIENCE)
    assert servicer.done.wait(PATIENCE)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compression(stub: Any, compression: Any) -> None:
    name = "n" * 10_000
    assert stub.SayHello(hello(name), compression=compression, timeout=PATIENCE).message == f"Hello, {name}!"
    assert stub.SayHello(hello("zip"), timeout=PATIENCE).message == "z" * 10_000


def test_methods_that_are_not_there(target: str, stub: Any) -> None:
    with grpc.insecure_channel(target) as channel:
        for path in ("/greeter.Greeter/Nothing", "/nobody.Knows/It"):
            error = failure(partial(channel.unary_unary(path), b"", timeout=PATIENCE))
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert failure(lambda: list(stub.SayHelloStream(hello("x"), timeout=PATIENCE))).code() is (
        grpc.StatusCode.UNIMPLEMENTED
    )


def test_many_calls_from_threads(stub: Any) -> None:
    with ThreadPoolExecutor(4) as executor:
        replies = list(executor.map(lambda i: stub.SayHello(hello(str(i)), timeout=PATIENCE).message, range(200)))
    assert replies == [f"Hello, {i}!" for i in range(200)]


def test_the_asynchronous_client(target: str) -> None:
    async def main() -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            stub = pb_grpc.GreeterStub(channel)
            names = [*map(str, range(100)), *["later"] * 10]
            replies = await asyncio.gather(*(stub.SayHello(hello(name), timeout=PATIENCE) for name in names))
            assert [reply.message for reply in replies] == [*(f"Hello, {i}!" for i in range(100)), *["later"] * 10]
            call = stub.SayHello(hello("abort"), timeout=PATIENCE)
            assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert dict(await call.trailing_metadata())["x-why-bin"] == b"\x00\xff"

    asyncio.run(main())


def test_the_asynchronous_client_cancels(target: str, servicer: Servicer) -> None:
    servicer.cancelled.clear()
    servicer.started.clear()

    async def main() -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            call = pb_grpc.GreeterStub(channel).SayHello(hello("wait"), timeout=PATIENCE)
            task = asyncio.ensure_future(call)
            assert await asyncio.to_thread(servicer.started.wait, PATIENCE)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert servicer.cancelled.wait(PATIENCE)


def test_def_servicers() -> None:
    class Sync(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
        def SayHello(self, request: Any, context: Any) -> Any:
            if request.name == "slow":
                time.sleep(0.05)
            if request.name == "abort":
                context.send_initial_metadata((("a", "b"),))
                context.abort(grpc.StatusCode.NOT_FOUND, "gone")
            return pb.HelloReply(message=threading.current_thread().name)

    app = App()
    pb_grpc.add_GreeterServicer_to_server(Sync(), app.grpc)
    with serving(app) as client, grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        stub = pb_grpc.GreeterStub(channel)
        calls = [stub.SayHello.future(hello("slow"), timeout=PATIENCE) for _ in range(4)]
        assert all(call.result().message for call in calls)
        error = failure(lambda: stub.SayHello(hello("abort"), timeout=PATIENCE))
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "gone")


def test_decorated_classes() -> None:
    app = App()

    @app.grpc.service("greeter.Greeter")
    class Greeter:
        async def SayHello(self, request: Any, context: ServicerContext) -> Any:
            return pb.HelloReply(message=request.name)

    with serving(app) as client, grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        assert pb_grpc.GreeterStub(channel).SayHello(hello("you"), timeout=PATIENCE).message == "you"
