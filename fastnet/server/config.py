"""What a server can be told: one table for flags, environment variables and keyword arguments."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

__all__ = ["Config", "ConfigError", "parse_duration", "parse_size"]

ENVIRONMENT_PREFIX = "FASTNET_"

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


class ConfigError(Exception):
    """A setting that cannot be used; the message says which one, why, and what to write instead."""


def parse_duration(text: str) -> float:
    """Seconds of ``"30s"``, ``"5m"``, ``"250ms"`` or a plain number of seconds; ``ValueError`` otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write it as 30s, 5m or 250ms")
    return float(match[1]) * _DURATIONS[match[2] or "s"]


def parse_size(text: str) -> int:
    """Bytes of ``"64KiB"``, ``"1MiB"`` or a plain number of bytes; ``ValueError`` otherwise."""
    match = re.fullmatch(r"(\d+)(B|KiB|MiB|GiB)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size: write it as 65536, 64KiB or 1MiB")
    return int(match[1]) * _SIZES[match[2] or "B"]


def _setting(default: Any, parse: Any, help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help})


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to listen and how long to wait. Durations are in seconds, sizes in bytes."""

    host: str = _setting("127.0.0.1", str, "address to listen on")
    port: int = _setting(8000, int, "port to listen on; 0 takes a free one")
    backlog: int = _setting(2048, int, "connections that may wait to be accepted")
    loop: str = _setting("auto", str, "event loop: uvloop, asyncio, or auto (uvloop where it is installed)")
    tls_cert: str | None = _setting(None, str, "certificate chain in PEM; with --tls-key")
    tls_key: str | None = _setting(None, str, "private key in PEM; with --tls-cert")

    limit_request_line: int = _setting(8 * 1024, parse_size, "longest request line; above it 414")
    limit_head: int = _setting(64 * 1024, parse_size, "largest request head; above it 431")
    limit_fields: int = _setting(128, int, "most header fields of a request; above it 431")

    timeout_idle: float = _setting(75.0, parse_duration, "silence between two requests of a connection")
    timeout_head: float = _setting(10.0, parse_duration, "time a request head may take to arrive; then 408")
    timeout_body: float = _setting(30.0, parse_duration, "silence in the middle of a request body; then 408")
    timeout_write: float = _setting(30.0, parse_duration, "time a peer may refuse to take output")
    timeout_drain: float = _setting(30.0, parse_duration, "time running requests get when the server stops")

    @classmethod
    def load(cls, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Config:
        """Settings given in code or as flags, then ``FASTNET_*`` variables, then the defaults.

        Text is parsed as on the command line. Raises :class:`ConfigError`.
        """
        environment = os.environ if environment is None else environment
        known = {item.name: item for item in fields(cls)}
        for name in settings:
            if name not in known:
                raise ConfigError(f"there is no setting {name!r}{_nearest(name, known)}")
        values: dict[str, Any] = {}
        for name, item in known.items():
            if settings.get(name) is not None:
                values[name] = _parsed(item, settings[name], name)
            elif variable := environment.get(ENVIRONMENT_PREFIX + name.upper()):
                values[name] = _parsed(item, variable, ENVIRONMENT_PREFIX + name.upper())
        config = cls(**values)
        config._check()
        return config

    def _check(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} does not exist: it must lie between 0 and 65535")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("tls_cert and tls_key belong together: give both or none")
        if self.loop not in ("auto", "uvloop", "asyncio"):
            raise ConfigError(f"loop {self.loop!r} is not known: choose uvloop, asyncio or auto")


def _parsed(item: Any, value: Any, source: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return item.metadata["parse"](value)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
