"""What handlers do wrong, and what of it is seen on the wire."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import orjson
import pytest

from fastnet import App, HTTPException, Request, Response, Stream
from tests.wire.live import Live, live, until


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    @app.get("/fails")
    async def fails() -> str:
        raise RuntimeError("the password is hunter2")

    @app.get("/thread")
    def thread() -> str:
        raise RuntimeError("the password is hunter2")

    @app.get("/inline", inline=True)
    def inline() -> str:
        raise RuntimeError("the password is hunter2")

    @app.get("/teapot")
    async def teapot() -> str:
        raise HTTPException(418, "short and stout", headers={"x-handle": "here"})

    @app.get("/midway")
    async def midway() -> AsyncIterator[str]:
        yield "some"
        raise RuntimeError("midway")

    @app.get("/header")
    async def header(request: Request) -> Response:
        kind, value = request.query_string.decode().split("=")
        bad = {"cr": "a\rb", "lf": "a\nb", "nul": "a\0b", "crlf": "a\r\nset-cookie: b"}[value]
        if kind == "name":
            return Response("x", headers={bad: "value"})
        return Response("x", headers={"x-test": bad})

    @app.get("/framing/{name}")
    async def framing(name: str) -> Response:
        return Response("x", headers={name: "chunked" if name == "transfer-encoding" else "keep-alive"})

    @app.get("/promise/{said}/{sent}")
    async def promise(said: int, sent: int) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"x" * sent

        return Stream(body(), headers={"content-length": str(said)})

    @app.get("/unsendable")
    async def unsendable() -> object:
        return object()

    with live(app) as running:
        yield running


@pytest.mark.parametrize("target", ["/fails", "/thread", "/inline"])
def test_an_exception_is_a_500_that_tells_nothing_but_an_id(
    server: Live, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    with caplog.at_level(logging.ERROR, "fastnet.error"), server.peer() as peer:
        answer = peer.get(target).answer()
        assert (answer.status, answer["content-type"]) == (500, "application/problem+json")
        problem = orjson.loads(answer.body)
        assert problem["status"] == 500
        identity = problem["request_id"]
        assert b"hunter2" not in answer.body
        assert b"Traceback" not in answer.body
        # The connection is none the worse.
        assert peer.get("/").answer().status == 200
    (record,) = [record for record in caplog.records if identity in record.getMessage()]
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


def test_an_http_exception_is_what_it_says(server: Live) -> None:
    with server.peer() as peer:
        answer = peer.get("/teapot").answer()
        assert (answer.status, answer["x-handle"]) == (418, "here")
        assert orjson.loads(answer.body)["detail"] == "short and stout"


def test_a_stream_that_fails_midway_is_cut_off_without_its_end(server: Live, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "fastnet.error"), server.peer() as peer:
        peer.get("/midway")
        data = peer.rest()
        assert data.endswith(b"\r\n\r\n4\r\nsome\r\n")
        until(lambda: "failed midway" in caplog.text)
    assert server.settle()["disconnects"] == 0


@pytest.mark.parametrize("kind", ["name", "value"])
@pytest.mark.parametrize("what", ["cr", "lf", "nul", "crlf"])
def test_a_header_that_would_split_the_answer_raises(server: Live, kind: str, what: str) -> None:
    with server.peer() as peer:
        answer = peer.get(f"/header?{kind}={what}").answer()
        assert answer.status == 500
        assert answer["set-cookie"] is None
        assert peer.get("/").answer().status == 200


@pytest.mark.parametrize("name", ["transfer-encoding", "connection", "upgrade"])
def test_framing_belongs_to_the_server(server: Live, name: str) -> None:
    with server.peer() as peer:
        assert peer.get(f"/framing/{name}").answer().status == 500
        assert peer.get("/").answer().status == 200


@pytest.mark.parametrize(("said", "sent"), [(10, 5), (5, 10)])
def test_a_stream_that_breaks_its_promise_is_cut_off(
    server: Live, caplog: pytest.LogCaptureFixture, said: int, sent: int
) -> None:
    with caplog.at_level(logging.ERROR, "fastnet.error"), server.peer() as peer:
        peer.get(f"/promise/{said}/{sent}")
        head, _, body = peer.rest().partition(b"\r\n\r\n")
        assert f"content-length: {said}".encode() in head
        # Never as much as was said: the peer sees that it is not complete, and no second answer in the rest.
        assert len(body) < said
        until(lambda: "content-length" in caplog.text)


def test_a_value_that_is_no_json_is_a_500(server: Live) -> None:
    with server.peer() as peer:
        assert peer.get("/unsendable").answer().status == 500
        assert peer.get("/").answer().status == 200
