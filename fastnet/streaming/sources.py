"""What a token stream is made from: a source's items, and time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

__all__ = ["Clock", "SourceCancelled", "TimerLike", "Token"]


class Token(msgspec.Struct, frozen=True):
    """An item of a source that says more than its text.

    ``count``: how many tokens it stands for, for models that give several at once or a character in several.
    ``finish_reason``: with the last, why it is the last ("length"); readers are told "stop" without it.
    """

    text: str = ""
    count: int = 1
    finish_reason: str | None = None


class Clock(Protocol):
    """What a stream takes time from: an event loop, or a stand-in that tests turn by hand."""

    def time(self) -> float:
        """Seconds since some moment."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> TimerLike:
        """Call back once after so many seconds."""
        ...


class TimerLike(Protocol):
    """A call that will be made."""

    def cancel(self) -> object:
        """Do not make it."""
        ...


class SourceCancelled(Exception):
    """A source ended by a cancellation that nobody here asked for: of a task that it waits for, for example."""
