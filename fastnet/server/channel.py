"""What a worker and its supervisor tell each other: lines of JSON over a pair of sockets."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any, Final, Self

__all__ = ["Channel"]

# The text of a failure is cut here: it has to fit into the socket's buffer, since nobody waits.
LONGEST: Final = 64 * 1024


class Channel:
    """One end. ``send`` and ``receive`` never block; what the other end cannot be told is dropped."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.ended = False
        self._received = b""

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

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come; ``ended`` is True once the other end is gone."""
        while not self.ended:
            try:
                data = self.sock.recv(LONGEST)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.ended = not data
            self._received += data
        *lines, self._received = self._received.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self.sock.close()
