"""Runs the tests of the engine on a build with FASTNET_BUILD=debug: invariants checked, live objects counted.

    python -m tests.debug [paths of tests ...]

Everything happens in a copy of the tree below ``build/debug``, so that the plain build stays as it is. Before the
tests, a planted broken invariant must end the process: a run that cannot fail proves nothing. Servers that the tests
start are held to leave no object behind (tests/wire/live.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.sanitize import LIMIT, ROOT, SELECTED, TESTS, Failure, build, copy, present, step

TREE = ROOT / "build" / "debug" / "tree"

PLANTED = '''# cython: freethreading_compatible=True
"""A broken invariant, which must end the process."""

from fastnet_ext.core.debug cimport invariant


def hold(bint condition):
    invariant(condition)
'''


def main(arguments: Sequence[str] | None = None) -> int:
    paths = list(sys.argv[1:] if arguments is None else arguments)
    try:
        step("copy", lambda: copy(TREE, PLANTED))
        step("build", lambda: build(TREE, "debug"))
        step("planted defect", find_planted_defect)
        step("tests", lambda: run_tests(paths or present(TREE, TESTS)))
    except Failure as failure:
        print(f"debug: {failure}", file=sys.stderr)
        return 1
    print("debug: every invariant held")
    return 0


def run(*arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "STRICT": ""}
    stderr = subprocess.PIPE if quiet else None
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=TREE, env=environment, check=False, timeout=LIMIT, stderr=stderr, text=True)


def find_planted_defect() -> None:
    """The build counts and checks; a broken invariant ends the process and says which it was."""
    module = "from fastnet_ext.planted.defects import hold; from fastnet_ext.core.debug import enabled"
    sound = run("-c", f"{module}; assert enabled(); hold(True)", quiet=True)
    if sound.returncode != 0:
        raise Failure(f"what is sound fails:\n{sound.stderr}")
    broken = run("-c", f"{module}; hold(False)", quiet=True)
    if broken.returncode == 0 or "invariant broken" not in broken.stderr:
        raise Failure("nobody noticed a broken invariant")


def run_tests(paths: Sequence[str]) -> None:
    done = run("-m", "pytest", *SELECTED, "--capture=sys", "--maxfail=5", *paths)
    if done.returncode != 0:
        raise Failure(f"the tests failed: exit code {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
