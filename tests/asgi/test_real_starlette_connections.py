"""Clients of a Starlette application that leave, wait or speak HTTP in other ways."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.asgi.both import Way, files_of, served, uvicorn_serves
from tests.asgi.starlette_app import Notes, make
from tests.loops import run
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, until
from tests.wire.tls import Files
from tests.wire.tools import curl, needs

PLAIN = Way("plain")
WRAPPED = Way("behind-middleware", wrapped=True)


class Served:
    """A port and what the application behind it notices."""

    def __init__(self, port: int, notes: Notes) -> None:
        self.port = port
        self.notes = notes

    def noticed(self, note: str) -> None:
        until(lambda: note in self.notes.seen)


@pytest.fixture(params=["fastnet", "fastnet-behind-middleware", "uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """The same expectations for both servers."""
    notes = Notes()
    with ExitStack() as stack:
        if request.param == "uvicorn":
            port = stack.enter_context(uvicorn_serves(make(tmp_path, notes)))
        else:
            way = WRAPPED if "middleware" in request.param else PLAIN
            port = stack.enter_context(served(make(tmp_path, notes), way)).port
        yield Served(port, notes)


@pytest.mark.parametrize(("target", "note"), [("/endless", "stream ended"), ("/silent", "silence ended")])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stream_ends_with_its_client(server: Served, target: str, note: str, how: str) -> None:
    peer = Peer(server.port).get(target)
    peer.until(b"\r\n\r\n")
    peer.until(b"tick" if target == "/endless" else b"begin")
    assert note not in server.notes.seen
    if how == "reset":
        peer.reset()
    else:
        peer.sock.close()
    server.noticed(note)


def test_is_disconnected(server: Served) -> None:
    peer = Peer(server.port).get("/patient")
    server.noticed("waits")
    peer.sock.close()
    server.noticed("disconnected")


def test_a_body_that_breaks_off(server: Served) -> None:
    peer = Peer(server.port).send(b"POST /half HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\nhalf")
    peer.sock.close()
    server.noticed("body broken off")


def test_background_tasks_run_after_the_answer(server: Served) -> None:
    with Peer(server.port) as peer:
        assert peer.get("/later").answer().body == b"soon"
        server.noticed("background")
        # The connection goes on.
        assert json.loads(peer.get("/seen").answer().body) == ["background"]


def test_pipelined_requests_are_answered_in_order(server: Served) -> None:
    with Peer(server.port) as peer:
        for number in range(20):
            peer.get(f"/items/{number}")
        assert [json.loads(peer.answer().body)["id"] for _ in range(20)] == list(range(20))


@needs("curl")
def test_expect_continue(server: Served) -> None:
    body = b"x" * 2_000_000
    answer = curl(f"http://127.0.0.1:{server.port}/echo", "-H", "expect: 100-continue", body=body)
    assert (answer.status, answer.body) == (200, body)


def test_aiohttp(server: Served) -> None:
    async def body() -> None:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            form = aiohttp.FormData()
            form.add_field("text", "ünder")
            form.add_field(
                "file", io.BytesIO(b"x" * 1_500_000), filename="large.bin", content_type="application/x-large"
            )
            async with session.post("/form", data=form) as answer:
                fields = await answer.json()
            assert fields[0] == ["text", "ünder"]
            assert fields[1][:4] == ["file", "large.bin", "application/x-large", 1_500_000]
            async with session.get("/gzip/large") as answer:
                assert answer.headers["content-encoding"] == "gzip"
                assert await answer.text() == "compress me " * 2000
            async with session.get("/redirect") as answer:
                assert answer.url.path == "/items/7"
            answers = await asyncio.gather(*(one(session, number) for number in range(50)))
            assert answers == list(range(50))

    async def one(session: aiohttp.ClientSession, number: int) -> Any:
        async with session.get(f"/items/{number}") as answer:
            return (await answer.json())["id"]

    run(body())


# --- what uvicorn's HTTP/1 does not have


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return files_of(tmp_path_factory.mktemp("tls"))


@contextmanager
def noted(tmp_path: Path, **settings: Any) -> Iterator[tuple[Live, Notes]]:
    notes = Notes()
    with served(make(tmp_path, notes), **settings) as server:
        yield server, notes


@needs("curl")
@pytest.mark.parametrize("way", [PLAIN, WRAPPED], ids=["plain", "wrapped"])
def test_http10_gets_no_chunks(tmp_path: Path, way: Way) -> None:
    # uvicorn sends them, which RFC 9112, 6.1 forbids.
    with served(make(tmp_path), way) as server:
        answer = curl(f"http://127.0.0.1:{server.port}/stream", "--http1.0")
    assert answer.status == 200
    assert answer.body == b"".join(b"%d\n" % number for number in range(1000))
    assert "transfer-encoding" not in answer.fields


def test_a_reset_stream_of_http2_ends_its_generator_and_no_other(tmp_path: Path) -> None:
    with noted(tmp_path) as (server, notes), H2Peer(server.port) as peer:
        first, second = peer.request("GET", "/silent"), peer.request("GET", "/endless")
        for stream in (first, second):
            assert peer.status(stream) == 200
            peer.take(stream)
        peer.machine.reset_stream(first, 8)
        peer.flush()
        until(lambda: "silence ended" in notes.seen)
        peer.take(second)
        assert "stream ended" not in notes.seen
        peer.machine.reset_stream(second, 8)
        peer.flush()
        until(lambda: "stream ended" in notes.seen)
        # The connection goes on.
        assert peer.status(peer.request("GET", "/items/1")) == 200


@needs("curl")
@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_the_scope_of_tls(files: Files, option: str, version: str) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope)
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})

    with served(app, Way("tls", secure=True), files) as server:
        assert curl(f"https://127.0.0.1:{server.port}/", option, "--cacert", files.ca).status == 204
    [scope] = seen
    assert (scope["scheme"], scope["http_version"]) == ("https", version)
    tls = scope["extensions"]["tls"]
    assert tls["tls_version"] in (0x0303, 0x0304)
    assert isinstance(tls["cipher_suite"], int)
    assert (tls["client_cert_chain"], tls["client_cert_name"], tls["client_cert_error"]) == ([], None, None)


async def hints(scope: Any, receive: Any, send: Any) -> None:
    """Early hints, and trailers for those who take them."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload", b"</a.js>; rel=preload"]})
    fields = [(b"content-type", b"text/plain"), (b"trailer", b"x-sum")]
    await send({"type": "http.response.start", "status": 200, "headers": fields, "trailers": True})
    await send({"type": "http.response.body", "body": b"one ", "more_body": True})
    await send({"type": "http.response.body", "body": b"two"})
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"7")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-more", b"1")]})


def test_early_hints_and_trailers() -> None:
    with served(hints) as server, Peer(server.port) as peer:
        peer.get("/", "te: trailers")
        early = peer.answer()
        assert early.status == 103
        assert [value for name, value in early.fields if name == "link"] == [
            "</style.css>; rel=preload",
            "</a.js>; rel=preload",
        ]
        answer = peer.answer()
        assert (answer.status, answer.body) == (200, b"one two")
        assert answer.trailers == [("x-sum", "7"), ("x-more", "1")]
        # Who does not say that it takes them gets none.
        peer.get("/")
        assert peer.answer().status == 103
        assert peer.answer().trailers == []


@needs("curl")
def test_trailers_of_http2() -> None:
    with served(hints) as server:
        answer = curl(f"http://127.0.0.1:{server.port}/", "--http2-prior-knowledge", "-H", "te: trailers")
        assert answer.version == "HTTP/2"
        assert answer.body.startswith(b"one two")
        assert b"x-sum: 7" in answer.body  # curl -i writes trailers after the body


def test_behind_middleware_no_other_ways_to_answer_are_offered() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["extensions"])
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
            assert (await receive())["type"] == "http.request"
            assert (await receive())["type"] == "http.disconnect"

    for way in (PLAIN, WRAPPED):
        with served(app, way) as server, Peer(server.port) as peer:
            assert peer.get("/").answer().status == 204
    assert [sorted(found) for found in seen] == [
        ["http.response.early_hint", "http.response.pathsend", "http.response.trailers"],
        [],
    ]


def test_a_failure_after_the_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"fine"})
            raise LookupError("too late to matter")

    for way in (PLAIN, WRAPPED):
        caplog.clear()
        with served(app, way) as server, Peer(server.port) as peer:
            assert peer.get("/").answer().body == b"fine"
            until(lambda: any("too late" in (record.exc_text or str(record.exc_info)) for record in caplog.records))
            assert peer.get("/").answer().body == b"fine"


def test_a_drain_lets_a_stream_end(tmp_path: Path) -> None:
    # uvicorn waits for ever unless it is told a limit; ours is `timeout_drain`.
    with noted(tmp_path, timeout_drain=0.3) as (server, notes):
        peer = server.peer().get("/silent")
        peer.until(b"begin")
    peer.sock.close()
    assert notes.seen == ["silence ended"]
