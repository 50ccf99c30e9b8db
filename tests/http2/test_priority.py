"""Priorities (RFC 9218): who is served first, and the frames that say so."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.http2.errors import ErrorCode
from fastnet_ext.http2.peer import Peer
from tests.http2.wire import (
    DATA,
    GET,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    OK,
    PING,
    PRIORITY,
    client,
    frame,
    frames,
    headers,
    server,
    window,
)

FRAME = 16_384
PRIORITY_UPDATE = 0x10


def update(stream_id: int, value: bytes, *, on: int = 0) -> bytes:
    return frame(PRIORITY_UPDATE, 0, on, stream_id.to_bytes(4, "big") + value)


def asked(*values: bytes | None, before: bytes = b"") -> Peer:
    """A server with streams 1, 3, 5 … that were asked for with these `priority` fields, each shut by its window."""
    peer = server(None, (INITIAL_WINDOW_SIZE, 0))
    peer.receive(before)
    for number, value in enumerate(values):
        peer.receive(
            headers(2 * number + 1, [*GET, *([(b"priority", value)] if value is not None else [])], end_stream=True)
        )
        peer.send_headers(2 * number + 1, OK)
    return peer


def served(peer: Peer, *sizes: int, also: bytes = b"") -> list[int]:
    """The streams of the DATA frames that follow when all windows open at once, those of a stream in a row once."""
    for number, size in enumerate(sizes):
        peer.send_data(2 * number + 1, bytes(size * FRAME), end_stream=True)
    peer.data_to_send()
    opened = b"".join(window(2 * number + 1, 1 << 30) for number in range(len(sizes)))
    peer.receive(also + window(0, 1 << 29) + opened)
    sent = []
    while True:
        more = [found.stream_id for found in frames(peer.data_to_send()) if found.type == DATA]
        sent += more
        if not more or not peer.pump():
            break
    sent += [found.stream_id for found in frames(peer.data_to_send()) if found.type == DATA]
    assert sorted(sent) == sorted(2 * n + 1 for n, size in enumerate(sizes) for _ in range(size))
    return sent


def in_a_row(streams: list[int]) -> list[int]:
    return [stream for stream, _ in groupby(streams)]


def test_without_a_word_streams_take_turns() -> None:
    assert served(asked(None, None, None), 2, 2, 1) == [1, 3, 5, 1, 3]


def test_lower_urgency_first() -> None:
    assert in_a_row(served(asked(b"u=7", b"u=0", b"u=3"), 3, 3, 3)) == [3, 5, 1]
    # 3 is what is meant where nothing is said.
    assert in_a_row(served(asked(b"u=4", None, b"u=2"), 3, 3, 3)) == [5, 3, 1]


def test_incremental_streams_of_an_urgency_take_turns() -> None:
    assert served(asked(b"u=1, i", b"u=1, i", b"u=0, i"), 2, 2, 2) == [5, 5, 1, 3, 1, 3]


def test_others_are_sent_in_order() -> None:
    assert served(asked(b"u=1", b"u=1", b"u=1"), 3, 2, 1) == [1, 1, 1, 3, 3, 5]


def test_a_large_body_gives_way_in_the_end() -> None:
    """An endless stream of the same urgency starves nobody."""
    sent = served(asked(b"u=1", b"u=1", b"u=1, i"), 200, 1, 1)
    assert sent[:64] == [1] * 64
    assert sent[64:66] == [3, 5]


def test_a_stream_without_a_window_stalls_nobody() -> None:
    peer = asked(b"u=0", b"u=7")
    for stream in (1, 3):
        peer.send_data(stream, bytes(FRAME), end_stream=True)
    peer.data_to_send()
    peer.receive(window(3, FRAME))
    assert [(f.stream_id, len(f.payload)) for f in frames(peer.data_to_send())] == [(3, FRAME)]


def test_control_frames_do_not_wait() -> None:
    """Whatever is queued: answers go in front of it."""
    peer = asked(b"u=0")
    peer.send_data(1, bytes(100 * FRAME), end_stream=True)
    peer.data_to_send()
    peer.receive(window(0, 1 << 29) + window(1, 1 << 29) + frame(PING, 0, 0, b"12345678"))
    kinds = [found.type for found in frames(peer.data_to_send())]
    assert kinds[0] == PING
    assert len(kinds) > 10


# --- PRIORITY_UPDATE


def test_a_frame_changes_what_the_field_said() -> None:
    assert in_a_row(served(asked(b"u=1", b"u=2"), 2, 2, also=update(1, b"u=5"))) == [3, 1]
    # Also while frames are queued and ready.
    peer = asked(None, None)
    assert served(peer, 2, 2, also=update(3, b"u=0")) == [3, 3, 1, 1]


def test_a_frame_before_its_stream() -> None:
    """Section 7: it counts more than the field; of several the last one."""
    before = update(3, b"u=6") + update(3, b"u=0") + update(1, b"u=7")
    assert in_a_row(served(asked(b"u=0", b"u=5", before=before), 2, 2)) == [3, 1]


def test_frames_before_their_streams_are_bounded() -> None:
    """The latest are kept, in a room of fixed size."""
    before = b"".join(update(stream, b"u=0") for stream in range(101, 101 + 2 * 16, 2))
    assert in_a_row(served(asked(b"u=2", b"u=1", before=update(1, b"u=0") + before), 2, 2)) == [3, 1]


def test_frames_for_streams_that_are_over_mean_nothing() -> None:
    peer = asked(None)
    served(peer, 1)
    assert peer.receive(update(1, b"u=0")) == []
    assert peer.data_to_send() == b""


@pytest.mark.parametrize(
    ("received", "code"),
    [
        pytest.param(update(1, b"u=0", on=1), ErrorCode.PROTOCOL_ERROR, id="on a stream"),
        pytest.param(frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0"), ErrorCode.FRAME_SIZE_ERROR, id="too short"),
        pytest.param(update(0, b"u=0"), ErrorCode.PROTOCOL_ERROR, id="stream 0"),
        pytest.param(update(2, b"u=0"), ErrorCode.PROTOCOL_ERROR, id="a push that nobody made"),
    ],
)
def test_frames_that_are_wrong(received: bytes, code: ErrorCode) -> None:
    peer = server()
    assert peer.receive(received) == [("failed", code)]
    assert frames(peer.data_to_send())[-1].type == GOAWAY


def test_no_server_sends_them() -> None:
    assert client().receive(update(1, b"u=0")) == [("failed", ErrorCode.PROTOCOL_ERROR)]


def test_a_flood_of_them_ends_the_connection() -> None:
    for piece in (update(101, b"u=0"), update(1, b"u=1"), frame(PRIORITY, 0, 1, bytes(4) + b"\1")):
        peer = asked(None)
        assert peer.receive(piece * 20_000)[-1] == ("failed", ErrorCode.ENHANCE_YOUR_CALM)


# --- values: a dictionary of structured fields; what is malformed, or out of range, says nothing

FIRST = [
    b"u=0",
    b"u=0, i",
    b"i,u=0",
    b"u=5, u=0",
    b"u=0;a=1;b",
    b'x="a,\\"b", u=0',
    b"x=(1 2);q, u=0",
    b"u=0,\ti=?0",
]
NOTHING = [
    b"",
    b"u",
    b"u=8",
    b"u=-1",
    b"u=00",
    b"u=0.5",
    b"u=x",
    b"u=?0",
    b"U=0",
    b"u=0,",
    b",u=0",
    b"u=0 i",
    b"u=",
    b'u=0, x="',
    b"u=0, x=(",
    b"u=0;",
    b"=0",
]


@pytest.mark.parametrize("value", FIRST)
def test_values_that_say_first(value: bytes) -> None:
    assert in_a_row(served(asked(b"u=1", value, before=b""), 2, 2)) == [3, 1]
    assert in_a_row(served(asked(b"u=1", None), 2, 2, also=update(3, b" " + value + b" "))) == [3, 1]


@pytest.mark.parametrize("value", NOTHING)
def test_values_that_say_nothing(value: bytes) -> None:
    assert in_a_row(served(asked(b"u=2", value, b"u=4"), 2, 2, 2)) == [1, 3, 5]


@given(st.text(alphabet='ui=?0123,; ()"\\\t*a-').map(str.encode))
def test_any_value_is_survived(value: bytes) -> None:
    assert sorted(served(asked(None, None), 1, 1, also=update(3, value))) == [1, 3]
