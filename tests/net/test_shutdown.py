"""Draining: what runs is finished, what idles is closed, what never ends is cut off, and the lifespan ends last."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Annotated

import pytest

from fastnet import App, Depends, Request
from tests.wire.live import Live, live, until


class Events(list[str]):
    """What happened, in order."""


def make_app(events: Events) -> App:
    app = App()

    @app.lifespan
    async def lifespan(app: App) -> AsyncIterator[None]:
        events.append("up")
        yield
        events.append("down")

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/slow")
    async def slow() -> str:
        events.append("slow begun")
        await asyncio.sleep(0.1)
        events.append("slow ended")
        return "slow"

    @app.get("/hangs")
    async def hangs() -> str:
        try:
            events.append("hangs begun")
            await asyncio.sleep(600)
        finally:
            events.append("hangs ended")
        return "never"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        try:
            while True:
                yield "tick\n"
                await asyncio.sleep(0.01)
        finally:
            events.append("stream ended")

    @app.get("/short")
    async def short() -> AsyncIterator[str]:
        yield "begin\n"
        events.append("short begun")
        await asyncio.sleep(0.05)
        yield "end\n"

    @app.post("/upload")
    async def upload(request: Request) -> str:
        events.append("upload begun")
        return str(len(await request.body()))

    return app


@pytest.fixture
def events() -> Events:
    return Events()


def stop(server: Live, timeout: float) -> Future[None]:
    """Begin to stop the server; the future is done when it has stopped."""
    stopped = asyncio.run_coroutine_threadsafe(server.server.stop(timeout), server.loop)
    server.call(lambda: None)  # comes after its first step
    return stopped


def test_a_running_request_is_finished_and_told_to_close(events: Events) -> None:
    with live(make_app(events)) as server, server.peer() as peer:
        peer.get("/slow")
        until(lambda: "slow begun" in events)
        stopped = stop(server, 10)
        answer = peer.answer()
        assert (answer.body, answer["connection"]) == (b"slow", "close")
        assert peer.closed()
        stopped.result(10)
        assert events == ["up", "slow begun", "slow ended", "down"]


def test_a_running_stream_of_bounded_length_is_finished(events: Events) -> None:
    with live(make_app(events)) as server, server.peer() as peer:
        peer.get("/short")
        until(lambda: "short begun" in events)
        stopped = stop(server, 10)
        assert peer.answer().body == b"begin\nend\n"
        assert peer.closed()
        stopped.result(10)


def test_a_body_on_its_way_is_taken(events: Events) -> None:
    with live(make_app(events)) as server, server.peer() as peer:
        peer.send(b"POST /upload HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n12345")
        until(lambda: "upload begun" in events)
        stopped = stop(server, 10)
        answer = peer.send(b"67890").answer()
        assert (answer.body, answer["connection"]) == (b"10", "close")
        stopped.result(10)


def test_idle_connections_are_closed_and_new_ones_refused(events: Events) -> None:
    with live(make_app(events)) as server, server.peer() as idle, server.peer() as fresh, server.peer() as busy:
        port = server.port
        idle.get("/").answer()
        busy.get("/slow")
        until(lambda: "slow begun" in events)
        stopped = stop(server, 10)
        assert idle.closed()
        assert fresh.closed()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert busy.answer().body == b"slow"
        stopped.result(10)


def test_pipelined_requests_behind_the_running_one_are_not_begun(events: Events) -> None:
    with live(make_app(events)) as server, server.peer() as peer:
        peer.get("/slow").get("/")
        until(lambda: "slow begun" in events)
        stopped = stop(server, 10)
        assert peer.answer().body == b"slow"
        assert peer.closed()
        peer.sock.close()
        stopped.result(10)
        assert server.counters["requests"] == 1


def test_what_does_not_end_is_cut_off_at_the_deadline(events: Events, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fastnet.server")
    with live(make_app(events)) as server, server.peer() as stream, server.peer() as hung:
        stream.get("/stream").until(b"tick")
        hung.get("/hangs")
        until(lambda: "hangs begun" in events)
        stop(server, 0.1).result(10)
        with pytest.raises(EOFError):
            stream.answer()
        assert hung.closed()
        # Both handlers ended before the lifespan did.
        assert events[-1] == "down"
        assert {"stream ended", "hangs ended"} <= set(events[:-1])
        assert server.counters["connections_open"] == server.counters["requests_active"] == 0
    assert "2 connections were cut off" in caplog.text


def test_a_second_stop_does_nothing(events: Events) -> None:
    with live(make_app(events)) as server:
        stop(server, 1).result(10)
        stop(server, 1).result(10)
    assert events == ["up", "down"]


def test_the_lifespan_ends_even_when_the_drain_fails(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    with live(make_app(events)) as server:

        async def broken(*_: object) -> None:
            raise RuntimeError("the drain failed")

        monkeypatch.setattr(server.server, "_drain", broken)
        with pytest.raises(RuntimeError, match="the drain failed"):
            stop(server, 1).result(10)
        assert events == ["up", "down"]
        monkeypatch.undo()


def test_what_answers_left_to_do_is_waited_for(events: Events) -> None:
    app = make_app(events)

    async def resource() -> AsyncIterator[str]:
        yield "now"
        await asyncio.sleep(0.1)
        events.append("given back")

    @app.get("/after")
    async def after(value: Annotated[str, Depends(resource)]) -> str:
        return value

    with live(app) as server, server.peer() as peer:
        peer.get("/after").answer()
        stop(server, 10).result(10)
    assert events == ["up", "given back", "down"]


def test_a_handler_whose_peer_has_left_is_finished_too(events: Events) -> None:
    with live(make_app(events)) as server:
        with server.peer() as peer:
            peer.get("/slow")
            until(lambda: "slow begun" in events)
        stop(server, 10).result(10)
    assert events == ["up", "slow begun", "slow ended", "down"]


def test_a_cancelled_handler_may_clean_up(events: Events) -> None:
    app = make_app(events)

    @app.get("/cleans")
    async def cleans() -> str:
        try:
            events.append("begun")
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.02)
            events.append("clean")
        return "never"

    with live(app) as server, server.peer() as peer:
        peer.get("/cleans")
        until(lambda: "begun" in events)
        stop(server, 0.05).result(10)
    assert events == ["up", "begun", "clean", "down"]


def test_a_handler_that_swallows_its_cancellation_does_not_hold_up_the_lifespan(
    events: Events, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastnet.server.server.GRACE", 0.1)
    app = make_app(events)
    end = asyncio.Event()

    @app.get("/stubborn")
    async def stubborn() -> str:
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                events.append("swallowed")
        return "at last"

    with live(app) as server, server.peer() as peer:
        peer.get("/stubborn")
        until(lambda: server.counters["requests_active"] == 1)
        stop(server, 0.05).result(10)
        assert events == ["up", "swallowed", "down"]
        server.call(end.set)
        until(lambda: server.counters["requests_active"] == 0)
    assert "swallow" in caplog.text


def test_nothing_is_left_on_the_loop(events: Events) -> None:
    """Neither tasks nor a sweep: whoever embeds the server goes on with its loop."""
    with live(make_app(events)) as server:
        with server.peer() as peer:
            peer.get("/slow").answer()
        stop(server, 1).result(10)

        async def others() -> set[str]:
            return {repr(task.get_coro()) for task in asyncio.all_tasks() if "Runner" in repr(task.get_coro())}

        assert server.run(others()) == set()
