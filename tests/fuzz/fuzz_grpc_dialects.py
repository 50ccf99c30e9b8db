"""A mutation fuzzer for what speaks gRPC-Web and Connect, from the parsers to whole calls.

    python -m tests.fuzz.fuzz_grpc_dialects --seconds 60 --seed 1

Whatever the bytes: the text format, a GET's query and the details of a status are read as simple readers read them, or
are refused with ValueError. As the body of a call in each dialect they get an answer of that dialect, its status in
its own place; a call that is well in one piece is well, with the same answer, in any; and no handler and no logger
hears of what was wrong.
"""

import asyncio
import functools
import gzip
import json
import logging
import random
import string
import sys
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from fastnet import App
from fastnet.grpc import GrpcServer
from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.memory import MemoryConnection, MemoryExchange
from fastnet_ext.grpc import connect
from fastnet_ext.grpc.framing import MessageReader, frame
from fastnet_ext.grpc.web import TextReader, encode_text, encode_trailers
from fastnet_ext.net.loop_state import LoopState
from tests.fuzz.harness import Inputs, changed, corpus_of, main, pieces, seeds
from tests.loops import new_loop
from tests.protos import greeter, user

CORPUS = corpus_of("grpc_dialects")
LONGEST = 1024
LIMIT = 300  # bytes of a message

pb, _ = greeter()
user_pb, _ = user()

HELLO, RECORD, GET_USER = "/greeter.Greeter/SayHello", "/greeter.Greeter/RecordGreetings", "/user.UserService/GetUser"
ADA = pb.HelloRequest(name="Ada").SerializeToString()
PIECES = [
    *(frame(content, flag) for content in (b"", ADA, b'{"name": "Ada"}', b"\xff", b"{") for flag in (0, 1, 2)),
    *(frame(gzip.compress(ADA), 1), frame(b"x" * 301), frame(gzip.compress(bytes(400)), 1), frame(b"")[:3]),
    *(encode_text(frame(ADA)), encode_text(b"a"), b"A", b"=", b"==", b"AA==", b"A=", b"_-", b"+/"),
    *(b"&", b"message=", b"encoding=", b"json", b"proto", b"base64=1", b"compression=", b"gzip", b"connect=v1", b"%7B"),
    *(b"%", b"+", b"{", b"}", b'"name": ', b'"\\ud800"', b"[", b"1e999", b"null", b"\x1a\x02\x0a\x00", b"\xff\xff\x7f"),
    encode_trailers([(b"grpc-status", b"0")]),
]
DIGITS = (string.ascii_letters + string.digits + "+/").encode()
NAMES = {connect.http_status(code) for code in range(1, 17)}

# Content-type, method, name of the compression's field.
KINDS = (
    ("application/json", HELLO, "content-encoding"),
    ("application/proto", HELLO, "content-encoding"),
    ("application/grpc-web", HELLO, "grpc-encoding"),
    ("application/grpc-web-text", HELLO, "grpc-encoding"),
    ("application/grpc-web", RECORD, "grpc-encoding"),
    ("application/grpc-web-text", RECORD, "grpc-encoding"),
    ("application/connect+proto", RECORD, "connect-content-encoding"),
    ("application/connect+json", RECORD, "connect-content-encoding"),
)


# --- the parsers


def naive_text(data: bytes) -> tuple[bytes, bool] | None:
    """What a text stands for, and whether it ends between groups; None when it is not base64."""
    plain = b""
    for at in range(0, len(data), 4):
        group = data[at : at + 4]
        digits = group.rstrip(b"=")
        if any(byte not in DIGITS for byte in digits) or (len(digits) < 2 and group != digits):
            return None
        if len(group) < 4:
            return plain, False
        plain += b64decode(group)
    return plain, True


def check_text(data: bytes, rng: random.Random) -> None:
    expected = naive_text(data)
    for parts in ([data], pieces(rng, data), [data[i : i + 1] for i in range(len(data))]):
        reader, found = TextReader(), b""
        try:
            for part in parts:
                found += reader.feed(part)
        except ValueError:
            assert expected is None
        else:
            assert expected == (found, reader.complete)
    assert naive_text(encode_text(data)) == (data, True)


def naive_query(data: bytes) -> dict[bytes, bytes]:
    pairs = [pair.replace(b"+", b" ").partition(b"=") for pair in data.split(b"&") if b"=" in pair]
    found: dict[bytes, bytes] = {}
    for name, _, value in pairs:
        found.setdefault(unquote_to_bytes(name), unquote_to_bytes(value))
    return found


def check_query(data: bytes) -> None:
    expected = naive_query(data)
    try:
        request = connect.decode_get(data)
    except ValueError:
        assert (
            not {b"message", b"encoding"} <= expected.keys()
            or expected.get(b"connect", b"v1") != b"v1"
            or expected.get(b"base64") == b"1"
        )
        return
    assert request.encoding == expected[b"encoding"].decode("utf-8", "replace")
    assert request.compression == (expected.get(b"compression", b"").decode("utf-8", "replace") or "identity")
    if expected.get(b"base64") != b"1":
        assert request.message == expected[b"message"]


def check_error(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    error = json.loads(connect.encode_error(len(data) % 20, text, data))
    assert error.pop("code")
    assert error.pop("message", "") == text.encode("utf-8", "replace").decode()
    for detail in error.pop("details", []):
        assert "/" not in detail["type"]
        b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4), validate=True)
    assert error == {}
    fields = [(b"a", data), (b"b", b""), (b"a", b"c")]
    (event,) = MessageReader(1 << 20, 2).feed(connect.encode_end(0, "", None, fields))
    assert event[:2] == ("message", 2)
    assert isinstance(event[2], bytes)
    assert json.loads(event[2]) == {"metadata": {"a": [data.decode("latin-1"), "c"], "b": [""]}}
    timeout = connect.timeout_microseconds(data)
    assert timeout == (int(data) * 1000 if data.isdigit() and len(data) <= 10 else None)


# --- whole calls


async def say_hello(request: Any, context: Any) -> Any:
    return pb.HelloReply(message=f"Hello, {request.name}!")


async def record(requests: AsyncIterator[Any], context: Any) -> Any:
    names = [request.name async for request in requests]
    return pb.GreetingSummary(count=len(names), summary=", ".join(names))


async def get_user(request: Any, context: Any) -> Any:
    return user_pb.User(id=request.id)


@functools.cache
def routes() -> dict[str, Route]:
    server = GrpcServer(App())
    for path, handler in ((HELLO, say_hello), (RECORD, record), (GET_USER, get_user)):
        server.method(path, max_message=LIMIT)(handler)
    return {path: route for _, path, route in server.entries()}


class Heard(logging.Handler):
    """Remembers what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def answered(x: MemoryExchange, parts: list[bytes]) -> MemoryExchange:
    """The exchange once the call that comes in these parts is over."""
    x.run()
    for part in parts:
        if x.complete:
            break
        x.push(part)
    if not x.complete:
        x.push_end()
    for _ in range(1000):
        if x.is_finished:
            return x
        await asyncio.sleep(0)
    raise AssertionError("the call does not end")


def outcome(x: MemoryExchange, kind: str) -> tuple[bytes, ...] | None:
    """The messages of an answer as its dialect has them; None when the call failed, as the dialect says that."""
    content, fields = x.content, dict(x.fields or ())
    if kind in ("application/json", "application/proto"):
        if x.answer_status == 200:
            assert fields[b"content-type"] == kind.encode()
            return (content,)
        assert fields[b"content-type"] == b"application/json"
        assert json.loads(content)["code"]
        assert x.answer_status in NAMES
        return None
    assert x.answer_status == 200
    if kind == "application/grpc-web-text":
        content = b"".join(b64decode(content[i : i + 4]) for i in range(0, len(content), 4))
    reader = MessageReader(1 << 20, 0x82)
    *messages, (_, flag, end) = reader.feed(content)
    assert reader.complete
    assert isinstance(end, bytes)
    if kind.startswith("application/grpc-web"):
        assert flag == 0x80
        failed = end.split(b"\r\n")[0] != b"grpc-status: 0"
    else:
        assert flag == 2
        failed = "error" in json.loads(end)
    return None if failed else tuple(message for _, _, message in messages if isinstance(message, bytes))


async def check_calls(data: bytes, rng: random.Random) -> None:
    state = LoopState(asyncio.get_running_loop())
    connection = MemoryConnection(state.local)
    cuts = [[data], pieces(rng, data)]
    if len(data) <= 100:
        cuts.append([data[i : i + 1] for i in range(len(data))])
    for kind, path, field in KINDS:
        headers = [(b"content-type", kind.encode())]
        if rng.random() < (0.2 if field == "content-encoding" else 0.7):
            headers.append((field.encode(), b"gzip"))
        found = set()
        for parts in cuts:
            x = MemoryExchange.streaming("POST", path, headers, route=routes()[path], connection=connection)
            found.add(outcome(await answered(x, parts), kind))
        assert len(found) == 1, (kind, path, found)
    target = f"{GET_USER}?message=&{quote(data, safe='&=%+')}"
    x = MemoryExchange("GET", target, route=routes()[GET_USER], connection=connection)
    await answered(x, [])
    assert x.answer_status == 200 or json.loads(x.content)["code"]
    state.close()


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    check_text(data, rng)
    check_query(data)
    check_error(data)
    heard, log = Heard(), logging.getLogger("fastnet.error")
    log.addHandler(heard)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(check_calls(data, rng))
    finally:
        log.removeHandler(heard)
    assert heard.records == []


def insert(rng: random.Random) -> bytes:
    return rng.choice(PIECES)


def inputs(seed: int) -> Inputs:
    """Endless mutations of the corpus, the same for the same seed; some of them coded once more."""
    rng = random.Random(seed)
    contents = [content for _, content in seeds(CORPUS)]
    coders: list[Callable[[bytes], bytes]] = [b64encode, urlsafe_b64encode, gzip.compress, frame]
    coders += [lambda data: b64encode(frame(data)), *[bytes] * 6]
    while True:
        data = changed(rng, rng.choice(contents), contents, insert, changes=(0, 0, 1, 1, 2, 4), longest=LONGEST)
        yield rng.choice(coders)(data)[:LONGEST], rng


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
