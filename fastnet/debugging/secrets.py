"""What must not be shown: values by the name they stand under, wherever that name appears in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus

from fastnet.observability.masking import SECRET_KEYS, STARS, QueryKeys

__all__ = ["HIDDEN", "SECRET_KEYS", "is_secret", "mask_query", "mask_text"]

HIDDEN: Final = STARS

_WORDS: Final = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|api[-_]?key|private[-_]?key|authorization|cookie|credential"
    r"|session[-_]?id|signature|jwt|otp"
)
_NAME: Final = re.compile(rf"{_WORDS}|^auth$", re.IGNORECASE)
# `password='x'`, `"x-api-key": b"y"`, `(b'cookie', b'z')`; and what stands behind the name of a scheme.
_VALUE: Final = re.compile(
    rf"""((?:{_WORDS})[\w-]*(?:['"]?\s*[=:]|['"]\s*,)\s*)"""
    r"""(b?'(?:[^'\\]|\\.)*'?|b?"(?:[^"\\]|\\.)*"?|[^\s,()\[\]{}'"]+)""",
    re.IGNORECASE,
)
_CREDENTIALS: Final = re.compile(r"\b(bearer|basic|digest|negotiate)(\s+)[\w+/=.~-]{4,}", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether what stands under a name is to be hidden."""
    return _NAME.search(name) is not None


def mask_text(text: str) -> str:
    """A text with the values hidden that stand behind names such as ``password=``, and behind ``Bearer``."""
    return _CREDENTIALS.sub(rf"\1\2{HIDDEN}", _VALUE.sub(rf"\1{HIDDEN}", text))


def mask_query(query: str, keys: Iterable[str] = SECRET_KEYS) -> str:
    """A query as it came, with the values of ``keys`` and of names that sound secret hidden."""
    masked = QueryKeys(keys)
    parts = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        parts.append(f"{name}={HIDDEN}" if equals and (name in masked or is_secret(unquote_plus(name))) else part)
    return "&".join(parts)
