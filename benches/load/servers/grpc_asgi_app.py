"""gRPC framed by hand in raw ASGI: what a server of HTTP/2 with trailers can be made to do, and no more.

No deadlines, no metadata, no cancellation, no limits of messages.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import greeter_pb2 as pb

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MESSAGES = 1000
HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
END = {"type": "http.response.body", "body": b""}
OK = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}
UNIMPLEMENTED = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"12")]}


async def _request(receive: Receive) -> pb.HelloRequest:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return pb.HelloRequest.FromString(body[5:])


def _framed(text: str) -> bytes:
    message = pb.HelloReply(message=text).SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["path"]
    request = await _request(receive)
    await send(HEAD)
    if path == "/greeter.Greeter/SayHello":
        await send({"type": "http.response.body", "body": _framed(f"Hello, {request.name}!")})
        await send(OK)
    elif path == "/greeter.Greeter/SayHelloStream":
        for number in range(MESSAGES):
            body = _framed(f"{number}: {request.name}")
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send(END)
        await send(OK)
    else:
        await send(END)
        await send(UNIMPLEMENTED)
