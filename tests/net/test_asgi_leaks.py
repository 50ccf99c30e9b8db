"""Nothing is left of a call, however it ends: the same number of objects, and nothing for the collector."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from fastnet import App, Request, WebSocket
from fastnet_ext.core import debug
from fastnet_ext.net.asgi_errors import AnswerAborted, MessageError, ScopeError
from tests.loops import run
from tests.net.asgi_host import CONNECT, END, GONE, Call, Message, ask, http_scope, part, websocket_scope
from tests.net.test_leaks import OURS, grown, ours

ROUNDS = 300


def make_app() -> App:
    app = App(max_body=1000)

    @app.get("/")
    async def index(request: Request) -> str:
        return request.path

    @app.get("/slow")
    async def slow(request: Request) -> str:
        await asyncio.sleep(0.0001)
        return request.path

    @app.get("/waits")
    async def waits(request: Request) -> str:
        await asyncio.sleep(60)
        return request.path

    @app.get("/thread")
    def thread(request: Request) -> str:
        return request.path

    @app.get("/fails")
    async def fails() -> str:
        raise LookupError("on purpose")

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0.0001)

    @app.get("/breaks")
    async def breaks() -> AsyncIterator[str]:
        yield "begun"
        raise LookupError("on purpose")

    @app.post("/")
    async def whole(body: bytes) -> bytes:
        return body

    @app.post("/count")
    async def count(request: Request) -> str:
        return str(len(await request.body()))

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.websocket("/waits")
    async def waits_too(ws: WebSocket) -> None:
        await ws.accept()
        await asyncio.sleep(60)

    return app


class Raising(Call):
    """Notes what the app raises: a Task that keeps it would keep its frames, and those of the test."""

    raised: type[Exception] | None = None

    async def _run(self, app: App, scope: Message) -> None:
        try:
            await super()._run(app, scope)
        except Exception as error:
            self.raised = type(error)

    async def ends_with(self, kind: type[Exception]) -> None:
        await self.end()
        assert self.raised is kind


Ending = Callable[[App], Awaitable[object]]
ENDINGS: dict[str, Ending] = {}


def ending(function: Ending) -> Ending:
    """One way in which a call ends."""
    ENDINGS[getattr(function, "__name__", "")] = function
    return function


@ending
async def answered(app: App) -> None:
    await ask(app, http_scope())


@ending
async def answered_later(app: App) -> None:
    await ask(app, http_scope(path="/slow"))


@ending
async def answered_from_a_thread(app: App) -> None:
    await ask(app, http_scope(path="/thread"))


@ending
async def failed(app: App) -> None:
    await ask(app, http_scope(path="/fails"))


@ending
async def body_collected(app: App) -> None:
    await ask(app, http_scope("POST"), [b"a", b"b"])


@ending
async def body_read(app: App) -> None:
    await ask(app, http_scope("POST", "/count"), [b"a", b"b"])


@ending
async def body_too_large(app: App) -> None:
    await ask(app, http_scope("POST", "/count"), b"x" * 1001)


@ending
async def left_in_a_body(app: App) -> None:
    for path in ("/", "/count"):
        await Call(app, http_scope("POST", path), part(b"x"), GONE).end()


@ending
async def left_in_a_stream(app: App) -> None:
    call = Call(app, http_scope(path="/stream"), END)
    await call.until(lambda: call.sent)
    call.bring(GONE)
    await call.end()


@ending
async def vanished_in_a_stream(app: App) -> None:
    call = Call(app, http_scope(path="/stream"), END)
    await call.until(lambda: call.sent)
    call.vanished = True
    await call.end()


@ending
async def broken_midway(app: App) -> None:
    await Raising(app, http_scope(path="/breaks"), END).ends_with(AnswerAborted)


@ending
async def cancelled(app: App) -> None:
    for scope in (
        http_scope(path="/waits"),
        http_scope("POST"),
        http_scope("POST", "/count"),
        websocket_scope("/waits"),
    ):
        call = Call(app, scope, CONNECT if scope["type"] == "websocket" else part(b"x"))
        await asyncio.sleep(0.001)
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.end()


@ending
async def malformed(app: App) -> None:
    await ask(app, http_scope(query_string=b" "))


@ending
async def impossible(app: App) -> None:
    await Raising(app, http_scope(query_string=" ")).ends_with(ScopeError)


@ending
async def out_of_order(app: App) -> None:
    for path in ("/", "/count"):
        await Raising(app, http_scope("POST", path), part(b"x"), CONNECT).ends_with(MessageError)
    await Raising(app, websocket_scope(), CONNECT, CONNECT).ends_with(MessageError)


@ending
async def websocket_closed(app: App) -> None:
    call = Call(app, websocket_scope(), CONNECT, {"type": "websocket.receive", "text": "x"})
    await call.until(lambda: len(call.sent) == 2)
    call.bring({"type": "websocket.disconnect", "code": 1000})
    await call.end()


@ending
async def websocket_left(app: App) -> None:
    call = Call(app, websocket_scope("/waits"), CONNECT)
    await call.until(lambda: call.sent)
    call.bring({"type": "websocket.disconnect", "code": 1006})
    await call.end()


@ending
async def websocket_refused(app: App) -> None:
    await Call(app, websocket_scope("/absent"), CONNECT).end()


@pytest.mark.parametrize("name", ENDINGS)
def test_nothing_is_left_of_a_call(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "fastnet.error")
    app = make_app()
    act = ENDINGS[name]

    async def settle() -> None:
        # What ends with the next turns of the loop: Tasks that were cancelled.
        for _ in range(5):
            await asyncio.sleep(0)

    async def main() -> None:
        for _ in range(3):
            await act(app)
        await settle()
        gc.collect()
        before, counted = ours(), debug.live()
        gc.disable()
        try:
            for _ in range(ROUNDS):
                await act(app)
            await settle()
            assert grown(before, ours()) == {}
            # Kinds that only a debug build counts.
            assert all(after - counted.get(kind, 0) < 10 for kind, after in debug.live().items())
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found = Counter(str(type(thing)) for thing in gc.garbage if str(type(thing).__module__).startswith(OURS))
            assert found == {}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    run(main())


def test_a_call_that_is_kept_is_found() -> None:
    """The check itself finds what is left."""
    app = App()
    kept: list[object] = []

    @app.get("/")
    async def keep(request: Request) -> str:
        kept.append(request)
        return ""

    async def main() -> dict[str, int]:
        await ask(app, http_scope())
        before = ours()
        for _ in range(ROUNDS):
            await ask(app, http_scope())
        return grown(before, ours())

    assert run(main())
