"""What a scope says of a request, over HTTP/1 and HTTP/2, below paths, behind proxies, on Unix sockets and TLS."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from fastnet import App, Router
from tests.asgi.mounted import START, Message, Receive, Send, body, serving
from tests.loops import run
from tests.wire.live import live

CURL = shutil.which("curl")


async def fine(scope: Message, receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"fine"))


def scope_of(request: bytes, path: str = "/", **settings: Any) -> Message:
    with serving(fine, path, **settings) as server, server.peer() as peer:
        assert peer.send(request).answer().status == 200
        (scope,) = server.notes.scopes
        assert scope["server"] == ("127.0.0.1", server.port)
        scope["client"] = (scope["client"][0], type(scope["client"][1]))
        return scope


def test_every_key() -> None:
    scope = scope_of(
        b"GET /a%20b/%2Fc?q=%20&r HTTP/1.1\r\nHost: Example.com\r\nX-A: 1\r\nx-a:  2 \r\nAccept: */*\r\n\r\n"
    )
    scope.pop("server")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b//c",
        "raw_path": b"/a%20b/%2Fc",
        "query_string": b"q=%20&r",
        "root_path": "",
        "headers": [(b"host", b"Example.com"), (b"x-a", b"1"), (b"x-a", b"2"), (b"accept", b"*/*")],
        "client": ("127.0.0.1", int),
        "state": {},
        "extensions": {
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.trailers": {},
        },
    }


def test_scopes_are_not_shared() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        assert "touched" not in scope
        for bag in (scope, scope["asgi"], scope["state"], scope["extensions"]):
            assert "touched" not in bag
            bag["touched"] = 1
        scope["headers"].append((b"touched", b"1"))
        await fine(scope, receive, send)

    with serving(application) as server, server.peer() as peer:
        for _ in range(3):
            assert peer.get("/").answer().status == 200


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"GET / HTTP/1.0", {"http_version": "1.0", "path": "/", "query_string": b""}),
        (b"PATCH /x?  HTTP/1.1".replace(b"?  ", b"? "), {"method": "PATCH", "path": "/x", "query_string": b""}),
        (b"BREW /pot HTTP/1.1", {"method": "BREW", "path": "/pot"}),
        (b"GET http://other.example/x?y HTTP/1.1", {"path": "/x", "raw_path": b"/x", "query_string": b"y"}),
        (b"GET /caf%C3%A9/%FF HTTP/1.1", {"path": "/café/\ufffd", "raw_path": b"/caf%C3%A9/%FF"}),
        (b"OPTIONS /x HTTP/1.1", {"method": "OPTIONS"}),
    ],
)
def test_request_lines(request_line: bytes, expected: Message) -> None:
    host = b"other.example" if b"http://" in request_line else b"t"
    scope = scope_of(request_line + b"\r\nhost: " + host + b"\r\n\r\n")
    assert {key: scope[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("target", "root_path", "path"),
    [
        (b"/old/x/y", "/old", "/old/x/y"),
        (b"/old/", "/old", "/old/"),
        (b"/ol%64/x", "/old", "/old/x"),
        (b"/old/%2F", "/old", "/old//"),
    ],
)
def test_a_mount_is_part_of_the_path(target: bytes, root_path: str, path: str) -> None:
    scope = scope_of(b"GET " + target + b" HTTP/1.1\r\nhost: t\r\n\r\n", "/old")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == (root_path, path, target)


def test_parameters_of_the_mount_itself() -> None:
    scope = scope_of(b"GET /tenants/a%20b/x HTTP/1.1\r\nhost: t\r\n\r\n", "/tenants/{name}")
    assert (scope["root_path"], scope["path"], scope["path_params"]) == (
        "/tenants/a b",
        "/tenants/a b/x",
        {"name": "a b"},
    )


@pytest.mark.parametrize("target", [b"/x?y", b"/api/x?y"])
def test_what_a_proxy_cut_off_is_part_of_the_path(target: bytes) -> None:
    scope = scope_of(b"GET " + target + b" HTTP/1.1\r\nhost: t\r\n\r\n", root_path="/api")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/x", b"/api/x")
    scope = scope_of(
        b"GET " + target.replace(b"x", b"old/x") + b" HTTP/1.1\r\nhost: t\r\n\r\n", "/old", root_path="/api"
    )
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api/old", "/api/old/x", b"/api/old/x")


def test_a_trusted_proxy_is_believed() -> None:
    request = (
        b"GET / HTTP/1.1\r\nhost: inside\r\nx-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\n"
        b"x-forwarded-prefix: /shop\r\n\r\n"
    )
    with serving(fine, trusted_proxies="127.0.0.1") as server, server.peer() as peer:
        peer.send(request).answer()
        (scope,) = server.notes.scopes
        assert (scope["client"], scope["scheme"]) == (("203.0.113.9", 0), "https")
        assert (scope["root_path"], scope["path"]) == ("/shop", "/shop/")
    with serving(fine) as server, server.peer() as peer:
        peer.send(request).answer()
        (scope,) = server.notes.scopes
        assert (scope["client"][0], scope["scheme"], scope["root_path"]) == ("127.0.0.1", "http", "")


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    scopes: list[Message] = []

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await fine(scope, receive, send)

    async def test() -> None:
        app = App()
        app.mount("/", application, lifespan="off")
        async with app.serve(bind=f"unix:{path}"):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()

    run(test())
    assert (scopes[0]["client"], scopes[0]["server"]) == (None, (path, None))


@pytest.mark.skipif(CURL is None, reason="no curl on the PATH")
def test_http_2() -> None:
    async def application(scope: Message, receive: Receive, send: Send) -> None:
        data = b""
        while (message := await receive()).get("body") or message.get("more_body"):
            data += message["body"]
            if not message["more_body"]:
                break
        await send({**START, "trailers": True})
        await send(body(data, more=True))
        await send(body(b" and more"))
        await send({"type": "http.response.trailers", "headers": [(b"x-end", b"1")]})

    with serving(application, "/old") as server:
        command = [str(CURL), "-sS", "--http2-prior-knowledge", "-H", "cookie: a=1; b=2", "-H", "te: trailers"]
        url = f"http://127.0.0.1:{server.port}/old/x?y=1"
        done = subprocess.run([*command, "-d", "data", url], capture_output=True, timeout=30, check=True)
        assert done.stdout == b"data and more"
        (scope,) = server.notes.scopes
        assert (scope["http_version"], scope["method"], scope["scheme"]) == ("2", "POST", "http")
        assert (scope["path"], scope["root_path"], scope["query_string"]) == ("/old/x", "/old", b"y=1")
        assert scope["headers"][0] == (b"host", f"127.0.0.1:{server.port}".encode())
        assert (b"cookie", b"a=1; b=2") in scope["headers"]
        assert not [name for name, _ in scope["headers"] if name.startswith(b":")]


def test_tls() -> None:
    authority = trustme.CA()
    certificate, client = (
        authority.issue_cert("localhost"),
        authority.issue_cert("alice@example.com", common_name="alice"),
    )
    with (
        certificate.private_key_and_cert_chain_pem.tempfile() as pem,
        authority.cert_pem.tempfile() as trusted,
        serving(fine, tls_cert=pem, tls_key=pem, tls_client_ca=trusted, tls_client_verify="optional") as server,
    ):
        for context in (ssl.create_default_context(), ssl.create_default_context()):
            authority.configure_trust(context)
            if server.notes.scopes:
                client.configure_cert(context)
            with server.peer(context=context) as peer:
                peer.get("/").answer()
        without, shown = [scope["extensions"]["tls"] for scope in server.notes.scopes]
        assert server.notes.scopes[0]["scheme"] == "https"
        assert (without["client_cert_chain"], without["client_cert_name"]) == ([], None)
        assert (without["tls_version"], without["cipher_suite"] & 0xFF00) == (0x0304, 0x1300)
        assert shown["client_cert_name"].startswith("CN=alice")
        assert ssl.PEM_cert_to_DER_cert(shown["client_cert_chain"][0]) == ssl.PEM_cert_to_DER_cert(
            client.cert_chain_pems[0].bytes().decode()
        )
        assert shown["client_cert_error"] is None


# --- which of several answers


def test_routes_of_ours_win_over_mounts_and_longer_mounts_over_shorter() -> None:
    async def tell(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(scope["root_path"].encode() or b"root"))

    app = App()
    app.mount("/", tell)
    app.mount("/old", tell)

    @app.get("/old/users/{id}")
    async def user(id: int) -> str:
        return f"user {id}"

    router = Router()
    router.mount("/legacy", tell)
    app.include(router, prefix="/api")

    with live(app) as server, server.peer() as peer:
        for method, target, expected in (
            ("GET", "/old/users/7", b"user 7"),
            ("GET", "/old/users/7/", b"/old"),
            ("POST", "/old/users/7", b"/old"),
            ("OPTIONS", "/old/users/7", b"/old"),
            ("GET", "/old/x", b"/old"),
            ("GET", "/api/legacy/x", b"/api/legacy"),
            ("GET", "/api/x", b"root"),
            ("DELETE", "/", b"root"),
        ):
            peer.send(f"{method} {target} HTTP/1.1\r\nhost: t\r\n\r\n".encode())
            assert peer.answer().body == expected, (method, target)


def test_the_mount_without_its_slash_redirects() -> None:
    with serving(fine, "/old") as server, server.peer() as peer:
        answer = peer.get("/old?x=1").answer()
        assert (answer.status, answer["location"]) == (308, "/old/?x=1")
        assert peer.get("/older").answer().status == 404
