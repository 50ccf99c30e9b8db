"""Which coding an answer gets: examples, and properties against a slow model."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastnet_ext.compression.codecs import CODINGS
from fastnet_ext.compression.errors import UnknownCoding
from fastnet_ext.compression.negotiation import Negotiator
from tests.compression import models

ALL = ("zstd", "br", "gzip", "deflate")
BROWSERS = {
    "gzip, deflate, br, zstd": "zstd",  # Chromium and Firefox, on https
    "gzip, deflate, br": "br",  # Safari
    "gzip, deflate": "gzip",  # all of them, without TLS
}


def choose(field: str | None, offered: tuple[str, ...] = ALL) -> str | None:
    """By the client alone."""
    accept = None if field is None else field.encode("latin-1")
    return Negotiator(offered).choose(accept, 1 << 20, b"text/plain")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "chosen"),
    [
        *BROWSERS.items(),
        (None, None),
        ("", None),
        (" , ,\t,", None),
        ("identity", None),
        ("compress, exi", None),
        ("*", "zstd"),
        ("gzip;q=1.0, *;q=0.5", "gzip"),
        ("gzip;q=0.8, br;q=0.9", "br"),
        ("gzip;q=0.001", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "zstd"),
        ("zstd;q=0, br;q=0.0, *;q=0.1", "gzip"),
        ("GZip, BR;Q=0", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip ; q=0.5 , deflate\t;\tq=0.7", "deflate"),
        # None at all is liked better, as well, and not at all.
        ("gzip;q=0.5, identity", None),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("gzip, identity;q=0", "gzip"),
        ("identity;q=0", ""),
        ("*;q=0", ""),
        ("compress, identity;q=0", ""),
        ("identity;q=0.5, *;q=0", None),
        ("gzip;q=0, identity;q=0, deflate;q=0, br;q=0, zstd;q=0", ""),
        # Malformed: as if nothing were known of the client.
        ("gzip;q=2", None),
        ("gzip;q=1.001", None),
        ("gzip;q=0.0001", None),
        ("gzip;q=-1", None),
        ("gzip;q=", None),
        ("gzip;q", None),
        ("gzip;", None),
        ("gzip; level=3", None),
        ("gzip;q=0.5;q=0.6", None),
        ("gzip q=0.5", None),
        ("gzip deflate", None),
        ("gzip;q =1", None),
        ("gzip;q= 1", None),
        ('"gzip"', None),
        ("gzip, @", None),
        ("identity;q=0, gzip;q=x", None),
        ("gzip\0", None),
        ("gz\xefp", None),
    ],
)
def test_fields(field: str | None, chosen: str | None) -> None:
    assert choose(field) == chosen
    assert models.choose(field, ALL) == chosen


def test_what_is_offered_counts() -> None:
    assert choose("gzip, deflate, br, zstd", ("br", "gzip")) == "br"
    assert choose("gzip, deflate, br, zstd", ("deflate", "gzip")) == "deflate"
    assert choose("gzip;q=0.5, deflate;q=0.4, br, zstd", ("deflate", "gzip")) == "gzip"
    assert choose("br, zstd", ("gzip",)) is None
    assert choose("br, zstd, identity;q=0", ("gzip",)) == ""


TOKENS = st.sampled_from(
    [*CODINGS, "identity", "*", "x-gzip", "GZIP", "Br", "compress", "x-zstd", "brr", "q", "bzip2", "gzi", "~!", "", "ü"]
)
QVALUES = st.sampled_from(
    ["0", "1", "0.5", "0.05", "0.000", "1.000", "0.999", "1.", "0.", "1.1", "2", "0.0000", "", "x"]
)
BLANKS = st.sampled_from(["", "", " ", "\t", "  "])


@st.composite
def fields(draw: st.DrawFn) -> str:
    """Mostly fields as they should be."""
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        part = draw(BLANKS) + draw(TOKENS) + draw(BLANKS)
        if draw(st.booleans()):
            part += ";" + draw(BLANKS) + draw(st.sampled_from(["q=", "q=", "Q=", "q", "p="])) + draw(QVALUES)
        parts.append(part)
    return draw(st.sampled_from([",", ",", ", ", ",,", ";"])).join(parts)


@given(
    field=st.one_of(fields(), st.text(st.characters(max_codepoint=255))),
    offered=st.permutations(ALL),
    count=st.integers(1, 4),
)
@example(field="gzip;q=0.9999, br", offered=list(ALL), count=4)
def test_the_model_says_the_same(field: str, offered: list[str], count: int) -> None:
    assert choose(field, tuple(offered[:count])) == models.choose(field, offered[:count])


# --- size and type


@pytest.mark.parametrize(
    ("content_type", "worth"),
    [
        ("text/html", True),
        ("text/html; charset=utf-8", True),
        ("TEXT/HTML ; charset=utf-8", True),
        ("text/event-stream", True),
        ("application/json", True),
        ("application/problem+json", True),
        ("application/vnd.x+json; v=1", True),
        ("image/svg+xml", True),
        ("image/png", False),
        ("image/svg+xmlx", False),
        ("application/jsonx", False),
        ("application/octet-stream", False),
        ("json", False),
        ("", False),
        (None, False),
    ],
)
def test_types(content_type: str | None, worth: bool) -> None:
    negotiator = Negotiator(["gzip"], media_types=["text/*", "Application/JSON", "+json", "+xml"])
    value = None if content_type is None else content_type.encode()
    for _ in range(2):  # the second time it is known
        assert negotiator.choose(b"gzip", 5000, value) == ("gzip" if worth else None)
    assert Negotiator(["gzip"]).choose(b"gzip", 5000, value) == (None if value is None else "gzip")


def test_sizes() -> None:
    negotiator = Negotiator(["gzip"], minimum_size=1024)
    got = {size: negotiator.choose(b"gzip", size, b"text/plain") for size in (-1, 0, 1, 1023, 1024, 1 << 40)}
    assert got == {-1: "gzip", 0: None, 1: None, 1023: None, 1024: "gzip", 1 << 40: "gzip"}


def test_who_does_not_take_it_as_it_is() -> None:
    """What is small or not worth it is coded all the same, where nothing else is acceptable."""
    negotiator = Negotiator(["gzip"], minimum_size=1024, media_types=["text/*"])
    for size, content_type in ((1, b"text/plain"), (5000, b"image/png"), (5000, None)):
        assert negotiator.choose(b"gzip", size, content_type) is None
        assert negotiator.choose(b"gzip, *;q=0", size, content_type) == "gzip"
        assert negotiator.choose(b"br, *;q=0", size, content_type) == ""
        assert negotiator.choose(b"gzip, *;q=0, x y", size, content_type) is None


def test_types_are_remembered_within_bounds() -> None:
    negotiator = Negotiator(["gzip"], media_types=["text/*"])
    for n in range(2000):
        assert negotiator.choose(b"gzip", 5000, b"text/t%d" % n) == "gzip"
        assert negotiator.choose(b"gzip", 5000, b"image/t%d" % n) is None
    assert negotiator.choose(b"gzip", 5000, b"text/t1999") == "gzip"


def test_mistakes() -> None:
    for codings in ([], ["gzip", "gzip"]):
        with pytest.raises(ValueError, match="at least one"):
            Negotiator(codings)  # type: ignore[arg-type]
    with pytest.raises(UnknownCoding):
        Negotiator(["identity"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="minimum_size"):
        Negotiator(["gzip"], minimum_size=-1)
    for media_type in ("json", "text/html; charset=utf-8", "a/b/c", ""):
        with pytest.raises(ValueError, match="media type"):
            Negotiator(["gzip"], media_types=[media_type])
