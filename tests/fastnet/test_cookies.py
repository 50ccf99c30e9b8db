"""Cookies: lenient parsing, strict writing (RFC 6265bis)."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet.http.cookies import format_set_cookie, parse_cookies


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2;c=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1; a=2", {"a": "1"}),
        ('a="x y"; b="', {"a": "x y", "b": '"'}),
        ("a=b=c", {"a": "b=c"}),
        (" a = 1 \t; ;; junk; =nameless; b=", {"a": "1", "b": ""}),
        ('json={"x":[1,2]}; [odd]=1', {"json": '{"x":[1,2]}', "[odd]": "1"}),
        ("\xe9=\xe9", {"\xe9": "\xe9"}),
    ],
)
def test_parse(header: str, cookies: dict[str, str]) -> None:
    assert parse_cookies(header) == cookies


@given(st.text(alphabet='abc=; ,"\t\x00\xff', max_size=30))
@settings(max_examples=200, deadline=None)
def test_parse_never_fails(header: str) -> None:
    for name, value in parse_cookies(header).items():
        assert name
        assert ";" not in name + value


TOKEN = st.text(alphabet="abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=12)
VALUE = st.text(alphabet=[chr(c) for c in range(0x21, 0x7F) if chr(c) not in '",;\\'], max_size=20)


@given(TOKEN, VALUE)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read(name: str, value: str) -> None:
    name = "x" + name  # no prefix that promises something
    line = format_set_cookie(name, value)
    assert parse_cookies(line.split("; ", 1)[0]) == {name: value}
    assert not re.search(r"[\x00-\x1f\x7f]", line)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "a=1; Path=/; SameSite=Lax"),
        ({"path": None, "samesite": None}, "a=1"),
        ({"samesite": "Strict", "httponly": True}, "a=1; Path=/; HttpOnly; SameSite=Strict"),
        (
            {"samesite": "none", "secure": True, "partitioned": True, "domain": "example.com"},
            "a=1; Path=/; Domain=example.com; Secure; SameSite=None; Partitioned",
        ),
        ({"max_age": timedelta(minutes=1), "samesite": None}, "a=1; Max-Age=60; Path=/"),
        ({"max_age": -5, "samesite": None, "path": "/x y"}, "a=1; Max-Age=-5; Path=/x y"),
        (
            {"expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "samesite": None},
            "a=1; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/",
        ),
        (
            {"expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "samesite": None},
            "a=1; Expires=Wed, 02 Jan 2030 01:04:05 GMT; Path=/",
        ),
        (
            {"expires": datetime(2030, 1, 2, 3, 4, 5), "samesite": None},
            "a=1; Expires=Wed, 02 Jan 2030 03:04:05 GMT; Path=/",
        ),
    ],
)
def test_attributes(options: dict[str, Any], line: str) -> None:
    assert format_set_cookie("a", "1", **options) == line


def test_expires_in_seconds_is_a_moment() -> None:
    line = format_set_cookie("a", "1", expires=3600)
    assert re.search(r"Expires=\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", line)


@pytest.mark.parametrize(
    ("name", "value", "options", "match"),
    [
        ("", "1", {}, "no cookie name"),
        ("a b", "1", {}, "no cookie name"),
        ("a\r\n", "1", {}, "no cookie name"),
        ("a=b", "1", {}, "no cookie name"),
        ("\xe9", "1", {}, "no cookie name"),
        ("a", "1\r\nSet-Cookie: b=2", {}, "encode it first"),
        ("a", "1;2", {}, "encode it first"),
        ("a", "1 2", {}, "encode it first"),
        ("a", 'x"y', {}, "encode it first"),
        ("a", "1\n", {}, "encode it first"),
        ("a", "\xe9", {}, "encode it first"),
        ("a", "x" * 4096, {}, "4096"),
        ("a", "1", {"path": "/;x"}, "path"),
        ("a", "1", {"path": "/\n"}, "path"),
        ("a", "1", {"path": "/" + "x" * 1024}, "path"),
        ("a", "1", {"domain": "a;b"}, "domain"),
        ("a", "1", {"domain": "a.b\n"}, "domain"),
        ("a", "1", {"samesite": "maybe"}, "samesite"),
        ("a", "1", {"samesite": "none"}, "SameSite=None"),
        ("a", "1", {"partitioned": True}, "Partitioned"),
        ("__Secure-a", "1", {}, "secure=True"),
        ("__host-a", "1", {}, "secure=True"),
        ("__Host-a", "1", {"secure": True, "path": "/x"}, "path"),
        ("__Host-a", "1", {"secure": True, "path": None}, "path"),
        ("__Host-a", "1", {"secure": True, "domain": "example.com"}, "domain"),
        ("__Http-a", "1", {"secure": True}, "httponly"),
    ],
)
def test_refused(name: str, value: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        format_set_cookie(name, value, **options)


def test_prefixes_that_keep_their_promise() -> None:
    assert format_set_cookie("__Host-a", "1", secure=True).startswith("__Host-a=1; Path=/; Secure")
    assert format_set_cookie("__Secure-a", "1", secure=True, domain="example.com", path="/x")
