"""Threads of handlers that do not end. Nothing can end a thread, and Python's own end waits for those of pools."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from concurrent.futures import thread as pools
from types import FrameType
from typing import Final

from fastnet.debugging.frames import short_path
from fastnet.debugging.stacks import thread_stack

__all__ = ["HANDLERS", "OFFLOADED", "WSGI_REQUESTS", "busy_threads", "threads_left"]

# Names of the threads that run `def` handlers, what `asyncio.to_thread` is given, and WSGI applications.
HANDLERS: Final = "fastnet"
OFFLOADED: Final = "asyncio"
WSGI_REQUESTS: Final = "wsgi"

PREFIXES: Final = tuple(f"{name}_" for name in (HANDLERS, OFFLOADED, WSGI_REQUESTS))

# Seconds between two looks.
LOOK: Final = 0.05


async def threads_left(deadline: float) -> list[str]:
    """Wait for the threads of the pools until ``deadline`` (of ``time.monotonic``); what those are at that work on."""
    while True:
        busy = busy_threads()
        if not busy or time.monotonic() >= deadline:
            return busy
        await asyncio.sleep(LOOK)


def busy_threads() -> list[str]:
    """What each thread of the pools is at that works: what was called, by name and place, and where it stands."""
    frames = sys._current_frames()
    pooled = [one for one in threading.enumerate() if one.name.startswith(PREFIXES)]
    found = [_work_of(frames.get(thread.ident or 0)) for thread in pooled]
    return [text for text in found if text is not None]


def _work_of(frame: FrameType | None) -> str | None:
    """What a pool's thread was given, from its innermost frame; None when it waits for work."""
    place = thread_stack(frame)[-1:]
    called: FrameType | None = None
    while frame is not None and frame.f_code.co_filename != pools.__file__:
        called, frame = frame, frame.f_back
    if frame is None or frame.f_code.co_name != "run":
        return None
    if called is None:
        return "a function of compiled code"
    code = called.f_code
    return f"{code.co_qualname} ({short_path(code.co_filename)}:{code.co_firstlineno}), at {place[0]}"
