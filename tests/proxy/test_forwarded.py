"""Forwarded (RFC 7239) and X-Forwarded-*: what counts, and what a client's own claims come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.proxy.forwarded import Forwarded, Proxies, clean_prefix, forwarded_of, read_elements

Fields = list[tuple[str, str]]


def read(
    *fields: tuple[str, str], trusted: tuple[str, ...] = ("10.0.0.0/8", "fd00::/8"), headers: str = "auto"
) -> Forwarded:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return forwarded_of(raw, Proxies(trusted, headers=headers))


def xff(*values: str, **options: Any) -> Forwarded:
    return read(*[("x-forwarded-for", value) for value in values], **options)


def forwarded(*values: str, **options: Any) -> Forwarded:
    return read(*[("forwarded", value) for value in values], **options)


def client(found: Forwarded) -> tuple[str | None, int]:
    return found.host, found.port


# --- X-Forwarded-For


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1, 10.0.0.2, 10.0.0.1", ("192.0.2.1", 0)),
        ("192.0.2.1,10.0.0.1", ("192.0.2.1", 0)),
        # What stands left of the first address that is not trusted is the client's own claim.
        ("127.0.0.1, 192.0.2.1, 10.0.0.1", ("192.0.2.1", 0)),
        ("unknown, 192.0.2.1", ("192.0.2.1", 0)),
        # Everybody is trusted: the outermost.
        ("10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),
        # Ports, brackets, one text per address.
        ("192.0.2.1:4711", ("192.0.2.1", 4711)),
        ("[2001:DB8::1]:4711", ("2001:db8::1", 4711)),
        ("[2001:db8::1]", ("2001:db8::1", 0)),
        ("2001:db8:0:0::1", ("2001:db8::1", 0)),
        ("::ffff:192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1, ::ffff:10.0.0.1", ("192.0.2.1", 0)),
        ("192.0.2.1, fd00::1", ("192.0.2.1", 0)),
        # Empty elements do not count.
        (" ,192.0.2.1 ,\t, 10.0.0.1,,", ("192.0.2.1", 0)),
        # What is malformed ends the walk at the last good address, or at the peer.
        ("192.0.2.1, unknown, 10.0.0.1", ("10.0.0.1", 0)),
        ("192.0.2.1, 10.0.0.1 10.0.0.2, 10.0.0.1:80", ("10.0.0.1", 80)),
        ("192.0.2.1, unknown", (None, 0)),
        ("192.0.2.1, example.com", (None, 0)),
        ("192.0.2.1, 1.2.3.4:99999", (None, 0)),
        ("192.0.2.1, [1.2.3.4]", (None, 0)),
        ("192.0.2.1, [::1", (None, 0)),
        ("192.0.2.1, [::1]80", (None, 0)),
        ("192.0.2.1, 1.2.3.4:", (None, 0)),
        ('192.0.2.1, "1.2.3.4"', (None, 0)),
        ("192.0.2.1, fe80::1%eth0", (None, 0)),
        ("", (None, 0)),
        (",", (None, 0)),
    ],
)
def test_the_walk_from_the_right(value: str, expected: tuple[str | None, int]) -> None:
    assert client(xff(value)) == expected


def test_several_fields_are_one_list() -> None:
    assert client(xff("6.6.6.6", "192.0.2.1, 10.0.0.2", "10.0.0.1")) == ("192.0.2.1", 0)


def test_everybody_is_trusted() -> None:
    assert client(xff("1.2.3.4, 192.0.2.1", trusted=("*",))) == ("1.2.3.4", 0)


def test_a_trusted_peer_that_says_nothing() -> None:
    found = read()
    assert (found.host, found.scheme, found.authority, found.prefix, found.server_port, found.hops) == (
        *(None,) * 4,
        *(0, 0),
    )


# --- X-Forwarded-Proto, -Host, -Port, -Prefix


@pytest.mark.parametrize(
    ("addresses", "value", "expected"),
    [
        ("192.0.2.1", "https", "https"),
        ("192.0.2.1", "HTTPS", "https"),
        ("192.0.2.1", "wss", "https"),
        ("192.0.2.1", "ws", "http"),
        (None, "https", "https"),
        # One value is whoever's set it; it is not added to.
        ("192.0.2.1, 10.0.0.1", "https", "https"),
        # As many as addresses: the client's stands where its address does.
        ("192.0.2.1, 10.0.0.1", "https, http", "https"),
        ("6.6.6.6, 192.0.2.1, 10.0.0.1", "https, http, https", "http"),
        # A client that lies, a proxy that appends to the one and sets the other, or appends to both.
        ("192.0.2.1", "https, http", "http"),
        ("6.6.6.6, 192.0.2.1", "https, http", "http"),
        # Other counts: the nearest proxy's.
        ("192.0.2.1, 10.0.0.2, 10.0.0.1", "https, http", "http"),
        (None, "https, http", "http"),
        ("unknown", "https, http", "http"),
        ("192.0.2.1, unknown", "https, http", "http"),
        # Nothing but these schemes.
        ("192.0.2.1", "gopher", None),
        ("192.0.2.1", "https;", None),
        ("192.0.2.1", "", None),
        ("192.0.2.1", "javascript, http", "http"),
    ],
)
def test_scheme(addresses: str | None, value: str, expected: str | None) -> None:
    fields = [("x-forwarded-proto", value), *([("x-forwarded-for", addresses)] if addresses else [])]
    assert read(*fields).scheme == expected


def test_several_fields_of_proto() -> None:
    assert read(("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")).scheme == "http"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("example.com", "example.com"),
        ("example.com:8443", "example.com:8443"),
        ("[::1]:80", "[::1]:80"),
        ("evil.example, example.com", "example.com"),
        ("example.com/path", None),
        ("user@example.com", None),
        ("example.com:port", None),
        ("exa mple.com", None),
        ("ex\u00e4mple.com", None),
        ("", None),
        ("[::1", None),
        ("a\x01b", None),
    ],
)
def test_host(value: str, expected: str | None) -> None:
    assert read(("x-forwarded-host", value), ("x-forwarded-for", "192.0.2.1")).authority == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("8443", 8443), ("1, 8443", 8443), ("0", 0), ("65536", 0), ("-1", 0), ("x", 0), ("", 0)]
)
def test_port(value: str, expected: int) -> None:
    assert read(("x-forwarded-port", value)).server_port == expected


PREFIXES = [
    ("/api", "/api"),
    ("/api/", "/api"),
    ("/a/b%20c", "/a/b%20c"),
    ("/", ""),
    ("", ""),
    ("api", None),
    ("//evil.example", None),
    ("/a//b", None),
    ("/a/../b", None),
    ("/a/.", None),
    ("/a/%2e%2E/b", None),
    ("/a%2fb", None),
    ("/a%5cb", None),
    ("/a\\b", None),
    ("/a%0d%0ab", None),
    ("/a\r\nb", None),
    ("/a%00", None),
    ("/a%7f", None),
    ("/a?b", None),
    ("/a#b", None),
    ("/a%zz", None),
    ("/\u00e4", None),
    ("/a b", None),
]


@pytest.mark.parametrize(("value", "expected"), PREFIXES)
def test_prefix(value: str, expected: str | None) -> None:
    assert clean_prefix(value) == expected
    found = read(("x-forwarded-prefix", value), ("x-forwarded-for", "192.0.2.1")).prefix
    assert found == (expected if value else None)


def test_prefixes_of_two_proxies() -> None:
    assert read(("x-forwarded-prefix", "/a, /b")).prefix == "/b"
    fields = [("x-forwarded-prefix", "/a, /b"), ("x-forwarded-for", "192.0.2.1, 10.0.0.1")]
    assert read(*fields).prefix == "/a"


# --- Forwarded


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=192.0.2.60", ("192.0.2.60", 0)),
        ('For="[2001:db8:cafe::17]:4711"', ("2001:db8:cafe::17", 4711)),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", ("192.0.2.60", 0)),
        ("for=192.0.2.43, for=10.0.0.1", ("192.0.2.43", 0)),
        ("for=6.6.6.6, for=192.0.2.43, for=10.0.0.1", ("192.0.2.43", 0)),
        ('for="192.0.2.43:47011"', ("192.0.2.43", 47011)),
        ('for="192.0.2.43:_port"', ("192.0.2.43", 0)),
        ('for="192.0.2.43:_"', (None, 0)),
        ('for="192.0\\.2.43"', ("192.0.2.43", 0)),
        ("for=192.0.2.43 ; proto=https", ("192.0.2.43", 0)),
        ("for=192.0.2.43;", ("192.0.2.43", 0)),
        (",, for=192.0.2.43 ,", ("192.0.2.43", 0)),
        # Names that are no addresses end the walk.
        ("for=unknown", (None, 0)),
        ("for=_hidden", (None, 0)),
        ('for="_SEVKISEK"', (None, 0)),
        ("for=192.0.2.43, for=_gazonk, for=10.0.0.1", ("10.0.0.1", 0)),
        ("proto=https", (None, 0)),
        ("for=192.0.2.43, proto=https", (None, 0)),
        # Malformed.
        ("for=[2001:db8::1]", (None, 0)),
        ("for=192.0.2.43:80", (None, 0)),
        ("for=192.0.2.43;for=192.0.2.44", (None, 0)),
        ("for =192.0.2.43", (None, 0)),
        ("for= 192.0.2.43", (None, 0)),
        ("for", (None, 0)),
        ("=192.0.2.43", (None, 0)),
        ('for="192.0.2.43', (None, 0)),
        ('for="192.0.2.43"x', (None, 0)),
        ("for=192.0.2.43 for=192.0.2.44", (None, 0)),
        # The client's nonsense does not hide what the proxy appended.
        ("nonsense, for=192.0.2.43", ("192.0.2.43", 0)),
        ('for=", for=192.0.2.43', ("192.0.2.43", 0)),
        ('for=", for="[2001:db8::1]:4711"', ("2001:db8::1", 4711)),
        ('x="\\", for="[2001:db8::1]:4711"', ("2001:db8::1", 4711)),
        ("for=1.1.1.1;for=2.2.2.2;x, for=192.0.2.43", ("192.0.2.43", 0)),
        ("", (None, 0)),
    ],
)
def test_forwarded(value: str, expected: tuple[str | None, int]) -> None:
    assert client(forwarded(value)) == expected


def test_an_open_quote_ends_with_its_field() -> None:
    assert client(forwarded('for=6.6.6.6;x="', 'for="192.0.2.1:5";proto=https')) == ("192.0.2.1", 5)


def test_scheme_and_host_of_forwarded() -> None:
    found = forwarded('for=6.6.6.6;proto=http;host=evil.example, for=192.0.2.1;proto=https;host="example.com:8443"')
    assert (found.host, found.scheme, found.authority) == ("192.0.2.1", "https", "example.com:8443")
    # The outermost trusted proxy that says it.
    found = forwarded("for=192.0.2.1;proto=https, for=10.0.0.1;proto=http;host=example.com")
    assert (found.host, found.scheme, found.authority) == ("192.0.2.1", "https", "example.com")
    found = forwarded('for=192.0.2.1;proto=gopher;host="a/b"')
    assert (found.host, found.scheme, found.authority) == ("192.0.2.1", None, None)
    found = forwarded("proto=https;host=example.com")
    assert (found.host, found.scheme, found.authority) == (None, "https", "example.com")


# --- which of the two


BOTH = [
    ("forwarded", "for=1.1.1.1;proto=https;host=a.example"),
    ("x-forwarded-for", "2.2.2.2"),
    ("x-forwarded-prefix", "/b"),
]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # Most proxies set X-Forwarded-For and pass a Forwarded of the client's on: it must not win.
        ("auto", ("2.2.2.2", None, None, "/b")),
        ("x-forwarded", ("2.2.2.2", None, None, "/b")),
        ("forwarded", ("1.1.1.1", "https", "a.example", None)),
        ("none", (None, None, None, None)),
    ],
)
def test_both_kinds(headers: str, expected: tuple[Any, ...]) -> None:
    found = read(*BOTH, headers=headers)
    assert (found.host, found.scheme, found.authority, found.prefix) == expected


@pytest.mark.parametrize("name", ["for", "proto", "host", "port", "prefix"])
def test_auto_takes_one_kind_only(name: str) -> None:
    assert read(("forwarded", "for=1.1.1.1"), (f"x-forwarded-{name}", "")).host is None
    assert read(("forwarded", "for=1.1.1.1"), ("x-forwarded-other", "")).host == "1.1.1.1"


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="choose auto"):
        Proxies(headers="all")
    with pytest.raises(ValueError, match="no clean path"):
        Proxies(root_path="api")
    with pytest.raises(ValueError, match="network"):
        Proxies(["example.com"])
    assert Proxies(root_path="/api/").root_path == "/api"


# --- properties

texts = st.text(st.characters(min_codepoint=9, max_codepoint=255), max_size=60)
pieces = st.lists(
    st.one_of(
        st.sampled_from(
            ["for=", "proto=https", 'host="', '"', ",", ";", " ", "1.2.3.4", "[::1]", ":", "\\", "_x", "10.0.0.1"]
        ),
        texts,
    ),
    max_size=12,
).map("".join)


@given(value=st.one_of(texts, pieces))
def test_anything_reads_as_something(value: str) -> None:
    for name in ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"):
        found = read((name, value), headers="forwarded" if name == "forwarded" else "x-forwarded")
        assert found.scheme in (None, "http", "https")
        assert (found.host is None) == (found.hops == 0)


@given(claim=st.one_of(texts, pieces), name=st.sampled_from(["forwarded", "x-forwarded-for"]))
def test_whatever_the_client_claims_the_proxy_has_the_last_word(claim: str, name: str) -> None:
    own = "for=192.0.2.1;proto=https" if name == "forwarded" else "192.0.2.1"
    # In a field of its own.
    assert read((name, claim), (name, own)).host == "192.0.2.1"
    if name == "x-forwarded-for" or '"' not in claim:
        assert read((name, f"{claim}, {own}")).host == "192.0.2.1"


TOKEN = st.text("abcdefXYZ0189-_.~!#$%&'*+^`|", min_size=1, max_size=8)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@given(pairs=st.lists(st.dictionaries(TOKEN.map(str.lower), VALUE, min_size=1, max_size=4), max_size=4))
def test_what_is_written_is_read(pairs: list[dict[str, str]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = ", ".join(";".join(f"{name}={quoted(value)}" for name, value in element.items()) for element in pairs)
    elements: list[dict[str, str] | None] = []
    read_elements(text, elements)
    assert elements == pairs
