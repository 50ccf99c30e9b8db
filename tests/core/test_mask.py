"""The XOR mask equals the naive loop, whatever the length, the alignment and the offset into the key."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.core.mask import mask, mask_into

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


def test_masking_twice_gives_the_data_back() -> None:
    data = bytes(range(256)) * 9
    assert mask(mask(data, KEY, 3), KEY, 3) == data


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_a_key_has_four_bytes(key: bytes) -> None:
    with pytest.raises(ValueError, match="four bytes"):
        mask(b"x", key)
    with pytest.raises(ValueError, match="four bytes"):
        mask_into(bytearray(b"x"), key)
