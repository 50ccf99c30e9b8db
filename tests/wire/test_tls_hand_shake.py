"""HTTPS: the hand-shake, whole and in pieces, late and never; ALPN chooses the protocol."""

from __future__ import annotations

import contextlib
import logging
import shutil
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from fastnet import App
from tests.wire.bounds import KIB, beside, lines
from tests.wire.live import Live, live, until
from tests.wire.tls import Files, Records, Seen, issue, peer, served
from tests.wire.tools import curl, needs


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def server(files: Files, seen: Seen) -> Iterator[Live]:
    with served(files, seen) as running:
        yield running


def url(server: Live, target: str) -> str:
    assert server.server.url == f"https://127.0.0.1:{server.port}"
    return server.server.url + target


@needs("curl")
@pytest.mark.parametrize(
    ("option", "version"), [("--http1.1", "1.1"), ("--http2", "2"), ("--no-alpn", "1.1"), ("--http1.0", "1.0")]
)
def test_alpn_chooses_the_protocol(server: Live, files: Files, option: str, version: str) -> None:
    answer = curl(url(server, "/"), option, "--cacert", files.ca)
    assert answer.status == 200
    assert answer.body.decode() == f'{{"version":"{version}","scheme":"https","tls":true}}'


def test_a_peer_that_is_no_tls_disturbs_nobody(server: Live, files: Files) -> None:
    with server.peer() as plain, peer(server, files) as one:
        answer = plain.get("/").answer()
        assert (answer.status, answer["connection"]) == (400, "close")
        assert b"https" in answer.body
        assert plain.closed()
        assert one.get("/").answer().status == 200


def test_old_versions_of_tls_are_refused(server: Live, files: Files) -> None:
    context = ssl.create_default_context(cafile=files.ca)
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        server.peer(context=context)


def test_a_hand_shake_byte_by_byte(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        one.shake_hands(step=1).write(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").flush(step=1)
        assert one.read().startswith(b"HTTP/1.1 200")


def test_a_request_that_comes_with_the_end_of_the_hand_shake(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        with pytest.raises(ssl.SSLWantReadError):
            one.tls.do_handshake()
        one.flush()
        while one.tls.version() is None or one.outgoing.pending == 0:
            one.incoming.write(one.peer.sock.recv(1 << 16))
            try:
                one.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        one.write(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").flush()
        assert one.read().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x80\x2e\x01\x00\x02", b"\r\n"]
)
def test_garbage_instead_of_a_hand_shake(server: Live, files: Files, garbage: bytes) -> None:
    failed = server.counters["tls_failed"]
    with server.peer() as one:
        one.send(garbage)
        if len(garbage) <= 5:
            one.half_close()
        # At most an alert (record type 21): nothing that reads as an answer.
        assert one.rest()[:1] in (b"", b"\x15")
    if len(garbage) > 5:
        until(lambda: server.counters["tls_failed"] == failed + 1)
    assert server.counters["internal"] == 0


@pytest.mark.parametrize("first", [b"G", b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_clear_text_is_told_to_use_https(server: Live, first: bytes) -> None:
    with server.peer() as one:
        answer = one.send(first).answer()
        assert (answer.status, answer["content-type"]) == (400, "application/problem+json")
        assert b"this port speaks TLS: use https" in answer.body


@pytest.mark.limit("Time and progress: TLS hand-shake", memory=True)
def test_the_hand_shake_has_a_deadline(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    app = App()

    @app.get("/")
    async def index() -> str:
        return "here"

    with live(app, tls_cert=files.cert, tls_key=files.key, timeout_tls=0.2) as server:
        with (
            beside(server, keeps=16 * KIB, context=files.client()),
            server.peer() as silent,
            server.peer() as slow,
            Records(server, files.client()) as late,
        ):
            slow.send(b"\x16")
            with pytest.raises(ssl.SSLWantReadError):
                late.tls.do_handshake()
            late.flush()
            for stuck in (silent, slow, late.peer):
                with contextlib.suppress(ConnectionResetError):
                    assert not stuck.rest().startswith(b"\x15")
        counters = server.settle()
        # One that was done in time is not concerned.
        assert (counters["timeouts"], counters["tls_failed"], counters["tls_handshakes"]) == (3, 3, 1)
        assert (counters["limit_tls_time"], counters["bytes_buffered"]) == (3, 0)
    assert len(lines(caplog)) == 3
    assert all(line.endswith("(limit 0.2 s; timeout_tls changes it): closed") for line in lines(caplog))


def test_a_client_that_does_not_trust_us(server: Live, files: Files, tmp_path: Path) -> None:
    failed = server.counters["tls_failed"]
    other = issue(tmp_path, trustme.CA(), "other", "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        peer(server, other)
    until(lambda: server.counters["tls_failed"] == failed + 1)


def test_renegotiation_is_refused(server: Live, files: Files) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-CAfile", files.ca],
        input=b"R\n",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert b"Verify return code: 0 (ok)" in done.stdout
    assert b"Compression: NONE" in done.stdout
    assert b"no renegotiation" in done.stderr
