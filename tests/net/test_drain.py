"""What each protocol is told when the server stops, and what is still answered (RFC 9112, 9113, 6455)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from typing import Any

import grpc
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame

from fastnet import App, WebSocket, WebSocketDisconnect
from fastnet_ext.net.loop_state import LoopState
from tests.protos import greeter
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, live, until

pb, pb_grpc = greeter()

ANY_STREAM = 2**31 - 1
HAND_SHAKE = (
    "upgrade: websocket",
    "connection: Upgrade",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)
GOING_AWAY = b"\x88\x1d\x03\xe9the server is shutting down"


class Seen(list[str]):
    """What handlers noticed, in order."""


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def server(seen: Seen) -> Iterator[Live]:
    app = App()

    @app.lifespan
    async def lifespan(app: App) -> AsyncIterator[None]:
        yield
        seen.append("down")

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/big")
    async def big() -> bytes:
        return b"x" * 300_000

    @app.get("/endless")
    async def endless() -> AsyncIterator[str]:
        try:
            seen.append("begun")
            while True:
                yield "tick"
                await asyncio.sleep(0.01)
        finally:
            await asyncio.sleep(0.01)
            seen.append("closed")

    @app.websocket("/reads")
    async def reads(ws: WebSocket) -> None:
        await ws.accept()
        seen.append("begun")
        try:
            async for _ in ws:
                pass
        finally:
            await asyncio.sleep(0.01)
            seen.append("cleaned up")

    @app.websocket("/receives")
    async def receives(ws: WebSocket) -> None:
        await ws.accept()
        seen.append("begun")
        try:
            await ws.receive()
        except WebSocketDisconnect as error:
            seen.append(f"disconnect {error.code}")

    @app.websocket("/waits")
    async def waits(ws: WebSocket) -> None:
        await ws.accept()
        seen.append("begun")
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    @app.websocket("/late")
    async def late(ws: WebSocket) -> None:
        seen.append("begun")
        await asyncio.sleep(0.1)
        await ws.accept()
        async for _ in ws:
            pass
        seen.append("ended")

    with live(app) as running:
        yield running


def stop(server: Live, timeout: float = 10) -> Future[None]:
    """Begin to stop the server; the future is done when it has stopped."""
    stopped = asyncio.run_coroutine_threadsafe(server.server.stop(timeout), server.loop)
    server.call(lambda: None)  # comes after its first step
    return stopped


def pong(peer: H2Peer) -> None:
    """Answer the server's PING."""
    ping = peer.frame(PingFrame)
    assert "ACK" not in ping.flags
    peer.sock.sendall(PingFrame(0, ping.opaque_data, flags=["ACK"]).serialize())


# --- HTTP/1


def test_a_request_that_was_on_its_way_is_answered(server: Live) -> None:
    with server.peer() as used, server.peer() as fresh:
        assert used.get("/").answer()["connection"] is None
        until(lambda: server.counters["connections_open"] == 2)
        stopped = stop(server)
        for peer in (used, fresh):
            answer = peer.get("/").answer()
            assert (answer.body, answer["connection"]) == (b"fine", "close")
            assert peer.closed()
        stopped.result(10)


def test_a_head_that_has_begun_is_waited_for(server: Live) -> None:
    with server.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nhost: t\r\n")
        until(lambda: server.counters["bytes_received"] > 0)
        stopped = stop(server)
        server.run(asyncio.sleep(0.5))
        answer = peer.send(b"\r\n").answer()
        assert (answer.body, answer["connection"]) == (b"fine", "close")
        stopped.result(10)


def test_a_generator_is_closed_at_the_deadline_before_the_lifespan_ends(server: Live, seen: Seen) -> None:
    with server.peer() as peer:
        peer.get("/endless").until(b"tick")
        stop(server, 0.3).result(10)
        assert seen == ["begun", "closed", "down"]
        with pytest.raises(EOFError):
            peer.answer()


def test_who_is_cut_off_is_cancelled_once() -> None:
    """Also when it was just about to go on: it is cancelled before its connection is lost."""
    app, go, seen = App(), asyncio.Event(), list[str]()

    @app.get("/")
    async def index() -> AsyncIterator[str]:
        try:
            yield "begun"
            await go.wait()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            seen.append("closed")

    def cut(state: LoopState | None) -> None:
        assert state is not None
        go.set()
        state.cut()

    with live(app) as server, server.peer() as peer:
        peer.get("/").until(b"begun")
        server.call(lambda: cut(server.server.state))
        until(lambda: server.counters["requests_active"] == 0)
        assert seen == ["closed"]


def test_what_the_stock_loop_has_just_accepted_is_answered(seen: Seen) -> None:
    """It makes a connection one turn after it has accepted it: the stop comes between the two."""
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    with live(app, loop_factory=asyncio.new_event_loop) as server:
        stopping: list[asyncio.Task[None]] = []

        def connect_and_stop() -> Peer:
            peer = Peer(server.port)
            peer.get("/")
            # The next turn accepts, and makes this task, which the turn after that begins with.
            server.loop.call_soon(lambda: stopping.append(server.loop.create_task(server.server.stop(2))))
            return peer

        with server.call(connect_and_stop) as peer:
            assert peer.answer().body == b"fine"
        until(lambda: bool(stopping) and stopping[0].done())
        assert stopping[0].exception() is None


# --- HTTP/2


def test_goaway_comes_in_two_steps_and_what_crosses_it_is_answered(server: Live) -> None:
    with H2Peer(server.port) as peer:
        peer.request("GET", "/")
        peer.frame(DataFrame)
        stopped = stop(server)
        announced = peer.frame(GoAwayFrame)
        assert (announced.last_stream_id, announced.error_code) == (ANY_STREAM, 0)
        # Sent by a client that has not read it yet.
        crossing = peer.request("GET", "/")
        assert peer.frame(HeadersFrame).stream_id == crossing
        body = peer.frame(DataFrame)
        assert (body.stream_id, body.data) == (crossing, b"fine")
        assert not stopped.done()
        stopped.cancel()


def test_the_pong_settles_which_stream_is_the_last(server: Live) -> None:
    with H2Peer(server.port) as peer:
        peer.request("GET", "/")
        peer.frame(DataFrame)
        stopped = stop(server)
        assert peer.frame(GoAwayFrame).last_stream_id == ANY_STREAM
        crossing = peer.request("GET", "/")
        pong(peer)
        assert peer.frame(DataFrame).stream_id == crossing
        settled = peer.frame(GoAwayFrame)
        assert (settled.last_stream_id, settled.error_code) == (crossing, 0)
        assert peer.frames() == []
        peer.sock.close()
        stopped.result(10)


def test_a_peer_that_leaves_the_ping_unanswered_gets_a_second(server: Live) -> None:
    with H2Peer(server.port) as peer:
        peer.request("GET", "/")
        peer.frame(DataFrame)
        stopped = stop(server)
        first, second = (frame for frame in peer.frames() if isinstance(frame, GoAwayFrame))
        assert (first.last_stream_id, second.last_stream_id) == (ANY_STREAM, 1)
        peer.sock.close()
        stopped.result(10)


def test_an_answer_that_waits_for_its_window_is_sent_to_its_end(server: Live) -> None:
    with H2Peer(server.port, window=100_000) as peer:
        stream = peer.request("GET", "/big")
        received = 0
        stopped = None
        while received < 300_000:
            frame = peer.frame(DataFrame)
            received += len(frame.data)
            if stopped is None:
                # The handler has ended; its answer waits in the machine.
                stopped = stop(server)
                peer.machine.increment_flow_control_window(2**20)
                peer.flush()
                server.run(asyncio.sleep(1.2))
                peer.machine.increment_flow_control_window(2**20, stream)
                peer.flush()
        assert "END_STREAM" in frame.flags or "END_STREAM" in peer.frame(DataFrame).flags
        assert stopped is not None
        peer.sock.close()
        stopped.result(10)


# --- gRPC


def test_a_call_in_flight_is_finished(seen: Seen) -> None:
    class Servicer(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
        async def SayHello(self, request: Any, context: Any) -> Any:
            seen.append("begun")
            await asyncio.sleep(0.3)
            return pb.HelloReply(message=f"Hello, {request.name}!")

    app = App()
    pb_grpc.add_GreeterServicer_to_server(Servicer(), app.grpc)
    with live(app) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = pb_grpc.GreeterStub(channel).SayHello.future(pb.HelloRequest(name="you"), timeout=20)
        until(lambda: seen == ["begun"])
        stopped = stop(server)
        assert call.result().message == "Hello, you!"
        stopped.result(10)


# --- WebSocket


def open_websocket(server: Live, path: str) -> Peer:
    peer = server.peer()
    peer.get(path, *HAND_SHAKE)
    return peer


@pytest.mark.parametrize(
    ("path", "noticed"),
    [("/reads", ["begun", "cleaned up", "down"]), ("/receives", ["begun", "disconnect 1001", "down"])],
)
def test_a_websocket_is_told_1001_and_its_handler_cleans_up(
    server: Live, seen: Seen, path: str, noticed: list[str]
) -> None:
    with open_websocket(server, path) as peer:
        assert peer.answer().status == 101
        until(lambda: seen == ["begun"])
        stopped = stop(server)
        assert peer.exactly(len(GOING_AWAY)) == GOING_AWAY
        peer.send(b"\x88\x82\0\0\0\0\x03\xe9")
        assert peer.closed()
        stopped.result(10)
    assert seen == noticed


def test_a_websocket_whose_handler_waits_for_something_else_is_cancelled_at_the_deadline(
    server: Live, seen: Seen
) -> None:
    with open_websocket(server, "/waits") as peer:
        assert peer.answer().status == 101
        until(lambda: seen == ["begun"])
        stopped = stop(server, 0.3)
        assert peer.exactly(len(GOING_AWAY)) == GOING_AWAY
        peer.send(b"\x88\x82\0\0\0\0\x03\xe9")
        stopped.result(10)
    assert seen == ["begun", "cancelled", "down"]


def test_a_websocket_that_is_accepted_during_the_drain_is_closed_too(server: Live, seen: Seen) -> None:
    with open_websocket(server, "/late") as peer:
        until(lambda: seen == ["begun"])
        stopped = stop(server)
        assert peer.answer().status == 101
        assert peer.exactly(len(GOING_AWAY)) == GOING_AWAY
        peer.send(b"\x88\x82\0\0\0\0\x03\xe9")
        stopped.result(10)
    assert seen == ["begun", "ended", "down"]
