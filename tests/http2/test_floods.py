"""Floods end with ENHANCE_YOUR_CALM, in bounded memory and with bounded output."""

from collections.abc import Callable, Iterator
from itertools import chain, count, islice, repeat

import pytest

from fastnet_ext.http2.errors import ErrorCode
from fastnet_ext.http2.hpack import encode
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer
from tests.http2.wire import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GET,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    OK,
    PING,
    POST,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    data,
    frame,
    frames,
    headers,
    padded,
    reset,
    server,
    settings,
    window,
)

CALM = ErrorCode.ENHANCE_YOUR_CALM


def odd() -> Iterator[int]:
    return count(1, 2)


def each(make: Callable[[int], bytes]) -> Iterator[bytes]:
    return map(make, odd())


NUL_FIELD = [*GET, (b"a", b"\x00")]


def floods() -> dict[str, Iterator[bytes]]:
    """What a flood sends behind preface and settings, piece by piece, without end; new with every call."""
    return {
        "rapid reset": each(lambda i: headers(i) + reset(i)),
        "rapid reset of unfinished requests": each(lambda i: headers(i, POST) + data(i, b"a") + reset(i)),
        "made to reset by malformed requests": each(lambda i: headers(i, NUL_FIELD, end_stream=True)),
        "made to reset by WINDOW_UPDATE 0": each(lambda i: headers(i) + window(i, 0)),
        "made to reset by window overflow": each(lambda i: headers(i) + window(i, 0x7FFFFFFF)),
        "made to reset by PRIORITY": each(lambda i: headers(i) + frame(PRIORITY, 0, i, bytes(4))),
        "made to reset by DATA behind the end": each(lambda i: headers(i, end_stream=True) + data(i, b"a")),
        "made to reset by content-length": each(
            lambda i: headers(i, [*POST, (b"content-length", b"0")]) + data(i, b"a")
        ),
        "made to reset by trailers without an end": each(lambda i: headers(i, POST) + headers(i, [(b"a", b"b")])),
        "refused streams": chain((headers(i) for i in range(1, 200, 2)), each(lambda i: headers(200 + i))),
        "frames on a reset stream": chain([headers(1) + reset(1)], repeat(data(1, b"a"))),
        "pings": repeat(frame(PING, 0, 0, bytes(8))),
        "pings that answer nothing": repeat(frame(PING, ACK, 0, bytes(8))),
        "settings": repeat(settings((INITIAL_WINDOW_SIZE, 5))),
        "empty settings": repeat(settings()),
        "acknowledgements": repeat(frame(SETTINGS, ACK)),
        "large settings": iter([settings(*[(INITIAL_WINDOW_SIZE, i) for i in range(33)])]),
        "priorities": each(lambda i: frame(PRIORITY, 0, i, bytes(5))),
        "unknown frames": repeat(frame(0x99)),
        "window updates": chain([headers(1)], repeat(window(1, 1))),
        "window updates of the connection": repeat(window(0, 1)),
        "window updates of dead streams": chain([headers(1) + reset(1)], repeat(window(1, 1))),
        "empty data": chain([headers(1, POST)], repeat(data(1))),
        "nothing but padding": chain([headers(1, POST)], repeat(padded(DATA, 0, 1, b"", 0))),
        "continuations": chain([frame(HEADERS, 0, 1, encode(GET))], repeat(frame(CONTINUATION, 0, 1, b"\x82" * 1000))),
        "empty continuations": chain([frame(HEADERS, 0, 1, encode(GET))], repeat(frame(CONTINUATION, 0, 1))),
        "goaways": repeat(frame(7, 0, 0, bytes(8))),
        "resets of dead streams": chain([headers(1)], repeat(reset(1))),
    }


@pytest.mark.parametrize("name", floods())
def test_flood(name: str) -> None:
    peer = server()
    sent = taken = 0
    for piece in islice(floods()[name], 40000):
        sent += len(piece)
        events = peer.receive(piece)
        taken += len(out := peer.data_to_send())
        assert peer.held_bytes < 300_000
        assert peer.open_streams <= 101
        if events and events[-1][0] == "failed":
            assert events[-1] == ("failed", CALM)
            assert frames(out)[-1].number == CALM
            assert taken <= 2 * sent + 100
            return
    pytest.fail("the flood was let through")


@pytest.mark.parametrize("answer", ["pings", "settings"])
def test_answers_that_nobody_takes(answer: str) -> None:
    """A peer that sends and does not read: what we owe it is bounded even in one batch."""
    piece = frame(PING, 0, 0, bytes(8)) if answer == "pings" else settings()
    peer = server()
    assert peer.receive(piece * 900)[-1:] == ([("settings",)] if answer == "settings" else [])
    assert peer.receive(piece * 200)[-1] == ("failed", CALM)
    assert len(peer.data_to_send()) < 1100 * 17


def test_answers_that_are_taken_do_not_count() -> None:
    peer = server()
    for _ in range(30):
        assert peer.receive(frame(PING, 0, 0, bytes(8)) * 100) == []
        assert len(frames(peer.data_to_send())) == 100


def test_budgets_fill_up_again() -> None:
    peer = server(Limits(resets=10, resets_per_second=2))
    stream = odd()

    def resets(n: int, now: float) -> list[tuple[object, ...]]:
        return peer.receive(b"".join(headers(i) + reset(i) for i in islice(stream, n)), now)

    assert ("failed", CALM) not in resets(10, 100.0)
    assert ("failed", CALM) not in resets(4, 102.0)
    assert ("failed", CALM) not in resets(10, 200.0)
    assert resets(1, 200.4)[-1] == ("failed", CALM)


def test_budgets_do_not_grow_beyond_their_burst() -> None:
    peer = server(Limits(resets=10, resets_per_second=2))
    stream = odd()
    events = peer.receive(b"".join(headers(i) + reset(i) for i in islice(stream, 10)), 0.0)
    assert ("failed", CALM) not in events
    events = peer.receive(b"".join(headers(i) + reset(i) for i in islice(stream, 11)), 10_000.0)
    assert events[-1] == ("failed", CALM)
    assert len([event for event in events if event[0] == "reset"]) == 10


def test_honest_work_is_no_flood() -> None:
    """Thousands of requests with bodies, pings and window updates now and then, some cancelled."""
    peer = server()
    for n, i in enumerate(islice(odd(), 5000)):
        now = n / 1000
        received = headers(i, POST) + data(i, b"a" * 10) + data(i, b"", end_stream=True)
        if n % 50 == 0:
            received += reset(i) + frame(PING, 0, 0, bytes(8))
        events = peer.receive(received, now)
        assert events[0][0] == "request"
        if n % 50:
            peer.send_headers(i, OK)
            peer.send_data(i, b"b" * 100)
            peer.send_trailers(i, [(b"grpc-status", b"0")])
            peer.receive(window(0, 100) + window(0, 10), now)
        peer.data_to_send()
    assert peer.receive(b"") == []
    assert peer.open_streams == 0


def test_output_only_grows_with_what_is_asked() -> None:
    """A push from a client and its kin are answered once."""
    peer = server()
    peer.receive(frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)) * 50)
    peer.receive(b"x" * 100000)
    assert len(frames(peer.data_to_send())) == 1
    assert peer.held_bytes < 200_000


def test_memory_of_streams_is_bounded_when_the_peer_never_reads() -> None:
    """Requests whose answers cannot go out: at most max_concurrent_streams of them."""
    peer = server(Limits(max_concurrent_streams=10), (INITIAL_WINDOW_SIZE, 0))
    for i in islice(odd(), 500):
        for event in peer.receive(headers(i, end_stream=True)):
            if event[0] == "request":
                peer.send_headers(i, OK)
                peer.send_data(i, bytes(1000), end_stream=True)
        out = frames(peer.data_to_send())
        assert all(f.type in (HEADERS, RST_STREAM) for f in out)
    assert peer.open_streams == 10


def test_state_is_freed() -> None:
    peer = Peer()
    peer.clear()
    assert peer.receive(b"anything") == [("failed", 0)]
    assert peer.open_streams == 0


# ---- Keepalive ---------------------------------------------------------------------------------------


def test_pings_too_close_to_each_other() -> None:
    """gRPC's rule: strikes while nothing is sent between; a PING in its time is none."""
    peer = server(Limits(ping_interval=5.0, ping_strikes=2))
    ping = frame(PING, 0, 0, bytes(8))
    for now in (0.0, 5.0, 10.5, 12.0, 17.0, 18.0):
        assert peer.receive(ping, now) == []
    peer.data_to_send()
    assert peer.receive(ping, 20.0) == [("failed", ErrorCode.ENHANCE_YOUR_CALM)]
    assert frames(peer.data_to_send())[-1].payload[8:] == b"too_many_pings"


def test_answers_between_pings_forgive_strikes() -> None:
    peer = server(Limits(ping_interval=5.0, ping_strikes=2))
    ping = frame(PING, 0, 0, bytes(8))
    for stream in range(1, 41, 2):
        assert peer.receive(ping + ping + headers(stream, end_stream=True))[0][0] == "request"
        peer.send_headers(stream, OK, end_stream=True)
