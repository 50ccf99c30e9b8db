"""Media types as Content-Type says them (RFC 9110, 8.3)."""

import codecs
import re

__all__ = ["charset_of", "content_type_of"]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_TYPE = re.compile(
    rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*(?:{_TOKEN}=(?:{_TOKEN}|"(?:[\t !#-\[\]-~]|\\[\t -~])*"))?)*'
)


def content_type_of(media_type: str) -> str:
    """The field's value for a media type; text gets ``; charset=utf-8`` unless it names a charset.

    Raises ``ValueError`` for what is no media type or names an unknown charset.
    """
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ValueError(f"{media_type!r} is no media type; one looks like 'text/html' or 'text/html; charset=utf-8'")
    if "charset=" not in media_type.lower():
        is_text = media_type.lower().startswith("text/")
        return f"{media_type.rstrip('; ')}; charset=utf-8" if is_text else media_type
    try:
        codecs.lookup(charset_of(media_type))
    except LookupError:
        raise ValueError(f"{media_type!r} names a charset that Python does not know") from None
    return media_type


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, in lower case; ``utf-8`` when it names none."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower() or "utf-8"
    return "utf-8"
