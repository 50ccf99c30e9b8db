"""The time a handler has until its answer begins: timeout_handler, and ``timeout=`` of a route."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest

from fastnet import App, Request, Response
from fastnet.websocket import WebSocket
from tests.wire.bounds import KIB, beside, lines
from tests.wire.h2peer import H2Peer
from tests.wire.live import live, until

SHORT = 0.1


class Seen:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.release = threading.Event()


def make_app(seen: Seen) -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/sleeps")
    async def sleeps() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.events.append("cancelled")
            raise
        return "never"

    @app.get("/swallows")
    async def swallows() -> str:
        for _ in range(2):
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                seen.events.append("swallowed")
        seen.events.append("ended")
        return "late"

    @app.get("/rescued")
    async def rescued() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "what there was"
        return "never"

    @app.get("/thread")
    def thread() -> str:
        seen.release.wait(10)
        return "late"

    @app.get("/patient", timeout=0)
    async def patient() -> str:
        await asyncio.sleep(6 * SHORT)
        return "patient"

    @app.get("/hasty", timeout=SHORT)
    async def hasty() -> str:
        await asyncio.sleep(60)
        return "never"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for _ in range(6):
            yield "tick\n"
            await asyncio.sleep(SHORT)

    @app.post("/upload")
    async def upload(request: Request) -> str:
        return str(len(await request.body()))

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await asyncio.sleep(4 * SHORT)
        await socket.send("still there")

    return app


def is_timeout(status: int, body: bytes) -> None:
    assert status == 503
    assert orjson.loads(body)["detail"] == "the server did not answer in time"


@pytest.mark.limit("Time and progress: handler", memory=True)
def test_many_handlers_that_take_too_long(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them keeps next to nothing, and others are answered meanwhile."""
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(Seen()), timeout_handler=3 * SHORT, keeps=True) as server:
        peers = []
        with beside(server, keeps=KIB):
            peers += [server.peer().get("/sleeps") for _ in range(50)]
            for peer in peers:
                answer = peer.answer()
                is_timeout(answer.status, answer.body)
        assert server.counters["limit_handler_time"] == 50
        for peer in peers:
            peer.sock.close()
    assert "(limit 0.3 s; timeout_handler changes it): answered 503" in lines(caplog)[0]


@pytest.mark.parametrize("target", ["/sleeps", "/thread"])
def test_a_handler_that_takes_too_long_is_503(target: str) -> None:
    seen = Seen()
    with live(make_app(seen), timeout_handler=SHORT, keeps=True) as server, server.peer() as peer:
        answer = peer.get(target).answer()
        is_timeout(answer.status, answer.body)
        assert (answer["content-type"], answer["retry-after"]) == ("application/problem+json", "1")
        # The connection goes on, and others were served meanwhile.
        assert peer.get("/").answer().body == b"fine"
        assert server.counters["limit_handler_time"] == server.counters["timeouts"] == 1
        if target == "/sleeps":
            assert seen.events == ["cancelled"]
        else:
            assert server.counters["threads_overdue"] == 1
            seen.release.set()
            until(lambda: server.counters["threads_overdue"] == 0)


def test_on_http2_too_stream_by_stream() -> None:
    with live(make_app(Seen()), timeout_handler=2 * SHORT, keeps=True) as server, H2Peer(server.port) as peer:
        late, fine = peer.request("GET", "/sleeps"), peer.request("GET", "/")
        assert peer.status(fine) == 200
        assert peer.status(late) == 503
        assert peer.status(peer.request("GET", "/")) == 200


def test_a_handler_that_swallows_its_cancellation_is_answered_for() -> None:
    seen = Seen()
    with live(make_app(seen), timeout_handler=SHORT, keeps=True) as server, server.peer() as peer:
        answer = peer.get("/swallows").answer()
        is_timeout(answer.status, answer.body)
        assert answer["connection"] == "close"
        assert peer.closed()
        assert seen.events == ["swallowed"]
        until(lambda: "ended" in seen.events)
        assert server.settle()["internal"] == 0


def test_a_handler_may_answer_its_cancellation_itself() -> None:
    with live(make_app(Seen()), timeout_handler=SHORT) as server, server.peer() as peer:
        assert peer.get("/rescued").answer().body == b"what there was"


def test_routes_have_times_of_their_own() -> None:
    with live(make_app(Seen()), timeout_handler=2 * SHORT, keeps=True) as server, server.peer() as peer:
        assert peer.get("/patient").answer().body == b"patient"
        assert peer.get("/hasty").answer().status == 503
    with live(make_app(Seen()), timeout_handler=0, keeps=True) as server, server.peer() as peer:
        assert peer.get("/hasty").answer().status == 503
        assert peer.get("/patient").answer().body == b"patient"


def test_an_answer_that_has_begun_and_a_websocket_are_not_bounded() -> None:
    with live(make_app(Seen()), timeout_handler=SHORT) as server:
        with server.peer() as peer:
            assert peer.get("/stream").answer().body == b"tick\n" * 6
        with server.peer() as peer:
            key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
            peer.get("/ws", "connection: upgrade", "upgrade: websocket", key, "sec-websocket-version: 13")
            assert peer.answer().status == 101
            assert peer.exactly(13) == b"\x81\x0bstill there"


def test_what_the_peer_needs_for_its_body_is_not_the_handlers_time() -> None:
    with live(make_app(Seen()), timeout_handler=2 * SHORT, timeout_body=10) as server, server.peer() as peer:
        peer.send(b"POST /upload HTTP/1.1\r\nhost: t\r\ncontent-length: 8\r\n\r\n")
        for _ in range(8):
            server.run(asyncio.sleep(SHORT))
            peer.send(b"x")
        assert peer.answer().body == b"8"


def test_neither_is_the_time_for_which_somebody_else_blocked_the_loop() -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        await asyncio.sleep(SHORT)
        return "fine"

    with live(app, timeout_handler=8 * SHORT) as server, server.peer() as peer:
        peer.get("/")
        until(lambda: server.counters["requests_active"] == 1)
        server.call(time.sleep, 12 * SHORT)
        assert peer.answer().status == 200


def test_middleware_and_error_handlers_see_a_timeout() -> None:
    app = make_app(Seen())
    statuses: list[int] = []

    @app.middleware
    async def watch(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        statuses.append(response.status_code)
        return response

    @app.on_error(TimeoutError)
    async def late(request: Request, error: TimeoutError) -> Response:
        await asyncio.sleep(0)
        return Response("too late", 504)

    with live(app, timeout_handler=SHORT, keeps=True) as server, server.peer() as peer:
        answer = peer.get("/sleeps").answer()
        assert (answer.status, answer.body) == (504, b"too late")
        assert statuses == [504]
        assert peer.get("/").answer().status == 200


def test_a_time_limit_of_a_route_is_no_negative_number() -> None:
    for name in ("timeout", "timeout_body", "rate_body"):
        app = App()
        options: dict[str, Any] = {name: -1}

        @app.get("/", **options)
        async def index() -> str:
            return ""

        with pytest.raises(ValueError, match=name):
            app.build()
