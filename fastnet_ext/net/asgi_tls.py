"""The connection's TLS as an ASGI server tells it: the extension ``tls``."""

import ssl
from collections.abc import Mapping
from typing import Any, Final

from fastnet_ext.exchange.values import TLSInfo

__all__ = ["tls_of_scope"]

VERSIONS: Final = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}


class ScopeTLS:
    """Answers like an ``ssl.SSLObject`` what the extension tells; what it does not tell is None."""

    session_reused = False

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._told = told
        chain = told.get("client_cert_chain") or ()
        self.chain = [ssl.PEM_cert_to_DER_cert(one) for one in chain]

    def version(self) -> str | None:
        """By the number of the wire."""
        return VERSIONS.get(self._told.get("tls_version") or 0)

    def cipher(self) -> tuple[str, str, int] | None:
        """By the number of the wire, as far as OpenSSL's defaults know it."""
        number = self._told.get("cipher_suite")
        if number is None:
            return None
        for one in ssl.create_default_context().get_ciphers():
            if one["id"] & 0xFFFF == number:
                return one["name"], one["protocol"], one["strength_bits"]
        return None

    def selected_alpn_protocol(self) -> str | None:
        """Not told."""
        return None

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The certificate in DER; the extension tells no decoded one."""
        return self.chain[0] if binary_form and self.chain else None

    def get_verified_chain(self) -> list[bytes]:
        """In DER, the peer's own first."""
        return self.chain


class ScopeTLSInfo(TLSInfo):
    """The subject is what the server says; of the alternative names it says nothing."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        source: Any = ScopeTLS(told)
        super().__init__(source)
        # Where a cached property keeps its value.
        vars(self)["subject"] = told.get("client_cert_name") or ""


def tls_of_scope(scope: Mapping[str, Any]) -> TLSInfo | None:
    """The ``TLSInfo`` of a scope; None when its server does not tell."""
    told = (scope.get("extensions") or {}).get("tls")
    return ScopeTLSInfo(told) if isinstance(told, Mapping) else None
