"""Notices that the event loop stands still, and says who blocks it: a thread that looks on."""

from __future__ import annotations

import asyncio
import logging
import selectors
import sys
import threading
import time
from types import FrameType
from typing import Any, Final

from fastnet_ext.net.loop_state import LoopState

from .frames import is_library, short_path
from .stacks import describe_place, thread_stack

__all__ = ["StallDetector"]

log = logging.getLogger("fastnet.stall")

# Looks for each threshold, and the shortest and the longest time between two, in seconds.
LOOKS: Final = 4
SHORTEST: Final = 0.01
LONGEST: Final = 0.5
# Who waits in one of these waits for a person.
_DEBUGGERS: Final = ("bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy", "ipdb", "pudb")


class StallDetector:
    """Watches one event loop from a thread of its own.

    The thread asks the loop for an answer a few times per ``threshold`` seconds. When an answer is overdue by that
    much it logs, once, which handler blocks the loop and the stack at that moment; and when the loop goes on, how long
    it took. A handler that waits, or works in the pool of threads, is not noticed: the loop answers meanwhile.
    ``start`` and ``stop`` are called on the loop.
    """

    def __init__(self, state: LoopState, loop: asyncio.AbstractEventLoop, threshold: float) -> None:
        self._state = state
        self._loop = loop
        self._threshold = threshold
        self._interval = min(max(threshold / LOOKS, SHORTEST), LONGEST)
        self._loop_thread = 0
        self._idle_frame = 0
        self._stopped = threading.Event()
        # Set by the loop; when the thread last asked, by time.monotonic().
        self._answered = threading.Event()
        self._asked = 0.0
        self._answered_at = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._loop_thread = threading.get_ident()
        self._loop.call_soon(self._answer)
        threading.Thread(target=self._watch, name="fastnet-stalls", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer. Returns at once."""
        self._stopped.set()

    # --- on the loop

    def _answer(self) -> None:
        # The id of what called the loop: nothing above it runs while uvloop waits for input.
        self._idle_frame = id(sys._getframe().f_back)
        self._answered_at = time.monotonic()
        self._answered.set()

    # --- in the thread

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval):
            self._answered.clear()
            self._asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:
                return  # the loop is closed
            late = False
            while not self._answered.wait(self._interval):
                if self._stopped.is_set():
                    return
                if not late and time.monotonic() - self._asked >= self._threshold:
                    late = self._report()
            if late:
                log.warning("the event loop goes on after %.2f s", self._answered_at - self._asked)

    def _is_idle(self, frame: FrameType) -> bool:
        return id(frame) == self._idle_frame or frame.f_code.co_filename == selectors.__file__

    def _report(self) -> bool:
        """Say what the loop is at; whether it is at anything."""
        frame = sys._current_frames().get(self._loop_thread)
        request = self._state.running()
        if frame is None or self._is_idle(frame) or _is_debugged(frame):
            # Not the loop stood still but the whole process (stopped, swapped out), or somebody looks at a breakpoint.
            return False
        stack = thread_stack(frame, below=self._idle_frame)
        log.warning(
            "the event loop has stood still for %.2f s: %s\n%s",
            time.monotonic() - self._asked,
            _blame(frame, request),
            "\n".join(f"    {line}" for line in stack),
            extra={"request_id": request["request_id"]} if request is not None else None,
        )
        return True


def _blame(frame: FrameType, request: dict[str, Any] | None) -> str:
    place = _place(frame)
    if request is None:
        return f"{place} blocks it"
    handler = "" if request["handler"] is None else f" by {describe_place(request['handler'])}"
    what = f"{request['method']} {request['route'] or request['path']}"
    return f"{place} blocks it, for {what}{handler} [request {request['request_id']}]"


def _place(frame: FrameType) -> str:
    """The innermost call of the application's own code, or else the innermost of all."""
    innermost: FrameType = frame
    caller: FrameType | None = frame
    while caller is not None:
        if not is_library(caller.f_code.co_filename):
            innermost = caller
            break
        caller = caller.f_back
    code = innermost.f_code
    return f"{code.co_qualname} ({short_path(code.co_filename)}:{innermost.f_lineno})"


def _is_debugged(frame: FrameType) -> bool:
    caller: FrameType | None = frame
    while caller is not None:
        if str(caller.f_globals.get("__name__", "")).partition(".")[0] in _DEBUGGERS:
            return True
        caller = caller.f_back
    return False
