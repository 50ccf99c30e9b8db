"""HTTPS: ALPN chooses the protocol, and what is half-closed or early in cleartext behaves as well as TLS allows."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import struct
import subprocess
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from fastnet import App, ClientDisconnect, HTTPException, Request, Response
from fastnet.server import ConfigError
from tests.loops import run
from tests.net.test_backpressure import resident
from tests.wire.certificates import Files, issue
from tests.wire.live import Live, Peer, live, until
from tests.wire.tools import curl, needs


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return issue(tmp_path_factory.mktemp("tls"), trustme.CA(), "server", "localhost", "127.0.0.1")


T = TypeVar("T")


class Seen:
    """What handlers noticed."""

    closed = 0
    left = 0


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def server(files: Files, seen: Seen) -> Iterator[Live]:
    app = App(max_body=128 << 20)

    @app.get("/")
    async def index(request: Request) -> dict[str, object]:
        return {"version": request.http_version, "scheme": request.scheme, "tls": request.tls is not None}

    @app.post("/echo")
    async def echo(body: bytes) -> bytes:
        return body

    @app.post("/count")
    async def count(request: Request) -> int:
        total = 0
        async for chunk in request.stream():
            total += len(chunk)
        return total

    @app.post("/wait")
    async def wait(request: Request) -> str:
        try:
            return str(len(await request.body()))
        except ClientDisconnect:
            seen.left += 1
            raise

    @app.get("/later")
    async def later() -> str:
        await asyncio.sleep(0.05)
        return "later"

    @app.get("/big")
    async def big(size: int = 8 << 20) -> bytes:
        return bytes(range(256)) * (size // 256)

    @app.get("/chunks")
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(256):
            yield bytes([number]) * 100_000

    @app.get("/stream")
    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0.001)
        finally:
            seen.closed += 1

    @app.post("/refuse")
    async def refuse(request: Request) -> Response:
        raise HTTPException(403, "not for you")

    with live(app, tls_cert=files.cert, tls_key=files.key) as running:
        yield running


def peer(server: Live, files: Files, **options: Any) -> Peer:
    return server.peer(context=files.client(), **options)


class Records:
    """A TLS client in memory over a plain socket: the test decides what of its records goes out, and when."""

    def __init__(self, server: Live, context: ssl.SSLContext) -> None:
        self.peer = server.peer()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.sock.close()

    def flush(self, step: int = 1 << 20) -> None:
        """Send what there is, so many bytes at a time."""
        data = self.outgoing.read()
        for start in range(0, len(data), step):
            self.peer.send(data[start : start + step])

    def until_done(self, function: Callable[[], T], step: int = 1 << 20) -> T:
        """Call until OpenSSL wants nothing more from the server."""
        while True:
            try:
                result = function()
            except ssl.SSLWantReadError:
                self.flush(step)
                data = self.peer.sock.recv(1 << 16)
                if not data:
                    raise EOFError from None
                self.incoming.write(data)
            else:
                self.flush(step)
                return result

    def shake_hands(self, step: int = 1 << 20) -> Records:
        self.until_done(self.tls.do_handshake, step)
        return self

    def write(self, data: bytes) -> Records:
        self.tls.write(data)
        return self

    def read(self) -> bytes:
        """What comes next; nothing after close_notify."""
        try:
            return self.until_done(lambda: self.tls.read(1 << 20))
        except ssl.SSLZeroReturnError:
            return b""

    def rest(self) -> bytes:
        found = b""
        while data := self.read():
            found += data
        return found


def url(server: Live, target: str) -> str:
    assert server.server.url == f"https://127.0.0.1:{server.port}"
    return server.server.url + target


@needs("curl")
@pytest.mark.parametrize(
    ("option", "version"), [("--http1.1", "1.1"), ("--http2", "2"), ("--no-alpn", "1.1"), ("--http1.0", "1.0")]
)
def test_alpn_chooses_the_protocol(server: Live, files: Files, option: str, version: str) -> None:
    answer = curl(url(server, "/"), option, "--cacert", files.ca)
    assert answer.status == 200
    assert answer.body.decode() == f'{{"version":"{version}","scheme":"https","tls":true}}'


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


def test_a_peer_that_is_no_tls_disturbs_nobody(server: Live, files: Files) -> None:
    with server.peer() as plain, peer(server, files) as one:
        answer = plain.get("/").answer()
        assert (answer.status, answer["connection"]) == (400, "close")
        assert b"https" in answer.body
        assert plain.closed()
        assert one.get("/").answer().status == 200


def test_old_versions_of_tls_are_refused(server: Live, files: Files) -> None:
    context = ssl.create_default_context(cafile=files.ca)
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        server.peer(context=context)


def test_a_certificate_that_cannot_be_used_is_told(files: Files) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="are certificate and key exchanged"):
            async with App().serve(port=0, tls_cert=files.key, tls_key=files.cert):
                pass

    run(main())


# --- the hand-shake


def test_a_hand_shake_byte_by_byte(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        one.shake_hands(step=1).write(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").flush(step=1)
        assert one.read().startswith(b"HTTP/1.1 200")


def test_a_request_that_comes_with_the_end_of_the_hand_shake(server: Live, files: Files) -> None:
    with Records(server, files.client()) as one:
        with pytest.raises(ssl.SSLWantReadError):
            one.tls.do_handshake()
        one.flush()
        while one.tls.version() is None or one.outgoing.pending == 0:
            one.incoming.write(one.peer.sock.recv(1 << 16))
            try:
                one.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        one.write(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n").flush()
        assert one.read().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x80\x2e\x01\x00\x02", b"\r\n"]
)
def test_garbage_instead_of_a_hand_shake(server: Live, files: Files, garbage: bytes) -> None:
    failed = server.counters["tls_failed"]
    with server.peer() as one:
        one.send(garbage)
        if len(garbage) <= 5:
            one.half_close()
        # At most an alert (record type 21): nothing that reads as an answer.
        assert one.rest()[:1] in (b"", b"\x15")
    if len(garbage) > 5:
        until(lambda: server.counters["tls_failed"] == failed + 1)
    assert server.counters["internal"] == 0


@pytest.mark.parametrize("first", [b"G", b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_clear_text_is_told_to_use_https(server: Live, first: bytes) -> None:
    with server.peer() as one:
        answer = one.send(first).answer()
        assert (answer.status, answer["content-type"]) == (400, "application/problem+json")
        assert b"this port speaks TLS: use https" in answer.body


def test_the_hand_shake_has_a_deadline(files: Files) -> None:
    app = App()

    @app.get("/")
    async def index() -> str:
        return "here"

    with live(app, tls_cert=files.cert, tls_key=files.key, timeout_tls=0.2) as server:
        with (
            server.peer() as silent,
            server.peer() as slow,
            Records(server, files.client()) as late,
            peer(server, files) as one,
        ):
            slow.send(b"\x16")
            with pytest.raises(ssl.SSLWantReadError):
                late.tls.do_handshake()
            late.flush()
            for stuck in (silent, slow, late.peer):
                with contextlib.suppress(ConnectionResetError):
                    assert not stuck.rest().startswith(b"\x15")
            # One that was done in time is not concerned.
            assert one.get("/").answer().body == b"here"
        counters = server.settle()
        assert (counters["timeouts"], counters["tls_failed"], counters["tls_handshakes"]) == (3, 3, 1)


def test_a_client_that_does_not_trust_us(server: Live, files: Files, tmp_path: Path) -> None:
    failed = server.counters["tls_failed"]
    other = issue(tmp_path, trustme.CA(), "other", "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        peer(server, other)
    until(lambda: server.counters["tls_failed"] == failed + 1)


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


def test_renegotiation_is_refused(server: Live, files: Files) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-CAfile", files.ca],
        input=b"R\n",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert b"Verify return code: 0 (ok)" in done.stdout
    assert b"Compression: NONE" in done.stdout
    assert b"no renegotiation" in done.stderr


def test_a_client_that_offers_other_protocols_only(server: Live, files: Files) -> None:
    with server.peer(context=files.client(alpn="smtp")) as one:
        assert one.sock.selected_alpn_protocol() is None  # type: ignore[attr-defined]
        assert one.get("/").answer().status == 200


# --- data


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


def test_a_big_answer_is_not_held_twice(server: Live, files: Files) -> None:
    size = 96 << 20
    with peer(server, files, receive_buffer=16 << 10) as slow:
        before = resident()
        slow.get(f"/big?size={size}")
        assert slow.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        # The handler's bytes wait as they are, once.
        assert resident() - before < size + (32 << 20)
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


# --- what costs us and not the peer


class Sealed:
    """Writes records of TLS 1.3 itself, from the secret that OpenSSL logs: what Python's ssl would not send."""

    def __init__(self, records: Records, secrets: Path) -> None:
        self.records = records
        line = next(line for line in secrets.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET_0"))
        cipher = (records.tls.cipher() or ("",))[0]
        self.hash: hashes.HashAlgorithm = hashes.SHA384() if "SHA384" in cipher else hashes.SHA256()
        self._use(bytes.fromhex(line.split()[2]))

    def _expand(self, secret: bytes, label: bytes, length: int) -> bytes:
        """HKDF-Expand-Label: RFC 8446, 7.1."""
        info = struct.pack(">HB", length, 6 + len(label)) + b"tls13 " + label + b"\0"
        return HKDFExpand(self.hash, length, info).derive(secret)

    def _use(self, secret: bytes) -> None:
        self.secret = secret
        length = 32 if isinstance(self.hash, hashes.SHA384) else 16
        self.key, self.iv, self.number = (
            AESGCM(self._expand(secret, b"key", length)),
            self._expand(secret, b"iv", 12),
            0,
        )

    def record(self, data: bytes, kind: int) -> bytes:
        inner = data + bytes([kind])
        head = struct.pack(">BHH", 23, 0x0303, len(inner) + 16)
        nonce = int.from_bytes(self.iv, "big") ^ self.number
        self.number += 1
        return head + self.key.encrypt(nonce.to_bytes(12, "big"), inner, head)

    def key_update(self) -> bytes:
        """A KeyUpdate that asks for one of the server's: RFC 8446, 4.6.3."""
        found = self.record(b"\x18\x00\x00\x01\x01", 22)
        self._use(self._expand(self.secret, b"traffic upd", self.hash.digest_size))
        return found


def sealed(server: Live, files: Files, folder: Path) -> tuple[Records, Sealed]:
    context = files.client()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.keylog_filename = str(folder / "secrets")
    records = Records(server, context).shake_hands()
    return records, Sealed(records, folder / "secrets")


def test_records_of_our_own_are_understood(server: Live, files: Files, tmp_path: Path) -> None:
    records, keys = sealed(server, files, tmp_path)
    with records as one:
        for _ in range(20):
            one.peer.send(keys.key_update() + keys.record(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n", 23))
            assert one.read().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("reads", [True, False])
def test_key_updates_without_end(server: Live, files: Files, tmp_path: Path, reads: bool) -> None:
    failed = server.counters["tls_failed"]
    records, keys = sealed(server, files, tmp_path)
    with records as one, contextlib.suppress(OSError, EOFError):
        for _ in range(100):
            one.peer.send(b"".join(keys.key_update() for _ in range(100)))
            if reads:
                one.peer.sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.peer.sock.recv(1 << 20)
                one.peer.sock.setblocking(True)
        one.peer.rest()
    until(lambda: server.counters["tls_failed"] == failed + 1)
    assert server.counters["internal"] == 0


def test_empty_records_without_end(server: Live, files: Files, tmp_path: Path) -> None:
    failed = server.counters["tls_failed"]
    records, keys = sealed(server, files, tmp_path)
    with records as one, contextlib.suppress(OSError):
        one.peer.send(b"".join(keys.record(b"", 23) for _ in range(10_000)))
        one.peer.rest()
    until(lambda: server.counters["tls_failed"] == failed + 1)
