"""What happens around serving: start-up before the first request, shutdown after the last one."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from fastnet.app import App

__all__ = ["Lifespan", "LifespanFunction"]

LifespanFunction = (
    Callable[["App"], AsyncIterator[None] | AbstractAsyncContextManager[Any]]
    | Callable[[], AsyncIterator[None] | AbstractAsyncContextManager[Any]]
)
LifespanT = TypeVar("LifespanT", bound=LifespanFunction)


class Lifespan:
    """The lifespan functions of an application, entered in order of registration, left in reverse."""

    def __init__(self) -> None:
        self.functions: list[LifespanFunction] = []
        self._stack: AsyncExitStack | None = None

    def register(self, function: LifespanFunction) -> None:
        """Add an async generator function with one yield, or a function that returns an async context manager."""
        if not callable(function):
            raise TypeError(f"a lifespan is a function, not {type(function).__name__}")
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"lifespan {function.__qualname__} must yield once: what follows the yield is shutdown")
        self.functions.append(function)

    async def start(self, app: App, mounted: Iterable[AbstractAsyncContextManager[Any]] = ()) -> None:
        """Enter each, then those of what is mounted; when one fails, those before it are left and it is raised."""
        if self._stack is not None:
            raise RuntimeError("the application has been started already")
        async with AsyncExitStack() as stack:
            for function in self.functions:
                await stack.enter_async_context(_context(function, app))
            for one in mounted:
                await stack.enter_async_context(one)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Leave each in reverse; all are left even when some fail. Idempotent."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()


def _context(function: LifespanFunction, app: App) -> AbstractAsyncContextManager[Any]:
    made: Any = function(app) if _takes_app(function) else function()  # type: ignore[call-arg]
    if isinstance(made, AsyncGenerator):
        return asynccontextmanager(lambda: made)()
    if hasattr(made, "__aenter__") and hasattr(made, "__aexit__"):
        return made  # type: ignore[no-any-return]
    raise TypeError(
        f"a lifespan is an async generator or returns an async context manager; "
        f"{getattr(function, '__qualname__', function)!r} returned {type(made).__name__}"
    )


def _takes_app(function: LifespanFunction) -> bool:
    """Whether it has a positional parameter for the application."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return True
    return any(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.VAR_POSITIONAL)
        for parameter in parameters
    )
