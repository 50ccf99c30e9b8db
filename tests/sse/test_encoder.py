"""The event-stream encoder: what it writes, and what it refuses."""

from typing import Any

import pytest

from fastnet_ext.sse.encoder import encode_event


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"data": "x"}, b"data: x\n\n"),
        ({"data": b"x"}, b"data: x\n\n"),
        ({"data": ""}, b"data: \n\n"),
        ({"data": "a\nb"}, b"data: a\ndata: b\n\n"),
        ({"data": "a\r\nb\rc\n"}, b"data: a\ndata: b\ndata: c\ndata: \n\n"),
        ({"data": b"\n\r"}, b"data: \ndata: \ndata: \n\n"),
        ({"data": " x"}, b"data:  x\n\n"),
        ({"data": "…"}, "data: …\n\n".encode()),
        (
            {"data": "x", "event": "tick", "id": "7", "retry": 3000},
            b"event: tick\nid: 7\nretry: 3000\ndata: x\n\n",
        ),
        ({"id": ""}, b"id: \n\n"),
        ({"retry": 0}, b"retry: 0\n\n"),
        ({"retry": 2**63 - 1}, b"retry: 9223372036854775807\n\n"),
        ({"comment": ""}, b": \n\n"),
        ({"comment": "a\ndata: b\r"}, b": a\n: data: b\n: \n\n"),
        ({}, b"\n"),
        ({"data": "y" * 100 + "\n" + "z" * 100}, b"data: " + b"y" * 100 + b"\ndata: " + b"z" * 100 + b"\n\n"),
    ],
)
def test_an_event(parts: dict[str, Any], expected: bytes) -> None:
    assert encode_event(**parts) == expected


@pytest.mark.parametrize("name", ["event", "id"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb", "\n", "x" * 40 + "\n", "a\n\ndata: forged"])
def test_a_line_end_in_a_field_of_one_line_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"the {name} of a server-sent event is one line"):
        encode_event("x", **{name: value})  # type: ignore[arg-type]


def test_an_id_with_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="no NUL"):
        encode_event("x", id="a\0b")
    assert encode_event("a\0b", event="a\0b") == b"event: a\0b\ndata: a\0b\n\n"


@pytest.mark.parametrize("data", [b"\xff", b"\xe2\x82", b"a\n\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not UTF-8"):
        encode_event(data)


def test_other_mistakes() -> None:
    with pytest.raises(ValueError, match="at least 0 milliseconds"):
        encode_event("x", retry=-1)
    with pytest.raises(TypeError, match="not dict"):
        encode_event({})  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        encode_event("\ud800")
    with pytest.raises(OverflowError):
        encode_event("x", retry=2**63)
