"""HTTPS: ALPN chooses the protocol, and what is half-closed or early in cleartext behaves as well as TLS allows."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from fastnet import App, HTTPException, Request, Response
from fastnet.server import ConfigError
from tests.loops import run
from tests.wire.live import Live, Peer, live, until
from tests.wire.tools import curl, needs


@dataclass
class Files:
    """Where the certificates are."""

    cert: str
    key: str
    ca: str


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder: Path = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    issued = ca.issue_cert("localhost", "127.0.0.1")
    found = Files(str(folder / "cert.pem"), str(folder / "key.pem"), str(folder / "ca.pem"))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(found.cert, append=number > 0)
    issued.private_key_pem.write_to_path(found.key)
    ca.cert_pem.write_to_path(found.ca)
    return found


class Seen:
    """What handlers noticed."""

    closed = 0


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def server(files: Files, seen: Seen) -> Iterator[Live]:
    app = App(max_body=64 << 20)

    @app.get("/")
    async def index(request: Request) -> dict[str, object]:
        return {"version": request.http_version, "scheme": request.scheme, "tls": request.tls is not None}

    @app.post("/echo")
    async def echo(body: bytes) -> bytes:
        return body

    @app.get("/big")
    async def big() -> bytes:
        return b"x" * (8 << 20)

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.001)
        finally:
            seen.closed += 1

    @app.post("/refuse")
    async def refuse(request: Request) -> Response:
        raise HTTPException(403, "not for you")

    with live(app, tls_cert=files.cert, tls_key=files.key) as running:
        yield running


def peer(server: Live, files: Files) -> Peer:
    context = ssl.create_default_context(cafile=files.ca)
    context.set_alpn_protocols(["http/1.1"])
    return server.peer(context=context)


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


@needs("curl")
@pytest.mark.parametrize("option", ["--http1.1", "--http2"])
def test_big_bodies_both_ways(server: Live, files: Files, option: str) -> None:
    body = bytes(range(256)) * (4 << 12)
    assert curl(url(server, "/echo"), option, "--cacert", files.ca, body=body).body == body
    assert curl(url(server, "/big"), option, "--cacert", files.ca).body == b"x" * (8 << 20)


def test_keep_alive_and_pipelining(server: Live, files: Files) -> None:
    with peer(server, files) as one:
        for _ in range(10):
            one.get("/")
        assert [one.answer().status for _ in range(10)] == [200] * 10


def test_an_early_answer_arrives_while_the_body_is_sent(server: Live, files: Files) -> None:
    with peer(server, files) as one:
        one.send(b"POST /refuse HTTP/1.1\r\nhost: t\r\ncontent-length: 20000000\r\n\r\n" + b"x" * 50_000)
        answer = one.answer()
        assert (answer.status, answer["connection"]) == (403, "close")


def test_a_stream_ends_with_its_peer(server: Live, files: Files, seen: Seen) -> None:
    before = seen.closed
    with peer(server, files) as one:
        one.get("/stream").until(b"x" * 1000)
    until(lambda: seen.closed == before + 1)
    until(lambda: server.counters["requests_active"] == 0)


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


def test_a_certificate_that_cannot_be_used_is_told(files: Files) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="are certificate and key exchanged"):
            async with App().serve(port=0, tls_cert=files.key, tls_key=files.cert):
                pass

    run(main())
