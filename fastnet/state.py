"""The bag of attributes behind ``app.state`` and ``request.state``."""

from fastnet_ext.exchange.values import State

__all__ = ["State"]
