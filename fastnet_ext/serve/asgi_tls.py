"""ASGI's TLS extension: what a scope says of the connection's TLS."""

import ssl
from functools import cache
from typing import Any, Final

from fastnet_ext.exchange.values import TLSInfo

__all__ = ["tls_extension"]

# As the record layer numbers them.
_VERSIONS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def tls_extension(tls: TLSInfo) -> dict[str, Any]:
    """``scope["extensions"]["tls"]``. A certificate that is here was checked, so there is never an error to tell."""
    return {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(one) for one in tls.peer_chain],
        "client_cert_name": tls.subject or None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(tls.version or ""),
        "cipher_suite": _suites().get(tls.cipher or ""),
    }


@cache
def _suites() -> dict[str, int]:
    """The numbers that IANA gave the cipher suites, by OpenSSL's names."""
    context = ssl.create_default_context()
    return {cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()}
