"""The incremental validator agrees with Python's decoder on any bytes and any split."""

import codecs
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.core.simd import available
from fastnet_ext.core.utf8 import Utf8Validator

# Bytes at the edges of the ranges of RFC 3629, section 4.
EDGES = bytes([0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
               0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF])  # fmt: skip


def decodes(data: bytes, *, final: bool) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        return False
    return True


def verdict(pieces: list[bytes]) -> tuple[bool, bool]:
    validator = Utf8Validator()
    valid = True
    for piece in pieces:
        valid = validator.feed(piece)
    return valid, validator.complete


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.lists(
        st.one_of(st.text(max_size=20).map(str.encode), st.binary(max_size=4)),
        max_size=12,
    ).map(b"".join),
    st.lists(st.integers(0, 200), max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_agrees_with_python_on_any_split(data: bytes, cuts: list[int]) -> None:
    whole = decodes(data, final=True)
    assert verdict([data])[1] is whole
    assert verdict(split(data, cuts))[1] is whole
    assert verdict([data[i : i + 1] for i in range(len(data))])[1] is whole


@given(st.text(max_size=100), st.lists(st.integers(0, 400), max_size=5))
@settings(max_examples=100, deadline=None)
def test_valid_text_is_valid_at_every_split(text: str, cuts: list[int]) -> None:
    assert verdict(split(text.encode(), cuts)) == (True, True)


@pytest.mark.parametrize("lead", EDGES)
def test_every_sequence_of_edge_bytes(lead: int) -> None:
    for second in EDGES:
        for third in EDGES:
            for data in (
                bytes([lead, second, third]),
                bytes([lead, second, third, 0x80]),
            ):
                expected = decodes(data, final=True)
                # In the middle of text, where whole characters are checked at once, and at its end, byte by byte.
                assert verdict([b"a" + data + b"abcd"])[1] is decodes(data + b"abcd", final=True)
                assert verdict([data])[1] is expected


@pytest.mark.parametrize(
    "data",
    [
        b"\xc0",
        b"\xc1",
        b"\xf5",
        b"\xff",
        b"\x80",
        b"\xe0\x9f",
        b"\xed\xa0",
        b"\xf0\x8f",
        b"\xf4\x90",
        b"\xc2\x41",
    ],
)
def test_rejects_at_the_first_byte_that_cannot_be(data: bytes) -> None:
    for front in (b"", b"a" * 15, b"a" * 64, "é".encode() * 9):
        validator = Utf8Validator()
        assert validator.feed(front + data[:-1])
        assert not validator.feed(data[-1:])
        assert not validator.feed(b"valid again")
        assert not validator.complete


@pytest.mark.parametrize("character", ["é", "€", "𝄞", "\U0010ffff", "\ud7ff", "\ue000"])
@pytest.mark.parametrize("front", [0, 1, 7, 8, 15, 16, 17, 63, 64, 65])
def test_text_is_complete_between_characters_only(character: str, front: int) -> None:
    encoded = character.encode()
    validator = Utf8Validator()
    assert validator.feed(b"a" * front + encoded[:-1])
    assert not validator.complete
    assert validator.feed(encoded[-1:])
    assert validator.complete


every_vector = pytest.mark.parametrize("vectors", available())


@every_vector
def test_each_kind_of_vectors_finds_what_is_not_ascii_wherever_it_is(vectors: str) -> None:
    """At every length and alignment: a bad byte at its place, a good character there, and none behind the end."""
    room = bytearray(b"a" * 1000)
    for size in (1, 2, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 255, 256, 257, 600):
        for start in (0, 1, 7, 15, 33, 63):
            view = memoryview(room)[start : start + size]
            room[start + size] = 0xFF
            assert Utf8Validator(vectors=vectors).feed(view)
            room[start + size] = 0x61
            for place in range(start, start + size):
                room[place] = 0x80
                validator = Utf8Validator(vectors=vectors)
                assert not validator.feed(view)
                room[place] = 0xC3
                validator = Utf8Validator(vectors=vectors)
                assert validator.feed(view) is (place == start + size - 1)
                assert not validator.complete
                room[place] = 0x61


@every_vector
@given(
    st.lists(
        st.one_of(st.integers(1, 300).map(lambda count: b"a" * count), st.text(max_size=5).map(str.encode),
                  st.binary(max_size=2)),
        max_size=8,
    ).map(b"".join)
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_each_kind_of_vectors_agrees_with_python(vectors: str, data: bytes) -> None:
    validator = Utf8Validator(vectors=vectors)
    assert validator.feed(data) is decodes(data, final=False)
    assert validator.complete is decodes(data, final=True)


def test_other_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="this machine has plain"):
        Utf8Validator(vectors="mmx")


@pytest.mark.parametrize("position", [*range(70), 127, 128, 200])
def test_a_bad_byte_is_found_wherever_it_is(position: int) -> None:
    data = bytearray(b"a" * 201)
    data[position] = 0x80
    assert not Utf8Validator().feed(data)
