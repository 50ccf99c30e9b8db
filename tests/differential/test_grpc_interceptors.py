"""The same interceptors of grpcio's around the same servicer, on grpcio's own server and on ours: one outcome."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from fastnet import App
from tests.fastnet.serving import serving
from tests.protos import greeter

pb, pb_grpc = greeter()

PATIENCE = 20

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Servicer(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    async def SayHello(self, request: Any, context: Any) -> Any:
        if request.name == "abort":
            await context.abort(grpc.StatusCode.ABORTED, "by the handler")
        return pb.HelloReply(message=f"{request.name} {who.get()}")

    async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for i in range(3):
            yield pb.HelloReply(message=f"{i} {request.name} {who.get()}")

    async def RecordGreetings(self, requests: Any, context: Any) -> Any:
        return pb.GreetingSummary(summary=" ".join([request.name async for request in requests]))

    async def Chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            yield message


# Each test has interceptors of its own, on each of two servers: what they do, as functions of (continuation, details).
Behaviour = Callable[[Any, Any], Any]


class Interceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return await self._behaviour(continuation, handler_call_details)


async def passing(continuation: Any, details: Any) -> Any:
    return await continuation(details)


async def nothing(continuation: Any, details: Any) -> Any:
    await continuation(details)


async def raising(continuation: Any, details: Any) -> Any:
    raise ValueError("secret")


async def naming(continuation: Any, details: Any) -> Any:
    who.set(f"{who.get()}+{details.method.rpartition('/')[2]}")
    return await continuation(details)


async def by_metadata(continuation: Any, details: Any) -> Any:
    """grpcio's example of authentication: what refuses is unary, whatever the method is."""

    async def abort(request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid signature", (("why", "so"),))

    if ("token", "secret") in tuple(details.invocation_metadata):
        return await continuation(details)
    return grpc.unary_unary_rpc_method_handler(abort)


async def by_metadata_in_a_thread(continuation: Any, details: Any) -> Any:
    def abort(request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid signature")

    if ("token", "secret") in tuple(details.invocation_metadata):
        return await continuation(details)
    return grpc.unary_unary_rpc_method_handler(abort)


async def wrapping(continuation: Any, details: Any) -> Any:
    """Wraps whatever is there, of each kind."""
    handler = await continuation(details)
    if handler is None:
        return None

    async def unary_unary(request: Any, context: Any) -> Any:
        context.set_trailing_metadata((("wrapped", "1"),))
        request.name += "!"
        return await handler.unary_unary(request, context)

    async def unary_stream(request: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("wrapped", "1"),))
        async for message in handler.unary_stream(request, context):
            message.message += "?"
            yield message

    async def stream_unary(requests: Any, context: Any) -> Any:
        async def louder() -> AsyncIterator[Any]:
            async for request in requests:
                request.name = request.name.upper()
                yield request

        return await handler.stream_unary(louder(), context)

    async def stream_stream(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in handler.stream_stream(requests, context):
            yield message
        context.set_code(grpc.StatusCode.DATA_LOSS)

    wrappers = {
        "unary_unary": unary_unary,
        "unary_stream": unary_stream,
        "stream_unary": stream_unary,
        "stream_stream": stream_stream,
    }
    return handler._replace(**{kind: wrapper for kind, wrapper in wrappers.items() if getattr(handler, kind)})


async def in_bytes(continuation: Any, details: Any) -> Any:
    """Other types of messages than the method has."""

    async def echo(request: bytes, context: Any) -> bytes:
        return request

    handler = await continuation(details)
    if handler is not None and handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(echo)
    return handler


async def renaming(continuation: Any, details: Any) -> Any:
    # grpcio's server takes instances of its own class only.
    renamed = type(details)(details.method.replace("/old.", "/greeter."), details.invocation_metadata)
    return await continuation(renamed)


async def serving_the_unknown(continuation: Any, details: Any) -> Any:
    async def echo(requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    return await continuation(details) or grpc.stream_stream_rpc_method_handler(echo)


CHAINS: dict[str, list[Behaviour]] = {
    "none": [],
    "passing": [passing, passing],
    "nothing": [nothing],
    "raising": [passing, raising],
    "naming": [naming, passing, naming],
    "by metadata": [by_metadata],
    "by metadata in a thread": [passing, by_metadata_in_a_thread],
    "wrapping": [wrapping],
    "wrapping twice": [wrapping, naming, wrapping],
    "in bytes": [passing, in_bytes],
    "renaming": [renaming, wrapping],
    "serving the unknown": [serving_the_unknown, passing],
}


@contextmanager
def grpcio_serving(interceptors: list[Any]) -> Iterator[int]:
    """grpcio's asynchronous server on a loop in a thread; its port."""
    ready = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        server = grpc.aio.server(interceptors=interceptors)
        pb_grpc.add_GreeterServicer_to_server(Servicer(), server)
        state["port"] = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        state["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
        ready.set()
        await stop.wait()
        await server.stop(None)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield int(state["port"])
    finally:
        state["stop"]()
        thread.join(PATIENCE)


@pytest.fixture(scope="module", params=CHAINS)
def channels(request: pytest.FixtureRequest) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    behaviours = CHAINS[request.param]
    app = App(grpc_interceptors=[Interceptor(one) for one in behaviours])
    pb_grpc.add_GreeterServicer_to_server(Servicer(), app.grpc)
    with (
        grpcio_serving([Interceptor(one) for one in behaviours]) as port,
        serving(app) as client,
        grpc.insecure_channel(f"127.0.0.1:{port}") as theirs,
        grpc.insecure_channel(f"127.0.0.1:{client.port}") as ours,
    ):
        yield theirs, ours


def outcome(channel: grpc.Channel, path: str, requests: list[Any], **options: Any) -> dict[str, Any]:
    """All that a client sees. ``date`` is HTTP's, and of ours alone; texts of exceptions are grpcio's own."""
    encoded = iter([request.SerializeToString() for request in requests])
    call = channel.stream_stream(path)(encoded, timeout=PATIENCE, **options)
    messages = []
    try:
        for message in call:
            messages.append(message)  # noqa: PERF402 - what came in front of an error counts
    except grpc.RpcError:
        pass
    return {
        "messages": messages,
        "code": call.code(),
        "details": None if call.code() == grpc.StatusCode.UNKNOWN else call.details(),
        "initial": sorted((key, value) for key, value in call.initial_metadata() if key != "date"),
        "trailing": sorted((key, value) for key, value in call.trailing_metadata()),
    }


HELLO, CHAT = [pb.HelloRequest(name="Ada")], [pb.ChatMessage(content="1"), pb.ChatMessage(content="2")]
CALLS = {
    "SayHello": ("/greeter.Greeter/SayHello", HELLO),
    "abort": ("/greeter.Greeter/SayHello", [pb.HelloRequest(name="abort")]),
    "SayHelloStream": ("/greeter.Greeter/SayHelloStream", HELLO),
    "RecordGreetings": ("/greeter.Greeter/RecordGreetings", HELLO * 3),
    "Chat": ("/greeter.Greeter/Chat", CHAT),
    "unknown method": ("/greeter.Greeter/Nothing", HELLO),
    "unknown service": ("/no.Such/Nothing", HELLO),
    "old name": ("/old.Greeter/SayHello", HELLO),
    "old name of a stream": ("/old.Greeter/Chat", CHAT),
}


@pytest.mark.parametrize("metadata", [(), (("token", "secret"),)], ids=["without", "with"])
@pytest.mark.parametrize("name", CALLS)
def test_clients_cannot_tell(
    channels: tuple[grpc.Channel, grpc.Channel], name: str, metadata: tuple[tuple[str, str], ...]
) -> None:
    theirs, ours = (outcome(channel, *CALLS[name], metadata=metadata) for channel in channels)
    assert ours == theirs
