"""How many connections there may be: of a worker, of one address, and of the files a process may open."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trustme

from fastnet import App
from fastnet.server import limits
from tests.wire.bounds import beside, lines, told
from tests.wire.live import Live, Peer, live, until


def make_app() -> App:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "fine"

    return app


def turned_away(server: Live, status: int, data: bytes = b"") -> None:
    """One more connection is told why and closed; nothing that it says is read."""
    with server.peer() as peer:
        if data:
            peer.send(data)
        answer = peer.answer()
        assert (answer.status, answer["connection"], answer["retry-after"]) == (status, "close", "1")
        assert answer["content-type"] == "application/problem+json"
        if data:
            # What nobody reads is answered by a reset, if it came before the close.
            with suppress(ConnectionResetError):
                assert peer.closed()
        else:
            assert peer.closed()


@pytest.mark.limit("Connections: open connections of a worker")
def test_more_connections_than_the_limit_are_503(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), limit_connections=3) as server:
        peers = [server.peer() for _ in range(3)]
        for peer in peers:
            peer.get("/").answer()
        turned_away(server, 503)
        turned_away(server, 503, b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
        assert peers[0].get("/").answer().status == 200
        counters = server.counters
        assert (counters["limit_connections"], counters["connections_open"], counters["connections"]) == (2, 3, 5)
        peers.pop().sock.close()
        until(lambda: server.counters["connections_open"] == 2)
        with server.peer() as again:
            assert again.get("/").answer().status == 200
        for peer in peers:
            peer.sock.close()
    assert len(lines(caplog)) == 2
    assert "(limit 3 connections; limit_connections changes it): answered 503" in lines(caplog)[0]


@pytest.mark.limit("Connections: open connections of one address")
def test_more_of_one_address_are_429_and_other_addresses_are_served(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fastnet.limits")
    with live(make_app(), limit_connections_per_address=2) as server:
        peers = [server.peer() for _ in range(2)]
        for peer in peers:
            peer.get("/").answer()
        turned_away(server, 429)
        other = socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=("127.0.0.2", 0))
        other.sendall(b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
        assert other.recv(100).startswith(b"HTTP/1.1 200")
        other.close()
        peers.pop().sock.close()
        until(lambda: server.counters["connections_open"] == 1)
        with server.peer() as again:
            assert again.get("/").answer().status == 200
        peers.pop().sock.close()
        assert server.settle()["limit_connections_per_address"] == 1
    limit = "limit_connections_per_address"
    told(caplog, "connections_per_address", "2 connections", limit, "answered 429")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_counts_by_its_network() -> None:
    with live(make_app(), host="::1", limit_connections_per_address=1) as server:
        one = socket.create_connection(("::1", server.port), timeout=10)
        until(lambda: server.counters["connections_open"] == 1)
        two = socket.create_connection(("::1", server.port), timeout=10)
        assert two.recv(100).startswith(b"HTTP/1.1 429")
        one.close()
        two.close()


def test_over_tls_one_more_is_closed() -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        certificate.private_key_and_cert_chain_pem.tempfile() as pem,
        live(make_app(), limit_connections=1, tls_cert=pem, tls_key=pem) as server,
    ):
        with server.peer(context=context) as peer:
            assert peer.get("/").answer().status == 200
            with pytest.raises((OSError, EOFError)), server.peer(context=context) as one_more:
                one_more.get("/").answer()
            assert peer.get("/").answer().status == 200
        assert server.settle()["limit_connections"] == 1


@pytest.mark.limit("Connections: open connections of a worker", memory=True)
@pytest.mark.limit("Connections: open connections of one address", memory=True)
@pytest.mark.parametrize("limit", ["limit_connections", "limit_connections_per_address"])
def test_a_flood_of_connections_is_counted_and_others_are_served(limit: str) -> None:
    settings: dict[str, Any] = {limit: 10}
    with live(make_app(), **settings) as server:
        flood: list[Peer] = []
        with beside(server):
            until(lambda: server.counters["connections"] == 1)
            flood += [server.peer() for _ in range(300)]
            until(lambda: server.counters["connections"] == 301)
        assert server.counters[limit] == 291
        until(lambda: server.counters["connections_open"] == 9)
        for peer in flood:
            peer.sock.close()


def test_by_default_the_files_of_the_process_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, expected in ((1024, 960), (70, 16), (resource.RLIM_INFINITY, 0)):
        monkeypatch.setattr(resource, "getrlimit", partial(both, soft))
        assert limits.connections_allowed() == expected


def both(soft: int, _: int) -> tuple[int, int]:
    return soft, soft


SCRIPT = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))
    from fastnet import App
    app = App()
    @app.get("/")
    async def index() -> str:
        return "fine"
    app.run(port=int(sys.argv[1]), limit_connections=int(sys.argv[3]), loop=sys.argv[4], log_level="error")
"""


@pytest.mark.measures
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("limit", [0, 1000], ids=["the default", "a limit above the files"])
def test_running_out_of_files_does_not_spin_the_loop(loop: str, limit: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(port), "128", str(limit), loop]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    held: list[socket.socket] = []
    try:
        until(lambda: answers(port))
        held += [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(200)]
        time.sleep(0.5)
        before, since = cpu_seconds(process.pid), time.monotonic()
        time.sleep(1.5)
        assert cpu_seconds(process.pid) - before < (time.monotonic() - since) / 2
        for sock in held:
            sock.close()
        until(lambda: answers(port))
    finally:
        for sock in held:
            sock.close()
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
            return sock.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = re.sub(r".*\) ", "", file.read()).split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
