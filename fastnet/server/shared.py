"""Memory that a supervisor makes and its workers share: named regions, which outlive the workers."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import mmap
import os
import struct
from typing import Final

from .heartbeat import memory_file

__all__ = ["SharedMemory"]

log = logging.getLogger("fastnet.server")

# What limits may take together. None of it is taken before it is written to.
SIZE: Final = 1 << 30

# It begins with a page of entries: the digest of a region's name, its offset and size.
ENTRY: Final = struct.Struct("@32sQQ")
DIRECTORY: Final = 64 * 1024
LINE: Final = 64


class SharedMemory:
    """Regions by name, all zeros at first. Made before workers are forked; ``secret`` keys what they hash."""

    def __init__(self, size: int = SIZE) -> None:
        self.secret = os.urandom(16)
        self._descriptor = memory_file("fastnet-limits", size)
        self._memory = mmap.mmap(self._descriptor, size)
        self._size = size

    def region(self, name: str, size: int) -> memoryview | None:
        """The region of that name, the same in every process; None, and a line in the log, when there is no room."""
        digest = hashlib.sha256(f"{size} {name}".encode()).digest()
        # Of the process, so the end of one that dies here is the end of its lock.
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            end = DIRECTORY
            for place in range(0, DIRECTORY - ENTRY.size, ENTRY.size):
                known, offset, taken = ENTRY.unpack_from(self._memory, place)
                if known == digest:
                    return memoryview(self._memory)[offset : offset + size]
                if not offset:
                    if end + size > self._size:
                        break
                    ENTRY.pack_into(self._memory, place, digest, end, size)
                    return memoryview(self._memory)[end : end + size]
                end = -(-(offset + taken) // LINE) * LINE
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        log.warning("no shared memory is left for the rate limit %s: each worker counts it for itself", name)
        return None
