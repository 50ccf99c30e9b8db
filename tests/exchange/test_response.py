"""Response: what is sent, and that nothing unsendable gets past the handler."""

from collections.abc import MutableMapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.exchange.exchange import LoopLocal, Route
from fastnet_ext.exchange.head import ResponseHead
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.response import (
    HTMLResponse,
    MutableHeaders,
    PlainTextResponse,
    RedirectResponse,
    Response,
    Stream,
)
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan

# Nothing here waits, so no loop is asked for anything.
NO_LOOP: Any = None


def sent(response: Response, method: str = "GET") -> MemoryExchange:
    """The answer that a handler's response becomes."""
    route = Route(HttpEndpoint(CallPlan(lambda: response), mode="inline"))
    x = MemoryExchange(method, route=route, local=LoopLocal(NO_LOOP))
    x.run()
    return x


# --- content and its type


@pytest.mark.parametrize(
    ("content", "media_type", "body", "content_type"),
    [
        (None, None, b"", None),
        ("", None, b"", "text/plain; charset=utf-8"),
        ("h\u00e9", None, b"h\xc3\xa9", "text/plain; charset=utf-8"),
        ("h\u00e9", "text/html", b"h\xc3\xa9", "text/html; charset=utf-8"),
        ("h\u00e9", "text/plain; charset=ISO-8859-1", b"h\xe9", "text/plain; charset=ISO-8859-1"),
        ("a,b", "text/csv", b"a,b", "text/csv; charset=utf-8"),
        ("{}", "application/json", b"{}", "application/json"),
        (b"\x00\xff", None, b"\x00\xff", "application/octet-stream"),
        (bytearray(b"x"), "image/png", b"x", "image/png"),
        (memoryview(b"xy"), None, b"xy", "application/octet-stream"),
        (None, "text/plain", b"", "text/plain; charset=utf-8"),
    ],
)
def test_content(content: Any, media_type: str | None, body: bytes, content_type: str | None) -> None:
    response = Response(content, media_type=media_type)
    assert (response.body, response.media_type) == (body, content_type)
    x = sent(response)
    assert x.content == body
    assert x.fields == ([] if content_type is None else [(b"content-type", content_type.encode())])
    # Looking at the headers changes nothing.
    assert response.headers.get("content-type") == content_type
    assert sent(response).fields == x.fields


@pytest.mark.parametrize("content", [{"a": 1}, [1], 3, object(), iter(())])
def test_other_content_is_refused(content: Any) -> None:
    with pytest.raises(TypeError, match="JSONResponse"):
        Response(content)


@pytest.mark.parametrize(
    "media_type",
    ["", "text", "text/", "/html", "text/html\r\nx: y", "te xt/html", "text/html; charset=klingon", "\xe9/x"],
)
def test_bad_media_types(media_type: str) -> None:
    with pytest.raises(ValueError, match=r"media type|charset"):
        Response("x", media_type=media_type)


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, -200])
def test_bad_status(status: int) -> None:
    with pytest.raises(ValueError, match="200 and 599"):
        Response(status_code=status)
    with pytest.raises(ValueError, match="200 and 599"):
        Response().status_code = status


def test_status_may_change() -> None:
    response = Response("x")
    assert sent(response).answer_status == 200
    response.status_code = 418
    assert response.status_code == 418
    assert sent(response).answer_status == 418


def test_heads_are_shared_until_headers_are_touched() -> None:
    assert sent(Response("a")).answer_head is sent(Response("b")).answer_head
    changed = Response("c")
    changed.headers["x-a"] = "1"
    assert sent(changed).answer_head is not sent(Response("a")).answer_head
    assert sent(Response("a")).fields == [(b"content-type", b"text/plain; charset=utf-8")]


def test_head_lowers_names_and_keeps_framing_apart() -> None:
    head = ResponseHead(200, [(b"X-Ab", b"1"), (b"content-length", b"5"), (b"Connection", b"Close")])
    assert (head.fields, head.content_length) == ([(b"x-ab", b"1")], 5)


@pytest.mark.parametrize(
    "field",
    [(b"x a", b""), (b"x", b"a\r\nb"), (b"te", b"trailers"), (b"connection", b"close, x"), (b"content-length", b"-1")],
)
def test_head_refuses_what_is_not_a_handlers_to_say(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="header"):
        ResponseHead(200, [field])


@pytest.mark.parametrize("field", [(None, b""), (b"x", None), ("x", b""), (b"x", "y")])
def test_head_takes_bytes_only(field: Any) -> None:
    with pytest.raises(TypeError):
        ResponseHead(200, [field])


def test_a_response_may_be_sent_again() -> None:
    response = Response("x", 418, media_type="text/csv")
    assert sent(response).answer_head is sent(response).answer_head


def test_headers_given_count_more_than_the_type() -> None:
    response = Response("x", headers={"Content-Type": "text/x", "X-A": "1"})
    assert sent(response).fields == [(b"content-type", b"text/x"), (b"x-a", b"1")]
    response = Response("x", headers=[("x-a", "1"), ("x-a", "2")])
    assert sent(response).fields == [(b"content-type", b"text/plain; charset=utf-8"), (b"x-a", b"1"), (b"x-a", b"2")]


def test_body_and_iterator_replace_each_other() -> None:
    response = Response("x", headers={"content-length": "1"})
    response.body = b"longer"
    assert (response.body, response.iterator, "content-length" in response.headers) == (b"longer", None, False)
    response.iterator = [b"a"]
    assert response.body is None
    assert response.iterator == [b"a"]
    response.body = b""
    assert response.iterator is None
    with pytest.raises(TypeError):
        response.iterator = b"bytes are no pieces"
    with pytest.raises(TypeError):
        response.body = cast(Any, "text")


def test_subclasses() -> None:
    class Csv(Response):
        def __init__(self, rows: list[str]) -> None:
            super().__init__("\n".join(rows), media_type="text/csv")

    assert sent(Csv(["a", "b"])).content == b"a\nb"
    assert HTMLResponse("x").media_type == "text/html; charset=utf-8"
    assert PlainTextResponse(b"x").media_type == "text/plain; charset=utf-8"
    assert "200" in repr(Response("x"))


# --- header fields


def test_mutable_headers() -> None:
    headers = MutableHeaders({"X-A": "1"})
    headers["Content-Type"] = "text/html"
    headers.append("x-a", "2")
    headers.add("X-A", "3")
    assert headers["x-a"] == "1, 2, 3"
    assert headers.getlist("X-a") == ["1", "2", "3"]
    headers["x-a"] = "only"
    assert headers.multi_items() == [("x-a", "only"), ("content-type", "text/html")]
    assert isinstance(headers, MutableMapping)
    assert headers == {"x-a": "only", "content-type": "text/html"}
    assert (len(headers), list(headers)) == (2, ["x-a", "content-type"])
    assert headers.pop("X-A") == "only"
    assert headers.pop("x-a", None) is None
    assert headers.setdefault("x-b", "1") == headers.setdefault("x-b", "2") == "1"
    headers.update({"x-b": "3", "x-c": "4"})
    assert list(headers.items()) == [("content-type", "text/html"), ("x-b", "3"), ("x-c", "4")]
    del headers["X-C"]
    with pytest.raises(KeyError):
        del headers["x-c"]
    with pytest.raises(KeyError):
        _ = headers["x-c"]
    with pytest.raises(KeyError):
        headers.pop("x-c")
    assert "x-c" not in headers
    number: Any = 3
    assert number not in headers
    assert headers.get("x-c", "d") == "d"
    headers.clear()
    assert not headers


def test_replacing_keeps_the_place_and_takes_all() -> None:
    headers = MutableHeaders([("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5")])
    headers["A"] = "x"
    assert headers.multi_items() == [("a", "x"), ("b", "2"), ("c", "4")]


def test_cookies_are_never_joined() -> None:
    headers = MutableHeaders()
    headers.append("set-cookie", "a=1")
    headers.append("Set-Cookie", "b=2")
    assert headers["set-cookie"] == "a=1"
    assert headers.getlist("set-cookie") == ["a=1", "b=2"]


def test_blanks_around_values_go() -> None:
    assert MutableHeaders({"x-a": " \tv \t"}).raw == [(b"x-a", b"v")]


def test_vary_is_gathered() -> None:
    headers = MutableHeaders()
    headers.add_vary("Origin")
    headers.add_vary("origin")
    headers.add_vary("Accept-Encoding")
    assert headers["vary"] == "Origin, Accept-Encoding"
    headers["vary"] = "*"
    headers.add_vary("Origin")
    assert headers["vary"] == "*"


CONTROLS = [chr(c) for c in [*range(0x20), 0x7F] if chr(c) != "\t"]


@pytest.mark.parametrize("control", CONTROLS)
def test_no_control_gets_into_a_value(control: str) -> None:
    for value in (f"a{control}b", f"{control}a", f"a{control}"):
        for attempt in (
            lambda v=value: Response(headers={"x-a": v}),
            lambda v=value: Response().headers.__setitem__("x-a", v),
            lambda v=value: Response().headers.append("x-a", v),
            lambda v=value: Response().headers.update({"x-a": v}),
            lambda v=value: Response().headers.setdefault("x-a", v),
            lambda v=value: Response().headers.append("x-a", v.encode()),
            lambda v=value: RedirectResponse("/" + v),
            lambda v=value: Response(media_type="text/" + v),
            lambda v=value: Response().set_cookie("a", v),
            lambda v=value: Response().set_cookie("a", path="/" + v),
        ):
            with pytest.raises(ValueError):
                attempt()


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "a\n", "\x00", "a\x7f", "(a)", "\xe9", "\u2028", "a\xa0"])
def test_bad_names(name: str) -> None:
    headers = MutableHeaders()
    for attempt in (headers.append, headers.__setitem__, headers.setdefault):
        with pytest.raises(ValueError, match="no header name"):
            attempt(name, "v")
    assert headers.raw == []
    assert name not in headers


def test_foreign_characters_and_types_in_values() -> None:
    assert MutableHeaders({"x-a": "\xe9"}).raw == [(b"x-a", b"\xe9")]
    with pytest.raises(ValueError, match="8859-1"):
        MutableHeaders({"x-a": "\u20ac"})
    with pytest.raises(TypeError, match="int"):
        MutableHeaders(cast(Any, {"x-a": 3}))
    with pytest.raises(TypeError, match="header name"):
        MutableHeaders(cast(Any, {3: "x"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Transfer-Encoding", "chunked"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "close"),
        ("TE", "trailers"),
        ("Connection", "keep-alive"),
        ("Connection", "x-a"),
        ("Content-Length", "-1"),
        ("Content-Length", "1,1"),
        ("Content-Length", "\xb2"),
        ("Content-Length", "9" * 19),
    ],
)
def test_what_belongs_to_the_server(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name.lower() + "|" + name):
        Response(headers={name: value})


def test_connection_close_and_content_length_are_a_handlers_right() -> None:
    x = sent(Response("abc", headers={"connection": "close", "content-length": "3"}))
    assert x.answer_head is not None
    assert x.fields is not None
    assert x.answer_head.content_length == 3
    assert dict(x.fields).keys() == {b"content-type"}


@given(st.text(max_size=8), st.text(max_size=8))
@settings(max_examples=200, deadline=None)
def test_what_gets_in_can_be_sent(name: str, value: str) -> None:
    headers = MutableHeaders()
    try:
        headers.append(name, value)
    except ValueError:
        assert headers.raw == []
        return
    [(raw_name, raw_value)] = headers.raw
    assert raw_name == name.lower().encode("ascii")
    assert all(byte == 9 or 32 <= byte != 127 for byte in raw_value)
    assert raw_value == value.strip(" \t").encode("latin-1")


# --- cookies, redirects, streams


def test_set_and_delete_cookies() -> None:
    response = Response("x")
    response.set_cookie("a", "1", max_age=60, httponly=True)
    response.set_cookie(key="b", value="2", samesite=None, path=None)
    response.delete_cookie("c", path="/x")
    assert response.headers.getlist("set-cookie") == [
        "a=1; Max-Age=60; Path=/; HttpOnly; SameSite=Lax",
        "b=2",
        "c=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/x; SameSite=Lax",
    ]
    assert [name for name, _ in sent(response).fields or ()].count(b"set-cookie") == 3
    with pytest.raises(ValueError, match="__Host-"):
        response.set_cookie("__Host-a", secure=True, domain="example.com")
    assert len(response.headers.getlist("set-cookie")) == 3


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/next?a=1&b=%20#x", "/next?a=1&b=%20#x"),
        ("/\u00e9 b", "/%C3%A9%20b"),
        ("https://example.com/\\x", "https://example.com/%5Cx"),
        ('/"<>', "/%22%3C%3E"),
    ],
)
def test_redirects(url: str, location: str) -> None:
    response = RedirectResponse(url)
    assert (response.status_code, response.body) == (307, b"")
    assert sent(response).fields == [(b"location", location.encode())]
    assert RedirectResponse(url, 303, {"x-a": "1"}).headers["location"] == location


def test_redirect_status() -> None:
    with pytest.raises(ValueError, match="redirect"):
        RedirectResponse("/", 200)


def test_streams_take_what_can_be_iterated() -> None:
    stream = Stream(iter(["a"]), 202, {"x-a": "1"}, "text/csv")
    assert (stream.body, stream.status_code, stream.media_type) == (None, 202, "text/csv; charset=utf-8")
    assert stream.headers["x-a"] == "1"
    for wrong in ("text", b"bytes", 3, None):
        with pytest.raises(TypeError, match="iterable"):
            Stream(wrong)  # type: ignore[arg-type]
