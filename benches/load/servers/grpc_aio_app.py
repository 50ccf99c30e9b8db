"""grpcio's asynchronous server on uvloop: ``python grpc_aio_app.py PORT``; BENCH_ROUTES further methods."""

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import greeter_pb2 as pb
import greeter_pb2_grpc as pb_grpc
import grpc
import uvloop

MESSAGES = 1000


class Greeter(pb_grpc.GreeterServicer):
    async def SayHello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def SayHelloStream(self, request: pb.HelloRequest, context: Any) -> AsyncIterator[pb.HelloReply]:
        for number in range(MESSAGES):
            yield pb.HelloReply(message=f"{number}: {request.name}")


async def main(port: int, methods: int) -> None:
    server = grpc.aio.server()
    greeter = Greeter()
    pb_grpc.add_GreeterServicer_to_server(greeter, server)
    handler = grpc.unary_unary_rpc_method_handler(
        greeter.SayHello,
        request_deserializer=pb.HelloRequest.FromString,
        response_serializer=pb.HelloReply.SerializeToString,
    )
    server.add_registered_method_handlers("bench.Many", {f"Method{number}": handler for number in range(methods)})
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


uvloop.run(main(int(sys.argv[1]), int(os.environ.get("BENCH_ROUTES", "0"))))
