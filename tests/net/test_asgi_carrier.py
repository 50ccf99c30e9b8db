"""The calls of an ASGI server as a carrier of HTTP: order of messages, bodies, backpressure, ends."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import orjson
import pytest

from fastnet import App, Depends, Header, Request, Response, Stream
from fastnet_ext.exchange.errors import ClientDisconnect
from fastnet_ext.net.asgi_errors import AnswerAborted, MessageError
from fastnet_ext.serve.runner import current_request_id
from tests.loops import run
from tests.net.asgi_host import END, GONE, Call, ask, http_scope, part
from tests.protos import greeter

# Bytes of an answer that may wait for the server: QUEUE_HIGH_WATER in asgi.pxd.
HIGH_WATER = 64 * 1024


class User(msgspec.Struct):
    name: str
    age: int = 0


def make_app(**options: Any) -> App:
    app = App(**options)

    @app.get("/")
    async def index() -> str:
        return "Hello, World!"

    @app.get("/inline", inline=True)
    def inline() -> dict[str, int]:
        return {"n": 1}

    @app.get("/thread")
    def thread() -> str:
        return "from a thread"

    @app.post("/users", status_code=201)
    async def create(user: User) -> User:
        return user

    @app.post("/count")
    async def count(request: Request) -> str:
        total = 0
        async for chunk in request.stream():
            total += len(chunk)
        return str(total)

    @app.get("/report")
    async def report() -> AsyncIterator[str]:
        for i in range(3):
            yield f"line {i}\n"

    @app.get("/fails")
    async def fails() -> str:
        raise LookupError("secret")

    @app.get("/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "begun"
        await asyncio.sleep(0)
        raise LookupError("midway")

    return app


# --- whole answers


def test_an_answer_is_a_start_and_one_body() -> None:
    call = run(ask(make_app(), http_scope()))
    assert call.sent == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")],
        },
        {"type": "http.response.body", "body": b"Hello, World!", "more_body": False},
    ]


@pytest.mark.parametrize(("path", "body"), [("/inline", b'{"n":1}'), ("/thread", b"from a thread")])
def test_def_handlers_answer_too(path: str, body: bytes) -> None:
    assert run(ask(make_app(), http_scope(path=path))).body == body


def test_nothing_is_received_for_a_request_without_a_body() -> None:
    # Its message waits in the server, where it costs nothing.
    assert run(ask(make_app(), http_scope())).received == 0


def test_head_has_the_length_and_no_body() -> None:
    call = run(ask(make_app(), http_scope("HEAD")))
    assert (b"content-length", b"13") in call.fields
    assert call.sent[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]


@pytest.mark.parametrize(("path", "status"), [("/absent", 404), ("/fails", 500)])
def test_errors_are_problems(path: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "fastnet.error")
    call = run(ask(make_app(), http_scope(path=path)))
    assert (call.status, orjson.loads(call.body)["status"]) == (status, status)
    assert b"secret" not in call.body


def test_who_changes_the_fields_of_one_answer_changes_no_other() -> None:
    app = make_app()

    async def twice() -> list[tuple[bytes, bytes]]:
        first = await ask(app, http_scope())
        first.sent[0]["headers"].append((b"x-added", b"1"))
        return (await ask(app, http_scope())).fields

    assert (b"x-added", b"1") not in run(twice())


def test_middleware_and_dependencies_surround_handlers() -> None:
    app = App()

    async def who(token: Annotated[str, Header("authorization")]) -> str:
        return token.upper()

    @app.middleware
    async def served(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-served-by"] = "fastnet"
        return response

    @app.get("/me")
    async def me(user: Annotated[str, Depends(who)]) -> str:
        return user

    call = run(ask(app, http_scope(path="/me", headers=[(b"Authorization", b"ada")])))
    assert (call.body, (b"x-served-by", b"fastnet") in call.fields) == (b"ADA", True)


def test_what_has_to_be_closed_is_closed_before_the_call_returns() -> None:
    app = App()
    order: list[str] = []

    async def session() -> AsyncIterator[str]:
        yield "open"
        await asyncio.sleep(0.001)
        order.append("closed")

    @app.get("/")
    async def index(session: Annotated[str, Depends(session)]) -> str:
        return session

    async def main() -> None:
        await ask(app, http_scope())
        order.append("returned")

    run(main())
    assert order == ["closed", "returned"]


# --- streamed answers


def test_a_stream_has_a_start_pieces_and_an_end() -> None:
    call = run(ask(make_app(), http_scope(path="/report")))
    assert call.body == b"line 0\nline 1\nline 2\n"
    assert [message.get("more_body") for message in call.sent[1:]][-1] is False
    assert all(message["more_body"] for message in call.sent[1:-1])
    assert "trailers" not in call.sent[0]


def test_pieces_that_wait_together_leave_together() -> None:
    # They were all there before the server's Task had its turn.
    assert run(ask(make_app(), http_scope(path="/report"))).types == ["http.response.start", "http.response.body"]


def test_a_slow_server_stops_the_generator() -> None:
    app = App()
    made = 0

    @app.get("/")
    async def endless() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(64):
            made += 1
            yield b"x" * 16 * 1024

    async def main() -> Call:
        call = Call(app, http_scope(), END, slow=True)
        await call.until(lambda: made > 2)
        for _ in range(50):
            await asyncio.sleep(0)
        # One piece above the mark is what tells it to wait; one message is with the server already.
        assert made * 16 * 1024 <= 2 * HIGH_WATER + 32 * 1024
        call.release()
        return await call.end()

    assert len(run(main()).body) == 1024 * 1024


def test_trailers_go_where_the_server_takes_them() -> None:
    app = App()

    @app.get("/")
    async def summed() -> Stream:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"abc"
            response.trailers["x-sum"] = "294"

        response = Stream(pieces(), media_type="text/plain")
        return response

    taken = run(ask(app, http_scope(extensions={"http.response.trailers": {}})))
    assert taken.sent[0]["trailers"] is True
    assert taken.sent[-1] == {
        "type": "http.response.trailers",
        "headers": [(b"x-sum", b"294")],
        "more_trailers": False,
    }
    plain = run(ask(app, http_scope()))
    assert (plain.body, plain.types[-1], "trailers" in plain.sent[0]) == (b"abc", "http.response.body", False)


def test_announced_trailers_are_sent_when_there_are_none() -> None:
    call = run(ask(make_app(), http_scope(path="/report", extensions={"http.response.trailers": {}})))
    assert call.sent[-1] == {"type": "http.response.trailers", "headers": [], "more_trailers": False}


def test_an_answer_that_breaks_midway_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Call:
        call = Call(make_app(), http_scope(path="/breaks"), END)
        with pytest.raises(AnswerAborted, match="GET /breaks failed midway"):
            await call.end()
        return call

    with caplog.at_level(logging.ERROR, "fastnet.error"):
        call = run(main())
    # What was said before it still goes out; the end does not.
    assert (call.body, call.sent[-1]["more_body"]) == (b"begun", True)
    assert "midway" in caplog.text


def test_a_body_that_is_not_as_long_as_it_said_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "fastnet.error")
    app = App()

    @app.get("/{size}")
    async def wrong(size: int) -> Stream:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x" * size

        return Stream(pieces(), media_type="text/plain", headers={"content-length": "3"})

    async def main() -> None:
        assert (await ask(app, http_scope(path="/3"))).body == b"xxx"
        for size in (2, 4):
            with pytest.raises(AnswerAborted):
                await ask(app, http_scope(path=f"/{size}"))

    run(main())


# --- bodies of requests


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_typed_bodies_are_collected(size: int, length: bool) -> None:
    data = b'{"name":"ada","age":36}'
    fields = [(b"content-length", str(len(data)).encode())] if length else []
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    call = run(ask(make_app(), http_scope("POST", "/users", headers=fields), pieces))
    assert (call.status, call.body) == (201, data)


def test_a_last_message_may_be_empty() -> None:
    scope = http_scope("POST", "/users", headers=[(b"transfer-encoding", b"chunked")])
    call = run(ask(make_app(), scope, [b'{"name":"ada"}', b"", b""]))
    assert call.status == 201


def test_a_streamed_body_is_read_as_it_comes() -> None:
    scope = http_scope("POST", "/count", headers=[(b"transfer-encoding", b"chunked")])
    assert run(ask(make_app(max_body=1 << 24), scope, [b"x" * 100_000] * 30)).body == b"3000000"


def test_a_slow_reader_stops_the_server() -> None:
    app = App(max_body=1 << 24)
    go = asyncio.Event()

    @app.post("/")
    async def lazy(request: Request) -> str:
        total = 0
        async for chunk in request.stream():
            await go.wait()
            total += len(chunk)
        return str(total)

    async def main() -> None:
        pieces = [part(b"x" * 64 * 1024, more=i < 63) for i in range(64)]
        call = Call(app, http_scope("POST", headers=[(b"transfer-encoding", b"chunked")]), *pieces)
        await call.until(lambda: call.received > 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert call.received < 12
        go.set()
        assert (await call.end()).body == str(64 * 64 * 1024).encode()

    run(main())


@pytest.mark.parametrize("path", ["/users", "/count"])
@pytest.mark.parametrize("length", [True, False])
def test_a_body_above_the_limit_is_413_and_not_read_on(path: str, length: bool) -> None:
    fields = [(b"content-length", b"640000")] if length else [(b"transfer-encoding", b"chunked")]

    async def main() -> Call:
        pieces = [part(b" " * 64_000, more=i < 9) for i in range(10)]
        return await Call(make_app(max_body=100_000), http_scope("POST", path, headers=fields), *pieces).end()

    call = run(main())
    assert call.status == 413
    assert call.received <= (0 if length else 3)


def test_a_body_that_nobody_asked_for_does_not_matter() -> None:
    scope = http_scope("POST", "/absent", headers=[(b"content-length", b"3")])
    assert run(ask(make_app(), scope, b"abc")).status == 404


def test_the_server_is_not_asked_for_a_body_before_the_handler_is() -> None:
    """Asking makes it send 100 Continue."""
    app = App()

    @app.post("/")
    async def refuses(request: Request) -> Response:
        await asyncio.sleep(0.01)
        return Response("no", 403) if "x-read" not in request.headers else Response(await request.body())

    async def main() -> None:
        fields = [(b"expect", b"100-continue"), (b"content-length", b"3")]
        call = await Call(app, http_scope("POST", headers=fields), part(b"abc", more=False)).end()
        assert (call.status, call.received) == (403, 0)
        fields.append((b"x-read", b"1"))
        call = await Call(app, http_scope("POST", headers=fields), part(b"abc", more=False)).end()
        assert (call.status, call.body) == (200, b"abc")

    run(main())


# --- ends


def test_a_disconnect_in_a_typed_body_answers_nothing() -> None:
    scope = http_scope("POST", "/users", headers=[(b"content-length", b"9")])

    async def main() -> Call:
        return await Call(make_app(), scope, part(b"{"), GONE).end()

    assert run(main()).sent == []


def test_a_disconnect_reaches_who_reads() -> None:
    app = App()
    seen: list[BaseException] = []

    @app.post("/")
    async def read(request: Request) -> str:
        try:
            await request.body()
        except ClientDisconnect as error:
            seen.append(error)
            raise
        return "never"

    async def main() -> Call:
        scope = http_scope("POST", headers=[(b"content-length", b"9")])
        return await Call(app, scope, part(b"abc"), GONE).end()

    assert (run(main()).sent, len(seen)) == ([], 1)


@pytest.mark.parametrize("how", ["disconnect", "OSError"])
def test_a_disconnect_ends_a_stream(how: str) -> None:
    app = App()
    closed = 0

    @app.get("/")
    async def ticks() -> AsyncIterator[str]:
        nonlocal closed
        try:
            while True:
                yield "tick"
                await asyncio.sleep(0.001)
        finally:
            closed += 1

    async def main() -> None:
        call = Call(app, http_scope(), END)
        await call.until(lambda: len(call.sent) > 2)
        if how == "disconnect":
            call.bring(GONE)
        else:
            call.vanished = True
        await call.end()

    run(main())
    assert closed == 1


@pytest.mark.parametrize("cancels", [True, False])
def test_a_plain_handler_runs_to_its_end_unless_its_route_says_otherwise(cancels: bool) -> None:
    app = App()
    seen: list[object] = []

    @app.get("/", cancel_on_disconnect=cancels)
    async def slow(request: Request) -> str:
        try:
            while not request.disconnected:  # noqa: ASYNC110 - it is what handlers ask
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        seen.append("disconnected")
        return "late"

    async def main() -> Call:
        return await Call(app, http_scope(), END, GONE).end()

    assert run(main()).sent == []
    assert seen == ["cancelled" if cancels else "disconnected"]


def test_cancellation_of_the_server_s_task_ends_the_handler() -> None:
    app = App()
    ended: list[str] = []

    @app.get("/")
    async def slow() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.001)
            ended.append("cleaned up")
        return "late"

    async def main() -> None:
        call = Call(app, http_scope(), END)
        await asyncio.sleep(0.01)
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.end()
        assert ended == ["cleaned up"]

    run(main())


def test_a_handler_that_is_late_is_answered_for() -> None:
    app = App(settings={"timeout_handler": "100ms"})
    ended: list[str] = []

    @app.get("/")
    async def slow() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cancelled")
        return "late"

    call = run(ask(app, http_scope()))
    assert (call.status, ended) == (503, ["cancelled"])
    assert (b"retry-after", b"1") in call.fields


def test_a_body_that_stops_is_408() -> None:
    app = make_app(settings={"timeout_body": "100ms"})

    async def main() -> list[int]:
        fields = [(b"content-length", b"9")]
        calls = [
            Call(app, http_scope("POST", "/users", headers=fields), part(b"{")),
            Call(app, http_scope("POST", "/count", headers=fields), part(b"{")),
        ]
        return [(await call.end()).status for call in calls]

    assert run(main()) == [408, 408]


def test_a_full_app_makes_requests_wait_or_refuses_them() -> None:
    app = App(max_in_flight=1)
    go = asyncio.Event()

    @app.post("/")
    async def slow(body: bytes) -> bytes:
        await go.wait()
        return body

    async def main() -> list[int]:
        scope = http_scope("POST", headers=[(b"content-length", b"3")])
        first = Call(app, scope, part(b"one", more=False))
        await asyncio.sleep(0.01)
        second = Call(app, scope, part(b"two", more=False))
        await asyncio.sleep(0.01)
        go.set()
        return [(await call.end()).status for call in (first, second)]

    assert run(main()) in ([200, 200], [200, 503])


# --- what the server must not do


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([{"type": "http.nothing"}], "'http.nothing'"),
        ([{"type": "websocket.receive", "text": "x"}], "'websocket.receive'"),
        ([{}], "a type"),
        (["text"], "not str"),
        ([{"type": "http.request", "body": "text"}], "bytes, not str"),
        ([part(b"1234567890")], "more than the 9 bytes"),
        ([part(b"123", more=False)], "brought 3 bytes"),
    ],
)
@pytest.mark.parametrize("path", ["/users", "/count"])
def test_messages_that_may_not_be_are_raised(path: str, messages: list[Any], told: str) -> None:
    scope = http_scope("POST", path, headers=[(b"content-length", b"9")])

    async def main() -> Call:
        call = Call(make_app(), scope, *messages)
        with pytest.raises(MessageError, match=told):
            await call.end()
        return call

    assert run(main()).sent == []


def test_a_second_request_in_one_call_is_raised() -> None:
    app = App()

    @app.get("/")
    async def slow() -> str:
        await asyncio.sleep(0.01)
        return "late"

    async def main() -> None:
        with pytest.raises(MessageError, match="after the last one"):
            await Call(app, http_scope(), END, END).end()

    run(main())


def test_what_send_raises_comes_out_once_the_handler_is_done() -> None:
    app = make_app()

    async def main() -> None:
        async def receive() -> Any:
            return END

        async def send(message: Any) -> None:
            raise LookupError("the server is broken")

        with pytest.raises(LookupError, match="broken"):
            await app(http_scope(path="/report"), receive, send)

    run(main())


def test_what_receive_raises_comes_out() -> None:
    app = make_app()

    async def main() -> None:
        async def receive() -> Any:
            raise LookupError("the server is broken")

        async def send(message: Any) -> None:
            raise AssertionError("nothing is sent")

        for path in ("/users", "/count"):
            with pytest.raises(LookupError, match="broken"):
                await app(http_scope("POST", path), receive, send)

    run(main())


# --- context

OUTER: contextvars.ContextVar[str] = contextvars.ContextVar("outer", default="unset")


@pytest.mark.parametrize("path", ["/async", "/inline", "/thread", "/late"])
def test_context_variables_of_the_server_reach_handlers(path: str) -> None:
    app = App()

    @app.get("/async")
    async def read() -> str:
        return OUTER.get()

    @app.get("/inline", inline=True)
    def read_inline() -> str:
        return OUTER.get()

    @app.get("/thread")
    def read_in_thread() -> str:
        return OUTER.get()

    @app.get("/late")
    async def read_late(request: Request) -> str:
        await asyncio.sleep(0.001)
        return OUTER.get()

    async def main() -> bytes:
        await ask(app, http_scope(path=path))
        OUTER.set("set by middleware")
        return (await ask(app, http_scope(path=path))).body

    assert run(main()) == b"set by middleware"


def test_the_state_of_the_scope_is_the_request_s() -> None:
    app = App()

    @app.get("/")
    async def read(request: Request) -> str:
        return str(request.state.user)

    assert run(ask(app, http_scope(state={"user": "ada"}))).body == b"ada"


def test_logs_know_the_request() -> None:
    app = App()
    seen: list[str | None] = []

    @app.get("/")
    async def read(request: Request) -> str:
        seen.extend((current_request_id(), request.id))
        return ""

    run(ask(app, http_scope()))
    assert seen[0] == seen[1] is not None


# --- gRPC


@pytest.mark.parametrize("content_type", [b"application/grpc", b"application/grpc+proto", b"application/grpc-web"])
def test_grpc_is_told_where_it_is_served(content_type: bytes) -> None:
    scope = http_scope("POST", "/greeter.Greeter/SayHello", headers=[(b"content-type", content_type)])
    call = run(ask(make_app(), scope, b"\0\0\0\0\0"))
    assert call.status == 200
    assert {(b"content-type", b"application/grpc"), (b"grpc-status", b"12")} <= set(call.fields)
    assert b"fastnet run" in dict(call.fields)[b"grpc-message"]


def test_connect_needs_no_server_of_ours() -> None:
    pb, _ = greeter()
    app = App()

    @app.grpc.method("/greeter.Greeter/SayHello")
    async def hello(request: Any, context: Any) -> Any:
        return pb.HelloReply(message=f"Hello, {request.name}!")

    scope = http_scope("POST", "/greeter.Greeter/SayHello", headers=[(b"content-type", b"application/json")])
    call = run(ask(app, scope, b'{"name": "Ada"}'))
    assert call.status == 200
    assert msgspec.json.decode(call.body) == {"message": "Hello, Ada!"}
