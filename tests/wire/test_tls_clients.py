"""Mutual TLS: who a client is, for handlers and for dependencies, in every protocol."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grpc
import orjson
import pytest
from websockets.asyncio.client import connect

from fastnet import App, Call, Depends, Request
from fastnet.grpc import ServicerContext
from fastnet.websocket import WebSocket
from tests.loops import run
from tests.protos import greeter
from tests.wire.live import Live, live, until
from tests.wire.tls import Files, describing_app
from tests.wire.tools import curl, needs

pb, pb_grpc = greeter()


@pytest.fixture(scope="module", params=["required", "optional"])
def mutual(request: pytest.FixtureRequest, files: Files) -> Iterator[Live]:
    verified: dict[str, Any] = {"tls_client_ca": files.ca, "tls_client_verify": request.param}
    with live(describing_app(), tls_cert=files.cert, tls_key=files.key, **verified) as running:
        yield running


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_a_client_is(mutual: Live, files: Files, alice: Files, version: ssl.TLSVersion) -> None:
    context = files.client(shows=alice)
    context.minimum_version = context.maximum_version = version
    with mutual.peer(context=context) as one:
        found = one.get("/").answer()
    assert found.status == 200
    seen = orjson.loads(found.body)
    assert seen["version"] == ("TLSv1.3" if version == ssl.TLSVersion.TLSv1_3 else "TLSv1.2")
    assert (seen["alpn"], seen["name"], seen["resumed"]) == ("http/1.1", "localhost", False)
    assert seen["subject"].startswith("CN=alice\\, of x,OU=")
    assert seen["names"] == [["email", "alice@example.com"]]
    # Its own, the authority between, and the root; it is the first.
    assert len(seen["chain"]) == 3
    assert seen["der"] is True
    with mutual.peer(context=context) as one:
        assert one.get("/me").answer().body.decode() == seen["subject"]


def test_a_client_without_a_certificate(mutual: Live, files: Files, request: pytest.FixtureRequest) -> None:
    failed = mutual.counters["tls_failed"]
    if "required" in request.node.name:
        assert "certificate required" in turned_away(mutual, files.client())
        until(lambda: mutual.counters["tls_failed"] == failed + 1)
        return
    with mutual.peer(context=files.client()) as one:
        seen = orjson.loads(one.get("/").answer().body)
        assert (seen["subject"], seen["names"], seen["chain"], seen["der"]) == ("", [], [], False)
        assert one.get("/me").answer().status == 403


def turned_away(server: Live, context: ssl.SSLContext) -> str:
    """How a client's TLS fails: with TLS 1.3 it is done before it hears of it."""
    with contextlib.ExitStack() as stack, pytest.raises(ssl.SSLError) as caught:
        stack.enter_context(server.peer(context=context)).get("/").answer()
    return str(caught.value).lower().replace("_", " ")


def test_a_client_that_strangers_vouch_for(mutual: Live, files: Files, stranger: Files) -> None:
    assert "unknown ca" in turned_away(mutual, files.client(shows=stranger))


# --- the same in every protocol, for handlers and for what they depend on


def shown(call: Call) -> str:
    assert call.tls is not None
    name = call.tls.subject.partition("\\,")[0]
    return f"{name} {call.tls.subject_alternative_names} {len(call.tls.peer_chain)}"


SHOWN = "CN=alice (('email', 'alice@example.com'),) 3"


@pytest.fixture(scope="module")
def everywhere(files: Files) -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index(request: Request, who: Annotated[str, Depends(shown)]) -> str:
        return f"{shown(request)}; {who}"

    @app.websocket("/ws")
    async def ws(socket: WebSocket, call: Call, who: Annotated[str, Depends(shown)]) -> None:
        await socket.send(f"{shown(call)}; {who}")

    @app.grpc.method("/greeter.Greeter/SayHello")
    async def say_hello(request: Any, context: ServicerContext, who: Annotated[str, Depends(shown)]) -> Any:
        return pb.HelloReply(message=f"{shown(context)}; {who}")

    verified: dict[str, Any] = {"tls_client_ca": files.ca, "tls_client_verify": "required"}
    with live(app, tls_cert=files.cert, tls_key=files.key, **verified) as running:
        yield running


@needs("curl")
@pytest.mark.parametrize("option", ["--http1.1", "--http2"])
def test_in_http_of_both_versions(everywhere: Live, files: Files, alice: Files, option: str) -> None:
    trust = ("--cacert", files.ca, "--cert", alice.cert, "--key", alice.key)
    answer = curl(f"https://localhost:{everywhere.port}/", option, *trust)
    assert answer.version == ("HTTP/2" if option == "--http2" else "HTTP/1.1")
    assert answer.body.decode() == f"{SHOWN}; {SHOWN}"


def test_in_websockets(everywhere: Live, files: Files, alice: Files) -> None:
    async def main() -> None:
        place = f"wss://localhost:{everywhere.port}/ws"
        async with connect(place, ssl=files.client(shows=alice), proxy=None) as client:
            assert await client.recv() == f"{SHOWN}; {SHOWN}"

    run(main())


def test_in_grpc(everywhere: Live, files: Files, alice: Files) -> None:
    ca, key, cert = (Path(path).read_bytes() for path in (files.ca, alice.key, alice.cert))
    credentials = grpc.ssl_channel_credentials(ca, key, cert)
    with grpc.secure_channel(f"localhost:{everywhere.port}", credentials) as channel:
        stub = pb_grpc.GreeterStub(channel)
        assert stub.SayHello(pb.HelloRequest(name="x"), timeout=20).message == f"{SHOWN}; {SHOWN}"
