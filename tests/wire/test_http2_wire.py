"""HTTP/2 in cleartext by clients that are not ours, and that a feature is the same as over HTTP/1."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import pytest

from fastnet import App, Cookie, Depends, Header, HTTPException, RedirectResponse, Request, Response, Stream
from tests.wire.live import Live, live, until
from tests.wire.tools import curl, needs, run

MEGA = 1 << 20

pytestmark = needs("curl")


class Seen:
    """What the streams of the app noticed."""

    closed = 0


def make_app(seen: Seen) -> App:
    app = App(max_body=2 * MEGA)

    @app.get("/")
    async def index() -> str:
        return "Hello, World!"

    @app.get("/users/{id}")
    async def user(id: int, verbose: bool = False) -> dict[str, object]:
        return {"id": id, "verbose": verbose}

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type=request.content_type)

    @app.post("/json", status_code=201)
    async def json(body: dict[str, int]) -> dict[str, int]:
        return {name: 2 * value for name, value in body.items()}

    @app.post("/count", max_body=64 * MEGA)
    async def count(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        for n in range(128):
            yield bytes([n]) * 65536

    @app.get("/trailers")
    async def trailers() -> Response:
        async def body() -> AsyncIterator[str]:
            yield "summed up"
            response.trailers["x-sum"] = "42"

        response = Stream(body(), media_type="text/plain")
        return response

    @app.get("/big")
    async def big() -> bytes:
        return bytes(range(256)) * (4 * 8192)

    @app.get("/lines")
    async def lines() -> AsyncIterator[dict[str, int]]:
        for n in range(3):
            yield {"n": n}

    @app.get("/endless")
    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
                await asyncio.sleep(0)
        finally:
            seen.closed += 1

    @app.get("/sized")
    async def sized() -> Response:
        return Stream(iter([b"12345", b"67890"]), headers={"content-length": "10"})

    @app.get("/thread")
    def thread() -> str:
        return "thread"

    @app.get("/inline", inline=True)
    def inline() -> str:
        return "inline"

    @app.get("/none", status_code=204)
    async def none() -> None: ...

    @app.get("/teapot")
    async def teapot() -> str:
        raise HTTPException(418, "short and stout", headers={"x-handle": "here"})

    @app.get("/fails")
    async def fails() -> str:
        raise RuntimeError("hidden")

    @app.get("/old")
    async def old() -> Response:
        return RedirectResponse("/", 307)

    @app.get("/arguments")
    async def arguments(
        tags: list[str], token: Annotated[str, Header("x-token")], session: Annotated[str, Cookie()] = "none"
    ) -> list[object]:
        return [tags, token, session]

    async def dependency(request: Request) -> str:
        return request.method

    @app.get("/depends")
    async def depends(value: Annotated[str, Depends(dependency)]) -> str:
        return value

    @app.get("/cookies")
    async def cookies() -> Response:
        response = Response("cookies")
        response.set_cookie("a", "1")
        return response

    return app


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def server(seen: Seen) -> Iterator[Live]:
    with live(make_app(seen)) as running:
        yield running


def url(server: Live, target: str) -> str:
    return f"http://127.0.0.1:{server.port}{target}"


# target, options, body
FEATURES: dict[str, tuple[str, tuple[str, ...], bytes | None]] = {
    "text": ("/", (), None),
    "head": ("/", ("--head",), None),
    "head of a stream": ("/stream", ("--head",), None),
    "path and query": ("/users/7?verbose=true", (), None),
    "a path that does not convert": ("/users/x", (), None),
    "echo": ("/echo", ("-H", "content-type: text/x-test"), b"body"),
    "echo nothing": ("/echo", ("-X", "POST"), None),
    "echo a MiB": ("/echo", ("-H", "content-type: application/x-test"), bytes(range(256)) * 4096),
    "json": ("/json", ("-H", "content-type: application/json"), b'{"a":1,"b":2}'),
    "what is no json": ("/json", ("-H", "content-type: application/json"), b"{"),
    "an upload": ("/count", ("-H", "content-type: text/x-test"), b"x" * (5 * MEGA)),
    "a stream of 8 MiB": ("/stream", (), None),
    "8 MiB at once": ("/big", (), None),
    "json lines": ("/lines", (), None),
    "a stream of known length": ("/sized", (), None),
    "thread": ("/thread", (), None),
    "inline": ("/inline", (), None),
    "no content": ("/none", (), None),
    "an HTTP exception": ("/teapot", (), None),
    "a redirect": ("/old", (), None),
    "a slash too many": ("/teapot/", (), None),
    "not found": ("/missing", (), None),
    "a wrong method": ("/echo", (), None),
    "options": ("/echo", ("-X", "OPTIONS"), None),
    "arguments": ("/arguments?tags=a&tags=b", ("-H", "x-token: t", "-H", "cookie: session=s"), None),
    "an argument is missing": ("/arguments", (), None),
    "a dependency": ("/depends", (), None),
    "cookies": ("/cookies", (), None),
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_is_the_same_over_both(server: Live, feature: str) -> None:
    target, options, body = FEATURES[feature]
    answers = [
        curl(url(server, target), version, *options, body=body) for version in ("--http1.1", "--http2-prior-knowledge")
    ]
    assert [answer.version for answer in answers] == ["HTTP/1.1", "HTTP/2"]
    for answer in answers:
        # What belongs to the carrier, and what changes with the second.
        for name in ("connection", "transfer-encoding", "date"):
            answer.fields.pop(name, None)
        answer.version = ""
    assert answers[0] == answers[1]


def test_a_failure_tells_nothing(server: Live) -> None:
    answer = curl(url(server, "/fails"), "--http2-prior-knowledge")
    assert answer.status == 500
    assert b"hidden" not in answer.body
    assert b"request_id" in answer.body


def test_a_stream_under_flow_control_arrives_whole(server: Live) -> None:
    answer = curl(url(server, "/stream"), "--http2-prior-knowledge")
    assert answer.body == b"".join(bytes([n]) * 65536 for n in range(128))


def test_a_stream_left_midway_is_closed(server: Live, seen: Seen) -> None:
    before = seen.closed
    with subprocess.Popen(
        ["curl", "-sN", "--http2-prior-knowledge", url(server, "/endless")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert len(process.stdout.read(100_000)) == 100_000
        process.kill()
    until(lambda: seen.closed == before + 1)
    until(lambda: server.counters["requests_active"] == 0)


@needs("nghttp")
def test_many_requests_of_one_connection_by_nghttp(server: Live) -> None:
    before = server.counters["requests"]
    done = run(
        "nghttp", "-ns", "-m", "5", *[url(server, target) for target in ("/", "/users/1", "/stream", "/missing")]
    )
    assert done.returncode == 0, done.stderr.decode()
    until(lambda: server.counters["requests"] == before + 20)
    statuses = re.findall(r"\s(\d{3})\s+[\d.]+[KMG]?\s+/", done.stdout.decode())
    assert sorted(statuses) == ["200"] * 15 + ["404"] * 5


@needs("nghttp")
def test_a_stream_may_end_with_trailers(server: Live) -> None:
    text = run("nghttp", "-v", url(server, "/trailers")).stdout.decode()
    assert (
        text.index("summed up") < text.index("x-sum: 42") < text.index("END_STREAM | END_HEADERS", text.index("x-sum"))
    )


@needs("nghttp")
def test_a_body_over_the_limit_is_answered_before_it_has_come(server: Live, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * (2 * MEGA + 1))
    done = run(
        "nghttp", "-v", "-d", str(tmp_path / "body"), "-H", "content-type: application/json", url(server, "/json")
    )
    text = done.stdout.decode()
    assert ":status: 413" in text, text
    # RFC 9113, 8.1: the answer is complete, and the rest of the request is not wanted.
    assert text.index("END_STREAM", text.index(":status: 413")) < text.index("recv RST_STREAM")
    assert "error_code=NO_ERROR" in text[text.index("recv RST_STREAM") :]


@needs("h2load")
@pytest.mark.parametrize("target", ["/", "/users/1", "/thread", "/lines"])
def test_h2load_gets_every_answer(server: Live, target: str) -> None:
    done = run("h2load", "-n", "600", "-c", "3", "-m", "20", url(server, target))
    text = done.stdout.decode()
    assert "600 succeeded, 0 failed, 0 errored, 0 timeout" in text, text
    assert "600 2xx, 0 3xx, 0 4xx, 0 5xx" in text
    until(lambda: server.counters["requests_active"] == 0)
    assert server.counters["internal"] == 0


@needs("h2load")
def test_uploads_by_h2load(server: Live, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"x" * 300_000)
    done = run("h2load", "-n", "60", "-c", "2", "-m", "10", "-d", str(tmp_path / "body"), url(server, "/count"))
    assert "60 2xx, 0 3xx, 0 4xx, 0 5xx" in done.stdout.decode(), done.stdout.decode()


def test_both_protocols_share_the_port(server: Live) -> None:
    assert curl(url(server, "/"), "--http1.0").body == curl(url(server, "/"), "--http2-prior-knowledge").body
