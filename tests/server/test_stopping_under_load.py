"""SIGTERM while everything is in use at once: what runs is finished, what is open is told, what does not end is cut."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.server.service import WAIT, Client, Load, running
from tests.wire.h2peer import H2Peer

# Channels share connections otherwise.
UNSHARED = "grpc.use_local_subchannel_pool"

APP = """
import asyncio, sys
import grpc
from collections.abc import AsyncIterator
from fastnet import App, WebSocket
from fastnet.grpc import ServicerContext

app = App()

def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

@app.get("/")
async def index() -> str:
    return "here"

@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(1)
    return "slow"

async def pieces(count: int) -> AsyncIterator[bytes]:
    try:
        for _ in range(count):
            yield b"piece"
            await asyncio.sleep(0.1)
    finally:
        say(f"{count} pieces cleaned up")

@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    async for piece in pieces(10):
        yield piece

@app.get("/endless")
async def endless() -> AsyncIterator[bytes]:
    generator = pieces(10**9)
    try:
        async for piece in generator:
            yield piece
    finally:
        await generator.aclose()

@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
    say("a socket was closed")

async def call(request: bytes, context: ServicerContext) -> bytes:
    await asyncio.sleep(1)
    return request

async def hanging_call(request: bytes, context: ServicerContext) -> bytes:
    say("a call hangs")
    try:
        await asyncio.sleep(600)
    finally:
        say("a call cleaned up")
    return request

methods = {
    "Slow": grpc.unary_unary_rpc_method_handler(call),
    "Hangs": grpc.unary_unary_rpc_method_handler(hanging_call),
}
app.grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", methods)])

@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    yield
    say("the lifespan has ended")
"""


def begun(port: int, target: str) -> socket.socket:
    """A streamed answer whose first piece has come."""
    sock = socket.create_connection(("127.0.0.1", port), WAIT)
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    data = b""
    while b"piece" not in data:
        data += sock.recv(65536)
    return sock


def rest(sock: socket.socket) -> bytes:
    """What follows until the connection ends, however it does."""
    data = b""
    try:
        while more := sock.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    sock.close()
    return data


@pytest.mark.parametrize("workers", ["1", "2"])
def test_everything_at_once(tmp_path: Path, workers: str) -> None:
    with running(tmp_path, APP, "--workers", workers, "--timeout-drain", "4s") as service:
        port = service.port
        load = Load(port)
        with load.going(4), grpc.insecure_channel(f"127.0.0.1:{port}") as channel, ExitStack() as stack:
            sockets = [stack.enter_context(connect(f"ws://127.0.0.1:{port}/echo")) for _ in range(8)]
            for ws in sockets:
                ws.send("hello")
                assert ws.recv(WAIT) == "hello"
            endless = [begun(port, "/endless") for _ in range(2)]
            streams = [begun(port, "/stream") for _ in range(4)]
            clients = [Client(port) for _ in range(4)]
            for client in clients:
                client.send("/slow")
            calls = [channel.unary_unary("/test.Test/Slow").future(b"x", timeout=WAIT) for _ in range(4)]
            load.more(50)
            before = list(load.failures)
            service.tell(signal.SIGTERM)
            for ws in sockets:
                with pytest.raises(ConnectionClosed) as closed:
                    ws.recv(WAIT)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
            for client in clients:
                assert client.answer() == (200, "slow")
                assert client.last
                client.sock.close()
            assert [call.result(WAIT) for call in calls] == [b"x"] * 4
            for sock in streams:
                assert rest(sock).endswith(b"0\r\n\r\n")
            for sock in endless:
                assert not rest(sock).endswith(b"0\r\n\r\n")
            assert service.process.wait(WAIT) == 0
        assert before == []
        # From then on: an answer that is right, or no connection.
        assert not [failure for failure in load.failures if failure.startswith("status")]
        assert load.bodies == {"here"}
        log = service.log
        assert log.count("a socket was closed") == 8
        assert log.count("10 pieces cleaned up") == 4
        assert log.count("1000000000 pieces cleaned up") == 2
        assert log.count("the lifespan has ended") == int(workers)
        assert "Traceback" not in log


# What GOAWAY says while streams that are on their way may still come (RFC 9113, 6.8).
ANY_STREAM = 2**31 - 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_streams_of_http2_and_calls(tmp_path: Path, workers: str) -> None:
    """Each connection gets two GOAWAYs, what ends by itself is finished, what does not is cancelled at the deadline."""
    with running(tmp_path, APP, "--workers", workers, "--timeout-drain", "5s") as service, ExitStack() as stack:
        port = service.port
        # Several, so that each worker has some.
        peers = [stack.enter_context(H2Peer(port)) for _ in range(6)]
        streams = [(peer.request("GET", "/stream"), peer.request("GET", "/endless")) for peer in peers]
        for peer, both in zip(peers, streams, strict=True):
            begun = set[int]()
            while begun != set(both):
                begun.add(peer.frame(DataFrame).stream_id)
        channels = [stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}", [(UNSHARED, 1)])) for _ in range(4)]
        hanging = [channel.unary_unary("/test.Test/Hangs").future(b"x", timeout=WAIT) for channel in channels]
        service.wait_for("a call hangs", len(hanging))
        slow = [channel.unary_unary("/test.Test/Slow").future(b"x", timeout=WAIT) for channel in channels]
        service.tell(signal.SIGTERM)
        assert [call.result(WAIT) for call in slow] == [b"x"] * len(slow)
        for call in hanging:
            error = call.exception(WAIT)
            assert isinstance(error, grpc.RpcError)
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        for peer, (finite, open_ended) in zip(peers, streams, strict=True):
            frames = peer.frames()
            first, second, *_ = (frame for frame in frames if isinstance(frame, GoAwayFrame))
            assert (first.last_stream_id, second.last_stream_id) == (ANY_STREAM, open_ended)
            assert (first.error_code, second.error_code) == (0, 0)
            ended = {frame.stream_id for frame in frames if "END_STREAM" in frame.flags}
            assert ended == {finite}
        assert service.process.wait(WAIT) == 0
        log = service.log
        assert log.count("10 pieces cleaned up") == len(peers)
        assert log.count("1000000000 pieces cleaned up") == len(peers)
        assert log.count("a call cleaned up") == len(hanging)
        assert log.count("the lifespan has ended") == int(workers)
        assert "were cut off" in log
        assert "Traceback" not in log
