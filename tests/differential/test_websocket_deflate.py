"""permessage-deflate against two other implementations, websockets and wsproto, both ways and from both ends."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate as Theirs
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, TextMessage
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.extensions import DeflateAgreement, PerMessageDeflate, accept
from tests.websocket.wire import KEY, TEXT, Role, frame, receive

Message = str | bytes
TAIL = b"\x00\x00\xff\xff"


class Websockets:
    """One end by websockets, its messages in one frame or in three."""

    def __init__(self, role: Role, deflate: DeflateAgreement) -> None:
        self.protocol = Protocol(Side.SERVER if role == "server" else Side.CLIENT, max_size=1 << 22)
        server, client = deflate.server_no_context_takeover, deflate.client_no_context_takeover
        server_bits, client_bits = deflate.server_max_window_bits, deflate.client_max_window_bits
        if role == "server":
            self.protocol.extensions = [Theirs(client, server, client_bits, server_bits)]
        else:
            self.protocol.extensions = [Theirs(server, client, server_bits, client_bits)]

    def send(self, message: Message, parts: int) -> bytes:
        data = message.encode() if isinstance(message, str) else message
        cuts = [len(data) * i // parts for i in range(parts + 1)]
        for i, (a, b) in enumerate(pairwise(cuts)):
            fin = i == parts - 1
            if i:
                self.protocol.send_continuation(data[a:b], fin=fin)
            elif isinstance(message, str):
                self.protocol.send_text(data[a:b], fin=fin)
            else:
                self.protocol.send_binary(data[a:b], fin=fin)
        return b"".join(self.protocol.data_to_send())

    def receive(self, data: bytes) -> list[Message]:
        self.protocol.receive_data(data)
        found: list[Message] = []
        text = False
        parts: list[bytes] = []
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode is not Opcode.CONT:
                text, parts = event.opcode is Opcode.TEXT, []
            parts.append(bytes(event.data))
            if event.fin:
                whole = b"".join(parts)
                found.append(whole.decode() if text else whole)
        if self.protocol.parser_exc is not None:
            raise self.protocol.parser_exc
        return found


class Wsproto:
    """One end by wsproto."""

    def __init__(self, role: Role, deflate: DeflateAgreement) -> None:
        extension = WsprotoDeflate()
        extension.finalize(deflate.field)
        kind = ConnectionType.SERVER if role == "server" else ConnectionType.CLIENT
        self.connection = WsprotoConnection(kind, extensions=[extension])

    def send(self, message: Message, parts: int) -> bytes:
        cuts = [len(message) * i // parts for i in range(parts + 1)]
        kind: Any = TextMessage if isinstance(message, str) else BytesMessage
        return b"".join(
            self.connection.send(kind(message[a:b], message_finished=i == parts - 1))
            for i, (a, b) in enumerate(pairwise(cuts))
        )

    def receive(self, data: bytes) -> list[Message]:
        self.connection.receive_data(data)
        found: list[Message] = []
        parts: list[Any] = []
        for event in self.connection.events():
            assert isinstance(event, TextMessage | BytesMessage)
            parts.append(event.data)
            if event.message_finished:
                found.append("".join(parts) if isinstance(event, TextMessage) else b"".join(map(bytes, parts)))
                parts = []
        return found


PEERS: dict[str, Any] = {"websockets": Websockets, "wsproto": Wsproto}

messages = st.lists(
    st.one_of(
        st.text(max_size=200),
        st.binary(max_size=200),
        st.binary(min_size=1, max_size=50).map(lambda part: part * 300),
        st.text(min_size=1, max_size=30).map(lambda part: part * 200),
    ),
    max_size=6,
)


@st.composite
def agreements(draw: st.DrawFn) -> DeflateAgreement:
    ours = PerMessageDeflate(
        server_no_context_takeover=draw(st.booleans()),
        client_no_context_takeover=draw(st.booleans()),
        server_max_window_bits=draw(st.integers(9, 15)),
        client_max_window_bits=draw(st.integers(9, 15)),
        level=draw(st.integers(1, 9)),
        min_size=draw(st.sampled_from([1, 1000])),
    )
    agreement = accept("permessage-deflate; client_max_window_bits", ours)
    assert agreement is not None
    return agreement


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("role", ["server", "client"])
@given(
    deflate=agreements(), sent=messages, parts=st.sampled_from([1, 3]), cuts=st.lists(st.integers(0, 9000), max_size=4)
)
@settings(max_examples=60, deadline=None)
def test_we_read_what_they_send(
    peer: str, role: Role, deflate: DeflateAgreement, sent: list[Message], parts: int, cuts: list[int]
) -> None:
    sender = PEERS[peer]("client" if role == "server" else "server", deflate)
    wire = b"".join(sender.send(message, parts) for message in sent)
    expected = [("text" if isinstance(message, str) else "binary", message) for message in sent]
    edges = sorted(min(cut, len(wire)) for cut in cuts)
    for ways in (edges, list(range(1, len(wire))) if len(wire) < 2000 else []):
        assert receive(wire, role=role, cuts=ways, deflate=deflate).events == expected


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("role", ["server", "client"])
@given(deflate=agreements(), sent=messages, parts=st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_they_read_what_we_send(
    peer: str, role: Role, deflate: DeflateAgreement, sent: list[Message], parts: int
) -> None:
    sender = Connection(role, deflate=deflate)
    for message in sent:
        data = message.encode() if isinstance(message, str) else message
        for i in range(parts):
            part = data[len(data) * i // parts : len(data) * (i + 1) // parts]
            if parts > 1:
                sender.send_fragment(part, text=isinstance(message, str), final=i == parts - 1)
            elif isinstance(message, str):
                sender.send_text(message)
            else:
                sender.send_bytes(part)
    reader = PEERS[peer]("client" if role == "server" else "server", deflate)
    assert reader.receive(sender.data_to_send()) == sent


KEEP = accept(
    "permessage-deflate", PerMessageDeflate(server_no_context_takeover=False, client_no_context_takeover=False)
)


@given(
    first=st.text(max_size=60),
    second=st.text(max_size=60),
    at=st.integers(0, 80),
    change=st.binary(min_size=1, max_size=3),
    level=st.sampled_from([0, 1, 6]),
)
@settings(max_examples=400, deadline=None)
def test_changed_data_is_refused_where_websockets_refuses_it(
    first: str, second: str, at: int, change: bytes, level: int
) -> None:
    """And is the same where it is not; websockets drops what follows a block with BFINAL, which is left out."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    payloads = [
        (compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4] for text in (first, second)
    ]
    payloads[0] = payloads[0][:at] + change + payloads[0][at + len(change) :]
    assert KEEP is not None
    wire = b"".join(frame(TEXT, payload, rsv=4, key=KEY) for payload in payloads)
    theirs = Websockets("server", KEEP)
    expected: list[Message] | None
    try:
        expected = theirs.receive(wire)
    except UnicodeDecodeError:
        expected = None
    except Exception:
        assert theirs.protocol.close_sent is not None
        assert theirs.protocol.close_sent.code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA)
        expected = None
    assume(not theirs.protocol.extensions[0].decoder.eof)  # type: ignore[attr-defined]
    ours = receive(wire, deflate=KEEP)
    if expected is None:
        assert ours.events[-1] == ("failed", 1007, ours.events[-1][2])  # type: ignore[misc]
    else:
        assert ours.events == [("text", text) for text in expected]
