"""Stacks in words: of threads, and of coroutines down to what they wait for."""

from __future__ import annotations

import asyncio
import gc
import linecache
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

from .frames import short_path

__all__ = ["coroutine_stack", "describe_place", "thread_stack"]

# The outermost calls of a deeper stack are left out.
MAX_DEPTH: Final = 100


def describe_place(function: Any) -> str:
    """A function by name and place: ``read_user (service.py:30)``."""
    name = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(function, "__code__", None)
    return name if code is None else f"{name} ({short_path(code.co_filename)}:{code.co_firstlineno})"


def thread_stack(frame: FrameType | None, *, below: int = 0) -> list[str]:
    """The calls of a thread from its innermost frame, outermost call first, one line each.

    ``below``: the ``id`` of the frame whose callees are wanted alone.
    """
    lines: list[str] = []
    while frame is not None and id(frame) != below and len(lines) < MAX_DEPTH:
        lines.append(_line(frame))
        frame = frame.f_back
    if len(lines) == MAX_DEPTH:
        lines.append("…")
    return lines[::-1]


def coroutine_stack(awaitable: Any) -> list[str]:
    """The calls of a coroutine that waits, outermost first, and at the end what it waits for."""
    lines: list[str] = []
    for item in _chain(awaitable):
        frame = _frame_of(item)
        if frame is not None:
            lines.append(_line(frame))
        elif not _is_wrapper(item):
            lines.append(f"waits for {_bounded(item)}")
    return lines


def _line(frame: FrameType) -> str:
    code = frame.f_code
    # A frame of compiled code has no line while it waits, whatever its type says.
    number: int = frame.f_lineno or code.co_firstlineno
    source = linecache.getline(code.co_filename, number, frame.f_globals).strip()
    return f"{short_path(code.co_filename)}:{number} in {code.co_qualname}{f': {source}' if source else ''}"


def _chain(item: Any) -> Iterator[Any]:
    """An awaitable and what it waits for, and what that waits for; the links have many names."""
    for _ in range(MAX_DEPTH):
        yield item
        following = None
        for name in ("cr_await", "ag_await", "gi_yieldfrom", "job"):
            following = getattr(item, name, None)
            if following is not None:
                break
        if following is None and _is_wrapper(item):
            # What stands between an `async for` and its generator tells nobody whose it is, but the collector.
            following = next((found for found in gc.get_referents(item) if _is_waited_for(found)), None)
        if following is None:
            return
        item = following


def _is_wrapper(item: Any) -> bool:
    return type(item).__name__ in (
        "async_generator_asend",
        "async_generator_athrow",
        "coroutine_wrapper",
        "FutureIter",
        "Runner",
        "_CoroutineAwait",
    )


def _is_waited_for(item: Any) -> bool:
    return _frame_of(item) is not None or asyncio.isfuture(item)


def _frame_of(item: Any) -> FrameType | None:
    for name in ("cr_frame", "ag_frame", "gi_frame"):
        frame = getattr(item, name, None)
        if isinstance(frame, FrameType):
            return frame
    return None


def _bounded(item: Any) -> str:
    try:
        text = repr(item)
    except Exception as error:
        text = f"<{type(item).__name__}: its repr failed with {type(error).__name__}>"
    return text if len(text) <= 200 else text[:200] + "…"
