"""Between messages and the types of ``WebSocket[In, Out]``."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import msgspec

from fastnet_ext.serve.errors import InvalidMessage

__all__ = ["Decode", "decoder_of"]

Decode = Callable[[str | bytes], Any]

# Close codes of RFC 6455, section 7.4.1.
UNSUPPORTED_DATA = 1003
INVALID_PAYLOAD = 1007

_MESSAGES = {str, bytes}


def decoder_of(wanted: Any, dec_hook: Callable[[type, Any], Any] | None = None) -> Decode | None:
    """What makes values of a type of messages, None when the messages themselves are wanted.

    It raises ``InvalidMessage``. ``str`` and ``bytes`` are the message itself, and the other kind is
    refused; everything else is JSON, in text or binary messages. Raises TypeError for types that
    cannot be built from JSON.
    """
    if wanted is Any or wanted is object or _arms(wanted) == _MESSAGES:
        return None
    if wanted is str:
        return _text
    if wanted is bytes:
        return _binary
    decode: Decode
    if hasattr(wanted, "model_validate_json"):
        decode = wanted.model_validate_json
    else:
        decode = msgspec.json.Decoder(wanted, dec_hook=dec_hook).decode

    def decoded(message: str | bytes) -> Any:
        try:
            return decode(message)
        except (ValueError, RecursionError) as error:
            raise InvalidMessage(f"the message is not what was expected: {error}", code=INVALID_PAYLOAD) from error

    return decoded


def _arms(wanted: Any) -> set[Any]:
    return set(get_args(wanted)) - {NoneType} if get_origin(wanted) in (Union, UnionType) else set()


def _text(message: str | bytes) -> str:
    if not isinstance(message, str):
        raise InvalidMessage("this connection takes text, not binary messages", code=UNSUPPORTED_DATA)
    return message


def _binary(message: str | bytes) -> bytes:
    if not isinstance(message, bytes):
        raise InvalidMessage("this connection takes binary messages, not text", code=UNSUPPORTED_DATA)
    return message
