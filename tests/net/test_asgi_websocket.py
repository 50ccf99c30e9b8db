"""The calls of an ASGI server as a carrier of WebSocket: messages both ways, refusals, and ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fastnet import App, HTTPException, WebSocket, WebSocketDisconnect
from fastnet_ext.net.asgi_errors import MessageError
from tests.loops import run
from tests.net.asgi_host import CONNECT, Call, Message, websocket_scope

REFUSALS: Message = {"websocket.http.response": {}}


def text(content: str) -> Message:
    return {"type": "websocket.receive", "text": content}


def binary(content: bytes) -> Message:
    return {"type": "websocket.receive", "bytes": content}


def left(code: int = 1000, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


class Seen:
    """What a handler saw of its connection's end."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.reason = ""
        self.outcome = ""


def make_app(seen: Seen | None = None) -> App:
    app = App()
    seen = seen if seen is not None else Seen()

    @app.websocket("/echo", subprotocols=["chat", "news"], max_message=1000)
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)
        seen.code, seen.reason = ws.close_code, ws.close_reason

    @app.websocket("/receive")
    async def receive(ws: WebSocket) -> None:
        try:
            while True:
                await ws.receive()
        except WebSocketDisconnect as error:
            seen.code, seen.reason = error.code, error.reason
            raise

    @app.websocket("/waits")
    async def waits(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.outcome = "cancelled"
            raise

    @app.websocket("/refuses")
    async def refuses(ws: WebSocket) -> None:
        raise HTTPException(401, "who are you?")

    @app.websocket("/fails")
    async def fails(ws: WebSocket) -> None:
        await ws.receive()
        raise LookupError("secret")

    @app.websocket("/closes")
    async def closes(ws: WebSocket) -> None:
        await ws.accept(headers={"x-room": "1"})
        await ws.close(4001, "enough")

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    return app


async def talk(app: App, scope: Message, *messages: Message, last: Message) -> Call:
    """Messages that are answered with as many, the hand-shake beside, and then the last one."""
    call = Call(app, scope, CONNECT, *messages)
    await call.until(lambda: len(call.sent) == 1 + len(messages))
    call.bring(last)
    return await call.end()


def test_messages_go_both_ways() -> None:
    async def main() -> Call:
        return await talk(make_app(), websocket_scope(), text("héllo"), binary(b"\0\1"), last=left())

    assert run(main()).sent == [
        {"type": "websocket.accept", "subprotocol": None, "headers": []},
        {"type": "websocket.send", "text": "héllo"},
        {"type": "websocket.send", "bytes": b"\0\1"},
    ]


def test_messages_may_name_the_kind_that_they_are_not() -> None:
    async def main() -> Call:
        messages = ({**text("a"), "bytes": None}, {**binary(b"b"), "text": None})
        return await talk(make_app(), websocket_scope(), *messages, last=left())

    assert [message.get("text", message.get("bytes")) for message in run(main()).sent[1:]] == ["a", b"b"]


@pytest.mark.parametrize(
    ("more", "chosen"),
    [
        ({"subprotocols": ["news", "chat"]}, "chat"),
        ({"subprotocols": ["other"]}, None),
        # Not all servers take them apart.
        ({"subprotocols": None, "headers": [(b"sec-websocket-protocol", b"news, other")]}, "news"),
    ],
)
def test_a_subprotocol_is_chosen(more: Message, chosen: str | None) -> None:
    async def main() -> Call:
        return await Call(make_app(), websocket_scope(**more), CONNECT, text("x"), left()).end()

    assert run(main()).sent[0] == {"type": "websocket.accept", "subprotocol": chosen, "headers": []}


def test_the_handler_closes_with_code_and_reason() -> None:
    async def main() -> Call:
        return await Call(make_app(), websocket_scope("/closes"), CONNECT).end()

    assert run(main()).sent == [
        {"type": "websocket.accept", "subprotocol": None, "headers": [(b"x-room", b"1")]},
        {"type": "websocket.close", "code": 4001, "reason": "enough"},
    ]


def test_a_handler_that_returns_closes_with_1000() -> None:
    app = App()

    @app.websocket("/echo")
    async def once(ws: WebSocket) -> None:
        await ws.send("bye")

    async def main() -> Call:
        return await Call(app, websocket_scope(), CONNECT).end()

    assert run(main()).sent[1:] == [
        {"type": "websocket.send", "text": "bye"},
        {"type": "websocket.close", "code": 1000, "reason": ""},
    ]


def test_a_handler_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Call:
        return await Call(make_app(), websocket_scope("/fails"), CONNECT, text("x")).end()

    with caplog.at_level(logging.ERROR, "fastnet.error"):
        close = run(main()).sent[-1]
    assert (close["type"], close["code"]) == ("websocket.close", 1011)
    assert "secret" not in close["reason"]
    assert "secret" in caplog.text


@pytest.mark.parametrize("path", ["/echo", "/receive"])
@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        (left(4000, "done"), 4000, "done"),
        (left(1001), 1001, ""),
        (left(1006), 1006, ""),
        ({"type": "websocket.disconnect"}, 1005, ""),
        # What is no code of a close says that there was none.
        ({"type": "websocket.disconnect", "code": 7, "reason": 7}, 1006, ""),
        ({"type": "websocket.disconnect", "code": "text"}, 1006, ""),
    ],
)
def test_the_peer_s_close_reaches_the_handler(path: str, message: Message, code: int, reason: str) -> None:
    seen = Seen()

    async def main() -> Call:
        call = Call(make_app(seen), websocket_scope(path), CONNECT, text("x"))
        await call.until(lambda: len(call.sent) == (2 if path == "/echo" else 1))
        call.bring(message)
        return await call.end()

    assert "websocket.close" not in run(main()).types
    assert (seen.code, seen.reason) == (code, reason)


def test_a_handler_that_waits_for_something_else_is_cancelled() -> None:
    seen = Seen()

    async def main() -> None:
        call = Call(make_app(seen), websocket_scope("/waits"), CONNECT)
        await call.until(lambda: call.sent)
        call.bring(left(1006))
        await call.end()

    run(main())
    assert seen.outcome == "cancelled"


def test_cancellation_of_the_server_s_task_ends_the_handler() -> None:
    seen = Seen()

    async def main() -> None:
        call = Call(make_app(seen), websocket_scope("/waits"), CONNECT)
        await call.until(lambda: call.sent)
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.end()

    run(main())
    assert seen.outcome == "cancelled"


def test_the_peer_that_leaves_before_the_hand_shake_starts_no_handler() -> None:
    async def main() -> Call:
        return await Call(make_app(), websocket_scope("/refuses"), left(1006)).end()

    assert run(main()).sent == []


# --- refusals


@pytest.mark.parametrize(("path", "status"), [("/refuses", 401), ("/absent", 404)])
def test_a_hand_shake_is_refused_with_an_answer(path: str, status: int) -> None:
    async def main() -> Call:
        return await Call(make_app(), websocket_scope(path, extensions=REFUSALS), CONNECT).end()

    call = run(main())
    assert call.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert call.status == status
    assert str(status).encode() in call.body


@pytest.mark.parametrize("path", ["/refuses", "/absent", "/plain"])
def test_it_is_refused_without_one_where_the_server_has_no_words_for_it(path: str) -> None:
    async def main() -> Call:
        return await Call(make_app(), websocket_scope(path), CONNECT).end()

    assert run(main()).types == ["websocket.close"]


def test_pages_of_other_hosts_are_refused() -> None:
    async def main(origin: bytes) -> list[str]:
        scope = websocket_scope(headers=[(b"host", b"test"), (b"origin", origin)], extensions=REFUSALS)
        return (await Call(make_app(), scope, CONNECT, text("x"), left()).end()).types

    assert run(main(b"http://test"))[0] == "websocket.accept"
    assert run(main(b"http://elsewhere.example"))[0] == "websocket.http.response.start"


# --- limits and pace


def test_a_message_above_the_limit_closes_with_1009() -> None:
    seen = Seen()

    async def main() -> Call:
        return await talk(make_app(seen), websocket_scope(), text("x" * 1000), last=text("é" * 501))

    sent = run(main()).sent
    assert (sent[1]["text"], sent[2]["code"]) == ("x" * 1000, 1009)
    assert seen.code == 1009


def test_a_slow_handler_stops_the_server() -> None:
    app = App()
    go = asyncio.Event()

    @app.websocket("/echo")
    async def lazy(ws: WebSocket) -> None:
        await ws.accept()
        await go.wait()
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        call = Call(app, websocket_scope(), CONNECT, *[text(str(i)) for i in range(100)])
        await call.until(lambda: call.received > 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert call.received < 20
        go.set()
        await call.until(lambda: len(call.sent) == 101)
        call.bring(left())
        await call.end()
        assert [message["text"] for message in call.sent[1:]] == [str(i) for i in range(100)]

    run(main())


def test_a_slow_server_stops_the_handler() -> None:
    app = App()
    made = 0

    @app.websocket("/echo")
    async def floods(ws: WebSocket) -> None:
        nonlocal made
        for _ in range(64):
            await ws.send(b"x" * 16 * 1024)
            made += 1

    async def main() -> Call:
        call = Call(app, websocket_scope(), CONNECT, slow=True)
        await call.until(lambda: made > 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert made < 10
        call.release()
        return await call.end()

    sent = run(main()).sent
    assert (len(sent), sent[-1]["type"]) == (66, "websocket.close")


def test_a_ping_is_the_server_s_affair() -> None:
    app = App()
    told: list[str] = []

    @app.websocket("/echo")
    async def pings(ws: WebSocket) -> None:
        try:
            await ws.ping()
        except NotImplementedError as error:
            told.append(str(error))

    async def main() -> Call:
        return await Call(app, websocket_scope(), CONNECT).end()

    assert run(main()).types == ["websocket.accept", "websocket.close"]
    assert "ASGI has no message" in told[0]


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1006, ""), (1015, ""), (1000, "x" * 124)])
def test_what_no_endpoint_may_send_is_not_sent(code: int, reason: str) -> None:
    app = App()
    told: list[str] = []

    @app.websocket("/echo")
    async def closes(ws: WebSocket) -> None:
        try:
            await ws.close(code, reason)
        except ValueError as error:
            told.append(str(error))

    async def main() -> Call:
        return await Call(app, websocket_scope(), CONNECT).end()

    assert run(main()).sent[-1] == {"type": "websocket.close", "code": 1000, "reason": ""}
    assert len(told) == 1


# --- what the server must not do


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([{"type": "websocket.receive", "text": "x"}], "begins with websocket.connect"),
        ([None], "begins with websocket.connect"),
        ([CONNECT, CONNECT], "'websocket.connect'"),
        ([CONNECT, {"type": "http.request"}], "'http.request'"),
        ([CONNECT, {"type": "websocket.receive"}], "either a text"),
        ([CONNECT, {"type": "websocket.receive", "text": "x", "bytes": b"x"}], "either a text"),
        ([CONNECT, {"type": "websocket.receive", "text": b"x"}], "either a text"),
        ([CONNECT, {"type": "websocket.receive", "bytes": "x"}], "either a text"),
    ],
)
def test_messages_that_may_not_be_are_raised(messages: list[Any], told: str) -> None:
    async def main() -> None:
        with pytest.raises(MessageError, match=told):
            await Call(make_app(), websocket_scope(), *messages).end()

    run(main())


def test_text_that_is_none_is_raised() -> None:
    async def main() -> None:
        with pytest.raises(UnicodeEncodeError):
            await Call(make_app(), websocket_scope(), CONNECT, text("\ud800")).end()

    run(main())


def test_a_server_that_stops_says_goodbye() -> None:
    seen = Seen()
    app = make_app(seen)

    async def main() -> Call:
        call = Call(app, websocket_scope(), CONNECT, text("x"))
        await call.until(lambda: len(call.sent) == 2)
        lifespan = Call(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
        await lifespan.end()
        assert lifespan.types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        return await call.end()

    assert run(main()).sent[-1]["code"] == 1001
    assert seen.code == 1001


# --- callbacks and rooms


def test_callbacks_and_rooms_work_behind_other_servers() -> None:
    async def test() -> None:
        app = App()
        hub = app.hub()
        ends: list[tuple[int, str]] = []

        def on_open(ws: WebSocket, room: str) -> None:
            hub.join(ws, room)

        def on_message(ws: WebSocket, message: str | bytes) -> None:
            hub.broadcast("tea", message)
            if message == "bye":
                ws.close(4000, "as you wish")

        def on_close(ws: WebSocket, code: int, reason: str) -> None:
            ends.append((code, reason))

        app.websocket("/{room}", on_open=on_open, on_message=on_message, on_close=on_close)
        one, two = (Call(app, websocket_scope("/tea"), CONNECT) for _ in range(2))
        await one.until(lambda: len(hub.members("tea")) == 2)
        one.bring(text("hello"), binary(b"binary"))
        for call in (one, two):
            await call.until(lambda call=call: len(call.sent) == 3)
            assert [message.get("text") or message.get("bytes") for message in call.sent[1:]] == ["hello", b"binary"]
        two.bring(left(1001, "gone"))
        await two.end()
        one.bring(text("bye"))
        await one.end()
        assert one.sent[-1] == {"type": "websocket.close", "code": 4000, "reason": "as you wish"}
        assert ends == [(1001, "gone"), (4000, "as you wish")]
        assert hub.rooms == []

    run(test())


def test_a_callback_whose_answers_wait_gets_no_more() -> None:
    async def test() -> None:
        app = App()
        taken: list[Any] = []

        def on_message(ws: WebSocket, message: bytes) -> None:
            taken.append(ws.send_nowait(bytes(200_000)))

        app.websocket("/", on_message=on_message)
        call = Call(app, websocket_scope("/"), CONNECT)
        await call.until(lambda: call.sent)
        call.hold()
        call.bring(*(binary(b"x") for _ in range(100)))
        await call.until(lambda: taken)
        await asyncio.sleep(0.05)
        assert len(taken) < 50
        assert taken[-1] is False
        call.release()
        await call.until(lambda: len(call.sent) == 101)
        call.bring(left())
        await call.end()

    run(test())
