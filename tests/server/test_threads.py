"""Threads that nothing ends: they hold up neither the end of a process nor anybody who wants it at once."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.server.service import Client, running

APP = """
import asyncio, sys, time
from collections.abc import AsyncIterator
from fastnet import App

app = App()

def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

def compute_for_ever() -> None:
    say("it computes")
    while True:
        time.sleep(0.05)

@app.get("/handler")
def handler() -> str:
    compute_for_ever()
    return "never"

@app.get("/offloaded")
async def offloaded() -> str:
    await asyncio.to_thread(compute_for_ever)
    return "never"

@app.get("/compiled")
async def compiled() -> str:
    say("it computes")
    await asyncio.to_thread(time.sleep, 3600)
    return "never"

def take_a_while() -> None:
    say("it computes")
    time.sleep(1)
    say("it has computed")

@app.get("/quick")
async def quick() -> str:
    await asyncio.to_thread(take_a_while)
    return "quick"

@app.get("/")
def index() -> str:
    return "here"

@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    yield
    say("the lifespan has ended")

if __name__ == "__main__":
    app.run(port=0, timeout_drain="200ms", pid_file="service.pid")
"""

LEFT = "a thread still works, and is ended with the process: "


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/handler", r"handler \(service.py:\d+\), at service.py:\d+ in compute_for_ever: time.sleep\(0.05\)"),
        ("/offloaded", r"compute_for_ever \(service.py:\d+\), at service.py:\d+ in compute_for_ever: "),
        ("/compiled", r"a function of compiled code"),
    ],
)
def test_a_handler_that_never_returns_does_not_hold_up_the_end(
    tmp_path: Path, target: str, text: str, workers: str
) -> None:
    with running(tmp_path, APP, "--workers", workers, "--timeout-drain", "300ms") as service:
        with Client(service.port) as client:
            client.send(target)
            service.wait_for("it computes")
            # Threads that wait for work are no threads that work.
            assert service.get() == "here"
            service.tell(signal.SIGTERM)
            service.wait_for(LEFT + text)
            assert service.process.wait(20) == 0
        assert service.log.count(LEFT) == 1
        assert service.log.count("the lifespan has ended") == int(workers)
        assert "is killed" not in service.log
        assert "stopped" in service.log.splitlines()[-1]


WSGI = """
import sys, time

def app(environ, start_response):
    print("it computes", file=sys.stderr, flush=True)
    while True:
        time.sleep(0.05)
"""


def test_a_wsgi_application_that_never_returns(tmp_path: Path) -> None:
    with running(tmp_path, WSGI, "--timeout-drain", "300ms", "--interface", "wsgi") as service:
        with Client(service.port) as client:
            client.send()
            service.wait_for("it computes")
            assert service.end() == 0
        assert re.search(LEFT + r".*, at service.py:\d+ in app: time.sleep\(0.05\)", service.log)


def test_app_run_ends_as_well(tmp_path: Path) -> None:
    with running(tmp_path, APP, command=[sys.executable, "service.py"]) as service, Client(service.port) as client:
        client.send("/handler")
        service.wait_for("it computes")
        assert (tmp_path / "service.pid").exists()
        assert service.end() == 0
        assert LEFT in service.log
        assert not (tmp_path / "service.pid").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_thread_that_ends_within_the_drain_is_waited_for(tmp_path: Path, workers: str) -> None:
    """Also when nobody waits for its answer any more."""
    with running(tmp_path, APP, "--workers", workers) as service:
        with Client(service.port) as client:
            client.send("/quick")
            service.wait_for("it computes")
        assert service.end() == 0
        assert "it has computed" in service.log
        assert LEFT not in service.log


def test_a_second_sigint_ends_at_once(tmp_path: Path) -> None:
    with running(tmp_path, APP) as service, Client(service.port) as client:
        client.send("/handler")
        service.wait_for("it computes")
        service.tell(signal.SIGINT)
        service.wait_for(r"stopping \(SIGINT\)")
        service.tell(signal.SIGINT)
        assert service.process.wait(10) == -signal.SIGINT
        assert LEFT not in service.log
