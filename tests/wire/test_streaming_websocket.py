"""Token streams multiplexed on one WebSocket, over HTTP/1.1 and HTTP/2: what the peer says and is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fastnet import App, HTTPException, WebSocket
from fastnet.streaming import Message, Token, TokenStreams, multiplex
from tests.wire.bounds import KIB, beside
from tests.wire.frames import UPGRADE, masked
from tests.wire.live import WAIT, Live, live, until
from tests.wire.test_http2_websocket import Tunnel, dial
from tests.wire.test_http2_websocket import connect as connect_fields


class Prompt(msgspec.Struct):
    kind: str
    count: int = 3


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.given = 0


@contextmanager
def serving(log: Log, **settings: Any) -> Iterator[Live]:
    app = App()

    async def counts(prompt: Prompt) -> AsyncIterator[str | Token]:
        for n in range(prompt.count):
            await asyncio.sleep(0)
            yield f"{n} "
        yield Token(finish_reason="length")

    async def waits(prompt: Prompt) -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            log.said.append("closed")

    async def floods(prompt: Prompt) -> AsyncIterator[str]:
        try:
            while True:
                log.given += 1
                yield "0123456789" * 10
        finally:
            log.said.append("closed")

    async def breaks(prompt: Prompt) -> AsyncIterator[str]:
        yield "one"
        raise RuntimeError("secret")

    kinds = {"counts": counts, "waits": waits, "floods": floods, "breaks": breaks}

    def generate(prompt: Prompt) -> AsyncIterator[str | Token]:
        if prompt.kind not in kinds:
            raise HTTPException(404, f"there is no model {prompt.kind!r}")
        return kinds[prompt.kind](prompt)

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.websocket("/generate")
    async def handler(ws: WebSocket) -> None:
        await TokenStreams(limit=4).serve(ws, generate, Prompt)

    with live(app, **settings) as server:
        yield server


class Client:
    """One WebSocket, whatever carries it."""

    def say(self, message: dict[str, Any]) -> None:
        self.send(msgspec.json.encode(message).decode())

    def start(self, id: str, kind: str, **more: Any) -> None:
        self.say({"type": "start", "id": id, "input": {"kind": kind, **more}})

    def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = msgspec.json.decode(self.receive())
        return message

    def hear_all(self, *ids: str) -> list[dict[str, Any]]:
        """Everything until each of these has ended."""
        left, heard = set(ids), list[dict[str, Any]]()
        while left:
            heard.append(self.hear())
            if heard[-1]["type"] in ("end", "error"):
                left.discard(heard[-1].get("id", ""))
        return heard

    def send(self, message: str | bytes) -> None:
        raise NotImplementedError

    def receive(self) -> str:
        raise NotImplementedError

    def leave(self) -> None:
        raise NotImplementedError


class Http1(Client):
    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws

    def send(self, message: str | bytes) -> None:
        self.ws.send(message)

    def receive(self) -> str:
        received = self.ws.recv(WAIT)
        assert isinstance(received, str)
        return received

    def leave(self) -> None:
        self.ws.socket.close()


class Http2(Client):
    def __init__(self, server: Live) -> None:
        self.peer = dial(server)
        self.tunnel = Tunnel(self.peer, connect_fields(b"/generate"))

    def send(self, message: str | bytes) -> None:
        self.tunnel.send(message)

    def receive(self) -> str:
        kind, payload = self.tunnel.event()
        assert kind == "text"
        return str(payload)

    def leave(self) -> None:
        self.peer.machine.reset_stream(self.tunnel.stream, 8)
        self.peer.flush()


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def client_of(server: Live, protocol: str) -> Iterator[Client]:
    if protocol == "HTTP/2":
        client = Http2(server)
        with client.peer:
            yield client
        # Its machine is one of the engine's, and counted as such.
        del client.tunnel
    else:
        server.opened += 1
        with connect(f"ws://127.0.0.1:{server.port}/generate", proxy=None) as ws:
            yield Http1(ws)


def test_two_streams_at_a_time(protocol: str) -> None:
    with serving(Log()) as server, client_of(server, protocol) as client:
        client.start("a", "counts")
        client.start("b", "counts", count=5)
        heard = client.hear_all("a", "b")
        for id, count in (("a", 3), ("b", 5)):
            own = [message for message in heard if message["id"] == id]
            assert own[0] == {"type": "start", "id": id}
            chunks = [message["text"] for message in own if message["type"] == "chunk"]
            assert "".join(chunks) == "".join(f"{n} " for n in range(count))
            assert own[-2]["type"] == "usage"
            assert own[-2]["tokens"] == count + 1
            assert own[-1] == {"type": "end", "id": id, "reason": "length"}


def test_one_is_cancelled_and_the_other_goes_on(protocol: str) -> None:
    log = Log()
    with serving(log) as server, client_of(server, protocol) as client:
        client.start("a", "waits")
        client.start("b", "waits")
        heard = [client.hear() for _ in range(4)]
        assert [message["text"] for message in heard if message["type"] == "chunk"] == ["first", "first"]
        client.say({"type": "cancel", "id": "a"})
        assert [client.hear()["type"] for _ in range(2)] == ["usage", "end"]
        assert log.said == ["closed"]
        # Its id can be used again, and the other one is still there.
        client.start("a", "counts", count=1)
        assert client.hear_all("a")[-1] == {"type": "end", "id": "a", "reason": "length"}
        client.say({"type": "cancel", "id": "b"})
        assert client.hear_all("b")[-1] == {"type": "end", "id": "b", "reason": "cancelled"}


@pytest.mark.parametrize("leave", [True, False], ids=["gone", "closed"])
def test_all_sources_end_with_the_socket(protocol: str, leave: bool) -> None:
    log = Log()
    with serving(log) as server, client_of(server, protocol) as client:
        for id in "abc":
            client.start(id, "waits")
        for _ in range(6):
            client.hear()
        if leave:
            client.leave()
        elif isinstance(client, Http1):
            client.ws.close()
        else:
            assert isinstance(client, Http2)
            client.tunnel.socket.close(1000)
            client.tunnel.flush()
        until(lambda: log.said == ["closed"] * 3)
        until(lambda: server.counters["requests_active"] == 0)


BAD: list[tuple[str | bytes, int, str]] = [
    ("not json", 400, "no start and no cancel"),
    (b"\xff\xfe", 400, "no start and no cancel"),
    ("", 400, "no start and no cancel"),
    ('{"type":"start","id":"x","input":' + "[" * 5000, 400, "no start and no cancel"),
    ("[]", 422, "Expected `object`"),
    ("{}", 422, "missing required field `type`"),
    ('{"type":"chunk","id":"a","text":""}', 422, "Invalid value 'chunk'"),
    ('{"type":"start"}', 422, "missing required field `id`"),
    ('{"type":"start","id":"a b","input":{}}', 422, "matching regex"),
    ('{"type":"start","id":"' + "x" * 65 + '"}', 422, "matching regex"),
    ('{"type":"cancel","id":7}', 422, "Expected `str`"),
    ('{"type":"cancel","id":"nobody"}', 404, "there is no stream 'nobody'"),
    ('{"type":"start","id":"x"}', 422, "Expected `object`, got `null`"),
    ('{"type":"start","id":"x","input":{"kind":1}}', 422, "$.kind"),
    ('{"type":"start","id":"x","input":{"kind":"none"}}', 404, "there is no model"),
    ('{"type":"start","id":"a","input":{"kind":"counts"}}', 409, "there is a stream 'a' already"),
]


def test_bad_messages_are_told_and_the_streams_go_on(protocol: str) -> None:
    with serving(Log()) as server, client_of(server, protocol) as client:
        client.start("a", "waits")
        assert [client.hear()["type"] for _ in range(2)] == ["start", "chunk"]
        for message, status, words in BAD:
            client.send(message)
            heard = client.hear()
            assert heard["type"] == "error", message[:100]
            assert heard["problem"]["status"] == status, message[:100]
            assert words in heard["problem"]["detail"]
            # An error with an id is the end of that stream.
            assert heard.get("id") != "a"
        client.say({"type": "cancel", "id": "a"})
        assert client.hear_all("a")[-1]["reason"] == "cancelled"
        assert server.counters["requests_active"] == 1


def test_a_source_that_fails(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(Log()) as server, client_of(server, protocol) as client:
        client.start("a", "breaks")
        *_, usage, error = client.hear_all("a")
        assert (usage["type"], usage["tokens"]) == ("usage", 1)
        assert (error["type"], error["problem"]["status"]) == ("error", 500)
        assert "secret" not in str(error)
        assert "RuntimeError: secret" in caplog.text
        assert f"[request {error['problem']['request_id']}]" in caplog.text


@pytest.mark.limit("Token streams: streams at a time")
def test_streams_of_a_connection_are_few(protocol: str) -> None:
    log = Log()
    with serving(log) as server, client_of(server, protocol) as client, beside(server, keeps=512 * KIB):
        for n in range(300):
            client.start(str(n), "waits")
        heard = [client.hear() for _ in range(4 * 2 + 296)]
        assert sum(message["type"] == "start" for message in heard) == 4
        refused = [message for message in heard if message["type"] == "error"]
        assert {message["problem"]["status"] for message in refused} == {429}
        assert len(refused) == 296
        client.leave()
        until(lambda: log.said == ["closed"] * 4)


def test_a_slow_peer_slows_all(protocol: str) -> None:
    log = Log()
    with serving(log) as server, client_of(server, protocol) as client:
        for id in "abc":
            client.start(id, "floods")
        given = -1
        while log.given != given:
            given = log.given
            time.sleep(0.3)
        # Sockets of loopback take megabytes; without a bound it would go on for ever.
        assert given < 200_000
        # It is still heard.
        client.say({"type": "cancel", "id": "a"})
        until(lambda: log.said == ["closed"])
        client.leave()
        until(lambda: log.said == ["closed"] * 3)


@pytest.mark.limit("Token streams: answers to bad messages that wait", memory=True)
def test_a_peer_that_does_not_read_its_errors_is_not_read() -> None:
    with serving(Log()) as server, server.peer(receive_buffer=8192) as peer:
        peer.get("/generate", *UPGRADE).until(b"\r\n\r\n")
        peer.sock.settimeout(0.5)
        sent, storm = 0, masked(1, b"no json, and no small message: " + b"x" * 100) * 100
        with beside(server, keeps=2048 * KIB):
            try:
                while sent < 64 * 1024 * KIB:
                    peer.send(storm)
                    sent += len(storm)
            except TimeoutError:
                pass
        assert sent < 64 * 1024 * KIB
        peer.reset()


def test_messages_that_cannot_be_sent_close_the_socket(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(message: Message) -> bytes:
        raise RuntimeError("a mistake")

    log = Log()
    monkeypatch.setattr(multiplex, "encode", broken)
    with serving(log, keeps=True) as server, client_of(server, "HTTP/1.1") as client:
        client.start("a", "waits")
        with pytest.raises(ConnectionClosed) as caught:
            client.receive()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1011
        until(lambda: server.counters["requests_active"] == 0)
    assert "RuntimeError: a mistake" in caplog.text
