"""What all connections keep in buffers together: counted, bounded, and others are served meanwhile."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest

from tests.wire.bounds import MIB, bounded_app, upload
from tests.wire.frames import UPGRADE, masked
from tests.wire.h2peer import H2Peer
from tests.wire.live import live, until


def test_a_plain_request_keeps_nothing() -> None:
    with live(bounded_app()) as server, server.peer() as peer:
        for _ in range(10):
            peer.get("/").answer()
            peer.post("/whole", b"x" * 1000).answer()
        assert server.counters["bytes_buffered"] == 0


@pytest.mark.parametrize("target", ["/whole", "/late"])
def test_a_body_counts_until_it_is_taken(target: str) -> None:
    with live(bounded_app()) as server, server.peer() as peer:
        peer.send(upload(200_000, target) + b"x" * 100_000)
        until(lambda: 100_000 <= server.counters["bytes_buffered"] <= 110_000)
        assert peer.send(b"x" * 100_000).answer().body == b"200000"
        until(lambda: server.counters["bytes_buffered"] == 0)


def test_a_head_and_a_body_count_until_their_peer_is_gone() -> None:
    with live(bounded_app()) as server:
        with server.peer() as head, server.peer() as body, H2Peer(server.port) as many:
            head.send(b"GET / HTTP/1.1\r\nx: " + b"x" * 10_000)
            body.send(upload(200_000) + b"x" * 10_000)
            many.request("POST", "/whole", b"x" * 10_000, end=False)
            until(lambda: 30_000 <= server.counters["bytes_buffered"] <= 35_000)
        server.opened += 1
        assert server.settle()["bytes_buffered"] == 0


def test_output_counts_until_it_is_taken() -> None:
    with live(bounded_app()) as server, server.peer(receive_buffer=4096) as peer, H2Peer(server.port, window=0) as many:
        peer.get("/big")
        many.request("GET", "/big")
        until(lambda: server.counters["bytes_buffered"] > 10 * MIB)
        assert len(peer.answer().body) == 8 * MIB
        until(lambda: server.counters["bytes_buffered"] <= 8 * MIB + 100_000)


def test_messages_of_a_websocket_count_until_they_are_received() -> None:
    with live(bounded_app()) as server, server.peer() as peer:
        assert peer.get("/ws", *UPGRADE).answer().status == 101
        size = 60_000
        peer.send(masked(2, b"x" * size))
        until(lambda: server.counters["bytes_buffered"] >= size)
        assert peer.exactly(7) == b"\x81\x0560000"
        until(lambda: server.counters["bytes_buffered"] == 0)


@pytest.mark.limit("Memory: bytes that the connections of a worker keep in buffers", memory=True)
def test_above_the_limit_bodies_are_refused_or_wait_and_all_else_is_served() -> None:
    with live(bounded_app(), limit_memory=MIB, limit_queue_time=0) as server, server.peer() as open_before:
        open_before.get("/").answer()
        with server.peer() as big:
            big.send(upload(4 * MIB))
            big.send(b"x" * (MIB + 10_000))
            until(lambda: server.counters["bytes_buffered"] > MIB)
            answer = open_before.post("/whole", b"x").answer()
            assert (answer.status, answer["retry-after"]) == (503, "1")
            assert "too much to keep" in orjson.loads(answer.body)["detail"]
            assert server.counters["limit_memory"] >= 1
            with server.peer() as late:
                assert late.get("/").answer().status == 200
        # It is gone, and what it kept is free.
        until(lambda: server.counters["bytes_buffered"] == 0)
        assert open_before.get("/").answer().status == 200


@pytest.mark.limit("Memory: 1.25 times that, or 5 s above it", memory=True)
def test_what_stays_above_it_is_cut_the_largest_first() -> None:
    """Six uploads stop midway, all of them paused: those that keep most have to go, the rest goes on."""
    with live(bounded_app(), limit_memory=2 * MIB, timeout_idle=60) as server:
        small = server.peer().send(upload(20_000) + b"x" * 10_000)
        until(lambda: server.counters["requests_active"] == 1)
        large = []
        for _ in range(6):
            peer = server.peer().send(upload(4 * MIB))
            peer.sock.settimeout(0.5)
            large.append(peer)
        for peer in large:
            with suppress(OSError):
                peer.sock.sendall(b"x" * 600_000)
        until(lambda: server.counters["limit_memory"] > 0)
        # What the system holds for those that are left may be too much once more, for another 5 s.
        until(lambda: server.counters["bytes_buffered"] <= 2 * MIB, 30)
        small.sock.settimeout(10)
        assert small.send(b"x" * 10_000).answer().body == b"20000"
        with server.peer() as other:
            assert other.get("/").answer().status == 200
        for peer in (small, *large):
            peer.sock.close()
