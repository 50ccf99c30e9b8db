"""The PROXY protocol, by its specification (haproxy's proxy-protocol.txt): whole, byte by byte, and cut short."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.proxy.protocol import ProxyHeader, read_header
from tests.proxy.headers import SIGNATURE, checked, crc32c, inet, tls, tlv, unix, v2

REST = b"GET / HTTP/1.1\r\n"


def read(data: bytes) -> tuple[str, Any, bytes]:
    """The same, however the bytes come."""
    whole = read_header([data])
    for size in (1, 2, 7):
        cut = read_header([data[i : i + size] for i in range(0, len(data), size)])
        assert (cut[0], repr(cut[1]), cut[2]) == (whole[0], repr(whole[1]), whole[2])
    return whole


def header(data: bytes) -> ProxyHeader:
    kind, found, rest = read(data + REST)
    assert (kind, rest) == ("header", REST), found
    assert isinstance(found, ProxyHeader)
    for size in range(len(data)):
        assert read_header([data[:size]])[0] == "need_data"
    return found


def failed(data: bytes) -> str:
    kind, why, rest = read(data + REST)
    assert (kind, rest) == ("failed", b"")
    assert isinstance(why, str)
    return why


# --- version 1


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", ("192.0.2.1", 4711), ("192.0.2.2", 443)),
        (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535), None),
        (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", ("0.0.0.0", 0), None),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", ("2001:db8::1", 1), ("::1", 2)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ("192.0.2.1", 1), ("::1", 2)),
        (
            b"PROXY TCP6" + b" ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" * 2 + b" 65535 65535\r\n",
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
            None,
        ),
        (b"PROXY UNKNOWN\r\n", None, None),
        (b"PROXY UNKNOWN ffff::1 whatever it is\r\n", None, None),
        (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None, None),
    ],
)
def test_version_1(line: bytes, source: Any, destination: Any) -> None:
    found = header(line)
    assert (found.version, found.local, found.source, found.tlvs) == (1, False, source, [])
    assert destination in (None, found.destination)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 \r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 1\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY tcp4 192.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 ::1 ::1 4711 443\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 04711 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2  443\r\n",
        b"PROXY TCP4 192.0.2.1 example.com 4711 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.1\0 192.0.2.2 4711 443\r\n",
        b"PROXY \r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        b"PROXY UNKNOWN " + b"x" * 200,
    ],
)
def test_version_1_is_strict(line: bytes) -> None:
    assert "version 1" in failed(line)


# --- version 2


def test_version_2_addresses() -> None:
    found = header(v2(inet()))
    assert (found.version, found.local) == (2, False)
    assert (found.source, found.destination) == (("192.0.2.1", 4711), ("198.51.100.2", 443))
    found = header(v2(inet("2001:db8::1", "::1"), family=0x21))
    assert (found.source, found.destination) == (("2001:db8::1", 4711), ("::1", 443))
    found = header(v2(unix(), family=0x31))
    assert (found.source, found.destination) == ("/run/a", "/run/b")
    found = header(v2(unix(b"\0abstract", b"x" * 108), family=0x31))
    assert (found.source, found.destination) == ("\0abstract", "x" * 108)
    assert header(v2(unix(b"", b"/b"), family=0x31)).source == ""
    assert (repr(found)[:12], found.tls, found.authority) == ("ProxyHeader(", None, None)


@pytest.mark.parametrize(
    "data",
    [
        v2(family=0x00),
        v2(b"whatever", family=0x00, tlvs=b"")[:-8] + tlv(4, b"hello"),
        # Datagrams say nothing of a stream.
        v2(inet(), family=0x12),
        v2(inet(), family=0x10),
    ],
)
def test_what_says_nothing(data: bytes) -> None:
    found = header(data)
    assert (found.source, found.destination, found.local) == (None, None, False)


@pytest.mark.parametrize("family", [0x00, 0x11, 0x21, 0x31, 0xFF])
def test_local_is_taken_and_ignored(family: int) -> None:
    for block in (b"", b"x", inet()):
        found = header(v2(block, family=family, command=0x20))
        assert (found.local, found.source, found.tlvs) == (True, None, [])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (v2(inet(), command=0x11), "unknown version"),
        (v2(inet(), command=0x31), "unknown version"),
        (v2(inet(), command=0x22), "unknown command"),
        (v2(inet(), family=0x41), "unknown family"),
        (v2(inet(), family=0x13), "unknown family"),
        (v2(inet(), length=11), "too short for its addresses"),
        (v2(inet("::1", "::2"), family=0x21, length=35), "too short"),
        (v2(unix(), family=0x31, length=215), "too short"),
        (v2(inet(), b"\x04"), "longer than what is left"),
        (v2(inet(), b"\x04\x00"), "longer than what is left"),
        (v2(inet(), b"\x04\x00\x01"), "longer than what is left"),
        (v2(inet(), tlv(4, b"abc")[:-1]), "longer than what is left"),
        (v2(inet(), tlv(0x20, b"\x01\0\0\0")), "too short"),
        (v2(inet(), tls(b"\x21\x00\x05TLS")), "longer than what is left"),
        (v2(inet(), tls(b"\x21")), "longer than what is left"),
        (v2(inet(), tlv(3, bytes(4))), "wrong checksum"),
        (v2(inet(), tlv(3, b"")), "wrong checksum"),
        (v2(inet(), tlv(3, bytes(5))), "wrong checksum"),
        (checked(inet())[:-1] + bytes([checked(inet())[-1] ^ 1]), "wrong checksum"),
    ],
)
def test_version_2_is_strict(data: bytes, why: str) -> None:
    assert why in failed(data)


def test_tlvs() -> None:
    parts = [tlv(1, b"h2"), tlv(2, b"ex\xc3\xa4mple.com"), tlv(4, b""), tlv(5, b"id\x00"), tlv(0xE0, b"own")]
    found = header(v2(inet(), b"".join(parts)))
    assert found.tlvs == [(1, b"h2"), (2, b"ex\xc3\xa4mple.com"), (4, b""), (5, b"id\x00"), (0xE0, b"own")]
    assert (found.alpn, found.authority, found.unique_id, found.tls) == ("h2", "ex\u00e4mple.com", b"id\x00", None)


def test_tls_of_the_client() -> None:
    parts = tlv(0x21, b"TLSv1.3"), tlv(0x22, b"alice"), tlv(0x23, b"AES"), tlv(0x24, b"x")
    found = header(v2(inet(), tls(*parts, flags=7)))
    assert found.tls == ("TLSv1.3", "AES", "alice", True)
    assert header(v2(inet(), tls())).tls == (None, None, None, False)
    assert header(v2(inet(), tls(flags=3, verify=1))).tls == (None, None, None, False)
    assert header(v2(inet(), tls(flags=5))).tls == (None, None, None, True)
    # Cleartext between client and proxy.
    assert header(v2(inet(), tls(flags=0))).tls is None


def test_checksums() -> None:
    # RFC 3720, B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert header(checked(inet())).source == ("192.0.2.1", 4711)
    assert header(checked(inet(), tlv(4, b"x" * 7), tlv(2, b"a.example"))).authority == "a.example"
    broken = bytearray(checked(inet(), tlv(4, b"x" * 7)))
    broken[20] ^= 1
    assert "wrong checksum" in failed(bytes(broken))


def test_the_longest() -> None:
    assert header(v2(inet(), tlv(4, bytes(65535 - 12 - 3)))).source == ("192.0.2.1", 4711)


# --- what is something else


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXX",
        b"PROXY\r\n",
        b"P",
        b"POST / HTTP/1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\r\n\r\n\0\r\nQUIX\n",
        SIGNATURE[:-1] + b"\r",
        b"\x16\x03\x01\x02\x00",
        b"proxy TCP4",
    ],
)
def test_absent(data: bytes) -> None:
    kind, found, rest = read(data)
    if data == b"P":
        assert kind == "need_data"
    else:
        assert (kind, found, rest) == ("absent", None, data)


def test_nothing_yet() -> None:
    assert read_header([]) == ("need_data", None, b"")
    assert read_header([b"", b""]) == ("need_data", None, b"")


# --- properties

ADDRESSES = st.ip_addresses(v=4), st.ip_addresses(v=6)
PORTS = st.integers(0, 65535)


@pytest.mark.parametrize("version", [4, 6])
@given(data=st.data())
def test_what_is_written_is_read(version: int, data: st.DataObject) -> None:
    addresses = ADDRESSES[version == 6]
    source, destination = str(data.draw(addresses)), str(data.draw(addresses))
    ports = data.draw(st.tuples(PORTS, PORTS))
    line = f"PROXY TCP{version} {source} {destination} {ports[0]} {ports[1]}\r\n".encode()
    tlvs = data.draw(st.lists(st.tuples(st.integers(0x80, 0xFF), st.binary(max_size=20)), max_size=4))
    block = inet(source, destination, ports)
    binary = v2(block, b"".join(tlv(*item) for item in tlvs), family=0x11 if version == 4 else 0x21)
    for found in (read(line)[1], read(binary)[1]):
        for got, address, port in ((found.source, source, ports[0]), (found.destination, destination, ports[1])):
            kind = socket.AF_INET6 if ":" in got[0] else socket.AF_INET
            mapped = address.startswith("::ffff:") and kind == socket.AF_INET
            assert mapped or socket.inet_pton(kind, got[0]) == socket.inet_pton(kind, address)
            assert got[1] == port
    assert read(binary)[1].tlvs == tlvs
    assert read(checked(block) if version == 4 else binary)[0] == "header"


@given(data=st.binary(max_size=300), begin=st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x20"]))
def test_anything_comes_to_an_end(data: bytes, begin: bytes) -> None:
    kind, _, rest = read(begin + data)
    assert kind in ("header", "absent", "failed", "need_data")
    if kind == "absent":
        assert rest == begin + data
