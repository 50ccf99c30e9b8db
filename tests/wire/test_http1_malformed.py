"""What is no HTTP/1, or too much of it: refused with a reason, closed, and nobody else is disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from fastnet import App
from tests.wire.live import Live, Peer, live


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    app = App()
    served: list[bytes] = []
    app.state.served = served

    @app.get("/")
    async def index() -> str:
        served.append(b"/")
        return "fine"

    @app.post("/")
    async def post(body: bytes) -> bytes:
        served.append(body)
        return body

    with live(app, limit_request_line=1000, limit_head=4000, limit_fields=20) as running:
        yield running


@pytest.fixture
def bystander(server: Live) -> Iterator[Peer]:
    """A connection of somebody else, which is served before and after."""
    with server.peer() as peer:
        assert peer.get("/").answer().status == 200
        yield peer
        assert peer.get("/").answer().status == 200


def refused(peer: Peer, status: int) -> None:
    """One answer of that status, problem details, then the end of the connection without a reset."""
    answer = peer.answer()
    assert (answer.status, answer["connection"]) == (status, "close")
    assert answer["content-type"] == "application/problem+json"
    assert orjson.loads(answer.body)["status"] == status
    assert peer.closed()


MALFORMED = {
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
    "a space before the colon": (400, b"GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n"),
    "a folded field": (400, b"GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\n\r\n"),
    "a bare LF": (400, b"GET / HTTP/1.1\nhost: a\n\n"),
    "NUL in a value": (400, b"GET / HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n"),
    "a bare CR in a value": (400, b"GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n"),
    "an empty name": (400, b"GET / HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n"),
    "a target with a space": (400, b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"),
    "a fragment": (400, b"GET /#x HTTP/1.1\r\nhost: a\r\n\r\n"),
    "another major version": (505, b"GET / HTTP/3.0\r\nhost: a\r\n\r\n"),
    "an unknown transfer coding": (501, b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: brew, chunked\r\n\r\n"),
    "a long line": (414, b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nhost: a\r\n\r\n"),
    "an endless line": (414, b"GET /" + b"a" * 2000),
    "a big head": (431, b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 5000 + b"\r\n\r\n"),
    "an endless head": (431, b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 5000),
    "many fields": (431, b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 30 + b"\r\n"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_refused_and_closed(server: Live, bystander: Peer, what: str) -> None:
    status, request = MALFORMED[what]
    with server.peer() as peer:
        refused(peer.send(request), status)


@pytest.mark.parametrize("what", MALFORMED)
def test_the_same_byte_by_byte(server: Live, what: str) -> None:
    status, request = MALFORMED[what]
    with server.peer() as peer:
        # What comes after the refusal is read and dropped for a while: a reset would take it away.
        for i in range(len(request)):
            peer.send(request[i : i + 1])
        refused(peer, status)


# Two recipients could see different requests in each: the second request must never be served.
SMUGGLING = {
    "length and chunked": b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "a list of lengths": b"content-length: 5, 6\r\n\r\nhello",
    "a signed length": b"content-length: +5\r\n\r\nhello",
    "a negative length": b"content-length: -5\r\n\r\nhello",
    "a length in hexadecimal": b"content-length: 0x5\r\n\r\nhello",
    "an empty length": b"content-length:\r\n\r\nhello",
    "a length that overflows": b"content-length: 18446744073709551621\r\n\r\nhello",
    "chunked twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a tab before chunked": b"transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a coding that is almost chunked": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space in the name": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a signed chunk size": b"transfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size in 0x": b"transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with an underscore": b"transfer-encoding: chunked\r\n\r\n1_0\r\nhello\r\n0\r\n\r\n",
    "a chunk size that overflows": b"transfer-encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
    "no chunk size": b"transfer-encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
    "a chunk line ended by LF": b"transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": b"transfer-encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    "LF in a chunk extension": b"transfer-encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a trailer with LF": b"transfer-encoding: chunked\r\n\r\n0\r\nx: y\n\r\n",
    "a folded trailer": b"transfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n z\r\n\r\n",
}


@pytest.mark.parametrize("what", SMUGGLING)
def test_no_request_is_smuggled(server: Live, bystander: Peer, what: str) -> None:
    app_state = server.server.app.state
    before = len(app_state.served)
    with server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: a\r\n" + SMUGGLING[what] + b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = peer.answer()
        assert answer.status in (400, 413, 501)
        assert answer["connection"] == "close"
        assert peer.closed()
    assert len(app_state.served) == before


def test_chunked_is_refused_in_http_1_0(server: Live) -> None:
    with server.peer() as peer:
        peer.send(b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n")
        refused(peer, 400)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"GET /\r\n\r\n",
        b"EHLO there\r\n",
        b"GET / HTTP/1.x\r\n",
    ],
    ids=["TLS", "SSH", "HTTP/0.9", "SMTP", "almost"],
)
def test_what_is_no_http_is_closed_without_a_word(server: Live, bystander: Peer, data: bytes) -> None:
    malformed = server.counters["malformed"]
    with server.peer() as peer:
        assert peer.send(data + b"\r\n").closed()
    assert server.counters["malformed"] == malformed + 1


def test_answers_before_a_malformed_request_are_sent(server: Live) -> None:
    with server.peer() as peer:
        peer.get("/").get("/").send(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").get("/")
        assert [peer.answer().status for _ in range(3)] == [200, 200, 400]
        assert peer.closed()


def test_a_malformed_body_while_its_handler_waits(server: Live) -> None:
    with server.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel")
        server.call(lambda: None)
        refused(peer.send(b"lo!\r\n"), 400)


def test_a_head_larger_than_what_may_wait_is_read_when_the_limit_allows_it() -> None:
    """Input pauses for pipelined requests that wait, never for the rest of a head."""
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    with live(app, limit_head=400_000) as server, server.peer() as peer:
        field = b"x: " + b"a" * 3000 + b"\r\n"
        head = b"GET / HTTP/1.1\r\nhost: a\r\n" + field * 100 + b"\r\n"
        peer.send(head[:200_000])
        server.call(lambda: None)
        assert peer.send(head[200_000:]).answer().status == 200
