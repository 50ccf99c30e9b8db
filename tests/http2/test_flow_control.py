"""Flow control: RFC 9113, sections 5.2 and 6.9."""

import sys

import pytest

from fastnet_ext.http2.errors import ErrorCode
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer
from tests.http2.wire import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    OK,
    POST,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    data,
    frame,
    frames,
    headers,
    padded,
    server,
    settings,
    window,
)


def answering(*streams: int, limits: Limits | None = None, initial: int = 65535) -> Peer:
    """A server whose streams have their heads sent."""
    peer = server(limits, (INITIAL_WINDOW_SIZE, initial))
    for stream_id in streams:
        peer.receive(headers(stream_id, end_stream=True))
        peer.send_headers(stream_id, OK)
    peer.data_to_send()
    return peer


def bodies(sent: list[Frame]) -> dict[int, bytes]:
    """What was sent on each stream."""
    found: dict[int, bytes] = {}
    for f in sent:
        if f.type == DATA:
            found[f.stream_id] = found.get(f.stream_id, b"") + f.payload
    return found


# ---- Sending -------------------------------------------------------------------------------------------


def test_stream_window_bounds_what_is_sent() -> None:
    peer = answering(1, initial=10)
    assert peer.send_data(1, b"0123456789abcdef", end_stream=True) == 6
    assert bodies(frames(peer.data_to_send())) == {1: b"0123456789"}
    assert peer.receive(window(1, 2)) == []
    assert bodies(frames(peer.data_to_send())) == {1: b"ab"}
    assert peer.receive(window(1, 100)) == [("window", 1)]
    (last,) = frames(peer.data_to_send())
    assert (last.payload, last.flags) == (b"cdef", END_STREAM)
    assert peer.open_streams == 0


def test_connection_window_bounds_all_streams() -> None:
    peer = answering(1, 3, initial=1 << 20)
    assert peer.send_data(1, b"a" * 60000) == 0
    assert peer.send_data(3, b"b" * 60000) == 60000 - 5535
    assert sum(map(len, bodies(frames(peer.data_to_send())).values())) == 65535
    assert peer.receive(window(3, 5)) == []
    assert peer.data_to_send() == b""
    assert peer.receive(window(0, 1 << 20)) == [("window", 3)]
    assert len(bodies(frames(peer.data_to_send()))[3]) == 60000 - 5535


def test_streams_take_turns() -> None:
    peer = answering(1, 3, 5, initial=1 << 20)
    peer.send_data(1, bytes(65535))
    for stream_id in (1, 3, 5):
        assert peer.send_data(stream_id, bytes(40000), end_stream=True) == 40000
    peer.data_to_send()
    peer.receive(window(0, 1 << 20))
    order = [f.stream_id for f in frames(peer.data_to_send())]
    assert order == [1, 3, 5, 1, 3, 5, 1, 3, 5]


def test_blocked_stream_does_not_hold_up_others() -> None:
    peer = answering(1, 3, initial=10)
    peer.send_data(1, b"a" * 100)
    assert peer.send_data(3, b"b" * 10, end_stream=True) == 0
    assert bodies(frames(peer.data_to_send())) == {1: b"a" * 10, 3: b"b" * 10}


def test_trailers_and_empty_end_wait_for_the_data_but_not_for_windows() -> None:
    peer = answering(1, 3, initial=3)
    peer.send_data(1, b"abcd")
    peer.send_trailers(1, [(b"x", b"y")])
    peer.send_data(3, b"abcd")
    assert peer.send_data(3, b"", end_stream=True) > 0
    peer.data_to_send()
    assert peer.receive(window(1, 1)) == [("window", 1)]
    assert [(f.type, f.flags & 1) for f in frames(peer.data_to_send())] == [(DATA, 0), (HEADERS, 1)]
    assert peer.receive(window(3, 1)) == [("window", 3)]
    assert [(f.payload, f.flags) for f in frames(peer.data_to_send())] == [(b"d", 0), (b"", END_STREAM)]
    peer.receive(b"")
    assert peer.open_streams == 0


def test_empty_end_needs_no_window() -> None:
    peer = answering(1, initial=0)
    assert peer.send_data(1, b"", end_stream=True) == 0
    assert [(f.payload, f.flags) for f in frames(peer.data_to_send())] == [(b"", END_STREAM)]


def test_settings_move_the_windows_of_live_streams() -> None:
    """Section 6.9.2: below zero, too."""
    peer = answering(1, initial=100)
    assert peer.send_data(1, b"a" * 150) == 50
    peer.receive(settings((INITIAL_WINDOW_SIZE, 10)))
    peer.data_to_send()
    assert peer.receive(window(1, 90)) == []
    assert peer.data_to_send() == b""
    assert peer.receive(window(1, 1)) == []
    assert bodies(frames(peer.data_to_send())) == {1: b"a"}
    assert peer.receive(settings((INITIAL_WINDOW_SIZE, 1000))) == [("settings",), ("window", 1)]
    assert bodies(frames(peer.data_to_send())) == {1: b"a" * 49}


def test_output_is_bounded_whatever_the_windows() -> None:
    peer = answering(1, 3, limits=Limits(output=32768), initial=0x7FFFFFFF)
    peer.receive(window(0, 0x7FFFFFFF - 65535))
    waiting = peer.send_data(1, bytes(200000), end_stream=True)
    assert waiting >= 200000 - 3 * 16384
    peer.send_data(3, b"small", end_stream=True)
    total, rounds, small_at = 0, 0, -1
    while out := peer.data_to_send():
        assert len(out) <= 32768 + 16384 + 18
        found = bodies(frames(out))
        total += len(found.get(1, b""))
        if 3 in found:
            small_at = rounds
        rounds += 1
        peer.pump()
    assert total == 200000
    assert small_at in (0, 1), "the small body went in its turn"
    assert peer.receive(b"") == [("window", 3), ("window", 1)]


def test_large_body_keeps_the_callers_object() -> None:
    body = bytes(300000)
    before = sys.getrefcount(body)
    peer = answering(1, initial=10)
    peer.send_data(1, body, end_stream=True)
    assert sys.getrefcount(body) == before + 1
    peer.receive(window(1, 1 << 20) + window(0, 1 << 20))
    while peer.data_to_send():
        peer.pump()
    assert sys.getrefcount(body) == before
    peer = answering(1, initial=10)
    peer.send_data(1, body, end_stream=True)
    del peer
    assert sys.getrefcount(body) == before


# ---- Receiving -----------------------------------------------------------------------------------------


def test_stream_window_opens_as_the_application_reads() -> None:
    peer = server(Limits(initial_window=100, connection_window=65535))
    peer.receive(headers(1, POST) + data(1, b"a" * 100))
    assert peer.data_to_send() == b""
    peer.acknowledge(1, 49)
    assert peer.data_to_send() == b""
    peer.acknowledge(1, 1)
    assert [(f.type, f.stream_id, f.number) for f in frames(peer.data_to_send())] == [(WINDOW_UPDATE, 1, 50)]
    assert peer.receive(data(1, b"b" * 50)) == [("data", 1, b"b" * 50, False)]
    assert peer.receive(data(1, b"b")) == [("reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)]


def test_the_window_grows_while_its_reader_keeps_up() -> None:
    peer = server(Limits(initial_window=100, reading_window=1000))
    peer.receive(headers(1, POST) + data(1, b"a" * 100))
    peer.acknowledge(1, 49, reading=True)
    assert peer.data_to_send() == b""
    peer.acknowledge(1, 51, reading=True)
    assert [(f.type, f.stream_id, f.number) for f in frames(peer.data_to_send())] == [(WINDOW_UPDATE, 1, 1000)]
    # From here on in portions of half of the new size.
    assert peer.receive(data(1, b"b" * 1000))[0][0] == "data"
    peer.acknowledge(1, 499, reading=True)
    assert peer.data_to_send() == b""
    peer.acknowledge(1, 1, reading=True)
    assert [f.number for f in frames(peer.data_to_send())] == [500]
    # The reader stops: what was given cannot be taken back, but no more is given until the window is the small one.
    peer.acknowledge(1, 500, reading=False)
    assert peer.data_to_send() == b""
    assert peer.receive(data(1, b"c" * 450))[0][0] == "data"
    peer.acknowledge(1, 450, reading=False)
    assert [f.number for f in frames(peer.data_to_send())] == [50]
    assert peer.receive(data(1, b"d" * 100))[0][0] == "data"
    assert peer.receive(data(1, b"e")) == [("reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)]


def test_a_window_that_is_large_from_the_start_does_not_grow() -> None:
    peer = server(Limits(initial_window=1000, reading_window=100))
    peer.receive(headers(1, POST) + data(1, b"a" * 1000))
    peer.acknowledge(1, 1000, reading=True)
    assert [f.number for f in frames(peer.data_to_send())] == [1000]
    assert peer.receive(data(1, b"b" * 1001)) == [("reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)]


def test_a_tunnel_ends_each_direction_for_itself() -> None:
    """Section 8.5. Any other answer that ends before its request resets the rest of that (section 8.1)."""
    for tunnel in (True, False):
        peer = server()
        peer.receive(headers(1, POST))
        assert peer.open_tunnel(1) == 0 if tunnel else True
        peer.send_headers(1, OK)
        peer.send_data(1, b"", end_stream=True)
        events = peer.receive(b"")
        kinds = [f.type for f in frames(peer.data_to_send())]
        assert (RST_STREAM in kinds) is not tunnel
        assert peer.open_streams == int(tunnel)
        if tunnel:
            events = peer.receive(data(1, b"a") + data(1, b"", end_stream=True))
            assert events == [("data", 1, b"a", False), ("end", 1)]
            assert peer.data_to_send() == b""
            peer.receive(b"")
            assert peer.open_streams == 0
            assert peer.open_tunnel(1) == -2


def test_acknowledging_too_much_does_not_widen_the_window() -> None:
    peer = server(Limits(initial_window=100))
    peer.receive(headers(1, POST) + data(1, b"a" * 10))
    peer.acknowledge(1, 1000)
    assert [f.number for f in frames(peer.data_to_send())] == [10]


def test_no_window_for_a_stream_whose_input_has_ended() -> None:
    peer = server(Limits(initial_window=100))
    peer.receive(headers(1, POST) + data(1, b"a" * 100, end_stream=True))
    peer.acknowledge(1, 100)
    assert peer.data_to_send() == b""


def test_connection_window_opens_without_the_application() -> None:
    """One slow stream must not stop the others."""
    peer = server(Limits(connection_window=65535, initial_window=1 << 20))
    peer.receive(headers(1, POST))
    for _ in range(20):
        peer.receive(data(1, bytes(16384)))
    updates = [f for f in frames(peer.data_to_send()) if f.type == WINDOW_UPDATE]
    assert {f.stream_id for f in updates} == {0}
    assert sum(f.number for f in updates) == 20 * 16384


def test_connection_window_is_given_back_once_per_batch() -> None:
    peer = server(Limits(connection_window=1 << 20, initial_window=1 << 20))
    peer.receive(headers(1, POST) + data(1, bytes(1000)))
    assert peer.data_to_send() == b""
    peer.receive(b"".join(data(1, bytes(16384)) for _ in range(40)))
    assert [f.number for f in frames(peer.data_to_send())] == [40 * 16384 + 1000]


def test_data_beyond_the_connection_window() -> None:
    peer = server(Limits(connection_window=65535, initial_window=1 << 20))
    peer.receive(headers(1, POST))
    batch = b"".join(data(1, bytes(16384)) for _ in range(4))
    events = peer.receive(batch)
    assert events[-1] == ("failed", ErrorCode.FLOW_CONTROL_ERROR)
    assert frames(peer.data_to_send())[-1].type == GOAWAY


def test_padding_counts() -> None:
    """Section 6.9.1; it is given back at once, since no application will read it."""
    peer = server(Limits(initial_window=300))
    peer.receive(headers(1, POST) + padded(DATA, 0, 1, b"a", 200))
    assert [(f.stream_id, f.number) for f in frames(peer.data_to_send())] == [(1, 201)]
    assert peer.receive(data(1, b"b" * 299))[0][0] == "data"
    assert peer.receive(data(1, b"b"))[0] == ("reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)


def test_padding_is_given_back_to_the_connection() -> None:
    peer = server(Limits(connection_window=65535, initial_window=1 << 20))
    peer.receive(headers(1, POST))
    for _ in range(500):
        assert peer.receive(padded(DATA, 0, 1, b"a", 255))[0][0] == "data"
    updates = [f for f in frames(peer.data_to_send()) if f.stream_id == 0]
    assert 500 * 257 - 65535 // 4 < sum(f.number for f in updates) <= 500 * 257


def test_data_on_dead_streams_counts_on_the_connection() -> None:
    peer = server(Limits(connection_window=65535))
    peer.receive(headers(1, POST))
    peer.reset(1, ErrorCode.CANCEL)
    peer.data_to_send()
    for _ in range(20):
        assert peer.receive(data(1, bytes(16384))) == []
    updates = frames(peer.data_to_send())
    assert {(f.type, f.stream_id) for f in updates} == {(WINDOW_UPDATE, 0)}
    assert sum(f.number for f in updates) == 20 * 16384


@pytest.mark.parametrize("acknowledged_first", [False, True])
def test_smaller_initial_window_binds_after_the_acknowledgement(acknowledged_first: bool) -> None:
    """Section 6.9.3: until then the peer may know only the default."""
    peer = Peer(limits=Limits(initial_window=100))
    peer.receive(PREFACE + settings())
    acknowledgement = frame(SETTINGS, ACK)
    if acknowledged_first:
        peer.receive(acknowledgement)
    events = peer.receive(headers(1, POST) + data(1, bytes(200)))
    if acknowledged_first:
        assert events[1] == ("reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)
        return
    assert events[1][0] == "data"
    peer.receive(acknowledgement)
    assert peer.receive(data(1, b"a"))[0] == ("reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)
    assert any(f.type == RST_STREAM for f in frames(peer.data_to_send()))
