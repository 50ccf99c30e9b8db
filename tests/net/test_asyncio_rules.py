"""What asyncio promises its tasks holds in handlers, whose first step is made at once."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fastnet import App, Request
from tests.loops import new_loop
from tests.wire.live import Peer, live, until

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def app() -> App:
    return App()


def text(peer: Peer, target: str = "/") -> str:
    return peer.get(target).answer().body.decode()


def test_the_current_task_is_a_real_one(app: App) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    @app.get("/quick")
    async def quick() -> str:
        tasks.append(asyncio.current_task())
        return "ok"

    @app.get("/waits")
    async def waits() -> str:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is before
        tasks.append(before)
        return "ok"

    with live(app, keeps=True) as server, server.peer() as peer:
        for target in ("/waits", "/quick", "/quick", "/waits", "/waits"):
            assert text(peer, target) == "ok"
    assert all(isinstance(task, asyncio.Task) for task in tasks)
    # Who waited has a task of its own: nothing keyed by it is shared.
    waited = [tasks[0], tasks[3], tasks[4]]
    assert len(set(map(id, waited))) == 3


def test_a_turn_of_the_loop_in_the_first_step(app: App) -> None:
    order: list[str] = []

    @app.get("/")
    async def turns() -> str:
        asyncio.get_running_loop().call_soon(order.append, "others")
        await asyncio.sleep(0)
        order.append("handler")
        return "ok"

    with live(app) as server, server.peer() as peer:
        for _ in range(3):
            assert text(peer) == "ok"
    assert order == ["others", "handler"] * 3


def test_two_handlers_at_once_have_two_tasks(app: App) -> None:
    tasks: set[int] = set()
    both = asyncio.Event()

    @app.get("/")
    async def meet() -> str:
        tasks.add(id(asyncio.current_task()))
        if len(tasks) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 5)
        return "met"

    with live(app) as server, server.peer() as one, server.peer() as two:
        one.get("/")
        two.get("/")
        assert one.answer().body == two.answer().body == b"met"


def test_timeouts(app: App) -> None:
    @app.get("/")
    async def late() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            pass
        try:
            await asyncio.wait_for(asyncio.sleep(60), 0.01)
        except TimeoutError:
            return f"late, {asyncio.current_task().cancelling()}"  # type: ignore[union-attr]
        return "in time"

    with live(app) as server, server.peer() as peer:
        assert [text(peer) for _ in range(3)] == ["late, 0"] * 3


def test_a_timeout_around_what_never_waits(app: App) -> None:
    @app.get("/")
    async def quick() -> str:
        async with asyncio.timeout(1):  # noqa: ASYNC100 (to enter and to leave it is the point)
            return "in time"

    with live(app) as server, server.peer() as peer:
        assert [text(peer) for _ in range(50)] == ["in time"] * 50


def test_task_groups(app: App) -> None:
    @app.get("/sum")
    async def total() -> int:
        async def number(n: int) -> int:
            await asyncio.sleep(0.001 * n)
            return n

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(number(n)) for n in range(5)]
        return sum(task.result() for task in tasks)

    @app.get("/fails")
    async def fails() -> str:
        async def bad() -> None:
            raise LookupError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(bad())
                await asyncio.sleep(60)
        except* LookupError:
            pass
        return "caught"

    with live(app) as server, server.peer() as peer:
        for _ in range(3):
            assert text(peer, "/sum") == "10"
            assert text(peer, "/fails") == "caught"


def test_gather_and_a_lock(app: App) -> None:
    lock = asyncio.Lock()
    inside = 0

    @app.get("/")
    async def one_at_a_time() -> str:
        nonlocal inside
        async with lock:
            inside += 1
            assert inside == 1
            await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.001))
            inside -= 1
        return "ok"

    with live(app) as server:
        peers = [server.peer().get("/") for _ in range(20)]
        for peer in peers:
            assert peer.answer().body == b"ok"
            peer.sock.close()


@pytest.mark.parametrize("waits", [False, True])
def test_context_variables_do_not_leak_into_the_next_request(app: App, waits: bool) -> None:
    @app.get("/set/{value}")
    async def set_it(value: str) -> str:
        before = variable.get()
        variable.set(value)
        if waits:
            await asyncio.sleep(0)
        return f"{before} {variable.get()}"

    @app.get("/get", inline=True)
    def get_it() -> str:
        return variable.get()

    with live(app) as server, server.peer() as peer:
        for n in range(5):
            assert text(peer, f"/set/{n}") == f"unset {n}"
            assert text(peer, "/get") == "unset"
        # Pipelined too: one batch of input.
        for n in range(16):
            peer.get(f"/set/{n}")
        assert [peer.answer().body for _ in range(16)] == [b"unset %d" % n for n in range(16)]


def test_context_variables_reach_threads_and_generators(app: App) -> None:
    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        variable.set("mine")
        for _ in range(3):
            yield variable.get()
            await asyncio.sleep(0)

    @app.get("/to-thread")
    async def to_thread() -> str:
        variable.set("mine")
        return await asyncio.to_thread(variable.get)

    @app.middleware
    async def outer(request: Request, call_next: Any) -> Any:
        variable.set("from the middleware") if request.path == "/thread" else None
        return await call_next(request)

    @app.get("/thread")
    def thread() -> str:
        return variable.get()

    with live(app) as server, server.peer() as peer:
        assert text(peer, "/stream") == "mineminemine"
        assert text(peer, "/to-thread") == "mine"
        assert text(peer, "/thread") == "from the middleware"


def test_anyio_works(app: App) -> None:
    @app.get("/")
    async def handler() -> str:
        found: list[str] = []
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep(60)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0.001)
            found.append(await anyio.to_thread.run_sync(lambda: "thread"))
        with anyio.fail_after(5):
            await anyio.lowlevel.checkpoint()
        return f"{scope.cancelled_caught} {found[0]} {anyio.get_current_task().name is not None}"

    with live(app) as server, server.peer() as peer:
        assert [text(peer) for _ in range(3)] == ["True thread True"] * 3


def test_a_handler_that_cancels_itself(app: App) -> None:
    @app.get("/waits")
    async def waits() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            task.uncancel()
            return "caught"
        return "never"

    @app.get("/quick")
    async def quick() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "answered"

    @app.get("/raises")
    async def raises() -> str:
        raise asyncio.CancelledError

    @app.get("/")
    async def index() -> str:
        return "fine"

    with live(app) as server:
        for _ in range(3):
            with server.peer() as peer:
                assert text(peer, "/waits") == "caught"
                assert text(peer, "/quick") == "answered"
                # Its mark is not on the next one's task.
                assert text(peer, "/") == "fine"
                # A handler cancelled by whomever has no answer: the connection says so by its end.
                assert peer.get("/raises").closed()
        server.settle()


def test_the_debug_mode_of_the_loop(app: App) -> None:
    @app.get("/")
    async def index() -> str:
        await asyncio.sleep(0)
        return str(asyncio.get_running_loop().get_debug())

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    def factory() -> asyncio.AbstractEventLoop:
        loop = new_loop()
        loop.set_debug(True)
        return loop

    with live(app, loop_factory=factory) as server, server.peer() as peer:
        assert [text(peer) for _ in range(3)] == ["True"] * 3
        assert text(peer, "/stream") == "ab"
        peer.get("/").get("/")
        assert [peer.answer().body for _ in range(2)] == [b"True"] * 2


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("waits", [False, True])
def test_keyboard_interrupt_and_exit_are_not_swallowed(app: App, kind: type[BaseException], waits: bool) -> None:
    @app.get("/")
    async def stop() -> str:
        if waits:
            await asyncio.sleep(0)
        raise kind

    with pytest.raises(kind), live(app) as server, server.peer() as peer:
        assert peer.get("/").closed()


def test_a_pool_handler_does_not_block_the_loop(app: App) -> None:
    release = threading.Event()

    @app.get("/blocks")
    def blocks() -> str:
        assert threading.current_thread() is not threading.main_thread()
        release.wait(5)
        return threading.current_thread().name

    @app.get("/inline", inline=True)
    def inline() -> str:
        return threading.current_thread().name

    with live(app) as server, server.peer() as blocked, server.peer() as other:
        blocked.get("/blocks")
        names = {text(other, "/inline") for _ in range(5)}
        release.set()
        assert blocked.answer().body.startswith(b"fastnet")
        assert names == {server.call(lambda: threading.current_thread().name)}


def test_the_pool_has_the_size_it_was_given() -> None:
    app = App(pool_size=2)
    running = 0
    most = 0
    lock = threading.Lock()

    @app.get("/")
    def work() -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return "done"

    with live(app) as server:
        peers = [server.peer().get("/") for _ in range(8)]
        for peer in peers:
            assert peer.answer().body == b"done"
            peer.sock.close()
    assert most == 2


def test_a_handlers_task_may_be_cancelled_by_others(app: App) -> None:
    tasks: list[asyncio.Task[Any]] = []

    @app.get("/")
    async def hang() -> str:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await asyncio.sleep(60)
        return "never"

    with live(app, keeps=True) as server, server.peer() as peer:
        peer.get("/")
        until(lambda: bool(tasks))
        server.call(tasks[0].cancel)
        assert peer.closed()
        assert server.settle()["requests_active"] == 0
        assert tasks[0].cancelled()
