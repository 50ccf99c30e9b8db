"""Request bodies over HTTP/1: 100-continue, limits, early answers, bodies that nobody wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastnet import App, ClientDisconnect, HTTPException, PayloadTooLarge, Request, Response
from tests.wire.live import Live, live

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LIMIT = 64 * 1024


def make_app() -> App:
    app = App(max_body=LIMIT)

    @app.post("/whole")
    async def whole(body: dict[str, int]) -> dict[str, int]:
        return body

    @app.post("/late")
    async def late(request: Request) -> str:
        return str(len(await request.body()))

    @app.post("/nap", max_body=4 << 20)
    async def nap(request: Request) -> str:
        # The body fills what is buffered before anybody reads it.
        await asyncio.sleep(0.05)
        return str(len(await request.body()))

    @app.post("/stream", max_body=8 << 20)
    async def stream(request: Request) -> str:
        return str(sum([len(chunk) async for chunk in request.stream()]))

    @app.post("/first", max_body=8 << 20)
    async def first(request: Request) -> str:
        async for chunk in request.stream():
            return str(len(chunk) > 0)
        return "nothing"

    @app.post("/refuse", max_body=1 << 30)
    async def refuse(request: Request) -> Response:
        raise HTTPException(403, "not for you")

    @app.post("/ignore")
    async def ignore() -> str:
        return "ignored"

    @app.post("/caught")
    async def caught(request: Request) -> Response:
        try:
            await request.body()
        except PayloadTooLarge as error:
            return Response(str(error.limit), 200)
        return Response("all of it")

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(make_app()) as running:
        yield running


def head(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"POST {target} HTTP/1.1", "host: test", *fields, "", ""]).encode()


# --- Expect: 100-continue


@pytest.mark.parametrize("target", ["/whole", "/late", "/stream"])
def test_100_is_sent_when_the_body_is_wanted(server: Live, target: str) -> None:
    body = b'{"n":1}'
    with server.peer() as peer:
        peer.send(
            head(target, f"content-length: {len(body)}", "content-type: application/json", "expect: 100-continue")
        )
        assert peer.answer().status == 100
        assert peer.send(body).answer().status == 200
        assert peer.post("/ignore", b"").answer().status == 200


@pytest.mark.parametrize("target", ["/refuse", "/ignore"])
def test_no_100_when_nobody_reads_the_body(server: Live, target: str) -> None:
    with server.peer() as peer:
        peer.send(head(target, "content-length: 5", "expect: 100-continue"))
        answer = peer.answer()
        assert answer.status == (403 if target == "/refuse" else 200)
        # The body may come or not: the connection cannot tell, and ends.
        assert answer["connection"] == "close"
        assert peer.closed()


def test_no_100_for_a_body_over_the_limit(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(head("/late", f"content-length: {LIMIT + 1}", "expect: 100-continue")).answer()
        assert (answer.status, answer["connection"]) == (413, "close")
        assert peer.closed()


def test_no_100_for_a_body_that_did_not_wait_for_it(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(head("/late", "content-length: 5", "expect: 100-continue") + b"hello").answer()
        assert (answer.status, answer.body) == (200, b"5")
        assert peer.post("/late", b"x").answer().body == b"1"


def test_no_100_to_http_1_0(server: Live) -> None:
    with server.peer() as peer:
        peer.send(b"POST /late HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        assert peer.send(b"hello").answer().body == b"5"


def test_another_expectation_is_417(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(head("/late", "content-length: 5", "expect: miracles")).answer()
        assert (answer.status, answer["connection"]) == (417, "close")
        assert peer.closed()


# --- limits


@pytest.mark.parametrize("target", ["/whole", "/late"])
def test_a_length_over_the_limit_is_413_before_the_body(server: Live, target: str) -> None:
    with server.peer() as peer:
        answer = peer.send(head(target, f"content-length: {LIMIT + 1}", "content-type: application/json")).answer()
        assert (answer.status, answer["connection"]) == (413, "close")
        assert answer["content-type"] == "application/problem+json"
        assert str(LIMIT).encode() in answer.body
        assert peer.closed()


@pytest.mark.parametrize("target", ["/whole", "/late"])
def test_chunks_over_the_limit_are_413_while_they_arrive(server: Live, target: str) -> None:
    with server.peer() as peer:
        peer.send(head(target, "transfer-encoding: chunked", "content-type: application/json"))
        for _ in range(2):
            peer.send(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        answer = peer.send(b"1\r\nx\r\n").answer()
        assert (answer.status, answer["connection"]) == (413, "close")
        assert peer.closed()


def test_a_body_of_exactly_the_limit_is_taken(server: Live) -> None:
    with server.peer() as peer:
        assert peer.post("/late", b"x" * LIMIT).answer().body == str(LIMIT).encode()


def test_a_handler_may_catch_what_is_too_large(server: Live) -> None:
    with server.peer() as peer:
        peer.send(head("/caught", "transfer-encoding: chunked"))
        peer.send(b"11000\r\n" + b"x" * 0x11000 + b"\r\n")
        assert (peer.answer().body, peer.closed()) == (str(LIMIT).encode(), True)


# --- early answers


def test_an_early_answer_arrives_whole_while_the_body_is_still_sent(server: Live) -> None:
    """Closing at once would reset the connection and take the answer away from a peer that still writes."""
    body = b"x" * (32 << 20)
    with server.peer() as peer, ThreadPoolExecutor(1) as pool:

        def upload() -> str:
            try:
                peer.send(head("/refuse", f"content-length: {len(body)}"))
                # A part of it, so that the answer is there before the rest is sent.
                peer.send(body[:100_000])
                return "sent"
            except OSError as error:
                return str(error)

        assert pool.submit(upload).result(10) == "sent"
        answer = peer.answer()
        assert (answer.status, answer["connection"]) == (403, "close")
        assert b"not for you" in answer.body
        assert peer.closed()


def test_a_short_rest_is_dropped_and_the_connection_goes_on(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.send(head("/refuse", "content-length: 20000") + b"x" * 10).answer()
        assert (answer.status, answer["connection"]) == (403, None)
        peer.send(b"x" * 19_990)
        assert peer.post("/late", b"abc").answer().body == b"3"


def test_a_stream_left_early_is_dropped_too(server: Live) -> None:
    """What was buffered had paused the input; its end must not leave it paused."""
    size = 300 * 1024
    with server.peer() as peer:
        peer.send(head("/first", f"content-length: {size}"))
        peer.send(b"x" * (size - 10))
        answer = peer.answer()
        assert answer.body == b"True"
        if answer["connection"] is None:
            peer.send(b"x" * 10)
            assert peer.post("/late", b"abc").answer().body == b"3"


def test_a_body_that_nobody_reads_is_dropped(server: Live) -> None:
    with server.peer() as peer:
        for _ in range(3):
            assert peer.post("/ignore", b"x" * 5000).answer().body == b"ignored"


def test_a_body_may_be_read_after_it_has_filled_the_buffer(server: Live) -> None:
    size = 3 << 20
    with server.peer() as peer:
        assert peer.post("/nap", b"x" * size).answer().body == str(size).encode()


def test_big_bodies_stream_through(server: Live) -> None:
    size = 8 << 20
    with server.peer() as peer:
        assert peer.post("/stream", b"x" * size).answer().body == str(size).encode()
        assert peer.post("/late", b"abc").answer().body == b"3"


def test_a_slow_reader_pauses_the_upload() -> None:
    app = App()
    proceed = asyncio.Event()
    begun = threading.Event()

    @app.post("/", max_body=1 << 30)
    async def slow(request: Request) -> str:
        total = 0
        async for chunk in request.stream():
            total += len(chunk)
            begun.set()
            await proceed.wait()
        return str(total)

    size = 64 << 20
    with live(app) as running, running.peer() as peer, ThreadPoolExecutor(1) as pool:
        upload = pool.submit(peer.post, "/", b"x" * size)
        assert begun.wait(5)
        # The upload stands still: what the kernel holds, and a little of ours.
        seen = -1
        while (now := running.counters["bytes_received"]) != seen:
            seen = now
            running.run(asyncio.sleep(0.02))
        assert seen < 2 << 20
        running.call(proceed.set)
        upload.result(20)
        assert peer.answer().body == str(size).encode()


def test_a_body_cut_off_raises_in_its_reader() -> None:
    app = App()
    raised: list[BaseException] = []

    @app.post("/{how}")
    async def read(how: str, request: Request) -> str:
        try:
            if how == "body":
                await request.body()
            else:
                async for _ in request.stream():
                    pass
        except ClientDisconnect as error:
            raised.append(error)
            raise
        return "complete"

    with live(app, keeps=True) as running:
        for how in ("body", "stream"):
            for end in ("half close", "close", "reset"):
                with running.peer() as peer:
                    peer.send(head(f"/{how}", "content-length: 100") + b"x" * 50)
                    running.run(asyncio.sleep(0.01))
                    if end == "half close":
                        # Nothing is answered: there is no request.
                        assert peer.half_close().closed()
                    elif end == "reset":
                        peer.reset()
        counters = running.settle()
        assert len(raised) == 6
        assert counters["disconnects"] == 6
        assert counters["requests"] == 6
