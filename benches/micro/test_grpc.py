"""Calls: what the engine adds to handler and protobuf.

``test_handler`` is the work that any server has: parse, call, serialise. The others do the same behind an exchange in
memory, and behind an HTTP/2 connection whose input is at hand (a hundred calls in one read, without a socket). Streams
go through such a connection too; what is told of them is one message.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import grpc
import pytest

from benches.micro.sink import Sink
from fastnet import App
from fastnet.grpc import GrpcServer, InterceptedCall, Next
from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.memory import MemoryConnection, MemoryExchange
from fastnet_ext.grpc.framing import frame
from fastnet_ext.net.accepted import AcceptedConnection
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.net.protocols import OnePort
from fastnet_ext.net.service import Service
from tests.protos import greeter

pb, _ = greeter()

BATCH = 100
MESSAGES = 1000
TURNS = 10_000
"""Of the loop, after which calls that are under way will never end."""
PATH = b"/greeter.Greeter/SayHello"
REQUEST = pb.HelloRequest(name="World").SerializeToString()
REPLY = pb.HelloReply(message="Hello, World!").SerializeToString()
HEADERS = [(b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"user-agent", b"grpc-python/1.68.0")]


async def say_hello(request: Any, context: Any) -> Any:
    return pb.HelloReply(message=f"Hello, {request.name}!")


def quick(request: Any, context: Any) -> Any:
    return pb.HelloReply(message=f"Hello, {request.name}!")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def route_of(handler: Any, **options: Any) -> Route:
    server = GrpcServer(App())
    server.method(PATH.decode(), **options)(handler)
    return server.entries()[0][2]


def test_handler(benchmark: Any) -> None:
    """Without a server: the floor."""

    def run() -> bytes:
        coroutine = say_hello(pb.HelloRequest.FromString(REQUEST), None)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return bytes(stop.value.SerializeToString())
        raise AssertionError

    assert pb.HelloReply.FromString(benchmark(run)).message == "Hello, World!"


def test_exchange(benchmark: Any, loop: asyncio.AbstractEventLoop) -> None:
    """A quick ``def`` handler behind an exchange in memory; making the exchange counts too."""
    connection = MemoryConnection(LoopState(loop).local)
    route = route_of(quick, inline=True)
    body = frame(REQUEST)

    def run() -> MemoryExchange:
        x = MemoryExchange("POST", "/", HEADERS, body, route=route, connection=connection, version=20)
        x.run()
        return x

    assert benchmark(run).answer_trailers == [(b"grpc-status", b"0")]


def test_making_the_exchange(benchmark: Any, loop: asyncio.AbstractEventLoop) -> None:
    """What of ``test_exchange`` is not ours."""
    connection = MemoryConnection(LoopState(loop).local)
    route = route_of(quick, inline=True)
    body = frame(REQUEST)
    benchmark(lambda: MemoryExchange("POST", "/", HEADERS, body, route=route, connection=connection, version=20))


def h2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing and without Huffman coding (RFC 7541, 6.2.2); both shorter than 127 bytes."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def block(path: bytes) -> bytes:
    """The header block of a call."""
    fields = [(b":path", path), (b":authority", b"localhost:8000"), *HEADERS]
    return bytes([0x83, 0x86]) + b"".join(literal(name, value) for name, value in fields)


class Peer:
    """The client's end of a connection to an application: its settings are sent, its windows as wide as can be."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.sink = Sink()
        self.state = LoopState(loop)
        self.connection = AcceptedConnection(self.state, Service(app.build(), OnePort()))
        self.connection.connection_made(cast(Any, self.sink))
        self.next_stream = iter(range(1, 1 << 31, 2))
        streams, connection = struct.pack(">HI", 4, 0x7FFFFFFF), struct.pack(">I", 1 << 30)
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, streams) + h2_frame(8, 0, 0, connection))

    def send(self, what: bytes) -> None:
        self.connection.get_buffer(-1)[: len(what)] = what
        self.connection.buffer_updated(len(what))

    def send_to_end(self, what: bytes) -> None:
        """Send, and let the loop turn until all calls are answered."""
        self.send(what)
        for _ in range(TURNS):
            if self.state.counters["requests_active"] == 0:
                return
            self.loop.run_until_complete(asyncio.sleep(0))
        raise AssertionError("the calls do not end")

    def close(self) -> None:
        self.connection.connection_lost(None)
        self.state.close()


async def passing(call: InterceptedCall, next: Next) -> Any:
    return await next(call)


class Passing(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return await continuation(handler_call_details)


INTERCEPTORS: dict[str, list[Any]] = {"intercepted": [passing], "intercepted-by-grpcio": [Passing()]}


@pytest.mark.parametrize("kind", ["async", "inline", *INTERCEPTORS])
def test_connection(benchmark: Any, loop: asyncio.AbstractEventLoop, kind: str) -> None:
    """A hundred calls of one read through an HTTP/2 connection, answered in one write."""
    app = App(grpc_interceptors=INTERCEPTORS.get(kind, ()))
    app.grpc.method(PATH.decode(), inline=kind == "inline")(quick if kind == "inline" else say_hello)
    peer = Peer(app, loop)
    head, data = h2_frame(1, 4, 0, block(PATH)), h2_frame(0, 1, 0, frame(REQUEST))

    def batch() -> tuple[tuple[bytes], dict[str, Any]]:
        calls = []
        for _ in range(BATCH):
            stream = next(peer.next_stream).to_bytes(4, "big")
            calls += [head[:5], stream, head[9:], data[:5], stream, data[9:]]
        return (b"".join(calls),), {}

    for _ in range(3):
        # The first handlers come to their end in Tasks, which then wait for the next ones.
        peer.send_to_end(batch()[0][0])
    benchmark.extra_info["items"] = BATCH
    benchmark.pedantic(peer.send, setup=batch, rounds=200, warmup_rounds=5)
    # All of the last batch were answered, in one write.
    assert peer.sink.latest.count(REPLY) == BATCH
    assert peer.state.counters["requests_active"] == 0
    peer.close()


async def many_hellos(request: Any, context: Any) -> AsyncIterator[Any]:
    for _ in range(MESSAGES):
        yield pb.HelloReply(message="Hello, World!")


async def record(requests: AsyncIterator[Any], context: Any) -> Any:
    count = 0
    async for _ in requests:
        count += 1
    return pb.GreetingSummary(count=count)


def test_server_stream(benchmark: Any, loop: asyncio.AbstractEventLoop) -> None:
    """A thousand messages of one answer; they leave in a few writes, between which the loop turns."""
    app = App()
    app.grpc.method("/greeter.Greeter/SayHelloStream")(many_hellos)
    peer = Peer(app, loop)
    head, message = block(b"/greeter.Greeter/SayHelloStream"), frame(REQUEST)

    def call() -> tuple[tuple[bytes], dict[str, Any]]:
        peer.sink.taken = 0
        stream = next(peer.next_stream)
        return (h2_frame(1, 4, stream, head) + h2_frame(0, 1, stream, message),), {}

    benchmark.extra_info["items"] = MESSAGES
    benchmark.pedantic(peer.send_to_end, setup=call, rounds=50, warmup_rounds=5)
    # `taken` is of the last call alone: its messages, each a frame, and less than that for head and trailers.
    size = len(h2_frame(0, 0, 1, frame(REPLY)))
    assert MESSAGES * size < peer.sink.taken < (MESSAGES + 10) * size
    peer.close()


def test_client_stream(benchmark: Any, loop: asyncio.AbstractEventLoop) -> None:
    """A thousand messages of one request, all in one read, each in a frame of its own."""
    app = App()
    app.grpc.method("/greeter.Greeter/RecordGreetings")(record)
    peer = Peer(app, loop)
    head, message = block(b"/greeter.Greeter/RecordGreetings"), frame(REQUEST)

    def call() -> tuple[tuple[bytes], dict[str, Any]]:
        stream = next(peer.next_stream)
        last = h2_frame(0, 1, stream, message)
        return (h2_frame(1, 4, stream, head) + h2_frame(0, 0, stream, message) * (MESSAGES - 1) + last,), {}

    benchmark.extra_info["items"] = MESSAGES
    benchmark.pedantic(peer.send_to_end, setup=call, rounds=50, warmup_rounds=5)
    assert pb.GreetingSummary(count=MESSAGES).SerializeToString() in peer.sink.latest
    peer.close()
