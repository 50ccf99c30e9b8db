"""The PROXY protocol on real sockets: who may speak it, what follows it, and what handlers see."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import pytest
import trustme

from fastnet import App, Request
from fastnet.server import ConfigError
from fastnet.server.config import Config
from tests.proxy.headers import SIGNATURE, checked, inet, tls, tlv, v2
from tests.wire.live import Live, Peer, live, until

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n"
V2 = v2(inet())
GET = b"GET / HTTP/1.1\r\nhost: test\r\n"


def app() -> App:
    app = App()

    @app.get("/")
    async def index(request: Request) -> dict[str, object]:
        header = request.proxy_header
        return {
            "client": None if request.client is None else list(request.client),
            "socket": request.socket_peer is not None and request.socket_peer.host,
            "scheme": request.scheme,
            "version": None if header is None else header.version,
            "authority": None if header is None else header.authority,
        }

    @app.post("/")
    async def size(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture(scope="module")
def required() -> Iterator[Live]:
    with live(app(), trusted_proxies="127.0.0.1, 10.0.0.0/8", proxy_protocol="required") as server:
        yield server


@pytest.fixture(scope="module")
def optional() -> Iterator[Live]:
    with live(app(), trusted_proxies="127.0.0.1", proxy_protocol="optional") as server:
        yield server


def ask(server: Live, data: bytes, *, cut: int = 0) -> dict[str, Any]:
    with Peer(server.port) as peer:
        for i in range(0, len(data), cut or len(data)):
            peer.send(data[i : i + (cut or len(data))])
        found: dict[str, Any] = json.loads(peer.answer().body)
    return found


def refused(server: Live, data: bytes) -> bool:
    """Whether the connection ends without a word."""
    with Peer(server.port) as peer:
        peer.send(data)
        try:
            return peer.closed()
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("header", [V1, V2, checked(inet()), v2(inet(), tlv(4, bytes(5000)))])
@pytest.mark.parametrize("cut", [0, 1, 13])
def test_the_client_is_the_header_s(required: Live, header: bytes, cut: int) -> None:
    found = ask(required, header + GET + b"\r\n", cut=cut if len(header) < 1000 else cut * 100)
    assert (found["client"], found["socket"], found["scheme"]) == (["192.0.2.1", 4711], "127.0.0.1", "http")
    assert found["version"] == (1 if header is V1 else 2)


def test_the_whole_connection_is_the_client_s(required: Live) -> None:
    with Peer(required.port) as peer:
        peer.send(V1 + (GET + b"\r\n") * 3)
        assert [json.loads(peer.answer().body)["client"][0] for _ in range(3)] == ["192.0.2.1"] * 3
        assert json.loads(peer.get("/").answer().body)["client"][0] == "192.0.2.1"
        # What follows is a body, not another header.
        assert peer.post("/", V1).answer().body == str(len(V1)).encode()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(command=0x20, family=0), v2(family=0)])
def test_headers_that_say_nothing(required: Live, header: bytes) -> None:
    assert ask(required, header + GET + b"\r\n")["client"][0] == "127.0.0.1"


def test_what_the_proxy_knows_of_tls(required: Live) -> None:
    found = ask(required, v2(inet(), tlv(2, b"a.example") + tls()) + GET + b"\r\n")
    assert (found["scheme"], found["authority"]) == ("https", "a.example")


def test_header_fields_count_by_the_address_of_the_header(required: Live) -> None:
    # 192.0.2.1 is a client, whatever it says; 10.0.0.1 is a proxy of ours.
    fields = b"x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\n\r\n"
    assert ask(required, V1 + GET + fields)["client"][0] == "192.0.2.1"
    found = ask(required, b"PROXY TCP4 10.0.0.1 198.51.100.2 1 2\r\n" + GET + fields)
    assert (found["client"][0], found["scheme"]) == ("203.0.113.9", "https")
    # Without an address it is the socket's.
    assert ask(required, b"PROXY UNKNOWN\r\n" + GET + fields)["client"][0] == "203.0.113.9"


@pytest.mark.parametrize(
    "data",
    [
        GET + b"\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n" + GET + b"\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x31\x11\x00\x00",
        v2(inet(), tlv(3, bytes(4))) + GET + b"\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_required_means_required(required: Live, data: bytes) -> None:
    before = required.counters["malformed"]
    assert refused(required, data)
    assert required.counters["malformed"] == before + 1


@pytest.mark.parametrize("data", [V1 + GET + b"\r\n", V2 + GET + b"\r\n", GET + b"\r\n", b"\r\n" + GET + b"\r\n"])
@pytest.mark.parametrize("cut", [0, 1, 5])
def test_optional(optional: Live, data: bytes, cut: int) -> None:
    expected = "192.0.2.1" if data[:5] == b"PROXY" or data.startswith(SIGNATURE) else "127.0.0.1"
    assert ask(optional, data, cut=cut)["client"][0] == expected


def test_optional_speaks_http_2(optional: Live) -> None:
    for header in (b"", V2):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
        fields = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "test")]
        connection.send_headers(1, fields, end_stream=True)
        with Peer(optional.port) as peer:
            peer.send(header + connection.data_to_send())
            body = b""
            while b"version" not in body:
                for event in connection.receive_data(peer.sock.recv(65536)):
                    body += getattr(event, "data", b"") or b""
        assert json.loads(body)["client"][0] == ("192.0.2.1" if header else "127.0.0.1")


@pytest.mark.parametrize("mode", ["off", "optional", "required"])
def test_nobody_else_speaks_it(mode: str) -> None:
    with live(app(), trusted_proxies="10.0.0.0/8", proxy_protocol=mode) as server:
        assert refused(server, V1 + GET + b"\r\n")
        # Its empty lines are HTTP's still.
        with Peer(server.port) as peer:
            peer.send(V2 + GET + b"\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert peer.rest()[:13] in (b"", b"HTTP/1.1 400 ")
        if mode == "required":
            assert refused(server, GET + b"\r\n")
        else:
            assert ask(server, GET + b"\r\n")["client"][0] == "127.0.0.1"


def test_a_header_that_does_not_come_has_the_head_s_time() -> None:
    with live(
        app(), trusted_proxies="127.0.0.1", proxy_protocol="required", timeout_head=0.2, timeout_tls=60
    ) as server:
        for data in (b"", b"PROXY TCP4", SIGNATURE + b"\x21\x11\x40\x00" + bytes(100)):
            assert refused(server, data)
        with Peer(server.port) as peer:
            assert peer.send(V1[:20]).half_close().closed()


def test_a_header_comes_before_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    issued = ca.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    ca.configure_trust(context)
    pem = str(tmp_path / "cert.pem")
    with live(app(), trusted_proxies="127.0.0.1", proxy_protocol="optional", tls_cert=pem, tls_key=pem) as server:
        for header, client in ((V1, "192.0.2.1"), (V2, "192.0.2.1"), (b"", "127.0.0.1")):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            sock.sendall(header)
            with context.wrap_socket(sock, server_hostname="localhost") as wrapped:
                wrapped.sendall(GET + b"connection: close\r\n\r\n")
                answer = b"".join(iter(lambda: wrapped.recv(65536), b""))
            found = json.loads(answer.partition(b"\r\n\r\n")[2])
            assert (found["client"][0], found["scheme"]) == (client, "https")
        # Behind the hand-shake it is nothing any more.
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        with context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=True) as wrapped:
            wrapped.sendall(V1 + GET + b"\r\n")
            assert b"192.0.2.1" not in b"".join(iter(lambda: wrapped.recv(65536), b""))


def test_connections_are_counted_by_the_client_s_address() -> None:
    other = b"PROXY TCP4 192.0.2.9 198.51.100.2 1 2\r\n"
    proxy = b"PROXY TCP4 10.0.0.1 198.51.100.2 1 2\r\n"
    with (
        live(
            app(),
            trusted_proxies="127.0.0.1, 10.0.0.0/8",
            proxy_protocol="required",
            limit_connections_per_address=1,
        ) as server,
        Peer(server.port) as first,
        Peer(server.port) as second,
        Peer(server.port) as third,
    ):
        assert first.send(V1 + GET + b"\r\n").answer().status == 200
        assert second.send(V2 + GET + b"\r\n").answer().status == 429
        assert third.send(other + GET + b"\r\n").answer().status == 200
        # A proxy behind the proxy speaks for many.
        for _ in range(3):
            assert ask(server, proxy + GET + b"\r\n")["client"][0] == "10.0.0.1"
        second.sock.close()
        first.sock.close()
        until(lambda: server.counters["connections_open"] == 1)
        assert ask(server, V1 + GET + b"\r\n")["client"][0] == "192.0.2.1"


def test_refusals_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.error")
    with live(app(), trusted_proxies="127.0.0.1", proxy_protocol="required") as server:
        assert refused(server, GET + b"\r\n")
    assert "does not begin with a header, and proxy_protocol is required" in caplog.text


def test_it_wants_trusted_proxies() -> None:
    with pytest.raises(ConfigError, match="needs trusted_proxies"):
        Config.load({"proxy_protocol": "required"}, {}, file="")
