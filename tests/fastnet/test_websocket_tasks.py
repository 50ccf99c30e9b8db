"""A WebSocket handler is an asyncio Task like any other, though most of its steps are made in the Task's place."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from fastnet import App
from fastnet.websocket import WebSocket
from tests.loops import run

Handler = Callable[[WebSocket], Awaitable[None]]


def served(handler: Handler, client: Callable[[ClientConnection], Awaitable[None]]) -> None:
    """Run a client against a handler."""

    async def main() -> None:
        app = App()
        app.websocket("/")(handler)
        async with (
            app.serve(port=0) as server,
            connect(server.url.replace("http", "ws", 1), compression=None, proxy=None) as ws,
        ):
            async with asyncio.timeout(20):
                await client(ws)

    run(main())


async def ask(ws: ClientConnection, count: int = 5) -> list[str | bytes]:
    """Messages one by one, so that each finds the handler waiting."""
    answers = []
    for n in range(count):
        await ws.send(str(n))
        answers.append(await ws.recv())
    return answers


def test_one_task_makes_all_steps_and_is_current_in_none_of_ours() -> None:
    tasks: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            tasks.append(asyncio.current_task())
            await ws.send(message)

    async def client(ws: ClientConnection) -> None:
        me = asyncio.current_task()
        assert await ask(ws) == ["0", "1", "2", "3", "4"]
        assert asyncio.current_task() is me
        assert len(set(tasks)) == 1
        assert tasks[0] is not me
        assert tasks[0] in asyncio.all_tasks()
        assert not tasks[0].done()

    served(handler, client)


def test_context_variables_stay_with_the_handler() -> None:
    seen: list[int] = []
    variable = contextvars.ContextVar("variable", default=0)

    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            seen.append(variable.get())
            variable.set(variable.get() + 1)
            await ws.send(message)

    async def client(ws: ClientConnection) -> None:
        await ask(ws)
        assert seen == [0, 1, 2, 3, 4]
        assert variable.get() == 0

    served(handler, client)


def test_a_turn_of_the_loop_is_one() -> None:
    """``sleep(0)`` lets go what is ready, in the first step too."""
    order: list[str] = []

    async def handler(ws: WebSocket) -> None:
        for _ in range(4):
            asyncio.get_running_loop().call_soon(order.append, "others")
            await asyncio.sleep(0)
            order.append("handler")
            await ws.send(await ws.receive())

    async def client(ws: ClientConnection) -> None:
        await ask(ws, 4)
        assert order == ["others", "handler"] * 4

    served(handler, client)


def test_what_else_a_handler_waits_for() -> None:
    async def handler(ws: WebSocket) -> None:
        loop = asyncio.get_running_loop()
        async for message in ws:
            later = loop.create_future()
            loop.call_later(0.001, later.set_result, message)
            await ws.send(await later)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
            await ws.send(str([task.result() for task in tasks]))

    async def client(ws: ClientConnection) -> None:
        for n in range(4):
            await ws.send(str(n))
            assert await ws.recv() == str(n)
            assert await ws.recv() == "[0, 1, 2]"

    served(handler, client)


def test_another_task_receives() -> None:
    async def handler(ws: WebSocket) -> None:
        for n in range(6):
            message = await (asyncio.create_task(ws.receive()) if n % 2 else ws.receive())
            await ws.send(message)

    async def client(ws: ClientConnection) -> None:
        assert await ask(ws, 6) == ["0", "1", "2", "3", "4", "5"]
        with pytest.raises(websockets.ConnectionClosedOK):
            await ws.recv()

    served(handler, client)


def test_a_timeout_around_messages() -> None:
    async def handler(ws: WebSocket) -> None:
        got = 0
        try:
            async with asyncio.timeout(0.05):
                async for message in ws:
                    got += 1
                    await ws.send(message)
        except TimeoutError:
            task = asyncio.current_task()
            assert task is not None
            await ws.send(f"late after {got}, {task.cancelling()}")
        await ws.send(await ws.receive())

    async def client(ws: ClientConnection) -> None:
        await ask(ws, 3)
        assert await ws.recv() == "late after 3, 0"
        assert await ask(ws, 1) == ["0"]

    served(handler, client)


@pytest.mark.parametrize("after", ["message", "sleep", "future", "return"])
def test_a_handler_cancels_itself(after: str) -> None:
    """At its next wait, whatever that is for, as asyncio has it; what it returns before is its result."""
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        future = loop.create_future()
        try:
            async for message in ws:
                await ws.send(message)
                if message == "2":
                    task.cancel()
                    seen.append("goes on")
                    if after == "return":
                        return
                    if after == "sleep":
                        await asyncio.sleep(0)
                    if after == "future":
                        await future
        except asyncio.CancelledError:
            seen.append(task.cancelling())
            seen.append(after != "future" or future.cancelled())
            task.uncancel()
            await ws.send("cancelled")
            seen.append(await ws.receive())

    async def client(ws: ClientConnection) -> None:
        assert await ask(ws, 3) == ["0", "1", "2"]
        if after == "return":
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            assert seen == ["goes on"]
        else:
            assert await ws.recv() == "cancelled"
            await ws.send("last")
            with pytest.raises(websockets.ConnectionClosedOK):
                await ws.recv()
            assert seen == ["goes on", 1, True, "last"]

    served(handler, client)


def test_somebody_else_cancels_it() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def handler(ws: WebSocket) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        async for message in ws:
            await ws.send(message)

    async def client(ws: ClientConnection) -> None:
        await ask(ws)
        assert tasks[0].cancel("enough")
        with pytest.raises(websockets.ConnectionClosedOK) as caught:
            await ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
        assert tasks[0].cancelled()

    served(handler, client)


def test_a_handler_fails_in_a_later_step(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            if message == "3":
                raise LookupError("secret")
            await ws.send(message)

    async def client(ws: ClientConnection) -> None:
        await ask(ws, 3)
        await ws.send("3")
        with pytest.raises(websockets.ConnectionClosedError) as caught:
            await ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1011
        assert "LookupError: secret" in caplog.text

    served(handler, client)


def test_handlers_wake_each_other_within_a_step() -> None:
    """One handler sends to another connection, whose own handler is not entered from within the first."""
    sockets: dict[str, WebSocket] = {}
    depth = 0
    both = asyncio.Event()

    async def main() -> None:
        app = App()

        @app.websocket("/{name}")
        async def handler(ws: WebSocket, name: str) -> None:
            nonlocal depth
            sockets[name] = ws
            if len(sockets) == 2:
                both.set()
            async for message in ws:
                depth += 1
                assert depth == 1
                for other in sockets.values():
                    await other.send(f"{name}: {message!r}")
                depth -= 1

        async with app.serve(port=0) as server:
            url = server.url.replace("http", "ws", 1)
            async with (
                connect(url + "/a", compression=None, proxy=None) as a,
                connect(url + "/b", compression=None, proxy=None) as b,
            ):
                await both.wait()
                for n in range(5):
                    await a.send(str(n))
                    await b.send(str(n))
                    for ws in (a, b):
                        assert sorted([await ws.recv(), await ws.recv()]) == [f"a: '{n}'", f"b: '{n}'"]

    run(main())
