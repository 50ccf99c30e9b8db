"""One unary call: what the engine adds to handler and protobuf.

``test_handler`` is the work that any server has: parse, call, serialise. The others do the same behind an exchange in
memory, and behind an HTTP/2 connection whose input is at hand (a hundred calls in one read, without a socket).
"""

import asyncio
import struct
from collections.abc import Iterator
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


FIELDS = [(b":path", PATH), (b":authority", b"localhost:8000"), *HEADERS]
BLOCK = bytes([0x83, 0x86]) + b"".join(literal(name, value) for name, value in FIELDS)


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
    state = LoopState(loop)
    connection = AcceptedConnection(state, Service(app.build(), OnePort()))
    sink = Sink()
    connection.connection_made(cast(Any, sink))
    head, data = h2_frame(1, 4, 0, BLOCK), h2_frame(0, 1, 0, frame(REQUEST))
    next_stream = iter(range(1, 1 << 31, 2))

    def receive(what: bytes) -> None:
        connection.get_buffer(-1)[: len(what)] = what
        connection.buffer_updated(len(what))

    def batch() -> tuple[tuple[bytes], dict[str, Any]]:
        calls = []
        for _ in range(BATCH):
            stream = next(next_stream).to_bytes(4, "big")
            calls += [head[:5], stream, BLOCK, data[:5], stream, data[9:]]
        return (b"".join(calls),), {}

    huge = struct.pack(">HI", 4, 0x7FFFFFFF)
    receive(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, huge) + h2_frame(8, 0, 0, struct.pack(">I", 1 << 30))
    )
    for _ in range(3):
        # The first handlers come to their end in Tasks, which then wait for the next ones.
        receive(batch()[0][0])
        loop.run_until_complete(asyncio.sleep(0.01))
    benchmark.extra_info["items"] = BATCH
    benchmark.pedantic(receive, setup=batch, rounds=200, warmup_rounds=5)
    # All of the last batch were answered, in one write.
    assert sink.latest.count(REPLY) == BATCH
    assert state.counters["requests_active"] == 0
    connection.connection_lost(None)
    state.close()
