"""The wire trace of --debug: plain bytes by connection and direction, without the secrets in them."""

from __future__ import annotations

import json
import logging
from itertools import pairwise
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from fastnet import App, Response
from fastnet_ext.net.trace import PREVIEW, WireTrace
from tests.wire.live import Peer, live
from tests.wire.tools import curl, needs

SECRETS = (b"Basic c2VjcmV0", b"session=secret", b"Bearer secret")
HEAD = (
    b"GET / HTTP/1.1\r\nhost: test\r\nAuthorization: Basic c2VjcmV0\r\nx-cookie: shown\r\n"
    b"cookie:session=secret\r\nProxy-Authorization: Bearer secret\r\n\r\n"
)


def app() -> App:
    app = App()

    @app.get("/")
    async def index() -> Response:
        response = Response("hello\x00world")
        response.set_cookie("session", "secret")
        return response

    @app.get("/large")
    async def large() -> str:
        return "x" * 100_000

    return app


@pytest.fixture
def wire(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "fastnet.wire")
    return caplog


def entries(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "fastnet.wire"]


def test_a_request_and_its_answer(wire: pytest.LogCaptureFixture) -> None:
    with live(app(), debug=True) as server, Peer(server.port) as peer:
        local = peer.sock.getsockname()[1]
        peer.send(HEAD).answer()
        peer.get("/large").answer()
    found = entries(wire)
    assert found[0] == f"connection 1: opened by 127.0.0.1:{local}"
    assert found[1].startswith(f"connection 1: received {len(HEAD)} bytes: GET / HTTP/1.1\\r\\nhost: test\\r\\n")
    assert "Authorization: ***\\r\\nx-cookie: shown\\r\\ncookie:***\\r\\nProxy-Authorization: ***\\r\\n" in found[1]
    assert found[2].startswith("connection 1: sent ")
    assert "HTTP/1.1 200 OK\\r\\n" in found[2]
    assert "set-cookie: ***\\r\\n" in found[2].lower()
    assert "hello\\x00world" in found[2]
    assert "secret" not in "".join(found)
    assert any(f"{'x' * 50}" in entry and entry.endswith(" …") for entry in found)
    assert max(map(len, found)) < 4 * PREVIEW + 100
    assert found[-2] == "connection 1: the peer sends no more"
    assert found[-1].startswith("connection 1: closed by ")


def test_nothing_without_debug(wire: pytest.LogCaptureFixture) -> None:
    with live(app()) as server, Peer(server.port) as peer:
        peer.send(HEAD).answer()
    assert entries(wire) == []


def test_nothing_when_nobody_reads_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.wire")
    with live(app(), debug=True) as server, Peer(server.port) as peer:
        peer.send(HEAD).answer()
    assert entries(caplog) == []
    assert WireTrace.begin(1, None) is None


def test_who_closed(wire: pytest.LogCaptureFixture) -> None:
    with live(app(), debug=True) as server:
        with Peer(server.port) as peer:
            peer.send(b"nonsense\r\n\r\n").rest()
        with Peer(server.port) as peer:
            peer.get().answer()
            peer.reset()
    assert "connection 1: closed by us" in entries(wire)
    assert any(
        entry.startswith(("connection 2: lost: ", "connection 2: closed by the peer")) for entry in entries(wire)
    )


def test_what_a_proxy_said(wire: pytest.LogCaptureFixture) -> None:
    with live(app(), debug=True, trusted_proxies="*", proxy_protocol="required") as server, Peer(server.port) as peer:
        peer.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + HEAD).answer()
    assert "ProxyHeader(version=1, local=False, source=('192.0.2.1', 1)" in entries(wire)[1]


@needs("curl")
def test_tls_is_shown_in_clear(wire: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    ca = trustme.CA()
    pem = str(tmp_path / "cert.pem")
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with live(app(), debug=True, tls_cert=pem, tls_key=pem) as server:
        url = f"https://localhost:{server.port}/"
        options = ("--cacert", str(tmp_path / "ca.pem"), "-H", "authorization: Bearer secret")
        assert curl(url, *options, "--http1.1").status == 200
        assert curl(url, *options, "--http2").status == 200
    found = "\n".join(entries(wire))
    assert "GET / HTTP/1.1\\r\\n" in found
    assert "HEADERS stream 1 flags 0x05" in found
    assert "SETTINGS stream 0" in found
    assert "secret" not in found
    assert "hello" in found


# --- however the bytes are cut


def shown(caplog: pytest.LogCaptureFixture, pieces: list[bytes], *, output: bool = False) -> list[str]:
    caplog.clear()
    trace = WireTrace(1, "")
    for piece in pieces:
        (trace.sent if output else trace.received)(piece)
    return entries(caplog)


@given(cuts=st.lists(st.integers(0, len(HEAD)), max_size=6).map(sorted))
def test_secrets_stay_secret_however_they_are_cut(cuts: list[int]) -> None:
    logger, records = logging.getLogger("fastnet.wire"), []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        trace = WireTrace(1, None)
        for a, b in pairwise([0, *cuts, len(HEAD)]):
            trace.received(HEAD[a:b])
            trace.sent(HEAD[a:b])
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    text = json.dumps(records)
    for part in ("c2Vj", "cmV0", "sess", "Bear", "secr", "cret"):
        assert part not in text, records


def frame(kind: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, 4]) + stream.to_bytes(4) + payload


@pytest.mark.parametrize("size", [1, 5, 9, 24, 30, 1000])
def test_frames_however_they_are_cut(wire: pytest.LogCaptureFixture, size: int) -> None:
    data = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, b"", 0) + frame(1, b"authorization secret") + frame(99, b"x", 7)
    )
    found = "\n".join(shown(wire, [data[i : i + size] for i in range(0, len(data), size)]))
    assert "SETTINGS stream 0 flags 0x04 length 0" in found
    assert "HEADERS stream 1 flags 0x04 length 20" in found
    assert "type 99 stream 7 flags 0x04 length 1" in found
    assert "secret" not in found


def test_many_frames_are_cut_short(wire: pytest.LogCaptureFixture) -> None:
    entry = shown(wire, [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(6, bytes(8), 0) * 40])[-1]
    assert entry.count("PING") == 16
    assert entry.endswith(" …")
