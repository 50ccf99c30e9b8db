"""grpc.testing.TestService, as gRPC's interop test descriptions describe a server's features."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from tests.protos import compiled

pb, pb_grpc = compiled(Path(__file__).with_name("interop.proto"))

ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"


def payload(size: int) -> Any:
    return pb.Payload(body=bytes(size))


async def echo_metadata(context: Any) -> None:
    """The feature "Echo Metadata"."""
    given = dict(context.invocation_metadata())
    if ECHO_INITIAL in given:
        await context.send_initial_metadata(((ECHO_INITIAL, given[ECHO_INITIAL]),))
    if ECHO_TRAILING in given:
        context.set_trailing_metadata(((ECHO_TRAILING, given[ECHO_TRAILING]),))


async def echo_status(request: Any, context: Any) -> None:
    """The feature "Echo Status"."""
    if request.response_status.code:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        await context.abort(codes[request.response_status.code], request.response_status.message)


async def check_compressed(request: Any, context: Any) -> None:
    """The feature "CompressedRequest": a client that names no encoding cannot have compressed anything."""
    if request.HasField("expect_compressed"):
        compressed = context.headers.get("grpc-encoding", "identity") != "identity"
        if request.expect_compressed.value and not compressed:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is not compressed")


class TestService(pb_grpc.TestServiceServicer):  # type: ignore[misc, name-defined]
    """Unmodified: it runs behind grpcio's own server too. ``cancelled`` counts handlers that were."""

    __test__ = False

    def __init__(self) -> None:
        self.cancelled = 0

    async def EmptyCall(self, request: Any, context: Any) -> Any:
        return pb.Empty()

    async def UnaryCall(self, request: Any, context: Any) -> Any:
        await check_compressed(request, context)
        if request.HasField("response_compressed") and request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        await echo_metadata(context)
        await echo_status(request, context)
        return pb.SimpleResponse(payload=payload(request.response_size))

    async def StreamingOutputCall(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if any(parameters.compressed.value for parameters in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        for parameters in request.response_parameters:
            await asyncio.sleep(parameters.interval_us / 1e6)
            if not parameters.compressed.value:
                context.disable_next_message_compression()
            yield pb.StreamingOutputCallResponse(payload=payload(parameters.size))
        await echo_status(request, context)

    async def StreamingInputCall(self, requests: AsyncIterator[Any], context: Any) -> Any:
        total = 0
        try:
            async for request in requests:
                await check_compressed(request, context)
                total += len(request.payload.body)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return pb.StreamingInputCallResponse(aggregated_payload_size=total)

    async def FullDuplexCall(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await echo_metadata(context)
        try:
            async for request in requests:
                await echo_status(request, context)
                for parameters in request.response_parameters:
                    await asyncio.sleep(parameters.interval_us / 1e6)
                    yield pb.StreamingOutputCallResponse(payload=payload(parameters.size))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    # UnimplementedCall stays what the generated servicer makes of it.
