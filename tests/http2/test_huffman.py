"""Huffman coding (RFC 7541, section 5.2): against the code table of the hpack library, and its errors."""

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.http2.hpack import decode_huffman, encode_huffman

oracle = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_alone_and_repeated(symbol: int) -> None:
    for count in (1, 2, 7, 8, 9, 40):
        text = bytes([symbol]) * count
        coded = encode_huffman(text)
        assert coded == oracle.encode(text)
        assert decode_huffman(coded) == text


@given(st.binary(max_size=80) | st.text(st.characters(max_codepoint=126), max_size=80).map(str.encode))
def test_round_trip_equals_the_oracle(text: bytes) -> None:
    coded = encode_huffman(text)
    assert coded == oracle.encode(text)
    assert decode_huffman(coded) == text


def decoded_by_table(coded: bytes) -> bytes | None:
    """The slow model: bit by bit."""
    lengths_and_codes = zip(REQUEST_CODES_LENGTH, REQUEST_CODES, strict=True)
    codes = {both: symbol for symbol, both in enumerate(lengths_and_codes)}
    out, code, length = bytearray(), 0, 0
    for byte in coded:
        for shift in range(7, -1, -1):
            code, length = code << 1 | byte >> shift & 1, length + 1
            symbol = codes.get((length, code))
            if symbol == 256:
                return None
            if symbol is not None:
                out.append(symbol)
                code = length = 0
    return bytes(out) if length < 8 and code == (1 << length) - 1 else None


@given(st.binary(max_size=24))
def test_any_bytes_decode_as_the_slow_model_says(coded: bytes) -> None:
    expected = decoded_by_table(coded)
    if expected is None:
        with pytest.raises(ValueError):
            decode_huffman(coded)
    else:
        assert decode_huffman(coded) == expected


@pytest.mark.parametrize(
    "coded",
    [
        b"\xff",  # padding of eight ones
        b"\x1f\xff",  # "a" and eleven ones
        b"\x00",  # "0" and zeros
        b"\x1e",  # "a" and padding 110
        b"\xff\xff\xff\xfc",  # end-of-string
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\xf0",  # 10 is coded in 30 bits, cut after 28
    ],
)
def test_invalid_codings_are_refused(coded: bytes) -> None:
    with pytest.raises(ValueError):
        decode_huffman(coded)


def test_empty() -> None:
    assert encode_huffman(b"") == b""
    assert decode_huffman(b"") == b""
