"""Connections that live long: the server's pings, a client's that are too many, and the age at which one ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from fastnet import App
from fastnet.grpc import ServicerContext
from fastnet_ext.http2.errors import ErrorCode
from tests.http2.wire import ACK, DATA, END_STREAM, GET, GOAWAY, HEADERS, PING, frame, headers
from tests.protos import greeter
from tests.wire.bounds import KIB, beside, told
from tests.wire.frames import Frames, at
from tests.wire.live import Live, live, until

pb, pb_grpc = greeter()

GOODBYE = b"goodbye!"
ANY_STREAM = 0x7FFFFFFF
ROOM = 512 * KIB


class Held:
    """What handlers wait for."""

    def __init__(self) -> None:
        self.go = asyncio.Event()


@contextmanager
def serving(held: Held, **settings: Any) -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/held")
    async def wait() -> str:
        await held.go.wait()
        return "late"

    class Greeter(pb_grpc.GreeterServicer):  # type: ignore[name-defined, misc]
        async def SayHello(self, request: Any, context: ServicerContext) -> Any:
            if request.name == "slow":
                await asyncio.sleep(1.5)
            if request.name == "slower":
                await held.go.wait()
            return pb.HelloReply(message=f"Hello, {request.name}!")

    pb_grpc.add_GreeterServicer_to_server(Greeter(), app.grpc)
    with live(app, **settings) as running:
        yield running
        running.call(held.go.set)


@pytest.fixture
def held() -> Held:
    return Held()


WAITING = headers(1, at(b"/held", GET), end_stream=True)


# --- the server's pings


def test_a_silent_peer_that_answers_stays(held: Held) -> None:
    with serving(held, keepalive_time=0.2, keepalive_timeout=0.5) as server, Frames(server) as one:
        one.send(WAITING)
        for _ in range(4):
            ping = one.wait(PING)
            assert ping.flags == 0
            one.send(frame(PING, ACK, 0, ping.payload))
        server.call(held.go.set)
        assert one.status(1) == b"200"
        assert server.counters["limit_keepalive"] == 0


@pytest.mark.limit("HTTP/2 connections that live long: silence of a peer with open streams", memory=True)
def test_a_silent_peer_that_does_not_answer_is_cut_off(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with serving(held, keepalive_time=0.2, keepalive_timeout=0.3) as server, Frames(server) as one:
        with beside(server, keeps=ROOM):
            one.send(WAITING).wait(PING)
            with pytest.raises((EOFError, ConnectionResetError)):
                one.wait(HEADERS, 1)
        until(lambda: server.counters["limit_keepalive"] == 1)
        assert server.counters["disconnects"] == 1
    told(caplog, "keepalive", "0.3 s", "keepalive_timeout", "connection reset")


def test_a_peer_without_streams_is_not_pinged(held: Held) -> None:
    with serving(held, keepalive_time=0.1, keepalive_timeout=0.1, timeout_idle=1.0) as server, Frames(server) as one:
        one.send(headers(1, end_stream=True))
        assert one.status(1) == b"200"
        # The next that comes is the end of an idle connection.
        while (found := one.next()).type == DATA:
            pass
        assert found.type == GOAWAY
        assert server.counters["limit_keepalive"] == 0


def test_a_grpc_client_answers(held: Held) -> None:
    with serving(held, keepalive_time=0.1, keepalive_timeout=1.0) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            reply = pb_grpc.GreeterStub(channel).SayHello(pb.HelloRequest(name="slow"), timeout=10)
            assert reply.message == "Hello, slow!"
        assert server.counters["limit_keepalive"] == 0


# --- a client's pings

EAGER = [
    ("grpc.keepalive_time_ms", 20),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
]


@pytest.mark.limit("HTTP/2 connections that live long: pings of a peer to which nothing is sent", memory=True)
def test_pings_that_are_too_many(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with serving(held) as server, beside(server, keeps=ROOM), Frames(server) as one:
        one.send(WAITING)
        for number in range(3):
            # The first, and two strikes.
            assert one.send(frame(PING, 0, 0, bytes([number] * 8))).wait(PING).payload == bytes([number] * 8)
        gone = one.send(frame(PING, 0, 0, bytes(8))).wait(GOAWAY)
        assert (gone.number, gone.payload[8:]) == (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
    told(caplog, "flood", "", "", "closed")


def test_pings_between_answers_are_not_counted(held: Held) -> None:
    with serving(held) as server, Frames(server) as one:
        for number in range(40):
            one.send(headers(2 * number + 1, end_stream=True))
            assert one.status(2 * number + 1) == b"200"
            one.send(frame(PING, 0, 0, bytes(8))).wait(PING)


def test_a_grpc_client_that_pings_too_often(held: Held) -> None:
    """It pings once a second, however often it is asked to."""
    with serving(held) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}", options=EAGER) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            pb_grpc.GreeterStub(channel).SayHello(pb.HelloRequest(name="slower"), timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "too_many_pings" in str(caught.value.details())
        assert server.counters["limit_flood"] == 1


def test_a_grpc_client_that_may(held: Held) -> None:
    with serving(held, keepalive_min_interval=0.0) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=EAGER) as channel:
            reply = pb_grpc.GreeterStub(channel).SayHello(pb.HelloRequest(name="slow"), timeout=10)
            assert reply.message == "Hello, slow!"
        assert server.counters["limit_flood"] == 0


# --- age


def test_a_connection_of_some_age_ends_in_two_steps(held: Held) -> None:
    with serving(held, max_connection_age=0.3, max_connection_age_grace=0.0) as server, Frames(server) as one:
        one.send(WAITING)
        assert one.wait(GOAWAY).payload == ANY_STREAM.to_bytes(4, "big") + bytes(4)
        assert one.wait(PING).payload == GOODBYE
        # What was on its way is served.
        one.send(headers(3, end_stream=True))
        assert one.status(3) == b"200"
        one.send(frame(PING, ACK, 0, GOODBYE))
        assert one.wait(GOAWAY).payload == (3).to_bytes(4, "big") + bytes(4)
        # Nothing hurries what was begun.
        one.send(headers(5, end_stream=True))
        server.run(asyncio.sleep(0.5))
        server.call(held.go.set)
        assert one.status(1) == b"200"
        assert one.wait(DATA, 1).flags == END_STREAM
        assert one.peer.closed()
        assert server.counters["requests"] == 2


def test_an_old_connection_without_streams_closes(held: Held) -> None:
    """Also when its peer leaves the PING unanswered."""
    with serving(held, max_connection_age=0.2) as server, Frames(server) as one:
        assert one.wait(GOAWAY).number == ErrorCode.NO_ERROR
        assert one.wait(GOAWAY).number == ErrorCode.NO_ERROR
        assert one.peer.closed()


@pytest.mark.limit("HTTP/2 connections that live long: streams of a connection that is too old", memory=True)
@pytest.mark.limit("HTTP/2 connections that live long: age of a connection", memory=True)
def test_the_grace_ends(held: Held) -> None:
    with serving(held, max_connection_age=0.2, max_connection_age_grace=0.3) as server, Frames(server) as one:
        with beside(server, keeps=ROOM):
            one.send(WAITING).wait(GOAWAY)
            with pytest.raises((EOFError, ConnectionResetError)):
                one.wait(HEADERS, 1)
        assert server.counters["internal"] == 0


def test_grpc_calls_move_on_to_new_connections(held: Held) -> None:
    """No call is lost: the client hears of the end before streams are refused.

    One that it had not begun when it heard of it is begun again elsewhere: the transparent retry of gRPC's clients.
    """
    with serving(held, max_connection_age=0.2) as server:
        end = time.monotonic() + 2
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = pb_grpc.GreeterStub(channel)
            while time.monotonic() < end:
                assert stub.SayHello(pb.HelloRequest(name="Ada"), timeout=10).message == "Hello, Ada!"
        assert server.counters["connections"] > 2
