"""Answers that are compressed on their way: which, how, and what their heads say."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest

from fastnet import App, EventStream, HTTPException, Request, Response, Router, Stream
from fastnet.compression import CODINGS, CodingName, Compression, Decompressor, decompress
from tests.wire.live import Answer, Live, live

ROWS = [{"id": n, "name": f"user {n}", "tags": ["a", "b"]} for n in range(500)]
TEXT = "".join(f"line {n} of a text\n" for n in range(400))
SMALL = "x" * 1023
LARGE = TEXT * 50


def app_with(app: App) -> App:
    """Every kind of answer."""

    @app.get("/json")
    async def rows() -> list[dict[str, Any]]:
        return ROWS

    @app.get("/text")
    def text() -> str:
        return TEXT

    @app.get("/inline", inline=True)
    def inline() -> str:
        return LARGE

    @app.get("/small")
    async def small() -> str:
        return SMALL

    @app.get("/large")
    async def large() -> str:
        return LARGE

    @app.get("/image")
    async def image() -> Response:
        return Response(bytes(5000), media_type="image/png")

    @app.get("/untyped")
    async def untyped() -> Response:
        answer = Response(TEXT)
        del answer.headers["content-type"]
        return answer

    @app.get("/headers")
    async def headers(request: Request) -> Response:
        fields = orjson.loads(request.query_params["fields"])
        return Response(TEXT, int(request.query_params.get("status", 200)), fields)

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for line in TEXT.splitlines(keepends=True):
            yield line

    @app.get("/threads")
    def threads() -> Iterator[str]:
        yield from (TEXT, LARGE, TEXT)

    @app.get("/measured")
    async def measured(size: int) -> Stream:
        async def body() -> AsyncIterator[bytes]:
            yield b"x" * (size // 2)
            yield b"x" * (size - size // 2)

        return Stream(body(), headers={"content-length": str(size)}, media_type="text/plain")

    @app.get("/none")
    async def none() -> Stream:
        async def body() -> AsyncIterator[str]:
            return
            yield ""

        return Stream(body())

    @app.get("/trailers")
    async def trailers() -> Stream:
        async def body() -> AsyncIterator[str]:
            yield TEXT
            answer.trailers["x-lines"] = "400"

        answer = Stream(body(), media_type="text/plain")
        return answer

    @app.get("/fails")
    async def fails() -> str:
        raise HTTPException(503, "no " * 1000)

    @app.post("/done")
    async def done() -> str:
        return TEXT

    @app.get("/off", compress=False)
    async def off() -> str:
        return TEXT

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    app = App()
    app.compress()
    with live(app_with(app)) as running:
        yield running


def get(server: Live, target: str, accept: str | None = "gzip", *fields: str, method: str = "GET") -> Answer:
    if accept is not None:
        fields = (f"accept-encoding: {accept}", *fields)
    with server.peer() as peer:
        lines = [f"{method} {target} HTTP/1.1", "host: test", *fields, "", ""]
        return peer.send("\r\n".join(lines).encode()).answer(method)


def plain(answer: Answer) -> bytes:
    """The body, by the coding that its head tells."""
    coding = answer["content-encoding"]
    return answer.body if coding is None else decompress(answer.body, coding)  # type: ignore[arg-type]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/json", orjson.dumps(ROWS)),
        ("/text", TEXT.encode()),
        ("/inline", LARGE.encode()),
        ("/large", LARGE.encode()),
        ("/stream", TEXT.encode()),
        ("/threads", (TEXT + LARGE + TEXT).encode()),
        ("/trailers", TEXT.encode()),
        ("/measured?size=100000", b"x" * 100_000),
    ],
)
def test_each_coding(server: Live, coding: CodingName, target: str, body: bytes) -> None:
    answer = get(server, target, coding)
    assert (answer.status, answer["content-encoding"], answer["vary"]) == (200, coding, "accept-encoding")
    assert decompress(answer.body, coding) == body
    assert len(answer.body) < len(body) / 3
    assert answer.trailers == ([("x-lines", "400")] if target == "/trailers" else [])
    for accept in (None, "identity", "compress", "gzip;q=x"):
        as_it_is = get(server, target, accept)
        assert as_it_is["content-encoding"] is None
        assert as_it_is["vary"] == "accept-encoding"
        assert as_it_is["content-type"] == answer["content-type"]
        assert as_it_is.body == body


def test_what_is_sent_as_it_is(server: Live) -> None:
    for target in ("/small", "/image", "/untyped", "/off", "/measured?size=1000", "/none"):
        answer = get(server, target, "gzip, br, zstd")
        assert (answer.status, answer["content-encoding"], answer["vary"]) == (200, None, None), target


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (200, {"content-encoding": "gzip"}),
        (200, {"content-encoding": "identity"}),
        (200, {"cache-control": "private, No-Transform"}),
        (200, {"content-digest": "sha-256=:eA==:"}),
        (200, {"repr-digest": "sha-256=:eA==:"}),
        (206, {"content-range": f"bytes 0-{len(TEXT) - 1}/{len(TEXT)}"}),
        (206, {"content-type": "multipart/byteranges; boundary=x"}),
        (200, {"content-range": "lines 1-2/3"}),
    ],
)
def test_never_twice_and_never_parts(server: Live, status: int, fields: dict[str, str]) -> None:
    answer = get(server, f"/headers?status={status}&fields={orjson.dumps(fields).decode().replace(' ', '%20')}")
    assert answer.status == status
    assert answer.body == TEXT.encode()
    assert answer["content-encoding"] == fields.get("content-encoding")
    assert answer["vary"] is None


def test_not_modified(server: Live) -> None:
    answer = get(server, '/headers?status=304&fields={"etag":"\\"a\\""}')
    assert (answer.status, answer["etag"], answer["content-encoding"], answer["vary"]) == (304, '"a"', None, None)


@pytest.mark.parametrize(
    ("fields", "coded", "as_it_is"),
    [
        ({"etag": '"a"'}, {"etag": 'W/"a"'}, {"etag": '"a"'}),
        ({"etag": 'W/"a"'}, {"etag": 'W/"a"'}, {"etag": 'W/"a"'}),
        ({"vary": "origin"}, {"vary": "origin, accept-encoding"}, {"vary": "origin, accept-encoding"}),
        ({"vary": "Accept-Encoding, origin"}, {"vary": "Accept-Encoding, origin"}, {"vary": "Accept-Encoding, origin"}),
        ({"vary": "*"}, {"vary": "*"}, {"vary": "*"}),
        ({"accept-ranges": "bytes"}, {"accept-ranges": None}, {"accept-ranges": "bytes"}),
        ({"x-mine": "1", "connection": "close"}, {"x-mine": "1", "connection": "close"}, {"connection": "close"}),
        ({"content-length": str(len(TEXT))}, {}, {"content-length": str(len(TEXT))}),
    ],
)
def test_fields(
    server: Live, fields: dict[str, str], coded: dict[str, str | None], as_it_is: dict[str, str | None]
) -> None:
    target = f"/headers?fields={orjson.dumps(fields).decode().replace(' ', '%20')}"
    for accept, coding, wanted in (("gzip", "gzip", coded), (None, None, as_it_is)):
        answer = get(server, target, accept)
        assert answer["content-encoding"] == coding
        assert plain(answer) == TEXT.encode()
        assert {name: answer[name] for name in wanted} == wanted
        assert int(answer["content-length"] or 0) == len(answer.body)


def test_weights_and_lists(server: Live) -> None:
    assert get(server, "/json", "gzip;q=0.5, br;q=0.4, *;q=0.1")["content-encoding"] == "gzip"
    assert get(server, "/json", "gzip, deflate, br, zstd")["content-encoding"] == "zstd"
    assert get(server, "/json", "gzip;q=0", "accept-encoding: br")["content-encoding"] == "br"
    assert get(server, "/json", "gzip;q=x", "accept-encoding: br")["content-encoding"] is None


def test_head(server: Live) -> None:
    for target in ("/json", "/large", "/stream"):
        with server.peer() as peer:
            request = f"HEAD {target} HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip\r\n\r\n"
            answer = peer.send(request.encode()).answer("HEAD")
            assert (answer.status, answer["content-encoding"], answer["vary"]) == (200, "gzip", "accept-encoding")
            assert answer["content-length"] is None
            # Nothing follows that would not belong to the next answer.
            assert peer.get("/small").answer().body == SMALL.encode()
    answer = get(server, "/json", None, method="HEAD")
    assert answer["content-length"] == str(len(orjson.dumps(ROWS)))
    assert answer["vary"] == "accept-encoding"


def test_errors_are_answers(server: Live) -> None:
    answer = get(server, "/fails")
    assert (answer.status, answer["content-encoding"]) == (503, "gzip")
    assert orjson.loads(plain(answer))["detail"] == "no " * 1000
    answer = get(server, "/missing" + "x" * 1500)
    assert (answer.status, answer["content-encoding"]) == (404, "gzip")


def test_who_accepts_nothing(server: Live) -> None:
    """RFC 9110, 12.5.3: as it is, unless that is refused too."""
    for accept in ("identity;q=0", "*;q=0", "compress, *;q=0"):
        for target in ("/json", "/small", "/stream", "/image", "/large"):
            answer = get(server, target, accept)
            assert (answer.status, answer["vary"]) == (406, "accept-encoding")
            assert answer["content-type"] == "application/problem+json"
            assert "zstd, br, gzip, deflate" in orjson.loads(answer.body)["detail"]
        # What failed, and what was done, is told all the same; what is fixed cannot be helped.
        assert get(server, "/fails", accept).status == 503
        assert get(server, "/done", accept, "content-length: 0", method="POST").body == TEXT.encode()
        assert get(server, "/none", accept, method="HEAD").status in (200, 406)
    for target in ("/small", "/image"):
        answer = get(server, target, "br, identity;q=0")
        assert (answer.status, answer["content-encoding"], answer["vary"]) == (200, "br", "accept-encoding")


def test_what_does_not_become_smaller() -> None:
    app = App()
    app.compress(minimum_size=1, codings=["gzip"])

    @app.get("/")
    async def tiny() -> str:
        return "abc"

    with live(app) as server:
        answer = get(server, "/")
        assert (answer.body, answer["content-encoding"], answer["vary"]) == (b"abc", None, "accept-encoding")
        answer = get(server, "/", "gzip, identity;q=0")
        assert answer["content-encoding"] == "gzip"
        assert plain(answer) == b"abc"


def test_pipelined_answers_stay_in_order(server: Live) -> None:
    """Those that are compressed in a thread, and those that are not."""
    targets = ["/large", "/small", "/json", "/large", "/off", "/inline", "/small", "/threads", "/small"]
    with server.peer() as peer:
        for target in targets:
            peer.get(target, "accept-encoding: br")
        bodies = [plain(peer.answer()).decode() for _ in targets]
    rows = orjson.dumps(ROWS).decode()
    assert bodies == [LARGE, SMALL, rows, LARGE, TEXT, LARGE, SMALL, TEXT + LARGE + TEXT, SMALL]


def test_large_bodies_leave_the_loop_free() -> None:
    """What is compressed in a thread is: other requests are answered meanwhile, on the same loop."""
    app = App()
    app.compress(codings={"br": 11})
    large = LARGE * 6
    done: list[str] = []

    @app.get("/large")
    async def answer() -> str:
        return large

    @app.get("/quick")
    async def quick() -> str:
        done.append("quick")
        return "quick"

    with live(app) as server, server.peer() as slow, server.peer() as fast:
        slow.get("/large", "accept-encoding: br")
        thread = threading.Thread(target=lambda: done.append(f"large {len(plain(slow.answer()))}"))
        thread.start()
        for _ in range(5):
            assert fast.get("/quick").answer().body == b"quick"
        assert done == ["quick"] * 5
        thread.join(30)
        assert done[5:] == [f"large {len(large)}"]


def test_half_closed_peers_get_their_answer(server: Live) -> None:
    with server.peer() as peer:
        peer.get("/large", "accept-encoding: br").half_close()
        assert plain(peer.answer()) == LARGE.encode()


# --- streams


@pytest.mark.parametrize("coding", CODINGS)
def test_a_stream_is_flushed_when_it_waits(coding: CodingName) -> None:
    """What was given arrives although more is to come, and what is given without a pause goes together."""
    app, go = App(), asyncio.Event()
    app.compress()

    @app.get("/")
    async def lines() -> AsyncIterator[str]:
        for n in range(100):
            yield f"first {n}\n"
        await go.wait()
        yield "second\n"

    with live(app) as server, server.peer() as peer:
        peer.get("/", f"accept-encoding: {coding}").until(b"\r\n\r\n")
        reader, seen, chunks = Decompressor(coding), b"", 0
        while len(seen) < sum(len(f"first {n}\n") for n in range(100)):
            size = int(peer.until(b"\r\n"), 16)
            seen += reader.decompress(peer.exactly(size + 2)[:-2])
            chunks += 1
        assert chunks < 5
        server.call(go.set)
        while size := int(peer.until(b"\r\n"), 16):
            seen += reader.decompress(peer.exactly(size + 2)[:-2])
        reader.finish()
        assert seen.endswith(b"first 99\nsecond\n")


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("replay", [False, True])
def test_events_are_flushed_one_by_one(coding: CodingName, replay: bool) -> None:
    app, turns = App(), asyncio.Semaphore(0)
    app.compress()
    options: Any = {"replay": 10} if replay else {}

    @app.sse("/", retry=2000, **options)
    async def ticks() -> AsyncIterator[dict[str, int]]:
        for n in range(5):
            await turns.acquire()
            yield {"n": n}
        await asyncio.Event().wait()

    with live(app) as server, server.peer() as peer:
        head = peer.get("/", f"accept-encoding: {coding}").until(b"\r\n\r\n").lower()
        assert f"content-encoding: {coding}".encode() in head
        assert b"content-type: text/event-stream" in head
        reader, seen = Decompressor(coding), b""

        def read(mark: bytes) -> None:
            nonlocal seen
            while not seen.endswith(mark):
                size = int(peer.until(b"\r\n"), 16)
                seen += reader.decompress(peer.exactly(size + 2)[:-2])

        read(b"retry: 2000\n\n")
        for n in range(5):
            server.call(turns.release)
            read(b'data: {"n":%d}\n\n' % n)


def test_heartbeats_are_compressed() -> None:
    app = App()
    app.compress(codings=["gzip"])

    @app.sse("/", heartbeat=0.05)
    async def silent() -> AsyncIterator[str]:
        yield "one"
        await asyncio.Event().wait()

    with live(app) as server, server.peer() as peer:
        peer.get("/", "accept-encoding: gzip").until(b"\r\n\r\n")
        reader, seen = Decompressor("gzip"), b""
        while seen.count(b":\n\n") < 2:
            size = int(peer.until(b"\r\n"), 16)
            seen += reader.decompress(peer.exactly(size + 2)[:-2])
        assert seen.startswith(b"data: one\n\n")


def test_streams_wait_for_slow_peers() -> None:
    """The source is not read to its end while the peer takes nothing, though what comes out is flushed later."""
    app, given, pieces = App(), 0, 20_000
    app.compress(codings={"zstd": 1})
    rng = random.Random(1)

    @app.get("/")
    async def body() -> Stream:
        async def source() -> AsyncIterator[bytes]:
            nonlocal given
            for _ in range(pieces):
                given += 1
                yield rng.randbytes(3000)
                await asyncio.sleep(0)

        return Stream(source(), media_type="text/plain")

    with live(app) as server, server.peer(receive_buffer=4096) as peer:
        peer.get("/", "accept-encoding: zstd").until(b"\r\n\r\n")
        seen = -1
        while seen != given:
            seen = given
            time.sleep(0.3)
        assert given < pieces
        reader, size = Decompressor("zstd", max_size=None), 0
        while length := int(peer.until(b"\r\n"), 16):
            size += len(reader.decompress(peer.exactly(length + 2)[:-2]))
        reader.finish()
        assert (given, size) == (pieces, 3000 * pieces)


def test_an_event_stream_that_is_not_acceptable() -> None:
    app = App()
    app.compress(codings=["gzip"])

    @app.get("/")
    async def events() -> EventStream:
        async def none() -> AsyncIterator[str]:
            await asyncio.sleep(0.05)
            yield "one"

        return EventStream(none())

    with live(app) as running:
        assert get(running, "/", "br, *;q=0").status == 406
        assert get(running, "/", "br").body == b"data: one\n\n"


# --- who says what


def test_routes_routers_and_the_app() -> None:
    app, inner, outer = App(), Router(), Router()
    for place, prefix in ((app, "/app"), (inner, "/inner"), (outer, "/outer")):
        for name, options in {
            "": {},
            "/off": {"compress": False},
            "/on": {"compress": True},
            "/own": {"compress": Compression(codings={"deflate": 1})},
        }.items():

            @place.get(prefix + name, **options)  # type: ignore[arg-type]
            async def answer() -> str:
                return TEXT

    inner.compress(codings=["br"])
    outer.include(inner)
    app.include(outer)
    app_settings = app.compress(Compression(codings=["gzip", "deflate"]))
    assert app_settings.codings == ("gzip", "deflate")
    with live(app) as server:

        def coding(target: str) -> str | None:
            return get(server, target, "gzip, deflate, br, zstd")["content-encoding"]

        for prefix, wanted in (("/app", "gzip"), ("/outer", "gzip"), ("/inner", "br")):
            found = [coding(prefix + name) for name in ("", "/off", "/on", "/own")]
            assert found == [wanted, None, wanted, "deflate"]
        with pytest.raises(RuntimeError, match="served"):
            app.compress()


def test_one_route_alone() -> None:
    app = App()

    @app.get("/on", compress=True)
    async def on() -> str:
        return TEXT

    @app.get("/other")
    async def other() -> str:
        return TEXT

    with live(app) as server:
        assert get(server, "/on")["content-encoding"] == "gzip"
        answer = get(server, "/other")
        assert (answer["content-encoding"], answer["vary"]) == (None, None)


def test_middleware_sees_what_is_not_compressed_yet() -> None:
    app, seen = App(), []
    app.compress()
    app_with(app)

    @app.middleware
    async def look(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        seen.append((response.body, response.headers.get("content-encoding")))
        response.headers["x-seen"] = "1"
        return response  # type: ignore[no-any-return]

    with live(app) as server:
        for target in ("/json", "/text", "/large"):
            answer = get(server, target, "zstd")
            assert (answer["content-encoding"], answer["x-seen"]) == ("zstd", "1")
            assert plain(answer) == seen[-1][0]
            assert seen[-1][1] is None
        answer = get(server, "/threads", "zstd")
        assert plain(answer) == (TEXT + LARGE + TEXT).encode()


def test_mistakes() -> None:
    app = App()
    with pytest.raises(ValueError, match="level 12"):
        app.compress(codings={"br": 12})
    with pytest.raises(ValueError, match="no coding"):
        app.compress(codings=["lzma"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at least one"):
        app.compress(codings=[])
    with pytest.raises(ValueError, match="minimum_size"):
        app.compress(minimum_size=-1)
    with pytest.raises(ValueError, match="thread_size"):
        app.compress(thread_size=-1)
    with pytest.raises(ValueError, match="media type"):
        app.compress(media_types=["json"])
    with pytest.raises(TypeError, match="lists"):
        app.compress(codings="gzip")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="where it is made"):
        app.compress(Compression(), minimum_size=3)
    with pytest.raises(TypeError, match="compress is"):
        app.get("/", compress="gzip")(lambda: "")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="decompress is"):
        app.get("/", decompress=-1)(lambda: "")
    with pytest.raises(ValueError, match="decompress is"):
        app.decompress(-1)
