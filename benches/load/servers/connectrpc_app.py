"""connectrpc's ASGI application. The endpoints are what its plugin of protoc would write."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import greeter_pb2 as pb
from connectrpc.compat import google_protobuf_codecs
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint

MESSAGES = 1000


class Greeter:
    async def say_hello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def say_hello_stream(self, request: pb.HelloRequest, context: Any) -> AsyncIterator[pb.HelloReply]:
        for number in range(MESSAGES):
            yield pb.HelloReply(message=f"{number}: {request.name}")


def _info(name: str, kind: StreamType) -> MethodInfo[pb.HelloRequest, pb.HelloReply]:
    return MethodInfo(
        name=name,
        service_name="greeter.Greeter",
        input=pb.HelloRequest,
        output=pb.HelloReply,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=kind,
    )


class Application(ConnectASGIApplication[Greeter]):
    @property
    def path(self) -> str:
        return "/greeter.Greeter"


def _endpoints(greeter: Greeter) -> Mapping[str, Endpoint[Any, Any]]:
    return {
        "/greeter.Greeter/SayHello": Endpoint.unary(_info("SayHello", StreamType.UNARY), greeter.say_hello),
        "/greeter.Greeter/SayHelloStream": Endpoint.server_stream(
            _info("SayHelloStream", StreamType.SERVER_STREAM), greeter.say_hello_stream
        ),
    }


app = Application(service=Greeter(), endpoints=_endpoints, codecs=google_protobuf_codecs())
