"""Slow heads, slow bodies and slow readers: cut off by silence or by their rate, while everyone else is served."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.http2.wire import PREFACE, frame
from tests.wire.bounds import KIB, MIB, beside, bounded_app, lines, told, upload
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, live, until

SHORT = 0.1
# Every transfer may be 5 s behind its rate; a test that waits for that takes a little longer.
RATE = 1000


def dripping(*drips: Callable[[], object]) -> Callable[[], None]:
    """Do each thing again and again in a thread until it fails; the function that waits for the end."""
    over = threading.Event()

    def target() -> None:
        left = list(drips)
        while left and not over.wait(SHORT):
            for drip in list(left):
                try:
                    drip()
                except (OSError, EOFError):
                    left.remove(drip)

    thread = threading.Thread(target=target)
    thread.start()

    def end() -> None:
        over.set()
        thread.join(10)

    return end


@pytest.fixture
def server() -> Iterator[Live]:
    with live(bounded_app(), rate_body=RATE, rate_write=RATE) as running:
        yield running


@pytest.mark.limit("Time and progress: rate of a request body", memory=True)
@pytest.mark.limit("Time and progress: rate at which it takes output that waits", memory=True)
def test_who_is_slower_than_the_rate_is_cut_off_and_others_are_served(server: Live) -> None:
    """All kinds at once, as each takes the grace of 5 s."""
    head = b"POST %s HTTP/1.1\r\nhost: t\r\ncontent-length: 100000\r\n\r\n"
    whole, late, free = (server.peer().send(head % path) for path in (b"/whole", b"/late", b"/free"))
    reader = server.peer(receive_buffer=4096).get("/stream")
    creeping = H2Peer(server.port)
    upload = creeping.request("POST", "/whole", b"x", end=False)
    shut = H2Peer(server.port, window=0)
    download = shut.request("GET", f"/big?size={32 * MIB}")
    end = dripping(
        lambda: whole.send(b"x"),
        lambda: late.send(b"x"),
        lambda: free.send(b"x"),
        lambda: creeping.send(upload, b"x"),
        lambda: reader.sock.recv(16),
    )
    # The answer of 32 MiB that nobody takes waits as it is, once; a stream's waits in pieces.
    with beside(server, keeps=33 * MIB):
        begun = time.monotonic()
        while server.counters["timeouts"] < 5:
            assert time.monotonic() - begun < 12, server.counters
            time.sleep(0.01)
    end()
    assert (whole.answer().status, late.answer().status) == (408, 408)
    assert creeping.status(upload) == 408
    assert shut.status(download) == 200
    assert shut.reset(download) == 8
    counters = server.counters
    assert (counters["limit_body_rate"], counters["limit_write_rate"]) == (3, 2)
    # A route without a rate goes on.
    assert counters["requests_active"] == 1
    for peer in (whole, late, free, reader):
        peer.sock.close()
    for h2 in (creeping, shut):
        h2.sock.close()
    server.opened += 2
    assert server.settle()["bytes_buffered"] == 0


def test_who_takes_little_but_takes_it_is_left_alone() -> None:
    """Silence is what timeout_write bounds, not the whole of a long download."""
    with live(bounded_app(), timeout_write=4 * SHORT, rate_write=0) as server, server.peer(receive_buffer=4096) as peer:
        peer.get(f"/big?size={32 * MIB}")
        for _ in range(30):
            peer.exactly(40_000)
            time.sleep(SHORT / 2)
        assert server.counters["timeouts"] == 0


def test_the_end_of_a_slow_download_is_awaited_when_the_connection_closes() -> None:
    with live(bounded_app(), timeout_write=2, timeout_idle=10) as server, server.peer(receive_buffer=65536) as peer:
        peer.get(f"/big?size={32 * MIB}", "connection: close")
        size = 0
        for _ in range(40):
            size += len(peer.exactly(100_000))
            time.sleep(SHORT)
        size += len(peer.rest())
        assert size > 32 << 20
        assert server.settle()["timeouts"] == 0


def test_a_route_has_its_own_patience_with_a_body(server: Live) -> None:
    with live(bounded_app(), timeout_body=SHORT) as hurried:
        head = b"POST %s HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nx"
        patient, whole = hurried.peer().send(head % b"/patient"), hurried.peer().send(head % b"/whole")
        assert whole.answer().status == 408
        hurried.run(asyncio.sleep(4 * SHORT))
        assert patient.send(b"x").answer().body == b"2"
        assert hurried.counters["limit_body_time"] == 1
        for peer in (patient, whole):
            peer.sock.close()


def test_zero_turns_a_timeout_off() -> None:
    off: dict[str, Any] = {"timeout_head": 0, "timeout_idle": 0, "timeout_body": 0, "timeout_write": 0, "rate_body": 0}
    with live(bounded_app(), **off, timeout_handler=SHORT) as server, server.peer() as idle, server.peer() as slow:
        idle.get("/").answer()
        slow.send(b"POST /whole HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nx")
        server.run(asyncio.sleep(6 * SHORT))
        assert slow.send(b"x").answer().body == b"2"
        assert idle.get("/").answer().status == 200


@pytest.mark.limit("Time and progress: request head", memory=True)
@pytest.mark.parametrize(
    "said",
    [b"", b"G", b"PRI * HTTP/2", PREFACE, PREFACE + frame(4)],
    ids=["nothing", "a byte", "half a preface", "a preface", "settings"],
)
def test_who_says_nothing_more_at_the_start_is_closed(said: bytes) -> None:
    with live(bounded_app(), timeout_head=SHORT) as server, server.peer() as silent:
        with beside(server, keeps=KIB):
            silent.send(said)
            until(lambda: server.counters["limit_head_time"] == 1)
        silent.rest()


def test_a_stream_of_messages_may_be_silent_and_a_connection_without_streams_is_idle() -> None:
    with live(bounded_app(), timeout_idle=2 * SHORT) as server, H2Peer(server.port) as peer:
        assert peer.status(peer.request("GET", "/")) == 200
        assert peer.closed()
        assert server.counters["limit_idle_time"] == 1
        until(lambda: server.counters["connections_open"] == 0)


def slow_heads(server: Live, count: int) -> list[Peer]:
    return [server.peer().send(b"GET / HTTP/1.1\r\nhost: ") for _ in range(count)]


@pytest.mark.limit("Time and progress: request head", memory=True)
def test_many_slow_heads_keep_nobody_from_being_served() -> None:
    with live(bounded_app(), timeout_head=4 * SHORT) as server:
        with beside(server, keeps=200 * 128):
            attackers = slow_heads(server, 200)
            until(lambda: server.counters["limit_head_time"] == 200)
        assert all(peer.answer().status == 408 for peer in attackers)
        for peer in attackers:
            peer.sock.close()


# --- silence, one limit after the other: what the peer gets, the counter, and the log


@pytest.mark.limit("Time and progress: request head", memory=True)
def test_a_head_that_does_not_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(bounded_app(), timeout_head=SHORT) as server, server.peer() as peer, beside(server, keeps=KIB):
        assert peer.send(b"GET / HTTP/1.1\r\n").answer().status == 408
        assert server.counters["limit_head_time"] == 1
    told(caplog, "head_time", "0.1 s", "timeout_head", "answered 408")


@pytest.mark.limit("Time and progress: silence in a request body", memory=True)
@pytest.mark.parametrize("target", ["/whole", "/late"])
def test_a_body_that_stops(target: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(bounded_app(), timeout_body=SHORT) as server, server.peer() as one, H2Peer(server.port) as other:
        with beside(server, keeps=3 * KIB):
            one.send(upload(100_000, target) + b"x" * KIB)
            stream = other.request("POST", target, b"x" * KIB, end=False)
            assert one.answer().status == 408
            assert other.status(stream) == 408
        assert server.counters["limit_body_time"] == 2
    assert len(lines(caplog)) == 2
    assert all("(limit 0.1 s; timeout_body changes it): answered 408" in line for line in lines(caplog))


@pytest.mark.limit("Time and progress: silence of the peer while output waits", memory=True)
def test_a_peer_that_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with (
        live(bounded_app(), timeout_write=2 * SHORT) as server,
        server.peer(receive_buffer=4096) as stream,
        server.peer(receive_buffer=4096) as whole,
        H2Peer(server.port, window=0) as shut,
    ):
        with beside(server, keeps=9 * MIB):
            stream.get("/stream")
            whole.get("/big")
            number = shut.request("GET", "/stream")
            assert shut.status(number) == 200
            assert shut.reset(number) == 8
            until(lambda: server.counters["limit_write_time"] == 3)
        for peer in (stream, whole):
            with pytest.raises((OSError, EOFError)):
                peer.exactly(64 * MIB)
        until(lambda: server.counters["bytes_buffered"] == 0)
    assert len(lines(caplog)) == 3
    assert all("(limit 0.2 s; timeout_write changes it): " in line for line in lines(caplog))
    assert sum(line.endswith("stream reset") for line in lines(caplog)) == 1


@pytest.mark.limit("Time and progress: idle between requests", memory=True)
def test_an_idle_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with (
        live(bounded_app(), timeout_idle=2 * SHORT) as server,
        beside(server, keeps=KIB),
        H2Peer(server.port) as many,
        server.peer() as one,
    ):
        assert many.status(many.request("GET", "/")) == 200
        assert one.get("/").answer().status == 200
        assert one.closed()
        assert many.closed()
        assert server.counters["limit_idle_time"] == 2
    # That is no news.
    assert lines(caplog) == []


@pytest.mark.limit("Time and progress: end of a connection after its last answer", memory=True)
def test_a_peer_that_does_not_close_after_the_last_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(bounded_app()) as server, server.peer() as peer, beside(server, keeps=64 * KIB):
        begun = time.monotonic()
        assert peer.send(upload(9 * MIB)).answer().status == 413
        assert peer.sock.recv(1) == b""
        # It could send on, and so it does; what comes is dropped, until the connection is reset.
        with suppress(OSError):
            while time.monotonic() - begun < 20:
                peer.send(b"x" * KIB)
                time.sleep(0.01)
        assert 1 < time.monotonic() - begun < 20
        until(lambda: server.counters["connections_open"] == 1)
    assert [line for line in lines(caplog) if "max_body" not in line] == []


@pytest.mark.limit("Time and progress: running requests when the server stops", memory=True)
def test_requests_that_run_when_the_server_stops(caplog: pytest.LogCaptureFixture) -> None:
    with live(bounded_app(), timeout_drain=2 * SHORT) as server:
        peers = [server.peer(receive_buffer=4096).get("/stream") for _ in range(10)]
        peers += [server.peer().send(upload(100_000) + b"x" * 10_000) for _ in range(10)]
        until(lambda: server.counters["requests_active"] == 20)
        kept = server.counters["bytes_buffered"]
        asyncio.run_coroutine_threadsafe(server.server.stop(), server.loop).result(10)
        assert server.counters["bytes_buffered"] <= kept + MIB
        assert server.counters["connections_open"] == server.counters["requests_active"] == 0
        for peer in peers:
            peer.sock.close()
    assert "20 connections were cut off" in caplog.text
