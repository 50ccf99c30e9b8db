"""Named regions of memory that processes share."""

from __future__ import annotations

import logging
import os

import pytest

from fastnet.ratelimit import RateLimit
from fastnet.server.shared import DIRECTORY, SharedMemory


def test_a_region_is_the_same_for_everybody_who_names_it() -> None:
    memory = SharedMemory(1 << 20)
    one, same, other = memory.region("one", 100), memory.region("one", 100), memory.region("other", 100)
    larger = memory.region("one", 200)
    assert one is not None
    assert same is not None
    assert other is not None
    assert larger is not None
    assert [len(region) for region in (one, same, other, larger)] == [100, 100, 100, 200]
    assert bytes(one) == bytes(100)
    one[:] = b"1" * 100
    assert same == one
    assert bytes(other) == bytes(100)
    assert bytes(larger) == bytes(200)


def test_a_region_of_a_forked_process() -> None:
    memory = SharedMemory(1 << 20)
    pid = os.fork()
    if pid == 0:
        region = memory.region("one", 8)
        code = 1
        if region is not None:
            region[:] = b"from it!"
            code = 0
        os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    found = memory.region("one", 8)
    assert found is not None
    assert bytes(found) == b"from it!"


def test_no_room_is_said_and_each_counts_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    memory = SharedMemory(DIRECTORY + 1000)
    limit = RateLimit("1/hour")
    alone = limit.limiter
    with caplog.at_level(logging.WARNING, "fastnet.server"):
        limit.share(memory, 0)
    assert limit.limiter is alone
    assert "no shared memory is left for the rate limit" in caplog.text


def test_a_limit_counts_with_all_that_share_its_memory() -> None:
    memory = SharedMemory(16 << 20)
    one, same, other = (RateLimit("1/hour", capacity=100) for _ in range(3))
    for limit, number in ((one, 0), (same, 0), (other, 1)):
        limit.share(memory, number)
    assert one.limiter.hit("key", 0)
    assert not same.limiter.hit("key", 0)
    assert other.limiter.hit("key", 0)
