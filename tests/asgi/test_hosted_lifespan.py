"""Start-up and shutdown of an app under the server of somebody else, and what is made per event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastnet import App
from fastnet_ext.net.asgi_errors import MessageError
from tests.loops import new_loop, run
from tests.net.asgi_host import Call, Message, ask, http_scope
from tests.protos import greeter

pb, _ = greeter()

STARTUP: Message = {"type": "lifespan.startup"}
SHUTDOWN: Message = {"type": "lifespan.shutdown"}
LIFESPAN: Message = {"type": "lifespan", "asgi": {"version": "3.0"}}


def make_app(order: list[str]) -> App:
    app = App()

    @app.lifespan
    async def resources(app: App) -> AsyncIterator[None]:
        order.append("up")
        app.state.ready = True
        yield
        order.append("down")

    @app.get("/")
    async def index(app: App) -> bool:
        return app.state.ready is True

    @app.get("/thread")
    def thread() -> str:
        return threading.current_thread().name

    return app


def test_the_server_s_lifespan_is_the_app_s() -> None:
    order: list[str] = []
    app = make_app(order)

    async def main() -> Call:
        lifespan = Call(app, LIFESPAN, STARTUP)
        await lifespan.until(lambda: lifespan.sent)
        assert order == ["up"]
        assert (await ask(app, http_scope())).body == b"true"
        assert not app.shutting_down
        lifespan.bring(SHUTDOWN)
        return await lifespan.end()

    assert run(main()).types == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (order, app.shutting_down) == (["up", "down"], True)


def test_an_app_can_be_started_again() -> None:
    order: list[str] = []
    app = make_app(order)

    async def main() -> None:
        for _ in range(2):
            await Call(app, LIFESPAN, STARTUP, SHUTDOWN).end()

    for _ in range(2):
        run(main())
    assert order == ["up", "down"] * 4


def test_a_start_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.lifespan
    async def database() -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    async def main() -> Call:
        return await Call(app, LIFESPAN, STARTUP).end()

    with caplog.at_level(logging.ERROR, "fastnet.server"):
        sent = run(main()).sent
    assert sent == [{"type": "lifespan.startup.failed", "message": "LookupError: no database"}]
    assert "Traceback" in caplog.text


def test_settings_that_cannot_be_used_fail_the_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "fastnet.server")

    async def main() -> Call:
        return await Call(App(settings={"timeout_handler": "soon"}), LIFESPAN, STARTUP).end()

    message = run(main()).sent[0]
    assert message["type"] == "lifespan.startup.failed"
    assert "timeout_handler" in message["message"]


def test_a_shutdown_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "fastnet.server")
    app = App()

    @app.lifespan
    async def database() -> AsyncIterator[None]:
        yield
        raise LookupError("still in use")

    async def main() -> Call:
        return await Call(app, LIFESPAN, STARTUP, SHUTDOWN).end()

    assert run(main()).sent[1] == {"type": "lifespan.shutdown.failed", "message": "LookupError: still in use"}


def test_a_server_that_gives_up_ends_the_app_all_the_same() -> None:
    order: list[str] = []

    async def main() -> None:
        lifespan = Call(make_app(order), LIFESPAN, STARTUP)
        await lifespan.until(lambda: lifespan.sent)
        lifespan.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lifespan.end()

    run(main())
    assert order == ["up", "down"]


@pytest.mark.parametrize("messages", [[SHUTDOWN], [STARTUP, STARTUP], [{"type": "http.request"}]])
def test_messages_out_of_order_are_raised(messages: list[Message]) -> None:
    order: list[str] = []

    async def main() -> None:
        with pytest.raises(MessageError, match="in place of"):
            await Call(make_app(order), LIFESPAN, *messages).end()

    run(main())
    assert order in ([], ["up", "down"])


def test_without_a_lifespan_requests_are_answered_and_the_app_is_not_started() -> None:
    order: list[str] = []

    async def main() -> bytes:
        return (await ask(make_app(order), http_scope(path="/thread"))).body

    assert run(main()).startswith(b"fastnet")
    assert order == []


def test_requests_that_still_run_are_ended_at_shutdown() -> None:
    app = App()
    ended: list[str] = []

    @app.get("/")
    async def ticks() -> AsyncIterator[str]:
        try:
            while not app.shutting_down:
                yield "tick"
                await asyncio.sleep(0.001)
        finally:
            ended.append("ended")

    async def main() -> Call:
        lifespan = Call(app, LIFESPAN, STARTUP)
        await lifespan.until(lambda: lifespan.sent)
        call = Call(app, http_scope())
        await call.until(lambda: len(call.sent) > 1)
        lifespan.bring(SHUTDOWN)
        await lifespan.end()
        assert ended == ["ended"]
        return await call.end()

    assert run(main()).sent[-1]["more_body"] is False


def test_requests_that_do_not_end_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnet.asgi.hosted.GRACE", 0.05)
    app = App()
    ended: list[str] = []

    @app.get("/")
    async def waits() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("ended")
        return "late"

    @app.post("/")
    async def body(body: bytes) -> bytes:
        return body

    async def main() -> None:
        lifespan = Call(app, LIFESPAN, STARTUP)
        await lifespan.until(lambda: lifespan.sent)
        calls = [Call(app, http_scope()), Call(app, http_scope("POST"))]
        await asyncio.sleep(0.01)
        lifespan.bring(SHUTDOWN)
        await lifespan.end()
        for call in calls:
            assert (await call.end()).sent == []

    run(main())
    assert ended == ["ended"]


def test_each_event_loop_has_its_own_and_loops_that_are_closed_are_forgotten() -> None:
    app = make_app([])
    loops: list[weakref.ref[Any]] = []

    def in_new_loop() -> None:
        # What test clients do for each request.
        loop = new_loop()
        loops.append(weakref.ref(loop))
        try:
            assert loop.run_until_complete(ask(app, http_scope(path="/thread"))).status == 200
        finally:
            loop.close()

    for _ in range(5):
        in_new_loop()
    gc.collect()
    assert sum(loop() is not None for loop in loops) <= 1


def test_several_threads_may_have_a_loop_each() -> None:
    app = make_app([])
    found: list[int] = []

    def serve() -> None:
        async def main() -> None:
            found.extend([(await ask(app, http_scope(path="/thread"))).status for _ in range(20)])

        run(main())

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [200] * 80


def test_an_app_with_grpc_says_at_the_start_that_it_is_not_served(caplog: pytest.LogCaptureFixture) -> None:
    app = App()

    @app.grpc.service("greeter.Greeter")
    class Greeter:
        async def SayHello(self, request: Any, context: Any) -> Any:
            return pb.HelloReply(message=request.name)

    async def main() -> None:
        await Call(app, LIFESPAN, STARTUP, SHUTDOWN).end()
        fields = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
        scope = http_scope("POST", "/greeter.Greeter/SayHello", headers=fields, http_version="2")
        call = await ask(app, scope, b"\0\0\0\0\0")
        assert dict(call.fields)[b"grpc-status"] == b"12"

    with caplog.at_level(logging.WARNING, "fastnet.server"):
        run(main())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "fastnet run" in told[0]


def test_an_app_without_grpc_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await Call(make_app([]), LIFESPAN, STARTUP, SHUTDOWN).end()

    with caplog.at_level(logging.WARNING, "fastnet.server"):
        run(main())
    assert caplog.records == []
