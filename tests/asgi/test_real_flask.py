"""A Flask application under ``fastnet run``, through WSGI, over the wire."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asgi.real import PROJECTS, Browser, project
from tests.server.service import Service, until

pytest.importorskip("flask")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("flask")
    place = 'flask_shop:create_app("a shop", greeting="good day")'
    with project(folder, place, "--wsgi-threads", "4", "--root-path", "/api") as (service, _):
        yield service


@pytest.fixture
def browser(service: Service) -> Browser:
    return Browser(service.port)


def test_requests_arrive_as_they_are(browser: Browser) -> None:
    found = browser.get("/api/?x=1&x=2&y=%C3%A4").json
    assert found == {
        "title": "a shop",
        "greeting": "good day",
        "url": f"http://127.0.0.1:{browser.port}/api/?x=1&x=2&y=ä",
        "root": "/api",
        "path": "/",
        "other": "/api/name",
        "query": {"x": ["1", "2"], "y": ["ä"]},
        "address": "127.0.0.1",
        "secure": False,
    }
    # A proxy may have cut the prefix off.
    assert browser.get("/?x=1&x=2&y=%C3%A4").json == found


def test_a_form_and_a_session(browser: Browser) -> None:
    assert browser.get("/name").text == "nobody"
    answer = browser.post("/name", name="Älice & Co")
    assert (answer.status, answer.headers["location"]) == (302, "/api/name")
    assert browser.get("/name").text == "Älice & Co"
    assert Browser(browser.port).get("/name").text == "nobody"


@pytest.mark.parametrize("chunked", [False, True])
def test_uploads(browser: Browser, chunked: bool) -> None:
    data = os.urandom(3_000_000)
    digest = hashlib.sha256(data).hexdigest()
    found = browser.upload("/upload", "a.bin", data, note="with it", chunked=chunked).json
    assert found == {"name": "a.bin", "hash": digest, "note": "with it"}
    pieces = [data[at : at + 70_000] for at in range(0, len(data), 70_000)]
    found = browser.ask("POST", "/raw", iter(pieces) if chunked else data).json
    assert found == {"size": len(data), "hash": digest}


def test_json(browser: Browser) -> None:
    json = {"Content-Type": "application/json"}
    assert browser.ask("POST", "/json", b'{"number": 21}', json).json == {"doubled": 42}
    assert browser.ask("POST", "/json", b'{"number": ', json).status == 400


def test_streams_and_files(browser: Browser) -> None:
    assert browser.get("/stream?word=line").text == "".join(f"line {at}\n" for at in range(50))
    file = browser.get("/file")
    assert file.body == (PROJECTS / "flask_shop.py").read_bytes()
    assert browser.get("/file", if_none_match=file.headers["etag"]).status == 304
    part = browser.get("/file", range="bytes=10-19")
    assert (part.status, part.body, part.headers["content-length"]) == (206, file.body[10:20], "10")
    head = browser.ask("HEAD", "/file")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", file.headers["content-length"])


def test_failures_are_the_frameworks(service: Service, browser: Browser) -> None:
    answer = browser.get("/fails")
    assert answer.status == 500
    assert "LookupError" not in answer.text
    # Flask writes them to wsgi.errors.
    service.wait_for("LookupError: of the view")
    assert browser.get("/forbidden").status == 403
    assert browser.get("/missing").status == 404


def test_clients_that_leave_free_their_threads(browser: Browser) -> None:
    """More of them than there are threads; each generator is closed."""
    before = len(browser.get("/ended").json)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", browser.port), timeout=20) as sock:
            sock.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    until(lambda: len(browser.get("/ended").json) == before + 10, "the end of the streams")


def test_a_stop_waits_for_the_answer(tmp_path: Path) -> None:
    with project(tmp_path, "flask_shop:create_app()") as (service, browser):
        with socket.create_connection(("127.0.0.1", browser.port), timeout=20) as sock:
            sock.sendall(b"POST /raw HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc")
            assert browser.get("/").status == 200
            service.tell(15)
            service.wait_for("stopping")
            sock.sendall(b"def")
            answer = b""
            while data := sock.recv(65536):
                answer += data
        assert b'"size":6' in answer
        assert service.process.wait(20) == 0
