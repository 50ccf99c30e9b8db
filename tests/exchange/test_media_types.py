"""Media types as Content-Type says them."""

import pytest

from fastnet_ext.exchange.media_types import charset_of, content_type_of


@pytest.mark.parametrize(
    ("media_type", "content_type"),
    [
        ("text/html", "text/html; charset=utf-8"),
        ("TEXT/X-Any", "TEXT/X-Any; charset=utf-8"),
        ("text/html;charset=latin-1", "text/html;charset=latin-1"),
        ("image/png", "image/png"),
        ('multipart/mixed; boundary="a b"', 'multipart/mixed; boundary="a b"'),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ("text/x; a=b;", "text/x; a=b; charset=utf-8"),
    ],
)
def test_content_type_of(media_type: str, content_type: str) -> None:
    assert content_type_of(media_type) == content_type


@pytest.mark.parametrize(
    "media_type", ["", "a", "a/", "/b", "a/b/c", "a b/c", "a/b\n", "a/b; c", 'a/b; c="\x00"', "a/b; \xe9=1"]
)
def test_what_is_no_media_type(media_type: str) -> None:
    with pytest.raises(ValueError, match="no media type"):
        content_type_of(media_type)


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("", "utf-8"),
        ("text/html", "utf-8"),
        ("text/html; charset=", "utf-8"),
        ("text/html; a=b; Charset = ISO-8859-1 ", "iso-8859-1"),
        ('text/html; charset="UTF-16"', "utf-16"),
    ],
)
def test_charset_of(content_type: str, charset: str) -> None:
    assert charset_of(content_type) == charset
