"""What workers are written to by the others: a pair of datagram sockets each, made by their supervisor.

A worker inherits the end of its own to read from, and those of all others to write to; it is given those of later
workers as they are started. The supervisor keeps an end of each, and sends nothing itself.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any, Self

from fastnet.channels.workers import WorkerRelay

__all__ = ["Mailbox"]

# Asked for; the system may give less. What does not fit waits in the sender.
BUFFER = 1024 * 1024


class Mailbox:
    """One worker's: its name, the end to write to, and the other end while nobody has it."""

    def __init__(self, name: str, writer: socket.socket, reader: socket.socket | None = None) -> None:
        self.name = name
        self.writer = writer
        self.reader = reader

    @classmethod
    def make(cls) -> Self:
        """A new one. Raises ``OSError`` when the system has no descriptors to give."""
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        return cls(os.urandom(6).hex(), writer, reader)

    def relay(self, others: Iterable[Mailbox]) -> WorkerRelay:
        """In the worker whose it is: what writes to the others. They are the relay's from now on."""
        assert self.reader is not None
        self.writer.close()
        return WorkerRelay(self.name, self.reader, {other.name: other.writer for other in others})

    def given(self) -> None:
        """The worker has its end."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def close(self) -> None:
        """Close what is open here."""
        self.given()
        self.writer.close()

    # --- across exec

    def hand_over(self) -> dict[str, Any]:
        """What ``restored`` needs in the next process image."""
        os.set_inheritable(self.writer.fileno(), True)
        return {"name": self.name, "writer": self.writer.fileno()}

    @classmethod
    def restored(cls, item: dict[str, Any]) -> Self:
        """The mailbox that the process image before this one made."""
        writer = socket.socket(fileno=item["writer"])
        writer.set_inheritable(False)
        return cls(item["name"], writer)
