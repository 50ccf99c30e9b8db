"""What carries messages between the processes of one service."""

from fastnet.channels.relay import Relay

__all__ = ["Relay"]
