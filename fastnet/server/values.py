"""How settings are written: durations, sizes, switches, networks, secrets."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = [
    "Network",
    "Secret",
    "format_duration",
    "format_size",
    "parse_choice",
    "parse_duration",
    "parse_flag",
    "parse_integer",
    "parse_list",
    "parse_mode",
    "parse_networks",
    "parse_rate",
    "parse_size",
]

_DURATIONS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_FLAGS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Secret:
    """A value that is never shown: ``str`` and ``repr`` give stars, ``reveal()`` the text.

    Written as ``file:/run/secrets/key`` or ``env:NAME`` it is read from there when it is needed.
    """

    __slots__ = ("_source",)

    def __init__(self, source: str) -> None:
        self._source = source

    def reveal(self) -> str:
        """The secret. Raises ``ValueError`` when its file or variable cannot be read."""
        kind, colon, place = self._source.partition(":")
        if colon and kind == "file":
            try:
                return Path(place).read_text().rstrip("\r\n")
            except OSError as error:
                raise ValueError(f"the secret in {place} cannot be read: {error.strerror}") from None
        if colon and kind == "env":
            if place not in os.environ:
                raise ValueError(f"the secret's environment variable {place} is not set")
            return os.environ[place]
        return self._source

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._source == self._source

    def __hash__(self) -> int:
        return hash(self._source)


def parse_duration(text: str) -> float:
    """Seconds of ``"30s"``, ``"5m"``, ``"250ms"`` or a plain number of seconds; ``ValueError`` otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write it as 30s, 5m or 250ms")
    return float(match[1]) * _DURATIONS[match[2] or "s"]


def format_duration(seconds: float) -> str:
    """``"30s"`` for 30.0: the largest unit that leaves a whole number."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = seconds / _DURATIONS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{seconds:g}s"


def parse_size(text: str) -> int:
    """Bytes of ``"64KiB"``, ``"1MiB"`` or a plain number of bytes; ``ValueError`` otherwise."""
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size: write it as 65536, 64KiB or 1MiB")
    return int(match[1]) * _SIZES[match[2] or "B"]


def format_size(size: int) -> str:
    """``"64KiB"`` for 65536: the largest unit that leaves a whole number."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return str(size)


def parse_rate(text: str) -> int:
    """Bytes a second of ``"240"``, ``"240B/s"`` or ``"1KiB/s"``; ``ValueError`` otherwise."""
    try:
        return parse_size(text.strip().removesuffix("/s"))
    except ValueError:
        raise ValueError(f"{text!r} is no rate: write it as 240, 240B/s or 1KiB/s") from None


def parse_flag(text: str) -> bool:
    """True for ``true``, ``yes``, ``on`` and ``1``, False for their opposites; ``ValueError`` otherwise."""
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def parse_integer(text: str) -> int:
    """A whole number; ``ValueError`` otherwise."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def parse_mode(text: str) -> int:
    """The permissions of a file in octal digits: ``"660"``; ``ValueError`` otherwise."""
    if re.fullmatch(r"(0o?)?[0-7]{3,4}", text.strip()) is None:
        raise ValueError(f"{text!r} is no file mode: write it in octal digits, such as 660")
    return int(text.strip().removeprefix("0o"), 8)


def parse_list(text: str) -> tuple[str, ...]:
    """The items of ``"a, b"``; empty ones are dropped."""
    return tuple(item for part in text.split(",") if (item := part.strip()))


def parse_networks(text: str) -> tuple[Network | str, ...]:
    """Networks and addresses of ``"10.0.0.0/8, ::1"``; ``*`` is every peer, ``unix`` those of Unix sockets."""
    found: list[Network | str] = []
    for item in parse_list(text):
        if item in ("*", "unix"):
            found.append(item)
            continue
        try:
            found.append(ipaddress.ip_network(item))
        except ValueError as error:
            raise ValueError(f"{item!r} is no network: {error}; write it as 10.0.0.0/8 or 192.0.2.1") from None
    return tuple(found)


def parse_choice(*choices: str) -> Callable[[str], str]:
    """A parser that takes one of these words; it raises ``ValueError`` for any other."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not known: choose {', '.join(choices[:-1])} or {choices[-1]}")
        return text

    parse.choices = choices  # type: ignore[attr-defined]
    return parse


def plain(value: Any) -> Any:
    """A value as it is shown to people and in JSON: networks and secrets as text, tuples as lists."""
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, (ipaddress.IPv4Network, ipaddress.IPv6Network, Secret)):
        return str(value)
    return value
