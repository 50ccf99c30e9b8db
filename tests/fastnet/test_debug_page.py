"""The page of an error in debug mode: what it shows, what it hides, and that nothing in it can run."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from fastnet import App, Request
from fastnet.debugging.frames import failure_of, is_library, short_path
from fastnet.debugging.page import error_page, traceback_lines, wants_page
from fastnet.debugging.secrets import HIDDEN, is_secret, mask_query, mask_text
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.request import request_for
from tests.wire.live import Answer, live

HOSTILE = "<script>alert('x')</script>\"&'\u202e\x00"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def page_of(error: BaseException, target: str = "/", headers: list[tuple[bytes, bytes]] | None = None) -> str:
    body = error_page(request_for(MemoryExchange("GET", target, headers or [])), error).body
    assert body is not None
    return body.decode()


class Page(HTMLParser):
    """The elements and the attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


# --- who gets it


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML;q=0.5", True),
        ("application/json, text/html;q=0.5", False),
        ("application/problem+json, text/html;q=1", True),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("*/*", False),
        ("", False),
        (";,;q=", False),
    ],
)
def test_who_is_a_browser(accept: str, page: bool) -> None:
    assert wants_page(accept) is page


def ask(app: App, target: str, *fields: str) -> Answer:
    with live(app, keeps=True) as server, server.peer() as peer:
        return peer.get(target, *fields).answer()


def failing(debug: bool) -> App:
    app = App(debug=debug)

    @app.get("/fails/{number}")
    async def fails(number: int) -> str:
        password = "hunter" + "2"
        raise ValueError(f"number {number} is bad, {len(password)}")

    return app


def test_a_browser_gets_the_page() -> None:
    answer = ask(
        failing(debug=True), "/fails/7?token=abc", f"accept: {BROWSER}", "cookie: a=swordfish", "x-note: hello"
    )
    text = answer.body.decode()
    assert (answer.status, answer["content-type"]) == (500, "text/html; charset=utf-8")
    assert "ValueError" in text
    assert "number 7 is bad, 7" in text
    assert "/fails/{number}" in text
    assert "test_debug_page.py" in text
    assert "<mark>raise ValueError(" in text
    assert "hello" in text
    assert "swordfish" not in text
    assert "hunter2" not in text
    assert "abc" not in text
    assert "default-src &#x27;none&#x27;" not in text
    assert (answer["content-security-policy"] or "").startswith("default-src 'none'")
    assert answer["cache-control"] == "no-store"


def test_everybody_else_gets_a_problem_with_the_traceback() -> None:
    answer = ask(failing(debug=True), "/fails/7", "accept: */*")
    assert answer["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["exception"] == "ValueError: number 7 is bad, 7"
    assert problem["traceback"][0] == "Traceback (most recent call last):"
    assert problem["traceback"][-1] == "ValueError: number 7 is bad, 7"


@pytest.mark.parametrize("accept", [BROWSER, "*/*"])
def test_nothing_of_it_without_debug(accept: str) -> None:
    answer = ask(failing(debug=False), "/fails/7", f"accept: {accept}")
    assert answer["content-type"] == "application/problem+json"
    assert set(json.loads(answer.body)) == {"type", "title", "status", "detail", "request_id"}
    assert b"is bad" not in answer.body
    assert b"Traceback" not in answer.body


# --- what cannot run


def test_everything_hostile_is_text() -> None:
    class Evil(Exception):
        pass

    Evil.__qualname__ = HOSTILE

    class Local:
        def __repr__(self) -> str:
            return HOSTILE

    def fail() -> None:
        local = Local()
        error = Evil(HOSTILE, local)
        error.add_note(HOSTILE)
        raise error

    def in_a_file_of_a_hostile_name() -> None:
        exec(compile("def f():\n    fail()\nf()", HOSTILE.replace("\x00", ""), "exec"), {"fail": fail})

    request = request_for(
        MemoryExchange(
            "GET", f"/a/{HOSTILE[:-1]}?{HOSTILE[:-1]}={HOSTILE[:-1]}", [(b"x-evil", HOSTILE[:-2].encode("latin-1"))]
        )
    )
    body = error_page(request, raised(in_a_file_of_a_hostile_name)).body
    assert body is not None
    text = body.decode()
    page = Page(text)
    assert "script" not in page.tags
    assert not {name for name in page.attributes if name.startswith("on")}
    assert "<script" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert "&lt;script&gt;" in text


def test_it_fetches_nothing() -> None:
    text = page_of(raised(lambda: 1 / 0))
    template = text.partition("<body>")[0]
    assert "//" not in template
    assert "url(" not in template
    assert "@import" not in template
    assert not {"script", "img", "iframe", "form"} & Page(text).tags


def test_lone_surrogates_can_be_shown() -> None:
    assert "\\udc80" in page_of(ValueError("\udc80"))


# --- what it tells


def test_causes_contexts_and_groups() -> None:
    def fail() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second")  # noqa: B904
        except ValueError as error:
            raise ExceptionGroup("third", [OSError("member"), TypeError("other")]) from error

    failure = failure_of(raised(fail))
    assert [(cause.kind, cause.relation) for cause in failure.causes] == [
        ("OSError", "Exception 1 of 2 in the group"),
        ("TypeError", "Exception 2 of 2 in the group"),
        ("ValueError", "It was caused by"),
    ]
    assert [(cause.kind, cause.relation) for cause in failure.causes[2].causes] == [
        ("KeyError", "It happened while this was handled")
    ]
    text = page_of(raised(fail))
    for word in ("first", "second", "third", "member", "other"):
        assert word in text


def test_a_cause_that_is_its_own_cause_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    failure = failure_of(one)
    assert [cause.message for cause in failure.causes] == ["two"]
    assert failure.causes[0].causes == ()


def test_a_deep_recursion_is_bounded() -> None:
    def down(n: int) -> int:
        return down(n + 1)

    failure = failure_of(raised(lambda: down(0)))
    assert len(failure.frames) == 60
    assert failure.left_out > 500
    text = page_of(raised(lambda: down(0)))
    assert "calls in between are left out" in text
    assert len(text) < 400_000
    assert len(traceback_lines(raised(lambda: down(0)))) <= 501


def test_locals_are_bounded_and_may_misbehave() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    def fail() -> None:
        broken = Broken()
        long = "x" * 10_000
        api_key = "abc"
        settings = {"password": "abc", "user": "me"}
        headers = request_for(MemoryExchange("GET", "/", [(b"authorization", b"abc"), (b"x-a", b"b")])).headers
        raise ValueError(broken and long and api_key and settings and headers)

    failure = failure_of(raised(fail))
    values = {local.name: local.value for local in failure.frames[-1].locals}
    assert values["broken"].startswith("<Broken instance at")
    assert len(values["long"]) <= 200
    assert values["api_key"] == HIDDEN
    assert values["settings"] == f"{{'password': {HIDDEN}, 'user': 'me'}}"
    assert "abc" not in values["headers"]
    assert "'x-a': 'b'" in values["headers"]


def test_an_exception_whose_text_fails() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert failure_of(Broken()).message == "<its text failed with RuntimeError>"


@pytest.mark.parametrize("accept", [BROWSER, "*/*"])
def test_an_error_that_cannot_be_shown_is_answered_all_the_same(accept: str) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    app = App(debug=True)

    @app.get("/")
    async def fails() -> str:
        raise Broken

    answer = ask(app, "/", f"accept: {accept}")
    assert answer.status == 500
    assert b"request_id" in answer.body


def test_own_code_is_open_and_libraries_are_folded() -> None:
    text = page_of(raised(lambda: json.loads("{")))
    assert '<details class="own" open>' in text
    assert '<details class="library">' in text
    assert is_library(json.__file__)
    assert is_library("fastnet_ext/serve/runner.pyx")
    assert not is_library(__file__)
    assert short_path(json.__file__) == "json/__init__.py"
    assert short_path("<string>") == "<string>"


def test_columns_are_of_characters() -> None:
    def fail() -> None:
        über = {"ž": 1}; über["č"]  # noqa: E702 # fmt: skip

    current = failure_of(raised(fail)).frames[-1].current
    assert current is not None
    assert current.marked is not None
    assert current.text[slice(*current.marked)] == 'über["č"]'


# --- secrets


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("User(name='a', password='b c')", f"User(name='a', password={HIDDEN})"),
        ("{'x-api-key': b'b', 'n': 1}", f"{{'x-api-key': {HIDDEN}, 'n': 1}}"),
        ("[(b'cookie', b'a=b'), (b'x', b'y')]", f"[(b'cookie', {HIDDEN}), (b'x', b'y')]"),
        ("access_token=abc&n=1", f"access_token={HIDDEN}"),
        ("Bearer abcdef.ghi", f"Bearer {HIDDEN}"),
        ("a token, or two", "a token, or two"),
        ("nothing here", "nothing here"),
    ],
)
def test_texts_are_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


def test_queries_are_masked() -> None:
    assert (
        mask_query("a=1&token=2&%70assword=3&flag&code=4")
        == f"a=1&token={HIDDEN}&%70assword={HIDDEN}&flag&code={HIDDEN}"
    )
    assert mask_query("a=1&token=2", ("a",)) == f"a={HIDDEN}&token={HIDDEN}"
    assert mask_query("") == ""


@pytest.mark.parametrize(
    "name", ["password", "X-API-Key", "Authorization", "set-cookie", "db_passwd", "auth", "refresh_token"]
)
def test_names_that_are_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["author", "key", "path", "number", "passenger"])
def test_names_that_are_not(name: str) -> None:
    assert not is_secret(name)


def test_a_request_knows_its_route() -> None:
    app = App()
    seen: list[Any] = []

    @app.get("/a/{b}")
    async def handler(request: Request) -> str:
        assert request.route is not None
        seen.append((request.route.path, request.route.methods, request.route.handler))
        return ""

    ask(app, "/a/1")
    assert seen == [("/a/{b}", ("GET",), handler)]
