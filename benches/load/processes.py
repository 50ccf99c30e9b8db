"""Starting a server pinned to a core, reading its CPU time and memory, stopping it. Linux only (/proc)."""

import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.load.machine import ROOT, Place, on_core

STOP_SECONDS = 5.0


class ServerFailed(Exception):
    """The server did not start, ended by itself, or lost a process."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a process tree: ``rss`` counts shared pages in each process, ``pss`` divides them among their users."""

    rss: int
    pss: int


def free_port() -> int:
    """A TCP port that nobody on the loopback interface listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_file_limit() -> int:
    """Lift this process's limit of open files to what the system allows; children inherit it. Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue  # ended while we looked
            # The command's name is in parentheses and may hold anything; the fields after it are plain.
            parent = int(stat.rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(entry))
    return found


def process_tree(root: int) -> tuple[int, ...]:
    """``root`` and all its living descendants, in ascending order."""
    children = _children()
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tuple(sorted(tree))


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of one process, ended ones included, to the nanosecond.

    The CPU clock of another process (clock_getcpuclockid(3)) has the resolution that the ticks of /proc/PID/stat lack.
    """
    return time.clock_gettime((~pid << 3) | 2)


class Process:
    """A started server: its whole process tree is measured, and its whole session is stopped."""

    def __init__(
        self, argv: Sequence[str], *, core: Place, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        try:
            with on_core(core):
                self._popen = subprocess.Popen(
                    list(argv),
                    cwd=cwd,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self._log.close()
            raise ServerFailed(str(error)) from error

    @property
    def pid(self) -> int:
        return self._popen.pid

    def _ended(self) -> int | None:
        """Its exit status or the signal that ended it, without reaping it: until ``stop`` does, its id is ours."""
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return None if ended is None else ended.si_status

    def require_running(self) -> None:
        """Raise ServerFailed with the end of its log when the process has ended."""
        if (status := self._ended()) is not None:
            raise ServerFailed(f"ended with status {status}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line it wrote to its standard output and error."""
        # pread, since the server writes at the offset that its descriptor shares with ours.
        lines = os.pread(self._log.fileno(), 1 << 20, 0).decode("utf-8", "replace").split("\n")
        words = [line.strip() for line in lines if line.strip()]
        return words[-1].replace(f"{ROOT}/", "")[-200:] if words else "no output"

    def written(self) -> int:
        """How many bytes it has written to its standard output and error."""
        return os.fstat(self._log.fileno()).st_size

    def tree(self) -> tuple[int, ...]:
        self.require_running()
        return process_tree(self.pid)

    def memory(self) -> Memory:
        rss = pss = 0
        for pid in self.tree():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1]) * 1024
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1]) * 1024
        return Memory(rss, pss)

    def stop(self) -> None:
        """End the process: SIGTERM, and after STOP_SECONDS SIGKILL; then whoever is left of the session it leads."""
        if self._popen.returncode is not None:
            return
        if self._ended() is None:
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._ended() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        # The session is ours and its leader not yet reaped, so this reaches what it started and nothing else.
        os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._log.close()


class CpuMeter:
    """CPU seconds that a process tree spends between construction and ``spent``."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._tree = process.tree()
        self._start = sum(cpu_seconds(pid) for pid in self._tree)

    def spent(self) -> float:
        """Raises ServerFailed when processes came or went meanwhile: their time would be missing."""
        if self._process.tree() != self._tree:
            raise ServerFailed("its processes changed while it was measured")
        return sum(cpu_seconds(pid) for pid in self._tree) - self._start
