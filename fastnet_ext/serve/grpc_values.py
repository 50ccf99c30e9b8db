"""Small values that gRPC handlers see: metadata, the peer, and what TLS says of it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastnet_ext.exchange.values import Address

__all__ = ["EXTRA", "Metadatum", "Peer", "auth_context", "identity_key", "peer_of"]

# What an error says when grpcio is not there.
EXTRA = "gRPC needs grpcio and protobuf: pip install fastnet-server[grpc]"

COMMON_NAME = "x509_common_name"
ALTERNATIVE_NAME = "x509_subject_alternative_name"


class Metadatum(NamedTuple):
    """One entry of a call's metadata: ``value`` is bytes when ``key`` ends in "-bin"."""

    key: str
    value: str | bytes


class Peer(Address):
    """The peer's address, as other protocols have it; called, it gives gRPC's text: "ipv4:192.0.2.1:5000".

    Host and port are empty on Unix sockets.
    """

    text: str

    def __new__(cls, host: str, port: int, text: str) -> "Peer":
        self = super().__new__(cls, host, port)
        self.text = text
        return self

    def __call__(self) -> str:
        return self.text


def peer_of(peername: Any, sockname: Any) -> Peer:
    """The peer by what ``get_extra_info`` says of both ends."""
    if isinstance(peername, (tuple, list)) and len(peername) >= 2:
        host, port = peername[0], peername[1]
        return Peer(host, port, f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}")
    path = peername or sockname
    if isinstance(path, (bytes, bytearray)):
        path = bytes(path).decode("utf-8", "replace")
    return Peer("", 0, f"unix:{path}" if isinstance(path, str) else "unknown")


def auth_context(secure: bool, certificate: Mapping[str, Any] | None) -> dict[str, list[bytes]]:
    """What TLS says of the peer, under grpcio's names; empty on a plain connection.

    ``certificate`` is the peer's, as ``ssl`` decodes it.
    """
    if not secure:
        return {}
    found: dict[str, list[bytes]] = {"transport_security_type": [b"ssl"]}
    if certificate:
        subject = [value for group in certificate.get("subject", ()) for key, value in group if key == "commonName"]
        if subject:
            found[COMMON_NAME] = [value.encode() for value in subject]
        names = [str(value).encode() for _, value in certificate.get("subjectAltName", ())]
        if names:
            found[ALTERNATIVE_NAME] = names
    return found


def identity_key(context: Mapping[str, list[bytes]]) -> str | None:
    """Which entry of an ``auth_context`` names the peer; None when none does."""
    return next((name for name in (ALTERNATIVE_NAME, COMMON_NAME) if name in context), None)
