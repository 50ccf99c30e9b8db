"""Limiters: what their arguments may be, what their answers say, and that keys do not touch each other."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fastnet_ext.ratelimit.limiter import (
    GCRA,
    Decision,
    FixedWindow,
    LeakyBucket,
    Limiter,
    SlidingLog,
    SlidingWindow,
    TokenBucket,
)

SECOND = 1_000_000_000
ALL: list[Any] = [TokenBucket, LeakyBucket, GCRA, FixedWindow, SlidingWindow, SlidingLog]


def passing(limiter: Limiter, now: int, tries: int = 100, key: str | bytes = "key") -> int:
    return sum(limiter.hit(key, now) for _ in range(tries))


@pytest.mark.parametrize(
    ("limiter", "at_once"),
    [
        (TokenBucket(10), 10),
        (TokenBucket(10, burst=20), 20),
        (LeakyBucket(10), 1),
        (LeakyBucket(10, burst=3), 3),
        (GCRA(10), 10),
        (FixedWindow(10), 10),
        (SlidingWindow(10), 10),
        (SlidingLog(10), 10),
    ],
)
def test_what_passes_at_once(limiter: Limiter, at_once: int) -> None:
    assert passing(limiter, 5 * SECOND) == at_once
    assert passing(limiter, 5 * SECOND, key="another") == at_once
    assert passing(limiter, 5 * SECOND, key=b"key") == 0, "text and its UTF-8 are one key"
    assert passing(limiter, 15 * SECOND) == at_once


def test_a_bucket_refills_one_by_one() -> None:
    bucket = TokenBucket(10, burst=2)
    assert passing(bucket, 0) == 2
    assert passing(bucket, SECOND // 10 - 1) == 0
    assert passing(bucket, SECOND // 10) == 1
    assert passing(bucket, SECOND * 3 // 10) == 2


def test_a_fixed_window_begins_at_multiples_of_its_period() -> None:
    window = FixedWindow(3, 10)
    assert passing(window, 9 * SECOND) == 3
    assert passing(window, 10 * SECOND) == 3


def test_a_decision_says_all() -> None:
    bucket = TokenBucket(10, burst=5)
    decision = bucket.decide("key", 0, 5)
    assert (bool(decision), decision.admitted, decision.retry_after) == (True, True, 0)
    assert (decision.remaining, decision.reset_after) == (0, SECOND // 2)
    decision = bucket.decide("key", 0, 2)
    assert (bool(decision), decision.retry_after, decision.remaining) == (False, SECOND // 5, 0)
    assert repr(decision) == "Decision(admitted=False, retry_after=200000000, remaining=0, reset_after=500000000)"
    assert isinstance(decision, Decision)


@pytest.mark.parametrize("kind", ALL)
def test_a_cost_above_the_burst_never_passes(kind: Any) -> None:
    limiter = kind(10)
    decision = limiter.decide("key", SECOND, 11)
    assert (decision.admitted, decision.retry_after) == (False, None)
    assert decision.reset_after == 0


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"count": 0}, "at least 1 request"),
        ({"count": -1}, "at least 1 request"),
        ({"count": 1, "period": 0}, "a period of 0 s"),
        ({"count": 1, "period": float("nan")}, "a period of nan s"),
        ({"count": 1, "period": 1e9}, "at most a year"),
        ({"count": 1, "capacity": 0}, "a capacity of 0 keys"),
        ({"count": 1, "when_full": "wait"}, "'admit' or 'refuse', not 'wait'"),
        ({"count": 1, "secret": b"short"}, "a secret of 5 bytes"),
    ],
)
def test_arguments_that_cannot_be(kind: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        kind(**arguments)


def test_arguments_that_an_algorithm_cannot_have() -> None:
    with pytest.raises(ValueError, match="a burst of 0"):
        TokenBucket(1, burst=0)
    with pytest.raises(ValueError, match="4 years to refill"):
        TokenBucket(1, 366 * 86400, burst=5)
    with pytest.raises(ValueError, match="counts up to 16777215"):
        FixedWindow(1 << 24)
    with pytest.raises(ValueError, match="counts up to 1048575"):
        SlidingWindow(1 << 20)
    with pytest.raises(ValueError, match="counts up to 1048575"):
        SlidingLog(1 << 20)
    with pytest.raises(ValueError, match="at least a millisecond"):
        FixedWindow(1, 0.0001)


@pytest.mark.parametrize("kind", ALL)
def test_calls_that_cannot_be(kind: Any) -> None:
    limiter = kind(1)
    with pytest.raises(ValueError, match="cost is at least 1"):
        limiter.hit("key", 0, 0)
    with pytest.raises(ValueError, match="below 2\\*\\*57"):
        limiter.hit("key", 1 << 57)
    with pytest.raises(OverflowError):
        limiter.hit("key", -1)
    with pytest.raises(TypeError, match="str or bytes, not int"):
        limiter.hit(5, 0)
    with pytest.raises(UnicodeEncodeError):
        limiter.hit("\ud800", 0)
    with pytest.raises(TypeError, match="does not change"):
        limiter.__init__(2)
    with pytest.raises(TypeError, match="was not set up"):
        kind.__new__(kind).hit("key", 0)


@pytest.mark.parametrize("kind", ALL)
def test_the_latest_time_and_the_largest_limits(kind: Any) -> None:
    limiter = kind(1000, 366 * 86400)
    assert limiter.hit("key", (1 << 57) - 1)
    limiter = kind(1_000_000, capacity=2)
    assert limiter.decide("key", (1 << 57) - 1, 1).admitted


@pytest.mark.parametrize("kind", [TokenBucket, FixedWindow, SlidingWindow, SlidingLog])
def test_a_clock_behind_that_of_another_process_admits_no_more(kind: Any) -> None:
    limiter = kind(10)
    ahead, behind = 10 * SECOND + 500, 10 * SECOND - 500
    assert passing(limiter, ahead) == 10
    assert passing(limiter, behind) == 0
    assert 0 < limiter.decide("key", behind).retry_after <= 2 * SECOND


def test_keys_of_any_length() -> None:
    limiter = TokenBucket(1)
    keys = ["k" * size for size in range(40)] + [b"\0" * size for size in range(1, 40)] + ["é", "日本語"]
    assert all(limiter.hit(key, 0) for key in keys)
    assert not any(limiter.hit(key, 0) for key in keys)


@pytest.mark.parametrize("kind", ALL)
def test_its_text_says_what_it_admits(kind: Any) -> None:
    text = repr(kind(100, 60))
    assert text == f"<{kind.__name__} 100 in 60 s, {1 if kind is LeakyBucket else 100} at once>"
    assert (kind(100, 60).count, kind(100, 60).period) == (100, 60.0)
