"""Lifespans: order, failure, and that clean-up always happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fastnet import App
from tests.fastnet.serving import serving


def test_entered_in_order_left_in_reverse() -> None:
    app, log = App(), list[str]()

    @app.lifespan
    async def generator(app: App) -> AsyncIterator[None]:
        app.state.ready = True
        log.append("+1")
        yield
        log.append("-1")
        app.state.ready = False

    @app.lifespan
    @asynccontextmanager
    async def manager(app: App) -> AsyncIterator[None]:
        log.append("+2")
        yield
        log.append("-2")

    @app.lifespan
    async def no_argument() -> AsyncIterator[None]:
        log.append("+3")
        yield
        log.append("-3")

    @app.get("/")
    async def ready() -> bool:
        return bool(app.state.ready)

    with serving(app) as client:
        assert client.get("/").json is True
        assert log == ["+1", "+2", "+3"]
    assert log == ["+1", "+2", "+3", "-3", "-2", "-1"]
    assert app.state.ready is False
    # And once more: an app may be served again.
    with serving(app) as client:
        assert client.get("/").json is True
    assert len(log) == 12


def test_start_up_that_fails_leaves_what_was_entered() -> None:
    app, log = App(), list[str]()

    @app.lifespan
    async def first() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("left")

    @app.lifespan
    async def second() -> AsyncIterator[None]:
        raise LookupError("no database")
        yield

    with pytest.raises(LookupError, match="no database"), serving(app):
        raise AssertionError("not served")
    assert log == ["left"]


def test_shutdown_that_fails_still_leaves_the_rest() -> None:
    app, log = App(), list[str]()

    @app.lifespan
    async def first() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("left")

    @app.lifespan
    async def second() -> AsyncIterator[None]:
        yield
        raise LookupError("late")

    async def main() -> None:
        await app.startup()
        with pytest.raises(LookupError, match="late"):
            await app.shutdown()
        await app.shutdown()

    asyncio.run(main())
    assert log == ["left"]
    assert not app._serving


def test_enter_and_leave_are_in_one_task() -> None:
    app, tasks = App(), list[Any]()

    @app.lifespan
    async def scoped() -> AsyncIterator[None]:
        async with asyncio.timeout(30):
            tasks.append(asyncio.current_task())
            yield
            tasks.append(asyncio.current_task())

    with serving(app):
        pass
    assert tasks[0] is tasks[1]


def test_started_once() -> None:
    async def main() -> None:
        app = App()
        await app.startup()
        with pytest.raises(RuntimeError, match="already"):
            await app.startup()
        await app.shutdown()

    asyncio.run(main())


async def coroutine_function(app: App) -> None: ...


def returns_nothing(app: App) -> Any:
    return None


def test_what_is_no_lifespan() -> None:
    app = App()
    with pytest.raises(TypeError, match="yield once"):
        app.lifespan(coroutine_function)  # type: ignore[type-var]
    with pytest.raises(TypeError):
        app.lifespan(3)  # type: ignore[type-var]
    app.lifespan(returns_nothing)
    with pytest.raises(TypeError, match="returns_nothing"):
        asyncio.run(app.startup())
