"""Lifespans of mounted applications: the three modes, failures at both ends, state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from fastnet import App
from fastnet.asgi.lifespan import LifespanFailed
from tests.asgi.mounted import START, Message, Receive, Send, body
from tests.loops import run
from tests.wire.live import live

Application = Callable[[Message, Receive, Send], Awaitable[None]]


def with_lifespan(
    notes: list[str], *, startup: str = "complete", shutdown: str = "complete", message: str | None = None
) -> Application:
    """An application that answers its lifespan so, and requests with what its state has become."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send(START)
            await send(body(repr(scope["state"]).encode()))
            scope["state"]["touched"] = True
            return
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        told = {} if message is None else {"message": message}
        assert await receive() == {"type": "lifespan.startup"}
        notes.append("startup")
        scope["state"]["db"] = "open"
        await send({"type": f"lifespan.startup.{startup}", **(told if startup == "failed" else {})})
        assert await receive() == {"type": "lifespan.shutdown"}
        notes.append("shutdown")
        await send({"type": f"lifespan.shutdown.{shutdown}", **(told if shutdown == "failed" else {})})

    return application


async def served(app: App) -> None:
    async with app.serve(port=0):
        pass


def test_it_runs_around_serving_and_its_state_reaches_each_request() -> None:
    notes: list[str] = []
    app = App()
    application = with_lifespan(notes)
    app.mount("/", application)

    @app.lifespan
    async def ours(app: App) -> AsyncIterator[None]:
        notes.append("our startup")
        yield
        notes.append("our shutdown")

    for _ in range(2):
        # An app may be served again.
        notes.clear()
        with live(app) as server, server.peer() as peer:
            assert notes == ["our startup", "startup"]
            for _ in range(2):
                assert peer.get("/").answer().body == b"{'db': 'open'}"
        assert notes == ["our startup", "startup", "shutdown", "our shutdown"]


@pytest.mark.parametrize(("startup", "shutdown"), [("failed", "complete"), ("complete", "failed")])
@pytest.mark.parametrize("message", ["no database", None])
def test_failures_are_told(startup: str, shutdown: str, message: str | None) -> None:
    notes: list[str] = []
    app = App()
    app.mount("/", with_lifespan(notes, startup=startup, shutdown=shutdown, message=message))
    with pytest.raises(LifespanFailed, match=message or "did not say why"):
        run(served(app))


def test_what_ran_before_a_failure_is_undone() -> None:
    notes: list[str] = []
    app = App()
    app.mount("/one", with_lifespan(notes))
    app.mount("/two", with_lifespan([], startup="failed"))
    with pytest.raises(LifespanFailed):
        run(served(app))
    assert notes == ["startup", "shutdown"]


async def without(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send(START)
    await send(body(b"fine"))


async def silent(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await without(scope, receive, send)


@pytest.mark.parametrize("application", [without, silent])
@pytest.mark.parametrize("mode", ["auto", "off"])
def test_an_application_without_a_lifespan(
    application: Application, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    app.mount("/", application, lifespan=mode)
    with caplog.at_level(logging.INFO), live(app) as server, server.peer() as peer:
        assert peer.get("/").answer().body == b"fine"
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_on_insists() -> None:
    app = App()
    app.mount("/", without, lifespan="on")
    with pytest.raises(NotImplementedError, match="lifespan"):
        run(served(app))


def test_off_leaves_it_alone() -> None:
    notes: list[str] = []
    app = App()
    app.mount("/", with_lifespan(notes), lifespan="off")
    run(served(app))
    assert notes == []


def test_the_same_application_at_two_places_has_a_lifespan_each() -> None:
    notes: list[str] = []
    app = App()
    application = with_lifespan(notes)
    app.mount("/one", application)
    app.mount("/two", application)
    run(served(app))
    assert notes == ["startup", "startup", "shutdown", "shutdown"]


def test_an_unknown_message_raises_in_the_application() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.maybe"})

    app = App()
    app.mount("/", application, lifespan="on")
    with pytest.raises(RuntimeError, match=r"'lifespan.startup.maybe' is no message that a lifespan sends"):
        run(served(app))


def test_a_lifespan_that_goes_on_after_its_last_word_is_cut_off() -> None:
    ended: list[str] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    app = App()
    app.mount("/", application)
    run(served(app))
    assert ended == ["cleaned up"]
