"""What a ClientHello offers by ALPN, however it comes, and what is none."""

from __future__ import annotations

import ssl

import pytest

from fastnet_ext.tls.client_hello import offered_protocols
from tests.tls.hellos import EMPTY, NAME, alpn, extension, hello, names, records, vector


def both_ways(data: bytes) -> list[bytes] | None:
    """Whole and byte by byte: the same."""
    whole = offered_protocols([data])
    assert offered_protocols([data[at : at + 1] for at in range(len(data))]) == whole
    return whole


def unreadable(data: bytes) -> bool:
    for pieces in ([data], [data[at : at + 1] for at in range(len(data))]):
        with pytest.raises(ValueError, match="not a ClientHello"):
            offered_protocols(pieces)
    return True


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["foo"], ["x" * 255, "y"], []])
def test_the_hellos_of_openssl(offered: list[str]) -> None:
    context = ssl.create_default_context()
    if offered:
        context.set_alpn_protocols(offered)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    assert both_ways(outgoing.read()) == [name.encode() for name in offered]


@pytest.mark.parametrize("size", [1, 3, 4, 5, 40, 16384])
def test_a_message_in_many_records(size: int) -> None:
    data = hello(NAME, alpn(b"foo", b"bar"), EMPTY, session=bytes(32))
    assert both_ways(records(data, size)) == [b"foo", b"bar"]


def test_a_large_hello() -> None:
    data = hello(extension(21, bytes(40_000)), alpn(b"foo"))
    assert both_ways(records(data)) == [b"foo"]
    assert offered_protocols([records(data)[:-1]]) is None


@pytest.mark.parametrize("data", [hello(), hello(NAME), hello(EMPTY, NAME)])
def test_no_alpn(data: bytes) -> None:
    assert both_ways(records(data)) == []


def test_what_follows_the_hello_is_not_looked_at() -> None:
    assert both_ways(records(hello(alpn(b"foo"))) + b"whatever") == [b"foo"]


def test_less_than_a_hello_is_waited_for() -> None:
    data = records(hello(NAME, alpn(b"foo")), 20)
    for size in range(len(data)):
        assert offered_protocols([data[:size]]) is None


BAD = {
    "no TLS": b"GET / HTTP/1.1\r\n\r\n",
    "SSL 2": b"\x80\x2e\x01\x00\x02",
    "another version": b"\x16\x02",
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "an empty record": b"\x16\x03\x01\x00\x00",
    "a record that is too long": b"\x16\x03\x01\x40\x01",
    "another message": records(hello(alpn(b"foo"), kind=2)),
    "a message that never ends": records(b"\x01\xff\xff\xff" + bytes(16)),
    "too short": records(b"\x01" + vector(3, bytes(33))),
    "bytes behind the extensions": records(hello(alpn(b"foo"), rest=b"\0")),
    "a cut extension": records(hello(b"\0")),
    "an extension beyond the end": records(hello(b"\x00\x10\x00\x05\x00\x03\x02h")),
    "two of ALPN": records(hello(alpn(b"foo"), alpn(b"h2"))),
    "an empty list": records(hello(alpn())),
    "an empty name": records(hello(alpn(b"foo", b""))),
    "a name beyond its list": records(hello(extension(16, vector(2, b"\x04foo")))),
    "bytes behind the list": records(hello(extension(16, names(b"foo") + b"\0"))),
    "an ALPN extension without a list": records(hello(extension(16, b""))),
    "a session id beyond the end": records(b"\x01" + vector(3, bytes(34) + b"\xff")),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_client_hello(case: str) -> None:
    assert unreadable(BAD[case])
