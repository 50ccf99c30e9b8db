"""What is made of messages of a WebSocket: text, bytes, values of JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from fastnet_ext.serve.errors import InvalidMessage

__all__ = ["INVALID_PAYLOAD", "UNSUPPORTED_DATA", "Decode", "as_bytes", "as_text", "checked", "from_json"]

Decode = Callable[[str | bytes], Any]

# Close codes of RFC 6455, section 7.4.1.
UNSUPPORTED_DATA = 1003
INVALID_PAYLOAD = 1007


def as_text(message: str | bytes) -> str:
    """A text message. Raises ``InvalidMessage`` for a binary one."""
    if not isinstance(message, str):
        raise InvalidMessage("this connection takes text, not binary messages", code=UNSUPPORTED_DATA)
    return message


def as_bytes(message: str | bytes) -> bytes:
    """A binary message. Raises ``InvalidMessage`` for text."""
    if not isinstance(message, bytes):
        raise InvalidMessage("this connection takes binary messages, not text", code=UNSUPPORTED_DATA)
    return message


def from_json(kind: Any = None, dec_hook: Callable[[type, Any], Any] | None = None) -> Decode:
    """What makes values of a type of messages of JSON; None is any value.

    It raises ``InvalidMessage``. Raises TypeError for types that cannot be built from JSON.
    """
    if kind is None:
        return checked(msgspec.json.decode)
    if hasattr(kind, "model_validate_json"):
        return checked(kind.model_validate_json)
    return checked(msgspec.json.Decoder(kind, dec_hook=dec_hook).decode)


def checked(decode: Decode) -> Decode:
    """The same, its failures as ``InvalidMessage``."""

    def decoded(message: str | bytes) -> Any:
        try:
            return decode(message)
        except (ValueError, RecursionError) as error:
            raise InvalidMessage(f"the message is not what was expected: {error}", code=INVALID_PAYLOAD) from error

    return decoded
