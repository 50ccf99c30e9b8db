"""Django, Flask and Quart below an App of ours: prefixes, sessions, WebSockets, and our routes first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.asgi.real import Browser, project

for package in ("django", "flask", "quart"):
    pytest.importorskip(package)


@pytest.fixture(scope="module", params=[(), ("--root-path", "/all")])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The port, and the path below which everything is."""
    with project(tmp_path_factory.mktemp("mounted"), "moving:app", *request.param) as (_, browser):
        yield browser.port, request.param[1] if request.param else ""


@pytest.fixture
def browser(place: tuple[int, str]) -> Browser:
    return Browser(place[0])


def test_ours_comes_first(browser: Browser, place: tuple[int, str]) -> None:
    assert browser.get(f"{place[1]}/users/").json == {"answered by": "fastnet"}


def test_flask_below_a_prefix(browser: Browser, place: tuple[int, str]) -> None:
    root = f"{place[1]}/legacy"
    found = browser.get(f"{root}/").json
    assert (found["title"], found["root"], found["path"], found["other"]) == ("legacy", root, "/", f"{root}/name")
    assert found["url"] == f"http://127.0.0.1:{browser.port}{root}/"
    assert browser.post(f"{root}/name", name="me").headers["location"] == f"{root}/name"
    assert browser.get(f"{root}/name").text == "me"


def test_quart_below_a_prefix(browser: Browser, place: tuple[int, str]) -> None:
    root = f"{place[1]}/chat"
    found = browser.get(f"{root}/").json
    assert found["things"] == {"begun": True, "ticked": True}
    assert found["url"] == f"http://127.0.0.1:{browser.port}{root}/"
    with connect(f"ws://127.0.0.1:{browser.port}{root}/ws/me") as socket:
        assert socket.recv() == "hello me None"


def test_django_at_the_root(browser: Browser, place: tuple[int, str]) -> None:
    root = place[1]
    found = browser.get(f"{root}/named/a").json
    assert (found["path"], found["path_info"], found["reverse"]) == (f"{root}/named/a", "/named/a", f"{root}/form/")
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(f"{root}/form/").text)[0]
    answer = browser.post(f"{root}/form/", name="me", csrfmiddlewaretoken=token)
    assert (answer.status, answer.headers["location"]) == (302, f"{root}/form/")
    assert 'value="me"' in browser.get(f"{root}/form/").text


def test_the_lifespans_of_all(tmp_path: Path) -> None:
    with project(tmp_path, "moving:app") as (service, browser):
        assert browser.get("/chat/").json["things"]["begun"]
        assert service.end() == 0
        assert "quart has ended" in service.log
