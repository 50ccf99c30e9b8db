"""Request bodies with a Content-Encoding: what handlers get, and what bombs and damage get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson
import pytest

from fastnet import App, Request, Response
from fastnet.compression import CODINGS, CodingName, compress
from tests.wire.live import Answer, Live, live

TEXT = b"".join(b"line %d of a text\n" % n for n in range(2000))


class Item(msgspec.Struct):
    name: str
    numbers: list[int]


ITEM = {"name": "many", "numbers": list(range(5000))}


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    app = App()
    app.decompress()

    @app.post("/typed")
    async def typed(item: Item) -> int:
        return sum(item.numbers)

    @app.post("/whole")
    async def whole(request: Request) -> bytes:
        return await request.body()

    @app.post("/pieces")
    async def pieces(request: Request) -> bytes:
        return b"".join([piece async for piece in request.stream()])

    @app.post("/larger", decompress=10_000_000)
    async def larger(request: Request) -> int:
        return len(await request.body())

    @app.post("/smaller", decompress=1000)
    async def smaller(request: Request) -> int:
        return len(await request.body())

    @app.post("/off", decompress=False)
    async def off(request: Request) -> bytes:
        return await request.body()

    @app.post("/ignored")
    async def ignored() -> str:
        return "fine"

    with live(app) as running:
        yield running


def post(server: Live, target: str, body: bytes, coding: str | None, *, chunk: int = 0) -> Answer:
    """Send a body, in chunks of a size if one is given."""
    fields = ("content-type: application/json", *([] if coding is None else [f"content-encoding: {coding}"]))
    with server.peer() as peer:
        if not chunk:
            return peer.post(target, body, *fields).answer()
        lines = [f"POST {target} HTTP/1.1", "host: test", "transfer-encoding: chunked", *fields, "", ""]
        peer.send("\r\n".join(lines).encode())
        for at in range(0, len(body), chunk):
            part = body[at : at + chunk]
            peer.send(b"%x\r\n%b\r\n" % (len(part), part))
        return peer.send(b"0\r\n\r\n").answer()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("chunk", [0, 100])
def test_each_coding(server: Live, coding: CodingName, chunk: int) -> None:
    body = compress(orjson.dumps(ITEM), coding)
    assert post(server, "/typed", body, coding, chunk=chunk).body == b"12497500"
    for target in ("/whole", "/pieces"):
        assert post(server, target, compress(TEXT, coding), coding, chunk=chunk).body == TEXT
    assert post(server, "/off", body, coding, chunk=chunk).body == body
    assert post(server, "/ignored", body, coding, chunk=chunk).body == b"fine"


def test_names(server: Live) -> None:
    for coding in ("GZIP", "x-gzip", " gzip "):
        assert post(server, "/whole", compress(TEXT, "gzip"), coding).body == TEXT
    for plain in (None, "identity", "Identity", ""):
        assert post(server, "/whole", TEXT, plain).body == TEXT


@pytest.mark.parametrize("target", ["/typed", "/whole", "/pieces"])
@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "identity, br", "x", "\xff"])
def test_unknown_codings(server: Live, target: str, coding: str) -> None:
    answer = post(server, target, TEXT, coding)
    assert (answer.status, answer["accept-encoding"]) == (415, "gzip, deflate, br, zstd")
    assert "Content-Encoding" in orjson.loads(answer.body)["detail"]


@pytest.mark.parametrize("target", ["/typed", "/whole", "/pieces"])
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("chunk", [0, 1000])
@pytest.mark.limit("Compression: decompressed request body")
def test_bombs(server: Live, target: str, coding: CodingName, chunk: int) -> None:
    before = server.server.counters["limit_body"]
    answer = post(server, target, compress(bytes(50_000_000), coding), coding, chunk=chunk)
    assert answer.status == 413
    assert "1048576 bytes" in orjson.loads(answer.body)["detail"]
    assert server.server.counters["limit_body"] == before + 1


@pytest.mark.parametrize("coding", CODINGS)
def test_own_bounds(server: Live, coding: CodingName) -> None:
    body = compress(bytes(9_000_000), coding)
    assert post(server, "/larger", body, coding).body == b"9000000"
    assert post(server, "/larger", compress(bytes(10_000_001), coding), coding).status == 413
    assert post(server, "/smaller", compress(bytes(1000), coding), coding).body == b"1000"
    assert post(server, "/smaller", compress(bytes(1001), coding), coding).status == 413
    # What is not compressed has the other limit.
    assert post(server, "/smaller", TEXT, None).body == b"%d" % len(TEXT)


@pytest.mark.parametrize("target", ["/typed", "/whole", "/pieces"])
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("chunk", [0, 50])
def test_damage(server: Live, target: str, coding: CodingName, chunk: int) -> None:
    body = compress(orjson.dumps(ITEM), coding)
    for damaged in (body[:-1], body[:20], body + b"more", b"\xff" + body, b"x" * 100):
        answer = post(server, target, damaged, coding, chunk=chunk)
        assert answer.status == 400, damaged[:10]
        assert "Content-Encoding" in orjson.loads(answer.body)["detail"]


@pytest.mark.parametrize("target", ["/typed", "/whole", "/pieces"])
def test_the_connection_goes_on(server: Live, target: str) -> None:
    """A body that was refused is read to its end, and the next request of its connection is answered."""
    good = compress(orjson.dumps(ITEM), "gzip")
    bodies = [(good[:-1], "gzip", 400), (compress(bytes(2_000_000), "br"), "br", 413), (good, "lzma", 415)]
    with server.peer() as peer:
        for body, coding, status in bodies:
            for _ in range(2):
                peer.post(target, body, f"content-encoding: {coding}", "content-type: application/json")
            peer.post(target, good, "content-encoding: gzip", "content-type: application/json")
            assert [peer.answer().status for _ in range(3)] == [status, status, 200]
        # The same with a body that comes after its head was answered.
        head = f"POST {target} HTTP/1.1\r\nhost: test\r\ncontent-encoding: lzma\r\ncontent-length: 5\r\n\r\n"
        peer.send(head.encode())
        assert peer.answer().status == 415
        peer.send(b"12345").post(target, good, "content-encoding: gzip", "content-type: application/json")
        assert peer.answer().status == 200


def test_an_empty_body_is_no_damage(server: Live) -> None:
    assert post(server, "/whole", b"", "gzip").body == b""


def test_without_it_bodies_are_what_they_are() -> None:
    app = App()

    @app.post("/")
    async def whole(request: Request) -> bytes:
        return await request.body()

    with live(app) as server:
        body = compress(TEXT, "gzip")
        assert post(server, "/", body, "gzip").body == body
        assert post(server, "/", TEXT, "what").body == TEXT


def test_behind_middleware() -> None:
    app = App()
    app.decompress(max_size=100_000)

    @app.middleware
    async def look(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-size"] = str(len(await request.body())) if response.status_code == 200 else "none"
        return response

    @app.post("/")
    async def typed(item: Item) -> int:
        return len(item.numbers)

    with live(app) as server:
        body = orjson.dumps(ITEM)
        for coding in CODINGS:
            answer = post(server, "/", compress(body, coding), coding)
            assert (answer.status, answer.body, answer["x-size"]) == (200, b"5000", str(len(body)))
            assert post(server, "/", compress(bytes(100_001), coding), coding).status == 413
            assert post(server, "/", body, coding).status == 400
        assert post(server, "/", body, "what").status == 415
