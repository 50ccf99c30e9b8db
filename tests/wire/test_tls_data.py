"""HTTPS: what is half-closed, early or slow in cleartext behaves as well as TLS allows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest

from fastnet import App, Request, Response
from tests.memory import resident
from tests.wire.live import Live, live, until
from tests.wire.tls import Files, Records, Seen, peer, served
from tests.wire.tools import curl, needs


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def server(files: Files, seen: Seen) -> Iterator[Live]:
    with served(files, seen) as running:
        yield running


def url(server: Live, target: str) -> str:
    assert server.server.url == f"https://127.0.0.1:{server.port}"
    return server.server.url + target


@needs("curl")
@pytest.mark.parametrize("option", ["--http1.1", "--http2"])
def test_big_bodies_both_ways(server: Live, files: Files, option: str) -> None:
    body = bytes(range(256)) * (4 << 12)
    assert curl(url(server, "/echo"), option, "--cacert", files.ca, body=body).body == body
    assert curl(url(server, "/big"), option, "--cacert", files.ca).body == bytes(range(256)) * (8 << 12)
    size = 64 << 20
    assert curl(url(server, f"/big?size={size}"), option, "--cacert", files.ca).body == bytes(range(256)) * (size >> 8)
    assert curl(url(server, "/count"), option, "--cacert", files.ca, body=body * 16).body == str(size).encode()


def test_keep_alive_and_pipelining(server: Live, files: Files) -> None:
    with peer(server, files) as one:
        for _ in range(10):
            one.get("/")
        assert [one.answer().status for _ in range(10)] == [200] * 10


def test_an_early_answer_arrives_while_the_body_is_sent(server: Live, files: Files) -> None:
    with peer(server, files) as one:
        one.send(b"POST /refuse HTTP/1.1\r\nhost: t\r\ncontent-length: 20000000\r\n\r\n" + b"x" * 50_000)
        answer = one.answer()
        assert (answer.status, answer["connection"]) == (403, "close")


def test_a_stream_ends_with_its_peer(server: Live, files: Files, seen: Seen) -> None:
    before = seen.closed
    with peer(server, files) as one:
        one.get("/stream").until(b"x" * 1000)
    until(lambda: seen.closed == before + 1)
    until(lambda: server.counters["requests_active"] == 0)


def test_a_record_that_was_changed_on_its_way(server: Live, files: Files) -> None:
    failed = server.counters["tls_failed"]
    with Records(server, files.client()) as one:
        one.shake_hands().write(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
        data = bytearray(one.outgoing.read())
        data[-1] ^= 1
        one.peer.send(bytes(data))
        with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
            one.rest()
    until(lambda: server.counters["tls_failed"] == failed + 1)


def test_many_requests_of_one_record_are_answered_in_one(server: Live, files: Files) -> None:
    request = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"
    with Records(server, files.client()) as one:
        one.shake_hands().write(request * 20).flush()
        found = b""
        reads = 0
        while found.count(b"HTTP/1.1 200") < 20:
            found += one.read()
            reads += 1
        # They left in one record: one decryption gave them all.
        assert reads == 1


def test_requests_in_many_records(server: Live, files: Files) -> None:
    request = b"GET / HTTP/1.1\r\nhost: t\r\n\r\n"
    with Records(server, files.client()) as one:
        one.shake_hands()
        for byte in request * 3:
            one.write(bytes([byte]))
        one.flush()
        found = b""
        while found.count(b"HTTP/1.1 200") < 3:
            found += one.read()


@pytest.mark.parametrize("target", ["/big?size=33554432", "/chunks"])
def test_a_slow_reader_gets_everything(server: Live, files: Files, target: str) -> None:
    with peer(server, files, receive_buffer=16 << 10) as slow, peer(server, files) as other:
        slow.get(target)
        assert other.get("/").answer().status == 200
        # Behind the big answer, another: in their order.
        slow.get("/")
        body = slow.answer().body
        if target == "/chunks":
            assert body == b"".join(bytes([number]) * 100_000 for number in range(256))
        else:
            assert body == bytes(range(256)) * (33554432 >> 8)
        assert slow.answer().status == 200


@pytest.mark.limit("TLS: plaintext ahead of a socket that is full", memory=True)
def test_a_big_answer_is_not_held_twice(server: Live, files: Files) -> None:
    size = 96 << 20
    with peer(server, files, receive_buffer=16 << 10) as slow:
        before = resident(os.getpid())
        slow.get(f"/big?size={size}")
        assert slow.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        # The handler's bytes wait as they are, once.
        assert resident(os.getpid()) - before < size + (32 << 20)
        assert len(slow.exactly(size)) == size


def test_a_peer_that_takes_nothing_is_cut_off(files: Files) -> None:
    app = App()

    @app.get("/")
    async def index(size: int) -> Response:
        return Response(b"x" * size, headers={"connection": "close"} if size & 1 else {})

    with live(app, tls_cert=files.cert, tls_key=files.key, timeout_write=0.3) as server:
        for size in (64 << 20, (64 << 20) + 1):
            with peer(server, files, receive_buffer=16 << 10) as one:
                one.get(f"/?size={size}")
                until(lambda: server.counters["connections_open"] == 0)
                with pytest.raises((OSError, EOFError)):
                    one.exactly(size)
        server.settle()


def test_an_upload_waits_for_its_reader(files: Files) -> None:
    app = App(max_body=1 << 30)
    go = asyncio.Event()

    @app.post("/")
    async def slow(request: Request) -> int:
        total = 0
        async for chunk in request.stream():
            await go.wait()
            total += len(chunk)
        return total

    size = 64 << 20
    with live(app, tls_cert=files.cert, tls_key=files.key) as server, peer(server, files) as one:
        one.send(b"POST / HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n" % size)
        one.sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += one.sock.send(bytes(1 << 16))
        assert sent < 32 << 20
        server.call(go.set)
        one.sock.settimeout(20)
        # A record that was begun goes on with the same bytes.
        while sent < size:
            sent += one.sock.send(bytes(min(1 << 16, size - sent)))
        assert one.answer().body == str(size).encode()


# --- the end


def test_a_peer_that_has_said_its_all_is_answered(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        one.shake_hands().write(b"GET /later HTTP/1.1\r\nhost: t\r\n\r\n")
        with pytest.raises(ssl.SSLWantReadError):
            one.tls.unwrap()
        one.flush()
        one.peer.half_close()
        found = b""
        while b"later" not in found:
            one.incoming.write(one.peer.sock.recv(1 << 16))
            try:
                found += one.tls.read(1 << 16)
            except ssl.SSLError:
                # OpenSSL's client reads nothing any more once it has said its end.
                break
        assert one.peer.rest() is not None
    until(lambda: server.counters["requests_active"] == 0)


def test_our_end_is_announced(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        one.shake_hands().write(b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").flush()
        # `rest` ends by close_notify; an end without it raises EOFError.
        assert b"HTTP/1.1 200" in one.rest()
        assert one.peer.rest() == b""


def test_our_end_comes_behind_a_big_answer(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        one.shake_hands().write(b"GET /big HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").flush()
        time.sleep(0.1)
        assert one.rest().endswith(bytes(range(256)) * (8 << 12))


def test_the_peers_end_closes_an_idle_connection(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        one.shake_hands().write(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").flush()
        assert one.read().startswith(b"HTTP/1.1 200")
        one.until_done(one.tls.unwrap)
        assert one.peer.rest() == b""


@pytest.mark.parametrize("said", [False, True])
def test_an_end_in_the_middle_of_a_body(server: Live, files: Files, seen: Seen, said: bool) -> None:
    before = seen.left
    with Records(server, files.client()) as one:
        one.shake_hands().write(b"POST /wait HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\nabc")
        if said:
            with pytest.raises(ssl.SSLWantReadError):
                one.tls.unwrap()
        one.flush()
        one.peer.half_close()
        assert b"200" not in one.peer.rest()
    until(lambda: seen.left == before + 1)


def test_what_follows_the_peers_end_is_ignored(server: Live, files: Files) -> None:
    requests = server.counters["requests"]
    with Records(server, files.client()) as one:
        one.shake_hands()
        with pytest.raises(ssl.SSLWantReadError):
            one.tls.unwrap()
        one.flush()
        with contextlib.suppress(OSError):
            one.peer.send(b"\x17\x03\x03\x00\x40" + b"x" * 64)
            one.peer.rest()
    until(lambda: server.counters["connections_open"] == 0)
    assert server.counters["requests"] == requests


def test_keys_are_renewed_on_request(server: Live, files: Files) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    # K: a key update that asks for one of ours.
    client = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3", "-CAfile", files.ca],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert client.stdin is not None and client.stdout is not None and client.stderr is not None  # noqa: PT018
    with client:
        for text in (b"K\n", b"K\n", b"GET / HTTP/1.0\r\n\r\n"):
            # s_client takes a command only when it stands alone in what it reads.
            time.sleep(0.3)
            client.stdin.write(text)
            client.stdin.flush()
        # Its input stays open: it ends when the server does.
        assert b"HTTP/1.1 200" in client.stdout.read()
        assert client.stderr.read().count(b"KEYUPDATE") == 2
