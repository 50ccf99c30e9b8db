"""Frames built and read by the letter of RFC 6455, section 5.2, independent of the engine."""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.session import Limits

if TYPE_CHECKING:
    from fastnet_ext.websocket.connection import Event
    from fastnet_ext.websocket.extensions import DeflateAgreement

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = b"\x37\xfa\x21\x3d"

Role = Literal["server", "client"]


def xor(payload: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = KEY,
    length: int | None = None,
    form: Literal[7, 16, 64] | None = None,
) -> bytes:
    """One frame; ``key=None`` leaves it unmasked. ``length`` lies about the size, ``form`` forces its coding."""
    size = len(payload) if length is None else length
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    mask_bit = 0x80 if key is not None else 0
    header = bytes([fin << 7 | rsv << 4 | opcode])
    if form == 7:
        header += bytes([mask_bit | size])
    elif form == 16:
        header += bytes([mask_bit | 126]) + size.to_bytes(2)
    else:
        header += bytes([mask_bit | 127]) + size.to_bytes(8)
    return header + (payload if key is None else key + xor(payload, key))


class Parsed(NamedTuple):
    opcode: int
    payload: bytes
    fin: bool
    masked: bool
    rsv1: bool = False


def parse(data: bytes) -> list[Parsed]:
    """The frames that ``data`` consists of."""
    frames = []
    while data:
        first, second = data[0], data[1]
        assert first & 0x30 == 0
        size, start = second & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
            assert size >= 126
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
            assert size >= 65536
        masked = bool(second & 0x80)
        if masked:
            key = data[start : start + 4]
            start += 4
        payload = data[start : start + size]
        assert len(payload) == size
        frames.append(
            Parsed(
                first & 0x0F,
                xor(payload, key) if masked else payload,
                bool(first & 0x80),
                masked,
                bool(first & 0x40),
            )
        )
        data = data[start + size :]
    return frames


def close_payload(code: int, reason: str | bytes = b"") -> bytes:
    return code.to_bytes(2) + (reason.encode() if isinstance(reason, str) else reason)


class Outcome(NamedTuple):
    events: "list[Event]"
    sent: list[Parsed]
    connection: Connection


def receive(
    data: bytes,
    *,
    role: Role = "server",
    limits: Limits | None = None,
    cuts: list[int] | None = None,
    deflate: "DeflateAgreement | None" = None,
) -> Outcome:
    """What a fresh connection makes of ``data``, cut at these offsets."""
    connection = Connection(role, limits, deflate=deflate)
    edges = [0, *(cuts or []), len(data)]
    events: list[Event] = []
    for a, b in pairwise(edges):
        events += connection.receive_data(data[a:b])
    return Outcome(events, parse(connection.data_to_send()), connection)


def receive_both_ways(
    data: bytes,
    *,
    role: Role = "server",
    limits: Limits | None = None,
    deflate: "DeflateAgreement | None" = None,
) -> Outcome:
    """What comes of ``data``, which is the same whole, byte by byte, and cut in two anywhere (where short)."""
    whole = receive(data, role=role, limits=limits, deflate=deflate)
    splits = [list(range(1, len(data)))]
    if len(data) <= 64:
        splits += [[cut] for cut in range(1, len(data))]
    for cuts in splits:
        pieces = receive(data, role=role, limits=limits, cuts=cuts, deflate=deflate)
        assert pieces.events == whole.events, cuts
        assert pieces.sent == whole.sent, cuts
        assert pieces.connection.state == whole.connection.state
    return whole
