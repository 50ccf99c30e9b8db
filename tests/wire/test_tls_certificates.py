"""Certificates of the server: several by name, renewal, development, and what cannot be used."""

from __future__ import annotations

import datetime
import logging
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from fastnet import App
from fastnet.server import Config, ConfigError
from fastnet.server import tls_dev as development
from fastnet.server.tls import make_contexts
from fastnet.server.values import Secret
from tests.loops import run
from tests.wire.live import Live, live
from tests.wire.tls import Files, describing_app, issue, tls_of, written
from tests.wire.tools import needs


def test_the_name_chooses_the_certificate(folder: Path, ca: trustme.CA) -> None:
    first = issue(folder, ca, "first", "localhost")
    second = issue(folder, ca, "second", "b.example", "c.example")
    third = issue(folder, ca, "third", "*.d.example")
    pairs = tuple(f"{one.cert}:{one.key}" for one in (second, third))
    with live(describing_app(), tls_cert=first.cert, tls_key=first.key, tls_extra_certs=pairs) as server:
        context = first.client()
        for name in ("localhost", "b.example", "C.EXAMPLE", "x.d.example"):
            with tls_of(server, context, name) as one:
                assert one.selected_alpn_protocol() == "http/1.1"
                one.sendall(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
                assert f'"name":"{name.lower()}"'.encode() in one.recv(65536)
        # Names that nobody has, and none at all, get the first; a wildcard covers one label.
        context.check_hostname = False
        for unknown in ("unknown.example", "d.example", "y.x.d.example", None):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            with context.wrap_socket(sock, server_hostname=unknown) as one:
                names = dict(one.getpeercert() or {})["subjectAltName"]
                assert names == (("DNS", "localhost"),)


# --- renewal


def test_certificates_are_renewed(tmp_path: Path, ca: trustme.CA, caplog: pytest.LogCaptureFixture) -> None:
    files = issue(tmp_path, ca, "server", "localhost")

    def shown(server: Live) -> bytes:
        with tls_of(server, files.client()) as one:
            der = one.getpeercert(True)
            assert der is not None
            return der

    with (
        live(describing_app(), tls_cert=files.cert, tls_key=files.key) as server,
        server.peer(context=files.client()) as old,
    ):
        assert old.get("/").answer().status == 200
        before = shown(server)
        issue(tmp_path, ca, "server", "localhost")
        assert shown(server) == before
        assert server.call(server.server.reload_certificates)
        after = shown(server)
        assert after != before
        # Those that are open go on.
        assert old.get("/").answer().status == 200
        # What cannot be used leaves things as they are.
        Path(files.cert).write_text("nothing")
        with caplog.at_level(logging.ERROR, "fastnet.server"):
            assert not server.call(server.server.reload_certificates)
        assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
            f"certificates were not reloaded, the old ones stay: tls_cert: {files.cert} holds no certificate in PEM; "
            "a PEM file has lines such as -----BEGIN CERTIFICATE-----"
        ]
        assert shown(server) == after


# --- what cannot be used: one line, with the file and what to do


def refused(**settings: Any) -> str:
    """What is said of these settings, in one line."""
    with pytest.raises(ConfigError) as caught:
        make_contexts(Config(**settings))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_certificate_that_cannot_be_used_is_told(files: Files) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="are certificate and key exchanged"):
            async with App().serve(port=0, tls_cert=files.key, tls_key=files.cert):
                pass

    run(main())


def test_no_tls() -> None:
    assert make_contexts(Config()) is None
    assert refused(tls_extra_certs=("a:b",)).startswith("tls_extra_certs has no effect without tls_cert")


def test_files_that_are_missing(files: Files, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    assert refused(tls_cert=missing, tls_key=files.key) == (
        f"tls_cert: there is no file {missing}: give the path of the certificate in PEM"
    )
    assert refused(tls_cert=files.cert, tls_key=missing).startswith(f"tls_key: there is no file {missing}: ")
    assert refused(tls_cert=files.cert, tls_key=files.key, tls_extra_certs=(f"{missing}:{files.key}",)).startswith(
        f"tls_extra_certs: there is no file {missing}: "
    )
    assert refused(
        tls_cert=files.cert, tls_key=files.key, tls_client_ca=missing, tls_client_verify="required"
    ).startswith(f"tls_client_ca: there is no file {missing}: ")
    assert refused(tls_cert=str(tmp_path), tls_key=files.key) == f"tls_cert: {tmp_path} cannot be read: Is a directory"


def test_a_file_that_may_not_be_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, who may read everything.
    def read_bytes(path: Path) -> bytes:
        if str(path) == files.key:
            raise PermissionError(13, "Permission denied")
        with path.open("rb") as file:
            return file.read()

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert refused(tls_cert=files.cert, tls_key=files.key) == (
        f"tls_key: {files.key} cannot be read by this user (uid {os.geteuid()}): change its owner or its permissions"
    )


def test_files_of_another_kind(files: Files, tmp_path: Path) -> None:
    assert "are certificate and key exchanged?" in refused(tls_cert=files.key, tls_key=files.cert)
    assert "it holds a certificate" in refused(tls_cert=files.cert, tls_key=files.cert)
    text, der = tmp_path / "text", tmp_path / "der"
    text.write_text("hello")
    der.write_bytes(ssl.PEM_cert_to_DER_cert(Path(files.ca).read_text()))
    assert "-----BEGIN CERTIFICATE-----" in refused(tls_cert=str(text), tls_key=files.key)
    assert "openssl x509 -inform DER" in refused(tls_cert=str(der), tls_key=files.key)
    assert "openssl pkey -inform DER" in refused(tls_cert=files.cert, tls_key=str(der))
    verified = {"tls_cert": files.cert, "tls_key": files.key, "tls_client_verify": "required"}
    assert "tls_client_ca" in refused(**verified, tls_client_ca=str(text))
    assert "openssl x509 -inform DER" in refused(**verified, tls_client_ca=str(der))
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert "damaged?" in refused(tls_cert=str(damaged), tls_key=files.key)
    assert "damaged?" in refused(**verified, tls_client_ca=str(damaged))
    assert "CERT.pem:KEY.pem" in refused(tls_cert=files.cert, tls_key=files.key, tls_extra_certs=("a",))


def test_a_key_of_another_certificate(files: Files, stranger: Files) -> None:
    assert refused(tls_cert=files.cert, tls_key=stranger.key) == (
        f"tls_key: the key in {stranger.key} does not belong to the certificate in {files.cert}: give its own"
    )


@needs("openssl")
@pytest.mark.parametrize("form", [[], ["-traditional"]])
def test_an_encrypted_key(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    key = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", files.key, "-aes256", "-passout", "pass:right", "-out", str(key), *form], check=True
    )
    given: dict[str, Any] = {"tls_cert": files.cert, "tls_key": str(key)}
    assert "is encrypted: give its password as tls_key_password" in refused(**given)
    assert "cannot be decrypted with this password" in refused(**given, tls_key_password=Secret("wrong"))
    assert "environment variable NO_SUCH" in refused(**given, tls_key_password=Secret("env:NO_SUCH"))
    monkeypatch.setenv("KEY_PASSWORD", "right")
    assert make_contexts(Config(**given, tls_key_password=Secret("env:KEY_PASSWORD"))) is not None


def test_a_certificate_that_has_expired_is_served_with_a_warning(
    ca: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for days, words in ((-1, "has expired on"), (3, "expires on"), (90, None)):
        caplog.clear()
        made = written(tmp_path, ca, "dated", ca.issue_cert("localhost", not_after=now + datetime.timedelta(days=days)))
        with caplog.at_level(logging.WARNING, "fastnet.server"):
            assert make_contexts(Config(tls_cert=made.cert, tls_key=made.key)) is not None
        messages = [record.message for record in caplog.records]
        if words is None:
            assert messages == []
        else:
            assert len(messages) == 1
            assert messages[0].startswith(f"tls_cert: the certificate {made.cert} {words}")


def test_ciphers_and_versions(files: Files) -> None:
    assert "openssl ciphers" in refused(tls_cert=files.cert, tls_key=files.key, tls_ciphers="none-such")
    contexts = make_contexts(Config(tls_cert=files.cert, tls_key=files.key))
    assert contexts is not None
    context = contexts.context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    # TLS 1.3 knows no others anyway.
    older = [one["name"] for one in context.get_ciphers() if one["protocol"] != "TLSv1.3"]
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "POLY1305" in name) for name in older)
    narrow: list[dict[str, Any]] = [{"tls_min_version": "1.3"}, {"tls_ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}]
    for settings in narrow:
        with live(describing_app(), tls_cert=files.cert, tls_key=files.key, **settings) as server:
            old = files.client()
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            if "tls_min_version" in settings:
                with pytest.raises(ssl.SSLError):
                    server.peer(context=old)
            else:
                with tls_of(server, old) as one:
                    assert (one.cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_keys_are_logged_for_debuggers(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    with live(describing_app(), tls_cert=files.cert, tls_key=files.key) as server:
        monkeypatch.delenv("SSLKEYLOGFILE")
        with server.peer(context=files.client()) as one:
            assert one.get("/").answer().status == 200
    assert "SERVER_TRAFFIC_SECRET_0" in log.read_text()
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys.log"))
    assert "SSLKEYLOGFILE" in refused(tls_cert=files.cert, tls_key=files.key)


# --- the certificate for development


def test_a_certificate_for_development(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "fastnet" / "tls-dev"
    cert = folder / "cert.pem"
    with caplog.at_level(logging.WARNING, "fastnet.server"), live(describing_app(), tls_dev=True) as server:
        assert server.server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(cert))
        for name in ("localhost", "127.0.0.1", "::1", socket.gethostname().lower()):
            with tls_of(server, context, name) as one:
                assert one.version() == "TLSv1.3"
    assert any("SHA-256 fingerprint" in record.message for record in caplog.records)
    assert any("curl --cacert" in record.message for record in caplog.records)
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "cert.pem": 0o600,
        "key.pem": 0o600,
    }
    assert folder.stat().st_mode & 0o777 == 0o700
    # Kept as long as it lasts, and made anew when it does not, or is no pair any more.
    first = cert.read_bytes()
    development.development_certificate()
    assert cert.read_bytes() == first
    monkeypatch.setattr(development, "LEFT", datetime.timedelta(days=91))
    development.development_certificate()
    second = cert.read_bytes()
    assert second != first
    monkeypatch.setattr(development, "LEFT", datetime.timedelta(days=1))
    (folder / "key.pem").write_text("nothing")
    development.development_certificate()
    assert cert.read_bytes() != second


def test_development_without_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert "set XDG_CACHE_HOME" in refused(tls_dev=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused(tls_dev=True).endswith("pip install 'fastnet-server[dev]'")


# --- the command line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--tls-cert", "none.pem", "--tls-key", "none.pem"], "tls_cert: there is no file none.pem"),
        (["--tls-cert", "none.pem"], "tls_cert and tls_key belong together"),
        (["--tls-cert", "service.py", "--tls-key", "service.py"], "tls_cert: service.py holds no certificate in PEM"),
        (["--tls-cert", ".", "--tls-key", "."], "tls_cert: . cannot be read: Is a directory"),
        (["--tls-crt", "none.pem"], "there is no flag --tls-crt; did you mean --tls-cert?"),
        (["--tls-min-version", "1.1"], "choose 1.2 or 1.3"),
    ],
)
def test_the_command_line_says_one_line(tmp_path: Path, settings: list[str], words: str) -> None:
    (tmp_path / "service.py").write_text("from fastnet import App\napp = App()\n")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "fastnet", "run", "service:app", "--port", "0", *settings],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode in (2, 3)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
