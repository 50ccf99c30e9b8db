"""Finds workers whose event loops stand still."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable
from typing import Final

from .children import Child

__all__ = ["StuckWatch"]

log = logging.getLogger("fastnet.server")

# Seconds that a worker has to show its stacks before it is killed.
ABORT_TIME: Final = 2.0


class StuckWatch:
    """Looks at the workers' beats: more than ``limit`` seconds without one, and a worker is aborted. 0: never."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        # Seconds between two looks.
        self.interval = limit / 4 if limit else float("inf")
        self._last_look = 0.0
        # When we went on the last time: silence before that is nobody's fault.
        self._awake_since = 0.0

    def look(self, children: Iterable[Child], tick: float) -> None:
        """Abort those that stand still; their stacks go to standard error. ``tick``: the longest time between looks."""
        now = time.monotonic()
        if now - self._last_look > max(tick, self._limit / 4) + 1.0:
            # We were stopped ourselves, and so were they (a terminal's Ctrl-Z, a frozen container).
            self._awake_since = now
        self._last_look = now
        if not self._limit or now - self._awake_since <= self._limit:
            return
        for child in children:
            if not child.aborted and child.silent_for(now) > self._limit:
                log.error(
                    "worker %d has stood still for %g s (worker_heartbeat): it is aborted", child.pid, self._limit
                )
                child.aborted = True
                child.signal(signal.SIGABRT)
                child.kill_at = now + ABORT_TIME
