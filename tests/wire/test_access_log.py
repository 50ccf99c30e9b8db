"""The access log's lines for each protocol and for clients behind proxies, in both formats."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from websockets.sync.client import connect

from fastnet import App, WebSocket
from fastnet.grpc import ServicerContext
from tests.proxy.headers import inet, v2
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, live, until

Talk = Callable[[Live], None]


def app() -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "hello"

    app.state.released = asyncio.Event()

    @app.get("/held")
    async def held() -> str:
        await app.state.released.wait()
        return "late"

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def call(request: bytes, context: ServicerContext) -> bytes:
        if request == b"abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")
        if request == b"fail":
            raise RuntimeError("secret of ours")
        if request == b"wait":
            await asyncio.get_running_loop().create_future()
        return b"fine"

    handlers = {"Call": grpc.unary_unary_rpc_method_handler(call)}
    app.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    return app


def lines_of(path: Path, talk: Talk, **settings: Any) -> list[str]:
    """What is logged of what `talk` does."""
    # The record of a handler that fails keeps its traceback, and that the call.
    with live(app(), access_log=True, access_log_file=str(path), keeps=True, **settings) as server:
        talk(server)
    return path.read_text(encoding="ascii").splitlines()


def objects_of(path: Path, talk: Talk, **settings: Any) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines_of(path, talk, log_format="json", **settings)]


def texts_of(path: Path, talk: Talk, **settings: Any) -> list[str]:
    """Text lines without what differs each time: times, and the ids of requests."""
    found = []
    for line in lines_of(path, talk, log_format="text", **settings):
        parts = re.fullmatch(r"\S+Z (.*) \d+\.\d{3}ms [0-9a-f]{16}(.*)", line)
        assert parts is not None, line
        found.append(parts[1] + parts[2])
    return found


# --- HTTP/2


def two_streams(server: Live) -> None:
    with H2Peer(server.port) as peer:
        assert peer.status(peer.request("GET", "/?token=hunter2")) == 200
        assert peer.status(peer.request("GET", "/nowhere")) == 404


def test_each_stream_is_a_line(tmp_path: Path) -> None:
    found = objects_of(tmp_path / "json", two_streams)
    assert [(line["path"], line["status"], line["protocol"]) for line in found] == [
        ("/", 200, "HTTP/2"),
        ("/nowhere", 404, "HTTP/2"),
    ]
    assert (found[0]["query"], found[0]["bytes_out"], found[0]["client"]) == ("token=***", 5, "127.0.0.1")
    assert found[0]["request_id"] != found[1]["request_id"]
    first, second = texts_of(tmp_path / "text", two_streams)
    assert first == '127.0.0.1 "GET /?token=*** HTTP/2" 200 5'
    assert second.startswith('127.0.0.1 "GET /nowhere HTTP/2" 404 ')


def a_stream_that_is_reset(server: Live) -> None:
    with H2Peer(server.port) as peer:
        stream = peer.request("GET", "/held")
        until(lambda: server.counters["requests_active"] == 1)
        peer.machine.reset_stream(stream, 8)
        peer.flush()
        until(lambda: server.counters["disconnects"] == 1)
        server.call(server.server.app.state.released.set)
        until(lambda: server.counters["requests_active"] == 0)


def test_a_stream_that_its_peer_resets(tmp_path: Path) -> None:
    # A plain handler runs on, and the line comes with its end.
    (line,) = objects_of(tmp_path / "json", a_stream_that_is_reset)
    assert (line["status"], line["end"]) == (499, "peer left")
    (text,) = texts_of(tmp_path / "text", a_stream_that_is_reset)
    assert text == '127.0.0.1 "GET /held HTTP/2" 499 0 (peer left)'


# --- gRPC


def three_calls(server: Live) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert channel.unary_unary("/test.Test/Call")(b"", timeout=20) == b"fine"
        for method, request in (("Call", b"abort"), ("Call", b"fail"), ("Nothing", b"")):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(f"/test.Test/{method}")(request, timeout=20)


def test_a_call_is_a_line_with_its_grpc_status(tmp_path: Path) -> None:
    found = objects_of(tmp_path / "json", three_calls)
    statuses = [(line["path"].rpartition("/")[2], line["status"], line["grpc_status"]) for line in found]
    assert statuses == [("Call", 200, 0), ("Call", 200, 5), ("Call", 200, 2), ("Nothing", 200, 12)]
    assert all("close_code" not in line and "end" not in line for line in found)
    assert found[0]["method"] == "POST"
    texts = texts_of(tmp_path / "text", three_calls)
    assert [text.rpartition(" ")[2] for text in texts] == ["grpc=0", "grpc=5", "grpc=2", "grpc=12"]
    assert texts[0].startswith('127.0.0.1 "POST /test.Test/Call HTTP/2" 200 ')


def a_call_out_of_time(server: Live) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/test.Test/Call")(b"wait", timeout=0.2)
    until(lambda: server.counters["requests_active"] == 0)


def test_a_call_that_came_to_nothing(tmp_path: Path) -> None:
    (line,) = objects_of(tmp_path / "json", a_call_out_of_time)
    # The server's own deadline, or the client's reset that comes at the same moment.
    assert line.get("grpc_status") == 4 or line["end"] == "peer left"


# --- WebSocket


def a_conversation(server: Live) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/echo?token=hunter2", compression=None, proxy=None) as ws:
        ws.send("x" * 100)
        assert ws.recv() == "x" * 100
        ws.close(4001)


def a_peer_that_vanishes(server: Live) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/echo", compression=None, proxy=None) as ws:
        ws.send("x")
        assert ws.recv() == "x"
        ws.socket.close()
        until(lambda: server.counters["connections_open"] == 0)


def test_a_websocket_is_a_line_with_its_close_code(tmp_path: Path) -> None:
    (line,) = objects_of(tmp_path / "json", a_conversation)
    assert (line["status"], line["close_code"], line["route"], line["query"]) == (101, 4001, "/echo", "token=***")
    assert line["bytes_out"] >= 100
    (text,) = texts_of(tmp_path / "text", a_conversation)
    assert text.startswith('127.0.0.1 "GET /echo?token=*** HTTP/1.1" 101 ')
    assert text.endswith(" close=4001")


def test_a_websocket_without_a_close_frame(tmp_path: Path) -> None:
    (line,) = objects_of(tmp_path / "json", a_peer_that_vanishes)
    assert line["close_code"] == 1006
    (text,) = texts_of(tmp_path / "text", a_peer_that_vanishes)
    assert " close=1006" in text


# --- behind proxies


def forwarded(*fields: str) -> Talk:
    def talk(server: Live) -> None:
        with Peer(server.port) as peer:
            assert peer.get("/", *fields).answer().status == 200

    return talk


TRUSTED = "127.0.0.1, 10.0.0.0/8"
PROXIES = {
    "Forwarded": (("forwarded: for=192.0.2.7;proto=https",), "192.0.2.7"),
    "Forwarded, IPv6": (('forwarded: for="[2001:db8::7]:4711"',), "2001:db8::7"),
    "X-Forwarded-For": (("x-forwarded-for: 192.0.2.7",), "192.0.2.7"),
    "two of ours": (("x-forwarded-for: 198.51.100.9, 192.0.2.7, 10.1.2.3",), "192.0.2.7"),
    "nobody said": ((), "127.0.0.1"),
}


@pytest.mark.parametrize("case", PROXIES)
def test_the_client_that_a_trusted_proxy_names(case: str, tmp_path: Path) -> None:
    fields, client = PROXIES[case]
    (line,) = objects_of(tmp_path / "json", forwarded(*fields), trusted_proxies=TRUSTED)
    assert line["client"] == client
    (text,) = texts_of(tmp_path / "text", forwarded(*fields), trusted_proxies=TRUSTED)
    assert text == f'{client} "GET / HTTP/1.1" 200 5'


@pytest.mark.parametrize("case", PROXIES)
def test_nobody_else_chooses_the_client_of_a_line(case: str, tmp_path: Path) -> None:
    fields, _ = PROXIES[case]
    (line,) = objects_of(tmp_path / "json", forwarded(*fields), trusted_proxies="10.0.0.0/8")
    assert line["client"] == "127.0.0.1"
    (text,) = texts_of(tmp_path / "text", forwarded(*fields))
    assert text == '127.0.0.1 "GET / HTTP/1.1" 200 5'


HEADERS = {"v1": b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", "v2": v2(inet())}
GET = b"GET / HTTP/1.1\r\nhost: test\r\n"


def proxied(header: bytes, fields: bytes = b"") -> Talk:
    def talk(server: Live) -> None:
        with Peer(server.port) as peer:
            assert peer.send(header + GET + fields + b"\r\n").answer().status == 200
        with Peer(server.port) as peer:
            assert peer.send(header + b"nonsense\r\n\r\n").rest() == b""
        with Peer(server.port) as peer:
            assert peer.send(header + b"GET / HTTP/1.1\r\nbad field\r\n\r\n").answer().status == 400

    return talk


@pytest.mark.parametrize("version", HEADERS)
def test_the_client_of_the_proxy_protocol(version: str, tmp_path: Path) -> None:
    settings = {"trusted_proxies": "127.0.0.1", "proxy_protocol": "required"}
    line, refused = objects_of(tmp_path / "json", proxied(HEADERS[version]), **settings)
    assert (line["client"], line["status"]) == ("192.0.2.1", 200)
    assert (refused["client"], refused["status"], refused["end"]) == ("192.0.2.1", 400, "refused")
    text, refusal = lines_of(tmp_path / "text", proxied(HEADERS[version]), log_format="text", **settings)
    assert ' 192.0.2.1 "GET / HTTP/1.1" 200 5 ' in text
    assert refusal.endswith(' 192.0.2.1 "-" 400 0 - - (refused)')


def test_a_client_of_the_proxy_protocol_that_is_no_proxy_of_ours_names_nobody(tmp_path: Path) -> None:
    """The header's client counts as the peer: what it says of others counts only where it is trusted itself."""
    talk = proxied(HEADERS["v1"], b"x-forwarded-for: 203.0.113.5\r\n")
    line, _ = objects_of(tmp_path / "json", talk, trusted_proxies="127.0.0.1", proxy_protocol="required")
    assert line["client"] == "192.0.2.1"
