"""Certificates for tests of TLS, issued by authorities made on the spot."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass
class Files:
    """Where a certificate with its chain, its key and its authority are."""

    cert: str
    key: str
    ca: str

    def client(self, *, alpn: str = "http/1.1", shows: Files | None = None) -> ssl.SSLContext:
        """What a client uses that trusts the authority, and shows a certificate of its own."""
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols([alpn])
        if shows is not None:
            context.load_cert_chain(shows.cert, shows.key)
        return context


def issue(folder: Path, ca: trustme.CA, name: str, *names: str, common_name: str | None = None) -> Files:
    """A certificate for these names, as files of that name."""
    issued = ca.issue_cert(*names, common_name=common_name)
    return written(folder, ca, name, issued)


def written(folder: Path, ca: trustme.CA, name: str, issued: trustme.LeafCert) -> Files:
    found = Files(*(str(folder / f"{name}-{kind}.pem") for kind in ("cert", "key", "ca")))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(found.cert, append=number > 0)
    issued.private_key_pem.write_to_path(found.key)
    root = ca
    while root.parent_cert is not None:
        root = root.parent_cert
    root.cert_pem.write_to_path(found.ca)
    return found
