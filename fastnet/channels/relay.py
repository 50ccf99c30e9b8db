"""The seam between what publishes and what carries it to other processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Receiver", "Relay"]


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a relay calls, on the event loop.

    * ``message(peer, data)``: something that a peer has published, or sent to us alone. Those of one peer keep their
      order.
    * ``joined(peer)``: a peer is there, or is in reach again after messages to it were lost: it knows nothing of us.
    * ``left(peer)``: a peer has ended, or is out of reach for good. Its name does not come again.
    """

    message: Callable[[str, bytes], None]
    joined: Callable[[str], None]
    left: Callable[[str], None]


class Relay(Protocol):
    """Carries bytes to the other processes of a service: the workers of a machine, or a broker that many share.

    Nothing blocks, and nothing raises for a peer that cannot be reached: what it misses is lost, and it is told as
    ``joined`` once it is in reach again.
    """

    def start(self, receiver: Receiver) -> None:
        """Begin, on the running loop; peers that are there already are told as ``joined``."""

    def publish(self, data: bytes) -> None:
        """Send to all peers."""

    def send(self, peer: str, data: bytes) -> None:
        """Send to one peer, behind all that was published before."""

    def stop(self) -> None:
        """End; nothing is called any more."""
