import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

import msgspec
import pytest

from fastnet import App, HTTPException
from fastnet.handlers import HandlerError, build_plan
from fastnet.params import Depends, Header
from fastnet_ext.exchange.exchange import LoopLocal, Route
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.request import Call, Request
from fastnet_ext.serve.errors import RequestValidationError
from fastnet_ext.serve.http import HttpEndpoint
from tests.fastnet.serving import serving

T = TypeVar("T")


class User(msgspec.Struct):
    name: str


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.awaited: dict[Any, asyncio.Event] = {}

    def __call__(self, entry: Any) -> None:
        self.entries.append(entry)
        if entry in self.awaited:
            self.awaited[entry].set()

    async def until(self, entry: Any) -> None:
        """Wait for an entry that the loop's own thread makes."""
        if entry not in self.entries:
            self.awaited[entry] = asyncio.Event()
            await self.awaited[entry].wait()


class Ended(Exception):
    """What a test's handler raises."""


def in_loop(main: Callable[[LoopLocal], Awaitable[T]]) -> T:
    """Run a coroutine function with a loop's services, handlers' threads among them."""

    async def outer() -> T:
        with ThreadPoolExecutor(1, thread_name_prefix="handlers") as executor:
            return await main(LoopLocal(asyncio.get_running_loop(), executor))

    return asyncio.run(outer())


async def answer_is_complete(exchange: MemoryExchange, error: BaseException | None = None) -> None:
    """Close what is open, as the runner does once the answer is complete, or has failed."""
    if exchange.cleanups is None:
        return
    try:
        await exchange.cleanups(error)
    except Exception as failed:
        logging.getLogger("fastnet.error").error("the clean-up of a dependency failed", exc_info=failed)


def result_of(function: Callable[..., Any], target: str = "/", *, body: bytes = b"", **options: Any) -> Any:
    """What a handler returns for one request."""
    headers = options.pop("headers", ())

    async def main(local: LoopLocal) -> Any:
        plan, _ = build_plan(function, **options)
        exchange = MemoryExchange(options.get("methods", ["GET"])[0], target, headers, body, local=local)
        result = await plan.invoke(exchange)
        await answer_is_complete(exchange)
        return result

    return in_loop(main)


# --- what they give


async def asynchronous(n: int = 1) -> tuple[str, int]:
    return "async", n


def synchronous(n: int = 1) -> tuple[str, int, str]:
    return "sync", n, threading.current_thread().name


async def async_generator() -> AsyncIterator[str]:
    yield "asyncgen"


def generator() -> Iterator[tuple[str, str]]:
    yield "gen", threading.current_thread().name


class Pager:
    def __init__(self, limit: int = 10, token: Annotated[str, Header()] = "") -> None:
        self.limit = limit
        self.token = token


class Callable_:
    async def __call__(self, n: int = 1) -> tuple[str, int]:
        return "object", n


def test_every_kind_of_dependency() -> None:
    async def handler(
        a: Annotated[Any, Depends(asynchronous)],
        b: Annotated[Any, Depends(synchronous)],
        c: Annotated[Any, Depends(async_generator)],
        d: Annotated[Any, Depends(generator)],
        e: Annotated[Pager, Depends()],
        f: Annotated[Any, Depends(Callable_())],
        g: Any = Depends(lambda: "lambda", inline=True),  # noqa: B008 - the form that people know
    ) -> Any:
        return a, b, c, d, (e.limit, e.token), f, g

    a, b, c, d, e, f, g = result_of(handler, "/?n=5&limit=3", headers=[(b"token", b"t")])
    assert (a, b[:2], c, d[0], e, f, g) == (
        ("async", 5),
        ("sync", 5),
        "asyncgen",
        "gen",
        (3, "t"),
        ("object", 5),
        "lambda",
    )
    assert b[2].startswith("handlers")
    assert d[1].startswith("handlers")


def test_inline_dependencies_run_on_the_loop() -> None:
    async def handler(
        a: Annotated[Any, Depends(synchronous, inline=True)], b: Annotated[Any, Depends(generator, inline=True)]
    ) -> Any:
        return a[2], b[1], threading.current_thread().name

    names = result_of(handler)
    assert len(set(names)) == 1


def test_handlers_of_every_kind_may_have_them() -> None:
    def sync(a: Annotated[Any, Depends(asynchronous)]) -> Any:
        return a, threading.current_thread().name

    assert result_of(sync)[1].startswith("handlers")
    assert not result_of(sync, inline=True)[1].startswith("handlers")

    async def stream(a: Annotated[Any, Depends(asynchronous)]) -> AsyncIterator[Any]:
        yield a

    async def main(local: LoopLocal) -> list[Any]:
        result = await build_plan(stream)[0].invoke(MemoryExchange(local=local))
        return [item async for item in result]

    assert in_loop(main) == [("async", 1)]


def test_they_nest_and_are_cached_for_one_request() -> None:
    log = Log()

    async def base(call: Call) -> object:
        log("base")
        return call

    async def left(base: Annotated[object, Depends(base)]) -> object:
        return base

    async def right(base: Annotated[object, Depends(base)], left: Annotated[object, Depends(left)]) -> object:
        assert base is left
        return base

    async def handler(
        left: Annotated[object, Depends(left)],
        right: Annotated[object, Depends(right)],
        again: Annotated[object, Depends(base)],
    ) -> object:
        assert left is right is again
        return again

    plan, _ = build_plan(handler, dependencies=[Depends(base)])

    async def main(local: LoopLocal) -> None:
        calls = [await plan.invoke(MemoryExchange(local=local)) for _ in range(2)]
        assert calls[0] is not calls[1]

    in_loop(main)
    assert log.entries == ["base", "base"]


def test_without_the_cache_each_one_is_called() -> None:
    log = Log()

    async def counted() -> int:
        log("called")
        return len(log.entries)

    async def handler(
        a: Annotated[int, Depends(counted, use_cache=False)],
        b: Annotated[int, Depends(counted, use_cache=False)],
        c: Annotated[int, Depends(counted)],
        d: Annotated[int, Depends(counted)],
    ) -> Any:
        return a, b, c, d

    assert result_of(handler) == (1, 2, 3, 3)


def test_dependencies_of_the_route_run_first_and_their_values_are_dropped() -> None:
    log = Log()

    def guard(token: Annotated[str, Header()]) -> None:
        log(token)

    async def handler() -> str:
        log("handler")
        return "ok"

    assert result_of(handler, headers=[(b"token", b"t")], dependencies=[Depends(guard)]) == "ok"
    assert log.entries == ["t", "handler"]
    with pytest.raises(RequestValidationError):
        result_of(handler, dependencies=[guard])


# --- order


def test_what_needs_no_body_comes_before_the_body_is_read() -> None:
    log = Log()

    async def authenticated() -> None:
        log("authenticated")

    async def from_body(user: User) -> str:
        log("from body")
        return user.name

    async def after_body(name: Annotated[str, Depends(from_body)]) -> str:
        return name.upper()

    async def handler(
        name: Annotated[str, Depends(after_body)], user: User, nobody: Annotated[None, Depends(authenticated)]
    ) -> tuple[str, User]:
        log("handler")
        return name, user

    async def main(local: LoopLocal) -> Any:
        plan, description = build_plan(handler, methods=["POST"])
        route = Route(HttpEndpoint(plan, mode=description.mode, body=description.body))
        exchange = MemoryExchange.streaming("POST", "/", local=local, route=route)
        task = asyncio.ensure_future(plan.invoke(exchange))
        await log.until("authenticated")
        exchange.push(b'{"name":')
        await asyncio.sleep(0)
        assert log.entries == ["authenticated"]
        exchange.push(b'"ann"}')
        exchange.push_end()
        return await task

    assert in_loop(main) == ("ANN", User("ann"))
    assert log.entries == ["authenticated", "from body", "handler"]


def test_a_refusal_leaves_the_body_unread() -> None:
    class Refused(Exception):
        pass

    async def refuse() -> None:
        raise Refused

    async def handler(user: User, nobody: Annotated[None, Depends(refuse)]) -> None:
        raise AssertionError

    with pytest.raises(Refused):
        result_of(handler, body=b"{not json", methods=["POST"])


# --- clean-up


def resource(log: Log, name: str) -> Callable[[], AsyncIterator[str]]:
    async def open_it() -> AsyncIterator[str]:
        log(f"open {name}")
        try:
            yield name
        except BaseException as error:
            log(f"{name} saw {type(error).__name__}")
            raise
        finally:
            await asyncio.sleep(0)
            log(f"close {name}")

    return open_it


def threaded_resource(log: Log, name: str) -> Callable[[], Iterator[str]]:
    def open_it() -> Iterator[str]:
        log(f"open {name}")
        try:
            yield name
        except BaseException as error:
            log(f"{name} saw {type(error).__name__}")
            raise
        finally:
            log(f"close {name}")

    return open_it


def test_clean_up_runs_when_the_answer_is_complete_the_last_one_first() -> None:
    log = Log()
    one, two, three = resource(log, "1"), threaded_resource(log, "2"), threaded_resource(log, "3")

    async def handler(
        a: Annotated[str, Depends(one)],
        b: Annotated[str, Depends(two)],
        c: Annotated[str, Depends(three, inline=True)],
    ) -> str:
        log("handler")
        return a + b + c

    async def main(local: LoopLocal) -> None:
        exchange = MemoryExchange(local=local)
        assert await build_plan(handler)[0].invoke(exchange) == "123"
        log("answered")
        await answer_is_complete(exchange)

    in_loop(main)
    assert log.entries == [
        "open 1", "open 2", "open 3", "handler", "answered", "close 3", "close 2", "close 1",
    ]  # fmt: skip


def test_an_exception_of_the_handler_is_thrown_in_before_the_answer() -> None:
    log = Log()
    one, two = resource(log, "1"), threaded_resource(log, "2")

    async def handler(a: Annotated[str, Depends(one)], b: Annotated[str, Depends(two)]) -> str:
        raise Ended

    with pytest.raises(Ended):
        result_of(handler)
    assert log.entries == ["open 1", "open 2", "2 saw Ended", "close 2", "1 saw Ended", "close 1"]


def test_a_dependency_that_fails_closes_those_before_it() -> None:
    log = Log()
    one = resource(log, "1")

    async def failing(a: Annotated[str, Depends(one)]) -> AsyncIterator[str]:
        raise Ended
        yield a

    async def handler(b: Annotated[str, Depends(failing)]) -> str:
        raise AssertionError

    with pytest.raises(Ended):
        result_of(handler)
    assert log.entries == ["open 1", "1 saw Ended", "close 1"]


def test_an_argument_of_the_handler_that_fails_closes_them_too() -> None:
    log = Log()
    one = resource(log, "1")

    async def handler(a: Annotated[str, Depends(one)], n: int) -> str:
        raise AssertionError

    with pytest.raises(RequestValidationError):
        result_of(handler)
    assert log.entries[-1] == "close 1"


def test_a_dependency_may_put_another_error_in_the_place_of_one_but_not_undo_it() -> None:
    log = Log()
    first = resource(log, "1")

    class Translated(Exception):
        pass

    async def translate() -> AsyncIterator[None]:
        try:
            yield
        except Ended as error:
            raise Translated from error

    async def swallow() -> AsyncIterator[None]:
        try:
            yield
        except Ended:
            log("swallowed")

    async def translated(a: Annotated[str, Depends(first)], b: Annotated[None, Depends(translate)]) -> str:
        raise Ended

    async def swallowed(b: Annotated[None, Depends(swallow)]) -> str:
        raise Ended

    with pytest.raises(Translated):
        result_of(translated)
    assert "1 saw Translated" in log.entries
    with pytest.raises(Ended):
        result_of(swallowed)
    assert log.entries[-1] == "swallowed"


def test_clean_up_that_fails_does_not_keep_the_rest_from_running(caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    one = resource(log, "1")

    async def failing() -> AsyncIterator[None]:
        yield
        raise Ended("in the clean-up")

    async def handler(a: Annotated[str, Depends(one)], b: Annotated[None, Depends(failing)]) -> str:
        return a

    assert result_of(handler) == "1"
    assert log.entries == ["open 1", "1 saw Ended", "close 1"]
    assert "the clean-up of a dependency failed" in caplog.text
    assert "in the clean-up" in caplog.text


def test_a_second_yield_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def twice() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def handler(a: Annotated[int, Depends(twice)]) -> int:
        return a

    assert result_of(handler) == 1
    assert "stop" in caplog.text


def test_clean_up_runs_when_the_handler_is_cancelled() -> None:
    log = Log()
    one, two = resource(log, "1"), threaded_resource(log, "2")

    async def handler(a: Annotated[str, Depends(one)], b: Annotated[str, Depends(two)]) -> None:
        log("waiting")
        await asyncio.get_running_loop().create_future()

    async def main(local: LoopLocal) -> None:
        task = asyncio.ensure_future(build_plan(handler)[0].invoke(MemoryExchange(local=local)))
        await log.until("waiting")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_loop(main)
    assert log.entries[3:] == ["2 saw CancelledError", "close 2", "1 saw CancelledError", "close 1"]


def test_a_second_cancellation_does_not_skip_the_rest() -> None:
    log = Log()
    one = resource(log, "1")

    async def slow() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log("slow")
            await asyncio.get_running_loop().create_future()

    async def handler(a: Annotated[str, Depends(one)], b: Annotated[None, Depends(slow)]) -> None:
        raise Ended

    async def main(local: LoopLocal) -> None:
        task = asyncio.ensure_future(build_plan(handler)[0].invoke(MemoryExchange(local=local)))
        await log.until("slow")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_loop(main)
    assert log.entries == ["open 1", "slow", "1 saw CancelledError", "close 1"]


def test_what_a_thread_opens_after_a_cancellation_is_closed() -> None:
    entered, may_go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Iterator[None]:
        entered.set()
        may_go_on.wait(10)
        try:
            yield
        finally:
            closed.set()

    async def handler(a: Annotated[None, Depends(slow)]) -> None:
        raise AssertionError

    async def main(local: LoopLocal) -> None:
        task = asyncio.ensure_future(build_plan(handler)[0].invoke(MemoryExchange(local=local)))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not closed.is_set()
        may_go_on.set()
        assert await asyncio.to_thread(closed.wait, 10)

    in_loop(main)


def test_clean_up_needs_no_thread_of_the_handlers() -> None:
    """With one thread, which waits for what the first request is to give back."""
    free = threading.Semaphore(1)

    def connection() -> Iterator[None]:
        assert free.acquire(timeout=10)
        try:
            yield
        finally:
            free.release()

    async def handler(a: Annotated[None, Depends(connection)]) -> str:
        return "ok"

    async def main(local: LoopLocal) -> None:
        plan, _ = build_plan(handler)
        first, second = MemoryExchange(local=local), MemoryExchange(local=local)
        assert await plan.invoke(first) == "ok"
        waiting = asyncio.ensure_future(plan.invoke(second))
        await answer_is_complete(first)
        assert await waiting == "ok"
        await answer_is_complete(second)

    in_loop(main)
    assert free.acquire(blocking=False)


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_a_thread_s_generator_is_entered_and_left_in_one_context() -> None:
    log = Log()

    def setting() -> Iterator[None]:
        token = variable.set("set")
        yield
        log(variable.get())
        variable.reset(token)
        log(variable.get())

    async def handler(a: Annotated[None, Depends(setting)]) -> None: ...

    result_of(handler)
    assert log.entries == ["set", "unset"]


def test_what_an_async_dependency_sets_the_handler_sees() -> None:
    async def setting() -> AsyncIterator[None]:
        variable.set("seen")
        yield

    async def handler(a: Annotated[None, Depends(setting)]) -> str:
        return variable.get()

    assert result_of(handler) == "seen"


def test_streams_keep_them_open() -> None:
    log = Log()
    one = resource(log, "1")

    async def numbers(a: Annotated[str, Depends(one)], fail: bool = False) -> AsyncIterator[int]:
        yield 1
        log("streaming")
        if fail:
            raise Ended
        yield 2

    def sync_numbers(a: Annotated[str, Depends(one)], fail: bool = False) -> Iterator[int]:
        yield 1
        log("streaming")
        if fail:
            raise Ended
        yield 2

    async def main(local: LoopLocal, function: Any, target: str) -> list[int]:
        exchange = MemoryExchange("GET", target, local=local)
        stream = await build_plan(function)[0].invoke(exchange)
        items = []
        failure: Ended | None = None
        try:
            if hasattr(stream, "__aiter__"):
                async for item in stream:
                    items.append(item)  # noqa: PERF401 - what came before a failure counts
            else:
                for item in stream:
                    items.append(item)  # noqa: PERF402
        except Ended as error:
            log("failed")
            failure = error
        log("answered")
        await answer_is_complete(exchange, failure)
        return items

    for function in (numbers, sync_numbers):
        assert in_loop(lambda local, function=function: main(local, function, "/")) == [1, 2]  # type: ignore[misc]
        assert log.entries == ["open 1", "streaming", "answered", "close 1"]
        log.entries.clear()
        assert in_loop(lambda local, function=function: main(local, function, "/?fail=1")) == [1]  # type: ignore[misc]
        assert log.entries == ["open 1", "streaming", "failed", "answered", "1 saw Ended", "close 1"]
        log.entries.clear()


def test_a_stream_that_is_given_up_looks_like_a_cancelled_handler() -> None:
    log = Log()
    one = resource(log, "1")

    async def endless(a: Annotated[str, Depends(one)]) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            log("stream closed")

    def sync_endless(a: Annotated[str, Depends(one)]) -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            log("stream closed")

    async def main(local: LoopLocal, function: Any) -> None:
        exchange = MemoryExchange(local=local)
        stream = await build_plan(function)[0].invoke(exchange)
        if hasattr(stream, "aclose"):
            await anext(stream)
            await stream.aclose()
        else:
            next(stream)
            stream.close()
        await answer_is_complete(exchange, asyncio.CancelledError())

    for function in (endless, sync_endless):
        in_loop(lambda local, function=function: main(local, function))  # type: ignore[misc]
        assert log.entries == ["open 1", "stream closed", "1 saw CancelledError", "close 1"]
        log.entries.clear()


# --- what is refused at registration


def test_cycles_are_refused() -> None:
    async def first(a: Any) -> None: ...

    async def second(a: Annotated[Any, Depends(first)]) -> None: ...

    first.__annotations__["a"] = Annotated[Any, Depends(second)]
    first.__signature__ = None  # type: ignore[attr-defined]
    del first.__signature__  # type: ignore[attr-defined]

    async def handler(a: Annotated[Any, Depends(first)]) -> None: ...

    with pytest.raises(HandlerError, match=r"depends on itself: .*first -> .*second -> .*first"):
        build_plan(handler)


def test_a_dependency_without_a_callable_is_refused() -> None:
    async def handler() -> None: ...

    with pytest.raises(HandlerError, match="wants a callable"):
        build_plan(handler, dependencies=[Depends()])


# --- replacements


def test_overrides_count_from_the_moment_they_are_set() -> None:
    overrides: dict[Callable[..., Any], Callable[..., Any]] = {}

    async def settings() -> str:
        return "real"

    async def user(settings: Annotated[str, Depends(settings)]) -> str:
        return f"user of {settings}"

    async def handler(user: Annotated[str, Depends(user)]) -> str:
        return user

    def fake_settings(n: int = 1) -> str:
        return f"fake {n}"

    plan, _ = build_plan(handler, overrides=overrides)

    async def main(local: LoopLocal) -> None:
        async def answer() -> Any:
            return await plan.invoke(MemoryExchange("GET", "/?n=7", local=local))

        assert await answer() == "user of real"
        overrides[settings] = fake_settings
        assert await answer() == "user of fake 7"
        overrides[user] = lambda: "somebody"
        assert await answer() == "somebody"
        overrides.clear()
        assert await answer() == "user of real"

    in_loop(main)


def test_dependencies_of_the_route_are_overridden_too() -> None:
    async def refuse() -> None:
        raise Ended

    async def handler(request: Request) -> str:
        return "ok"

    assert result_of(handler, dependencies=[refuse], overrides={refuse: lambda: None}) == "ok"


def test_what_the_protocol_supplies_comes_along() -> None:
    async def name(token: Annotated[str, Header()]) -> str:
        return token

    async def say_hello(request, context, name: Annotated[str, Depends(name)]):  # type: ignore[no-untyped-def]
        return request, context, name

    async def main(local: LoopLocal) -> Any:
        plan, _ = build_plan(say_hello, given=2)
        return await plan.invoke(MemoryExchange("POST", "/", [(b"token", b"t")], local=local), ["message", "context"])

    assert in_loop(main) == ("message", "context", "t")


# --- over a socket


def test_a_server_cleans_up_after_each_answer() -> None:
    app = App()
    log = Log()
    closed = threading.Semaphore(0)

    async def database() -> AsyncIterator[str]:
        log("open")
        try:
            yield "row"
        except HTTPException as error:
            log(error.status_code)
            raise
        finally:
            log("close")
            closed.release()

    @app.get("/rows")
    async def rows(database: Annotated[str, Depends(database)]) -> AsyncIterator[str]:
        for number in range(2):
            yield f"{database} {number}\n"
            log(number)

    @app.get("/refused")
    def refused(database: Annotated[str, Depends(database)]) -> str:
        raise HTTPException(409)

    with serving(app) as client:
        assert client.get("/rows").text == "row 0\nrow 1\n"
        assert closed.acquire(timeout=10)
        assert log.entries == ["open", 0, 1, "close"]
        log.entries.clear()
        assert client.get("/refused").status == 409
        assert closed.acquire(timeout=10)
        assert log.entries == ["open", 409, "close"]
