"""How settings are written: durations, sizes, switches, networks, secrets.

A :class:`Kind` is a way to write: how text of it is parsed, which values it takes as they are (TOML and Python have
numbers, booleans and lists of their own), and how a value is written back.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = [
    "DURATION",
    "FILE",
    "FLAG",
    "INTEGER",
    "LIST",
    "MODE",
    "NETWORKS",
    "PART",
    "RATE",
    "SECRET",
    "SIZE",
    "TEXT",
    "Kind",
    "Network",
    "Secret",
    "choice",
    "format_duration",
    "format_size",
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

    @property
    def is_reference(self) -> bool:
        """Whether it says where the secret is, and is not the secret itself."""
        return self._source.startswith(("file:", "env:"))

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
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


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
    """A whole number, 0 or more; ``ValueError`` otherwise."""
    if re.fullmatch(r"[0-9]{1,18}", text.strip()) is None:
        raise ValueError(f"{text!r} is no whole number from 0 on")
    return int(text)


def parse_part(text: str) -> float:
    """A part of one, such as 0.1; ``ValueError`` otherwise."""
    try:
        part = float(text)
    except ValueError:
        part = math.nan
    if not 0 <= part <= 1:
        raise ValueError(f"{text!r} is no part: write a number from 0 to 1, such as 0.1")
    return part


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
    return _networks(parse_list(text))


def _networks(items: tuple[str, ...]) -> tuple[Network | str, ...]:
    found: list[Network | str] = []
    for item in items:
        if item in ("*", "unix"):
            found.append(item)
            continue
        try:
            found.append(ipaddress.ip_network(item))
        except ValueError as error:
            raise ValueError(f"{item!r} is no network: {error}; write it as 10.0.0.0/8 or 192.0.2.1") from None
    return tuple(found)


@dataclass(frozen=True)
class Kind:
    """A way to write settings; the fields are functions that raise ``ValueError`` for what they cannot take.

    ``parse`` takes text, ``take`` what TOML or Python give (text was parsed before), ``write`` gives a value as TOML
    has it.
    """

    name: str
    parse: Callable[[str], Any]
    take: Callable[[Any], Any]
    write: Callable[[Any], Any]
    choices: tuple[str, ...] = ()

    def read(self, value: Any) -> Any:
        """The setting that `value` stands for. Raises ``ValueError`` that says what to write instead."""
        return self.parse(value) if isinstance(value, str) else self.take(value)


def _refuse(value: Any, instead: str) -> ValueError:
    shown = str(value).lower() if isinstance(value, bool) else repr(value)
    return ValueError(f"{shown} is {instead}")


def _only(kind: type, instead: str) -> Callable[[Any], Any]:
    def take(value: Any) -> Any:
        if not isinstance(value, kind):
            raise _refuse(value, instead)
        return value

    return take


def _number(what: str, *, whole: bool) -> Callable[[Any], Any]:
    def take(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise _refuse(value, what)
        if not 0 <= value < 2**63:
            raise _refuse(value, "out of range: it is 0 or more" if value < 0 else what)
        return value if whole else float(value)

    return take


def _take_mode(value: Any) -> int:
    # 660 means the octal digits. TOML's and Python's 0o660 arrives as 432, which could be meant as digits too: it is
    # refused. Sockets that their owner cannot write to are useless, so the first digit is 6 or 7.
    if isinstance(value, int) and not isinstance(value, bool) and re.fullmatch(r"[67][0-7]{2}", str(value)):
        return int(str(value), 8)
    raise _refuse(value, 'no file mode: write it in octal digits, such as "660"')


def _take_list(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, (list, tuple)) else (value,)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (str, int)):
            raise _refuse(value, 'no list of texts: write it as ["a", "b"] or "a, b"')
    return tuple(str(item) for item in items)


def _take_networks(value: Any) -> tuple[Network | str, ...]:
    if not isinstance(value, (list, tuple)):
        raise _refuse(value, 'no list of networks: write it as ["10.0.0.0/8", "192.0.2.1"]')
    return _networks(tuple(str(item) for item in value))


def _take_part(value: Any) -> float:
    return parse_part("true" if isinstance(value, bool) else str(value))


def _take_secret(value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    # What it is must not be shown, whatever it is.
    raise ValueError("a secret is a text: file:PATH, env:NAME, or the secret itself in quotes")


TEXT: Final = Kind("text", str, _only(str, "no text: put it in quotes"), str)
FILE: Final = Kind("file", str, _only(str, "no text: put it in quotes"), str)
FLAG: Final = Kind("switch", parse_flag, _only(bool, "neither true nor false"), bool)
INTEGER: Final = Kind("number", parse_integer, _number("no whole number from 0 on", whole=True), int)
DURATION: Final = Kind(
    "duration",
    parse_duration,
    _number('no duration: write it as "30s", "5m" or "250ms"', whole=False),
    format_duration,
)
SIZE: Final = Kind(
    "size", parse_size, _number('no size: write it as 65536, "64KiB" or "1MiB"', whole=True), format_size
)
RATE: Final = Kind(
    "rate", parse_rate, _number('no rate: write it as 240, "240B/s" or "1KiB/s"', whole=True), format_size
)
PART: Final = Kind("part", parse_part, _take_part, float)
MODE: Final = Kind("mode", parse_mode, _take_mode, lambda mode: f"{mode:o}")
LIST: Final = Kind("list", parse_list, _take_list, list)
NETWORKS: Final = Kind("networks", parse_networks, _take_networks, lambda found: [str(item) for item in found])
SECRET: Final = Kind("secret", Secret, _take_secret, str)


def choice(*choices: str) -> Kind:
    """The kind of settings that are one of these words."""
    known = f"choose {', '.join(choices[:-1])} or {choices[-1]}"

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not known: {known}")
        return text

    return Kind("choice", parse, _only(str, f"no text: {known}"), str, choices)
