"""Calls of methods in every dialect that the port speaks, in bytes: what a test of all of them shares."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, urlencode

import grpc

from fastnet_ext.grpc.framing import MessageReader, frame
from tests.fastnet.serving import Client

Dialect = Literal["grpc", "web", "text", "connect-proto", "connect-json", "connect-get"]
DIALECTS: tuple[Dialect, ...] = ("grpc", "web", "text", "connect-proto", "connect-json")

CODES = {code.name.lower().replace("cancelled", "canceled"): code.value[0] for code in grpc.StatusCode}
PATIENCE = 20


class Outcome(NamedTuple):
    """The status and the messages in front of it: bytes, JSON values where the dialect has those."""

    code: int
    messages: list[Any]


class Method(NamedTuple):
    """What the dialects must know of a method."""

    path: str
    request_streaming: bool = False
    response_streaming: bool = False

    @property
    def unary(self) -> bool:
        return not (self.request_streaming or self.response_streaming)


def call(client: Client, dialect: Dialect, method: Method, requests: Sequence[Any], **metadata: str) -> Outcome:
    """Call with the messages (of protobuf), and metadata whose names have "_" for "-"."""
    headers = {name.replace("_", "-"): value for name, value in metadata.items()}
    if dialect == "grpc":
        return _grpc(client, method, requests, headers)
    if dialect == "connect-get":
        (request,) = requests
        query = {"encoding": "json", "message": json.dumps(_json(request)), "connect": "v1"}
        answer = client.request("GET", f"{method.path}?{urlencode(query, quote_via=quote)}", headers=headers)
        return _unary(answer.status, answer.body, as_json=True)
    if dialect in ("web", "text"):
        return _web(client, method, requests, headers, text=dialect == "text")
    as_json = dialect == "connect-json"
    encoded = [_encoded(request, as_json) for request in requests]
    kind = dialect.removeprefix("connect-")
    if method.unary:
        (body,) = encoded
        answer = client.request("POST", method.path, body, {"content-type": f"application/{kind}", **headers})
        return _unary(answer.status, answer.body, as_json)
    headers = {"content-type": f"application/connect+{kind}", **headers}
    answer = client.request("POST", method.path, b"".join(map(frame, encoded)), headers)
    assert answer.status == 200
    *messages, end = _envelopes(answer.body, 2)
    error = json.loads(end).get("error")
    return Outcome(CODES[error["code"]] if error else 0, [_decoded(message, as_json) for message in messages])


def _envelopes(content: bytes, last: int) -> list[bytes]:
    """The messages of a stream, of which the last one has the flag ``last``."""
    messages, flags = [], []
    for _, flag, message in MessageReader(1 << 20, last | 1).feed(content):
        assert isinstance(message, bytes)
        messages.append(message)
        flags.append(flag)
    assert flags == [0] * (len(flags) - 1) + [last]
    return messages


def _encoded(request: Any, as_json: bool) -> bytes:
    return json.dumps(_json(request)).encode() if as_json else request.SerializeToString()


def _decoded(message: Any, as_json: bool) -> Any:
    return json.loads(message) if as_json else message


def _json(request: Any) -> dict[str, Any]:
    return {field.json_name: value for field, value in request.ListFields()}


def _grpc(client: Client, method: Method, requests: Sequence[Any], headers: Mapping[str, str]) -> Outcome:
    """A stream both ways is any method to the wire."""
    encoded = iter([request.SerializeToString() for request in requests])
    messages = []
    with grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        answers = channel.stream_stream(method.path)(encoded, timeout=PATIENCE, metadata=tuple(headers.items()))
        try:
            for message in answers:
                messages.append(message)  # noqa: PERF402 - what came in front of an error counts
        except grpc.RpcError:
            pass
        return Outcome(answers.code().value[0], messages)


def _web(client: Client, method: Method, requests: Sequence[Any], headers: Mapping[str, str], *, text: bool) -> Outcome:
    body = b"".join(frame(request.SerializeToString()) for request in requests)
    kind = "application/grpc-web-text" if text else "application/grpc-web"
    answer = client.request("POST", method.path, b64encode(body) if text else body, {"content-type": kind, **headers})
    assert answer.status == 200
    content = answer.body
    if text:
        content = b"".join(b64decode(content[i : i + 4]) for i in range(0, len(content), 4))
    *messages, block = _envelopes(content, 0x80)
    trailers = dict(line.split(": ", 1) for line in block.decode().splitlines())
    return Outcome(int(trailers["grpc-status"]), messages)


def _unary(status: int, body: bytes, as_json: bool) -> Outcome:
    if status != 200:
        return Outcome(CODES[json.loads(body)["code"]], [])
    return Outcome(0, [_decoded(body, as_json)])
