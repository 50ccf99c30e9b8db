"""A FastAPI application of everything, served by us in every way, answers as it does under uvicorn."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.asgi.both import WAYS, Pair, files_of, pair
from tests.asgi.fastapi_app import make
from tests.wire.live import until

LARGE = b"x" * 1_500_000


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.name)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    files = files_of(tmp_path_factory.mktemp("tls")) if request.param.secure else None
    with pair(make, request.param, files) as found:
        yield found


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/items/3?verbose=true&tags=a&tags=b", 200),
        ("/items/3?verbose=perhaps", 422),
        ("/items/0", 422),
        ("/items/none", 422),
        ("/greeting", 200),
        ("/me", 401),
        ("/thread", 200),
        ("/trouble", 409),
        ("/broken", 500),
        ("/stream", 200),
        ("/links", 200),
        ("/sub/where", 200),
        ("/sub/nowhere", 404),
        ("/openapi.json", 200),
        ("/sub/openapi.json", 200),
        ("/docs", 200),
        ("/redoc", 200),
        ("/nowhere", 404),
        ("/items/3/", 307),
    ],
)
def test_reading(both: Pair, target: str, status: int) -> None:
    assert both.get(target, headers={"x-token": "t", "cookie": "session=s"}).status_code == status


def test_dependencies_are_cleaned_up(both: Pair) -> None:
    assert [both.get("/greeting").json() for _ in range(3)] == [{"greeting": "from the lifespan", "open": 1}] * 3


def test_authorization(both: Pair) -> None:
    assert both.get("/me", headers={"authorization": "Bearer secret"}).json() == "somebody"
    assert both.get("/me", headers={"authorization": "Bearer guess"}).status_code == 403


@pytest.mark.parametrize(
    "body", [b'{"name": "saw", "price": 2.5}', b'{"name": "", "price": -1}', b"{", b"", b'{"name":"taken","price":1}']
)
def test_writing(both: Pair, body: bytes) -> None:
    fields = {"content-type": "application/json"}
    both.post("/items", content=body, headers=fields)
    both.ask("PUT", "/items/3/price?factor=2", content=body, headers=fields)
    both.ask("DELETE", "/items/3")
    both.ask("PATCH", "/items/3", content=body)


def test_forms_and_uploads(both: Pair) -> None:
    assert both.post("/form", data={"name": "ü", "age": "3"}).json() == {"name": "ü", "age": 3}
    assert both.post("/form", data={"age": "x"}).status_code == 422
    files = [("files", ("large.bin", LARGE, "application/x-large")), ("files", ("small.txt", b"s", "text/plain"))]
    boundary = {"content-type": "multipart/form-data; boundary=of-a-test"}
    answer = both.post("/upload", data={"note": "n"}, files=files, headers=boundary).json()
    assert answer["files"] == [["large.bin", "application/x-large", len(LARGE)], ["small.txt", "text/plain", 1]]


def test_background_tasks(both: Pair) -> None:
    both.get("/later")
    until(lambda: both.ours.get(both.way.prefix + "/done").json() == ["one"])
    until(lambda: both.theirs.get("/done").json() == ["one"])


def test_websockets() -> None:
    # One way: test_real_starlette_websockets has the others.
    with pair(make) as both:
        for port in (both.live.port, both.their_port):
            uri = f"ws://127.0.0.1:{port}/ws/lobby"
            with connect(f"{uri}?token=secret", proxy=None) as ws:
                ws.send('{"a": 1}')
                assert json.loads(ws.recv()) == {"room": "lobby", "got": {"a": 1}}
            with pytest.raises(InvalidStatus) as refused:
                connect(uri, proxy=None)
            assert refused.value.response.status_code == 403
