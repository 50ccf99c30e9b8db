"""A page of memory that workers write and the supervisor reads: who lives, how well, and what it has done.

One cache line per worker. Each value is eight bytes, aligned and written at once, so that no lock is needed.
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Page", "Slot", "State", "Vitals", "memory_file"]

LINE: Final = 64
SLOTS: Final = 1024
# Native mode copies all eight bytes at once; the standard modes go byte by byte.
VALUE: Final = struct.Struct("@q")

# Offsets in a line. The beat is in nanoseconds of CLOCK_MONOTONIC, which all processes share.
PID, BEAT, STATE, REQUESTS, CONNECTIONS, MEMORY = range(0, 48, 8)


class State(enum.IntEnum):
    """What a worker is at. ``NOT_READY``: it serves, and the app has set ``app.ready`` to False."""

    STARTING = 1
    READY = 2
    NOT_READY = 3
    DRAINING = 4


@dataclass(frozen=True)
class Vitals:
    """What a worker wrote last; ``beat`` in seconds of ``time.monotonic``, ``memory`` resident, in bytes."""

    pid: int
    beat: float
    state: State
    requests: int
    connections: int
    memory: int


class Slot:
    """The line of one worker."""

    __slots__ = ("_memory", "_start", "index")

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        self._memory = memory
        self._start = index * LINE
        self.index = index

    def _write(self, offset: int, value: int) -> None:
        VALUE.pack_into(self._memory, self._start + offset, value)

    def _read(self, offset: int) -> int:
        found: int = VALUE.unpack_from(self._memory, self._start + offset)[0]
        return found

    def take(self) -> None:
        """Begin with a clean line, in the supervisor before there is a worker that writes anything."""
        self._memory[self._start : self._start + LINE] = bytes(LINE)
        self._write(STATE, State.STARTING)
        self._write(BEAT, time.monotonic_ns())
        self._write(PID, -1)

    def name(self, pid: int) -> None:
        """Say whose line it is."""
        self._write(PID, pid)

    def beat(self, state: State, *, requests: int, connections: int, memory: int) -> None:
        """Say that the loop runs, and how it stands."""
        self._write(STATE, state)
        self._write(REQUESTS, requests)
        self._write(CONNECTIONS, connections)
        self._write(MEMORY, memory)
        self._write(BEAT, time.monotonic_ns())

    def free(self) -> None:
        """Let another worker have the line."""
        self._write(PID, 0)

    @property
    def vitals(self) -> Vitals:
        """What the worker wrote last."""
        return Vitals(
            self._read(PID),
            self._read(BEAT) / 1e9,
            State(self._read(STATE) or State.STARTING),
            self._read(REQUESTS),
            self._read(CONNECTIONS),
            self._read(MEMORY),
        )


class Page:
    """The lines of all workers. Made by the supervisor; ``descriptor`` lets it survive ``exec``."""

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            descriptor = memory_file("fastnet-workers", SLOTS * LINE)
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, SLOTS * LINE)

    def __getitem__(self, index: int) -> Slot:
        return Slot(self._memory, index)

    def unused(self) -> Slot:
        """A line that no worker has. ``RuntimeError`` when there is none."""
        for index in range(SLOTS):
            slot = self[index]
            if not slot._read(PID):
                return slot
        raise RuntimeError(f"more than {SLOTS} workers")

    def __iter__(self) -> Iterator[Vitals]:
        """What each worker wrote last."""
        for index in range(SLOTS):
            slot = self[index]
            if slot._read(PID):
                yield slot.vitals


def memory_file(name: str, size: int) -> int:
    """The descriptor of a file of zeros that is nowhere but in memory; ``name`` is for those who look into /proc."""
    if sys.platform == "linux":
        descriptor = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def resident_memory() -> int:
    """Resident bytes of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return 0
