"""Each algorithm as its textbook has it: exact, slow, one key each. What they say is what the compiled ones must say.

``hit(now, cost)`` takes the cost if it is admitted, and returns whether it was. Times are nanoseconds.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

TICKS = 16


def interval_of(count: int, period: int) -> Fraction:
    """Nanoseconds between two requests, rounded up to a 16th."""
    return Fraction(-(-period * TICKS // count), TICKS)


class Model(Protocol):
    def hit(self, now: int, cost: int) -> bool: ...


class BucketOfTokens:
    """Tokens that are counted: full at first, refilled as time goes by."""

    def __init__(self, count: int, period: int, burst: int) -> None:
        self.interval = interval_of(count, period)
        self.burst = burst
        self.tokens = Fraction(burst)
        self.since = 0

    def hit(self, now: int, cost: int) -> bool:
        self.tokens = min(Fraction(self.burst), self.tokens + (now - self.since) / self.interval)
        self.since = now
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True


class BucketThatLeaks:
    """A level that sinks as time goes by, and may not rise above the rim."""

    def __init__(self, count: int, period: int, burst: int) -> None:
        self.interval = interval_of(count, period)
        self.burst = burst
        self.level = Fraction(0)
        self.since = 0

    def hit(self, now: int, cost: int) -> bool:
        self.level = max(Fraction(0), self.level - (now - self.since) / self.interval)
        self.since = now
        if self.level + cost > self.burst:
            return False
        self.level += cost
        return True


class VirtualScheduling:
    """ITU-T I.371's theoretical arrival time: a cell may come before it by the tolerance, no more."""

    def __init__(self, count: int, period: int, burst: int) -> None:
        self.interval = interval_of(count, period)
        self.burst = burst
        self.arrival = Fraction(0)

    def hit(self, now: int, cost: int) -> bool:
        # A request of some cost is that many cells at once: the last one of them decides.
        tolerance = (self.burst - 1) * self.interval
        last = max(self.arrival, Fraction(now)) + (cost - 1) * self.interval
        if now < last - tolerance:
            return False
        self.arrival = last + self.interval
        return True


class CountPerWindow:
    """A dictionary from the window's number to what was admitted in it."""

    def __init__(self, count: int, period: int) -> None:
        self.count = count
        self.period = period
        self.windows: dict[int, int] = {}

    def hit(self, now: int, cost: int) -> bool:
        window = now // self.period
        if self.windows.get(window, 0) + cost > self.count:
            return False
        self.windows[window] = self.windows.get(window, 0) + cost
        return True


class TwoCounters(CountPerWindow):
    """The same, with the share of the window before that is still inside the sliding one."""

    def hit(self, now: int, cost: int) -> bool:
        window, into = divmod(now, self.period)
        share = Fraction(self.period - into, self.period)
        estimate = self.windows.get(window - 1, 0) * share + self.windows.get(window, 0)
        if estimate + cost > self.count:
            return False
        self.windows[window] = self.windows.get(window, 0) + cost
        return True


class AllTimes:
    """A list of all times."""

    def __init__(self, count: int, period: int) -> None:
        self.count = count
        self.period = period
        self.times: list[int] = []

    def hit(self, now: int, cost: int) -> bool:
        recent = sum(now - time < self.period for time in self.times)
        if recent + cost > self.count:
            return False
        self.times += [now] * cost
        return True
