"""Autobahn's fuzzing client against an echo route: where it is, what it runs, what it says of us.

    python -m tests.conformance.autobahn --install      its environment, below build/autobahn
    python -m tests.conformance.autobahn [cases ...]    all cases, or those: "9.*" 13.7.1

The suite is of Python 2.7 and gets an environment of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastnet import App
from fastnet.websocket import WebSocket
from tests.loops import new_loop

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "autobahn"
PROGRAM = HOME / "bin" / "wstest"
SUITE = "autobahntestsuite==25.10.1"
# The last that makes environments of Python 2.7 from outside.
VIRTUALENV = "virtualenv==16.7.12"

ALL = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*", "12.*", "13.*")
# The messages of these are larger than a route takes unless it is told otherwise.
LARGE = ("9.",)
LARGEST = 16 << 20
# What counts as passed. INFORMATIONAL: RFC 6455 leaves it to the server, and the suite only tells what it did.
PASSED = ("OK", "INFORMATIONAL")
LIMIT = 7200  # seconds for one run of the suite


@dataclass(frozen=True)
class Verdict:
    """Of one case: its messages, and how the connection was closed."""

    case: str
    behavior: str
    closing: str

    @property
    def passed(self) -> bool:
        return self.behavior in PASSED and self.closing in PASSED


def make_app() -> App:
    """The echo of the examples, and one for messages that are larger than they may be by default."""
    app = App()

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.websocket("/large", max_message=LARGEST)
    async def large(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    return app


def python27() -> str | None:
    """A Python 2.7 that starts: on the path, or where pyenv keeps it."""
    kept = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    for candidate in (shutil.which("python2.7"), *map(str, kept)):
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def install() -> None:
    """Make the suite's environment. Raises ``FileNotFoundError`` without a Python 2.7."""
    python = python27()
    if python is None:
        raise FileNotFoundError("Autobahn's suite needs Python 2.7")
    with tempfile.TemporaryDirectory() as tools:
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, *quiet, "--target", tools, VIRTUALENV], check=True)
        subprocess.run([sys.executable, f"{tools}/virtualenv.py", "--quiet", "-p", python, HOME], check=True)
    subprocess.run([HOME / "bin" / "python", *quiet, SUITE], check=True)


def run(cases: Sequence[str], reports: Path) -> list[Verdict]:
    """The suite's verdicts on these cases ("7.*", "12.1.1"); its reports are left in a folder."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_run(cases, reports))


async def _run(cases: Sequence[str], reports: Path) -> list[Verdict]:
    large = [case for case in cases if case.startswith(LARGE)]
    small = [case for case in cases if case not in large]
    verdicts: list[Verdict] = []
    async with make_app().serve(port=0) as server:
        for path, chosen in (("echo", small), ("large", large)):
            if chosen:
                verdicts += await _judge(f"ws://127.0.0.1:{server.port}/{path}", chosen, reports / path)
    return verdicts


async def _judge(url: str, cases: Sequence[str], reports: Path) -> list[Verdict]:
    spec = _written_spec(url, cases, reports)
    suite = await asyncio.create_subprocess_exec(
        *(PROGRAM, "-m", "fuzzingclient", "-s", spec),
        cwd=reports,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(suite.communicate(), LIMIT)
    finally:
        if suite.returncode is None:
            suite.kill()
            await suite.wait()
    verdicts = _verdicts(reports)
    if suite.returncode != 0 or not verdicts:
        raise RuntimeError(f"the suite ended with {suite.returncode}:\n{said.decode(errors='replace')[-4000:]}")
    return verdicts


def _written_spec(url: str, cases: Sequence[str], reports: Path) -> Path:
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    spec = {
        "outdir": str(reports),
        "servers": [{"agent": "fastnet", "url": url}],
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    path = reports / "spec.json"
    path.write_text(json.dumps(spec))
    return path


def _verdicts(reports: Path) -> list[Verdict]:
    index = reports / "index.json"
    found = json.loads(index.read_text()).get("fastnet", {}) if index.exists() else {}
    return [Verdict(case, told["behavior"], told["behaviorClose"]) for case, told in found.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.autobahn", description=__doc__)
    parser.add_argument("--install", action="store_true", help="make the suite's environment, and run nothing")
    parser.add_argument("cases", nargs="*", default=ALL)
    options = parser.parse_args(arguments)
    if options.install:
        try:
            install()
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    start = time.monotonic()
    verdicts = run(options.cases, ROOT / "build" / "autobahn-reports")
    for verdict in verdicts:
        if not verdict.passed:
            print(f"{verdict.case}: {verdict.behavior}, close {verdict.closing}")
    for behavior, count in Counter(verdict.behavior for verdict in verdicts).most_common():
        print(f"{behavior}: {count}")
    print(f"{len(verdicts)} cases in {time.monotonic() - start:.0f} s")
    return 0 if verdicts and all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
