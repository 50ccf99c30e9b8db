"""The two yardsticks: one dictionary look-up as Python code pays for it, and a copy within the second-level cache."""

import sys
from collections.abc import Callable
from typing import Any

GETS = 1_000
SIZE = 65_536


def _gets(get: Callable[[str], object], key: str) -> None:
    # Ten to a turn, so that the loop itself hardly counts.
    for _ in range(GETS // 10):
        get(key)
        get(key)
        get(key)
        get(key)
        get(key)
        get(key)
        get(key)
        get(key)
        get(key)
        get(key)


def test_yardstick_dict_get(benchmark: Any) -> None:
    known = {f"name-{number}": number for number in range(32)}
    key = sys.intern("name-17")
    benchmark.extra_info["items"] = GETS
    benchmark(_gets, known.get, key)
    assert known.get(key) == 17


def test_yardstick_memcpy(benchmark: Any) -> None:
    source = bytes(range(256)) * (SIZE // 256)
    target = memoryview(bytearray(SIZE))

    def copy() -> None:
        target[:] = source

    benchmark.extra_info["bytes"] = SIZE
    benchmark(copy)
    assert target == source
