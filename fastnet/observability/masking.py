"""Keeps secrets out of logs: the values of header fields and query keys that hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["SECRET_KEYS", "STARS", "Mask"]

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


class Mask:
    """Hides in texts the values of secret header fields, and in URLs those of the query keys ``keys``."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        names = "|".join(re.escape(key) for key in keys)
        self._query = re.compile(rf"([?&;](?:{names})=)[^&;#\s\"'<>)\]}}]+", re.IGNORECASE) if names else None

    def text(self, text: str) -> str:
        """The text with ``***`` in place of what must not be shown."""
        if self._query is not None and "=" in text:
            text = self._query.sub(rf"\1{STARS}", text)
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
