"""Headers of the PROXY protocol, written from its specification."""

from __future__ import annotations

import socket
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def tls(*parts: bytes, flags: int = 1, verify: int = 0) -> bytes:
    return tlv(0x20, struct.pack("!BI", flags, verify) + b"".join(parts))


def v2(
    addresses: bytes = b"", tlvs: bytes = b"", *, family: int = 0x11, command: int = 0x21, length: int | None = None
) -> bytes:
    size = len(addresses) + len(tlvs) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + addresses + tlvs


def inet(source: str = "192.0.2.1", destination: str = "198.51.100.2", ports: tuple[int, int] = (4711, 443)) -> bytes:
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    return socket.inet_pton(kind, source) + socket.inet_pton(kind, destination) + struct.pack("!HH", *ports)


def unix(source: bytes = b"/run/a", destination: bytes = b"/run/b") -> bytes:
    return source.ljust(108, b"\0") + destination.ljust(108, b"\0")


def crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def checked(addresses: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """A header with a checksum between other TLVs."""
    blank = v2(addresses, before + tlv(3, bytes(4)) + after)
    return v2(addresses, before + tlv(3, struct.pack("!I", crc32c(blank))) + after)
