"""Between messages and the types of ``WebSocket[In, Out]``."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from fastnet_ext.serve.websocket_values import Decode, as_bytes, as_text, from_json

__all__ = ["Decode", "decoder_of"]

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
        return as_text
    if wanted is bytes:
        return as_bytes
    return from_json(wanted, dec_hook)


def _arms(wanted: Any) -> set[Any]:
    return set(get_args(wanted)) - {NoneType} if get_origin(wanted) in (Union, UnionType) else set()
