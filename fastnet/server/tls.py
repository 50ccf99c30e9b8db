"""TLS of a listener: contexts from its settings, certificates by name, and their reload.

Every mistake in a certificate, key or password is a :class:`ConfigError` of one line that names the file and what to
do about it; :func:`make_contexts` finds them before anything is served.
"""

from __future__ import annotations

import _ssl
import logging
import os
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from fastnet_ext.net.tls import TlsSource

from .config import ConfigError, ListenerSettings
from .tls_dev import development_certificate
from .values import Secret

__all__ = ["TlsContexts", "make_contexts"]

log = logging.getLogger("fastnet.server")

# Mozilla's intermediate profile without DHE: forward secrecy and authenticated encryption only.
CIPHERS: Final = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

# A certificate that ends within this time is warned of, in seconds.
SOON: Final = 14 * 86400


class Pair(NamedTuple):
    """A certificate and its key, as they are given, and the setting that gives them."""

    cert: str
    key: str
    setting: str


class ServerConnection(ssl.SSLObject):
    """A connection that knows which host its peer asked for."""

    server_name: str | None = None


class TlsContexts(TlsSource):
    """The TLS of one listener: the context that new connections get, and its renewal."""

    context: ssl.SSLContext

    def __init__(self, settings: ListenerSettings) -> None:
        self.settings = settings
        super().__init__(_load(settings), _offered(settings))

    def reload(self) -> bool:
        """Read certificates and keys again, for new connections; whether they could be used.

        When they cannot, the old ones stay and one line is logged. Sessions begun before are not resumed after it.
        """
        try:
            self.context = _load(self.settings)
        except ConfigError as error:
            log.error("certificates were not reloaded, the old ones stay: %s", error)
            return False
        log.info("certificates were reloaded")
        return True


def make_contexts(settings: ListenerSettings) -> TlsContexts | None:
    """What a listener's connections are encrypted with; None when it is not. Raises :class:`ConfigError`.

    Worker processes that are forked afterwards share its ticket keys: a session begun with one resumes with another.
    """
    if settings.tls_cert is None and not settings.tls_dev:
        for setting in ("tls_extra_certs", "tls_client_ca"):
            if getattr(settings, setting):
                raise ConfigError(f"{setting} has no effect without tls_cert and tls_key: give both")
        return None
    return TlsContexts(settings)


def _load(settings: ListenerSettings) -> ssl.SSLContext:
    """The context of the first certificate, which hands a connection over to that of the name it asks for."""
    pairs = _pairs(settings)
    contexts = [_context(pair, settings) for pair in pairs]
    first = contexts[0]
    by_name: dict[str, ssl.SSLContext] = {}
    for pair, context in zip(pairs, contexts, strict=True):
        names = _names(pair)
        if not names and len(pairs) > 1:
            raise ConfigError(
                f"{pair.setting}: the certificate {pair.cert} names no host, so that SNI cannot choose it"
            )
        for name in names:
            by_name.setdefault(name, context)

    def choose(connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower().rstrip(".")
        connection.server_name = name
        wildcard = "*." + name.partition(".")[2]
        context = by_name.get(name) or by_name.get(wildcard, first)
        if context is not first:
            connection.context = context

    first.sni_callback = choose
    return first


def _pairs(settings: ListenerSettings) -> list[Pair]:
    """The listener's certificates, the one for unknown names first."""
    pairs: list[Pair] = []
    if settings.tls_dev:
        cert, key = development_certificate()
        pairs.append(Pair(str(cert), str(key), "tls_dev"))
    if settings.tls_cert is not None and settings.tls_key is not None:
        pairs.append(Pair(settings.tls_cert, settings.tls_key, "tls_cert"))
    for text in settings.tls_extra_certs:
        cert_path, colon, key_path = text.partition(":")
        if not (cert_path and colon and key_path):
            raise ConfigError(f"tls_extra_certs: {text!r} has to be a certificate and its key, as CERT.pem:KEY.pem")
        pairs.append(Pair(cert_path, key_path, "tls_extra_certs"))
    return pairs


def _context(pair: Pair, settings: ListenerSettings) -> ssl.SSLContext:
    try:
        # Writes the keys of connections to the file that SSLKEYLOGFILE names, for Wireshark.
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    except OSError as error:
        path = os.environ.get("SSLKEYLOGFILE")
        raise ConfigError(
            f"SSLKEYLOGFILE: {path} cannot be written ({error.strerror}): unset it or correct it"
        ) from None
    context.sslobject_class = ServerConnection
    context.minimum_version = VERSIONS[settings.tls_min_version]
    # With these ciphers the client's preference is the better one: it knows whether it has AES in hardware.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # One session ticket for each hand-shake, as Go's servers give: OpenSSL's two cost each hand-shake for the few
    # clients that open several connections at once with them.
    context.num_tickets = 1
    context.set_alpn_protocols(_offered(settings))
    try:
        context.set_ciphers(settings.tls_ciphers or CIPHERS)
    except ssl.SSLError:
        raise ConfigError(
            f"tls_ciphers: OpenSSL knows no cipher of {settings.tls_ciphers!r}; `openssl ciphers -s -tls1_2` lists them"
        ) from None
    _load_pair(context, pair, settings.tls_key_password)
    if settings.tls_client_verify != "none" and settings.tls_client_ca is not None:
        _load_authorities(context, settings.tls_client_ca)
        context.verify_mode = VERIFY[settings.tls_client_verify]
    return context


def _offered(settings: ListenerSettings) -> list[str]:
    """ALPN's names of what is spoken: who speaks HTTP/1.1 speaks HTTP/1.0 as well, and some clients offer only that."""
    older = ["http/1.0"] if "http/1.1" in settings.protocols else []
    return [*settings.protocols, *older]


def _load_pair(context: ssl.SSLContext, pair: Pair, password: Secret | None) -> None:
    key_setting = pair.setting.replace("tls_cert", "tls_key")
    cert = _read(pair.cert, pair.setting, "certificate")
    key = _read(pair.key, key_setting, "key")
    if b"-----BEGIN CERTIFICATE-----" not in cert:
        hint = (
            "it holds a key: are certificate and key exchanged?"
            if b"PRIVATE KEY-----" in cert
            else _no_pem(cert, "x509")
        )
        raise ConfigError(f"{pair.setting}: {pair.cert} holds no certificate in PEM; {hint}")
    if b"PRIVATE KEY-----" not in key:
        hint = (
            "it holds a certificate: is it the right file?"
            if b"-----BEGIN CERTIFICATE-----" in key
            else _no_pem(key, "pkey")
        )
        raise ConfigError(f"{key_setting}: {pair.key} holds no private key in PEM; {hint}")
    encrypted = b"-----BEGIN ENCRYPTED" in key or b"4,ENCRYPTED" in key
    if encrypted and password is None:
        raise ConfigError(
            f"{key_setting}: the key in {pair.key} is encrypted: give its password as tls_key_password, "
            "as file:PATH or env:NAME"
        )
    try:
        # Without a password here OpenSSL would ask for one on the terminal.
        context.load_cert_chain(pair.cert, pair.key, password.reveal() if encrypted and password else "")
    except ValueError as error:
        raise ConfigError(f"tls_key_password: {error}") from None
    except ssl.SSLError as error:
        raise ConfigError(_pair_failure(pair, key_setting, encrypted, error)) from None


def _pair_failure(pair: Pair, key_setting: str, encrypted: bool, error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"{key_setting}: the key in {pair.key} does not belong to the certificate in {pair.cert}: give its own"
    if reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
        return (
            f"{pair.setting}: the certificate in {pair.cert} is too weak ({_words(reason)}): "
            "issue one with ECDSA P-256, or with RSA of 2048 bits or more"
        )
    if encrypted:
        return f"tls_key_password: the key in {pair.key} cannot be decrypted with this password: correct it"
    return f"{pair.setting}: {pair.cert} with the key {pair.key} cannot be used ({_words(reason)}): is one damaged?"


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    data = _read(path, "tls_client_ca", "certificate")
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise ConfigError(f"tls_client_ca: {path} holds no certificate in PEM; {_no_pem(data, 'x509')}")
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise ConfigError(
            f"tls_client_ca: the certificates in {path} cannot be read ({_words(error.reason)}): is the file damaged?"
        ) from None


def _read(path: str, setting: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{setting}: there is no file {path}: give the path of the {what} in PEM") from None
    except PermissionError:
        raise ConfigError(
            f"{setting}: {path} cannot be read by this user ({_user()}): change its owner or its permissions"
        ) from None
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}") from None


def _user() -> str:
    return f"uid {os.geteuid()}"


def _no_pem(data: bytes, command: str) -> str:
    if data[:1] == b"\x30":
        return f"it looks like DER: convert it with `openssl {command} -inform DER`"
    return "a PEM file has lines such as -----BEGIN CERTIFICATE-----"


def _words(reason: str | None) -> str:
    """OpenSSL's name of an error as words."""
    return (reason or "unknown reason").replace("_", " ").lower()


def _names(pair: Pair) -> list[str]:
    """The hosts of a certificate, wildcards too. Warns when it is out of date, or soon will be."""
    try:
        # Decodes the file's first certificate; the public functions decode a peer's only.
        certificate: Any = getattr(_ssl, "_test_decode_cert")(pair.cert)  # noqa: B009
    except (OSError, ValueError) as error:
        raise ConfigError(f"{pair.setting}: the certificate in {pair.cert} cannot be decoded: {error}") from None
    _check_dates(pair, certificate)
    names = [value.lower().rstrip(".") for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    if names:
        return names
    subject: Sequence[Any] = certificate.get("subject", ())
    return [value.lower() for group in subject for key, value in group if key == "commonName"]


def _check_dates(pair: Pair, certificate: Any) -> None:
    now = time.time()
    end = certificate["notAfter"]
    if now >= ssl.cert_time_to_seconds(end):
        log.warning(
            "%s: the certificate %s has expired on %s: clients will refuse it; renew it", pair.setting, pair.cert, end
        )
    elif now < ssl.cert_time_to_seconds(certificate["notBefore"]):
        begin = certificate["notBefore"]
        log.warning(
            "%s: the certificate %s is not valid before %s: is the clock right?", pair.setting, pair.cert, begin
        )
    elif now + SOON >= ssl.cert_time_to_seconds(end):
        log.warning("%s: the certificate %s expires on %s: renew it", pair.setting, pair.cert, end)
