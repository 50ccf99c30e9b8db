"""A headless Chromium, driven over its DevTools protocol: tabs that load pages and evaluate JavaScript."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.sync.client import ClientConnection, connect

WAIT = 60.0  # seconds until a test gives up on the browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def chromium() -> str:
    """The browser's path; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("chromium is not installed")
    return found


class Browser:
    """One process, and the connection over which it is told what to do."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command; its result. Events that come in between are passed over."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        self._connection.send(msgspec.json.encode(command).decode())
        while True:
            answer = msgspec.json.decode(self._connection.recv(timeout=WAIT))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> Tab:
        """A new tab with a page in it."""
        target = self.call("Target.createTarget", url=url)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Tab(self, target, session)


class Tab:
    """One tab."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._browser.call("Runtime.evaluate", self._session, expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true; its value."""
        end = time.monotonic() + WAIT
        while not (found := self._look(script)):
            assert time.monotonic() < end, f"{script} did not become true: {self.evaluate('document.body.innerText')!r}"
            time.sleep(0.05)
        return found

    def _look(self, script: str) -> Any:
        # While the page loads, what the expression looks at is not there.
        return self.evaluate(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")

    def close(self) -> None:
        """As its user would."""
        self._browser.call("Target.closeTarget", targetId=self._target)


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser whose profile is in ``folder``, until the block ends."""
    # Root has no sandbox, and containers little shared memory.
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    command = [chromium(), *flags, f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = folder / "DevToolsActivePort"
        end = time.monotonic() + WAIT
        while not port_file.exists() or len(lines := port_file.read_text().splitlines()) < 2:
            assert process.poll() is None, f"the browser ended with {process.returncode}"
            assert time.monotonic() < end, "the browser does not start"
            time.sleep(0.05)
        with connect(
            f"ws://127.0.0.1:{lines[0]}{lines[1]}", compression=None, proxy=None, max_size=2**24
        ) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        process.wait(WAIT)
