"""Dependencies, resolved: at registration into a list of steps, for each request by running them in order.

Steps that need no body come first, so that authentication refuses before a body is read. What a
step opened is closed when the answer is complete, the last one first.
"""

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, cast

from fastnet.arguments import Context, argument_for
from fastnet.params import Dependency
from fastnet.signatures import HandlerError, Kind, Parameter, kind_of, name_of, parameters_of
from fastnet_ext.exchange.exchange import Exchange
from fastnet_ext.exchange.request import request_for
from fastnet_ext.serve.plan import MISSING, Argument, BodyArgument, CallPlan, SlotArgument, max_arguments
from fastnet_ext.serve.runner import context_of, executor_of

__all__ = ["Graph", "Resolution"]

log = logging.getLogger("fastnet.error")

# What is to be done with what a step's plan returns.
Way = Literal["value", "await", "thread", "open", "open in thread"]

Overrides = Mapping[Callable[..., Any], Callable[..., Any]]


@dataclass(slots=True)
class Step:
    """One dependency: its plan, what becomes of what that returns, and the slot that takes the value."""

    plan: CallPlan
    way: Way
    slot: int
    late: bool  # it, or one that it depends on, needs the body


# Stands among the steps where the body is waited for.
READ_BODY: Final = Step(CallPlan(len), "value", -1, late=True)


class Graph:
    """The steps of one handler, in an order in which each one's own dependencies come before it."""

    def __init__(self, context: Context, *, given: int = 0, overrides: Overrides | None = None) -> None:
        self.context = context
        self.given = given  # values that the protocol supplies: the first slots
        self.overrides = overrides or {}
        self.steps: list[Step] = []
        self.taken: list[tuple[Callable[..., Any], Parameter, Argument]] = []  # from the request, in order
        self._made: dict[tuple[Callable[..., Any], bool], Step] = {}
        self._chain: list[Callable[..., Any]] = []

    def arguments(self, function: Callable[..., Any], *, given: int = 0) -> tuple[list[Argument], int]:
        """The arguments of a call, and how many go by position; adds the steps that they need.

        The first ``given`` parameters are left to the protocol. Raises HandlerError.
        """
        parameters = parameters_of(function)
        if len(parameters) > max_arguments:
            raise HandlerError(function, f"{len(parameters)} parameters are too many: at most {max_arguments}")
        found: list[Argument] = []
        body: str | None = None
        for index, parameter in enumerate(parameters):
            if index < given and not parameter.by_name:
                found.append(SlotArgument(parameter.name, index))
                continue
            if isinstance(parameter.marker, Dependency):
                found.append(SlotArgument(parameter.name, self._step_of(function, parameter).slot))
                continue
            argument = argument_for(function, parameter, self.context)
            if isinstance(argument, BodyArgument):
                if body is not None:
                    raise HandlerError(
                        function,
                        f"parameters {body} and {parameter.name} both take the body; put both into one Struct, "
                        "or say with Query, Header or Cookie where the other one comes from",
                    )
                body = parameter.name
            found.append(argument)
            self.taken.append((function, parameter, argument))
        return found, sum(not parameter.by_name for parameter in parameters)

    def _step_of(self, function: Callable[..., Any], parameter: Parameter) -> Step:
        marker = cast(Dependency, parameter.marker)
        dependency = marker.dependency
        if dependency is None:
            dependency = parameter.annotation
            if not inspect.isclass(dependency):
                raise HandlerError(
                    function,
                    f"parameter {parameter.name}: Depends() without a callable wants a class as the annotation, "
                    f"not {'none' if dependency is MISSING else repr(dependency)}",
                )
        if not callable(dependency):
            raise HandlerError(function, f"parameter {parameter.name}: Depends({dependency!r}) is not callable")
        return self.add(dependency, use_cache=marker.use_cache, inline=marker.inline)

    def add(self, dependency: Callable[..., Any], *, use_cache: bool = True, inline: bool = False) -> Step:
        """The step of a dependency, made unless one for the same callable may serve. Raises HandlerError."""
        function = self.overrides.get(dependency, dependency)
        if use_cache and (made := self._made.get((function, inline))) is not None:
            return made
        if function in self._chain:
            names = " -> ".join(name_of(each) for each in [*self._chain[self._chain.index(function) :], function])
            raise HandlerError(function, f"the dependency depends on itself: {names}")
        self._chain.append(function)
        try:
            arguments, positional = self.arguments(function)
        finally:
            self._chain.pop()
        target, way = _target(function, kind_of(function), inline)
        plan = CallPlan(target, arguments, positional)
        before = {step.slot: step for step in self.steps}
        late = plan.needs_body or any(before[each.slot].late for each in arguments if each.slot >= 0)
        step = Step(plan, way, self.given + len(self.steps), late)
        self.steps.append(step)
        if use_cache:
            self._made[function, inline] = step
        return step


def _target(function: Callable[..., Any], kind: Kind, inline: bool) -> tuple[Callable[..., Any], Way]:
    """What a step calls, and what is to be done with what that returns."""
    if kind == "async":
        return function, "await"
    if kind == "class" or (kind == "sync" and inline):
        return function, "value"
    if kind == "sync":
        return functools.partial(functools.partial, function), "thread"
    if kind == "asyncgen":
        return contextlib.asynccontextmanager(cast(Callable[..., AsyncIterator[Any]], function)), "open"
    manager = contextlib.contextmanager(cast(Callable[..., Iterator[Any]], function))
    return manager, "open" if inline else "open in thread"


class Resolution:
    """What a handler with dependencies runs for each request; ``run`` is its coroutine function."""

    def __init__(self, graph: Graph, handler: CallPlan, way: Way, rebuild: Callable[[Overrides], "Resolution"]) -> None:
        early = [step for step in graph.steps if not step.late]
        late = [step for step in graph.steps if step.late]
        self.count = len(graph.steps)
        self.needs_body = handler.needs_body or bool(late)
        self.takes_request = handler.takes_request or any(step.plan.takes_request for step in graph.steps)
        self.steps = (*early, READ_BODY, *late) if self.needs_body else tuple(early)
        self.taken = graph.taken
        self.handler = handler
        self.way = way
        # For a handler that may block, the loop fetches the arguments and a thread makes the call.
        self.call = (
            handler
            if way != "thread"
            else CallPlan(functools.partial(functools.partial, handler.function), handler.arguments, handler.positional)
        )
        self.rebuild = rebuild
        self.overrides: Overrides = {}
        # Of the overrides that were asked for last, so that a test's requests share it.
        self._variant: tuple[tuple[tuple[Any, Any], ...], Resolution] | None = None

    def start(self, exchange: Exchange, given: list[Any] | None) -> Any:
        """The coroutine that answers one request: what DependentPlan calls."""
        return (self.overridden() if self.overrides else self).run(exchange, given)

    def overridden(self) -> "Resolution":
        """The resolution with the overrides of this moment."""
        key = tuple(self.overrides.items())
        if self._variant is None or self._variant[0] != key:
            self._variant = (key, self.rebuild(dict(key)))
        return self._variant[1]

    async def run(self, exchange: Exchange, given: list[Any] | None) -> Any:
        """Resolve the dependencies, call the handler, and leave open what they opened until the answer is complete."""
        values = [*(given or ()), *([None] * self.count)]
        opened: list[contextlib.AbstractAsyncContextManager[Any]] = []
        try:
            for step in self.steps:
                if step is READ_BODY:
                    await request_for(exchange).body()
                    continue
                made = step.plan.invoke(exchange, values)
                if step.way == "await":
                    made = await made
                elif step.way != "value":
                    made = await _value(step.way, exchange, made, opened)
                values[step.slot] = made
            result = self.call.invoke(exchange, values)
            if self.way == "await":
                result = await result
            elif self.way == "thread":
                result = await _in_thread(exchange, result)
        except BaseException as error:
            outcome = await _unwind(opened, error)
            if outcome is not None and outcome is not error:
                raise outcome from error
            raise
        if opened:
            _keep_open(exchange, opened)
        return result


async def _value(way: Way, exchange: Exchange, made: Any, opened: list[Any]) -> Any:
    """The value of a dependency that runs in a thread or is to be closed again; the latter are added to ``opened``."""
    if way == "thread":
        made = await _in_thread(exchange, made)
        return await made if inspect.isawaitable(made) else made
    if way == "open in thread":
        made = _ThreadManager(exchange, made)
    elif not hasattr(made, "__aenter__"):
        made = _InlineManager(made)
    value = await made.__aenter__()
    opened.append(made)
    return value


# --- threads


def _submit(executor: Executor | None, call: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
    loop = asyncio.get_running_loop()
    if executor is None:
        return loop.run_in_executor(None, call, *arguments)
    return asyncio.wrap_future(executor.submit(call, *arguments), loop=loop)


async def _in_thread(exchange: Exchange, call: Callable[[], Any]) -> Any:
    """Run a call in the pool of threads, with a copy of this Task's context variables."""
    return await _submit(executor_of(exchange), context_of(exchange).run, call)


class _InlineManager(contextlib.AbstractAsyncContextManager[Any]):
    """A synchronous context manager that never blocks, as an asynchronous one."""

    def __init__(self, manager: contextlib.AbstractContextManager[Any]) -> None:
        self.manager = manager

    async def __aenter__(self) -> Any:
        return self.manager.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self.manager.__exit__(kind, error, traceback)


class _ThreadManager(contextlib.AbstractAsyncContextManager[Any]):
    """A synchronous context manager, entered in the pool of handlers and left in the loop's own pool.

    If leaving wanted a thread of the first pool, handlers that wait there for what is to be given
    back could keep it from being given back for ever. Both run in one context.
    """

    def __init__(self, exchange: Exchange, manager: contextlib.AbstractContextManager[Any]) -> None:
        self.executor = executor_of(exchange)
        self.manager = manager
        self.context = context_of(exchange)

    async def __aenter__(self) -> Any:
        entered = _submit(self.executor, self.context.run, self.manager.__enter__)
        try:
            return await asyncio.shield(entered)
        except asyncio.CancelledError:
            # The thread goes on: what it opens is closed as soon as it has opened it.
            entered.add_done_callback(self._abandoned)
            raise

    def _abandoned(self, entered: "asyncio.Future[Any]") -> None:
        if entered.cancelled() or entered.exception() is not None:
            return
        error = asyncio.CancelledError()
        left = _submit(None, self.context.run, self.manager.__exit__, type(error), error, None)
        left.add_done_callback(_log_failure)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        left = _submit(None, self.context.run, self.manager.__exit__, kind, error, traceback)
        return cast("bool | None", await left)


def _log_failure(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error("the clean-up of a dependency failed", exc_info=error)


# --- clean-up


async def _unwind(opened: list[Any], error: BaseException | None) -> BaseException | None:
    """Close what was opened, the last one first, all of it. Returns the error that counts in the end.

    Each one is told of the error so far, and may put another in its place, but not undo it: the
    answer that failed cannot become one that did not.
    """
    while opened:
        manager = opened.pop()
        try:
            if error is None:
                await manager.__aexit__(None, None, None)
            else:
                await manager.__aexit__(type(error), error, error.__traceback__)
        except BaseException as raised:
            error = raised
    return error


def _keep_open(exchange: Exchange, opened: list[Any]) -> None:
    """Have what was opened closed once the answer is complete, in the Task of the handler."""

    async def close(error: BaseException | None) -> None:
        outcome = await _unwind(opened, error)
        if outcome is not None and outcome is not error:
            raise outcome

    exchange.cleanups = close


def dependencies_of(dependencies: Sequence[Any]) -> list[Dependency]:
    """What ``dependencies=[...]`` of a route or router stands for: markers, or bare callables."""
    return [each if isinstance(each, Dependency) else Dependency(each) for each in dependencies]
