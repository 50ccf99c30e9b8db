"""Streams by gRPC-Web and Connect: messages as they come, the status behind them."""

import asyncio
import gzip
import http.client
import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from fastnet import App
from fastnet_ext.grpc.framing import MessageReader, frame
from tests.fastnet.serving import Client, serving
from tests.protos import greeter
from tests.server.service import until

pb, _ = greeter()

WEB, TEXT = "application/grpc-web", "application/grpc-web-text"
PROTO, JSON = "application/connect+proto", "application/connect+json"
KINDS = (WEB, TEXT, PROTO, JSON)

# Messages, and the status behind them.
Outcome = tuple[list[str], int]

cancelled = threading.Event()


class Greeter:
    async def SayHelloStream(self, request: Any, context: Any) -> Any:
        context.set_trailing_metadata([("last", "2")])
        if request.name == "gzip":
            context.set_compression(grpc.Compression.Gzip)
        for i in range(3):
            yield pb.HelloReply(message=f"{i} {request.name}")
        if request.name == "abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
        if request.name == "wait":
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    async def RecordGreetings(self, requests: Any, context: Any) -> Any:
        names = [request.name async for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(self, requests: Any, context: Any) -> Any:
        async for message in requests:
            yield pb.ChatMessage(user="server", content=message.content)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    app = App()
    app.grpc.service("greeter.Greeter", max_message=1000)(Greeter)
    with serving(app) as client:
        yield client


def encoded(kind: str, message: Any) -> bytes:
    if kind != JSON:
        return bytes(message.SerializeToString())
    fields = {field.name: value for field, value in message.ListFields()}
    return json.dumps(fields).encode()


def call(
    client: Client, kind: str, method: str, messages: list[Any], text_of: Callable[[Any], str], **headers: str
) -> Outcome:
    return send(client, kind, method, b"".join(frame(encoded(kind, each)) for each in messages), text_of, **headers)


def send(
    client: Client, kind: str, method: str, body: bytes, text_of: Callable[[Any], str] = str, **headers: str
) -> Outcome:
    fields = {"content-type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}}
    answer = client.request("POST", f"/greeter.Greeter/{method}", b64encode(body) if kind == TEXT else body, fields)
    assert answer.status == 200
    assert answer.headers["content-type"] == (kind if kind in (PROTO, JSON) else f"{kind}+proto")
    content = answer.body
    if kind == TEXT:
        content = b"".join(b64decode(content[i : i + 4]) for i in range(0, len(content), 4))
    reader = MessageReader(1 << 20, 0x83)
    events = reader.feed(content)
    assert reader.complete
    _, flag, end = events.pop()
    assert isinstance(end, bytes)
    types = {"SayHelloStream": pb.HelloReply, "RecordGreetings": pb.GreetingSummary, "Chat": pb.ChatMessage}
    texts = []
    for _, message_flag, message in events:
        assert message_flag == 0
        assert isinstance(message, bytes)
        reply = types[method](**json.loads(message)) if kind == JSON else types[method].FromString(message)
        texts.append(text_of(reply))
    if kind in (WEB, TEXT):
        assert flag == 0x80
        trailers = dict(line.split(": ", 1) for line in end.decode().splitlines())
        assert trailers.get("last") == ("2" if method == "SayHelloStream" and texts else None)
        return texts, int(trailers["grpc-status"])
    assert flag == 2
    last = json.loads(end)
    if method == "SayHelloStream" and texts:
        assert last["metadata"] == {"last": ["2"]}
    codes = {"not_found": 5, "deadline_exceeded": 4, "invalid_argument": 3, "internal": 13, "resource_exhausted": 8}
    codes["unimplemented"] = 12
    return texts, codes[last["error"]["code"]] if "error" in last else 0


def message_of(reply: Any) -> str:
    return str(reply.message)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_of_replies(client: Client, kind: str) -> None:
    outcome = call(client, kind, "SayHelloStream", [pb.HelloRequest(name="Ada")], message_of)
    assert outcome == (["0 Ada", "1 Ada", "2 Ada"], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_of_requests(client: Client, kind: str) -> None:
    requests = [pb.HelloRequest(name=name) for name in ("Ada", "", "Bob")]
    assert call(client, kind, "RecordGreetings", requests, lambda reply: f"{reply.count}: {reply.summary}") == (
        ["3: Ada, , Bob"],
        0,
    )
    assert call(client, kind, "RecordGreetings", [], lambda reply: str(reply.count)) == (["0"], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways(client: Client, kind: str) -> None:
    messages = [pb.ChatMessage(content=str(i)) for i in range(50)]
    texts, code = call(client, kind, "Chat", messages, lambda reply: str(reply.content))
    assert (texts, code) == ([str(i) for i in range(50)], 0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_abort_behind_messages(client: Client, kind: str) -> None:
    outcome = call(client, kind, "SayHelloStream", [pb.HelloRequest(name="abort")], message_of)
    assert outcome == (["0 abort", "1 abort", "2 abort"], 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline(client: Client, kind: str) -> None:
    cancelled.clear()
    limit = {"grpc_timeout": "50m"} if kind in (WEB, TEXT) else {"connect_timeout_ms": "50"}
    assert call(client, kind, "SayHelloStream", [pb.HelloRequest(name="wait")], message_of, **limit)[1] == 4
    assert cancelled.wait(10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["SayHelloStream", "RecordGreetings", "Chat"])
def test_requests_that_are_broken(client: Client, kind: str, method: str) -> None:
    assert send(client, kind, method, frame(b"{}")[:3])[1] == 13
    assert send(client, kind, method, frame(b"", 0x40))[1] == 13
    assert send(client, kind, method, frame(bytes(1001)))[1] == 8
    assert send(client, kind, method, frame(b"x", 1))[1] == 13
    assert send(client, kind, method, frame(b"\xff"))[1] == (3 if kind == JSON else 13)


@pytest.mark.parametrize("kind", [PROTO, JSON])
def test_compressed_messages(client: Client, kind: str) -> None:
    body = frame(gzip.compress(encoded(kind, pb.HelloRequest(name="Ada"))), 1)
    texts, code = send(client, kind, "SayHelloStream", body, message_of, connect_content_encoding="gzip")
    assert (texts[0], code) == ("0 Ada", 0)
    assert send(client, kind, "SayHelloStream", body, connect_content_encoding="zz") == ([], 12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("accepted", ["identity, gzip", "deflate"])
def test_compressed_answers(client: Client, kind: str, accepted: str) -> None:
    dialect = "grpc" if kind in (WEB, TEXT) else "connect"
    body = frame(encoded(kind, pb.HelloRequest(name="gzip")))
    fields = {"content-type": kind, f"{dialect}-accept-encoding": accepted}
    content = b64encode(body) if kind == TEXT else body
    answer = client.request("POST", "/greeter.Greeter/SayHelloStream", content, fields)
    coding = answer.headers.get("grpc-encoding" if dialect == "grpc" else "connect-content-encoding")
    content = answer.body
    if kind == TEXT:
        content = b"".join(b64decode(content[i : i + 4]) for i in range(0, len(content), 4))
    *messages, (_, end, _) = MessageReader(1 << 20, 0x83).feed(content)
    assert end == (0x80 if dialect == "grpc" else 2)
    assert coding == ("gzip" if "gzip" in accepted else None)
    for number, (_, flag, message) in enumerate(messages):
        assert flag == (1 if coding else 0)
        assert isinstance(message, bytes)
        plain = gzip.decompress(message) if coding else message
        reply = pb.HelloReply(**json.loads(plain)) if kind == JSON else pb.HelloReply.FromString(plain)
        assert reply.message == f"{number} gzip"


@pytest.mark.parametrize("kind", KINDS)
def test_messages_leave_as_they_are_given(client: Client, kind: str) -> None:
    body = frame(encoded(kind, pb.HelloRequest(name="wait")))
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)
    try:
        cancelled.clear()
        content = b64encode(body) if kind == TEXT else body
        connection.request("POST", "/greeter.Greeter/SayHelloStream", content, {"content-type": kind})
        response = connection.getresponse()
        got = b""

        def complete() -> bool:
            nonlocal got
            got += response.read1(100_000)
            plain = b"".join(b64decode(got[i : i + 4]) for i in range(0, len(got), 4)) if kind == TEXT else got
            return b"2 wait" in plain

        until(complete)
    finally:
        connection.close()
    # Who leaves in the middle of a stream ends its handler.
    assert cancelled.wait(10)


@pytest.mark.parametrize("kind", ["application/json", "application/proto"])
@pytest.mark.parametrize("method", ["SayHelloStream", "Chat"])
def test_a_stream_is_no_plain_request(client: Client, method: str, kind: str) -> None:
    assert client.post(f"/greeter.Greeter/{method}", b"{}", kind).status == 415
