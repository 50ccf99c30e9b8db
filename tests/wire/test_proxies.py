"""Behind proxies: whose word counts, what handlers see of it, and the path below which an app is served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grpc
import pytest
import websockets
from websockets.asyncio.client import connect

from fastnet import App, Call, Depends, Request, WebSocket
from fastnet.server import ConfigError, Server
from fastnet.server.config import Config
from tests.wire.live import Live, Peer, live


async def caller(call: Call) -> dict[str, object]:
    return {
        "client": None if call.client is None else list(call.client),
        "socket": call.socket_peer is not None and call.socket_peer.host,
        "scheme": call.scheme,
        "root": call.root_path,
        "path": call.path,
    }


def app() -> App:
    app = App()

    @app.get("/")
    @app.get("/where/")
    @app.get("/api/x")
    async def where(request: Request, who: Annotated[dict[str, object], Depends(caller)]) -> dict[str, object]:
        return {**who, "host": request.host, "url": request.url, "raw": request.raw_path.decode()}

    @app.get("/items/{name}")
    async def item(name: str) -> str:
        return name

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        assert socket.client is not None
        await socket.send(f"{socket.client.host} {socket.url}")

    def peer(request: bytes, context: grpc.ServicerContext) -> bytes:
        return f"{context.peer()} {context.client.host}".encode()

    handlers = {"Peer": grpc.unary_unary_rpc_method_handler(peer)}
    app.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    return app


@pytest.fixture(scope="module")
def behind() -> Iterator[Live]:
    """A server that trusts this machine."""
    with live(app(), trusted_proxies="127.0.0.1, 10.0.0.0/8") as server:
        yield server


@pytest.fixture(scope="module")
def bare() -> Iterator[Live]:
    """A server that trusts nobody."""
    with live(app()) as server:
        yield server


def ask(server: Live, *fields: str, target: str = "/") -> dict[str, Any]:
    with Peer(server.port) as peer:
        answer = peer.get(target, *fields).answer()
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_a_trusted_peer_says_who_asks(behind: Live) -> None:
    found = ask(
        behind,
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1:4711, 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: example.com",
        "X-Forwarded-Port: 8443",
        "X-Forwarded-Prefix: /shop",
    )
    assert found == {
        "client": ["192.0.2.1", 4711],
        "socket": "127.0.0.1",
        "scheme": "https",
        "root": "/shop",
        "path": "/",
        "host": "example.com:8443",
        "url": "https://example.com:8443/shop/",
        "raw": "/",
    }


def test_forwarded_says_it_too(behind: Live) -> None:
    found = ask(behind, 'Forwarded: for="[2001:db8::1]:5";proto=https;host="example.com:8443"')
    assert (found["client"], found["url"]) == (["2001:db8::1", 5], "https://example.com:8443/")


@pytest.mark.parametrize("port", ["80", "443"])
def test_default_ports_are_not_shown(behind: Live, port: str) -> None:
    found = ask(behind, "X-Forwarded-Proto: https", f"X-Forwarded-Port: {port}")
    assert found["url"] == "https://test/"


def test_nobody_else_says_it(bare: Live) -> None:
    found = ask(
        bare,
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: example.com",
        "X-Forwarded-Prefix: /shop",
        "Forwarded: for=192.0.2.1;proto=https",
    )
    assert (found["client"][0], found["url"], found["root"]) == ("127.0.0.1", "http://test/", "")


def test_other_networks_are_not_trusted() -> None:
    with live(app(), trusted_proxies="10.0.0.0/8, unix", root_path="/api") as server:
        found = ask(server, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Prefix: /shop", target="/api/")
    assert (found["client"][0], found["root"]) == ("127.0.0.1", "/api")


def test_headers_can_be_turned_off() -> None:
    with live(app(), trusted_proxies="*", proxy_headers="none") as server:
        assert ask(server, "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1")["client"][0] == "127.0.0.1"


def test_each_request_of_a_connection_for_itself(behind: Live) -> None:
    with Peer(behind.port) as peer:
        bodies = [
            peer.get("/", f"X-Forwarded-For: {client}" if client else "x: y").answer().body
            for client in ("192.0.2.1", "", "192.0.2.2")
        ]
    assert [b"192.0.2.1" in bodies[0], b'["127.0.0.1"' in bodies[1], b"192.0.2.2" in bodies[2]] == [True] * 3


# --- root_path


@pytest.fixture(scope="module")
def below() -> Iterator[Live]:
    with live(app(), root_path="/api/", trusted_proxies="127.0.0.1") as server:
        yield server


@pytest.mark.parametrize(
    ("target", "path", "url"),
    [
        ("/api/", "/", "http://test/api/"),
        ("/api", "/", "http://test/api/"),
        ("/api?x=/api/", "/", "http://test/api/?x=/api/"),
        ("/", "/", "http://test/api/"),
        ("/api/where/?x=1", "/where/", "http://test/api/where/?x=1"),
        ("/where/?x=1", "/where/", "http://test/api/where/?x=1"),
        ("/api/api/x", "/api/x", "http://test/api/api/x"),
        ("http://test/api/where/", "/where/", "http://test/api/where/"),
    ],
)
def test_a_path_may_come_with_the_root_or_without(below: Live, target: str, path: str, url: str) -> None:
    found = ask(below, target=target)
    assert (found["path"], found["raw"], found["url"], found["root"]) == (path, path, url, "/api")


@pytest.mark.parametrize("target", ["/apix", "/API/", "/%61pi/", "/api/nowhere", "/nowhere"])
def test_what_is_not_below_the_root_is_routed_as_it_is(below: Live, target: str) -> None:
    with Peer(below.port) as peer:
        assert peer.get(target).answer().status == 404


def test_parameters_below_the_root(below: Live) -> None:
    with Peer(below.port) as peer:
        assert peer.get("/api/items/a%20b").answer().body == b"a b"
        assert peer.get("/items/a%20b").answer().body == b"a b"
        assert peer.send(b"OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n").answer().status == 204


@pytest.mark.parametrize(
    ("target", "fields", "location"),
    [
        ("/api/where?x=1", [], "/api/where/?x=1"),
        ("/where", [], "/api/where/"),
        ("/where", ["X-Forwarded-Prefix: /shop"], "/shop/where/"),
        ("/where", ["X-Forwarded-Prefix: //evil.example"], "/api/where/"),
    ],
)
def test_redirects_keep_the_root(below: Live, target: str, fields: list[str], location: str) -> None:
    with Peer(below.port) as peer:
        answer = peer.get(target, *fields).answer()
    assert (answer.status, answer["location"]) == (308, location)


def test_a_root_that_is_no_clean_path_is_refused() -> None:
    for root in ("api", "//x", "/a/../b", "/\u00e4"):
        with pytest.raises(ConfigError, match="root_path"):
            Config.load({"root_path": root}, {}, file="")


# --- WebSocket and gRPC


def dial(server: Server, origin: str, **fields: str) -> connect:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return connect(
        server.url.replace("http", "ws", 1) + "/ws",
        origin=websockets.Origin(origin),
        additional_headers=headers,
        proxy=None,
    )


@pytest.mark.parametrize(
    ("origin", "fields", "answer"),
    [
        (
            "https://example.com",
            {"X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "example.com"},
            "192.0.2.1 wss://example.com/ws",
        ),
        (
            "https://example.com:8443",
            {"Forwarded": 'for=192.0.2.1;proto=wss;host="example.com:8443"'},
            "192.0.2.1 wss://example.com:8443/ws",
        ),
        # The scheme of the page is not what the client sees.
        ("http://example.com", {"Forwarded": "proto=https;host=example.com"}, None),
        # The host is not that of the server any more, but what the client sees.
        ("http://{authority}", {"Forwarded": "host=example.com"}, None),
        ("http://{authority}", {}, "127.0.0.1 ws://{authority}/ws"),
        ("http://evil.example", {}, None),
    ],
)
def test_websocket(behind: Live, origin: str, fields: dict[str, str], answer: str | None) -> None:
    authority = f"127.0.0.1:{behind.port}"

    async def talk() -> str | None:
        dialled = dial(behind.server, origin.format(authority=authority), **fields)
        if answer is None:
            with pytest.raises(websockets.InvalidStatus, match="403"):
                await dialled
            return None
        async with dialled as socket:
            return str(await socket.recv())

    assert asyncio.run(talk()) == (answer and answer.format(authority=authority))


def test_lies_do_not_open_websockets(bare: Live) -> None:
    async def talk() -> None:
        with pytest.raises(websockets.InvalidStatus):
            await dial(bare.server, "http://evil.example", X_Forwarded_Host="evil.example")

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("fields", "peer"),
    [
        ([("x-forwarded-for", "192.0.2.1:5")], b"ipv4:192.0.2.1:5 192.0.2.1"),
        ([("x-forwarded-for", "2001:db8::1")], b"ipv6:%5B2001:db8::1%5D:0 2001:db8::1"),
    ],
)
def test_grpc(behind: Live, bare: Live, fields: list[tuple[str, str]], peer: bytes) -> None:
    for server, expected in ((behind, peer), (bare, None)):
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            found = channel.unary_unary("/test.Test/Peer")(b"", metadata=fields, timeout=10)
        assert found == expected or (expected is None and found.startswith(b"ipv4:127.0.0.1:"))


# --- a Unix socket, whose peers have no address


def test_peers_of_unix_sockets(tmp_path: Path) -> None:
    from fastnet_ext.net.kinds import connection_type
    from fastnet_ext.net.loop_state import LoopState
    from fastnet_ext.net.protocols import OnePort
    from fastnet_ext.net.service import Service
    from fastnet_ext.proxy.forwarded import Proxies
    from tests.loops import run

    async def ask_over(trusted: str) -> bytes:
        loop = asyncio.get_running_loop()
        state = LoopState(loop)
        service = Service(app().build(), OnePort(), proxies=Proxies([trusted]))
        kind = connection_type(service, loop)
        path = f"{tmp_path}/{len(trusted)}"
        server = await loop.create_unix_server(lambda: kind(state, service), path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 192.0.2.1\r\nconnection: close\r\n\r\n")
        found = await reader.read()
        writer.close()
        server.close()
        await state.wait_empty()
        state.close()
        await asyncio.sleep(0)
        return found

    assert b'"client":["192.0.2.1",0],"socket":false' in run(ask_over("unix"))
    assert b'"client":["192.0.2.1",0],"socket":false' in run(ask_over("*"))
    assert b'"client":null,"socket":false' in run(ask_over("127.0.0.1"))
