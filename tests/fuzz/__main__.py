"""Runs every fuzzer of this folder, one after the other: ``python -m tests.fuzz --seconds 60``.

A fuzzer is a file ``fuzz_*.py`` that takes ``--seconds`` and ``--seed``, and exits with something
other than 0 when an input breaks an invariant. The seed is random and printed, so that a run can be
repeated.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
GRACE = 120  # seconds a fuzzer may need beyond its time: to start, and to end its last input


def fuzzers(folder: Path = FOLDER) -> list[str]:
    """The names of the fuzzers: ``fuzz_http1`` …"""
    return sorted(path.stem for path in folder.glob("fuzz_*.py"))


def run(name: str, seconds: float, seed: int) -> int:
    """Run one fuzzer; its exit code, or 124 when it does not end."""
    command = [sys.executable, "-m", f"tests.fuzz.{name}", "--seconds", str(seconds), "--seed", str(seed)]
    try:
        return subprocess.run(command, cwd=ROOT, check=False, timeout=seconds + GRACE).returncode
    except subprocess.TimeoutExpired:
        return 124


def main(arguments: Sequence[str] | None = None, runner: Callable[[str, float, int], int] = run) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="fuzzer", help=f"some of {', '.join(fuzzers())}; all by default")
    parser.add_argument("--seconds", type=float, default=60, help="for each fuzzer (60)")
    parser.add_argument("--seed", type=int, default=None, help="random by default")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(fuzzers()):
        parser.error(f"there is no fuzzer {', '.join(sorted(unknown))}, only {', '.join(fuzzers())}")
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    failed = []
    for name in options.names or fuzzers():
        print(f"{name} --seconds {options.seconds:g} --seed {seed}", flush=True)
        if (code := runner(name, options.seconds, seed)) != 0:
            failed.append(f"{name} (exit code {code})")
    if failed:
        print(f"failed with seed {seed}: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
