"""Small values that handlers see: an attribute bag, the peer's address, the connection's TLS."""

import re
import ssl
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

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


# _ssl.ENCODING_DER, which has no public name.
DER: Final = 2

# The names that RFC 4514 gives to the parts of a subject; others keep the one that `ssl` has for them.
SHORT_NAMES: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


class TLSInfo:
    """The connection's TLS and the peer's certificate, each read from the connection when it is first asked for.

    A certificate that is here was checked against ``tls_client_ca``; none is when the peer showed none.
    """

    def __init__(self, source: ssl.SSLObject | ssl.SSLSocket) -> None:
        self._source = source

    @cached_property
    def version(self) -> str | None:
        """The version: "TLSv1.3"."""
        return self._source.version()

    @cached_property
    def cipher(self) -> str | None:
        """The cipher by OpenSSL's name: "TLS_AES_256_GCM_SHA384"."""
        cipher = self._source.cipher()
        return cipher[0] if cipher else None

    @cached_property
    def alpn(self) -> str | None:
        """The protocol agreed on: "h2" or "http/1.1"; None when the peer offered none that is spoken here."""
        return self._source.selected_alpn_protocol()

    @cached_property
    def server_name(self) -> str | None:
        """The host that the peer asked for (SNI); None when it did not say."""
        return getattr(self._source, "server_name", None)

    @cached_property
    def resumed(self) -> bool:
        """Whether an earlier session was taken up: by a ticket, without certificates being shown again."""
        return bool(self._source.session_reused)

    @cached_property
    def peer_certificate(self) -> Mapping[str, Any] | None:
        """The peer's certificate as ``ssl.SSLSocket.getpeercert()`` decodes it."""
        return self._source.getpeercert() or None

    @cached_property
    def peer_certificate_der(self) -> bytes | None:
        """The peer's certificate in DER."""
        return self._source.getpeercert(True)

    @cached_property
    def peer_chain(self) -> list[bytes]:
        """The chain that the peer was checked by, each in DER, its own first; empty when it showed none."""
        if self.peer_certificate_der is None:
            return []
        # Public since Python 3.13, where it gives DER; below it, objects of OpenSSL's.
        source: Any = self._source
        if hasattr(source, "get_verified_chain"):
            return list(source.get_verified_chain())
        return [one.public_bytes(DER) for one in source._sslobj.get_verified_chain() or ()]

    @cached_property
    def subject(self) -> str:
        """The subject of the peer's certificate as RFC 4514 writes it: "CN=alice,O=Example"; empty without one."""
        certificate = self.peer_certificate or {}
        groups = reversed(certificate.get("subject", ()))
        return ",".join(
            "+".join(f"{SHORT_NAMES.get(name, name)}={_escaped(value)}" for name, value in group) for group in groups
        )

    @cached_property
    def subject_alternative_names(self) -> tuple[tuple[str, str], ...]:
        """The further names of the peer's certificate: ``(("DNS", "a.example"), ("URI", "spiffe://b"))``."""
        return tuple((self.peer_certificate or {}).get("subjectAltName", ()))

    def __repr__(self) -> str:
        return f"TLSInfo({self.version}, {self.cipher}, alpn={self.alpn!r}, subject={self.subject!r})"


def _escaped(value: str) -> str:
    """A value of a distinguished name (RFC 4514, 2.4)."""
    text = re.sub(r'([,+"\\<>;])', r"\\\1", value).replace("\0", "\\00")
    if text.startswith((" ", "#")):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and text != "\\ " else text
