"""A Quart application under ``fastnet run``: HTTP, streams, WebSockets and its lifespan, over the wire."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator

import pytest
import websockets.exceptions
from websockets.sync.client import connect

from tests.asgi.real import Browser, project
from tests.server.service import Service

pytest.importorskip("quart")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with project(tmp_path_factory.mktemp("quart"), "quart_chat:app", "--lifespan", "on") as (service, _):
        yield service
        assert service.end() == 0
        assert "quart has ended" in service.log


@pytest.fixture
def browser(service: Service) -> Browser:
    return Browser(service.port)


def test_http(browser: Browser) -> None:
    assert browser.get("/?x=1&x=%C3%A4").json == {
        "things": {"begun": True, "ticked": True},
        "url": f"http://127.0.0.1:{browser.port}/?x=1&x=ä",
        "query": {"x": ["1", "ä"]},
        "version": "1.1",
    }
    assert browser.post("/form", name="Älice & Co").json == {"name": "Älice & Co"}
    assert browser.get("/missing").status == 404
    assert browser.ask("PUT", "/form").status == 405
    answer = browser.get("/fails")
    assert answer.status == 500
    assert "LookupError" not in answer.text


@pytest.mark.parametrize("chunked", [False, True])
def test_streams(browser: Browser, chunked: bool) -> None:
    data = os.urandom(5_000_000)
    pieces = [data[at : at + 70_000] for at in range(0, len(data), 70_000)]
    found = browser.ask("POST", "/upload", iter(pieces) if chunked else data).json
    assert found == {"size": len(data), "hash": hashlib.sha256(data).hexdigest()}
    answer = browser.get("/stream")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.text == "".join(f"line {at}\n" for at in range(50))


def test_a_body_that_is_too_large_for_the_framework(browser: Browser) -> None:
    """Quart's own limit (16 MiB), not one of ours."""
    with socket.create_connection(("127.0.0.1", browser.port), timeout=20) as sock:
        sock.sendall(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 413")
    assert browser.get("/").status == 200


def test_websockets(browser: Browser) -> None:
    base = f"ws://127.0.0.1:{browser.port}/ws"
    with connect(f"{base}/%C3%BC?room=1", subprotocols=["other", "chat"], max_size=None) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "chat"
        assert socket.recv() == "hello ü 1"
        for message in ("text", b"bytes", "x" * 2_000_000):
            socket.send(message)
            assert socket.recv() == message
        socket.send("bye")
        with pytest.raises(websockets.exceptions.ConnectionClosedError) as caught:
            socket.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4001, "as you wish")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused, connect(f"{base}/stranger"):
        pass
    assert refused.value.response.status_code == 403
    with pytest.raises(websockets.exceptions.InvalidStatus), connect(f"ws://127.0.0.1:{browser.port}/nowhere"):
        pass
    # Someone who leaves without a word.
    connect(f"{base}/x").socket.close()
    assert browser.get("/").status == 200
