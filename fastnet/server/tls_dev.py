"""The certificate of ``--tls-dev``: self-signed, for this machine's names, kept in the user's cache folder."""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import ipaddress
import logging
import os
import socket
import ssl
from pathlib import Path
from typing import Final

from .config import ConfigError

__all__ = ["development_certificate"]

log = logging.getLogger("fastnet.server")

VALID: Final = datetime.timedelta(days=90)
# One that ends sooner is made anew, so that it lasts for the session that begins.
LEFT: Final = datetime.timedelta(days=1)


def development_certificate() -> tuple[Path, Path]:
    """The files of certificate and key, made when there are none or they expire. Raises :class:`ConfigError`."""
    if importlib.util.find_spec("cryptography") is None:
        raise ConfigError("tls_dev needs a package that is not installed: pip install 'fastnet-server[dev]'")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastnet" / "tls-dev"
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = _names()
    try:
        if not _usable(cert, key, names):
            _make(folder, cert, key, names)
    except OSError as error:
        raise ConfigError(
            f"tls_dev: no certificate can be kept in {folder} ({error.strerror}): set XDG_CACHE_HOME to a folder "
            "that can be written"
        ) from None
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest().upper()
    fingerprint = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
    log.warning("self-signed certificate for development, SHA-256 fingerprint %s", fingerprint)
    log.warning("to trust it: curl --cacert %s, SSL_CERT_FILE=%s, or import it into the browser", cert, cert)
    return cert, key


def _names() -> list[str]:
    host = socket.gethostname().lower()
    return ["localhost", *([host] if host.isascii() and host not in ("", "localhost") else [])]


def _usable(cert: Path, key: Path, names: list[str]) -> bool:
    """Whether the certificate that is there covers these names, is valid and has its key."""
    from cryptography import x509

    if not (cert.exists() and key.exists()):
        return False
    try:
        found = x509.load_pem_x509_certificate(cert.read_bytes())
        covered = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except (ValueError, x509.ExtensionNotFound, ssl.SSLError):
        return False
    end = found.not_valid_after_utc - LEFT
    return datetime.datetime.now(datetime.UTC) < end and covered.get_values_for_type(x509.DNSName) == names


def _make(folder: Path, cert: Path, key: Path, names: list[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fastnet development certificate")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(
            x509.SubjectAlternativeName([*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, pem)
    _write(cert, made.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, data: bytes) -> None:
    """Readable by the user alone from the beginning, and never half written."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    draft.replace(path)
