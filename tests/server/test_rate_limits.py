"""One rate limit for all workers of a server, which outlives each of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.server.service import Client, running, until

LIMIT = 4000

APP = f"""
import os
from fastnet import App
from fastnet.ratelimit import RateLimit

app = App()

@app.get("/")
async def index() -> str:
    return str(os.getpid())

@app.get("/limited", limit=RateLimit("{LIMIT}/day", burst={LIMIT}))
async def limited() -> str:
    return str(os.getpid())
"""


def admitted(port: int, tries: int) -> list[str]:
    """The processes that admitted requests on one connection."""
    found = []
    with Client(port) as client:
        for _ in range(tries):
            status, body = client.get("/limited")
            assert status in (200, 429)
            if status == 200:
                found.append(body)
    return found


@pytest.mark.parametrize("flags", [(), ("--preload",)])
def test_four_workers_admit_what_one_would(tmp_path: Path, flags: tuple[str, ...]) -> None:
    with running(tmp_path, APP, "--workers", "4", "--sockets", "reuseport", *flags) as service:
        service.ready(4)
        found: list[str] = []
        # Each connection is one worker's: enough of them reach all four.
        for _ in range(50):
            found += admitted(service.port, 100)
        assert len(set(found)) == 4
        # 4,000 a day are one in 21 s: what flows in meanwhile is within a thousandth.
        assert LIMIT <= len(found) <= LIMIT * 1.001
        assert service.end() == 0


def test_a_worker_that_is_replaced_goes_on_counting(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        assert len(admitted(service.port, LIMIT - 100)) == LIMIT - 100
        for pid in service.workers:
            os.kill(pid, signal.SIGKILL)
        service.ready(4)
        until(lambda: service.get() in {str(pid) for pid in service.workers[2:]})
        found = admitted(service.port, 300)
        assert 100 <= len(found) <= 100 + LIMIT * 0.001
        assert service.end() == 0
