"""The machine a result was measured on, and how busy others kept it meanwhile."""

import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("fastnet-server", "uvloop", "httptools", "orjson", "msgspec", "Cython")
"""Distributions of the environment that runs fastnet, whose versions belong beside its numbers."""


Place = int | frozenset[int] | None
"""A core, or several; None pins nothing."""


@dataclass(frozen=True)
class Cores:
    """Where the server and the load generator run; None when there is only one core, and nothing is pinned."""

    server: Place
    load: Place
    spare: int | None = None
    """A third core, where there is one."""

    @property
    def apart(self) -> bool:
        return self.server != self.load

    def numbers(self) -> frozenset[int]:
        """The cores of both; empty when nothing is pinned."""
        places = [{place} if isinstance(place, int) else place or () for place in (self.server, self.load)]
        return frozenset().union(*places)

    def shared(self) -> "Cores":
        """Both cores for the server and for the load generator."""
        both = self.numbers() or None
        return Cores(both, both, self.spare)


def choose_cores() -> Cores:
    """The first of the cores we may use for the server, the second for the load generator and ourselves."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(None, None)
    os.sched_setaffinity(0, {allowed[1]})
    return Cores(allowed[0], allowed[1], allowed[2] if len(allowed) > 2 else None)


@contextmanager
def on_core(core: Place) -> Iterator[None]:
    """What is started inside inherits this core; we ourselves go back to ours. With None, nothing is pinned."""
    ours = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core} if isinstance(core, int) else core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


def busy_seconds(cores: Cores) -> float:
    """Seconds the two cores have been busy since boot, whoever used them; stolen time counts as busy."""
    wanted = {f"cpu{core}" for core in cores.numbers()} or {"cpu"}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *values = line.split()
        if name in wanted:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, values[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


def _git(*arguments: str) -> str | None:
    argv = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    try:
        finished = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return finished.stdout.strip() if finished.returncode == 0 else None


def revision() -> str:
    """The short hash of the commit measured, ``worktree`` when sources differ from it or there is none."""
    commit = _git("rev-parse", "--short=10", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=normal", "--", ".", ":!benches/results")
    return commit if commit and changed == "" else "worktree"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _python() -> str:
    """The interpreter, and whether it was built with profile-guided optimisation: peers in Python hang on it most."""
    built = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return f"{sys.version.split()[0]}, {'built with' if '--enable-optimizations' in built else 'built without'} PGO"


def _first_line(*argv: str) -> str:
    try:
        finished = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "missing"
    lines = (finished.stdout + finished.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "in place"


def describe(peers: dict[str, str]) -> dict[str, str]:
    """Machine, kernel and versions, for the head of a report."""
    return {
        "date": date.today().isoformat(),
        "revision": revision(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": _python(),
        "compiler": _first_line(os.environ.get("CC", "cc"), "--version"),
        "wrk": _first_line("wrk", "-v").partition(" Copyright")[0],
        "nginx": _first_line("nginx", "-v"),
        "ours": ", ".join(f"{name} {_version(name)}" for name in OURS),
        "peers": ", ".join(f"{name} {version}" for name, version in peers.items()) or "none installed",
    }
