"""The WebSocket session against two other sans-I/O implementations: websockets and wsproto.

Both ends, sequences of frames valid and not, mutated bytes, any split. What the three are known to
judge differently is named in one place each, where the oracle is wrapped.
"""

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.session import Limits
from tests.websocket.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Role,
    close_payload,
    frame,
    parse,
)

# Ends any frame that waits for bytes, and is itself a frame that breaks rules in either role. As long as
# the largest frame that a limit of one mebibyte lets through.
FILLER = b"\xff" * ((1 << 20) + 16)
ROLES: tuple[Role, ...] = ("server", "client")


@dataclass
class Verdict:
    """What an implementation saw: complete messages, pings and pongs; then how it ended, if it did."""

    events: list[tuple[str, str | bytes]] = field(default_factory=list)
    end: tuple[str, int, str] | None = None
    answers: list[tuple[int, bytes]] | None = None


Judge = Callable[[Role, list[bytes]], Verdict]


def by_us(role: Role, pieces: list[bytes]) -> Verdict:
    verdict = Verdict()
    connection = Connection(role, Limits(fragments=1 << 30))
    for piece in pieces:
        for event in connection.receive_data(piece):
            if event[0] == "close" or event[0] == "failed":
                verdict.end = (event[0], event[1], event[2])
            else:
                verdict.events.append((event[0], event[1]))
    verdict.answers = [(sent.opcode, sent.payload) for sent in parse(connection.data_to_send())]
    return verdict


def by_websockets(role: Role, pieces: list[bytes]) -> Verdict:
    """Differs knowingly: no check of text (done here), and a Close inside a fragmented message is refused."""
    protocol = Protocol(Side.SERVER if role == "server" else Side.CLIENT, max_size=1 << 20)
    for piece in pieces:
        protocol.receive_data(piece)
    verdict = Verdict(answers=[(sent.opcode, sent.payload) for sent in parse(b"".join(protocol.data_to_send()))])
    decoder = None
    parts: list[str | bytes] = []
    for received in protocol.events_received():
        assert isinstance(received, Frame)
        data = bytes(received.data)
        if received.opcode is Opcode.PING or received.opcode is Opcode.PONG:
            verdict.events.append((received.opcode.name.lower(), data))
        elif received.opcode is not Opcode.CLOSE:
            if received.opcode is not Opcode.CONT:
                decoder = codecs.getincrementaldecoder("utf-8")() if received.opcode is Opcode.TEXT else None
                parts = []
            try:
                parts.append(data if decoder is None else decoder.decode(data, received.fin))
            except UnicodeDecodeError:
                verdict.end = ("failed", CloseCode.INVALID_DATA, "")
                return verdict
            if received.fin and decoder is None:
                verdict.events.append(("binary", b"".join(parts)))  # type: ignore[arg-type]
            elif received.fin:
                verdict.events.append(("text", "".join(parts)))  # type: ignore[arg-type]
    if str(protocol.parser_exc) == "incomplete fragmented message":
        verdict.answers = None
    elif protocol.parser_exc is not None:
        assert protocol.close_sent is not None
        verdict.end = ("failed", protocol.close_sent.code, "")
    if verdict.end is None and protocol.close_rcvd is not None:
        verdict.end = ("close", protocol.close_rcvd.code, protocol.close_rcvd.reason)
    return verdict


def by_wsproto(role: Role, pieces: list[bytes]) -> Verdict:
    """Differs knowingly: no answers of its own, no limits, and 1014 is not known to it."""
    connection = WsprotoConnection(ConnectionType.SERVER if role == "server" else ConnectionType.CLIENT)
    verdict = Verdict()
    parts: list[str | bytes] = []
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            if isinstance(event, TextMessage | BytesMessage):
                parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
                if event.message_finished and isinstance(event, TextMessage):
                    verdict.events.append(("text", "".join(parts)))  # type: ignore[arg-type]
                elif event.message_finished:
                    verdict.events.append(("binary", b"".join(parts)))  # type: ignore[arg-type]
                if event.message_finished:
                    parts = []
            elif isinstance(event, Ping | Pong):
                verdict.events.append((type(event).__name__.lower(), bytes(event.payload)))
            elif isinstance(event, CloseConnection):
                closed = connection.state is ConnectionState.REMOTE_CLOSING
                verdict.end = ("close" if closed else "failed", int(event.code), event.reason or "" if closed else "")
                return verdict
    return verdict


JUDGES: dict[str, Judge] = {"websockets": by_websockets, "wsproto": by_wsproto}


def forgiven(name: str, ours: Verdict) -> bool:
    """Whether we refuse what this oracle is known to let through."""
    if ours.end is None:
        return False
    if name == "websockets":
        # It takes a length in any form, of control frames too.
        return ours.end[2].startswith(("payload length", "control frame longer"))
    return ours.end == ("failed", 1009, "message too big") or ours.end[:2] == ("close", 1014)


def compare(name: str, role: Role, pieces: list[bytes], *, codes: bool = True) -> None:
    ours, theirs = by_us(role, pieces), JUDGES[name](role, pieces)
    if forgiven(name, ours):
        assert theirs.events[: len(ours.events)] == ours.events
        return
    if (ours.end is None) != (theirs.end is None):
        # One has seen the fault already, the other waits for the rest of the frame: it gets it.
        assert (ours.end or theirs.end or ("",))[0] == "failed"
        ours, theirs = by_us(role, [*pieces, FILLER]), JUDGES[name](role, [*pieces, FILLER])
    assert ours.events == theirs.events
    assert ours.answers is not None
    pings = [payload for event, payload in ours.events if event == "ping"]
    assert [payload for opcode, payload in ours.answers if opcode == PONG] == pings
    if ours.end is None or theirs.end is None:
        assert ours.end == theirs.end
    elif ours.end[0] == "close":
        assert ours.end == theirs.end
        if theirs.answers is not None:
            assert ours.answers == theirs.answers
    else:
        assert theirs.end[0] == "failed"
        # A Close may have both a bad code and a bad reason; websockets looks at the reason first.
        if codes and not (ours.end[2] == "close code not allowed" and theirs.end[1] == CloseCode.INVALID_DATA):
            assert ours.end[1] == theirs.end[1]


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    return [data[a:b] for a, b in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)])]


def key_for(role: Role) -> bytes | None:
    return KEY if role == "server" else None


@st.composite
def valid_sequences(draw: st.DrawFn, role: Role) -> bytes:
    """Messages in any fragmentation with control frames between, perhaps a Close at the end."""
    key = draw(st.binary(min_size=4, max_size=4)) if role == "server" else None
    data = b""
    for _ in range(draw(st.integers(0, 5))):
        text = draw(st.booleans())
        payload = draw(st.text(max_size=40)).encode() if text else draw(st.binary(max_size=200))
        cuts = sorted(min(cut, len(payload)) for cut in draw(st.lists(st.integers(0, 200), max_size=3)))
        parts = [payload[a:b] for a, b in pairwise([0, *cuts, len(payload)])]
        for i, part in enumerate(parts):
            if draw(st.booleans()):
                data += frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=20)), key=key)
            opcode = CONTINUATION if i else TEXT if text else BINARY
            data += frame(opcode, part, fin=i == len(parts) - 1, key=key)
    if draw(st.booleans()):
        code = draw(st.sampled_from([1000, 1001, 1011, 1012, 3000, 4999]))
        data += frame(CLOSE, draw(st.sampled_from([b"", close_payload(code, draw(st.text(max_size=20)))])), key=key)
    return data


@st.composite
def any_frame(draw: st.DrawFn, role: Role) -> bytes:
    """One frame that may break any rule of its header or its content."""
    opcode = draw(st.sampled_from([TEXT, BINARY, CONTINUATION, CONTINUATION, PING, PONG, CLOSE, 3, 0xB]))
    masked = draw(st.integers(0, 30)) != 0
    if opcode == CLOSE and draw(st.booleans()):
        payload = close_payload(draw(st.integers(0, 65535)), draw(st.text(max_size=10)))
    elif opcode == CLOSE and draw(st.booleans()):
        payload = close_payload(1000, draw(st.binary(max_size=5)))
    else:
        payload = draw(st.one_of(st.binary(max_size=140), st.text(max_size=40).map(str.encode)))
    size = len(payload)
    length = size if draw(st.integers(0, 20)) else draw(st.integers(0, 300))
    forms: list[Literal[16, 64] | None] = [None, None, None, None, 16, 64]
    form = draw(st.sampled_from(forms)) if length >= 126 or not draw(st.integers(0, 9)) else None
    return frame(
        opcode,
        payload,
        fin=draw(st.integers(0, 2)) != 0,
        rsv=draw(st.sampled_from([0] * 20 + [1, 2, 4])),
        key=KEY if (role == "server") == masked else None,
        length=length,
        form=form,
    )


def sequences(role: Role) -> st.SearchStrategy[bytes]:
    return st.lists(any_frame(role), max_size=6).map(b"".join)


@pytest.mark.parametrize("oracle", JUDGES)
@pytest.mark.parametrize("role", ROLES)
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_valid_sequences(oracle: str, role: Role, data: st.DataObject) -> None:
    wire = data.draw(valid_sequences(role))
    cuts = data.draw(st.lists(st.integers(0, 400), max_size=4))
    pieces = split(wire, cuts)
    assert (by_us(role, pieces).end or ("close",))[0] == "close"
    compare(oracle, role, pieces)


@pytest.mark.parametrize("oracle", JUDGES)
@pytest.mark.parametrize("role", ROLES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_sequences_of_any_frames(oracle: str, role: Role, data: st.DataObject) -> None:
    wire = data.draw(sequences(role))
    compare(oracle, role, split(wire, data.draw(st.lists(st.integers(0, 400), max_size=3))))


@pytest.mark.parametrize("oracle", JUDGES)
@pytest.mark.parametrize("role", ROLES)
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_mutated_bytes(oracle: str, role: Role, data: st.DataObject) -> None:
    wire = bytearray(data.draw(valid_sequences(role)))
    for _ in range(data.draw(st.integers(1, 3))):
        if wire:
            wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    # With several faults in one frame the codes may differ; which frame is refused may not.
    compare(oracle, role, [bytes(wire)], codes=False)


@pytest.mark.parametrize("oracle", JUDGES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("code", [*range(998, 1020), 1100, 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535])
def test_every_close_code(oracle: str, role: Role, code: int) -> None:
    compare(oracle, role, [frame(CLOSE, close_payload(code, "why"), key=key_for(role))])


@pytest.mark.parametrize("oracle", JUDGES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("first", range(256))
def test_every_first_byte(oracle: str, role: Role, first: int) -> None:
    for before in (b"", frame(TEXT, b"a", fin=False, key=key_for(role))):
        wire = bytearray(frame(0, b"\x03\xe8", key=key_for(role)))
        wire[0] = first
        compare(oracle, role, [before + wire])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 1 << 20])
@pytest.mark.parametrize("role", ROLES)
def test_they_read_what_we_write(role: Role, size: int) -> None:
    connection = Connection(role)
    payload = bytes(i * 7 & 0xFF for i in range(256)) * (size // 256 + 1)
    connection.send_text("x" * size)
    connection.send_bytes(payload[:size])
    connection.send_fragment(b"part", text=True)
    connection.ping(b"ping")
    connection.send_fragment(b"s", final=True)
    connection.pong(b"pong")
    connection.close(4001, "böse")
    wire = connection.data_to_send()
    other: Role = "client" if role == "server" else "server"
    for judge in (by_websockets, by_wsproto, by_us):
        verdict = judge(other, [wire])
        expected = [
            ("text", "x" * size),
            ("binary", payload[:size]),
            ("ping", b"ping"),
            ("text", "parts"),
            ("pong", b"pong"),
        ]
        assert verdict.events == expected
        assert verdict.end == ("close", 4001, "böse")


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("size", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_the_limit_is_where_websockets_has_it(size: int, fin: bool) -> None:
    first = b"" if fin else frame(BINARY, b"x" * 100, fin=False)
    opcode = BINARY if fin else CONTINUATION
    wire = first + frame(opcode, bytes(size - (0 if fin else 100)))
    ours, theirs = by_us("server", [wire]), by_websockets("server", [wire])
    assert ours.events == theirs.events
    assert (ours.end or ("", 0))[1] == (theirs.end or ("", 0))[1]
