"""Where a listener listens, as it is written in settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Address", "parse_address"]


@dataclass(frozen=True)
class Address:
    """``host`` is a Unix socket's path or a systemd name too; ``port`` a descriptor's number too."""

    kind: Literal["tcp", "unix", "fd", "systemd"]
    host: str = ""
    port: int = 0


def parse_address(text: str) -> Address:
    """The address that ``127.0.0.1:8000``, ``unix:PATH``, ``fd:3`` or ``systemd:NAME`` stands for.

    Raises ``ValueError``, which says how to write it.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return Address("unix", _unix_path(rest))
    if kind == "fd":
        if not rest.isdecimal():
            raise ValueError(f"{text!r} names no descriptor: write it as fd:3")
        return Address("fd", port=int(rest))
    if kind == "systemd":
        return Address("systemd", rest)
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"{text!r} is no address: write it as 127.0.0.1:8000, [::1]:8000 or unix:/run/app.sock")
    if int(port) > 65535:
        raise ValueError(f"{text!r}: port {port} does not exist, it must lie between 0 and 65535")
    if host.startswith("[") and host.endswith("]"):
        return Address("tcp", host[1:-1], int(port))
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, as in [{host}]:{port}")
    return Address("tcp", host, int(port))


def _unix_path(path: str) -> str:
    if path in ("", "@"):
        raise ValueError("unix: needs a path: write it as unix:/run/app.sock or unix:@name")
    # sun_path holds 108 bytes on Linux and 104 elsewhere, with a zero at its end.
    if len(path.encode()) > 103:
        raise ValueError(f"the path of a Unix socket has at most 103 bytes; {path!r} has {len(path.encode())}")
    return path
