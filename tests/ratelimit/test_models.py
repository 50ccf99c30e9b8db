"""Every algorithm against its own model, decision by decision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.ratelimit.limiter import (
    GCRA,
    FixedWindow,
    LeakyBucket,
    Limiter,
    SlidingLog,
    SlidingWindow,
    TokenBucket,
)
from tests.ratelimit import models

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Pair:
    """An algorithm and its model, by count, period in nanoseconds, and burst."""

    limiter: Callable[[int, int, int], Limiter]
    model: Callable[[int, int, int], models.Model]
    windows: bool = False


def limiter_of(kind: Any, **options: Any) -> Callable[[int, int, int], Limiter]:
    if kind in (FixedWindow, SlidingWindow, SlidingLog):
        return lambda count, period, burst: kind(count, period / SECOND, capacity=8, **options)
    return lambda count, period, burst: kind(count, period / SECOND, burst=burst, capacity=8, **options)


PAIRS = {
    "token bucket": Pair(limiter_of(TokenBucket), models.BucketOfTokens),
    "leaky bucket": Pair(limiter_of(LeakyBucket), models.BucketThatLeaks),
    "gcra": Pair(limiter_of(GCRA), models.VirtualScheduling),
    "fixed window": Pair(limiter_of(FixedWindow), lambda c, p, b: models.CountPerWindow(c, p), windows=True),
    "sliding window": Pair(limiter_of(SlidingWindow), lambda c, p, b: models.TwoCounters(c, p), windows=True),
    "sliding log": Pair(limiter_of(SlidingLog), lambda c, p, b: models.AllTimes(c, p), windows=True),
}

# Counts and periods that divide each other and such that do not; steps from none to several periods.
limits = st.tuples(st.integers(1, 12), st.sampled_from([10**6, 7 * 10**6, 10**9, 3 * 10**9 + 1]), st.integers(1, 15))
requests = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(0, 0.3), st.floats(0, 3), st.sampled_from([0.25, 0.5, 1.0, 2.0])),
        st.integers(-1, 1),
        st.integers(1, 16),
    ),
    max_size=40,
)


@pytest.mark.parametrize("name", PAIRS)
@given(limit=limits, start=st.integers(0, 2**50), steps=requests)
def test_decides_as_its_model(
    name: str, limit: tuple[int, int, int], start: int, steps: list[tuple[float, int, int]]
) -> None:
    count, period, burst = limit
    limiter = PAIRS[name].limiter(count, period, burst)
    model = PAIRS[name].model(count, period, burst)
    most = count if PAIRS[name].windows else burst
    now = start
    for step, nudge, cost in steps:
        now = max(now, now + round(step * period) + nudge)
        before = copy.deepcopy(model)
        foreseen = limiter.peek("key", now, cost)
        decision = limiter.decide("key", now, cost)
        assert decision.admitted == model.hit(now, cost), (now, cost)
        assert (foreseen.admitted, foreseen.retry_after) == (decision.admitted, decision.retry_after)
        check_remaining(decision.remaining, model, now, most)
        if decision.admitted:
            assert decision.retry_after == 0
        elif cost > most:
            assert decision.retry_after is None
        else:
            # Exact: at that time the same request passes, and a nanosecond before it does not.
            assert decision.retry_after is not None
            assert decision.retry_after > 0
            assert not copy.deepcopy(model).hit(now + decision.retry_after - 1, cost)
            assert copy.deepcopy(model).hit(now + decision.retry_after, cost)
            # What was refused has changed nothing.
            assert not before.hit(now, cost)
        # At the reset all passes that ever may.
        assert copy.deepcopy(model).hit(now + decision.reset_after, most)


def check_remaining(remaining: int, model: models.Model, now: int, most: int) -> None:
    assert 0 <= remaining <= most
    if remaining:
        assert copy.deepcopy(model).hit(now, remaining)
    assert not copy.deepcopy(model).hit(now, remaining + 1)


@pytest.mark.parametrize("name", PAIRS)
@given(limit=limits, start=st.integers(0, 2**50), steps=requests)
def test_what_is_given_back_was_never_taken(
    name: str, limit: tuple[int, int, int], start: int, steps: list[tuple[float, int, int]]
) -> None:
    count, period, burst = limit
    limiter = PAIRS[name].limiter(count, period, burst)
    model = PAIRS[name].model(count, period, burst)
    now = start
    for number, (step, nudge, cost) in enumerate(steps):
        now = max(now, now + round(step * period) + nudge)
        if number % 2:
            if limiter.hit("key", now, cost):
                limiter.give_back("key", now, cost)
        else:
            assert limiter.hit("key", now, cost) == model.hit(now, cost)


@given(limit=limits, steps=requests)
def test_the_three_meters_are_one(limit: tuple[int, int, int], steps: list[tuple[float, int, int]]) -> None:
    count, period, burst = limit
    meters = [PAIRS[name].limiter(count, period, burst) for name in ("token bucket", "leaky bucket", "gcra")]
    now = 0
    for step, _, cost in steps:
        now += round(step * period)
        assert len({meter.hit("key", now, cost) for meter in meters}) == 1
