"""grpc-timeout, grpc-message and "-bin" metadata: gRPC over HTTP/2, "Requests" and "Responses"."""

import base64
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.grpc.fields import (
    decode_binary,
    decode_message,
    encode_binary,
    encode_message,
    timeout_microseconds,
    timeout_value,
)

UNITS = {"H": 3_600_000_000, "M": 60_000_000, "S": 1_000_000, "m": 1000, "u": 1}


class TestTimeout:
    @pytest.mark.parametrize("unit", UNITS)
    @pytest.mark.parametrize("digits", ["0", "1", "007", "99999999", "00000001"])
    def test_each_unit(self, unit: str, digits: str) -> None:
        assert timeout_microseconds(f"{digits}{unit}".encode()) == int(digits) * UNITS[unit]

    @pytest.mark.parametrize(("value", "expected"), [(b"0n", 0), (b"1n", 1), (b"1000n", 1), (b"1001n", 2)])
    def test_nanoseconds_are_rounded_up(self, value: bytes, expected: int) -> None:
        assert timeout_microseconds(value) == expected

    @pytest.mark.parametrize(
        "value",
        [
            *(b"", b"S", b"1", b"123456789S", b"000000001S", b"-1S", b"+1S", b"1.5S", b"1s", b"1h", b"1SS", b"0x1S"),
            *(b" 1S", b"1S ", b"1 S", b"S1", b"\xb2S", b"1\0"),
        ],
    )
    def test_malformed_values(self, value: bytes) -> None:
        assert timeout_microseconds(value) is None

    @pytest.mark.parametrize(
        ("microseconds", "expected"),
        [
            (-5, b"0u"),
            (0, b"0u"),
            (1, b"1u"),
            (99_999_999, b"99999999u"),
            (100_000_000, b"100000m"),
            (100_000_001, b"100001m"),
            (99_999_999_000, b"99999999m"),
            (99_999_999_001, b"100000S"),
            (99_999_999 * 3_600_000_000, b"99999999H"),
            ((1 << 63) - 1, b"99999999H"),
        ],
    )
    def test_the_finest_unit_that_fits(self, microseconds: int, expected: bytes) -> None:
        assert timeout_value(microseconds) == expected

    @given(st.integers(0, 99_999_999 * 3_600_000_000))
    @settings(max_examples=200, deadline=None)
    def test_never_shorter_and_hardly_longer(self, microseconds: int) -> None:
        value = timeout_value(microseconds)
        back = timeout_microseconds(value)
        assert back is not None
        assert len(value) <= 9
        assert microseconds <= back < microseconds + UNITS[chr(value[-1])]


class TestMessage:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("", b""),
            ("plain text ~!", b"plain text ~!"),
            ("50% off", b"50%25 off"),
            ("a\r\nb\tc\x7f", b"a%0D%0Ab%09c%7F"),
            ("größe €", b"gr%C3%B6%C3%9Fe %E2%82%AC"),
            ("\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n",
             b"%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A"),
        ],
    )  # fmt: skip
    def test_examples_both_ways(self, text: str, value: bytes) -> None:
        assert encode_message(text) == value
        assert decode_message(value) == text

    @given(st.text(max_size=100))
    @settings(max_examples=150, deadline=None)
    def test_any_text_comes_back_and_is_a_field_value(self, text: str) -> None:
        value = encode_message(text)
        assert all(0x20 <= byte <= 0x7E for byte in value)
        assert decode_message(value) == text
        assert unquote_to_bytes(value) == text.encode()

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (b"%", "%"),
            (b"%4", "%4"),
            (b"%zz", "%zz"),
            (b"100%", "100%"),
            (b"%%41", "%A"),
            (b"%4%41", "%4A"),
            (b"%e2%82%ac", "€"),
            (b"%ff", "�"),
            (b"ab%c3", "ab�"),
            (b"\xff raw", "� raw"),
            ("€".encode(), "€"),
        ],
    )
    def test_bad_coding_is_never_an_error(self, value: bytes, text: str) -> None:
        assert decode_message(value) == text

    @given(st.binary(max_size=60))
    @settings(max_examples=150, deadline=None)
    def test_any_bytes_decode(self, value: bytes) -> None:
        assert decode_message(value) == unquote_to_bytes(value).decode(errors="replace")


class TestBinary:
    @given(st.binary(max_size=100))
    @settings(max_examples=150, deadline=None)
    def test_unpadded_out_and_both_in(self, data: bytes) -> None:
        padded = base64.b64encode(data)
        assert encode_binary(data) == padded.rstrip(b"=")
        assert decode_binary(padded) == [data]
        assert decode_binary(padded.rstrip(b"=")) == [data]

    @given(st.lists(st.binary(max_size=10), min_size=1, max_size=5), st.booleans())
    @settings(max_examples=100, deadline=None)
    def test_several_values_are_split_at_commas(self, values: list[bytes], padded: bool) -> None:
        coded = [base64.b64encode(value) if padded else encode_binary(value) for value in values]
        assert decode_binary(b",".join(coded)) == values
        assert decode_binary(b" , ".join(coded)) == values

    def test_empty_values(self) -> None:
        assert decode_binary(b"") == [b""]
        assert decode_binary(b"AAAA,") == [bytes(3), b""]
        assert decode_binary(b",AAAA") == [b"", bytes(3)]

    @pytest.mark.parametrize(
        "value",
        [b"A", b"AAAAA", b"A===", b"=", b"====", b"AA=", b"AAA==", b"AA=A", b"A A", b"AA-_", b"AAAA,*", b"AA\xff\xff"],
    )
    def test_what_is_not_base64_is_refused(self, value: bytes) -> None:
        with pytest.raises(ValueError, match="base64"):
            decode_binary(value)
