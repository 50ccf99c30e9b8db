"""Resident memory of processes, as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no memory any more")


def resident(pid: int) -> int:
    """Bytes that a process has in memory now."""
    return _status(pid, "VmRSS:")


class Growth:
    """By how much a process grows, told from its peak: what it had in between counts however short it was."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # 5 forgets the peak: proc(5), clear_refs.
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before = resident(pid)

    @property
    def most(self) -> int:
        """Bytes between the beginning and the highest peak since."""
        return _status(self._pid, "VmHWM:") - self._before
