"""Raw ASGI: the least a server of this interface can be asked to do. Stands alone: each server has its own path."""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

CHUNK = bytes(65536)
CHUNKS = 15259  # 1 GB, rounded up to whole chunks
TEXT = (b"content-type", b"text/plain; charset=utf-8")
OCTETS = (b"content-type", b"application/octet-stream")

HELLO_HEAD = {"type": "http.response.start", "status": 200, "headers": [TEXT, (b"content-length", b"13")]}
HELLO_BODY = {"type": "http.response.body", "body": b"Hello, World!"}
NOT_FOUND = {"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]}
NOTHING = {"type": "http.response.body", "body": b""}
STREAM_HEAD = {"type": "http.response.start", "status": 200, "headers": [OCTETS]}
STREAM_PART = {"type": "http.response.body", "body": CHUNK, "more_body": True}
EVENTS_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
}
EVENT = {"type": "http.response.body", "body": b"data: " + b"." * 92 + b"\n\n", "more_body": True}
EVENTS = 1000


def _numbered(size: int) -> bytes:
    """As ``scenarios.numbered``."""
    blocks = (number.to_bytes(4, "big") + bytes(range(4, 256)) for number in range(-(-size // 256)))
    return b"".join(blocks)[:size]


BODIES = {f"/bytes/{size}": _numbered(size) for size in (64 * 1024, 1024 * 1024)}


async def _answer(send: Send, field: tuple[bytes, bytes], body: bytes) -> None:
    headers = [field, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    """The whole body, collected as frameworks do."""
    pieces = []
    while True:
        message = await receive()
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["path"]
    if path == "/":
        await send(HELLO_HEAD)
        await send(HELLO_BODY)
    elif path == "/length":
        await _answer(send, TEXT, b"%d" % len(await _body(receive)))
    elif path == "/digest":
        await _answer(send, TEXT, sha256(await _body(receive)).hexdigest().encode())
    elif path in BODIES:
        await _answer(send, OCTETS, BODIES[path])
    elif path == "/events":
        await send(EVENTS_HEAD)
        for _ in range(EVENTS):
            await send(EVENT)
        await send(NOTHING)
    elif path == "/stream":
        await send(STREAM_HEAD)
        for _ in range(CHUNKS):
            await send(STREAM_PART)
        await send(NOTHING)
    else:
        await send(NOT_FOUND)
        await send(NOTHING)
