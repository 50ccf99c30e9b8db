"""The connection's rules by sections of RFC 9113; input whole and byte by byte."""

import gc
import weakref
from collections.abc import Callable

import pytest

from fastnet_ext.http2.errors import ErrorCode, LocalProtocolError
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer
from tests.http2.wire import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_RFC7540_PRIORITIES,
    OK,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    asking,
    both_ways,
    client,
    data,
    fed,
    frame,
    frames,
    goaway,
    headers,
    padded,
    reset,
    server,
    settings,
    window,
)

BLOCK = bytes.fromhex("828684410161")


def pairs(payload: bytes) -> dict[int, int]:
    return {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, len(payload), 6)
    }


# ---- The preface: section 3.4 ------------------------------------------------------------------------


def test_server_preface() -> None:
    first, second = frames(Peer().data_to_send())
    assert (first.type, first.flags) == (SETTINGS, 0)
    assert pairs(first.payload) == {
        MAX_CONCURRENT_STREAMS: 100,
        NO_RFC7540_PRIORITIES: 1,
        ENABLE_CONNECT_PROTOCOL: 1,
        INITIAL_WINDOW_SIZE: 65536,
        MAX_HEADER_LIST_SIZE: 65536,
    }
    assert (second.type, second.stream_id, second.number) == (WINDOW_UPDATE, 0, 8 * 1024 * 1024 - 65535)


def test_client_preface() -> None:
    sent = Peer(client=True).data_to_send()
    assert sent.startswith(PREFACE)
    assert pairs(frames(sent)[0].payload) == {ENABLE_PUSH: 0, INITIAL_WINDOW_SIZE: 65536, MAX_HEADER_LIST_SIZE: 65536}


def test_what_differs_from_the_defaults_is_announced() -> None:
    limits = Limits(
        header_table=0, max_frame=20000, enable_connect=False, initial_window=65535, connection_window=65535
    )
    (only,) = frames(Peer(limits=limits).data_to_send())
    announced = pairs(only.payload)
    assert announced[HEADER_TABLE_SIZE] == 0
    assert announced[MAX_FRAME_SIZE] == 20000
    assert ENABLE_CONNECT_PROTOCOL not in announced
    assert INITIAL_WINDOW_SIZE not in announced


def test_settings_are_acknowledged() -> None:
    events, sent = both_ways(Peer, PREFACE + settings((MAX_FRAME_SIZE, 16384), (0x7777, 5)))
    assert events == [("settings",)]
    assert sent[-1] == Frame(SETTINGS, ACK, 0, b"")


# ---- Connection errors -------------------------------------------------------------------------------


def failing(make: Callable[[], Peer], received: bytes, code: ErrorCode) -> list[tuple[object, ...]]:
    events, sent = both_ways(make, received)
    assert events[-1] == ("failed", code)
    assert (sent[-1].type, sent[-1].number) == (GOAWAY, code)
    return events


PROTOCOL, SIZE, FLOW = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR, ErrorCode.FLOW_CONTROL_ERROR
CLOSED, COMPRESSION = ErrorCode.STREAM_CLOSED, ErrorCode.COMPRESSION_ERROR
ACCEPTED = headers(1, POST)
ENDED = headers(1, end_stream=True)


@pytest.mark.parametrize(
    ("received", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", PROTOCOL, id="3.4 no preface"),
        pytest.param(PREFACE[:-1] + b"x", PROTOCOL, id="3.4 preface wrong at its end"),
        pytest.param(PREFACE + ENDED, PROTOCOL, id="3.4 HEADERS before SETTINGS"),
        pytest.param(PREFACE + data(1, b"a"), PROTOCOL, id="3.4 DATA before SETTINGS"),
        pytest.param(PREFACE + frame(SETTINGS, ACK), PROTOCOL, id="3.4 acknowledgement before SETTINGS"),
    ],
)
def test_first_bytes(received: bytes, code: ErrorCode) -> None:
    failing(Peer, received, code)


@pytest.mark.parametrize(
    ("received", "code"),
    [
        pytest.param(frame(0x77, 0, 0, b"a" * 16385), SIZE, id="4.2 frame too large"),
        pytest.param(frame(HEADERS, END_HEADERS, 1, b"\x80"), COMPRESSION, id="4.3 undecodable block"),
        pytest.param(frame(HEADERS, 0, 1, BLOCK) + ENDED, PROTOCOL, id="4.3 HEADERS inside a block"),
        pytest.param(frame(HEADERS, 0, 1, BLOCK) + data(1), PROTOCOL, id="4.3 DATA inside a block"),
        pytest.param(frame(HEADERS, 0, 1, BLOCK) + frame(0x77), PROTOCOL, id="5.5 unknown frame inside a block"),
        pytest.param(
            frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, END_HEADERS, 3), PROTOCOL, id="6.10 other stream"
        ),
        pytest.param(frame(CONTINUATION, END_HEADERS, 1), PROTOCOL, id="6.10 CONTINUATION alone"),
        pytest.param(ENDED + frame(CONTINUATION, END_HEADERS, 1), PROTOCOL, id="6.10 CONTINUATION behind the end"),
        pytest.param(headers(2), PROTOCOL, id="5.1.1 even stream"),
        pytest.param(headers(5) + headers(3), PROTOCOL, id="5.1.1 lower stream"),
        pytest.param(headers(0), PROTOCOL, id="6.2 HEADERS on stream 0"),
        pytest.param(frame(HEADERS, END_HEADERS | PADDED, 1, b"\x01"), PROTOCOL, id="6.2 padding too long"),
        pytest.param(frame(HEADERS, END_HEADERS | PADDED, 1), SIZE, id="6.2 padding length missing"),
        pytest.param(frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\0\0\0\0"), SIZE, id="6.2 priority cut off"),
        pytest.param(data(0, b"a"), PROTOCOL, id="6.1 DATA on stream 0"),
        pytest.param(data(1, b"a"), PROTOCOL, id="5.1 DATA on an idle stream"),
        pytest.param(ACCEPTED + frame(DATA, PADDED, 1, b"\x05aaaa"), PROTOCOL, id="6.1 padding too long"),
        pytest.param(ACCEPTED + frame(DATA, PADDED, 1), SIZE, id="6.1 padding length missing"),
        pytest.param(frame(PRIORITY, 0, 0, bytes(5)), PROTOCOL, id="6.3 PRIORITY on stream 0"),
        pytest.param(frame(PRIORITY, 0, 1, bytes(4)), SIZE, id="6.3 PRIORITY of a wrong size, idle"),
        pytest.param(frame(RST_STREAM, 0, 0, bytes(4)), PROTOCOL, id="6.4 RST_STREAM on stream 0"),
        pytest.param(reset(1), PROTOCOL, id="6.4 RST_STREAM on an idle stream"),
        pytest.param(ACCEPTED + frame(RST_STREAM, 0, 1, bytes(3)), SIZE, id="6.4 RST_STREAM of a wrong size"),
        pytest.param(frame(SETTINGS, 0, 1), PROTOCOL, id="6.5 SETTINGS on a stream"),
        pytest.param(frame(SETTINGS, 0, 0, bytes(5)), SIZE, id="6.5 SETTINGS of a wrong size"),
        pytest.param(frame(SETTINGS, ACK, 0, bytes(6)), SIZE, id="6.5 acknowledgement with a payload"),
        pytest.param(settings((ENABLE_PUSH, 2)), PROTOCOL, id="6.5.2 ENABLE_PUSH 2"),
        pytest.param(settings((INITIAL_WINDOW_SIZE, 1 << 31)), FLOW, id="6.5.2 window too large"),
        pytest.param(settings((MAX_FRAME_SIZE, 16383)), PROTOCOL, id="6.5.2 frame size too small"),
        pytest.param(settings((MAX_FRAME_SIZE, 1 << 24)), PROTOCOL, id="6.5.2 frame size too large"),
        pytest.param(settings((ENABLE_CONNECT_PROTOCOL, 2)), PROTOCOL, id="8441 3 value 2"),
        pytest.param(
            settings((ENABLE_CONNECT_PROTOCOL, 1), (ENABLE_CONNECT_PROTOCOL, 0)), PROTOCOL, id="8441 3 taken back"
        ),
        pytest.param(settings((NO_RFC7540_PRIORITIES, 1)), PROTOCOL, id="9218 2.1 changed"),
        pytest.param(frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4) + BLOCK), PROTOCOL, id="8.4 PUSH_PROMISE"),
        pytest.param(frame(PING, 0, 1, bytes(8)), PROTOCOL, id="6.7 PING on a stream"),
        pytest.param(frame(PING, 0, 0, bytes(7)), SIZE, id="6.7 PING of a wrong size"),
        pytest.param(frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL, id="6.8 GOAWAY on a stream"),
        pytest.param(frame(GOAWAY, 0, 0, bytes(7)), SIZE, id="6.8 GOAWAY of a wrong size"),
        pytest.param(frame(WINDOW_UPDATE, 0, 0, bytes(3)), SIZE, id="6.9 WINDOW_UPDATE of a wrong size"),
        pytest.param(window(0, 0), PROTOCOL, id="6.9 by 0 on the connection"),
        pytest.param(window(1, 1), PROTOCOL, id="5.1 WINDOW_UPDATE on an idle stream"),
        pytest.param(window(0, 0x7FFFFFFF), FLOW, id="6.9.1 connection's window too large"),
    ],
)
def test_connection_error(received: bytes, code: ErrorCode) -> None:
    failing(server, received, code)


def test_window_overflow_by_settings() -> None:
    """Section 6.9.2."""
    failing(server, ACCEPTED + window(1, 1) + settings((INITIAL_WINDOW_SIZE, 0x7FFFFFFF)), FLOW)


def test_frames_on_a_stream_that_both_ended() -> None:
    """Section 5.1, closed."""

    def answered() -> Peer:
        peer = server()
        peer.receive(ENDED)
        peer.send_headers(1, OK, end_stream=True)
        peer.data_to_send()
        return peer

    failing(answered, data(1, b"a"), CLOSED)
    failing(answered, headers(1, [(b"a", b"b")], end_stream=True), CLOSED)
    for harmless in (window(1, 5), reset(1), frame(PRIORITY, 0, 1, bytes(5))):
        assert both_ways(answered, harmless) == ([], [])


def test_client_role_refuses_what_only_clients_send() -> None:
    failing(client, settings((ENABLE_PUSH, 1)), PROTOCOL)
    failing(client, headers(2, OK), PROTOCOL)
    failing(client, headers(1, OK), PROTOCOL)
    failing(asking, data(3, b"a"), PROTOCOL)
    failing(asking, frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4) + BLOCK), PROTOCOL)


def test_after_a_failure_nothing_is_read_or_sent() -> None:
    peer = server()
    peer.receive(ACCEPTED)
    assert peer.receive(data(0, b"a") + frame(PING, 0, 0, bytes(8))) == [("failed", PROTOCOL)]
    assert [f.type for f in frames(peer.data_to_send())] == [GOAWAY]
    assert peer.receive(frame(PING, 0, 0, bytes(8))) == [("failed", PROTOCOL)]
    assert peer.send_headers(1, OK) == -2
    assert peer.data_to_send() == b""
    assert peer.reason == "DATA on stream 0"


def test_goaway_names_the_last_stream() -> None:
    peer = server()
    peer.receive(headers(1) + headers(7) + data(0, b"a"))
    (last,) = frames(peer.data_to_send())
    assert int.from_bytes(last.payload[:4], "big") == 7


# ---- Stream errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "code"),
    [
        pytest.param(ENDED + data(1, b"a"), CLOSED, id="5.1 DATA behind the end"),
        pytest.param(ENDED + headers(1, [(b"a", b"b")], end_stream=True), CLOSED, id="5.1 HEADERS behind the end"),
        pytest.param(ACCEPTED + window(1, 0), PROTOCOL, id="6.9 WINDOW_UPDATE by 0"),
        pytest.param(ACCEPTED + window(1, 0x7FFFFFFF), FLOW, id="6.9.1 window too large"),
        pytest.param(ACCEPTED + frame(PRIORITY, 0, 1, bytes(4)), SIZE, id="6.3 PRIORITY of a wrong size"),
        pytest.param(ACCEPTED + frame(PRIORITY, 0, 1, b"\0\0\0\1\0"), PROTOCOL, id="PRIORITY upon itself"),
    ],
)
def test_stream_error(received: bytes, code: ErrorCode) -> None:
    """The driver is told, the connection goes on, and late frames on the stream are ignored."""
    events, sent = both_ways(server, received + data(1, b"late") + headers(1, [(b"a", b"b")]) + headers(3))
    assert [event[:2] for event in events if event[0] != "end"] == [("request", 1), ("reset", 1), ("request", 3)]
    assert ("reset", 1, code, False) in events
    assert [(f.type, f.stream_id, f.number) for f in sent] == [(RST_STREAM, 1, code)]


def test_headers_that_depend_on_themselves() -> None:
    received = frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\0\0\0\1\0" + BLOCK)
    events, sent = both_ways(server, received)
    assert events == []
    assert [(f.type, f.number) for f in sent] == [(RST_STREAM, PROTOCOL)]


def test_frames_on_a_stream_that_the_peer_reset() -> None:
    events, sent = both_ways(server, ACCEPTED + reset(1, 8) + data(1, b"a"))
    assert events[1:] == [("reset", 1, 8, True)]
    assert [(f.type, f.number) for f in sent] == [(RST_STREAM, CLOSED)]


def test_refused_streams_keep_the_table_in_step() -> None:
    """Section 5.1.2."""

    def full() -> Peer:
        peer = server(Limits(max_concurrent_streams=2))
        peer.receive(headers(1) + headers(3))
        return peer

    inserting = frame(HEADERS, END_HEADERS | END_STREAM, 5, BLOCK)
    events, sent = both_ways(full, inserting)
    assert events == []
    assert [(f.stream_id, f.number) for f in sent] == [(5, ErrorCode.REFUSED_STREAM)]
    peer = full()
    peer.receive(inserting + reset(1))
    ((name, stream_id, start, *_),) = peer.receive(frame(HEADERS, END_HEADERS, 7, bytes.fromhex("828684be")))
    assert (name, stream_id, start["authority"]) == ("request", 7, b"a")


def test_held_handlers_count() -> None:
    peer = server(Limits(max_concurrent_streams=2))
    peer.receive(headers(1) + headers(3) + reset(1) + reset(3))
    peer.hold()
    peer.hold()
    peer.receive(headers(5))
    assert frames(peer.data_to_send())[-1].number == ErrorCode.REFUSED_STREAM
    peer.release()
    assert peer.receive(headers(7))[0][:2] == ("request", 7)


# ---- Frames that mean little ---------------------------------------------------------------------------


def test_padding_and_priority_of_headers() -> None:
    received = frame(
        HEADERS, END_HEADERS | END_STREAM | PADDED | HAS_PRIORITY, 1, b"\x03\x80\0\0\x05\x10" + BLOCK + bytes(3)
    )
    events, sent = both_ways(server, received)
    assert [event[:2] for event in events] == [("request", 1), ("end", 1)]
    assert sent == []


def test_continuation() -> None:
    cut = [frame(CONTINUATION, 0, 1, BLOCK[i : i + 1]) for i in range(1, 5)]
    received = frame(HEADERS, END_STREAM, 1, BLOCK[:1]) + b"".join(cut) + frame(CONTINUATION, END_HEADERS, 1, BLOCK[5:])
    events, sent = both_ways(server, received)
    assert [event[:2] for event in events] == [("request", 1), ("end", 1)]
    assert events[0][2]["authority"] == b"a"
    assert sent == []


@pytest.mark.parametrize("padding", [0, 1, 255])
@pytest.mark.parametrize("payload", [b"", b"abc"])
def test_padded_data(padding: int, payload: bytes) -> None:
    events, sent = both_ways(server, ACCEPTED + padded(DATA, END_STREAM, 1, payload, padding) + headers(3))
    assert [event for event in events if event[0] == "data"] == ([("data", 1, payload)] if payload else [])
    assert ("end", 1) in events
    assert events[-1][:2] == ("request", 3)
    assert sent == []


def test_unknown_frames_and_priorities_are_ignored() -> None:
    received = frame(0xFE, 0xFF, 1, b"abc") + frame(PRIORITY, 0, 9, bytes(5)) + ENDED + frame(0x11, 0, 0, bytes(5))
    events, sent = both_ways(server, received)
    assert [event[0] for event in events] == ["request", "end"]
    assert sent == []


def test_ping() -> None:
    events, sent = both_ways(server, frame(PING, 0, 0, b"12345678") + frame(PING, ACK, 0, b"87654321"))
    assert events == []
    assert sent == [Frame(PING, ACK, 0, b"12345678")]
    peer = server()
    peer.ping(b"abcdefgh")
    assert frames(peer.data_to_send()) == [Frame(PING, 0, 0, b"abcdefgh")]
    assert peer.receive(frame(PING, ACK, 0, b"abcdefgh")) == [("pong", b"abcdefgh")]
    with pytest.raises(ValueError):
        peer.ping(b"short")


# ---- Going away: section 6.8 ---------------------------------------------------------------------------


def test_goaway_in_two_steps() -> None:
    peer = server()
    peer.receive(headers(1))
    peer.goaway(0x7FFFFFFF)
    assert peer.receive(headers(3))[0][:2] == ("request", 3)
    peer.goaway(3)
    inserting = frame(HEADERS, END_HEADERS, 5, BLOCK)
    assert peer.receive(inserting + data(5, b"a", end_stream=True)) == []
    sent = frames(peer.data_to_send())
    assert [f.payload for f in sent] == [b"\x7f\xff\xff\xff\0\0\0\0", b"\0\0\0\3\0\0\0\0"]
    peer.send_headers(1, OK, end_stream=True)
    assert [f.stream_id for f in frames(peer.data_to_send())][:1] == [1]


def test_goaway_received_by_a_server() -> None:
    assert both_ways(server, goaway(0, 2)) == ([("goaway", 0, 2)], [])


def test_goaway_received_by_a_client_ends_what_was_not_processed() -> None:
    peer = client()
    for _ in range(3):
        peer.send_headers(peer.open_stream(), GET, end_stream=True)
    events = peer.receive(goaway(3) + headers(3, OK, end_stream=True))
    assert events[0] == ("goaway", 3, 0)
    assert events[1] == ("reset", 5, ErrorCode.REFUSED_STREAM, True)
    assert events[2][:2] == ("response", 3)
    assert peer.open_stream() == 0
    assert peer.receive(headers(1, OK, end_stream=True))[0][:2] == ("response", 1)
    peer.receive(b"")
    assert peer.open_streams == 0


# ---- What our own side may do --------------------------------------------------------------------------


def test_answer_with_trailers() -> None:
    peer = server()
    peer.receive(ENDED)
    assert peer.send_headers(1, OK) == 0
    assert peer.send_data(1, b"abc") == 0
    assert peer.send_trailers(1, [(b"grpc-status", b"0")]) == 0
    sent = frames(peer.data_to_send())
    assert [(f.type, f.flags) for f in sent] == [
        (HEADERS, END_HEADERS),
        (DATA, 0),
        (HEADERS, END_HEADERS | END_STREAM),
    ]
    assert peer.open_streams == 0


def test_answers_that_are_not_allowed() -> None:
    peer = server()
    peer.receive(headers(1, POST) + headers(3, POST))
    with pytest.raises(LocalProtocolError):
        peer.send_data(1, b"before the head")
    with pytest.raises(LocalProtocolError):
        peer.send_trailers(1, [(b"a", b"b")])
    peer.send_headers(1, [(b":status", b"100")])
    peer.send_headers(1, OK)
    peer.send_data(1, b"a")
    with pytest.raises(LocalProtocolError):
        peer.send_headers(1, OK)
    assert [f.type for f in frames(peer.data_to_send())] == [HEADERS, HEADERS, DATA]
    peer = asking()
    with pytest.raises(LocalProtocolError):
        peer.send_data(1, b"a")
    with pytest.raises(LocalProtocolError):
        peer.send_headers(1, GET)
    with pytest.raises(LocalProtocolError):
        peer.send_trailers(1, [(b"a", b"b")])


def test_sending_on_a_stream_that_is_over_is_no_mistake() -> None:
    peer = server()
    peer.receive(ENDED + reset(1))
    assert peer.send_headers(1, OK) == -2
    assert peer.send_data(1, b"a", end_stream=True) == -2
    assert peer.send_trailers(1, []) == -2
    assert peer.reset(1, 8) == -2
    assert peer.acknowledge(1, 5) == -2
    assert peer.data_to_send() == b""


def test_answer_before_the_request_ends_resets_the_rest() -> None:
    """Section 8.1: RST_STREAM(NO_ERROR), behind the answer; what is on its way is ignored."""
    peer = server()
    peer.receive(headers(1, POST))
    peer.send_headers(1, OK, end_stream=True)
    assert [(f.type, f.number) for f in frames(peer.data_to_send())][1:] == [(RST_STREAM, 0)]
    assert peer.open_streams == 0
    assert peer.receive(data(1, b"a") + data(1, b"b", end_stream=True) + headers(3))[0][:2] == ("request", 3)
    assert peer.data_to_send() == b""


def early(peer: Peer, received: bytes) -> tuple[list[tuple[object, ...]], list[Frame]]:
    """Input that is answered as soon as the first event tells of a request."""

    def answer(event: tuple[object, ...]) -> None:
        if event[0] == "request":
            peer.send_headers(1, OK, end_stream=True)

    events = peer.receive(received, 0.0, answer)
    return events, frames(peer.data_to_send())


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(data(1, b"a") + data(1, b"b", end_stream=True), id="data"),
        pytest.param(data(1, b"a") + headers(1, [(b"x", b"y")], end_stream=True), id="trailers"),
        pytest.param(padded(DATA, END_STREAM, 1, b"", 5), id="padding"),
        pytest.param(reset(1), id="reset"),
    ],
)
def test_answer_before_the_end_that_is_here_already(rest: bytes) -> None:
    """No reset is needed; the driver hears no more of the stream."""
    peer = server()
    events, sent = early(peer, headers(1, POST) + rest)
    assert [event[0] for event in events] == ["request"]
    assert [f.type for f in sent] == [HEADERS]
    assert peer.open_streams == 0


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        pytest.param(b"", ErrorCode.NO_ERROR, id="nothing"),
        pytest.param(data(1, b"a"), ErrorCode.NO_ERROR, id="data without an end"),
        pytest.param(headers(1, [(b"x", b"y")]), PROTOCOL, id="malformed trailers"),
        pytest.param(window(1, 0), PROTOCOL, id="wrong window"),
    ],
)
def test_answer_before_the_end_that_is_still_to_come(rest: bytes, code: ErrorCode) -> None:
    peer = server()
    events, sent = early(peer, headers(1, POST) + rest)
    assert [event[0] for event in events] == ["request"]
    assert [(f.type, f.number) for f in sent[1:]] == [(RST_STREAM, code)]
    assert peer.open_streams == 0


def test_own_reset_drops_what_is_queued() -> None:
    peer = server(None, (INITIAL_WINDOW_SIZE, 0))
    peer.receive(ENDED)
    peer.send_headers(1, OK)
    assert peer.send_data(1, b"abc") == 3
    assert peer.reset(1, ErrorCode.CANCEL) == 0
    assert [(f.type, f.number) for f in frames(peer.data_to_send())][1:] == [(RST_STREAM, ErrorCode.CANCEL)]
    assert peer.receive(window(1, 100)) == []
    assert peer.data_to_send() == b""


def test_own_reset_of_a_stream_that_waits_for_its_turn() -> None:
    peer = server(None, (INITIAL_WINDOW_SIZE, 1 << 20))
    peer.receive(headers(1, end_stream=True) + headers(3, end_stream=True))
    for stream_id in (1, 3):
        peer.send_headers(stream_id, OK)
        peer.send_data(stream_id, bytes(65536), end_stream=True)
    assert peer.reset(1, ErrorCode.CANCEL) == 0
    peer.data_to_send()
    assert peer.receive(window(0, 1 << 20)) == [("window", 3)]
    sent = frames(peer.data_to_send())
    assert {f.stream_id for f in sent} == {3}
    assert sum(len(f.payload) for f in sent) == 65536


def test_late_frames_on_streams_that_were_reset_long_ago() -> None:
    """Their ends are forgotten, but not that they were once open."""
    peer = server()
    for stream_id in range(1, 1001, 2):
        peer.receive(headers(stream_id, POST))
        peer.reset(stream_id, ErrorCode.CANCEL)
    peer.data_to_send()
    for stream_id in (1, 101, 999):
        late = data(stream_id, b"a") + headers(stream_id, [(b"a", b"b")], end_stream=True) + reset(stream_id)
        assert peer.receive(late) == []
    assert peer.data_to_send() == b""


def test_large_head_is_continued() -> None:
    peer = server()
    peer.receive(ENDED)
    fields = [*OK, *[(b"x-%d" % i, b"v" * 1000) for i in range(40)]]
    peer.send_headers(1, fields, end_stream=True)
    sent = frames(peer.data_to_send())
    assert [f.type for f in sent] == [HEADERS, CONTINUATION, CONTINUATION]
    assert [f.flags for f in sent] == [END_STREAM, 0, END_HEADERS]
    assert max(len(f.payload) for f in sent) == 16384
    reader = asking()
    ((_, _, _, received, _),) = reader.receive(b"".join(frame(f.type, f.flags, 1, f.payload) for f in sent))
    assert received == fields[1:]


def test_lowered_table_is_acknowledged_in_the_next_block() -> None:
    """RFC 7541, section 4.2: our encoder uses no table, and says so."""
    peer = server(None, (HEADER_TABLE_SIZE, 100))
    peer.receive(headers(1, end_stream=True) + headers(3, end_stream=True))
    peer.send_headers(1, OK, end_stream=True)
    peer.send_headers(3, OK, end_stream=True)
    assert [f.payload for f in frames(peer.data_to_send())] == [b"\x20\x88", b"\x88"]


def test_our_smaller_table_binds_after_the_acknowledgement() -> None:
    peer = Peer(limits=Limits(header_table=64))
    peer.receive(PREFACE + settings())
    inserting = frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes.fromhex("82868441") + b"\x3c" + b"a" * 60)
    assert peer.receive(inserting)[0][0] == "request"
    peer.receive(frame(SETTINGS, ACK))
    assert peer.receive(headers(3)) == [("failed", COMPRESSION)]


# ---- The client's streams ------------------------------------------------------------------------------


def test_client_respects_the_servers_limit() -> None:
    """Section 5.1.2."""
    peer = client(None, (MAX_CONCURRENT_STREAMS, 2))
    assert [peer.open_stream() for _ in range(3)] == [1, 3, 0]
    peer.send_headers(1, GET, end_stream=True)
    peer.send_headers(3, GET, end_stream=True)
    assert [event[:2] for event in fed(peer, headers(1, OK, end_stream=True))] == [("response", 1), ("end", 1)]
    peer.receive(b"")
    assert peer.open_stream() == 5


def test_server_opens_no_streams() -> None:
    assert server().open_stream() == 0


def test_stream_given_up_before_its_head() -> None:
    peer = client()
    assert peer.open_stream() == 1
    assert peer.reset(1, ErrorCode.CANCEL) == 0
    assert peer.data_to_send() == b""
    assert peer.open_stream() == 3


# ---- Contexts ------------------------------------------------------------------------------------------


class Thing:
    pass


def test_context_lives_as_long_as_its_stream() -> None:
    peer = server()
    peer.receive(ENDED)
    thing = Thing()
    alive = weakref.ref(thing)
    peer.set_context(1, thing)
    assert peer.get_context(1) is thing
    assert peer.contexts() == [thing]
    del thing
    gc.collect()
    assert alive() is not None
    peer.send_headers(1, OK, end_stream=True)
    assert alive() is None
    assert peer.get_context(1) is None
    assert peer.set_context(1, Thing()) == -2


@pytest.mark.parametrize("end", ["reset", "clear", "dealloc", "replaced"])
def test_context_is_dropped(end: str) -> None:
    peer = server()
    peer.receive(ACCEPTED)
    thing = Thing()
    alive = weakref.ref(thing)
    peer.set_context(1, thing)
    del thing
    if end == "reset":
        peer.receive(reset(1))
        peer.receive(b"")
    elif end == "clear":
        peer.clear()
        assert peer.open_streams == 0
    elif end == "dealloc":
        del peer
    else:
        peer.set_context(1, None)
    assert alive() is None


def test_context_that_calls_back_when_dropped() -> None:
    """Dropping a context may run code of the driver, which may use the connection."""
    peer = server()
    peer.receive(headers(1, POST) + headers(3, POST))

    class Calling:
        def __del__(self) -> None:
            peer.reset(3, ErrorCode.CANCEL)
            calls.append(peer.open_streams)

    calls: list[int] = []
    peer.set_context(1, Calling())
    peer.reset(1, ErrorCode.CANCEL)
    assert calls == [0]
    assert [f.stream_id for f in frames(peer.data_to_send())] == [1, 3]


@pytest.mark.parametrize(
    "arguments",
    [{"max_frame": 16383}, {"initial_window": 1 << 31}, {"fields": 0}, {"connection_window": 1000}, {"resets": -1}],
)
def test_limits_out_of_range(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        Limits(**arguments)  # type: ignore[arg-type]


def test_limits_of_a_wrong_type() -> None:
    with pytest.raises(TypeError):
        Limits(fields="many")  # type: ignore[arg-type]
