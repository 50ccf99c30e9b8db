"""Raw ASGI: the least a server of this interface can be asked to do. Served by uvicorn and Granian."""

from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

CHUNK = bytes(65536)
CHUNKS = 15259  # 1 GB, rounded up to whole chunks

HELLO_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")],
}
HELLO_BODY = {"type": "http.response.body", "body": b"Hello, World!"}
NOT_FOUND = {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]}
NOTHING = {"type": "http.response.body", "body": b""}
STREAM_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/octet-stream")],
}
STREAM_PART = {"type": "http.response.body", "body": CHUNK, "more_body": True}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["path"]
    if path == "/":
        await send(HELLO_HEAD)
        await send(HELLO_BODY)
    elif path == "/stream":
        await send(STREAM_HEAD)
        for _ in range(CHUNKS):
            await send(STREAM_PART)
        await send(NOTHING)
    else:
        await send(NOT_FOUND)
        await send(NOTHING)
