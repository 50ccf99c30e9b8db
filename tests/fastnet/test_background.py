"""Background tasks: beside the requests, logged when they fail, ended at shutdown."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator

import pytest

from fastnet import App
from fastnet.background import BackgroundTasks
from tests.fastnet.serving import serving


def test_background_tasks_run_beside_requests_and_end_before_the_lifespan() -> None:
    app, log = App(), list[str]()

    async def forever(name: str) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            log.append(f"ended {name}")

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        app.background(forever("of the lifespan"), name="ticker")
        yield
        log.append("lifespan left")

    @app.get("/start")
    async def start() -> str:
        app.background(forever("of a request"))
        return "started"

    with serving(app) as client:
        assert client.get("/start").text == "started"
        assert log == []
    assert sorted(log[:2]) == ["ended of a request", "ended of the lifespan"]
    assert log[2:] == ["lifespan left"]


def test_a_failure_is_logged_and_touches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        raise LookupError("in the background")

    async def fine() -> int:
        return 3

    async def main() -> None:
        tasks = BackgroundTasks()
        bad, good = tasks.start(failing(), name="bad one"), tasks.start(fine())
        assert len(tasks) == 2
        assert await good == 3
        await asyncio.wait([bad])
        await asyncio.sleep(0)
        assert len(tasks) == 0
        await tasks.close()

    asyncio.run(main())
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "fastnet.error"
    assert "bad one" in record.getMessage()
    assert "in the background" in caplog.text


def test_closing_waits_for_clean_up() -> None:
    log: list[str] = []

    async def slow_end() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            log.append("clean")

    async def main() -> None:
        tasks = BackgroundTasks()
        tasks.start(slow_end())
        await asyncio.sleep(0)
        await tasks.close()
        assert log == ["clean"]
        coroutine = slow_end()
        with pytest.raises(RuntimeError, match="shutting down"):
            tasks.start(coroutine)
        # It was closed: no warning that it was never awaited.
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    asyncio.run(main())


def test_background_wants_a_loop() -> None:
    async def nothing() -> None: ...

    with pytest.raises(RuntimeError):
        App().background(nothing())
