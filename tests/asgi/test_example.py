"""The example that moves a FastAPI application route by route, as a real process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from websockets.sync.client import connect

from examples.asgi.shop import app as shop
from tests.asgi.both import uvicorn_serves
from tests.server.service import Service, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("example"), "", app="examples.asgi.service:app") as found:
        yield found


def test_one_route_is_ours_and_the_others_are_not(service: Service) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", trust_env=False) as client:
        assert client.get("/items/1").json() == {"name": "saw", "price": 12.5}
        # Who answered shows in the errors: each framework has its own.
        assert client.get("/items/9").headers["content-type"] == "application/problem+json"
        assert client.get("/nowhere").json() == {"detail": "Not Found"}
        ordered = client.post("/orders", json={"name": "saw", "price": 12.5})
        assert (ordered.status_code, ordered.json()) == (201, {"ordered": "saw"})
        assert client.post("/orders", json={}).status_code == 422
        assert "/orders" in client.get("/openapi.json").json()["paths"]
    with connect(f"ws://127.0.0.1:{service.port}/prices", proxy=None) as ws:
        assert json.loads(ws.recv()) == {"saw": 12.5, "hammer": 9}


def test_the_application_still_runs_alone() -> None:
    with uvicorn_serves(shop) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/items/1", trust_env=False)
        assert answer.json() == {"name": "saw", "price": 12.5}
