"""gRPC-Web: content types, the trailers frame, and base64 in any pieces."""

from base64 import b64encode
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.grpc.framing import MessageReader, frame
from fastnet_ext.grpc.web import TextReader, encode_text, encode_trailers, format_named

pieces = st.lists(st.binary(max_size=40), max_size=6)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/grpc-web", "binary"),
        (b"application/grpc-web+proto", "binary"),
        (b"Application/gRPC-Web+Proto", "binary"),
        (b"application/grpc-web+proto; charset=utf-8", "binary"),
        (b"application/grpc-web \t;x=y", "binary"),
        (b"application/grpc-web-text", "text"),
        (b"application/grpc-web-text+proto", "text"),
        (b"application/grpc-web-text+proto;x", "text"),
        (b"application/grpc-web+json", None),
        (b"application/grpc-web-tex", None),
        (b"application/grpc-web-texts", None),
        (b"application/grpc", None),
        (b"application/grpc+proto", None),
        (b"text/html", None),
        (b"", None),
    ],
)
def test_content_types(content_type: bytes, expected: str | None) -> None:
    assert format_named(content_type) == expected


def test_the_trailers_frame() -> None:
    block = b"grpc-status: 5\r\ngrpc-message: no%20such%20user\r\n"
    fields = [(b"grpc-status", b"5"), (b"grpc-message", b"no%20such%20user")]
    assert encode_trailers(fields) == b"\x80" + len(block).to_bytes(4) + block


def test_a_reader_of_messages_takes_the_trailers_frame() -> None:
    body = frame(b"reply") + encode_trailers([(b"grpc-status", b"0")])
    assert MessageReader(100, 0x81).feed(body) == [("message", 0, b"reply"), ("message", 0x80, b"grpc-status: 0\r\n")]


@pytest.mark.parametrize("field", [(b"a\n", b""), (b"a", b"b\r"), (b"a", b"b\r\nc: d"), (b"\ra", b"")])
def test_no_trailer_holds_a_line_break(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_trailers([(b"grpc-status", b"0"), field])


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_text_is_padded_base64(data: bytes) -> None:
    assert encode_text(data) == b64encode(data)


@given(pieces, st.lists(st.integers(0, 400), max_size=8))
@settings(max_examples=200, deadline=None)
def test_padded_pieces_are_decoded_at_any_split(parts: list[bytes], cuts: list[int]) -> None:
    text = b"".join(map(b64encode, parts))
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    reader = TextReader()
    got = b"".join(reader.feed(text[a:b]) for a, b in pairwise(places))
    assert got == b"".join(parts)
    assert reader.complete


def test_each_digit_alone() -> None:
    reader = TextReader()
    text = b64encode(b"a") + b64encode(b"bc") + b64encode(b"def")
    got = []
    for i in range(len(text)):
        got.append(reader.feed(text[i : i + 1]))
        assert reader.complete is (i % 4 == 3)
    assert got == [b"", b"", b"", b"a", b"", b"", b"", b"bc", b"", b"", b"", b"def"]


def feed_in_two(reader: TextReader, text: bytes, cut: int) -> None:
    reader.feed(text[:cut])
    reader.feed(text[cut:])


@pytest.mark.parametrize(
    "text",
    [b"=", b"A=", b"A===", b"AA=A", b"AAA==", b"AAAA=", b"AA==A=", b"AA\n", b"AA A", b"-___", b"\xff", b"AAAA\0"],
)
def test_what_is_not_base64(text: bytes) -> None:
    for cut in range(len(text)):
        reader = TextReader()
        with pytest.raises(ValueError, match="not base64"):
            feed_in_two(reader, text, cut)
        with pytest.raises(ValueError, match="not base64"):
            reader.feed(b"AAAA")


@pytest.mark.parametrize("text", [b"A", b"AA", b"AAA", b"AA=", b"AAAAA"])
def test_the_body_may_not_end_within_a_group(text: bytes) -> None:
    reader = TextReader()
    reader.feed(text)
    assert not reader.complete
