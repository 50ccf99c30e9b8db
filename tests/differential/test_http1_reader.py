"""The HTTP/1 reader against h11 and httptools (llhttp).

Ours is stricter than both, so the rules are: a message that we accept and an oracle accepts too is
the same message to both; and none is accepted that both oracles refuse.
"""

import random
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.fuzz_http1 import CORPUS, LONGEST, inputs, insert
from tests.fuzz.harness import changed, seeds
from tests.http1.reading import read, request

Fields = list[tuple[bytes, bytes]]
HUGE = 1 << 20


@dataclass
class Message:
    """One message as some reader understood it; ``target`` is empty for responses."""

    start: bytes  # method or status
    target: bytes
    fields: Fields
    body: bytes = b""
    trailers: Fields | None = None  # None: the reader does not tell them
    complete: bool = False


@dataclass
class Reading:
    messages: list[Message] = field(default_factory=list)
    failed: bool = False  # the reader refused something
    left: bool = False  # the reader has no opinion on what follows


def normal(fields: Any) -> Fields:
    """Names in lower case, values trimmed; codings in lower case, as h11 gives them."""
    found = [(bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in fields]
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in found]


def ours(data: bytes, client: bool) -> Reading:
    reading = Reading()
    outcome = read(data, client=client)
    for event in outcome.events:
        if event[0] == "head":
            start = b"%d" % event[1]["status"] if client else event[1]["method"]
            reading.messages.append(
                Message(start, b"" if client else event[1]["target"], normal(event[2]), trailers=[])
            )
            reading.messages[-1].complete = client and 100 <= event[1]["status"] < 200
        elif event[0] == "data":
            reading.messages[-1].body += event[1]
        elif event[0] == "end":
            reading.messages[-1].trailers = event[1] or []
            reading.messages[-1].complete = True
        else:
            reading.failed = True
    if outcome.end == "end":
        reading.messages[-1].complete = True
    return reading


def by_h11(data: bytes, client: bool) -> Reading:
    """A new connection for each message: h11 refuses the empty lines before a request that RFC 9112, 2.2 allows."""
    reading = Reading()
    while data and not (reading.failed or reading.left):
        if not client:
            data = data.removeprefix(b"\r\n").removeprefix(b"\r\n")
        data = read_one_by_h11(reading, data, client)
    return reading


def read_one_by_h11(reading: Reading, data: bytes, client: bool) -> bytes:
    """One message into ``reading``; what follows it."""
    connection = h11.Connection(h11.CLIENT if client else h11.SERVER, max_incomplete_event_size=HUGE)
    if client:
        connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    event: Any = None
    try:
        while not isinstance(event, h11.EndOfMessage):
            event = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                reading.left = True
                return b""
            take_h11(reading, event)
    except h11.RemoteProtocolError:
        reading.failed = True
        return b""
    reading.left = connection.their_state is h11.MUST_CLOSE
    return connection.trailing_data[0]


def take_h11(reading: Reading, event: Any) -> None:
    if isinstance(event, h11.Request):
        reading.messages.append(Message(event.method, event.target, normal(event.headers)))
    elif isinstance(event, h11.Response | h11.InformationalResponse):
        reading.messages.append(Message(b"%d" % event.status_code, b"", normal(event.headers)))
        reading.messages[-1].complete = isinstance(event, h11.InformationalResponse)
    elif isinstance(event, h11.Data):
        reading.messages[-1].body += event.data
    elif isinstance(event, h11.EndOfMessage):
        reading.messages[-1].trailers = normal(event.headers)
        reading.messages[-1].complete = True


class Collector:
    """The callbacks of httptools."""

    parser: Any

    def __init__(self, client: bool) -> None:
        self.client = client
        self.reading = Reading()
        self.target = b""
        self.fields: Fields = []
        self.in_head = True

    def on_message_begin(self) -> None:
        self.target, self.fields, self.in_head = b"", [], True

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        start = b"%d" % self.parser.get_status_code() if self.client else self.parser.get_method()
        self.reading.messages.append(Message(start, self.target, normal(self.fields)))

    def on_body(self, body: bytes) -> None:
        self.reading.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.reading.messages[-1].complete = True


def by_httptools(data: bytes, client: bool) -> Reading:
    collector = Collector(client)
    parser = httptools.HttpResponseParser(collector) if client else httptools.HttpRequestParser(collector)
    collector.parser = parser
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        # llhttp leaves the body of a request that asks for an upgrade to the next protocol.
        collector.reading.left = True
        collector.reading.messages[-1].complete = False
    except httptools.HttpParserInvalidMethodError:
        collector.reading.left = True  # it knows a fixed list of methods
    except httptools.HttpParserError:
        collector.reading.failed = True
    return collector.reading


def same(mine: Message, theirs: Message) -> bool:
    if (mine.start, mine.target, mine.fields) != (theirs.start, theirs.target, theirs.fields):
        return False
    if not (mine.complete and theirs.complete):
        return True
    return mine.body == theirs.body and theirs.trailers in (None, mine.trailers)


def compare(data: bytes, client: bool = False) -> int:
    """Hold our reading to both oracles; how many messages we completed."""
    mine = ours(data, client)
    oracles = [by_h11(data, client), by_httptools(data, client)]
    for oracle in oracles:
        for our_message, their_message in zip(mine.messages, oracle.messages, strict=False):
            if not same(our_message, their_message):
                raise AssertionError(f"{data!r}\nours:   {our_message}\ntheirs: {their_message}")
    done = sum(message.complete for message in mine.messages)
    for count in range(1, done + 1):
        refusals = [oracle.failed and sum(m.complete for m in oracle.messages) < count for oracle in oracles]
        assert not all(refusals), f"message {count} is accepted against both oracles: {data!r}"
    return done


REQUESTS = [
    request(),
    request(start=b"GET /a/b?c=d&e=%20 HTTP/1.1") * 3,
    request(start=b"OPTIONS * HTTP/1.1"),
    request(start=b"GET http://example.com/a HTTP/1.1"),
    request(start=b"CONNECT example.com:443 HTTP/1.1"),
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2,
    b"\r\n" + request(),
    request(b"A:b", b"C:  d  ", b"E:", b"F: \xe4\xff", b"G: a\tb"),
    request(b"Content-Length: 5", start=b"POST / HTTP/1.1", body=b"hello") + request(),
    request(b"Content-Length: 005", start=b"PUT / HTTP/1.1", body=b"hello"),
    request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1", body=b"5\r\nhello\r\n0\r\n\r\n") + request(),
    request(b"Transfer-Encoding: CHUNKED", start=b"POST / HTTP/1.1", body=b"005;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    request(b"Connection: close") + request(),
    request(b"Connection: Upgrade", b"Upgrade: websocket"),
    request(b"Expect: 100-continue", b"Content-Length: 1", start=b"PUT / HTTP/1.1", body=b"x"),
]


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_are_understood_alike(data: bytes) -> None:
    assert compare(data) >= 1


RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.parametrize("data", RESPONSES)
def test_responses_are_understood_alike(data: bytes) -> None:
    assert compare(data, client=True) >= 1


@pytest.mark.parametrize("data", [pytest.param(content, id=name) for name, content in seeds(CORPUS)])
def test_the_corpus_is_understood_alike(data: bytes) -> None:
    compare(data)
    compare(data, client=True)


def test_mutations_are_understood_alike() -> None:
    accepted = sum(compare(data) for data, _ in islice(inputs(2), 2500))
    assert accepted > 200, "the mutations hardly ever make a request"


def test_mutated_responses_are_understood_alike() -> None:
    contents = [content for name, content in seeds(CORPUS) if name.startswith("response")]
    rng = random.Random(5)
    mutations = (changed(rng, rng.choice(contents), contents, insert, longest=LONGEST) for _ in range(1000))
    accepted = sum(compare(data, client=True) for data in mutations)
    assert accepted > 200, "the mutations hardly ever make a response"


TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ", min_size=1, max_size=20).map(str.encode)
VALUE = st.binary(max_size=40).map(lambda b: bytes(c for c in b if 32 <= c != 127).strip())
MEANINGFUL = {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"}
TRAILING = MEANINGFUL | {b"te", b"range", b"cookie"}


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "X-OTHER"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=30),
    st.lists(st.tuples(TOKEN.filter(lambda n: n.lower() not in TRAILING), VALUE), max_size=8),
    st.lists(st.binary(min_size=1, max_size=40), max_size=4),
    st.booleans(),
)
def test_what_h11_writes_is_read(method: str, path: str, fields: Fields, chunks: list[bytes], chunked: bool) -> None:
    body = b"".join(chunks)
    framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % len(body))
    client = h11.Connection(h11.CLIENT)
    data = client.send(h11.Request(method=method, target="/" + path, headers=[(b"Host", b"a"), framing, *fields]))
    for chunk in chunks:
        data += client.send(h11.Data(data=chunk)) or b""
    data += client.send(h11.EndOfMessage(headers=fields if chunked else [])) or b""
    (message,) = ours(data, client=False).messages
    assert message.complete
    assert (message.start, message.target) == (method.encode(), b"/" + path.encode())
    assert [f for f in message.fields if f[0] not in MEANINGFUL] == normal(fields)
    assert message.body == body
    assert message.trailers == (normal(fields) if chunked else [])
