"""Small values that handlers see: an attribute bag, the peer's address, the connection's TLS."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Address", "State", "TLSInfo"]


class State:
    """A bag of attributes: ``state.user = user``. Asking for one that was never set raises ``AttributeError``."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        if values:
            self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"nothing has set state.{name}")

    # Declared so that type checkers allow any attribute.
    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __repr__(self) -> str:
        return f"State({self.__dict__!r})"


class Address(NamedTuple):
    """The peer's address: ``host`` as text, ``port`` 0 where there are no ports (Unix sockets)."""

    host: str
    port: int


class TLSInfo(NamedTuple):
    """The connection's TLS: ``version`` as "TLSv1.3", and the peer's certificate as ``ssl`` decodes it."""

    version: str | None
    cipher: str | None
    alpn: str | None
    peer_certificate: Mapping[str, Any] | None

    @property
    def subject(self) -> dict[str, str]:
        """The subject of the peer's certificate, ``{"commonName": ...}``; empty when it showed none."""
        if not self.peer_certificate:
            return {}
        return {key: value for group in self.peer_certificate.get("subject", ()) for key, value in group}
