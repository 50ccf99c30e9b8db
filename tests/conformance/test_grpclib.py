"""grpclib's client, which shares no code with grpcio: calls of each kind, metadata, deadlines and cancellation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpclib.client import Channel, StreamStreamMethod, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from fastnet import App
from fastnet.grpc import ServicerContext
from tests.conformance.interop_service import TestService, payload, pb, pb_grpc
from tests.fastnet.serving import serving
from tests.loops import run

PATIENCE = 20
LARGE, ANSWER = 271828, 314159
SERVICE = "/grpc.testing.TestService"


class Service(TestService):
    """Waits where the payload says so, and tells what time it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: list[float | None] = []

    async def UnaryCall(self, request: Any, context: ServicerContext) -> Any:
        if request.payload.body != b"wait":
            return await super().UnaryCall(request, context)
        self.deadlines.append(context.time_remaining())
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def port(service: Service) -> Iterator[int]:
    app = App()
    pb_grpc.add_TestServiceServicer_to_server(service, app.grpc)
    with serving(app) as client:
        yield client.port


class Stub:
    """What grpclib's plugin of protoc would write."""

    def __init__(self, channel: Channel) -> None:
        outputs = (pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse)
        inputs = (pb.StreamingInputCallRequest, pb.StreamingInputCallResponse)
        self.empty = UnaryUnaryMethod(channel, f"{SERVICE}/EmptyCall", pb.Empty, pb.Empty)
        self.unary = UnaryUnaryMethod(channel, f"{SERVICE}/UnaryCall", pb.SimpleRequest, pb.SimpleResponse)
        self.unimplemented = UnaryUnaryMethod(channel, f"{SERVICE}/UnimplementedCall", pb.Empty, pb.Empty)
        self.output = UnaryStreamMethod(channel, f"{SERVICE}/StreamingOutputCall", *outputs)
        self.input = StreamUnaryMethod(channel, f"{SERVICE}/StreamingInputCall", *inputs)
        self.duplex = StreamStreamMethod(channel, f"{SERVICE}/FullDuplexCall", *outputs)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Stub]:
    channel = Channel("127.0.0.1", port)
    try:
        async with asyncio.timeout(2 * PATIENCE):
            yield Stub(channel)
    finally:
        channel.close()


async def empty(stub: Stub) -> None:
    assert await stub.empty(pb.Empty(), timeout=PATIENCE) == pb.Empty()


async def large(stub: Stub) -> None:
    request = pb.SimpleRequest(response_size=ANSWER, payload=payload(LARGE))
    assert (await stub.unary(request, timeout=PATIENCE)).payload.body == bytes(ANSWER)


async def many(stub: Stub) -> None:
    # grpclib opens streams before it has read how many the server allows; those above are refused (RFC 9113, 8.7).
    await empty(stub)
    request = pb.SimpleRequest(response_size=1000, payload=payload(1000))
    replies = await asyncio.gather(*(stub.unary(request, timeout=PATIENCE) for _ in range(500)))
    assert {len(reply.payload.body) for reply in replies} == {1000}


async def metadata(stub: Stub) -> None:
    given: dict[str, str | bytes] = {
        "x-grpc-test-echo-initial": "text",
        "x-grpc-test-echo-trailing-bin": b"\xab\x00\xff",
    }
    async with stub.unary.open(metadata=given, timeout=PATIENCE) as stream:
        await stream.send_message(pb.SimpleRequest(), end=True)
        assert await stream.recv_message() == pb.SimpleResponse(payload=payload(0))
        await stream.recv_trailing_metadata()
    assert stream.initial_metadata is not None
    assert stream.trailing_metadata is not None
    assert stream.initial_metadata["x-grpc-test-echo-initial"] == "text"
    assert stream.trailing_metadata["x-grpc-test-echo-trailing-bin"] == b"\xab\x00\xff"


async def status(stub: Stub) -> None:
    echoed = pb.EchoStatus(code=9, message="no: \u263a %")
    with pytest.raises(GRPCError) as caught:
        await stub.unary(pb.SimpleRequest(response_status=echoed), timeout=PATIENCE)
    assert (caught.value.status, caught.value.message) == (Status.FAILED_PRECONDITION, "no: \u263a %")
    with pytest.raises(GRPCError) as caught:
        await stub.unimplemented(pb.Empty(), timeout=PATIENCE)
    assert caught.value.status is Status.UNIMPLEMENTED


async def server_stream(stub: Stub) -> None:
    parameters = [pb.ResponseParameters(size=size) for size in (31415, 9, 2653, 58979)]
    replies = await stub.output(pb.StreamingOutputCallRequest(response_parameters=parameters), timeout=PATIENCE)
    assert [len(reply.payload.body) for reply in replies] == [31415, 9, 2653, 58979]


async def client_stream(stub: Stub) -> None:
    requests = [pb.StreamingInputCallRequest(payload=payload(size)) for size in (27182, 8, 1828, 45904)]
    assert (await stub.input(requests, timeout=PATIENCE)).aggregated_payload_size == 74922


async def ping_pong(stub: Stub) -> None:
    async with stub.duplex.open(timeout=PATIENCE) as stream:
        for size in (31415, 9, 58979):
            parameters = [pb.ResponseParameters(size=size)]
            await stream.send_message(pb.StreamingOutputCallRequest(response_parameters=parameters))
            reply = await stream.recv_message()
            assert reply is not None
            assert len(reply.payload.body) == size
        await stream.end()
        assert await stream.recv_message() is None


@pytest.mark.parametrize(
    "talk",
    [
        empty,
        large,
        many,
        metadata,
        status,
        server_stream,
        client_stream,
        ping_pong,
    ],
    ids=lambda talk: talk.__name__,
)
def test_talks(port: int, talk: Callable[[Stub], Awaitable[None]]) -> None:
    async def main() -> None:
        async with connected(port) as stub:
            await talk(stub)

    run(main())


WAITING = pb.SimpleRequest(payload=pb.Payload(body=b"wait"))


async def until_cancelled(service: Service) -> None:
    async with asyncio.timeout(PATIENCE):
        while not service.cancelled:  # noqa: ASYNC110 - the handler is in another thread
            await asyncio.sleep(0.01)


def test_deadline(port: int, service: Service) -> None:
    async def main() -> None:
        async with connected(port) as stub:
            with pytest.raises((GRPCError, asyncio.TimeoutError)):
                await stub.unary(WAITING, timeout=0.5)
            await until_cancelled(service)
            await empty(stub)

    run(main())
    (left,) = service.deadlines
    assert left is not None
    assert 0 < left <= 0.5


def test_cancellation(port: int, service: Service) -> None:
    async def main() -> None:
        async with connected(port) as stub:
            async with stub.unary.open() as stream:
                await stream.send_message(WAITING, end=True)
                while not service.deadlines:  # noqa: ASYNC110 - the handler is in another thread
                    await asyncio.sleep(0.01)
                await stream.cancel()
            await until_cancelled(service)
            await empty(stub)

    run(main())
    assert service.deadlines == [None]


def test_connection_that_ends(port: int, service: Service) -> None:
    async def main() -> None:
        async with connected(port) as stub:
            call = asyncio.ensure_future(stub.unary(WAITING))
            while not service.deadlines:  # noqa: ASYNC110 - the handler is in another thread
                await asyncio.sleep(0.01)
        with pytest.raises((StreamTerminatedError, GRPCError, asyncio.CancelledError)):
            await call
        await until_cancelled(service)

    run(main())
