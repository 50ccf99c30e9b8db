"""A Django project under ``fastnet run``, by ASGI and by WSGI, over the wire."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterator

import pytest

from tests.asgi.real import Browser, project
from tests.server.service import Service

pytest.importorskip("django")

Served = tuple[str, Service, int]

CSS = b"body { color: #123456; }\n"


@pytest.fixture(scope="module", params=["asgi", "wsgi"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The interface, the process with two workers, and its port."""
    folder = tmp_path_factory.mktemp(request.param)
    with project(folder, f"django_shop.{request.param}:application", workers=2) as (service, browser):
        yield request.param, service, browser.port


@pytest.fixture
def browser(served: Served) -> Browser:
    return Browser(served[2])


def test_requests_arrive_as_they_are(served: Served, browser: Browser) -> None:
    found = browser.get("/named/%C3%BC/a%2Fb%20c?x=1&x=2&y=%C3%A4", x_agent="me").json
    assert found == {
        "method": "GET",
        "path": "/named/ü/a/b c",
        "path_info": "/named/ü/a/b c",
        "name": "ü/a/b c",
        "query": {"x": ["1", "2"], "y": ["ä"]},
        "uri": f"http://127.0.0.1:{browser.port}/named/%C3%BC/a/b%20c?x=1&x=2&y=%C3%A4",
        "reverse": "/form/",
        "address": "127.0.0.1",
        "agent": "me",
        "kind": "ASGIRequest" if served[0] == "asgi" else "WSGIRequest",
    }
    assert browser.ask("OPTIONS", "/").json["method"] == "OPTIONS"
    assert browser.get("/missing/").status == 404
    # Django's own redirect, not one of ours.
    answer = browser.get("/form")
    assert (answer.status, answer.headers["location"]) == (301, "/form/")


def test_a_form_with_csrf_and_a_session(browser: Browser) -> None:
    page = browser.get("/form/").text
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
    assert 'value="nobody"' in page
    assert browser.post("/form/", name="Mallory").status == 403
    answer = browser.post("/form/", name="Älice & Co", csrfmiddlewaretoken=token)
    assert (answer.status, answer.headers["location"]) == (302, "/form/")
    # Whichever worker answers: sessions are in the database.
    for _ in range(6):
        assert 'value="Älice &amp; Co"' in browser.get("/form/").text
    assert 'value="nobody"' in Browser(browser.port).get("/form/").text


@pytest.mark.parametrize("size", [10, 6_000_000])
def test_uploads(browser: Browser, size: int) -> None:
    data = os.urandom(size)
    found = browser.upload("/upload/", "a.bin", data, note="with it").json
    kind = "InMemoryUploadedFile" if size < 2_500_000 else "TemporaryUploadedFile"
    digest = hashlib.sha256(data).hexdigest()
    assert found == {"name": "a.bin", "size": size, "hash": digest, "note": "with it", "kind": kind}


def test_an_async_view_and_the_database(served: Served, browser: Browser) -> None:
    for name in ("ann", "bob"):
        assert browser.ask("POST", "/users/", json.dumps({"name": name}).encode()).status == 200
    assert browser.get("/users/").json == {"users": ["ann", "bob"]}


@pytest.mark.parametrize("query", ["", "?async"])
def test_streams(browser: Browser, query: str) -> None:
    answer = browser.get(f"/stream/{query}")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.text == "".join(f"line {at}\n" for at in range(50))
    packed = browser.get(f"/stream/{query}", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"


def test_files(browser: Browser) -> None:
    static = browser.get("/static/shop.css")
    assert (static.status, static.body, static.headers["content-type"]) == (200, CSS, "text/css")
    assert browser.get("/static/shop.css", if_modified_since=static.headers["last-modified"]).status == 304
    file = browser.get("/file/")
    assert (file.body, file.headers["content-length"]) == (CSS, str(len(CSS)))
    assert browser.ask("HEAD", "/file/").headers["content-length"] == str(len(CSS))
    assert browser.ask("HEAD", "/file/").body == b""
    nothing = browser.get("/nothing/")
    assert (nothing.status, nothing.body) == (204, b"")


def test_failures_are_the_frameworks(served: Served, browser: Browser) -> None:
    answer = browser.get("/fails/")
    assert answer.status == 500
    assert "Server Error (500)" in answer.text
    assert "LookupError" not in answer.text
    assert browser.get("/").status == 200
    assert "LookupError: of the view" in served[1].log


def test_a_body_that_is_cut_short(served: Served, browser: Browser) -> None:
    with socket.create_connection(("127.0.0.1", browser.port), timeout=20) as sock:
        sock.sendall(b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n")
        sock.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
    for _ in range(4):
        assert browser.get("/").status == 200
