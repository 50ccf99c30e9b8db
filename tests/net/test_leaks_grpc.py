"""Nothing is left of a call, in whatever dialect and however it ended."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from fastnet import App
from fastnet_ext.grpc.framing import frame as message
from tests.http2.wire import ACK, PREFACE, SETTINGS, Field, data, frame, headers, reset, settings
from tests.net.test_leaks import check
from tests.protos import greeter
from tests.wire.frames import at
from tests.wire.live import Peer, live

pb, _ = greeter()

GRPC, WEB, TEXT = "application/grpc", "application/grpc-web", "application/grpc-web-text"
JSON, PROTO = "application/json", "application/proto"
STREAM_JSON, STREAM_PROTO = "application/connect+json", "application/connect+proto"
UNARY = (GRPC, WEB, TEXT, JSON, PROTO)
STREAMS = (GRPC, WEB, TEXT, STREAM_JSON, STREAM_PROTO)

STARTED = PREFACE + settings() + frame(SETTINGS, ACK)


class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        context.set_compression(grpc.Compression.Gzip)
        await self._behave(request.name, context)
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        context.set_compression(grpc.Compression.Gzip)
        yield pb.HelloReply(message="first")
        await self._behave(request.name, context)
        yield pb.HelloReply(message="last")

    async def RecordGreetings(self, requests: Any, context: Any) -> Any:
        names = [request.name async for request in requests]
        return pb.GreetingSummary(count=len(names))

    async def Chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield request

    async def _behave(self, name: str, context: Any) -> None:
        match name:
            case "later":
                await asyncio.sleep(0)
            case "abort":
                await context.abort(grpc.StatusCode.NOT_FOUND, "nobody", [("last", "1")])
            case "fail":
                raise RuntimeError
            case "wait":
                await asyncio.Event().wait()


class Blocking:
    """The same in threads."""

    def SayHello(self, request: Any, context: Any) -> Any:
        if request.name == "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
        return pb.HelloReply(message=request.name)

    def SayHelloStream(self, request: Any, context: Any) -> Iterator[Any]:
        yield pb.HelloReply(message="first")
        if request.name == "abort":
            context.abort(grpc.StatusCode.NOT_FOUND, "nobody")

    def RecordGreetings(self, requests: Any, context: Any) -> Any:
        return pb.GreetingSummary(count=len(list(requests)))


def body_of(kind: str, *names: str) -> bytes:
    """A request that asks for these names."""
    contents = [
        json.dumps({"name": name}).encode()
        if kind in (JSON, STREAM_JSON)
        else pb.HelloRequest(name=name).SerializeToString()
        for name in names
    ]
    if kind in (JSON, PROTO):
        return contents[0]
    body = b"".join(message(gzip.compress(content), 1) for content in contents)
    return b64encode(body) if kind == TEXT else body


# What says of the compression of requests, and of the time that a call may take.
CODINGS = ("grpc-encoding", "connect-content-encoding", "grpc-accept-encoding", "connect-accept-encoding")
FIELDS = [*(f"{name}: gzip" for name in CODINGS), "accept-encoding: gzip"]


def send(peer: Peer, kind: str, method: str, body: bytes, *more: str, leaves: bool = False) -> None:
    """Call, and take the answer; or leave once the call has begun."""
    path, fields = f"/greeter.Greeter/{method}", [f"content-type: {kind}", *FIELDS, *more]
    if kind != GRPC:
        peer.post(path, body, *fields)
        if not leaves:
            peer.answer()
        elif method != "SayHello":
            peer.until(b"\r\n\r\n")
        if leaves:
            peer.reset()
        return
    pairs: list[Field] = [(name.encode(), value.encode()) for name, value in (field.split(": ") for field in fields)]
    peer.send(STARTED + headers(1, [*at(path.encode()), (b"te", b"trailers"), *pairs]) + data(1, body, end_stream=True))
    if not leaves:
        # Trailers go without Huffman coding and without an index.
        peer.until(b"grpc-status")
        return
    if method != "SayHello":
        # A compressed message.
        peer.until(b"\x1f\x8b")
    peer.send(reset(1))


def calls(kind: str, method: str, *names: str, **options: Any) -> Callable[[Peer], None]:
    body = body_of(kind, *names)
    return lambda peer: send(peer, kind, method, body, **options)


def sends(kind: str, method: str, body: bytes, *more: str) -> Callable[[Peer], None]:
    return lambda peer: send(peer, kind, method, b64encode(body) if kind == TEXT else body, *more)


TIMEOUTS = ("grpc-timeout: 5m", "connect-timeout-ms: 5")
BROKEN = {
    "cut": message(b"{}")[:3],
    "large": message(bytes(2000)),
    "flag": message(b"", 0x40),
    "damaged": message(b"\xff", 1),
}
ENDINGS: dict[str, Callable[[Peer], None]] = {
    **{f"{kind} {name}": calls(kind, "SayHello", name) for kind in UNARY for name in ("now", "later", "abort", "fail")},
    **{
        f"{kind} stream {name}": calls(kind, "SayHelloStream", name)
        for kind in STREAMS
        for name in ("now", "abort", "fail")
    },
    **{f"{kind} record": calls(kind, "RecordGreetings", "a", "b") for kind in STREAMS},
    **{f"{kind} chat": calls(kind, "Chat", *[""] * 9) for kind in STREAMS},
    **{f"{kind} left": calls(kind, "SayHello", "wait", leaves=True) for kind in UNARY},
    **{f"{kind} stream left": calls(kind, "SayHelloStream", "wait", leaves=True) for kind in STREAMS},
    **{f"{kind} {name}": sends(kind, "RecordGreetings", body) for kind in STREAMS for name, body in BROKEN.items()},
    **{f"{kind} no message": sends(kind, "SayHello", b"\xff") for kind in (JSON, PROTO)},
    f"{TEXT} no base64": lambda peer: send(peer, TEXT, "RecordGreetings", b"AAA*"),
}
LATE = {
    **{f"{kind} late": sends(kind, "SayHello", body_of(kind, "wait"), *TIMEOUTS) for kind in UNARY if kind != TEXT},
    **{
        f"{kind} late stream": sends(kind, "SayHelloStream", body_of(kind, "wait"), *TIMEOUTS)
        for kind in STREAMS
        if kind != TEXT
    },
}


IN_THREADS = [
    *(f"{kind}{name}" for kind in UNARY for name in (" now", " abort")),
    *(f"{kind}{name}" for kind in STREAMS for name in (" stream now", " stream abort", " record")),
]


def served(act: Callable[[Peer], None], rounds: int, caplog: pytest.LogCaptureFixture, kind: type = Greeter) -> None:
    caplog.set_level(logging.CRITICAL)
    app = App()
    app.grpc.service("greeter.Greeter", max_message=1000)(kind)
    with live(app) as server:
        check(server, act, rounds)
        assert server.counters["bytes_buffered"] == 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_of_a_call(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    served(ENDINGS[ending], 200, caplog)


@pytest.mark.parametrize("ending", IN_THREADS)
def test_nothing_is_left_of_a_call_in_threads(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    served(ENDINGS[ending], 100, caplog, Blocking)


@pytest.mark.parametrize("ending", LATE)
def test_nothing_is_left_of_a_late_one(ending: str, caplog: pytest.LogCaptureFixture) -> None:
    served(LATE[ending], 60, caplog)
