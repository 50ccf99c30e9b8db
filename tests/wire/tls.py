"""TLS for tests: certificates of authorities made on the spot, apps, and clients that decide record by record."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from fastnet import App, Call, ClientDisconnect, Depends, HTTPException, Request, Response
from fastnet.websocket import WebSocket
from fastnet_ext.exchange.values import TLSInfo
from tests.wire.live import Live, Peer, live

T = TypeVar("T")

# --- certificates


@dataclass
class Files:
    """Where a certificate with its chain, its key and its authority are."""

    cert: str
    key: str
    ca: str

    def client(self, *, alpn: str = "http/1.1", shows: Files | None = None) -> ssl.SSLContext:
        """What a client uses that trusts the authority, and shows a certificate of its own."""
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols([alpn])
        if shows is not None:
            context.load_cert_chain(shows.cert, shows.key)
        return context


def issue(folder: Path, ca: trustme.CA, name: str, *names: str, common_name: str | None = None) -> Files:
    """A certificate for these names, as files of that name."""
    issued = ca.issue_cert(*names, common_name=common_name)
    return written(folder, ca, name, issued)


def written(folder: Path, ca: trustme.CA, name: str, issued: trustme.LeafCert) -> Files:
    found = Files(*(str(folder / f"{name}-{kind}.pem") for kind in ("cert", "key", "ca")))
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(found.cert, append=number > 0)
    issued.private_key_pem.write_to_path(found.key)
    root = ca
    while root.parent_cert is not None:
        root = root.parent_cert
    root.cert_pem.write_to_path(found.ca)
    return found


# --- what is served


class Seen:
    """What handlers noticed."""

    closed = 0
    left = 0


@contextmanager
def served(files: Files, seen: Seen) -> Iterator[Live]:
    """An app with handlers of every kind behind TLS."""
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


def described(tls: TLSInfo | None) -> dict[str, Any]:
    assert tls is not None
    return {
        "version": tls.version,
        "cipher": tls.cipher,
        "alpn": tls.alpn,
        "name": tls.server_name,
        "resumed": tls.resumed,
        "subject": tls.subject,
        "names": tls.subject_alternative_names,
        "chain": [len(one) for one in tls.peer_chain],
        "der": tls.peer_certificate_der is not None and tls.peer_chain[0] == tls.peer_certificate_der,
    }


def user(call: Call) -> str:
    """Authentication written once, for every protocol."""
    if call.tls is None or not call.tls.subject:
        raise HTTPException(403, "show a certificate")
    return call.tls.subject


def describing_app() -> App:
    """Tells what it knows of the TLS of who asks."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> dict[str, Any]:
        return described(request.tls)

    @app.get("/me")
    async def me(who: Annotated[str, Depends(user)]) -> str:
        return who

    @app.websocket("/ws")
    async def ws(ws: WebSocket, who: Annotated[str, Depends(user)]) -> None:
        await ws.send(who)

    return app


# --- clients


def peer(server: Live, files: Files, **options: Any) -> Peer:
    """A client that trusts the server."""
    return server.peer(context=files.client(), **options)


def tls_of(server: Live, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    """A TLS connection that asks for a name."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    server.opened += 1
    return context.wrap_socket(sock, server_hostname=name)


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
