"""grpcio's synchronous server: ``python grpc_sync_app.py PORT``."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import greeter_pb2 as pb
import greeter_pb2_grpc as pb_grpc
import grpc

MESSAGES = 1000
THREADS = 8


class Greeter(pb_grpc.GreeterServicer):
    def SayHello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello, {request.name}!")

    def SayHelloStream(self, request: pb.HelloRequest, context: Any) -> Iterator[pb.HelloReply]:
        for number in range(MESSAGES):
            yield pb.HelloReply(message=f"{number}: {request.name}")


server = grpc.server(ThreadPoolExecutor(THREADS))
pb_grpc.add_GreeterServicer_to_server(Greeter(), server)
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
