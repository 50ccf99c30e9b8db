"""The WebSocket half of the ASGI specification, rule by rule, with the ``websockets`` client and raw sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.asgi.mounted import Gate, Message, Receive, Send, Served, serving, stuck_at
from tests.wire.test_websocket_wire import HAND_SHAKE

ACCEPT: Message = {"type": "websocket.accept"}
CLOSE: Message = {"type": "websocket.close"}


@contextmanager
def dial(server: Served, path: str = "/", **options: Any) -> Iterator[ClientConnection]:
    options = {"compression": None, "proxy": None, "open_timeout": 10, "close_timeout": 10, **options}
    server.live.opened += 1
    with connect(f"ws://127.0.0.1:{server.port}{path}", **options) as client:
        yield client


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


def test_text_and_binary_messages() -> None:
    with serving(echo) as server, dial(server, max_size=2**24) as client:
        for message in ("text", b"bytes", "", b"", "žluťoučký 🐎", b"x" * 2_000_000):
            client.send(message)
            assert client.recv() == message
    assert server.notes.received[1] == {"type": "websocket.receive", "text": "text"}
    assert server.notes.received[2] == {"type": "websocket.receive", "bytes": b"bytes"}


def test_the_scope() -> None:
    with serving(echo, "/chat") as server:
        port = server.port
        with dial(server, "/chat/a%20room?token=1", subprotocols=["v2", "v1"], additional_headers={"X-A": "1"}):
            pass
    (scope,) = server.notes.wait().scopes
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert (scope["http_version"], scope["scheme"]) == ("1.1", "ws")
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/chat/a room", b"/chat/a%20room", "/chat")
    assert (scope["query_string"], scope["subprotocols"]) == (b"token=1", ["v2", "v1"])
    assert (b"x-a", b"1") in scope["headers"]
    assert scope["server"] == ("127.0.0.1", port)
    assert scope["client"][0] == "127.0.0.1"
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert "method" not in scope


def test_the_application_chooses_subprotocol_and_headers() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({**ACCEPT, "subprotocol": "v1", "headers": [(b"X-Session", b"7"), [b"set-cookie", b"a=b"]]})
        await receive()

    with serving(application) as server, dial(server, subprotocols=["v2", "v1"]) as client:
        assert client.subprotocol == "v1"
        assert client.response is not None
        assert client.response.headers["x-session"] == "7"
        assert client.response.headers["set-cookie"] == "a=b"


def test_pages_of_any_origin_may_connect_unless_the_application_minds() -> None:
    with serving(echo) as server, dial(server, origin="https://elsewhere.example") as client:
        client.send("hello")
        assert client.recv() == "hello"


# --- the end


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "away"), (4000, "done")])
def test_a_close_of_the_client(code: int, reason: str) -> None:
    with serving(echo) as server:
        with dial(server) as client:
            client.close(code, reason)
        assert server.notes.wait().received[-1] == {"type": "websocket.disconnect", "code": code, "reason": reason}


def test_a_client_that_vanishes() -> None:
    with serving(echo) as server, server.peer() as peer:
        peer.send(HAND_SHAKE % b"/").until(b"\r\n\r\n")
        peer.sock.close()
        assert server.notes.wait().received[-1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


@pytest.mark.parametrize("message", [{}, {"code": 4001, "reason": "enough"}, {"code": 3000, "reason": None}])
def test_a_close_of_the_application(message: Message) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({**CLOSE, **message})
        assert (await receive())["type"] == "websocket.disconnect"

    with serving(application) as server:
        with dial(server) as client:
            with pytest.raises(ConnectionClosed):
                client.recv()
            assert client.close_code == message.get("code", 1000)
            assert client.close_reason == (message.get("reason") or "")
        assert not server.notes.wait().errors


def test_an_application_that_returns_closes() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)

    with serving(application) as server, dial(server) as client:
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1000


def test_an_application_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        raise KeyError("secret")

    with serving(application) as server:
        with dial(server) as client:
            with pytest.raises(ConnectionClosed):
                client.recv()
            assert client.close_code == 1011
            assert "secret" not in (client.close_reason or "")
        assert "secret" in caplog.text


def test_an_application_is_told_and_never_cancelled() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await gate.passed()
        assert (await receive())["type"] == "websocket.disconnect"

    gate = Gate()
    with serving(application) as server:
        with dial(server):
            pass
        gate.open()
        assert not server.notes.wait().errors


def test_a_stop_closes_with_1001() -> None:
    with serving(echo) as server:
        manager = dial(server)
        client = manager.__enter__()
    with pytest.raises(ConnectionClosed):
        client.recv()
    assert client.close_code == 1001
    assert server.notes.received[-1]["code"] == 1001
    client.close()


# --- refusals


def test_a_close_before_the_accept_is_403() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(CLOSE)
        assert (await receive())["type"] == "websocket.disconnect"

    with serving(application) as server:
        with pytest.raises(InvalidStatus) as caught, dial(server):
            pass
        assert caught.value.response.status_code == 403
        assert not server.notes.wait().errors


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_denial_is_the_applications(pieces: int) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        assert scope["extensions"]["websocket.http.response"] == {}
        await receive()
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        for piece in range(pieces):
            await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": piece + 1 < pieces})

    with serving(application) as server:
        with server.peer() as peer:
            for _ in range(2):
                # The connection goes on as an ordinary one.
                answer = peer.send(HAND_SHAKE % b"/").answer()
                assert (answer.status, answer["www-authenticate"], answer.body) == (401, "Bearer", b"no " * pieces)
        assert not server.notes.wait(2).errors


def test_a_hand_shake_that_is_none_never_reaches_the_application() -> None:
    with serving(echo) as server, server.peer() as peer:
        answer = peer.get("/", "upgrade: websocket", "connection: upgrade", "sec-websocket-version: 12").answer()
        assert (answer.status, answer["sec-websocket-version"]) == (426, "13")
        assert not server.notes.scopes


# --- what an application may not do

BEFORE: list[tuple[list[Message], type[Exception], str]] = [
    ([{"type": "websocket.send", "text": "x"}], RuntimeError, "the hand-shake is not accepted"),
    ([{"type": "http.response.start", "status": 200}], RuntimeError, "no message that a WebSocket application sends"),
    ([{}], RuntimeError, "None is no message"),
    ([{"type": "websocket.http.response.body"}], RuntimeError, "websocket.http.response.start comes first"),
    ([{"type": "websocket.http.response.start", "status": 99}], ValueError, "status is a number from 200 to 599"),
    ([{**ACCEPT, "subprotocol": "not offered"}], ValueError, "does not offer the subprotocol"),
    ([{**ACCEPT, "subprotocol": b"v1"}], TypeError, "subprotocol is a str or None, not bytes"),
    ([{**ACCEPT, "headers": [(b"a", b"x\r\ny: z")]}], ValueError, "control character"),
    ([{**ACCEPT, "headers": [(b"sec-websocket-accept", b"x")]}], ValueError, "belongs to the hand-shake"),
    ([], RuntimeError, "returned without accepting or closing"),
]


@pytest.mark.parametrize(("messages", "kind", "text"), BEFORE)
def test_a_wrong_message_before_the_accept_is_a_500(
    messages: list[Message], kind: type[Exception], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)

    with serving(application) as server, server.peer() as peer:
        answer = peer.send(HAND_SHAKE % b"/").answer()
        assert answer.status == 500
        assert text.encode() not in answer.body
        assert text in caplog.text
        for error in server.notes.wait().errors:
            assert type(error) is kind
        assert peer.send(HAND_SHAKE % b"/").answer().status == 500


AFTER: list[tuple[list[Message], type[Exception], str]] = [
    ([ACCEPT], RuntimeError, "the hand-shake was answered before"),
    ([{"type": "websocket.http.response.start", "status": 403}], RuntimeError, "the hand-shake was answered before"),
    ([{"type": "websocket.http.response.body"}], RuntimeError, "websocket.http.response.start comes first"),
    ([{"type": "websocket.send"}], ValueError, "either text or bytes"),
    ([{"type": "websocket.send", "text": "x", "bytes": b"x"}], ValueError, "either text or bytes"),
    ([{"type": "websocket.send", "text": b"x"}], TypeError, "text is a str, not bytes"),
    ([{"type": "websocket.send", "bytes": "x"}], TypeError, "bytes are bytes, not str"),
    ([{**CLOSE, "code": 1006}], ValueError, "1006"),
    ([{**CLOSE, "code": 99}], ValueError, "99 is no close code"),
]


@pytest.mark.parametrize(("messages", "kind", "text"), AFTER)
def test_a_wrong_message_after_the_accept_closes_with_1011(
    messages: list[Message], kind: type[Exception], text: str
) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for message in messages:
            await send(message)

    with serving(application) as server:
        with dial(server) as client:
            with pytest.raises(ConnectionClosed):
                client.recv()
            assert client.close_code == 1011
        (error,) = server.notes.wait().errors
        assert type(error) is kind
        assert text in str(error)


@pytest.mark.parametrize("message", [{"type": "websocket.send", "text": "x"}, CLOSE])
def test_nothing_is_sent_after_a_close(message: Message) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send(CLOSE)
        await send(message)

    with serving(application) as server:
        with dial(server) as client, pytest.raises(ConnectionClosed):
            client.recv()
        (error,) = server.notes.wait().errors
        assert type(error) is RuntimeError


def test_a_send_to_who_has_left_is_an_os_error() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        assert (await receive())["type"] == "websocket.disconnect"
        await send({"type": "websocket.send", "text": "x"})

    with serving(application) as server:
        with dial(server):
            pass
        (error,) = server.notes.wait().errors
        assert isinstance(error, OSError)


def test_two_may_not_receive_at_once() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        one = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task is receiving"):
            await receive()
        one.cancel()
        await asyncio.wait({one})
        assert (await receive())["text"] == "after all"

    with serving(application) as server, dial(server) as client:
        client.send("after all")
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert not server.notes.wait().errors


def test_a_message_that_is_too_large_closes_with_1009() -> None:
    with serving(echo, max_message=1000) as server, dial(server) as client:
        client.send("x" * 1001)
        with pytest.raises(ConnectionClosed):
            client.recv()
        assert client.close_code == 1009
        assert server.notes.wait().received[-1]["code"] == 1009


def test_a_slow_client_makes_send_wait() -> None:
    sent: list[int] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(400):
            await send({"type": "websocket.send", "bytes": bytes(65536)})
            sent.append(1)

    with serving(application) as server, server.peer(receive_buffer=4096) as peer:
        peer.send(HAND_SHAKE % b"/")
        assert stuck_at(peer, sent) < 390
        assert server.counters["bytes_buffered"] < 2**20


def test_the_log_is_silent_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), serving(echo) as server:
        with dial(server) as client:
            client.send("x")
            client.recv()
        server.notes.wait()
    assert not caplog.records
