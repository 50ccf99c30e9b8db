"""Runs the tests under every Python from 3.11 at hand: ``python -m tests.every_python [3.12 3.13 …]``.

Looks on the PATH and among the versions of pyenv. Each gets an environment of its own, ``.venv-3.12``
beside the project, and builds in place: the names of compiled modules tell versions apart. Prints a
table, and exits with 1 when something failed or a version that was asked for is not there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
# As in the Makefile: a file at a time, the long ones first.
PARALLEL = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
REQUIREMENTS = ("build.txt", "demo.txt", "test.txt")
ABOUT = "import sys, sysconfig; print(*sys.version_info[:3], bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs."""

    path: str
    version: Version

    @property
    def name(self) -> str:
        return "{}.{}".format(*self.version)


@dataclass
class Outcome:
    """What came of one version: the step that failed, or none, and the seconds all steps took."""

    interpreter: Interpreter
    failed: str | None
    seconds: float
    tests: str


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.every_python", description=__doc__)
    parser.add_argument("versions", nargs="*", help="such as 3.12; all that are found by default")
    options = parser.parse_args(arguments)
    found = newest(filter(None, map(describe, candidates())))
    missing = [version for version in options.versions if version not in found]
    chosen = [one for name, one in found.items() if not options.versions or name in options.versions]
    outcomes = [examine(interpreter) for interpreter in chosen]
    print("\n" + table(outcomes))
    for version in missing:
        print(f"there is no Python {version} on the PATH nor in pyenv", file=sys.stderr)
    return 1 if missing or not outcomes or any(outcome.failed for outcome in outcomes) else 0


# --- finding them


def candidates() -> list[str]:
    """Paths of what may be a Python, those on the PATH first."""
    names = ["python3", *(f"python3.{minor}" for minor in range(OLDEST[1], 30))]
    found = [path for name in names if (path := shutil.which(name)) is not None]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return found + [str(path) for path in sorted(pyenv.glob("versions/*/bin/python3"))]


def describe(path: str) -> Interpreter | None:
    """An interpreter, unless it does not run, is too old, or has no global lock (which is another build)."""
    try:
        done = subprocess.run([path, "-c", ABOUT], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.fullmatch(r"(\d+) (\d+) (\d+) False\n", done.stdout)
    if done.returncode != 0 or match is None:
        return None
    version = (int(match[1]), int(match[2]), int(match[3]))
    return Interpreter(path, version) if version >= OLDEST else None


def newest(interpreters: Iterable[Interpreter]) -> dict[str, Interpreter]:
    """One interpreter per minor version, the newest patch release, the first found of those; in order."""
    best: dict[str, Interpreter] = {}
    for one in interpreters:
        if one.name not in best or one.version > best[one.name].version:
            best[one.name] = one
    return dict(sorted(best.items(), key=lambda item: item[1].version))


# --- running the tests


def examine(interpreter: Interpreter) -> Outcome:
    """Environment, build, tests; stops at the first step that fails."""
    venv = ROOT / f".venv-{interpreter.name}"
    python = str(venv / "bin" / "python")
    start, tests = time.monotonic(), ""
    print(f"\n== Python {'.'.join(map(str, interpreter.version))} ({interpreter.path})", flush=True)
    failed = None
    try:
        failed = "environment"
        prepare(interpreter, venv, python)
        failed = "build"
        call([python, "setup.py", "--quiet", "build_ext", "--inplace"])
        failed = "tests"
        tests = run_tests(python)
        failed = None
    except subprocess.CalledProcessError as error:
        tests = tests or str(error.output or "").strip()
    return Outcome(interpreter, failed, time.monotonic() - start, tests)


def prepare(interpreter: Interpreter, venv: Path, python: str) -> None:
    """Make the environment, unless it is there and was made of the same."""
    requirements = [ROOT / "requirements" / name for name in REQUIREMENTS]
    content = b"".join(path.read_bytes() for path in requirements) + repr(interpreter).encode()
    stamp, made_of = venv / ".made-of", hashlib.sha256(content).hexdigest()
    if stamp.exists() and stamp.read_text() == made_of:
        return
    call([interpreter.path, "-m", "venv", "--clear", str(venv)])
    call([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip"])
    call([python, "-m", "pip", "install", "--quiet", *(part for path in requirements for part in ("-r", str(path)))])
    stamp.write_text(made_of)


def run_tests(python: str) -> str:
    """Run all tests, showing what they print; returns their last line: so many passed."""
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", *PARALLEL]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    last = last.strip("= ")
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, output=last)
    return last


def call(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def table(outcomes: Iterable[Outcome]) -> str:
    lines = [f"{'Python':<10}{'outcome':<22}{'seconds':>8}  tests"]
    for outcome in outcomes:
        version = ".".join(map(str, outcome.interpreter.version))
        verdict = f"failed: {outcome.failed}" if outcome.failed else "passed"
        lines.append(f"{version:<10}{verdict:<22}{outcome.seconds:>8.0f}  {outcome.tests}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
