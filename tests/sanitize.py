"""Runs the tests of the engine and its fuzzers on a build with AddressSanitizer and UBSan.

    python -m tests.sanitize [--fuzz-seconds 6] [paths of tests ...]

Everything happens in a copy of the tree below ``build/sanitize``, so that the plain build stays as it
is. Fails on a failing test, a failing fuzzer, or anything that a sanitizer reports, in whatever
process. Before all that, planted defects must be found: a run that cannot fail proves nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "build" / "sanitize" / "tree"
REPORTS = ROOT / "build" / "sanitize" / "reports"
TOOLS = ROOT / "build" / "sanitize" / "tools"
# What the copy needs to build and to test.
COPIED = ("fastnet", "fastnet_ext", "tests", "examples", "proto")
# The C code of another build of the same sources spares it generating it again.
GENERATED = ("build/cython", "build/cython-strict")
FILES = ("setup.py", "pyproject.toml", "conftest.py", "README.md", "LICENSE")
TESTS = (
    *("core", "http1", "http2", "websocket", "grpc_framing", "sse", "compression", "ratelimit", "proxy", "routing"),
    *("exchange", "serve", "net", "wire", "fuzz", "differential"),
)
# What a test run on an instrumented build leaves out.
SELECTED = ("-p", "no:cacheprovider", "-m", "not dist and not measures")
# As in the Makefile.
PARALLEL = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
# Programs that tests start and that are not ours to judge; some do not even start with a sanitizer loaded.
FOREIGN = ("curl", "h2load", "nghttp", "wrk", "openssl", "chromium")
LIMIT = 1200  # seconds that one step may take
UNDEFINED = ": runtime error: "

# One function per kind of defect. The argument decides, so that no compiler sees it coming.
PLANTED = '''# cython: freethreading_compatible=True
"""Defects that a sanitizer must find."""

from libc.stdlib cimport free, malloc


def write_behind(int size, int index):
    cdef volatile char* block = <char*>malloc(size)
    block[index] = 1
    free(<void*>block)


def read_after_free(int after):
    cdef volatile char* block = <char*>malloc(8)
    block[0] = 1
    if after:
        free(<void*>block)
    cdef char found = block[0]
    if not after:
        free(<void*>block)
    return found


def shift(int by):
    cdef volatile int one = 1
    return one << by
'''
# Call, what the sanitizer says of it, and the same call without the defect.
DEFECTS = (
    ("write_behind(8, 8)", "heap-buffer-overflow", "write_behind(8, 7)"),
    ("read_after_free(1)", "heap-use-after-free", "read_after_free(0)"),
    ("shift(32)", "shift exponent", "shift(30)"),
)


class Failure(Exception):
    """A step failed; the message says which."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sanitize", description=__doc__)
    parser.add_argument("tests", nargs="*", help="paths of tests; the engine's by default")
    parser.add_argument("--fuzz-seconds", type=float, default=6, help="for each fuzzer (6)")
    options = parser.parse_args(arguments)
    for path in reports():
        path.unlink()
    try:
        step("copy", lambda: copy(TREE, PLANTED))
        step("build", lambda: build(TREE, "sanitize"))
        shield_foreign_tools()
        step("planted defects", find_planted_defects)
        step("tests", lambda: run_tests(options.tests or present(TREE, TESTS)))
        if options.fuzz_seconds:
            step("fuzzers", lambda: run([sys.executable, "-m", "tests.fuzz", "--seconds", str(options.fuzz_seconds)]))
        check_reports()
    except Failure as failure:
        for path in reports():
            print(path.read_text(errors="replace"), file=sys.stderr)
        print(f"sanitize: {failure}", file=sys.stderr)
        return 1
    print("sanitize: no reports")
    return 0


def step(name: str, action: object) -> None:
    """Do one step, and say how long it took."""
    assert callable(action)
    start = time.monotonic()
    action()
    print(f"sanitize: {name}: {time.monotonic() - start:.0f} s", flush=True)


def present(tree: Path, folders: Iterable[str]) -> list[str]:
    return [f"tests/{folder}" for folder in folders if (tree / "tests" / folder).is_dir()]


# --- the build


def copy(tree: Path, planted_module: str) -> None:
    """Make the copy what the tree is; objects that are up to date stay. The module is planted in it."""
    sources = {name: ROOT / name for name in (*COPIED, *FILES)}
    if (generated := next((ROOT / name for name in GENERATED if (ROOT / name).is_dir()), None)) is not None:
        sources["build/cython"] = generated
    for name, source in sources.items():
        target = tree / name
        if source.is_dir():
            mirror(source, target)
        elif source.is_file():
            update(source, target)
    planted = tree / "fastnet_ext" / "planted"
    planted.mkdir(exist_ok=True)
    for name, text in (("__init__.py", ""), ("__init__.pxd", ""), ("defects.pyx", planted_module)):
        path = planted / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def mirror(source: Path, target: Path) -> None:
    """The files of a folder, but for what was compiled; deletes what the source no longer has."""
    kept = {"__pycache__", "planted"}
    wanted = {
        path.relative_to(source)
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".so" and not kept & set(path.parts)
    }
    for relative in wanted:
        update(source / relative, target / relative)
    for path in list(target.rglob("*")):
        relative = path.relative_to(target)
        if path.is_file() and path.suffix != ".so" and relative not in wanted and not kept & set(relative.parts):
            path.unlink()


def update(source: Path, target: Path) -> None:
    """Copy a file with its time, which says what is up to date, unless it is there already."""
    if target.exists() and (target.stat().st_mtime_ns, target.stat().st_size) == (
        source.stat().st_mtime_ns,
        source.stat().st_size,
    ):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def build(tree: Path, switch: str) -> None:
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    environment = {**os.environ, "FASTNET_BUILD": switch, "FASTNET_ONLY": ""}
    done = subprocess.run(
        command, cwd=tree, env=environment, check=False, timeout=LIMIT, stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise Failure(f"the build failed:\n{done.stderr}")


# --- runs under the sanitizers


def library(name: str) -> str:
    """Where the C compiler keeps a library of its own."""
    compiler = os.environ.get("CC", "gcc").split()
    found = subprocess.run([*compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True)
    path = Path(found.stdout.strip())
    if not path.is_absolute():
        raise Failure(f"{compiler[0]} has no {name}")
    return str(path.resolve())


def shield_foreign_tools() -> None:
    """For each tool, a script of its name that starts it without the sanitizers."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    for name in FOREIGN:
        if (path := shutil.which(name)) is not None:
            script = TOOLS / name
            script.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec "{path}" "$@"\n')
            script.chmod(0o755)


def environment() -> dict[str, str]:
    REPORTS.mkdir(parents=True, exist_ok=True)
    # libstdc++ too: AddressSanitizer looks for what throws C++ exceptions before grpcio loads it.
    libraries = [library("libasan.so"), library("libstdc++.so.6")]
    return {
        **os.environ,
        "PATH": f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}",
        "LD_PRELOAD": " ".join(libraries),
        # The interpreter frees little at its end, which is no leak of ours.
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={REPORTS / 'address'}",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # Each object is a block of its own, so that the sanitizer sees its ends.
        "PYTHONMALLOC": "malloc",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Tools that are missing are the plain run's affair.
        "STRICT": "",
    }


def run(command: Sequence[str], *, quiet: bool = False) -> None:
    """Run a command in the copy, with the sanitizers loaded first; raises ``Failure`` when it fails."""
    shown = subprocess.DEVNULL if quiet else None
    try:
        done = subprocess.run(
            command,
            cwd=TREE,
            env=environment(),
            check=False,
            timeout=LIMIT,
            stdout=shown,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(command)} did not end within {LIMIT} s") from None
    # UBSan knows no files: what it says is in standard error.
    if UNDEFINED in done.stderr:
        (REPORTS / f"undefined.{time.monotonic_ns()}").write_text(done.stderr)
    elif not quiet:
        sys.stderr.write(done.stderr)
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit code {done.returncode}")


def run_tests(paths: Sequence[str]) -> None:
    # Standard error stays open: what a sanitizer writes just before the end is not to be lost in a capture.
    options = [*SELECTED, *PARALLEL, "--capture=sys", "--maxfail=5", "--durations=10"]
    run([sys.executable, "-m", "pytest", *options, *paths])


def reports() -> list[Path]:
    return sorted(REPORTS.glob("*")) if REPORTS.is_dir() else []


def check_reports() -> None:
    """Reports of child processes too, whose exit code nobody may have looked at."""
    if found := reports():
        raise Failure(f"reports of the sanitizers: {', '.join(str(path) for path in found)}")


def find_planted_defects() -> None:
    """Each defect must be reported, and the same call without it must not be."""
    for defect, expected, sound in DEFECTS:
        for path in reports():
            path.unlink()
        try:
            call(defect)
        except Failure:
            pass
        else:
            raise Failure(f"nobody stopped {defect}")
        text = "".join(path.read_text(errors="replace") for path in reports())
        if expected not in text:
            raise Failure(f"no report of {expected} for {defect}")
        for path in reports():
            path.unlink()
        call(sound)
        check_reports()


def call(expression: str) -> None:
    run([sys.executable, "-c", f"from fastnet_ext.planted.defects import *; {expression}"], quiet=True)


if __name__ == "__main__":
    sys.exit(main())
