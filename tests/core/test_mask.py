"""The XOR mask equals the naive loop, whatever the length, the alignment and the offset into the key."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.core.mask import mask, mask_into
from fastnet_ext.core.simd import available

KEY = b"\x01\x80\xff\x5a"


def naive(data: bytes, key: bytes, offset: int) -> bytes:
    return bytes(byte ^ key[(i + offset) % 4] for i, byte in enumerate(data))


@given(st.binary(max_size=700), st.binary(min_size=4, max_size=4), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_mask_equals_the_naive_loop(data: bytes, key: bytes, offset: int) -> None:
    assert mask(data, key, offset) == naive(data, key, offset)


@pytest.mark.parametrize(
    "size",
    [*range(40), *range(60, 70), *range(120, 150), *range(500, 530), 640, 1027, 4099],
)
def test_every_tail_of_every_loop(size: int) -> None:
    data = bytes(i * 7 & 0xFF for i in range(size))
    for offset in range(4):
        assert mask(data, KEY, offset) == naive(data, KEY, offset)


@pytest.mark.parametrize("start", range(33))
def test_in_place_at_any_alignment_touches_nothing_else(start: int) -> None:
    whole = b"\xee" * 1200
    for size in (0, 1, 3, 15, 100, 515, 1100):
        room = bytearray(whole)
        mask_into(memoryview(room)[start : start + size], KEY, 1)
        assert room[start : start + size] == naive(whole[start : start + size], KEY, 1)
        assert room[:start] + room[start + size :] == whole[:start] + whole[start + size :]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
@settings(max_examples=100, deadline=None)
def test_pieces_with_a_turned_key_are_the_whole(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [mask(data[a:b], KEY, a) for a, b in itertools.pairwise(edges)]
    assert b"".join(pieces) == mask(data, KEY)


every_vector = pytest.mark.parametrize("vectors", available())


@every_vector
def test_each_kind_of_vectors_equals_plain_c_at_any_length(vectors: str) -> None:
    data = bytes(i * 31 & 0xFF for i in range(1300))
    for size in range(len(data)):
        assert mask(data[:size], KEY, size, vectors=vectors) == mask(data[:size], KEY, size, vectors="plain")


@every_vector
def test_each_kind_of_vectors_touches_nothing_else_at_any_alignment(vectors: str) -> None:
    whole = bytes(i * 7 & 0xFF for i in range(1000))
    for start in range(65):
        for size in (0, 1, 7, 15, 16, 17, 63, 64, 65, 127, 128, 129, 300, 511, 512, 700):
            room = bytearray(whole)
            mask_into(memoryview(room)[start : start + size], KEY, vectors=vectors)
            expected = naive(whole[start : start + size], KEY, 0)
            assert room == whole[:start] + expected + whole[start + size :]


def test_plain_c_equals_the_naive_loop() -> None:
    data = bytes(i * 31 & 0xFF for i in range(600))
    for size in range(len(data)):
        for offset in range(4):
            assert mask(data[:size], KEY, offset, vectors="plain") == naive(data[:size], KEY, offset)


def test_other_vectors_are_refused() -> None:
    assert available()[0] == "plain"
    with pytest.raises(ValueError, match="this machine has plain"):
        mask(b"x", KEY, vectors="mmx")
    with pytest.raises(ValueError, match="this machine has plain"):
        mask_into(bytearray(b"x"), KEY, vectors="mmx")


def test_masking_twice_gives_the_data_back() -> None:
    data = bytes(range(256)) * 9
    assert mask(mask(data, KEY, 3), KEY, 3) == data


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_a_key_has_four_bytes(key: bytes) -> None:
    with pytest.raises(ValueError, match="four bytes"):
        mask(b"x", key)
    with pytest.raises(ValueError, match="four bytes"):
        mask_into(bytearray(b"x"), key)
