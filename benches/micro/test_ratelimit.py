"""One check of a limit: of one key and of a million, beside ``dict.get``, and beside the libraries of others."""

import asyncio
import mmap
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from fastnet_ext.ratelimit.limiter import GCRA, FixedWindow, SlidingLog, SlidingWindow, TokenBucket

CHECKS = 1_000
KEYS = 1_000_000
NOW = 1_000_000_000


def _hits(hit: Callable[[str, int], bool], key: str) -> None:
    # Ten to a turn, so that the loop itself hardly counts.
    for _ in range(CHECKS // 10):
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)
        hit(key, NOW)


@pytest.mark.parametrize("kind", [TokenBucket, GCRA, FixedWindow, SlidingWindow, SlidingLog])
@pytest.mark.parametrize("what", ["admitted", "refused"])
def test_one_key(benchmark: Any, kind: Any, what: str) -> None:
    count = 1_000_000 if what == "admitted" else 1
    limiter = kind(count, capacity=2 if kind is SlidingLog else 1000)
    benchmark.extra_info["items"] = CHECKS
    # Half of what is admitted at once.
    benchmark.pedantic(_hits, (limiter.hit, "192.0.2.7"), rounds=500)
    assert limiter.peek("192.0.2.7", NOW).admitted == (what == "admitted")


@pytest.fixture(scope="module")
def keys() -> list[str]:
    found = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(KEYS)]
    random.Random(7).shuffle(found)
    return found


def test_a_million_keys(benchmark: Any, keys: list[str]) -> None:
    limiter = TokenBucket(1000, capacity=KEYS)
    for key in keys:
        limiter.hit(key, NOW)
    assert (limiter.evicted, limiter.full) == (0, 0)

    def look() -> None:
        hit = limiter.hit
        for key in keys:
            hit(key, NOW)

    benchmark.extra_info["items"] = KEYS
    benchmark.pedantic(look, rounds=5)


def test_a_million_keys_of_a_dictionary(benchmark: Any, keys: list[str]) -> None:
    known = {key: number for number, key in enumerate(sorted(keys))}

    def look() -> None:
        get = known.get
        for key in keys:
            get(key)

    benchmark.extra_info["items"] = KEYS
    benchmark.pedantic(look, rounds=5)


def test_one_key_aiolimiter(benchmark: Any) -> None:
    aiolimiter = pytest.importorskip("aiolimiter")

    async def checks() -> None:
        limiter = aiolimiter.AsyncLimiter(1e9, 1)
        for _ in range(CHECKS):
            await limiter.acquire()

    benchmark.extra_info["items"] = CHECKS
    benchmark(lambda: asyncio.run(checks()))


def test_one_key_limits(benchmark: Any) -> None:
    limits = pytest.importorskip("limits")
    limiter = limits.strategies.FixedWindowRateLimiter(limits.storage.MemoryStorage())
    rate = limits.RateLimitItemPerSecond(10**9)

    def checks() -> None:
        for _ in range(CHECKS):
            limiter.hit(rate, "192.0.2.7")

    benchmark.extra_info["items"] = CHECKS
    benchmark(checks)


def test_shared_by_two_processes(benchmark: Any) -> None:
    """One key that another process asks for as fast as it can."""
    memory = mmap.mmap(-1, TokenBucket.size_for(1000))
    limiter = TokenBucket(1_000_000, 0.001, burst=10**9, capacity=1000, memory=memory)
    pid = os.fork()
    if pid == 0:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            _hits(limiter.hit, "192.0.2.7")
        os._exit(0)
    try:
        benchmark.extra_info["items"] = CHECKS
        benchmark(_hits, limiter.hit, "192.0.2.7")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
