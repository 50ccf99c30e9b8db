"""The server under test of connectconformance: ``python -m tests.conformance.connect_server PROTOS``.

Reads what it shall be from standard input, serves ConformanceService as its description in service.proto says, and
tells where; one message each, with its length in four bytes before it. PROTOS is the folder of protoc's output.
"""

import asyncio
import importlib
import signal
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from fastnet import App
from fastnet.grpc import ServicerContext
from tests.loops import new_loop

sys.path.insert(0, sys.argv[1])

service_pb2 = importlib.import_module("connectrpc.conformance.v1.service_pb2")
server_compat_pb2 = importlib.import_module("connectrpc.conformance.v1.server_compat_pb2")
Status: Any = importlib.import_module("status_pb2").Status

SERVICE = "connectrpc.conformance.v1.ConformanceService"
DETAILS = "grpc-status-details-bin"
Pairs = tuple[tuple[str, str | bytes], ...]


def pairs(headers: Iterable[Any]) -> Pairs:
    """Metadata of the messages that ask for it."""
    return tuple((header.name.lower(), value) for header in headers for value in header.value)


def packed(message: Any) -> AnyMessage:
    found = AnyMessage()
    found.Pack(message)
    return found


def request_info(context: ServicerContext, requests: list[Any]) -> Any:
    """What was seen of a call: its metadata, its deadline, its messages."""
    info = service_pb2.ConformancePayload.RequestInfo(requests=map(packed, requests))
    fields: dict[str, list[str]] = {}
    for key, value in context.invocation_metadata():
        # Binary values are told as they were sent.
        text = b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value
        fields.setdefault(key, []).append(text)
    for key, values in fields.items():
        info.request_headers.add(name=key, value=values)
    if (left := context.time_remaining()) is not None:
        info.timeout_ms = int(left * 1000)
    return info


async def fail(context: ServicerContext, error: Any, trailers: Pairs, info: Any | None) -> None:
    """End the call as ``error`` says; ``info`` joins its details. Raises what ends a handler."""
    details = [*error.details, *([] if info is None else [packed(info)])]
    if details:
        status = Status(code=error.code, message=error.message, details=details)
        trailers = (*trailers, (DETAILS, status.SerializeToString()))
    codes = {code.value[0]: code for code in grpc.StatusCode}
    await context.abort(codes[error.code], error.message, trailers)


def compress(context: ServicerContext) -> None:
    """Compress the answer, in the way that the call takes of those that are not the most usual one, if it can be."""
    names = ("grpc-accept-encoding", "connect-accept-encoding", "accept-encoding")
    taken = next((value for name in names if (value := context.headers.get(name)) is not None), "")
    context.set_compression(grpc.Compression.Deflate if "deflate" in taken else grpc.Compression.Gzip)


class Conformance:
    async def Unary(self, request: Any, context: ServicerContext) -> Any:
        return service_pb2.UnaryResponse(payload=await self._one(request.response_definition, [request], context))

    async def IdempotentUnary(self, request: Any, context: ServicerContext) -> Any:
        payload = await self._one(request.response_definition, [request], context)
        return service_pb2.IdempotentUnaryResponse(payload=payload)

    async def ClientStream(self, requests: AsyncIterator[Any], context: ServicerContext) -> Any:
        seen = [request async for request in requests]
        definition = seen[0].response_definition if seen else service_pb2.UnaryResponseDefinition()
        return service_pb2.ClientStreamResponse(payload=await self._one(definition, seen, context))

    async def _one(self, definition: Any, requests: list[Any], context: ServicerContext) -> Any:
        """The payload of a single answer."""
        compress(context)
        if definition.response_headers:
            await context.send_initial_metadata(pairs(definition.response_headers))
        trailers = pairs(definition.response_trailers)
        context.set_trailing_metadata(trailers)
        await asyncio.sleep(definition.response_delay_ms / 1000)
        info = request_info(context, requests)
        if definition.HasField("error"):
            await fail(context, definition.error, trailers, info)
        return service_pb2.ConformancePayload(data=definition.response_data, request_info=info)

    async def ServerStream(self, request: Any, context: ServicerContext) -> AsyncIterator[Any]:
        definition = request.response_definition
        await self._begin(definition, context)
        for number, data in enumerate(definition.response_data):
            payload = service_pb2.ConformancePayload(data=data)
            if number == 0:
                payload.request_info.CopyFrom(request_info(context, [request]))
            await asyncio.sleep(definition.response_delay_ms / 1000)
            yield service_pb2.ServerStreamResponse(payload=payload)
        await self._end(definition, [request], context)

    async def BidiStream(self, requests: AsyncIterator[Any], context: ServicerContext) -> AsyncIterator[Any]:
        definition = service_pb2.StreamResponseDefinition()
        delay, full_duplex, sent = 0.0, False, 0
        seen: list[Any] = []
        first = True
        async for request in requests:
            seen.append(request)
            if first:
                first = False
                definition, full_duplex = request.response_definition, request.full_duplex
                delay = definition.response_delay_ms / 1000
                if full_duplex:
                    await self._begin(definition, context)
            if full_duplex:
                if sent == len(definition.response_data):
                    break
                # After the first answer only the messages since the last one are told.
                info = (
                    service_pb2.ConformancePayload.RequestInfo(requests=map(packed, seen))
                    if sent
                    else request_info(context, seen)
                )
                payload = service_pb2.ConformancePayload(data=definition.response_data[sent], request_info=info)
                await asyncio.sleep(delay)
                yield service_pb2.BidiStreamResponse(payload=payload)
                sent += 1
                seen = []
        if not full_duplex:
            await self._begin(definition, context)
        while sent < len(definition.response_data):
            payload = service_pb2.ConformancePayload(data=definition.response_data[sent])
            if sent == 0:
                payload.request_info.CopyFrom(request_info(context, seen))
            await asyncio.sleep(delay)
            yield service_pb2.BidiStreamResponse(payload=payload)
            sent += 1
        await self._end(definition, seen, context)

    async def _begin(self, definition: Any, context: ServicerContext) -> None:
        """Send the head at once where messages follow, so that it comes before their delay."""
        compress(context)
        context.set_trailing_metadata(pairs(definition.response_trailers))
        if definition.response_data or definition.response_headers:
            await context.send_initial_metadata(pairs(definition.response_headers))

    async def _end(self, definition: Any, requests: list[Any], context: ServicerContext) -> None:
        if definition.HasField("error"):
            info = None if definition.response_data else request_info(context, requests)
            await fail(context, definition.error, pairs(definition.response_trailers), info)


def read_message(kind: Any) -> Any:
    size = int.from_bytes(sys.stdin.buffer.read(4), "big")
    return kind.FromString(sys.stdin.buffer.read(size))


def write_message(message: Any) -> None:
    data = message.SerializeToString()
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


def tls_settings(wanted: Any, folder: Path) -> dict[str, str]:
    """Settings of the server, with the files they name."""
    if not wanted.use_tls:
        return {}
    contents = {"tls_cert": wanted.server_creds.cert, "tls_key": wanted.server_creds.key}
    settings = {}
    if wanted.client_tls_cert:
        contents["tls_client_ca"] = wanted.client_tls_cert
        settings["tls_client_verify"] = "required"
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        settings[name] = str(folder / name)
    return settings


async def main() -> None:
    wanted = read_message(server_compat_pb2.ServerCompatRequest)
    app = App()
    limits = {"max_message": wanted.message_receive_limit} if wanted.message_receive_limit else {}
    app.grpc.add(Conformance(), SERVICE, **limits)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with tempfile.TemporaryDirectory() as folder:
        async with app.serve(port=0, **tls_settings(wanted, Path(folder))) as server:
            told = server_compat_pb2.ServerCompatResponse(host="127.0.0.1", port=server.port)
            if wanted.use_tls:
                told.pem_cert = wanted.server_creds.cert
            write_message(told)
            await stop.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
