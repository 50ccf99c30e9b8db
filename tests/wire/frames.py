"""Frames by hand, over a socket: of HTTP/2 and of WebSocket."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from fastnet_ext.http2.hpack import HpackDecoder
from tests.http2.wire import ACK, HEADERS, POST, PREFACE, SETTINGS, Field, Frame, frame, settings
from tests.wire.live import Live, Peer

UPGRADE = (
    "connection: upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


def masked(opcode: int, payload: bytes = b"", *, final: bool = True, size: int | None = None) -> bytes:
    """A WebSocket frame of a client, its mask of zeros. ``size`` says more than there is."""
    length = len(payload) if size is None else size
    head = bytes([opcode | (0x80 if final else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 1 << 16:
        head += b"\xfe" + length.to_bytes(2, "big")
    else:
        head += b"\xff" + length.to_bytes(8, "big")
    return head + bytes(4) + payload


class Frames:
    """An HTTP/2 connection that sends bytes as they are and reads frames: what no library would send."""

    def __init__(self, server: Live, first: bytes = settings()) -> None:
        self.decoder = HpackDecoder()
        self.peer: Peer = server.peer().send(PREFACE + first + frame(SETTINGS, ACK))

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.sock.close()

    def send(self, data: bytes) -> Frames:
        with suppress(ConnectionError):
            self.peer.send(data)
        return self

    def next(self) -> Frame:
        head = self.peer.exactly(9)
        return Frame(
            head[3], head[4], int.from_bytes(head[5:9], "big"), self.peer.exactly(int.from_bytes(head[:3], "big"))
        )

    def wait(self, kind: int, stream: int = 0) -> Frame:
        while True:
            found = self.next()
            if (found.type, found.stream_id) == (kind, stream):
                return found

    def status(self, stream: int) -> bytes:
        """The status of the answer on a stream, which is the next that comes."""
        return self.decoder.decode(self.wait(HEADERS, stream).payload)[0][1]

    def any_status(self) -> bytes:
        """The status of the next answer, on whatever stream it comes."""
        while (found := self.next()).type != HEADERS:
            pass
        return self.decoder.decode(found.payload)[0][1]


def at(path: bytes, fields: Sequence[Field] = POST) -> list[Field]:
    """The fields of a request for another path."""
    return [(name, path if name == b":path" else value) for name, value in fields]
