"""ClientHellos, written from RFC 8446 and RFC 7301."""

from __future__ import annotations

import struct


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, body: bytes) -> bytes:
    return struct.pack("!H", kind) + vector(2, body)


def names(*protocols: bytes) -> bytes:
    """The body of an ALPN extension."""
    return vector(2, b"".join(vector(1, name) for name in protocols))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, names(*protocols))


def hello(*extensions: bytes, session: bytes = b"", rest: bytes = b"", kind: int = 1) -> bytes:
    """The handshake message; ``rest`` stands behind the extensions, which are left out when there are none."""
    body = b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, b"\x13\x01\x13\x02") + vector(1, b"\0")
    if extensions:
        body += vector(2, b"".join(extensions))
    return bytes([kind]) + vector(3, body + rest)


def records(message: bytes, size: int = 16384) -> bytes:
    """The message in records of ``size`` bytes at most."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


NAME = extension(0, vector(2, b"\0" + vector(2, b"localhost")))
EMPTY = extension(23, b"")
