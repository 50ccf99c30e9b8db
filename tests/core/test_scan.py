"""The byte scanners: every byte at every place, wide loads against plain loops, and the grammars built on them."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastnet_ext.core import scan

TOKEN = set((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
VALUE = {9} | (set(range(32, 256)) - {127})
TARGET = set(range(33, 127)) - {ord("#")}


def prefix(data: bytes, allowed: set[int]) -> int:
    """The slow model: how many bytes at the start are allowed."""
    return next((i for i, byte in enumerate(data) if byte not in allowed), len(data))


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_at_every_place(byte: int) -> None:
    for size in (1, 15, 16, 17, 31, 32, 33, 40):
        for place in range(size):
            data = b"a" * place + bytes([byte]) + b"a" * (size - place - 1)
            for plain in (False, True):
                assert scan.value_prefix(data, plain=plain) == prefix(data, VALUE)
                assert scan.target_prefix(data, plain=plain) == prefix(data, TARGET)
                assert scan.name_prefix(data, plain=plain)[0] == prefix(data, TOKEN)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 20))
@example(b"Content-Length: 0", 0)
@example(b"X_" * 30 + b":", 1)
def test_wide_and_plain_scanners_agree(data: bytes, start: int) -> None:
    """From any alignment, and never beyond the end."""
    assert scan.value_prefix(data, start) == scan.value_prefix(data, start, plain=True) == prefix(data[start:], VALUE)
    assert (
        scan.target_prefix(data, start) == scan.target_prefix(data, start, plain=True) == prefix(data[start:], TARGET)
    )
    assert scan.name_prefix(data, start) == scan.name_prefix(data, start, plain=True)


@settings(max_examples=100, deadline=None)
@given(st.text(string.ascii_letters + string.digits + "-", max_size=60))
def test_names_are_folded_to_lower_case(name: str) -> None:
    data = name.encode() + b": value"
    assert scan.name_prefix(data) == (len(name), name.lower().encode()[:32])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=50))
def test_checks_are_the_prefixes(data: bytes) -> None:
    assert scan.token(data) == (len(data) > 0 and prefix(data, TOKEN) == len(data))
    assert scan.target(data) == (len(data) > 0 and prefix(data, TARGET) == len(data))
    assert scan.field_value(data) == (prefix(data, VALUE) == len(data))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"0", 0),
        (b"007", 7),
        (b"9223372036854775807", 2**63 - 1),
        (b"0" * 30 + b"1", 1),
        (b"9223372036854775808", None),
        (b"18446744073709551616", None),
        (b"99999999999999999999999999", None),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b" 1", None),
        (b"1 ", None),
        (b"1a", None),
        (b"\xb2", None),
    ],
)
def test_decimals(data: bytes, value: int | None) -> None:
    assert scan.decimal(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b"a",
        b"a.b-c_d~e",
        b"a:1",
        b"a:",
        b"a:65535",
        b"[::]",
        b"[1:2:3:4:5:6:7:8]",
        b"[1:2:3:4:5:6:7::]",
        b"[::1]:1",
        b"127.0.0.1",
        b"%C3%A4",
        b"a!$&'()*+,;=b",
    ],
)
def test_authorities(data: bytes) -> None:
    assert scan.authority(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b":1",
        b"a:65536",
        b"a:99999999999999999999",
        b"a:-1",
        b"a:1:",
        b"a b",
        b"a@b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"[",
        b"[]",
        b"[::1",
        b"[::1]a",
        b"[:]",
        b"[g::]",
        b"[1:2:3:4:5:6:7:8:9:0]",
        b"::1",
        b"%4",
        b"%zz",
        b"a%",
        b"\xe4",
        b"a\x00",
        b"[v1.a]",
        b"a\\b",
        b"]",
        b"[" + b"::" + b"1" * 50 + b"]",
    ],
)
def test_what_is_no_authority(data: bytes) -> None:
    assert not scan.authority(data)


@pytest.mark.parametrize(("data", "good"), [(b"a:1", True), (b"a", False), (b"a:", False), (b"a:0", False)])
def test_authorities_that_need_a_port(data: bytes, good: bool) -> None:
    assert scan.authority(data, need_port=True) is good
