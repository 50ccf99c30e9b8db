"""gRPC-Web and Connect on an application's port: plain HTTP clients call the methods that gRPC's call."""

import asyncio
import gzip
import json
import shutil
import subprocess
import threading
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf import any_pb2, wrappers_pb2

from fastnet import App, HTTPException
from fastnet_ext.grpc.framing import MessageReader, frame
from tests.fastnet.serving import Answer, Client, serving
from tests.protos import greeter, user

pb, _ = greeter()
user_pb, _ = user()

HELLO = "/greeter.Greeter/SayHello"
GET_USER = "/user.UserService/GetUser"
JSON, PROTO = "application/json", "application/proto"
WEB, TEXT = "application/grpc-web", "application/grpc-web-text"

# Set when the handler that waits was cancelled.
cancelled = threading.Event()


def packed_status() -> bytes:
    """A google.rpc.Status whose one detail is a StringValue."""
    detail = any_pb2.Any()
    detail.Pack(wrappers_pb2.StringValue(value="why"))
    raw = detail.SerializeToString()
    return b"\x08\x09" + bytes([3 << 3 | 2, len(raw)]) + raw


class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        if request.name.startswith("x"):
            context.set_compression(grpc.Compression.Gzip)
        match request.name:
            case "metadata":
                await context.send_initial_metadata([("first", "1"), ("first-bin", b"\xff")])
                context.set_trailing_metadata([("last", "2"), ("last-bin", b"\xfe")])
                sent = dict(context.invocation_metadata())
                return pb.HelloReply(message=f"{sent['mine']} {sent['mine-bin'].hex()}")
            case "abort":
                trailing = [("grpc-status-details-bin", packed_status()), ("last", "2")]
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "não: 50%", trailing)
            case "refuse":
                raise HTTPException(404, "no such person")
            case "xempty":
                return pb.HelloReply()
            case "fail" | "xfail":
                raise RuntimeError("secret")
            case "wait":
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    cancelled.set()
                    raise
            case "deadline":
                return pb.HelloReply(message=str(context.time_remaining()))
        return pb.HelloReply(message=f"Hello, {request.name}!")


class Users:
    async def GetUser(self, request: Any, context: Any) -> Any:
        # What waits goes on after the end of the request, which has no body.
        await asyncio.sleep(0.01)
        return user_pb.User(id=request.id, name="Ada")


def application() -> App:
    app = App()
    app.grpc.service("greeter.Greeter", max_message=1000)(Greeter)
    app.grpc.add(Users(), "user.UserService")
    return app


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving(application()) as client:
        yield client


def connect(client: Client, name: str, **headers: str) -> Answer:
    fields = {"content-type": JSON, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return client.request("POST", HELLO, json.dumps({"name": name}).encode(), fields)


def web(
    client: Client, name: str, *, body: bytes | None = None, kind: str = WEB, path: str = HELLO, **headers: str
) -> tuple[list[bytes], dict[str, str], Answer]:
    """Call by gRPC-Web: the messages, the trailers, and the answer."""
    if body is None:
        body = frame(pb.HelloRequest(name=name).SerializeToString())
    if kind == TEXT:
        body = b64encode(body)
    fields = {"content-type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}}
    answer = client.request("POST", path, body, fields)
    assert answer.status == 200
    assert answer.headers["content-type"] == f"{kind}+proto"
    content = answer.body
    if kind == TEXT:
        content = b"".join(b64decode(content[i : i + 4]) for i in range(0, len(content), 4))
    reader = MessageReader(1 << 20, 0x81)
    events = reader.feed(content)
    assert reader.complete
    _, flag, block = events.pop()
    assert flag == 0x80
    assert isinstance(block, bytes)
    trailers = dict(line.split(": ", 1) for line in block.decode().removesuffix("\r\n").split("\r\n"))
    return [message for _, flag, message in events if flag == 0 and isinstance(message, bytes)], trailers, answer


# --- Connect


def test_a_call_in_json(client: Client) -> None:
    answer = client.post(HELLO, b'{"name": "Ada"}')
    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    assert answer.json == {"message": "Hello, Ada!"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("option", ["--http1.1", "--http2-prior-knowledge"])
def test_curl(client: Client, option: str) -> None:
    command = ["curl", "-sS", option, "-d", '{"name": "Åsa"}', "-H", "content-type: application/json"]
    url = f"http://127.0.0.1:{client.port}{HELLO}"
    done = subprocess.run([*command, url], capture_output=True, timeout=20, check=True)
    assert json.loads(done.stdout) == {"message": "Hello, Åsa!"}


def test_a_call_in_protobuf(client: Client) -> None:
    body = pb.HelloRequest(name="Ada").SerializeToString()
    answer = client.request("POST", HELLO, body, {"content-type": PROTO, "connect-protocol-version": "1"})
    assert (answer.status, answer.headers["content-type"]) == (200, PROTO)
    assert pb.HelloReply.FromString(answer.body).message == "Hello, Ada!"


def test_an_empty_message(client: Client) -> None:
    assert pb.HelloReply.FromString(client.post(HELLO, b"", PROTO).body).message == "Hello, !"
    assert client.post(HELLO, b"{}").json == {"message": "Hello, !"}


def test_fields_that_a_newer_client_sends(client: Client) -> None:
    assert client.post(HELLO, b'{"name": "Ada", "age": 36}').json == {"message": "Hello, Ada!"}


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_a_compressed_request(client: Client, coding: str) -> None:
    body = b'{"name": "Ada"}'
    fields = {"content-type": JSON, "content-encoding": coding}
    answer = client.request("POST", HELLO, gzip.compress(body, mtime=0) if coding == "gzip" else body, fields)
    assert answer.json == {"message": "Hello, Ada!"}


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("deflate", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("kind", [JSON, PROTO])
def test_a_compressed_answer(client: Client, kind: str, accepted: str, compressed: bool) -> None:
    request = pb.HelloRequest(name="x" * 500)
    body = json.dumps({"name": request.name}).encode() if kind == JSON else request.SerializeToString()
    answer = client.request("POST", HELLO, body, {"content-type": kind, "accept-encoding": accepted})
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert answer.headers.get("vary") == ("accept-encoding" if compressed else None)
    content = gzip.decompress(answer.body) if compressed else answer.body
    assert len(answer.body) < 100 or not compressed
    reply = pb.HelloReply(**json.loads(content)) if kind == JSON else pb.HelloReply.FromString(content)
    assert reply.message == f"Hello, {request.name}!"


def test_errors_and_empty_answers_are_not_compressed(client: Client) -> None:
    for name, status in (("xfail", 500), ("xempty", 200)):
        body = pb.HelloRequest(name=name).SerializeToString()
        answer = client.request("POST", HELLO, body, {"content-type": PROTO, "accept-encoding": "gzip"})
        assert answer.status == status
        assert "content-encoding" not in answer.headers
        assert (answer.body == b"") == (name == "xempty")


def coded(message: bytes) -> str:
    return "&base64=1&message=" + urlsafe_b64encode(message).decode()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("encoding=json&message=" + quote('{"id": "7"}'), {"id": "7", "name": "Ada"}),
        ("connect=v1&encoding=json" + coded(b'{"id":7}'), {"id": "7", "name": "Ada"}),
        ("encoding=json&compression=gzip" + coded(gzip.compress(b"{}", mtime=0)), {"name": "Ada"}),
    ],
)
def test_get(client: Client, query: str, expected: dict[str, str]) -> None:
    answer = client.get(f"{GET_USER}?{query}")
    assert (answer.status, answer.json) == (200, expected)


def test_get_in_protobuf(client: Client) -> None:
    message = urlsafe_b64encode(user_pb.GetUserRequest(id=7).SerializeToString()).decode().rstrip("=")
    answer = client.get(f"{GET_USER}?encoding=proto&base64=1&message={message}")
    assert answer.headers["content-type"] == PROTO
    assert user_pb.User.FromString(answer.body).id == 7


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        (HELLO + "?encoding=json&message={}", 405, "does not answer GET"),
        (GET_USER, 415, "application/json"),
        (GET_USER + "?message={}", 400, "encoding=json"),
        (GET_USER + "?message={}&encoding=xml", 400, "not xml"),
        (GET_USER + "?message={&encoding=json", 400, "user.GetUserRequest in JSON"),
        (GET_USER + "?message={}&encoding=json&compression=zz", 501, "compression"),
        (GET_USER + "?message=*&encoding=json&base64=1", 400, "not base64"),
    ],
)
def test_get_that_is_no_call(client: Client, target: str, status: int, words: str) -> None:
    answer = client.get(target)
    assert answer.status == status
    assert words in answer.text


def test_metadata(client: Client) -> None:
    answer = connect(client, "metadata", mine="yours", mine_bin=b64encode(b"\x01\x02").decode())
    assert answer.json == {"message": "yours 0102"}
    assert (answer.headers["first"], answer.headers["first-bin"]) == ("1", "/w")
    assert (answer.headers["trailer-last"], answer.headers["trailer-last-bin"]) == ("2", "/g")


def test_an_abort(client: Client) -> None:
    answer = connect(client, "abort")
    assert (answer.status, answer.headers["content-type"]) == (400, JSON)
    error = answer.json
    (detail,) = error.pop("details")
    assert error == {"code": "failed_precondition", "message": "não: 50%"}
    assert detail["type"] == "google.protobuf.StringValue"
    value = wrappers_pb2.StringValue(value="why").SerializeToString()
    assert b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4)) == value
    assert answer.headers["trailer-last"] == "2"
    assert "trailer-grpc-status-details-bin" not in answer.headers


def test_refusals_and_failures(client: Client) -> None:
    answer = connect(client, "refuse")
    assert (answer.status, answer.json) == (404, {"code": "not_found", "message": "no such person"})
    answer = connect(client, "fail")
    assert (answer.status, answer.json["code"]) == (500, "unknown")
    assert "secret" not in answer.text
    assert "request " in answer.json["message"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"connect_timeout_ms": "0"}, 504, "deadline_exceeded"),
        ({"connect_timeout_ms": "1s"}, 400, "invalid_argument"),
        ({"connect_timeout_ms": "12345678901"}, 400, "invalid_argument"),
        ({"connect_protocol_version": "2"}, 400, "invalid_argument"),
        ({"mine_bin": "*"}, 400, "invalid_argument"),
        ({"content_encoding": "gzip"}, 400, "invalid_argument"),
        ({"content_encoding": "zz"}, 501, "unimplemented"),
    ],
)
def test_heads_that_are_refused(client: Client, headers: dict[str, str], status: int, code: str) -> None:
    answer = connect(client, "Ada", **headers)
    assert (answer.status, answer.json["code"]) == (status, code)
    if code == "unimplemented":
        assert "gzip" in answer.headers["accept-encoding"]


def test_the_deadline(client: Client) -> None:
    remaining = float(connect(client, "deadline", connect_timeout_ms="60000").json["message"])
    assert 0 < remaining <= 60
    cancelled.clear()
    answer = connect(client, "wait", connect_timeout_ms="50")
    assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
    assert cancelled.wait(10)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"\xff", JSON),
        (b'{"name": 1}', JSON),
        (b'["name"]', JSON),
        (b"[" * 900, JSON),
        (b'{"name": ' + b'{"a":' * 150, JSON),
    ],
)
def test_messages_that_are_none(client: Client, body: bytes, kind: str) -> None:
    answer = client.post(HELLO, body, kind)
    assert (answer.status, answer.json["code"]) == (400, "invalid_argument")
    assert "greeter.HelloRequest" in answer.json["message"]
    assert "Traceback" not in answer.text


def test_a_damaged_message(client: Client) -> None:
    answer = client.post(HELLO, b"\xff", PROTO)
    assert (answer.status, answer.json["code"]) == (500, "internal")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_message_above_the_limit(client: Client, chunked: bool) -> None:
    body: Any = pb.HelloRequest(name="x" * 1001).SerializeToString()
    answer = client.request("POST", HELLO, iter([body]) if chunked else body, {"content-type": PROTO})  # type: ignore[arg-type]
    assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")
    bomb = gzip.compress(bytes(100_000))
    answer = client.request("POST", HELLO, bomb, {"content-type": PROTO, "content-encoding": "gzip"})
    assert (answer.status, answer.json["code"]) == (429, "resource_exhausted")


def test_a_method_that_is_not_there(client: Client) -> None:
    answer = client.post("/greeter.Greeter/Nothing", b"{}")
    assert (answer.status, answer.json) == (501, {"code": "unimplemented", "message": "Method not found!"})
    assert client.post("/no.Service/Nothing", b"{}").status == 404


# --- gRPC-Web


@pytest.mark.parametrize("kind", [WEB, TEXT])
def test_a_web_call(client: Client, kind: str) -> None:
    messages, trailers, _ = web(client, "Ada", kind=kind)
    assert [pb.HelloReply.FromString(message).message for message in messages] == ["Hello, Ada!"]
    assert trailers == {"grpc-status": "0"}


def test_text_that_is_padded_in_its_midst(client: Client) -> None:
    body = frame(pb.HelloRequest(name="Ada").SerializeToString())
    pieces = b"".join(b64encode(body[i : i + 4]) for i in range(0, len(body), 4))
    answer = client.request("POST", HELLO, pieces, {"content-type": TEXT})
    assert b"Hello, Ada!" in b"".join(b64decode(answer.body[i : i + 4]) for i in range(0, len(answer.body), 4))


@pytest.mark.parametrize("kind", [WEB, TEXT])
def test_the_status_is_in_the_body(client: Client, kind: str) -> None:
    messages, trailers, answer = web(client, "abort", kind=kind)
    assert messages == []
    assert trailers["grpc-status"] == "9"
    assert trailers["grpc-message"] == "n%C3%A3o: 50%25"
    assert trailers["last"] == "2"
    assert "grpc-status" not in answer.headers


def test_metadata_of_a_web_call(client: Client) -> None:
    messages, trailers, answer = web(client, "metadata", mine="yours", mine_bin="AQI")
    assert pb.HelloReply.FromString(messages[0]).message == "yours 0102"
    assert (answer.headers["first"], answer.headers["first-bin"]) == ("1", "/w")
    assert (trailers["last"], trailers["last-bin"]) == ("2", "/g")


def test_a_compressed_web_request(client: Client) -> None:
    body = frame(gzip.compress(pb.HelloRequest(name="Ada").SerializeToString()), 1)
    messages, trailers, _ = web(client, "", body=body, grpc_encoding="gzip")
    assert pb.HelloReply.FromString(messages[0]).message == "Hello, Ada!"
    _, trailers, answer = web(client, "", body=body, grpc_encoding="zz")
    assert trailers["grpc-status"] == "12"
    assert "gzip" in answer.headers["grpc-accept-encoding"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", "12"), (frame(b"")[:3], "13"), (frame(b"", 0x80), "13"), (frame(b"\xff"), "13"), (frame(bytes(1001)), "8")],
)
@pytest.mark.parametrize("kind", [WEB, TEXT])
def test_web_requests_that_are_broken(client: Client, body: bytes, status: str, kind: str) -> None:
    _, trailers, _ = web(client, "", body=body, kind=kind)
    assert trailers["grpc-status"] == status


@pytest.mark.parametrize("body", [b"*", b"AAAA*", b"AA", b"A=AA"])
def test_text_that_is_not_base64(client: Client, body: bytes) -> None:
    answer = client.request("POST", HELLO, body, {"content-type": TEXT})
    content = b"".join(b64decode(answer.body[i : i + 4]) for i in range(0, len(answer.body), 4))
    assert b"grpc-status: 13" in content
    assert b"base64" in content


def test_a_web_deadline(client: Client) -> None:
    cancelled.clear()
    _, trailers, _ = web(client, "wait", grpc_timeout="50m")
    assert trailers["grpc-status"] == "4"
    assert cancelled.wait(10)


def test_a_web_method_that_is_not_there(client: Client) -> None:
    _, trailers, _ = web(client, "Ada", path="/greeter.Greeter/Nothing")
    assert trailers == {"grpc-status": "12", "grpc-message": "Method not found!"}


# --- who else comes


@pytest.mark.parametrize("kind", ["text/html", "application/x-www-form-urlencoded", ""])
def test_what_is_no_call(client: Client, kind: str) -> None:
    answer = client.request("POST", HELLO, b"name=Ada", {"content-type": kind} if kind else {})
    assert answer.status == 415
    assert "application/json" in answer.headers["accept"]
    assert "application/json" in answer.json["detail"]
    assert repr(kind) in answer.json["detail"]


def test_a_browser(client: Client) -> None:
    answer = client.get(HELLO, accept="text/html")
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")


# --- pages of other origins


def preflight(client: Client, origin: str, **headers: str) -> Answer:
    fields = {"origin": origin, "access-control-request-method": "POST", **headers}
    return client.request("OPTIONS", HELLO, None, fields)


def test_without_cors(client: Client) -> None:
    answer = preflight(client, "https://app.example")
    assert answer.status == 204
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_origins_that_are_named() -> None:
    app = application()
    app.grpc.cors("https://app.example", "https://b.example:8443", expose=["Trailer-Last"], credentials=True)
    with serving(app) as client:
        wanted = "content-type,x-grpc-web,mine"
        answer = preflight(client, "https://b.example:8443", **{"access-control-request-headers": wanted})
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://b.example:8443"
        assert answer.headers["access-control-allow-headers"] == wanted
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"]
        other = preflight(client, "https://evil.example")
        assert not [name for name in other.headers if name.startswith("access-control")]

        def web_answer(**headers: str) -> Answer:
            return web(client, "Ada", **headers)[2]  # type: ignore[arg-type]

        for call in (web_answer, partial(connect, client, "Ada")):
            answer = call(origin="https://app.example")
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            assert "grpc-status" in answer.headers["access-control-expose-headers"]
            assert "trailer-last" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "origin"
            for answer in (call(), call(origin="https://evil.example")):
                assert "access-control-allow-origin" not in answer.headers
                assert answer.headers["vary"] == "origin"
        failed = connect(client, "abort", origin="https://app.example")
        assert failed.headers["access-control-allow-origin"] == "https://app.example"


def test_all_origins() -> None:
    app = application()
    app.grpc.cors("*")
    with serving(app) as client:
        assert preflight(client, "https://x.example").headers["access-control-allow-origin"] == "*"
        answer = web(client, "Ada", origin="https://x.example")[2]
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "vary" not in answer.headers


@pytest.mark.parametrize(
    ("origins", "options", "words"),
    [
        ([], {}, "needs an origin"),
        (["app.example"], {}, "no origin"),
        (["https://app.example/"], {}, "no origin"),
        (["*"], {"credentials": True}, "named"),
        (["*"], {"max_age": -1}, "max_age"),
    ],
)
def test_cors_that_cannot_be(origins: list[str], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        App().grpc.cors(*origins, **options)
