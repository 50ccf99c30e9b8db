"""ALPN: a client that offers only what is not spoken here is refused (RFC 7301, 3.2); who offers nothing is not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from fastnet import App
from tests.tls.hellos import alpn, hello, records
from tests.wire.live import Live, Peer, live, until
from tests.wire.tls import Files, issue
from tests.wire.tools import curl, needs, run

ALERT = b"\x15\x03\x03\x00\x02\x02\x78"
"""A fatal alert, no_application_protocol (120)."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return issue(tmp_path_factory.mktemp("alpn"), trustme.CA(), "server", "localhost", "127.0.0.1")


def app() -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    return app


@pytest.fixture(scope="module")
def server(files: Files) -> Iterator[Live]:
    with live(app(), tls_cert=files.cert, tls_key=files.key) as running:
        yield running


def context(files: Files, *protocols: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=files.ca)
    found.maximum_version = newest
    if protocols:
        found.set_alpn_protocols(list(protocols))
    return found


def hello_of(files: Files, *protocols: str) -> bytes:
    """What OpenSSL begins with."""
    outgoing = ssl.MemoryBIO()
    client = context(files, *protocols).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("protocols", [("foo",), ("smtp", "imap", "h2c"), ("H2",)])
def test_a_client_of_other_protocols_is_refused(
    server: Live, files: Files, version: ssl.TLSVersion, protocols: tuple[str, ...]
) -> None:
    failed = server.counters["tls_failed"]
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        server.peer(context=context(files, *protocols, newest=version))
    until(lambda: server.counters["tls_failed"] == failed + 1)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("protocols", "chosen"),
    [((), None), (("foo", "http/1.1"), "http/1.1"), (("http/1.0",), "http/1.0")],
)
def test_others_are_served(
    server: Live, files: Files, version: ssl.TLSVersion, protocols: tuple[str, ...], chosen: str | None
) -> None:
    with server.peer(context=context(files, *protocols, newest=version)) as peer:
        assert isinstance(peer.sock, ssl.SSLSocket)
        assert peer.sock.selected_alpn_protocol() == chosen
        assert peer.get("/").answer().body == b"fine"


@pytest.mark.parametrize("size", [1, 7, 100, 16384])
def test_however_the_hello_comes(server: Live, files: Files, size: int) -> None:
    """In pieces of the connection and, read anew, in records of that size."""
    data = hello_of(files, "foo")
    for sent in (data, records(data[5:], size)):
        with Peer(server.port) as peer:
            for at in range(0, len(sent), size):
                peer.send(sent[at : at + size])
            assert peer.rest() == ALERT


def test_a_hello_that_opens_nothing_and_offers_nothing_of_ours(server: Live) -> None:
    with Peer(server.port) as peer:
        assert peer.send(records(hello(alpn(b"foo"), session=bytes(32)))).rest() == ALERT


def test_a_hello_that_cannot_be_read_is_left_to_openssl(server: Live) -> None:
    with Peer(server.port) as peer:
        answer = peer.send(records(hello(alpn(b"foo"), alpn(b"bar")))).rest()
    assert answer[:5] == ALERT[:5]
    assert answer != ALERT


@pytest.mark.parametrize(("spoken", "offered"), [("h2", "http/1.1"), ("http/1.1", "h2")])
def test_what_a_listener_does_not_speak(files: Files, spoken: str, offered: str) -> None:
    with live(app(), tls_cert=files.cert, tls_key=files.key, protocols=spoken) as server:
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            server.peer(context=context(files, offered))
        with server.peer(context=context(files, offered, spoken)) as peer:
            assert isinstance(peer.sock, ssl.SSLSocket)
            assert peer.sock.selected_alpn_protocol() == spoken


@needs("openssl")
def test_s_client(server: Live, files: Files) -> None:
    arguments = ("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", files.ca)
    refused = run(*arguments, "-alpn", "foo,bar", body=b"")
    assert refused.returncode != 0
    assert b"no application protocol" in refused.stderr
    served = run(*arguments, "-alpn", "foo,http/1.1", body=b"")
    assert b"ALPN protocol: http/1.1" in served.stdout


@needs("curl")
def test_curl_of_http_1_0(server: Live, files: Files) -> None:
    found = curl(f"https://localhost:{server.port}/", "--http1.0", "--cacert", files.ca)
    assert (found.status, found.body) == (200, b"fine")
