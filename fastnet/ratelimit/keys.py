"""Whose requests count together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastnet_ext.exchange.rate_limit import ClientKey, FunctionKey, HeaderKey, Key, SharedKey
from fastnet_ext.exchange.request import Call

__all__ = ["KeyLike", "api_key", "client_ip", "client_network", "everyone", "header", "key_of"]

# A key of ours, or a function of the request that returns one; None from it: the request is not limited.
KeyLike = Key | Callable[[Call], str | bytes | None]

# By the client's address: an IPv4 address, or an IPv6 network of 64 bits, since a client has all addresses of one. What
# X-Forwarded-For and its like say counts only where the listener trusts who wrote it (``trusted_proxies``).
client_ip: Final[Key] = ClientKey()

# All requests together.
everyone: Final[Key] = SharedKey()


def client_network(prefix: int) -> Key:
    """By the client's address as ``client_ip`` does it, IPv6 by its first ``prefix`` bits: 1 to 128."""
    return ClientKey(prefix)


def header(name: str) -> Key:
    """By the value of a header field; requests without it count by their client's address.

    Only for what was checked before, or costs something to have: whoever makes up values has a limit for each.
    """
    return HeaderKey(name, client_ip)


def api_key(name: str = "x-api-key") -> Key:
    """By the API key in a header field; requests without one count by their client's address."""
    return HeaderKey(name, client_ip)


def key_of(given: Any) -> Key:
    """The engine's form of a key. Raises ``TypeError`` for what is none."""
    if isinstance(given, Key):
        return given
    if not callable(given):
        raise TypeError(
            f"the key of a rate limit is client_ip, header(...), or a function of the request, not {given!r}"
        )
    function: Callable[[Any], Any] = given
    return FunctionKey(function)
