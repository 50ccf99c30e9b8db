"""Programs and sources that come by Go: installed once, below build/; a test without Go is skipped with the reason."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / "build" / "go"
SECONDS = 500.0


def _go(*arguments: str, **environment: str) -> str:
    """What go says; skips the test where there is no Go, or where it cannot get what it is asked for."""
    if shutil.which("go") is None:
        pytest.skip("no go on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        finished = subprocess.run(
            ["go", *arguments],
            cwd=folder,  # no go.mod above it
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    if finished.returncode != 0:
        pytest.skip(f"go {' '.join(arguments)}: {finished.stderr.strip()[-300:]}")
    return finished.stdout


@functools.cache
def program(package: str, version: str) -> Path:
    """The executable of a Go package at that version."""
    target = BIN / version
    executable = target / package.rpartition("/")[2]
    if not executable.exists():
        _go("install", f"{package}@{version}", GOBIN=str(target))
    return executable


@functools.cache
def sources(module: str, version: str) -> Path:
    """The folder of a Go module's files, as it was released."""
    return Path(json.loads(_go("mod", "download", "-json", f"{module}@{version}"))["Dir"])


def python(*arguments: str | Path) -> None:
    """Run our interpreter; fails the test with what it said."""
    finished = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
