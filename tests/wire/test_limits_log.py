"""What the log and the counters say of those whom a limit cut off."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any

import grpc
import h2.events
import pytest

from fastnet import App, WebSocket
from fastnet.grpc import ServicerContext
from tests.protos import greeter
from tests.wire.bounds import lines
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, live, until

pb, pb_grpc = greeter()

SHORT = 0.1


def make_app() -> App:
    app = App(max_body=100)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/")
    async def body(body: bytes) -> str:
        return str(len(body))

    return app


def attack(server: Live, count: int) -> None:
    for _ in range(count):
        with server.peer() as peer:
            assert peer.send(b"GET /" + b"x" * 9000).answer().status == 414


def test_an_attack_is_no_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), timeout_idle=0.2) as server, server.peer():
        attack(server, 200)
        assert server.counters["limit_request_line"] == 200
        until(lambda: sum(counted(caplog)) == 200)
    assert len(lines(caplog)) < 100
    assert any("more in the last" in line for line in lines(caplog))


def counted(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Each line's count of attacks."""
    found = [record for record in caplog.records if record.name == "fastnet.limits"]
    found = [record for record in found if vars(record)["limit"] == "request_line"]
    return [vars(record).get("more", 1) for record in found]


def test_a_listener_may_be_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), log_level="warning") as server:
        attack(server, 1)
        assert server.counters["limit_request_line"] == 1
    assert lines(caplog) == []


# --- messages

HAND_SHAKE = (
    b"GET /echo HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
KEY = bytes(4)  # leaves a payload as it is


def make_message_app() -> App:
    app = App()

    @app.websocket("/echo", max_message=1000)
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.grpc.method("/greeter.Greeter/SayHello", max_message=1000)
    async def say_hello(request: Any, context: ServicerContext) -> Any:
        return pb.HelloReply(message=str(len(request.name)))

    return app


MESSAGES = {
    "message, by its header": (
        b"\x82\xfe" + struct.pack("!H", 1001) + KEY,
        "message",
        "(limit 1000 bytes; max_message changes it): closed with 1009",
    ),
    "message, by its fragments": (
        b"\x02\xfe" + struct.pack("!H", 600) + KEY + bytes(600) + b"\x80\xfe" + struct.pack("!H", 401) + KEY,
        "message",
        "(limit 1000 bytes; max_message changes it): closed with 1009",
    ),
    "fragments": (
        b"\x02\x80" + KEY + (b"\x00\x80" + KEY) * 16384,
        "fragments",
        ": a message comes in too many fragments: closed with 1008",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_a_websocket_message_above_a_limit(case: str, caplog: pytest.LogCaptureFixture) -> None:
    frames, limit, told = MESSAGES[case]
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_message_app()) as server, server.peer() as peer:
        assert peer.send(HAND_SHAKE).answer().status == 101
        peer.send(b"\x82\x85" + KEY + b"small")
        assert peer.exactly(7) == b"\x82\x05small"
        assert server.counters[f"limit_{limit}"] == 0
        peer.send(frames)
        assert peer.rest()[:1] == b"\x88"
        assert server.counters[f"limit_{limit}"] == 1
    (line,) = lines(caplog)
    assert told in line


def test_a_websocket_that_breaks_a_rule_meets_no_limit(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_message_app()) as server, server.peer() as peer:
        assert peer.send(HAND_SHAKE).answer().status == 101
        assert peer.send(b"\x83\x80" + KEY).rest()[2:4] == struct.pack("!H", 1002)
        assert server.counters["limit_message"] == server.counters["limit_fragments"] == 0
    assert lines(caplog) == []


@pytest.mark.parametrize("compressed", [False, True])
def test_a_grpc_message_above_the_limit(compressed: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    compression = grpc.Compression.Gzip if compressed else None
    with live(make_message_app()) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = pb_grpc.GreeterStub(channel).SayHello
        # Each name has three bytes of its message in front of it. Compressed, both are far below the limit.
        assert call(pb.HelloRequest(name="x" * 997), compression=compression, timeout=20).message == "997"
        assert server.counters["limit_message"] == 0
        with pytest.raises(grpc.RpcError) as caught:
            call(pb.HelloRequest(name="x" * 998), compression=compression, timeout=20)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert server.counters["limit_message"] == 1
    (line,) = lines(caplog)
    assert "(limit 1000 bytes; max_message changes it): answered RESOURCE_EXHAUSTED" in line


def test_streams_above_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.get("/")
    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(app, limit_streams=3, timeout_drain=0.1) as server, H2Peer(server.port) as peer:
        peer.wait(h2.events.RemoteSettingsChanged)
        # A client that does not keep to what it was told.
        peer.machine.remote_settings.update({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        peer.machine.remote_settings.acknowledge()
        streams = [peer.request("GET", "/") for _ in range(5)]
        assert [peer.reset(stream) for stream in streams[3:]] == [7, 7]
        assert server.counters["limit_streams"] == 2
        assert server.counters["requests_active"] == 3
    told = "(limit 3 streams; limit_streams changes it): stream refused"
    assert [told in line for line in lines(caplog)] == [True, True]
