"""Every protocol over TLS, each with a client that is not ours, on one port."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from websockets.asyncio.client import connect

from fastnet import App, Call, Depends, Request
from fastnet.grpc import ServicerContext
from fastnet.websocket import WebSocket
from tests import loops
from tests.protos import greeter
from tests.wire.live import Live, live
from tests.wire.tls import Files
from tests.wire.tools import curl, needs, run

pb, pb_grpc = greeter()

PATIENCE = 20


def subject(call: Call) -> str:
    assert call.tls is not None
    name = call.tls.subject.partition("\\,")[0]
    return f"{call.tls.alpn} {name}"


class Greeter(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    async def SayHello(self, request: Any, context: ServicerContext) -> Any:
        if len(request.name) > 100:
            return pb.HelloReply(message=request.name)
        keys = context.auth_context()
        names = (context.peer_identities() or [b""])[0].decode()
        return pb.HelloReply(message=f"{subject(context)} {names} {keys['transport_security_type'][0].decode()}")


@pytest.fixture(scope="module")
def server(files: Files) -> Iterator[Live]:
    app = App(max_body=64 << 20)

    @app.get("/")
    async def index(who: Annotated[str, Depends(subject)]) -> str:
        return who

    @app.get("/big")
    async def big() -> bytes:
        return bytes(16 << 20)

    @app.post("/echo")
    async def echo(body: bytes) -> bytes:
        return body

    @app.websocket("/echo", max_message=1 << 24)
    async def ws(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    @app.websocket("/flood")
    async def flood(ws: WebSocket) -> None:
        for _ in range(1000):
            await ws.send(b"x" * 50_000)

    pb_grpc.add_GreeterServicer_to_server(Greeter(), app.grpc)
    with live(
        app, tls_cert=files.cert, tls_key=files.key, tls_client_ca=files.ca, tls_client_verify="optional"
    ) as running:
        yield running


def url(server: Live, scheme: str, path: str) -> str:
    return f"{scheme}://localhost:{server.port}{path}"


@needs("curl")
@pytest.mark.parametrize(("option", "alpn"), [("--http1.1", "http/1.1"), ("--http2", "h2")])
def test_http(server: Live, files: Files, alice: Files, option: str, alpn: str) -> None:
    trust = ("--cacert", files.ca, option)
    assert curl(url(server, "https", "/"), *trust).body.decode().rstrip() == alpn
    shown = curl(url(server, "https", "/"), *trust, "--cert", alice.cert, "--key", alice.key)
    assert shown.body.decode() == f"{alpn} CN=alice"
    body = bytes(range(256)) * 4096
    assert curl(url(server, "https", "/echo"), *trust, body=body).body == body


@needs("h2load")
def test_many_streams(server: Live) -> None:
    done = run("h2load", "-n2000", "-c4", "-m32", url(server, "https", "/"))
    assert b"2000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


# The asyncio client: below Python 3.13 two threads must not use one TLS socket, which the synchronous one does.


def test_websocket(server: Live, files: Files) -> None:
    async def main() -> None:
        async with connect(
            url(server, "wss", "/echo"), ssl=files.client(), proxy=None, compression=None, max_size=1 << 24
        ) as client:
            for size in (0, 1, 125, 16_384, 65_536, 5_000_000):
                await client.send("x" * size)
                assert await client.recv() == "x" * size
            for number in range(500):
                await client.send(str(number))
            assert [await client.recv() for _ in range(500)] == [str(number) for number in range(500)]

    loops.run(main())


def test_a_websocket_that_reads_slowly(server: Live, files: Files) -> None:
    async def main() -> None:
        async with connect(url(server, "wss", "/flood"), ssl=files.client(), proxy=None, max_queue=1) as client:
            for _ in range(1000):
                assert len(await client.recv()) == 50_000

    loops.run(main())


def test_grpc(server: Live, files: Files, alice: Files) -> None:
    read = Path.read_bytes
    for shown, words in ((None, "h2   ssl"), (alice, "h2 CN=alice alice@example.com ssl")):
        pair = (None, None) if shown is None else (read(Path(shown.key)), read(Path(shown.cert)))
        credentials = grpc.ssl_channel_credentials(read(Path(files.ca)), *pair)
        with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
            stub = pb_grpc.GreeterStub(channel)
            assert stub.SayHello(pb.HelloRequest(name="x"), timeout=PATIENCE).message == words
            large = "x" * (3 << 20)
            assert stub.SayHello(pb.HelloRequest(name=large), timeout=PATIENCE).message == large


def test_http2_with_a_reader_that_stops(server: Live, files: Files) -> None:
    """A window without end and a socket that nobody reads: the answer waits, and comes whole."""
    with server.peer(context=files.client(alpn="h2"), receive_buffer=16 << 10) as one:
        machine = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        machine.initiate_connection()
        machine.update_settings({4: 2**31 - 1})
        machine.increment_flow_control_window(2**30)
        head = [(":method", "GET"), (":path", "/big"), (":scheme", "https"), (":authority", "t")]
        machine.send_headers(1, head, end_stream=True)
        one.send(machine.data_to_send())
        with server.peer(context=files.client()) as other:
            assert other.get("/").answer().status == 200
        size, ended = 0, False
        while not ended:
            for event in machine.receive_data(one.sock.recv(1 << 16)):
                if isinstance(event, h2.events.DataReceived):
                    size += len(event.data or b"")
                ended = ended or isinstance(event, h2.events.StreamEnded)
            one.send(machine.data_to_send())
        assert size == 16 << 20


def test_draining_lets_hand_shakes_end(files: Files) -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "here"

    with live(app, tls_cert=files.cert, tls_key=files.key) as server:
        plain = server.peer()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = files.client().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        plain.send(outgoing.read())
        # In the middle of the hand-shake.
        assert server.server.state is not None
        server.call(server.server.state.drain)
        incoming.write(plain.sock.recv(1 << 16))
        tls.do_handshake()
        tls.write(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
        plain.send(outgoing.read())
        while data := plain.sock.recv(1 << 16):
            incoming.write(data)
        found = b""
        # Ends by close_notify.
        while data := tls.read(1 << 16):
            found += data
        assert b"connection: close" in found
        assert found.endswith(b"here")
        plain.sock.close()


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_port_that_speaks_http1_only(files: Files, encrypted: bool) -> None:
    app = App()

    @app.get("/")
    async def index(request: Request) -> str:
        return request.http_version

    pair = {"tls_cert": files.cert, "tls_key": files.key} if encrypted else {}
    with live(app, protocols=("http/1.1",), **pair) as server:  # type: ignore[arg-type]
        context = files.client(alpn="http/1.1") if encrypted else None
        with server.peer(context=context) as one:
            assert one.get("/").answer().body == b"1.1"
        with server.peer(context=context) as one:
            # Refused as HTTP/1 refuses it: without a frame of HTTP/2.
            answer = one.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").rest()
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_port_that_speaks_http2_only(files: Files, encrypted: bool) -> None:
    app = App()

    @app.get("/")
    async def index(request: Request) -> str:
        return request.http_version

    pair = {"tls_cert": files.cert, "tls_key": files.key} if encrypted else {}
    with live(app, protocols=("h2",), **pair) as server:  # type: ignore[arg-type]
        # Without ALPN: who offers another protocol only is refused before (test_tls_alpn.py).
        with server.peer(context=ssl.create_default_context(cafile=files.ca) if encrypted else None) as one:
            # SETTINGS and GOAWAY, no answer of HTTP/1.
            assert b"HTTP/1" not in one.get("/").rest()
        trust = ("--cacert", files.ca, "--http2") if encrypted else ("--http2-prior-knowledge",)
        if shutil.which("curl") is not None:
            assert curl(f"{server.server.url}/", *trust).body == b"2"
