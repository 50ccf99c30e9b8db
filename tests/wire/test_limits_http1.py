"""The limits of HTTP/1 requests: what is above them is refused, counted and told, and costs next to nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

from fastnet import App, HTTPException, Request
from tests.wire.bounds import KIB, beside, lines, told
from tests.wire.live import Live, live, until

# What one read may bring beyond what is kept: the loop's read buffer.
READ = 256 * KIB


@pytest.fixture
def go() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def server(go: asyncio.Event) -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.post("/whole")
    async def whole(body: bytes) -> str:
        return str(len(body))

    @app.post("/small", max_body=100)
    async def small(body: bytes) -> str:
        return str(len(body))

    @app.post("/refused")
    async def refused(request: Request) -> str:
        raise HTTPException(403)

    @app.get("/held")
    @app.post("/held")
    async def held(request: Request) -> str:
        await go.wait()
        return str(len(await request.body()))

    with live(app) as running:
        yield running


def post(*fields: str, target: str = "/whole") -> bytes:
    return "\r\n".join((f"POST {target} HTTP/1.1", "host: t", *fields, "", "")).encode()


CHUNKED = "transfer-encoding: chunked"
HEAD = b"GET / HTTP/1.1\r\nhost: t\r\n"


@dataclass
class Refused:
    """What is sent, what is answered, and what the log says: the counter's name, the limit and its setting."""

    data: bytes
    status: int
    counter: str = ""
    value: str = ""
    setting: str = ""


REFUSED = [
    pytest.param(
        Refused(b"GET /" + b"x" * 9000, 414, "request_line", "8192 bytes", "limit_request_line"),
        marks=pytest.mark.limit("HTTP/1: request line", memory=True),
        id="request line",
    ),
    pytest.param(
        Refused(HEAD + b"x: " + b"x" * 70_000, 431, "head", "65536 bytes", "limit_head"),
        marks=pytest.mark.limit("HTTP/1: head, all of it", memory=True),
        id="head",
    ),
    pytest.param(
        Refused(HEAD + b"x: y\r\n" * 200 + b"\r\n", 431, "fields", "128 fields", "limit_fields"),
        marks=pytest.mark.limit("HTTP/1: header fields", memory=True),
        id="fields",
    ),
    pytest.param(
        Refused(post(CHUNKED) + b"1;" + b"x" * 17_000, 400),
        marks=pytest.mark.limit("HTTP/1: chunk extensions, per body", memory=True),
        id="chunk extension",
    ),
    pytest.param(
        Refused(post(CHUNKED) + (b"1;" + b"x" * 1000 + b"\r\ny\r\n") * 17, 400),
        marks=pytest.mark.limit("HTTP/1: chunk extensions, per body", memory=True),
        id="chunk extensions",
    ),
    pytest.param(
        Refused(post(CHUNKED) + b"0\r\nx: " + b"x" * 8200, 431, "head", "65536 bytes", "limit_head"),
        marks=pytest.mark.limit("HTTP/1: trailers", memory=True),
        id="trailers",
    ),
    pytest.param(
        Refused(post(CHUNKED) + b"0\r\n" + b"x: y\r\n" * 200, 431, "fields", "128 fields", "limit_fields"),
        marks=pytest.mark.limit("HTTP/1: trailers", memory=True),
        id="fields of trailers",
    ),
    pytest.param(
        Refused(post(f"content-length: {1024 * KIB + 1}"), 413, "body", "1048576 bytes", "max_body"),
        marks=pytest.mark.limit("HTTP/1: request body", memory=True),
        id="body",
    ),
    pytest.param(
        Refused(post(CHUNKED, target="/small") + b"65\r\n" + b"x" * 101, 413, "body", "100 bytes", "max_body"),
        marks=pytest.mark.limit("HTTP/1: request body", memory=True),
        id="chunked body",
    ),
]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_above_a_limit(server: Live, case: Refused, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    # What is about to be refused may be there, once.
    with beside(server, keeps=len(case.data)), server.peer() as peer:
        answer = peer.send(case.data).answer()
        assert (answer.status, answer["connection"]) == (case.status, "close")
        assert answer["content-type"] == "application/problem+json"
        peer.half_close()
        with suppress(ConnectionResetError):
            assert peer.closed()
    counters = server.settle()
    counted = {name for name, count in counters.items() if name.startswith("limit_") and count}
    assert counted == ({f"limit_{case.counter}"} if case.counter else set())
    assert (counters["bytes_buffered"], counters["internal"]) == (0, 0)
    if case.counter:
        told(caplog, case.counter, case.value, case.setting, f"answered {case.status}")
    else:
        assert lines(caplog) == []


@pytest.mark.limit("HTTP/1: empty lines before a request", memory=True)
@pytest.mark.parametrize("first", [True, False])
def test_more_empty_lines_than_two(server: Live, first: bool) -> None:
    with beside(server, keeps=len(HEAD) + 8), server.peer() as peer:
        if not first:
            peer.get("/").answer()
        peer.send(b"\r\n" * 3 + HEAD + b"\r\n")
        # What begins a connection like that is no HTTP, and gets no answer of HTTP.
        answer = peer.rest()
        assert answer == b"" if first else answer.startswith(b"HTTP/1.1 400")
    assert server.settle()["internal"] == 0


BELOW = {
    "request line": b"GET /?" + b"x" * 8100 + b" HTTP/1.1\r\nhost: t\r\n\r\n",
    "head": HEAD + b"x: " + b"x" * 65_000 + b"\r\n\r\n",
    "fields": HEAD + b"x: y\r\n" * 127 + b"\r\n",
    "chunk extensions": post(CHUNKED) + (b"1;" + b"x" * 1000 + b"\r\ny\r\n") * 16 + b"0\r\n\r\n",
    "trailers": post(CHUNKED) + b"0\r\nx: " + b"x" * 8000 + b"\r\n\r\n",
    "empty lines": b"\r\n" * 2 + HEAD + b"\r\n",
    "body": post(f"content-length: {1024 * KIB}") + b"x" * (1024 * KIB),
}


@pytest.mark.parametrize("what", BELOW)
def test_what_is_just_below_it(server: Live, what: str) -> None:
    with server.peer() as peer:
        assert peer.send(BELOW[what]).answer().status == 200
        assert peer.get("/").answer().status == 200


@pytest.mark.limit("HTTP/1: body that waits for its reader", memory=True)
def test_a_body_that_waits_for_its_reader(server: Live, go: asyncio.Event) -> None:
    size = 900 * KIB
    with server.peer() as peer, ThreadPoolExecutor(1) as pool:
        with beside(server, keeps=256 * KIB + 2 * READ):
            upload = pool.submit(peer.send, post(f"content-length: {size}", target="/held") + b"x" * size)
            until(lambda: server.counters["bytes_buffered"] >= 256 * KIB)
            server.run(asyncio.sleep(0.1))
        server.call(go.set)
        upload.result(10)
        assert peer.answer().body == str(size).encode()


@pytest.mark.limit("HTTP/1: pipelined requests that wait", memory=True)
def test_pipelined_requests_that_wait(server: Live, go: asyncio.Event) -> None:
    count = 20_000
    with server.peer(receive_buffer=4 << 20) as peer, ThreadPoolExecutor(1) as pool:
        with beside(server, keeps=64 * KIB + 2 * READ):
            upload = pool.submit(peer.send, b"GET /held HTTP/1.1\r\nhost: t\r\n\r\n" + (HEAD + b"\r\n") * count)
            until(lambda: server.counters["bytes_buffered"] >= 64 * KIB)
            server.run(asyncio.sleep(0.1))
        server.call(go.set)
        assert peer.answer().body == b"0"
        for _ in range(count):
            assert peer.answer().body == b"fine"
        upload.result(10)


@pytest.mark.limit("HTTP/1: rest of a body after an early answer", memory=True)
@pytest.mark.parametrize(("size", "ends"), [(60 * KIB, False), (65 * KIB, True), (900 * KIB, True)])
def test_the_rest_of_a_body_after_an_early_answer(server: Live, size: int, ends: bool) -> None:
    with beside(server, keeps=64 * KIB), server.peer() as peer:
        answer = peer.send(post(f"content-length: {size}", target="/refused")).answer()
        assert answer.status == 403
        assert (answer["connection"] == "close") is ends
        with suppress(OSError):
            peer.send(b"x" * size)
        if ends:
            with suppress(ConnectionResetError):
                assert peer.closed()
        else:
            assert peer.get("/").answer().body == b"fine"
    assert server.settle()["bytes_buffered"] == 0
