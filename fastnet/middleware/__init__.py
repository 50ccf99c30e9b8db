"""Middleware: ``async def one(request, call_next) -> Response`` around every handler.

It runs in the task and the context of the request. The first one registered is the outermost,
those of the app are outside those of routers. It sees a ``Response`` for errors too.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import Response

__all__ = ["CallNext", "Middleware", "MiddlewareT", "check_middleware"]

CallNext = Callable[[Request[Any]], Awaitable[Response]]
Middleware = Callable[[Request[Any], CallNext], Awaitable[Any]]
MiddlewareT = TypeVar("MiddlewareT", bound=Callable[..., Awaitable[Any]])


def check_middleware(middleware: object) -> None:
    """Raise ``TypeError`` for what cannot be a middleware: it must be ``async`` and take two arguments."""
    if isinstance(middleware, type) or not callable(middleware):
        raise TypeError(f"a middleware is an async function (request, call_next), not {middleware!r}")
    call = middleware if inspect.isroutine(middleware) else middleware.__call__
    if not (inspect.iscoroutinefunction(inspect.unwrap(call)) or inspect.iscoroutinefunction(call)):
        name = _name(middleware)
        raise TypeError(f"middleware {name} must be async: async def {name}(request, call_next)")
    try:
        inspect.signature(middleware).bind(None, None)
    except TypeError:
        raise TypeError(f"middleware {_name(middleware)} must take two arguments: (request, call_next)") from None


def _name(middleware: object) -> str:
    return getattr(middleware, "__name__", type(middleware).__name__)
