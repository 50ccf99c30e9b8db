"""What handlers see of an ASGI scope, and what of one is refused."""

from __future__ import annotations

import ssl
from typing import Any

import h11
import orjson
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from fastnet import App, Request
from fastnet_ext.net.asgi_errors import ScopeError
from tests.loops import run
from tests.net.asgi_host import ask, http_scope, websocket_scope


def make_app() -> App:
    app = App()

    @app.get("/see/{x:path}")
    async def see(request: Request) -> dict[str, Any]:
        return {
            "path": request.path,
            "raw_path": request.raw_path.decode(),
            "x": request.path_params["x"],
            "query": request.query_string.decode("latin-1"),
            "root_path": request.root_path,
            "url": request.url,
            "version": request.http_version,
            "scheme": request.scheme,
            "client": request.client,
            "host": request.host,
        }

    @app.get("/items/{name}")
    async def item(name: str) -> str:
        return name

    @app.get("/fields")
    async def fields(request: Request) -> list[list[str]]:
        return [list(pair) for pair in request.headers.multi_items()]

    return app


def seen(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(run(ask(make_app(), http_scope(**{"path": "/see/it", **more}))).body)
    return found


def test_a_plain_scope() -> None:
    assert seen(query_string=b"a=1&b=%20") == {
        "path": "/see/it",
        "raw_path": "/see/it",
        "x": "it",
        "query": "a=1&b=%20",
        "root_path": "",
        "url": "http://test/see/it?a=1&b=%20",
        "version": "1.1",
        "scheme": "http",
        "client": ["192.0.2.7", 4711],
        "host": "test",
    }


@pytest.mark.parametrize(("version", "told"), [("1.0", "1.0"), ("1.1", "1.1"), ("2", "2"), ("3", "3"), (None, "1.1")])
def test_versions(version: str | None, told: str) -> None:
    assert seen(http_version=version)["version"] == told


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (["192.0.2.7", 1], ["192.0.2.7", 1]),
        (("::1", "80"), ["::1", 80]),
        (None, None),
        (["", 0], None),
        (["/run/sock", None], None),
        ("odd", None),
    ],
)
def test_clients(client: Any, told: Any) -> None:
    assert seen(client=client)["client"] == told


def test_tls_makes_the_scheme() -> None:
    assert seen(scheme="https")["url"] == "https://test/see/it"


def test_a_slash_that_is_encoded_stays_in_its_segment() -> None:
    scope = http_scope(path="/items/a/b", raw_path=b"/items/a%2Fb")
    assert run(ask(make_app(), scope)).body == b"a/b"


@pytest.mark.parametrize("raw", [None, b"/old/items/ada"])
def test_a_path_that_middleware_changed_counts(raw: bytes | None) -> None:
    assert run(ask(make_app(), http_scope(path="/items/ad a%", raw_path=raw))).body == b"ad a%"


@pytest.mark.parametrize(
    ("root", "path", "raw"),
    [
        ("/api", "/api/see/it", b"/api/see/it"),  # as the specification has it
        ("/api/", "/api/see/it", b"/api/see/it"),
        ("/api", "/see/it", b"/see/it"),  # what older servers make of it
        ("/a b", "/a b/see/it", b"/a%20b/see/it"),
    ],
)
def test_root_path_is_no_part_of_the_route(root: str, path: str, raw: bytes) -> None:
    told = seen(root_path=root, path=path, raw_path=raw)
    assert (told["x"], told["path"]) == ("it", "/see/it")
    assert told["url"] == "http://test" + root.rstrip("/").replace(" ", "%20") + "/see/it"


def test_each_call_has_the_root_path_of_its_scope() -> None:
    app = make_app()

    async def main() -> list[str]:
        found = []
        for root in ("/a", "/b", "", "/a"):
            call = await ask(app, http_scope(path=root + "/see/it", raw_path=None, root_path=root))
            found.append(orjson.loads(call.body)["root_path"])
        return found

    assert run(main()) == ["/a", "/b", "", "/a"]


def test_an_empty_path_is_the_root() -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "root"

    assert run(ask(app, http_scope(path="", raw_path=b"", root_path="/api"))).body == b"root"


def test_fields_come_as_they_are_in_lower_case_and_trimmed() -> None:
    fields = [(b"Host", b"test"), (b"X-A", b" 1 "), (b"x-a", b"2"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
    told = orjson.loads(run(ask(make_app(), http_scope(path="/fields", headers=fields))).body)
    assert told == [["host", "test"], ["x-a", "1"], ["x-a", "2"], ["cookie", "a=1"], ["cookie", "b=2"]]


def test_fields_may_be_lists_and_come_from_an_iterator() -> None:
    told = run(ask(make_app(), http_scope(path="/fields", headers=iter([[b"host", b"test"]]))))
    assert orjson.loads(told.body) == [["host", "test"]]


# --- TLS


def test_what_the_server_tells_of_tls() -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert("alice@example.com", common_name="alice")
    pem = certificate.cert_chain_pems[0].bytes().decode()
    app = App()

    @app.get("/")
    async def tls(request: Request) -> list[Any]:
        info = request.tls
        assert info is not None
        assert info.peer_certificate_der is not None
        return [info.version, info.cipher, info.subject, info.alpn, ssl.DER_cert_to_PEM_cert(info.peer_certificate_der)]

    told = {
        "server_cert": None,
        "client_cert_chain": [pem],
        "client_cert_name": "CN=alice",
        "client_cert_error": None,
        "tls_version": 0x0304,
        "cipher_suite": 0x1301,
    }
    found = orjson.loads(run(ask(app, http_scope(scheme="https", extensions={"tls": told}))).body)
    assert found[:4] == ["TLSv1.3", "TLS_AES_128_GCM_SHA256", "CN=alice", None]
    assert found[4].split() == pem.split()


def test_who_showed_no_certificate_has_no_subject() -> None:
    app = App()

    @app.get("/")
    async def tls(request: Request) -> list[Any]:
        info = request.tls
        assert info is not None
        return [info.version, info.cipher, info.subject, info.peer_certificate_der, info.peer_chain]

    @app.get("/none")
    async def none(request: Request) -> bool:
        return request.tls is None

    told: dict[str, Any] = {
        "client_cert_chain": [],
        "client_cert_name": None,
        "tls_version": None,
        "cipher_suite": None,
    }
    call = run(ask(app, http_scope(extensions={"tls": told})))
    assert orjson.loads(call.body) == [None, None, "", None, []]
    assert run(ask(app, http_scope(path="/none"))).body == b"true"


# --- what a server let through, or got wrong


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"method": "GE T"}, "method"),
        ({"method": ""}, "method"),
        ({"method": "GÉT"}, "method"),
        ({"path": "no-slash", "raw_path": None}, "slash"),
        ({"path": "/\ud800", "raw_path": None}, "UTF-8"),
        ({"path": "/a b", "raw_path": b"/a b"}, "target"),
        ({"path": "/a?b", "raw_path": b"/a?b"}, "target"),
        ({"query_string": b"a b"}, "target"),
        ({"query_string": b"a#b"}, "target"),
        ({"query_string": b"a\r\nx: y"}, "target"),
        ({"headers": [(b"x y", b"1")]}, "name"),
        ({"headers": [(b"", b"1")]}, "name"),
        ({"headers": [(b":path", b"/")]}, "name"),
        ({"headers": [(b"x", b"1\r\ny: 2")]}, "control"),
        ({"headers": [(b"x", b"\0")]}, "control"),
        ({"headers": [(b"host", b"a"), (b"host", b"b")]}, "Host"),
        ({"headers": [(b"host", b"a/b")]}, "Host"),
        ({"headers": [(b"content-length", b"1"), (b"content-length", b"1")]}, "Content-Length"),
        ({"headers": [(b"content-length", b"+1")]}, "Content-Length"),
        ({"headers": [(b"content-length", b"1" * 30)]}, "Content-Length"),
    ],
)
def test_a_head_that_is_malformed_is_answered(more: dict[str, Any], why: str) -> None:
    call = run(ask(make_app(), http_scope(**more)))
    assert call.status == 400
    assert why in orjson.loads(call.body)["detail"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"type": "smtp"}, "'smtp'"),
        ({"type": None}, "None"),
        ({"method": b"GET"}, "method is a str"),
        ({"method": None}, "method is a str"),
        ({"path": b"/", "raw_path": None}, "path is a str"),
        ({"raw_path": "/"}, "raw_path is bytes"),
        ({"query_string": "a=1"}, "query_string is bytes"),
        ({"http_version": "4"}, "http_version '4'"),
        ({"http_version": 1.1}, "http_version is a str"),
        ({"headers": {"a": "b"}}, "headers are pairs"),
        ({"headers": "ab"}, "headers are pairs"),
        ({"headers": [("a", "b")]}, "not of str and str"),
        ({"headers": [(b"a",)]}, "a name and a value"),
        ({"headers": [7]}, "a name and a value"),
        ({"root_path": b"/api"}, "root_path is a str"),
        ({"root_path": "api"}, "root_path 'api'"),
        ({"root_path": "/a/../b"}, "root_path '/a/../b'"),
    ],
)
def test_a_scope_that_cannot_be_is_raised(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ScopeError, match=why):
        run(ask(make_app(), http_scope(**more)))


def test_the_same_holds_for_a_websocket() -> None:
    with pytest.raises(ScopeError, match="query_string"):
        run(ask(make_app(), websocket_scope(query_string="a=1")))


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=4), st.binary(max_size=8))
def test_no_field_gets_in_that_h11_would_not_let_in(fields: list[tuple[bytes, bytes]], query: bytes) -> None:
    """Another reader judges: what we take is what it takes off the wire."""
    call = run(ask(make_app(), http_scope(path="/fields", query_string=query, headers=[(b"host", b"t"), *fields])))
    if call.status != 200:
        assert call.status == 400
        return
    told = orjson.loads(call.body)
    wire = b"GET /fields" + (b"?" + query if query else b"") + b" HTTP/1.1\r\n"
    wire += b"".join(name.encode() + b": " + value.encode("latin-1") + b"\r\n" for name, value in told) + b"\r\n"
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(wire)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert [(name.decode(), value.decode("latin-1")) for name, value in event.headers] == [tuple(one) for one in told]
