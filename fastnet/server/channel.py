"""What a worker and its supervisor tell each other: lines of JSON over a pair of sockets."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any, Final, Self

__all__ = ["Channel"]

# The text of a failure is cut here: it has to fit into the socket's buffer, since nobody waits.
LONGEST: Final = 64 * 1024
# Descriptors that come with one piece of input: the system ends a piece behind those of one message.
DESCRIPTORS: Final = 4


class Channel:
    """One end. ``send`` and ``receive`` never block; what the other end cannot be told is dropped."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.ended = False
        self._received = b""
        self._descriptors: list[int] = []

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Both ends."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LONGEST)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LONGEST)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """The descriptor, for whoever waits for messages."""
        return self.sock.fileno()

    def send(self, **message: Any) -> None:
        """Send one message, unless the other end is gone or does not read."""
        with contextlib.suppress(OSError):
            self.sock.send(json.dumps(message).encode() + b"\n")

    def send_descriptor(self, descriptor: int, **message: Any) -> None:
        """The same, with a descriptor that the other end gets as its own."""
        with contextlib.suppress(OSError):
            socket.send_fds(self.sock, [json.dumps({**message, "descriptor": True}).encode() + b"\n"], [descriptor])

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come; ``ended`` is True once the other end is gone.

        In the place of ``descriptor`` stands the number of the one that came with the message.
        """
        while not self.ended:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.sock, LONGEST, DESCRIPTORS)
            except BlockingIOError:
                break
            except OSError:
                data, descriptors = b"", []
            self.ended = not data
            self._received += data
            self._descriptors += descriptors
        *lines, self._received = self._received.split(b"\n")
        return [message for message in map(json.loads, lines) if self._complete(message)]

    def _complete(self, message: dict[str, Any]) -> bool:
        """Give a message its descriptor; False when the system had no room for one more here."""
        if "descriptor" in message:
            if not self._descriptors:
                return False
            message["descriptor"] = self._descriptors.pop(0)
        return True

    def close(self) -> None:
        """Close this end."""
        self.sock.close()
