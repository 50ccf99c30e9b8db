"""WebSocket handlers on a carrier in memory; the client is the machine in the other role."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.response import Response
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan, ProtocolArgument
from fastnet_ext.serve.websocket import InvalidMessage, WebSocket, WebSocketDisconnect, WebSocketEndpoint
from fastnet_ext.websocket.connection import Connection
from tests.loops import new_loop, run

Handler = Callable[[WebSocket[Any, Any]], Coroutine[Any, Any, None]]
Fields = list[tuple[bytes, bytes]]

# RFC 6455, section 1.3: a key and the answer to it.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE: Fields = [
    (b"host", b"example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
]
CONNECT: Fields = [(b"sec-websocket-version", b"13")]


class JumpLoop(asyncio.SelectorEventLoop):
    """A loop whose clock a test moves."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def on_error(request: Any, error: Exception) -> Response:
    return Response(f"{type(error).__name__}: {error}", getattr(error, "status", 0) or 500)


async def turns(count: int = 8) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


class Opened:
    """A connection with a handler behind it."""

    def __init__(
        self,
        handler: Handler,
        fields: Fields | None = None,
        *,
        method: str = "GET",
        version: int = 11,
        body: bytes = b"",
        streaming: bool = False,
        on_error: Callable[[Any, Any], Response | Awaitable[Response]] = on_error,
        **options: Any,
    ) -> None:
        plan = CallPlan(handler, [ProtocolArgument("ws")])
        endpoint = WebSocketEndpoint(plan, HttpEndpoint(CallPlan(handler)), **options)
        route = Route(endpoint, path="/", methods=("WEBSOCKET",), on_error=on_error)
        self.state = LoopState(asyncio.get_running_loop())
        fields = UPGRADE if fields is None else fields
        if streaming:
            self.x = MemoryExchange.streaming(method, "/", fields, route=route, local=self.state.local, version=version)
        else:
            self.x = MemoryExchange(method, "/", fields, body, route=route, local=self.state.local, version=version)
        self.client = Connection("client")
        self.read = 0
        self.x.run()

    @property
    def finished(self) -> bool:
        """The exchange has given back what it held."""
        return self.x.is_finished

    def send(self, *messages: str | bytes) -> None:
        """Messages, all in one piece."""
        for message in messages:
            if isinstance(message, str):
                self.client.send_text(message)
            else:
                self.client.send_bytes(message)
        self.push()

    def push(self) -> None:
        self.x.push(self.client.data_to_send())

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.client.close(code, reason)
        self.push()

    def events(self) -> list[tuple[Any, ...]]:
        """What the client sees that it has not seen before."""
        data, self.read = self.x.content[self.read :], len(self.x.content)
        return list(self.client.receive_data(bytearray(data)))


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def open_and_run(test: Callable[[], Coroutine[Any, Any, None]], *, jump: bool = False) -> None:
    run(test(), loop_factory=JumpLoop if jump else new_loop)


# --- the hand-shake


def test_the_first_receive_answers_the_hand_shake() -> None:
    async def test() -> None:
        go = asyncio.Event()

        async def handler(ws: WebSocket) -> None:
            await go.wait()
            await ws.receive()

        opened = Opened(handler)
        await turns()
        assert opened.x.answer_status == 0
        go.set()
        await turns()
        assert opened.x.answer_status == 101
        assert opened.x.tunnel
        assert opened.x.fields == [(b"upgrade", b"websocket"), (b"sec-websocket-accept", ACCEPT)]
        opened.x.disconnect()

    open_and_run(test)


@pytest.mark.parametrize("touch", ["send", "ping", "close", "send_json"])
def test_what_else_answers_the_hand_shake(touch: str) -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            touches: dict[str, Callable[[], Awaitable[Any]]] = {
                "send": lambda: ws.send("x"),
                "ping": lambda: ws.ping(b"x"),
                "close": lambda: ws.close(4000, "x"),
                "send_json": lambda: ws.send_json("x"),
            }
            await touches[touch]()
            await asyncio.Event().wait()

        opened = Opened(handler)
        await turns()
        assert opened.x.answer_status == 101
        first = {
            "send": ("text", "x"),
            "ping": ("ping", b"x"),
            "close": ("close", 4000, "x"),
            "send_json": ("text", '"x"'),
        }
        assert opened.events() == [first[touch]]
        opened.x.disconnect()
        await turns()

    open_and_run(test)


def test_a_handler_that_touches_nothing_opens_and_closes() -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            pass

        opened = Opened(handler)
        await turns()
        assert opened.x.answer_status == 101
        assert opened.events() == [("close", 1000, "")]
        assert not opened.x.complete
        opened.push()  # the client's Close
        assert opened.x.complete
        assert opened.finished

    open_and_run(test)


def _without(name: bytes) -> Fields:
    return [field for field in UPGRADE if field[0] != name]


@pytest.mark.parametrize(
    ("fields", "options", "status"),
    [
        (_without(b"sec-websocket-version"), {}, 426),
        ([*_without(b"sec-websocket-version"), (b"sec-websocket-version", b"8")], {}, 426),
        (_without(b"upgrade"), {}, 426),
        (UPGRADE, {"method": "WEBSOCKET"}, 405),
        (_without(b"sec-websocket-key"), {}, 400),
        ([*UPGRADE, (b"sec-websocket-key", KEY)], {}, 400),
        ([*UPGRADE, (b"sec-websocket-protocol", b"a, a")], {}, 400),
        (UPGRADE, {"version": 10}, 400),
        (UPGRADE, {"body": b"hello"}, 400),
    ],
)
def test_a_wrong_hand_shake_is_refused(fields: Fields, options: dict[str, Any], status: int) -> None:
    async def test() -> None:
        called: list[bool] = []

        async def handler(ws: WebSocket) -> None:
            called.append(True)

        opened = Opened(handler, fields, **options)
        await turns()
        assert opened.x.answer_status == status
        assert opened.x.content.startswith(b"HandshakeRefused: ")
        assert opened.x.complete
        assert opened.finished
        assert not called
        answer = dict(opened.x.fields or [])
        if status == 426:
            assert (answer[b"upgrade"], answer[b"sec-websocket-version"]) == (b"websocket", b"13")
        if status == 405:
            assert answer[b"allow"] == b"GET"

    open_and_run(test)


@pytest.mark.parametrize(
    ("origin", "origins", "status"),
    [
        (None, None, 101),
        (b"http://example.com", None, 101),
        (b"https://evil.example", None, 403),
        (b"null", None, 403),
        (b"https://example.com", ["https://other.example"], 403),
        (b"https://other.example", ["https://Other.example/"], 101),
        (b"https://OTHER.example", ["https://other.example"], 101),
        (b"https://anything.example", ["*"], 101),
        (b"null", ["null"], 101),
        (None, ["https://other.example"], 101),
        (b"https://other.example", [], 403),
    ],
)
def test_origins(origin: bytes | None, origins: list[str] | None, status: int) -> None:
    async def test() -> None:
        fields = UPGRADE if origin is None else [*UPGRADE, (b"origin", origin)]
        opened = Opened(echo, fields, origins=origins)
        await turns()
        assert opened.x.answer_status == status
        if status == 403:
            assert b"origins=[...]" in opened.x.content
        opened.x.disconnect()
        await turns()

    open_and_run(test)


def test_two_origins_are_none_of_the_list() -> None:
    async def test() -> None:
        fields = [*UPGRADE, (b"origin", b"https://a.example"), (b"origin", b"https://a.example")]
        opened = Opened(echo, fields, origins=["https://a.example"])
        assert opened.x.answer_status == 403

    open_and_run(test)


class Refused(Exception):
    status = 401


@pytest.mark.parametrize("wait", [False, True])
def test_an_exception_before_the_answer_refuses(wait: bool) -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            if wait:
                await asyncio.sleep(0)
            raise Refused("who are you")

        opened = Opened(handler)
        await turns()
        assert opened.x.answer_status == 401
        assert opened.x.content == b"Refused: who are you"
        assert opened.finished

    open_and_run(test)


def test_an_error_may_be_answered_by_a_coroutine() -> None:
    async def test() -> None:
        async def slowly(request: Any, error: Exception) -> Response:
            await asyncio.sleep(0)
            return Response("later", 426)

        opened = Opened(echo, _without(b"sec-websocket-version"), on_error=slowly)
        await turns()
        assert (opened.x.answer_status, opened.x.content) == (426, b"later")
        # The fields that the protocol asks for are there whoever renders the error.
        assert dict(opened.x.fields or [])[b"sec-websocket-version"] == b"13"
        assert opened.finished

    open_and_run(test)


def test_an_error_that_cannot_be_answered_aborts(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        def broken(request: Any, error: Exception) -> Response:
            raise KeyError("broken")

        opened = Opened(echo, _without(b"sec-websocket-version"), on_error=broken)
        await turns()
        assert opened.x.aborted_with == 2
        assert opened.finished
        assert "could not be answered" in caplog.text

    open_and_run(test)


def test_accept_chooses_and_adds() -> None:
    async def test() -> None:
        seen: list[str | None] = []

        async def handler(ws: WebSocket) -> None:
            with pytest.raises(ValueError, match="does not offer"):
                await ws.accept("nope")
            for name in ("sec-websocket-accept", "connection", "upgrade", "content-length"):
                with pytest.raises(ValueError, match="belongs to"):
                    await ws.accept(headers={name: "x"})
            with pytest.raises(ValueError, match="control character"):
                await ws.accept(headers={"x-a": "a\r\nb"})
            await ws.accept("b", headers=[("X-Room", "7"), ("set-cookie", "a=1"), ("set-cookie", "b=2")])
            seen.append(ws.subprotocol)
            with pytest.raises(RuntimeError, match="accepted before"):
                await ws.accept()

        opened = Opened(handler, [*UPGRADE, (b"sec-websocket-protocol", b"a, b")])
        await turns()
        assert opened.x.fields == [
            (b"upgrade", b"websocket"),
            (b"sec-websocket-accept", ACCEPT),
            (b"sec-websocket-protocol", b"b"),
            (b"x-room", b"7"),
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
        ]
        assert seen == ["b"]
        opened.x.disconnect()

    open_and_run(test)


@pytest.mark.parametrize(
    ("offered", "agreed"), [(b"x, chat.v1, chat.v2", "chat.v2"), (b"chat.v1", "chat.v1"), (b"x", None), (None, None)]
)
def test_the_routes_subprotocols_are_chosen_from(offered: bytes | None, agreed: str | None) -> None:
    async def test() -> None:
        fields = UPGRADE if offered is None else [*UPGRADE, (b"sec-websocket-protocol", offered)]
        opened = Opened(echo, fields, subprotocols=["chat.v2", "chat.v1"])
        await turns()
        answer = dict(opened.x.fields or [])
        assert answer.get(b"sec-websocket-protocol") == (None if agreed is None else agreed.encode())
        opened.x.disconnect()

    open_and_run(test)


def test_the_request_is_at_hand() -> None:
    async def test() -> None:
        seen: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            seen.extend(
                [ws.headers["host"], ws.cookies, dict(ws.query_params), ws.url, ws.path, ws.http_version, ws.scheme]
            )
            ws.state.user = "ada"
            seen.append(ws.state.user)

        Opened(handler, [*UPGRADE, (b"cookie", b"a=1; b=2")])
        await turns()
        assert seen == ["example.com", {"a": "1", "b": "2"}, {}, "ws://example.com/", "/", "1.1", "ws", "ada"]

    open_and_run(test)


# --- over HTTP/2 (RFC 8441)


def http2(handler: Handler, **options: Any) -> Opened:
    return Opened(handler, CONNECT, method="CONNECT", version=20, streaming=True, **options)


def test_extended_connect_is_answered_with_200() -> None:
    async def test() -> None:
        opened = http2(echo)
        await turns()
        assert opened.x.answer_status == 200
        assert opened.x.fields == []
        opened.send("hi")
        await turns()
        assert opened.events() == [("text", "hi")]
        opened.x.push_end()
        await turns()
        assert opened.x.complete

    open_and_run(test)


@pytest.mark.parametrize("end", [False, True])
def test_what_comes_before_the_answer_is_kept(end: bool) -> None:
    async def test() -> None:
        go = asyncio.Event()
        taken: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            await go.wait()
            taken.extend([message async for message in ws])
            taken.append(ws.close_code)

        opened = http2(handler)
        await turns()
        opened.send("early", b"bird")
        if end:
            opened.x.push_end()
        await turns()
        go.set()
        await turns()
        assert taken == (["early", b"bird", 1006] if end else [])
        assert opened.x.complete is end
        opened.x.disconnect()
        await turns()
        assert taken == ["early", b"bird", 1006]

    open_and_run(test)


# --- messages


def test_an_echo() -> None:
    async def test() -> None:
        opened = Opened(echo)
        await turns()
        messages: list[str | bytes] = [
            "hello",
            b"\x00\xff",
            "",
            b"",
            "žluťoučký 🐎",
            "x" * 200,
            b"y" * 70_000,
            "z" * 20_000,
        ]
        opened.send(*messages)
        await turns(40)
        assert opened.events() == [("text" if isinstance(each, str) else "binary", each) for each in messages]
        opened.close(1001, "bye")
        await turns()
        assert opened.events() == [("close", 1001, "bye")]
        assert opened.finished

    open_and_run(test)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=300)), max_size=60), st.data())
def test_any_messages_in_any_pieces(messages: list[str | bytes], data: st.DataObject) -> None:
    async def test() -> None:
        opened = Opened(echo)
        await turns()
        for message in messages:
            if isinstance(message, str):
                opened.client.send_text(message)
            else:
                opened.client.send_bytes(message)
        raw = opened.client.data_to_send()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            opened.x.push(raw[start:end])
            await turns(data.draw(st.integers(0, 2)))
        await turns(4 * len(messages) + 8)
        assert opened.events() == [("text" if isinstance(each, str) else "binary", each) for each in messages]
        opened.x.disconnect()
        await turns()

    open_and_run(test)


def test_unmasking_touches_no_bytes_of_others() -> None:
    """Bytes of length one are shared by the whole interpreter: pushed one by one they must stay what they are."""

    async def test() -> None:
        opened = Opened(echo)
        await turns()
        opened.client.send_text("a text of some length")
        for byte in opened.client.data_to_send():
            opened.x.push(bytes([byte]))
        await turns(8)
        assert opened.events() == [("text", "a text of some length")]
        assert [bytes([number])[0] for number in range(256)] == list(range(256))
        opened.x.disconnect()
        await turns()

    open_and_run(test)


def test_fragments_are_one_message() -> None:
    async def test() -> None:
        opened = Opened(echo)
        await turns()
        opened.client.send_fragment("é".encode()[:1], text=True)
        opened.client.ping(b"between")
        opened.client.send_fragment("é".encode()[1:], text=True, final=True)
        opened.push()
        await turns()
        assert opened.events() == [("pong", b"between"), ("text", "é")]
        opened.x.disconnect()

    open_and_run(test)


@pytest.mark.parametrize("message", [bytearray(b"abc"), memoryview(b"xabcx")[1:4], bytearray(b"q") * 40_000])
def test_buffers_are_sent_as_binary(message: Any) -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            await ws.send(message)

        opened = Opened(handler)
        await turns()
        assert opened.events()[0] == ("binary", bytes(message))
        opened.x.disconnect()

    open_and_run(test)


def test_what_is_no_message_is_refused() -> None:
    async def test() -> None:
        async def handler(ws: WebSocket[Any, Any]) -> None:
            with pytest.raises(TypeError, match="send_json"):
                await ws.send(7)
            with pytest.raises(UnicodeEncodeError):
                await ws.send("\ud800")
            with pytest.raises(BufferError):
                await ws.send(memoryview(b"abcd")[::2])
            with pytest.raises(ValueError, match="125"):
                await ws.ping(b"x" * 126)
            await ws.send("fine")

        opened = Opened(handler)
        await turns()
        assert opened.events()[0] == ("text", "fine")
        opened.x.disconnect()

    open_and_run(test)


def test_json_both_ways() -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            await ws.send_json({"got": await ws.receive_json()})
            await ws.send_json({"got": await ws.receive_json(list[int])})
            await ws.receive_json(list[int])

        opened = Opened(handler)
        await turns()
        opened.send('{"a": [1]}', b"[1, 2]", '["x"]')
        await turns()
        *told, close = opened.events()
        assert told == [("text", '{"got":{"a":[1]}}'), ("text", '{"got":[1,2]}')]
        assert close[:2] == ("close", 1007)
        assert "Expected `int`" in close[2]
        opened.push()
        assert opened.finished

    open_and_run(test)


@pytest.mark.parametrize(
    ("method", "right", "wrong"), [("receive_text", "text", b"binary"), ("receive_bytes", b"binary", "text")]
)
def test_one_kind_of_message(
    method: str, right: str | bytes, wrong: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        taken: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            taken.append(await getattr(ws, method)())
            try:
                await getattr(ws, method)()
            except InvalidMessage as error:
                taken.append(error.code)
                raise

        opened = Opened(handler)
        await turns()
        opened.send(right, wrong)
        await turns()
        assert taken == [right, 1003]
        assert opened.events()[0][:2] == ("close", 1003)
        # What a peer does wrong is no failure of ours.
        assert not caplog.records
        opened.push()

    open_and_run(test)


def test_decoded_and_encoded_values() -> None:
    async def test() -> None:
        async def handler(ws: WebSocket[tuple[int, int], list[int]]) -> None:
            async for pair in ws:
                await ws.send(list(pair))

        opened = Opened(
            handler,
            decode=lambda message: tuple(int(part) for part in message.split(",")),
            encode=lambda value: repr(value).encode(),
        )
        await turns()
        opened.send("1,2", "3,4")
        await turns()
        assert opened.events() == [("text", "[1, 2]"), ("text", "[3, 4]")]
        opened.x.disconnect()

    open_and_run(test)


def test_one_receiver_at_a_time() -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            task = asyncio.create_task(ws.receive())
            await turns(2)
            with pytest.raises(RuntimeError, match="one at a time"):
                await ws.receive()
            await ws.send(await task)

        opened = Opened(handler)
        await turns(20)
        opened.send("one")
        await turns()
        assert opened.events()[0] == ("text", "one")
        opened.x.disconnect()

    open_and_run(test)


def test_one_task_at_a_time_awaits_an_iterator() -> None:
    async def test() -> None:
        seen: list[Any] = []

        async def first(messages: Any) -> None:
            seen.append(await anext(messages))

        async def handler(ws: WebSocket) -> None:
            messages = aiter(ws)
            waiting = asyncio.create_task(first(messages))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="one at a time"):
                await anext(messages)
            with pytest.raises(RuntimeError, match="one at a time"):
                await ws.receive()
            await waiting
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(messages), 0)
            seen.append("a wait was given up")
            seen.extend([message async for message in ws])

        opened = Opened(handler)
        await turns()
        opened.send("one")
        await turns()
        opened.send("two", b"three")
        await turns()
        opened.close()
        await turns()
        assert opened.finished
        assert seen == ["one", "a wait was given up", "two", b"three"]

    open_and_run(test)


def test_a_cancelled_wait_loses_nothing() -> None:
    async def test() -> None:
        taken: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            waiting = asyncio.create_task(ws.receive())
            await turns(2)
            opened.send("first")  # the task is woken, and cancelled before it runs
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            taken.append(await ws.receive())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await ws.receive()
            await ws.send("again")
            taken.append(await ws.receive())

        opened = Opened(handler)
        await turns(20)
        assert opened.events() == [("text", "again")]
        opened.send("second")
        await turns()
        assert taken == ["first", "second"]
        opened.x.disconnect()

    open_and_run(test)


def test_awaitables_work_with_asyncio() -> None:
    async def test() -> None:
        taken: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            taken.append(await asyncio.wait_for(ws.receive(), 5))
            *_, latency = await asyncio.gather(ws.send("a"), ws.send("b"), ws.ping(b"c"))
            assert latency >= 0
            await asyncio.create_task(ws.send("d"))
            _, pending = await asyncio.wait({asyncio.create_task(ws.receive())}, timeout=0)
            for task in pending:
                task.cancel()

        opened = Opened(handler)
        await turns()
        opened.send("x")
        await turns(20)
        assert taken == ["x"]
        assert opened.events() == [("text", "a"), ("text", "b"), ("ping", b"c")]
        opened.push()
        await turns(20)
        assert opened.events() == [("text", "d"), ("close", 1000, "")]
        opened.push()
        await turns()

    open_and_run(test)


def test_the_handler_runs_in_one_real_task() -> None:
    async def test() -> None:
        tasks: set[Any] = set()

        async def handler(ws: WebSocket) -> None:
            tasks.add(asyncio.current_task())
            async for _ in ws:
                tasks.add(asyncio.current_task())

        opened = Opened(handler)
        for text in "abc":
            opened.send(text)
            await turns()
        assert len(tasks) == 1
        assert isinstance(next(iter(tasks)), asyncio.Task)
        opened.x.disconnect()

    open_and_run(test)


# --- pressure


@pytest.mark.parametrize(("count", "size"), [(300, 1), (40, 200_000)])
def test_a_queue_that_overflows_loses_nothing(count: int, size: int) -> None:
    async def test() -> None:
        taken: list[str | bytes] = []
        go = asyncio.Event()

        async def handler(ws: WebSocket) -> None:
            await ws.accept()
            await go.wait()
            while True:
                taken.append(await ws.receive())

        opened = Opened(handler)
        await turns()
        messages = [f"{index:09}" + "x" * size for index in range(count)]
        opened.send(*messages[: count // 2])
        opened.send(*messages[count // 2 :])
        opened.client.ping(b"last")
        opened.push()
        await turns()
        # What stands behind a full queue is not looked at.
        assert opened.events() == []
        go.set()
        await turns(2 * count)
        assert taken == messages
        assert opened.events() == [("pong", b"last")]
        opened.x.disconnect()

    open_and_run(test)


def test_senders_wait_for_a_slow_peer() -> None:
    async def test() -> None:
        sent: list[int] = []

        async def sender(ws: WebSocket, number: int) -> None:
            await ws.send(str(number))
            sent.append(number)

        async def handler(ws: WebSocket) -> None:
            await ws.send("ready")
            opened.x.slow = True
            await asyncio.gather(*(sender(ws, number) for number in range(3)))
            await ws.send("done")

        opened = Opened(handler)
        await turns(20)
        # Written at once, each of them.
        assert opened.events() == [("text", "ready"), ("text", "0"), ("text", "1"), ("text", "2")]
        assert sent == []
        opened.x.drain()
        await turns()
        assert sent == [0, 1, 2]
        assert opened.events() == [("text", "done"), ("close", 1000, "")]
        opened.push()

    open_and_run(test)


@pytest.mark.parametrize("end", ["gone", "timeout"])
def test_a_sender_is_let_go_after_the_handler(end: str) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpLoop)
        senders: list[asyncio.Task[None]] = []

        async def handler(ws: WebSocket) -> None:
            await ws.accept()
            opened.x.slow = True
            senders.append(asyncio.create_task(ws.send("x")))
            await asyncio.sleep(0)

        opened = Opened(handler)
        await turns()
        assert not senders[0].done()
        if end == "gone":
            opened.x.disconnect()
        else:
            loop.ahead = 10.5
        await turns()
        assert senders[0].done()
        if end == "gone":
            assert isinstance(senders[0].exception(), WebSocketDisconnect)
        assert opened.finished

    open_and_run(test, jump=True)


def test_a_sender_hears_of_the_end() -> None:
    async def test() -> None:
        ends: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            async def sender() -> None:
                try:
                    await ws.send("x")
                except WebSocketDisconnect as error:
                    ends.append(error.code)

            await ws.accept()
            opened.x.slow = True
            task = asyncio.create_task(sender())
            try:
                await ws.receive()
            except WebSocketDisconnect as error:
                ends.append(error.code)
            await task

        opened = Opened(handler)
        await turns()
        opened.x.disconnect()
        await turns()
        assert ends == [1006, 1006]
        assert opened.finished

    open_and_run(test)


def test_a_peer_that_pings_and_does_not_read_is_not_read() -> None:
    async def test() -> None:
        opened = Opened(echo)
        await turns()
        opened.x.slow = True
        opened.client.ping(b"1")
        opened.push()
        for _ in range(100):
            opened.client.ping(b"2")
        opened.push()
        await turns()
        assert opened.events() == [("pong", b"1")]
        opened.x.drain()
        await turns()
        assert opened.events() == [("pong", b"2")] * 100
        opened.x.disconnect()

    open_and_run(test)


# --- waits that end


def test_a_receive_that_takes_too_long() -> None:
    async def test() -> None:
        taken: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            for timeout in (0, 0.01):
                with pytest.raises(TimeoutError):
                    await ws.receive(timeout=timeout)
            # What comes in time is taken, what came before needs no time, and no timer is left running.
            taken.append(await ws.receive_text(timeout=30))
            taken.append(await ws.receive_bytes(timeout=0))
            taken.append(await ws.receive_json(int, timeout=30))

        opened = Opened(handler)
        await turns()
        await asyncio.sleep(0.05)
        opened.send("late", b"there")
        await turns()
        opened.send("3")
        await turns()
        assert taken == ["late", b"there", 3]
        loop = asyncio.get_running_loop()
        assert not [handle for handle in getattr(loop, "_scheduled", ()) if "Receive" in repr(handle)]
        opened.x.disconnect()

    open_and_run(test)


def test_a_receive_with_a_timeout_is_cancelled_and_closed_as_any_other() -> None:
    async def test() -> None:
        ends: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            waiting = asyncio.create_task(ws.receive(timeout=30))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.receive(timeout=30)
            ends.append(caught.value.code)

        opened = Opened(handler)
        await turns()
        opened.close(4000)
        await turns()
        assert ends == [4000]

    open_and_run(test)


def test_a_ping_gives_the_time_that_its_answer_took() -> None:
    async def test() -> None:
        found: list[float] = []
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpLoop)

        async def handler(ws: WebSocket) -> None:
            found.append(await ws.ping())

        opened = Opened(handler)
        await turns()
        ((kind, payload),) = opened.events()
        assert (kind, len(payload)) == ("ping", 4)
        loop.ahead += 3
        opened.push()
        await turns()
        assert 3 <= found[0] < 60
        opened.x.disconnect()

    open_and_run(test, jump=True)


def test_a_pong_answers_the_pings_before_its_own() -> None:
    """RFC 6455, section 5.5.3: a peer may answer the latest only."""

    async def test() -> None:
        done: list[int] = []

        async def handler(ws: WebSocket) -> None:
            first, second, third = ws.ping(b"1"), ws.ping(b"2"), ws.ping(b"3")
            await first
            await second
            done.append(2)
            await third
            done.append(3)

        opened = Opened(handler)
        await turns()
        expected: list[int]
        for payload, expected in ((b"unasked", []), (b"2", [2]), (b"2", [2]), (b"3", [2, 3])):
            opened.client.pong(payload)
            opened.push()
            await turns()
            assert done == expected

    open_and_run(test)


def test_pings_end_with_the_connection_and_are_not_kept_for_ever() -> None:
    async def test() -> None:
        ends: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            first = ws.ping()
            rest = [ws.ping() for _ in range(16)]
            with pytest.raises(TimeoutError, match="nor the 16"):
                await first
            waiting = asyncio.ensure_future(rest[-1])
            with pytest.raises(WebSocketDisconnect):
                await ws.receive()
            with pytest.raises(WebSocketDisconnect):
                await waiting
            ends.append(ws.close_code)
            with pytest.raises(WebSocketDisconnect):
                await rest[0]

        opened = Opened(handler)
        await turns()
        opened.close(4000)
        await turns()
        assert ends == [4000]
        assert opened.finished

    open_and_run(test)


def test_send_nowait_says_whether_the_peer_keeps_up() -> None:
    async def test() -> None:
        said: list[bool] = []

        async def handler(ws: WebSocket) -> None:
            said.append(ws.send_nowait("a"))
            opened.x.slow = True
            said.append(ws.send_nowait(b"b"))
            await ws.close()
            with pytest.raises(WebSocketDisconnect):
                ws.send_nowait("late")

        opened = Opened(handler)
        await turns()
        assert said == [True, False]
        assert opened.events() == [("text", "a"), ("binary", b"b"), ("close", 1000, "")]
        opened.x.disconnect()

    open_and_run(test)


# --- the close


def test_the_peer_closes() -> None:
    async def test() -> None:
        seen: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            assert (ws.closed, ws.close_code, ws.close_reason) == (False, None, "")
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.receive()
            seen.extend([caught.value.code, caught.value.reason, ws.closed, ws.close_code, ws.close_reason])
            for late in (ws.send, ws.ping):
                with pytest.raises(WebSocketDisconnect):
                    await late(b"late")
            await ws.close()  # nothing happens

        opened = Opened(handler)
        await turns()
        opened.close(4001, "enough")
        await turns()
        assert seen == [4001, "enough", True, 4001, "enough"]
        assert opened.events() == [("close", 4001, "enough")]
        assert opened.finished

    open_and_run(test)


def test_a_close_without_a_code() -> None:
    async def test() -> None:
        codes: list[int | None] = []

        async def handler(ws: WebSocket) -> None:
            async for _ in ws:
                pass
            codes.append(ws.close_code)

        opened = Opened(handler)
        await turns()
        opened.close(1005)
        await turns()
        assert codes == [1005]
        assert opened.x.content == b"\x88\x00"

    open_and_run(test)


def test_we_close_and_wait_for_the_peer() -> None:
    async def test() -> None:
        seen: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            await ws.receive()
            await ws.close(4002, "go")
            seen.extend([ws.closed, ws.close_code])
            with pytest.raises(WebSocketDisconnect, match="4002"):
                await ws.receive()
            await ws.close(1000)  # closed before

        opened = Opened(handler)
        await turns()
        opened.send("start")
        await turns()
        assert seen == [True, 4002]
        # Messages of a peer that has not seen our Close yet are dropped, its pings answered.
        opened.send(*["late"] * 50)
        opened.client.ping(b"?")
        opened.push()
        assert not opened.x.complete
        assert opened.x.content.endswith(b"\x8a\x01?")
        assert opened.events() == [("close", 4002, "go")]
        opened.push()
        assert opened.x.complete
        assert opened.finished

    open_and_run(test)


def test_a_peer_that_never_answers_our_close() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpLoop)

        async def handler(ws: WebSocket) -> None:
            await ws.close()

        opened = Opened(handler)
        await turns()
        loop.ahead = 9.9
        await turns()
        assert not opened.x.complete
        loop.ahead = 10.5
        await turns()
        assert opened.x.complete
        assert opened.finished

    open_and_run(test, jump=True)


@pytest.mark.parametrize(
    ("code", "reason"), [(999, ""), (1004, ""), (1006, ""), (5000, ""), (70_000, ""), (1000, "x" * 124)]
)
def test_what_cannot_be_closed_with(code: int, reason: str) -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            with pytest.raises(ValueError):
                await ws.close(code, reason)
            assert not ws.closed

        opened = Opened(handler)
        await turns()
        assert opened.events() == [("close", 1000, "")]
        opened.push()

    open_and_run(test)


def test_closing_from_another_task_ends_the_receive() -> None:
    async def test() -> None:
        ends: list[int | None] = []

        async def handler(ws: WebSocket) -> None:
            asyncio.get_running_loop().call_soon(ws.close, 4003)
            async for _ in ws:
                pass
            ends.append(ws.close_code)

        opened = Opened(handler)
        await turns()
        assert ends == [4003]
        opened.events()
        opened.push()
        assert opened.finished

    open_and_run(test)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
        (b"\x81\x81\0\0\0\0\xff", 1007),  # text that is no UTF-8
        (b"\x82\xff\0\0\0\0\0\x10\0\x01\0\0\0\0", 1009),  # one byte over 1 MiB
    ],
)
def test_a_broken_rule_closes(frame: bytes, code: int) -> None:
    async def test() -> None:
        ends: list[int | None] = []

        async def handler(ws: WebSocket) -> None:
            async for _ in ws:
                pass
            ends.append(ws.close_code)

        opened = Opened(handler)
        await turns()
        opened.x.push(frame)
        await turns()
        assert ends == [code]
        assert opened.events()[0][:2] == ("close", code)
        assert opened.finished

    open_and_run(test)


def test_max_message() -> None:
    async def test() -> None:
        opened = Opened(echo, max_message=10)
        await turns()
        opened.send("x" * 10)
        await turns()
        assert opened.events() == [("text", "x" * 10)]
        opened.send("x" * 11)
        await turns()
        assert opened.events()[0][:2] == ("close", 1009)

    open_and_run(test)


def test_a_handler_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            await ws.send(await ws.receive())
            raise LookupError("secret")

        opened = Opened(handler, [*UPGRADE, (b"x-request-id", b"r-17")])
        await turns()
        opened.send("x")
        await turns()
        text, close = opened.events()
        assert text == ("text", "x")
        assert close[:2] == ("close", 1011)
        assert "r-17" in close[2]
        assert "secret" not in close[2]
        [record] = caplog.records
        assert record.name == "fastnet.error"
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], LookupError)
        assert not opened.finished
        opened.push()
        assert opened.finished

    open_and_run(test)


def test_a_handler_that_lets_the_disconnect_through(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async def handler(ws: WebSocket) -> None:
            while True:
                await ws.receive()

        opened = Opened(handler)
        await turns()
        opened.close()
        await turns()
        assert opened.finished
        assert not caplog.records

    open_and_run(test)


def test_a_handler_that_is_cancelled_by_others() -> None:
    async def test() -> None:
        tasks: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            tasks.append(asyncio.current_task())
            await ws.receive()

        opened = Opened(handler)
        await turns()
        tasks[0].cancel()
        await turns()
        assert tasks[0].cancelled()
        assert opened.events() == [("close", 1001, "")]
        opened.push()
        assert opened.finished

    open_and_run(test)


# --- the peer leaves


def waiting_handler(log: list[Any]) -> Handler:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append(("cancelled", ws.close_code))
            raise

    return handler


@pytest.mark.parametrize(("leave", "code"), [("gone", 1006), ("close", 1000), ("break", 1002)])
def test_a_handler_that_waits_for_something_else_is_cancelled(leave: str, code: int) -> None:
    async def test() -> None:
        log: list[Any] = []
        opened = Opened(waiting_handler(log))
        await turns()
        if leave == "gone":
            opened.x.disconnect()
        elif leave == "close":
            opened.close()
        else:
            opened.x.push(b"\xc1\x80\0\0\0\0")
        await turns()
        assert log == [("cancelled", code)]
        assert opened.finished

    open_and_run(test)


def test_gone_before_the_hand_shake_was_answered() -> None:
    async def test() -> None:
        ends: list[str] = []

        async def handler(ws: WebSocket) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends.append("cancelled")
                with pytest.raises(WebSocketDisconnect):
                    await ws.accept()

        opened = Opened(handler)
        await turns()
        opened.x.disconnect()
        await turns()
        assert ends == ["cancelled"]
        assert opened.x.answer_status == 0
        assert opened.finished

    open_and_run(test)


def test_a_receiver_ends_with_1006_and_is_not_cancelled() -> None:
    async def test() -> None:
        ends: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            try:
                await ws.receive()
            except WebSocketDisconnect as error:
                ends.append(error.code)
            await turns(3)
            ends.append("cleaned up")

        opened = Opened(handler)
        await turns()
        opened.x.disconnect()
        assert not opened.finished
        await turns(12)
        assert ends == [1006, "cleaned up"]
        assert opened.finished

    open_and_run(test)


def test_messages_before_a_close_are_still_taken() -> None:
    async def test() -> None:
        taken: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            async for message in ws:
                await asyncio.sleep(0)
                taken.append(message)
            taken.append(ws.close_code)

        opened = Opened(handler)
        await turns()
        opened.send("one")
        await asyncio.sleep(0)  # the handler is at work with it
        opened.client.send_text("two")
        opened.client.send_text("three")
        opened.close()
        await turns(20)
        assert taken == ["one", "two", "three", 1000]

    open_and_run(test)


def test_a_handler_that_does_not_take_them_is_cancelled_later() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpLoop)
        log: list[Any] = []
        opened = Opened(waiting_handler(log))
        await turns()
        opened.client.send_text("never taken")
        opened.close()
        await turns()
        assert log == []
        loop.ahead = 10.5
        await turns()
        assert log == [("cancelled", 1000)]

    open_and_run(test, jump=True)


def test_a_receive_in_a_task_of_the_handler_ends_as_any_other() -> None:
    async def test() -> None:
        log: list[Any] = []

        async def handler(ws: WebSocket) -> None:
            task = asyncio.create_task(ws.receive())
            try:
                await task
            except WebSocketDisconnect as error:
                log.append(error.code)

        opened = Opened(handler)
        await turns()
        opened.close()
        await turns()
        assert log == [1000]
        assert opened.finished

    open_and_run(test)


# --- nothing is left


@pytest.mark.parametrize("end", ["close", "gone", "return", "raise", "refuse"])
def test_no_cycle_is_left(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Records of the log would hold the exception and its frames.
    monkeypatch.setattr(logging.getLogger("fastnet.error"), "disabled", True)

    class Token:
        pass

    async def test() -> None:
        tokens: list[weakref.ref[Token]] = []

        async def handler(ws: WebSocket) -> None:
            token = Token()
            tokens.append(weakref.ref(token))
            ws.state.token = token
            if end == "refuse":
                raise Refused
            async for message in ws:
                await ws.send(message)
                if end in ("return", "raise"):
                    break
            if end == "raise":
                raise ValueError

        opened = Opened(handler)
        await turns()
        if end != "refuse":
            opened.send("x")
            await turns()
            opened.events()
            if end == "close":
                opened.close()
            elif end == "gone":
                opened.x.disconnect()
            else:
                opened.push()
            await turns()
        assert opened.finished
        del opened
        await turns()
        [token] = tokens
        assert token() is None

    gc.collect()
    gc.disable()
    try:
        open_and_run(test)
    finally:
        gc.enable()
