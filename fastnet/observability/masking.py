"""Keeps secrets out of logs: the values of header fields and query keys that hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

__all__ = ["SECRET_KEYS", "STARS", "Mask", "QueryKeys"]

STARS: Final = "***"
SECRET_KEYS: Final = (
    "access_token",
    "api_key",
    "apikey",
    "code",
    "key",
    "password",
    "secret",
    "sig",
    "signature",
    "token",
)
"""Keys of a query whose values are hidden, unless the settings have a list of their own."""

SECRET_FIELDS: Final = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))

# A field and its value as headers are shown: `name: value`, {'name': 'value'}, ('name', 'value'), with or without b''.
_FIELDS: Final = re.compile(
    r"""(?P<quote>["']?)\b(?P<name>(?:proxy-)?authorization|(?:set-)?cookie)\b(?P=quote)(?P<between>(?:\s*[:,]\s*|=)b?)
    (?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\r\n"']+)""",
    re.IGNORECASE | re.VERBOSE,
)


# Within a URL or by itself: what begins a pair of a query, with its name; and a value, as far as it goes in a text.
_NAME: Final = re.compile(r"""[?&;]([^?&;=#\s"'<>]+)=""")
_VALUE: Final = re.compile(r"""[^&;#\s"'<>)\]}]*""")


class QueryKeys:
    """Keys of a query whose values are hidden: the rule of the engine's ``QueryMask``, for texts of Python's.

    A name is one of them whatever its case and however it is percent-encoded.
    """

    def __init__(self, keys: Iterable[str] = SECRET_KEYS) -> None:
        self._keys = frozenset(key.lower() for key in keys)

    def __contains__(self, name: str) -> bool:
        return unquote_plus(name).lower() in self._keys

    def __bool__(self) -> bool:
        return bool(self._keys)


class Mask:
    """Hides in texts the values of secret header fields, and in URLs those of the query keys ``keys``."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = QueryKeys(keys)

    def _queries(self, text: str) -> str:
        parts = []
        at = 0
        for found in _NAME.finditer(text):
            # A URL may be the value of a pair in another.
            if found.start() >= at and found[1] in self._keys:
                parts += [text[at : found.end()], STARS]
                value = _VALUE.match(text, found.end())
                at = value.end() if value else found.end()
        return "".join((*parts, text[at:])) if parts else text

    def text(self, text: str) -> str:
        """The text with ``***`` in place of what must not be shown."""
        if self._keys and "=" in text:
            text = self._queries(text)
        lowered = text.lower()
        if "authorization" in lowered or "cookie" in lowered:
            text = _FIELDS.sub(rf"\g<quote>\g<name>\g<quote>\g<between>{STARS}", text)
        return text

    def value(self, name: str, value: Any) -> Any:
        """What may be shown of a named value: fields of records, and the members of mappings in them."""
        if name.lower().replace("_", "-") in SECRET_FIELDS:
            return STARS
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(key): self.value(str(key), one) for key, one in value.items()}
        return value
