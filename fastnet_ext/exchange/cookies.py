"""Cookies (RFC 6265bis): lenient with what browsers send, strict with what handlers set."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

__all__ = ["SameSite", "format_set_cookie", "parse_cookies"]

SameSite = Literal["lax", "strict", "none"]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# cookie-octet of RFC 6265bis, 4.1.1: no controls, blanks, quotes, commas, semicolons or backslashes.
_VALUE = re.compile(r'(?:[!#-+\--:<-\[\]-~]*|"[!#-+\--:<-\[\]-~]*")')
_ATTRIBUTE = re.compile(r"[ !-:<-~]*")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z](?:[0-9A-Za-z.\-]*[0-9A-Za-z])?")
# A browser drops a cookie whose name and value together, or one of whose attributes, are longer
# (RFC 6265bis, 5.6): better to hear of it here.
_MAX_PAIR = 4096
_MAX_ATTRIBUTE = 1024
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}


def parse_cookies(header: str) -> dict[str, str]:
    """The cookies of a ``Cookie`` field's value.

    What does not read as ``name=value`` is skipped and the rest kept. Of two cookies with one
    name the first counts: browsers send the one with the more specific path first. Quotes
    around a value are taken off; nothing else is decoded.
    """
    cookies: dict[str, str] = {}
    for part in header.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip(" \t")
        if not equals or not name or name in cookies:
            continue
        value = value.strip(" \t")
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        cookies[name] = value
    return cookies


def format_set_cookie(
    name: str,
    value: str = "",
    *,
    max_age: int | timedelta | None = None,
    expires: datetime | int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> str:
    """The value of a ``Set-Cookie`` field.

    ``max_age`` counts seconds; ``expires`` is a moment (a naive one is UTC) or seconds from now.
    Raises ``ValueError`` for what a browser would refuse or misread: a name that is no token, a
    value with blanks, quotes, commas, semicolons, backslashes or anything outside ASCII, a
    ``__Host-`` or ``__Secure-`` name without what it promises, ``SameSite=None`` or
    ``Partitioned`` without ``Secure``.
    """
    _check_name_and_value(name, value)
    same_site = None if samesite is None else str(samesite).lower()
    if same_site is not None and same_site not in _SAME_SITE:
        raise ValueError(f"samesite must be 'lax', 'strict', 'none' or None, not {samesite!r}")
    if same_site == "none" and not secure:
        raise ValueError(f"cookie {name!r}: browsers refuse SameSite=None without secure=True")
    if partitioned and not secure:
        raise ValueError(f"cookie {name!r}: browsers refuse Partitioned without secure=True")
    _check_prefix(name, path=path, domain=domain, secure=secure, httponly=httponly)

    parts = [f"{name}={value}"]
    if max_age is not None:
        seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
        parts.append(f"Max-Age={int(seconds)}")
    if expires is not None:
        parts.append(f"Expires={_http_date(expires)}")
    if path is not None:
        parts.append(f"Path={_attribute('path', path)}")
    if domain is not None:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"cookie {name!r}: {domain!r} is no domain name (international ones: punycode)")
        parts.append(f"Domain={_attribute('domain', domain)}")
    if secure:
        parts.append("Secure")
    if httponly:
        parts.append("HttpOnly")
    if same_site is not None:
        parts.append(f"SameSite={_SAME_SITE[same_site]}")
    if partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)


def _check_name_and_value(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no cookie name: only letters, digits and !#$%&'*+-.^_`|~ may stand in one")
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f"the value of cookie {name!r} holds a character that cookies cannot carry: encode it first, "
            f"with urllib.parse.quote or base64.urlsafe_b64encode"
        )
    if len(name) + len(value) > _MAX_PAIR:
        raise ValueError(f"cookie {name!r} has {len(name) + len(value)} bytes; browsers drop those over {_MAX_PAIR}")


def _check_prefix(name: str, *, path: str | None, domain: str | None, secure: bool, httponly: bool) -> None:
    """RFC 6265bis, 4.1.3: the prefixes promise how a cookie was set; browsers compare them without case."""
    lowered = name.lower()
    if lowered.startswith(("__secure-", "__host-", "__http-")) and not secure:
        raise ValueError(f"cookie {name!r}: browsers refuse this prefix without secure=True")
    if lowered.startswith(("__http-", "__host-http-")) and not httponly:
        raise ValueError(f"cookie {name!r}: browsers refuse this prefix without httponly=True")
    if lowered.startswith("__host-"):
        if path != "/":
            raise ValueError(f"cookie {name!r}: browsers refuse __Host- with another path than '/'")
        if domain is not None:
            raise ValueError(f"cookie {name!r}: browsers refuse __Host- with a domain")


def _attribute(what: str, value: str) -> str:
    if not _ATTRIBUTE.fullmatch(value):
        raise ValueError(f"a cookie's {what} holds no controls, semicolons or characters outside ASCII: {value!r}")
    if len(value) > _MAX_ATTRIBUTE:
        raise ValueError(f"a cookie's {what} is at most {_MAX_ATTRIBUTE} bytes long; browsers ignore longer ones")
    return value


def _http_date(moment: datetime | int) -> str:
    if not isinstance(moment, datetime):
        moment = datetime.now(UTC) + timedelta(seconds=moment)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return format_datetime(moment.astimezone(UTC), usegmt=True)
