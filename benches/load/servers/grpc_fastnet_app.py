"""fastnet with a servicer as protoc's code wants it; BENCH_ROUTES further methods."""

import os
from collections.abc import AsyncIterator

import greeter_pb2 as pb
import greeter_pb2_grpc as pb_grpc
import grpc

from benches.load.scenarios import MESSAGES
from fastnet import App
from fastnet.grpc import ServicerContext

app = App()


class Greeter(pb_grpc.GreeterServicer):
    async def SayHello(self, request: pb.HelloRequest, context: ServicerContext) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def SayHelloStream(self, request: pb.HelloRequest, context: ServicerContext) -> AsyncIterator[pb.HelloReply]:
        for number in range(MESSAGES):
            yield pb.HelloReply(message=f"{number}: {request.name}")


def _add_methods(servicer: Greeter, count: int) -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.SayHello,
        request_deserializer=pb.HelloRequest.FromString,
        response_serializer=pb.HelloReply.SerializeToString,
    )
    app.grpc.add_registered_method_handlers("bench.Many", {f"Method{number}": handler for number in range(count)})


greeter = Greeter()
pb_grpc.add_GreeterServicer_to_server(greeter, app.grpc)
_add_methods(greeter, int(os.environ.get("BENCH_ROUTES", "0")))
