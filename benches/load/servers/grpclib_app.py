"""grpclib on uvloop: ``python grpclib_app.py PORT``. The mapping is what its plugin of protoc would write."""

import asyncio
import sys
from typing import Any

import greeter_pb2 as pb
import uvloop
from grpclib.const import Cardinality, Handler
from grpclib.server import Server

MESSAGES = 1000


class Greeter:
    async def say_hello(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(pb.HelloReply(message=f"Hello, {request.name}!"))

    async def say_hello_stream(self, stream: Any) -> None:
        request = await stream.recv_message()
        for number in range(MESSAGES):
            await stream.send_message(pb.HelloReply(message=f"{number}: {request.name}"))

    def __mapping__(self) -> dict[str, Handler]:
        types = (pb.HelloRequest, pb.HelloReply)
        return {
            "/greeter.Greeter/SayHello": Handler(self.say_hello, Cardinality.UNARY_UNARY, *types),
            "/greeter.Greeter/SayHelloStream": Handler(self.say_hello_stream, Cardinality.UNARY_STREAM, *types),
        }


async def main(port: int) -> None:
    server = Server([Greeter()], loop=asyncio.get_running_loop())
    await server.start("127.0.0.1", port)
    await server.wait_closed()


uvloop.run(main(int(sys.argv[1])))
