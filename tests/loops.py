"""The event loop that tests run on: uvloop, or the stock one with ``FASTNET_TEST_LOOP=asyncio``.

``make test`` runs everything on the first, and what touches a loop again on the second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

NAME = os.environ.get("FASTNET_TEST_LOOP", "uvloop")
LIMIT = 60  # seconds: a test that takes longer hangs


def new_loop() -> asyncio.AbstractEventLoop:
    """A new event loop of the chosen kind."""
    if NAME == "asyncio":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def run(coroutine: Coroutine[Any, Any, T], *, loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_loop) -> T:
    """Run a coroutine to its end on a new loop of the chosen kind, within ``LIMIT`` seconds."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(asyncio.wait_for(coroutine, LIMIT))
