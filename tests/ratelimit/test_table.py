"""The table of keys: fixed memory, who makes room for whom, and one limit for several processes."""

from __future__ import annotations

import mmap
import os
import signal
import time
from typing import Any

import pytest

from fastnet_ext.ratelimit.limiter import FixedWindow, SlidingLog, SlidingWindow, TableLimiter, TokenBucket

SECOND = 1_000_000_000
KINDS: list[Any] = [TokenBucket, FixedWindow, SlidingWindow, SlidingLog]


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_keys_as_it_is_made_for_find_a_place(kind: Any) -> None:
    limiter = kind(2, capacity=20_000)
    keys = [f"key {number}" for number in range(20_000)]
    for _ in range(2):
        assert all(limiter.hit(key, SECOND) for key in keys)
    assert not any(limiter.hit(key, SECOND) for key in keys)
    assert (limiter.evicted, limiter.full) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_fresh_keys_push_out_none_that_is_limited(kind: Any) -> None:
    limiter = kind(2, 10, capacity=1000)
    limited = [f"limited {number}" for number in range(200)]
    for key in limited * 2:
        assert limiter.hit(key, 0)
    for number in range(100_000):
        assert limiter.hit(f"random {number}", 1)
    assert not any(limiter.hit(key, 2) for key in limited)
    assert limiter.evicted > 90_000
    assert limiter.full == 0


@pytest.mark.parametrize("kind", KINDS)
def test_expired_keys_go_first(kind: Any) -> None:
    limiter = kind(2, capacity=1000)
    for number in range(1000):
        limiter.hit(f"old {number}", 0)
    for number in range(1000):
        limiter.hit(f"new {number}", 5 * SECOND)
    assert limiter.evicted == 0
    assert not any(limiter.hit(f"new {number}", 5 * SECOND, 2) for number in range(1000))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when_full", ["admit", "refuse"])
def test_full_of_limited_keys(kind: Any, when_full: str) -> None:
    limiter = kind(1, 10, capacity=100, when_full=when_full)
    decisions = [limiter.decide(f"key {number}", 0) for number in range(5000)]
    refused = [decision for decision in decisions if not decision]
    assert limiter.full > 4000
    if when_full == "admit":
        assert not refused
    else:
        assert len(refused) == limiter.full
        # A place is free when the first of the limited ones may go on; a sliding window takes two to forget.
        wait = 20 if kind is SlidingWindow else 10
        assert {decision.retry_after for decision in refused} == {wait * SECOND}
    assert limiter.evicted == 0


@pytest.mark.parametrize("kind", KINDS)
def test_its_memory_is_fixed(kind: Any) -> None:
    limiter = kind(5, capacity=1000)
    size = limiter.memory_size
    assert size <= 2 * 1000 * 2 * (16 + (8 * 5 if kind is SlidingLog else 0)) + 64 * 1024
    for number in range(50_000):
        limiter.hit(f"key {number}", number)
    assert limiter.memory_size == size


def test_memory_that_cannot_be() -> None:
    size = TableLimiter.size_for(100)
    with pytest.raises(ValueError, match=f"100 keys need {size}"):
        TokenBucket(1, capacity=100, memory=mmap.mmap(-1, size - 1))
    with pytest.raises(ValueError, match="aligned to 64 bytes"):
        TokenBucket(1, capacity=100, memory=memoryview(mmap.mmap(-1, size + 8))[8:])
    limiter = TokenBucket.__new__(TokenBucket)
    with pytest.raises((BufferError, TypeError, ValueError)):
        limiter.__init__(1, memory=b"read only")
    with pytest.raises(TypeError, match="not set up"):
        limiter.hit("key", 0)


def test_hashes_are_keyed() -> None:
    memory = mmap.mmap(-1, TableLimiter.size_for(100))
    one = TokenBucket(1, capacity=100, memory=memory, secret=b"1" * 16)
    same = TokenBucket(1, capacity=100, memory=memory, secret=b"1" * 16)
    other = TokenBucket(1, capacity=100, memory=memory, secret=b"2" * 16)
    assert one.hit("key", 0)
    assert not same.hit("key", 0)
    assert other.hit("key", 0)


# --- several processes


def in_processes(count: int, work: Any, timeout: float = 60) -> None:
    """Run ``work(number)`` in forked processes, and wait for their good end."""
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    deadline = time.monotonic() + timeout
    statuses = []
    for pid in children:
        while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        statuses.append(found[1])
    assert statuses == [0] * count


@pytest.mark.parametrize("kind", [TokenBucket, FixedWindow, SlidingWindow])
def test_four_processes_admit_what_one_would(kind: Any) -> None:
    limit = 20_000
    memory = mmap.mmap(-1, TableLimiter.size_for(100))
    tallies = mmap.mmap(-1, 4 * 8)
    limiter = kind(limit, 3600, capacity=100, memory=memory)

    def work(number: int) -> None:
        view = memoryview(tallies).cast("Q")
        for _ in range(limit // 2):
            # At one moment for all, so that nothing is refilled meanwhile.
            view[number] += limiter.hit("one key", SECOND)

    in_processes(4, work)
    tally = memoryview(tallies).cast("Q")
    assert sum(tally) == limit
    assert not limiter.hit("one key", SECOND)


@pytest.mark.parametrize("kind", [TokenBucket, FixedWindow, SlidingWindow])
def test_processes_that_bring_the_same_new_keys_make_one_entry_of_each(kind: Any) -> None:
    keys = [f"key {number}" for number in range(20_000)]
    memory = mmap.mmap(-1, TableLimiter.size_for(len(keys)))
    tallies = mmap.mmap(-1, 4 * 8)
    limiter = kind(3, 3600, capacity=len(keys), memory=memory)

    def work(number: int) -> None:
        view = memoryview(tallies).cast("Q")
        for key in keys:
            view[number] += limiter.hit(key, SECOND)

    in_processes(4, work)
    assert sum(memoryview(tallies).cast("Q")) == 3 * len(keys)
    assert (limiter.evicted, limiter.full) == (0, 0)


def test_processes_that_replace_expired_keys_admit_what_one_would() -> None:
    """Few places, and keys that all expire at once, again and again: all processes want them at the same time."""
    keys = [f"key {number}" for number in range(64)]
    memory = mmap.mmap(-1, TableLimiter.size_for(len(keys)))
    rounds = 300
    tallies = mmap.mmap(-1, 4 * rounds * 8)
    turns = mmap.mmap(-1, 4 * 8)
    limiter = FixedWindow(2, 1, capacity=len(keys), memory=memory)

    def work(number: int) -> None:
        tally, reached = memoryview(tallies).cast("Q"), memoryview(turns).cast("Q")
        for turn in range(rounds):
            reached[number] = turn
            while min(reached) < turn:
                time.sleep(0)
            fresh = [f"{key} {turn % 3}" for key in keys]
            tally[number * rounds + turn] = sum(limiter.hit(key, turn * SECOND) for key in fresh)

    in_processes(4, work)
    view = memoryview(tallies).cast("Q")
    admitted = [sum(view[number * rounds + turn] for number in range(4)) for turn in range(rounds)]
    assert admitted == [2 * len(keys)] * rounds
    assert (limiter.evicted, limiter.full) == (0, 0)


def test_a_limit_of_one_is_a_lock_of_processes() -> None:
    """Few places, which are freed and taken again all the time: who is admitted is alone, until it gives back."""
    keys, turns, processes = 6, 4000, 4
    memory = mmap.mmap(-1, TableLimiter.size_for(keys))
    shared = mmap.mmap(-1, (2 * keys + processes) * 8)
    limiter = FixedWindow(1, 3600, capacity=keys, memory=memory)
    names = [f"key {number}" for number in range(keys)]

    def work(number: int) -> None:
        view = memoryview(shared).cast("Q")
        for turn in range(turns):
            key = (turn * (number + 1) + turn // 7) % keys
            if not limiter.hit(names[key], SECOND):
                continue
            # Two of them in here would miss each other's change, or see each other's number.
            view[key] = number
            seen = view[keys + key]
            if turn % 16 == 0:
                time.sleep(0)
            assert view[key] == number
            view[keys + key] = seen + 1
            view[2 * keys + number] += 1
            limiter.give_back(names[key], SECOND)

    in_processes(processes, work)
    view = memoryview(shared).cast("Q")
    assert sum(view[keys : 2 * keys]) == sum(view[2 * keys :]) > turns
    assert all(limiter.hit(name, SECOND) for name in names), "all was given back"
    assert (limiter.evicted, limiter.full) == (0, 0)


def test_processes_that_are_killed_leave_nothing_stuck() -> None:
    """Killed wherever they happen to be, again and again; what they took expires, and all places are there."""
    keys = 64
    memory = mmap.mmap(-1, TableLimiter.size_for(keys))
    begun = mmap.mmap(-1, 8)
    limiter = FixedWindow(1, 1, capacity=keys, memory=memory)

    def work(number: int) -> None:
        view = memoryview(begun).cast("Q")
        while True:
            view[0] += 1
            for key in range(keys):
                if limiter.hit(f"{number} {key}", SECOND):
                    limiter.give_back(f"{number} {key}", SECOND)

    view = memoryview(begun).cast("Q")
    for number in range(30):
        view[0] = 0
        pid = os.fork()
        if pid == 0:
            work(number)
        while view[0] < 3:
            time.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    later = 100 * SECOND
    full, evicted = limiter.full, limiter.evicted
    assert all(limiter.hit(f"new {key}", later) for key in range(keys))
    assert not any(limiter.hit(f"new {key}", later) for key in range(keys))
    assert (limiter.full, limiter.evicted) == (full, evicted)
