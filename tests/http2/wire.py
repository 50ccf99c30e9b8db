"""Frames by hand, and both ways of feeding them."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastnet_ext.http2.hpack import encode
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 1, 2, 3, 4
MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 5, 6, 8, 9

Field = tuple[bytes, bytes]
Event = tuple[Any, ...]
GET: list[Field] = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a.example")]
POST: list[Field] = [(b":method", b"POST"), *GET[1:]]
OK: list[Field] = [(b":status", b"200")]


@dataclass(frozen=True)
class Frame:
    type: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def number(self) -> int:
        """The 32-bit value of RST_STREAM and WINDOW_UPDATE, the error code of GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.type != GOAWAY else self.payload[4:8], "big")


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def frames(data: bytes) -> list[Frame]:
    """The frames of an output, which has nothing but whole frames."""
    found = []
    data = data.removeprefix(PREFACE)
    while data:
        length = int.from_bytes(data[:3], "big")
        assert len(data) >= 9 + length
        found.append(Frame(data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def headers(stream_id: int, fields: Iterable[Field] = GET, *, end_stream: bool = False, flags: int = 0) -> bytes:
    return frame(HEADERS, END_HEADERS | flags | (END_STREAM if end_stream else 0), stream_id, encode(fields))


def data(stream_id: int, payload: bytes = b"", *, end_stream: bool = False) -> bytes:
    return frame(DATA, END_STREAM if end_stream else 0, stream_id, payload)


def padded(kind: int, flags: int, stream_id: int, payload: bytes, padding: int) -> bytes:
    return frame(kind, flags | PADDED, stream_id, bytes([padding]) + payload + bytes(padding))


def window(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, struct.pack(">I", increment))


def reset(stream_id: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream_id, struct.pack(">I", code))


def goaway(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code))


def server(limits: Limits | None = None, *pairs: tuple[int, int]) -> Peer:
    """A server that has seen the client's preface and settings, and whose first output is taken."""
    peer = Peer(limits=limits)
    assert peer.receive(PREFACE + settings(*pairs) + frame(SETTINGS, ACK)) == [("settings",)]
    peer.data_to_send()
    return peer


def client(limits: Limits | None = None, *pairs: tuple[int, int]) -> Peer:
    """A client that has seen the server's settings, and whose first output is taken."""
    peer = Peer(client=True, limits=limits)
    assert peer.receive(settings(*pairs) + frame(SETTINGS, ACK)) == [("settings",)]
    peer.data_to_send()
    return peer


def asking(fields: Iterable[Field] = GET, *, end_stream: bool = True) -> Peer:
    """A client that has sent a request on stream 1."""
    peer = client()
    assert peer.open_stream() == 1
    peer.send_headers(1, fields, end_stream=end_stream)
    peer.data_to_send()
    return peer


def merged(events: list[Event]) -> list[Event]:
    """Events as if DATA came in one piece and the end by itself: what does not depend on how input was cut."""
    out: list[Event] = []
    for event in events:
        if event[0] == "data":
            if out and out[-1][:2] == ("data", event[1]):
                out[-1] = ("data", event[1], out[-1][2] + event[2])
            else:
                out.append(event[:3])
            if event[3]:
                out.append(("end", event[1]))
        elif event[0] in ("request", "response") and event[4]:
            out += [(*event[:4], False), ("end", event[1])]
        else:
            out.append(event)
    return out


def fed(peer: Peer, received: bytes, *, step: int | None = None, now: float = 0.0) -> list[Event]:
    """The events of the input, cut into pieces of `step` bytes; merged."""
    events: list[Event] = []
    for at in range(0, len(received), step or max(len(received), 1)):
        events += peer.receive(received[at : at + (step or len(received))], now)
        if events and events[-1][0] == "failed":
            break
    return merged(events)


def both_ways(make: Callable[[], Peer], received: bytes) -> tuple[list[Event], list[Frame]]:
    """Events (merged) and output of an input; the same whole and byte by byte, or the test fails."""
    whole, bytewise = make(), make()
    events = fed(whole, received)
    assert fed(bytewise, received, step=1) == events
    sent = frames(whole.data_to_send())
    bytewise_sent = frames(bytewise.data_to_send())
    interesting = (RST_STREAM, GOAWAY, PING, SETTINGS)
    assert [f for f in sent if f.type in interesting] == [f for f in bytewise_sent if f.type in interesting]
    return events, sent
