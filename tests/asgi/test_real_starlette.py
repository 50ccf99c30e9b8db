"""A Starlette application of everything, served by us in every way, answers as it does under uvicorn."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.asgi.both import WAYS, Pair, Way, files_of, pair
from tests.asgi.starlette_app import make

LARGE = bytes(range(256)) * 5000  # above 1 MiB: more than a route of ours takes by itself


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static files that are as old for both servers."""
    found = tmp_path_factory.mktemp("static")
    (found / "page.html").write_text("<p>page</p>")
    (found / "index.html").write_text("<p>index</p>")
    (found / "large.bin").write_bytes(LARGE)
    (found / "empty.txt").write_bytes(b"")
    for path in found.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return found


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.name)
def both(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    way: Way = request.param
    files = files_of(tmp_path_factory.mktemp("tls")) if way.secure else None
    with pair(lambda: make(folder), way, files) as found:
        yield found


@pytest.mark.parametrize(
    "target",
    [
        "/items/42?a=1&b=2&a=3",
        "/items/none",
        "/rest/a/b%20c/%C3%BC",
        "/rest/with%2Fslash",
        "/sub/inner/x%2Fy",
        "/sub/inner/name",
        "/links",
        "/slash",
        "/slash/",
        "/items/42/",
        "/nowhere",
        "/",
        "/scope",
        "/scope/%F0%9F%90%8D/a%2Fb%25?q=%20+&&x",
        "/stream",
        "/stream?length",
        "/blocking",
        "/cookies",
        "/empty/204",
        "/empty/200",
        "/empty/304",
        "/empty/404",
        "/redirect",
        "/download",
        "/broken",
        "/handled",
        "/teapot",
        "/static/page.html",
        "/static/",
        "/static/none",
        "/static/empty.txt",
        "/gzip/large",
        "/gzip/stream",
        "/gzip/small",
        "/wrapped/item/3",
        "/wrapped/stream",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_same_answer(both: Pair, method: str, target: str) -> None:
    both.ask(method, target)


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("target", ["/items/42", "/echo", "/nowhere", "/static/page.html"])
def test_methods(both: Pair, method: str, target: str) -> None:
    both.ask(method, target)


@pytest.mark.parametrize(
    "fields",
    [
        {"range": "bytes=0-9"},
        {"range": "bytes=-5"},
        {"range": "bytes=10-19,30-39"},
        {"range": "bytes=999999999-"},
        {"range": "nonsense"},
        {"if-none-match": '"none"'},
        {"if-modified-since": "Tue, 14 Nov 2023 22:13:20 GMT"},
        {"if-modified-since": "Tue, 14 Nov 2000 22:13:20 GMT"},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["/download", "/static/large.bin"])
def test_parts_of_files(both: Pair, target: str, fields: dict[str, str]) -> None:
    ours = both.ours.get(both.way.prefix + target, headers=fields)
    theirs = both.theirs.get(target, headers=fields)
    assert ours.status_code == theirs.status_code
    # Boundaries of several parts are drawn by lot.
    if "multipart" not in ours.headers.get("content-type", ""):
        both.get(target, headers=fields)
    else:
        assert ours.headers["content-length"] == theirs.headers["content-length"] == str(len(ours.content))


def test_unchanged_files(both: Pair) -> None:
    etag = both.get("/static/large.bin").headers["etag"]
    assert both.get("/static/large.bin", headers={"if-none-match": etag}).status_code == 304


def test_what_the_scope_says(both: Pair) -> None:
    answer = both.get("/scope/a%20b?x=1", headers={"X-Twice": "1", "Cookie": "a=1; b=2"}).json()
    assert answer["root_path"] == both.way.prefix
    assert answer["path"] == both.way.prefix + "/scope/a b"
    assert answer["raw_path"] == both.way.prefix + "/scope/a%20b"
    assert answer["query_string"] == "x=1"
    assert answer["scheme"] == ("https" if both.way.secure else "http")
    assert answer["state"] == "from the lifespan"
    assert answer["client"] == answer["server"] == "127.0.0.1"


@pytest.mark.parametrize("size", [0, 1, 65536, len(LARGE)])
def test_bodies(both: Pair, size: int) -> None:
    body = LARGE[:size]
    fields = {"content-type": "application/x-something"}
    assert both.post("/echo", content=body, headers=fields).content == body
    assert both.ask("PUT", "/echo", content=body).content == body
    assert both.post("/wrapped/echo", content=body).content == body
    answer = both.post("/count", content=body).json()
    assert answer == {"size": size, "sha256": hashlib.sha256(body).hexdigest()}


def test_bodies_without_a_length(both: Pair) -> None:
    pieces = [LARGE[:70_000], b"", b"x", LARGE]

    def body() -> Iterator[bytes]:
        yield from (piece for piece in pieces if piece)

    assert both.post("/count", content=body).json()["size"] == sum(map(len, pieces))
    assert both.post("/echo", content=body).content == b"".join(pieces)


def test_forms(both: Pair) -> None:
    assert both.post("/form", data={"a": "1", "b": ["x", "ü&="]}).json() == [["a", "1"], ["b", "x"], ["b", "ü&="]]
    files = {"file": ("ünder.bin", LARGE, "application/x-large"), "small": ("s.txt", b"small", "text/plain")}
    boundary = {"content-type": "multipart/form-data; boundary=of-a-test"}
    answer = both.post("/form", data={"field": "value"}, files=files, headers=boundary).json()
    assert answer[0] == ["field", "value"]
    assert answer[1] == ["file", "ünder.bin", "application/x-large", len(LARGE), LARGE[:16].hex()]
    # What cannot be parsed is the application's affair too.
    both.post("/form", content=b"no parts", headers=boundary)


def test_a_body_that_is_not_read(both: Pair) -> None:
    for _ in range(3):
        assert both.post("/unread", content=b"x" * 1000).text == "not read"
        assert both.get("/items/1").status_code == 200


def test_sessions(both: Pair) -> None:
    def visit(client: Any, prefix: str, cookie: str | None) -> Any:
        return client.get(prefix + "/session", headers={"cookie": cookie} if cookie else None)

    ours = visit(both.ours, both.way.prefix, None)
    theirs = visit(both.theirs, "", None)
    # The value has the time in it; what stands around it has not.
    cookie, _, attributes = ours.headers["set-cookie"].partition(";")
    assert attributes == theirs.headers["set-cookie"].partition(";")[2]
    # The secret is the same, so each accepts what the other gave out.
    assert visit(both.ours, both.way.prefix, theirs.headers["set-cookie"].partition(";")[0]).json() == {"visits": 2}
    assert visit(both.theirs, "", cookie).json() == {"visits": 2}
    both.ours.cookies.clear()
    both.theirs.cookies.clear()


def test_one_application_for_many_requests(both: Pair) -> None:
    answers = [both.ours.get(f"{both.way.prefix}/items/{number}") for number in range(200)]
    assert [json.loads(answer.content)["id"] for answer in answers] == list(range(200))
