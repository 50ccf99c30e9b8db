"""``app.mount``: what it refuses, and how middleware, errors and guards see what is mounted."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet import App, CallNext, HTTPException, Request, Response, Router
from fastnet.routing import RouteConflict
from tests.asgi.mounted import START, Gate, Message, Receive, Send, body, serving, whole_body
from tests.asgi.test_rules_websocket import dial, echo
from tests.wire.live import until


async def fine(scope: Message, receive: Receive, send: Send) -> None:
    await send({**START, "headers": [(b"x-theirs", b"1")]})
    await send(body(b"fine"))


# --- registration


@pytest.mark.parametrize(
    ("path", "application", "options", "error", "text"),
    [
        ("old", fine, {}, ValueError, "a path starts with a slash"),
        ("/old", "text", {}, TypeError, "a mounted application is an ASGI callable, not str"),
        ("/old", Router(), {}, TypeError, "a Router is joined by include"),
        ("/old", fine, {"lifespan": "maybe"}, ValueError, '"auto", "on" or "off", not \'maybe\''),
        ("/old", fine, {"max_message": 0}, ValueError, "max_message is at least 1"),
        ("/old", fine, {"compression": None}, TypeError, r"compression is True, False or"),
        (
            "/old",
            fine,
            {"status_code": 1},
            TypeError,
            "status_code: no option of a mount; there are compress, compression",
        ),
        ("/old", fine, {"timeout": -1}, ValueError, "timeout is -1"),
    ],
)
def test_what_cannot_be_mounted(path: str, application: Any, options: Any, error: type[Exception], text: str) -> None:
    def build() -> None:
        app = App()
        app.mount(path, application, **options)
        app.build()

    with pytest.raises(error, match=text):
        build()


def test_two_mounts_at_one_place_conflict() -> None:
    app = App()
    app.mount("/old", fine)
    with pytest.raises(RouteConflict, match=r"/old/\{rest:path\} is answered twice"):
        app.mount("/old/", fine)


# --- middleware


def wrapped() -> App:
    app = App()

    @app.middleware
    async def ours(request: Request, call_next: CallNext) -> Response:
        if request.headers.get("x-refuse"):
            raise HTTPException(418, "short and stout")
        response = await call_next(request)
        response.headers["x-ours"] = "1"
        return response

    return app


def test_middleware_sees_the_answer() -> None:
    with serving(fine, app=wrapped()) as server, server.peer() as peer:
        answer = peer.get("/").answer()
        assert (answer.body, answer["x-ours"], answer["x-theirs"], answer["content-length"]) == (b"fine", "1", "1", "4")
        assert peer.get("/", "x-refuse: 1").answer().status == 418
        assert len(server.notes.scopes) == 1


def test_streams_pass_middleware_piece_by_piece() -> None:
    gate = Gate()

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        data = await whole_body(receive)
        await send(START)
        await send(body(b"%d" % len(data), more=True))
        await gate.passed()
        await send(body(b"", more=True))
        await send(body(b" end"))

    with serving(application, app=wrapped()) as server, server.peer() as peer:
        peer.post("/", bytes(2_000_000)).until(b"7\r\n2000000\r\n")
        gate.open()
        assert peer.until(b"0\r\n\r\n").endswith(b"4\r\n end\r\n0\r\n\r\n")
        assert peer.post("/", b"x").answer().body == b"1 end"


def test_a_client_that_leaves_behind_middleware_is_told() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        await send(body(b"begun", more=True))
        assert await receive() == {"type": "http.disconnect"}
        for _ in range(3):
            await send(body(b"nobody", more=True))

    with serving(application, app=wrapped()) as server, server.peer() as peer:
        peer.get("/").until(b"begun")
        peer.sock.close()
        assert not server.notes.wait().errors


@pytest.mark.parametrize("when", ["before", "without", "midway", "open"])
def test_failures_behind_middleware(when: str) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if when == "before":
            raise KeyError("secret")
        if when == "without":
            return
        await send(START)
        await send(body(b"begun", more=True))
        if when == "midway":
            raise KeyError("secret")

    with serving(application, app=wrapped()) as server, server.peer() as peer:
        if when in ("before", "without"):
            answer = peer.get("/").answer()
            assert (answer.status, answer["x-ours"]) == (500, "1")
            assert b"secret" not in answer.body
            assert peer.get("/").answer().status == 500
        else:
            peer.get("/").until(b"begun")
            with pytest.raises((ConnectionResetError, EOFError)):
                peer.exactly(100)


def test_the_task_goes_on_after_the_answer_behind_middleware() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await fine(scope, receive, send)
        await gate.passed()

    gate = Gate()
    with serving(application, app=wrapped()) as server, server.peer() as peer:
        assert peer.get("/").answer().body == b"fine"
        assert server.notes.ended == 0
        gate.open()
        server.notes.wait()


def test_middleware_may_drop_a_stream() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(START)
        for _ in range(5):
            await send(body(b"unseen", more=True))
        assert await receive() == {"type": "http.disconnect"}

    app = App()

    @app.middleware
    async def ours(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        return Response("mine")

    with serving(application, app=app) as server, server.peer() as peer:
        assert peer.get("/").answer().body == b"mine"
        assert not server.notes.wait().errors


def test_messages_out_of_order_raise_behind_middleware() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await send(body(b"first"))

    with serving(application, app=wrapped()) as server, server.peer() as peer:
        assert peer.get("/").answer().status == 500
        assert "one start and then the body" in str(server.notes.wait().errors[0])


def test_websockets_are_not_wrapped() -> None:
    with serving(echo, app=wrapped()) as server, dial(server) as client:
        client.send("x")
        assert client.recv() == "x"


# --- errors and guards


def test_errors_are_rendered_by_the_app() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        raise KeyError("theirs")

    app = App()

    @app.on_error(KeyError)
    async def render(request: Request, error: KeyError) -> Response:
        return Response(f"ours: {error}", 409)

    with serving(application, app=app) as server, server.peer() as peer:
        answer = peer.get("/").answer()
        assert (answer.status, answer.body) == (409, b"ours: 'theirs'")


@pytest.mark.parametrize("middleware", [True, False])
def test_a_guard_refuses_before_the_application(middleware: bool) -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await gate.passed()
        await fine(scope, receive, send)

    gate = Gate()
    app = wrapped() if middleware else App()
    limits: dict[str, Any] = {"max_in_flight": 1, "limit_queue_time": 0}
    with serving(application, app=app, **limits) as server, server.peer() as one, server.peer() as other:
        one.get("/")
        until(lambda: len(server.notes.scopes) == 1)
        answer = other.get("/").answer()
        assert (answer.status, answer["retry-after"], answer["x-ours"]) == (503, "1", "1" if middleware else None)
        gate.open()
        assert one.answer().status == 200
        assert other.get("/").answer().status == 200
