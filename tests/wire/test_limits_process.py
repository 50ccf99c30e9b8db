"""A real process under each attack that could fill its memory: it does not, and everyone else is served meanwhile.

What each peer is answered: the other files called test_limits. Here forty of them at once send as much as they can of
what a limit refuses, and read nothing.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastnet_ext.http2.hpack import encode
from tests.http2.wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    data,
    frame,
    headers,
    padded,
    reset,
    settings,
    window,
)
from tests.loops import NAME
from tests.memory import Growth
from tests.server.service import Client, Load, Service, running, until
from tests.wire.frames import UPGRADE, at, masked

MIB = 1 << 20
PEERS = 40
# What each peer tries to send; what they send together is many times what the process may grow by.
EACH = 4 * MIB
# The stock loop's transports copy the output that waits, and its tasks and futures are larger.
GROWTH = (32 if NAME == "asyncio" else 16) * MIB

APP = """
import asyncio
from collections.abc import AsyncIterator
from fastnet import App, HTTPException, Request, WebSocket
from tests.protos import greeter

pb, _ = greeter()
app = App()

@app.get("/")
async def index() -> str:
    return "here"

@app.post("/whole")
async def whole(body: bytes) -> int:
    return len(body)

go = asyncio.Event()

@app.get("/go")
async def release() -> str:
    global go
    go.set()
    go = asyncio.Event()
    return "gone on"

@app.post("/large", max_body=8 << 20)
async def large(body: bytes) -> int:
    return len(body)

@app.get("/held")
@app.post("/held")
async def held(request: Request) -> str:
    await go.wait()
    return "late"

@app.post("/refused")
async def refused(request: Request) -> str:
    raise HTTPException(403)

@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65536

@app.websocket("/taken")
async def taken(ws: WebSocket) -> None:
    async for _ in ws:
        pass

@app.websocket("/leaves")
async def leaves(ws: WebSocket) -> None:
    await ws.accept()
    await ws.close()

@app.websocket("/held")
async def held_socket(ws: WebSocket) -> None:
    await ws.accept()
    await go.wait()

@app.grpc.method("/greeter.Greeter/SayHello")
async def hello(request: pb.HelloRequest, context: object) -> pb.HelloReply:
    return pb.HelloReply()
"""


@dataclass
class Attack:
    """What one peer sends: something first, and then pieces until it has sent enough or cannot go on.

    ``keeps`` is what one connection may cost beyond what all together are allowed.
    """

    first: bytes
    pieces: Iterable[bytes]
    peers: int
    keeps: int


def attack(row: str, first: bytes, pieces: Iterable[bytes], *, peers: int = PEERS, keeps: int = 0) -> Any:
    """A parameter of the test below, marked with the row of docs/limits.md that it shows."""
    return pytest.param(Attack(first, pieces, peers, keeps), id=row, marks=pytest.mark.limit(row, memory=True))


def head(method: str, target: str, *fields: str) -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "host: t", *fields, "", "")).encode()


CHUNKED = "transfer-encoding: chunked"
X = b"x" * 65536


def again(piece: bytes) -> Iterable[bytes]:
    return itertools.repeat(piece)


def numbered(make: Any, first: int = 1) -> Iterable[bytes]:
    return map(make, itertools.count(first, 2))


H2 = PREFACE + settings()
# A long field that enters the table (RFC 7541, 6.2.1), and then bytes that stand for it each: a block of 8 KB is a list
# of 24 MB.
ENTRY = b"\x40\x01x\x7f\xb9\x16" + b"y" * 3000
BOMB = encode(GET) + b"\xbe" * 8000


def grpc_call(stream: int) -> bytes:
    fields = [*at(b"/greeter.Greeter/SayHello"), (b"content-type", b"application/grpc"), (b"te", b"trailers")]
    return headers(stream, fields)


ATTACKS = [
    attack("HTTP/1: request line", b"GET /", again(X)),
    attack("HTTP/1: head, all of it", b"GET / HTTP/1.1\r\nhost: t\r\nx: ", again(X)),
    attack("HTTP/1: header fields", b"GET / HTTP/1.1\r\nhost: t\r\n", again(b"x:y\r\n" * 8000)),
    attack(
        "HTTP/1: chunk extensions, per body", head("POST", "/whole", CHUNKED), again(b"1;" + X[:4000] + b"\r\nx\r\n")
    ),
    attack("HTTP/1: trailers", head("POST", "/whole", CHUNKED) + b"0\r\n", again(b"x: " + X[:4000] + b"\r\n")),
    attack("HTTP/1: empty lines before a request", b"", again(b"\r\n" * 32768)),
    attack(
        "HTTP/1: request body",
        head("POST", "/whole", CHUNKED),
        again(b"4000\r\n" + X[:0x4000] + b"\r\n"),
        keeps=2 * MIB,
    ),
    attack(
        "HTTP/1: body that waits for its reader",
        head("POST", "/held", "content-length: 1000000"),
        again(X),
        keeps=3 * 256 * 1024,
    ),
    attack(
        "HTTP/1: pipelined requests that wait",
        head("GET", "/held"),
        again(head("GET", "/") * 1000),
        keeps=2 * 256 * 1024,
    ),
    attack(
        "HTTP/1: rest of a body after an early answer", head("POST", "/refused", "content-length: 1000000"), again(X)
    ),
    attack("Time and progress: silence of the peer while output waits", head("GET", "/stream"), (), keeps=256 * 1024),
    attack("HTTP/2: concurrent streams", H2, numbered(lambda i: headers(i, at(b"/held"))), keeps=100 * 4096),
    attack(
        "HTTP/2: header list",
        H2 + frame(HEADERS, END_HEADERS | END_STREAM, 1, encode(GET) + ENTRY),
        numbered(lambda i: frame(HEADERS, END_HEADERS | END_STREAM, i, BOMB), 3),
    ),
    attack(
        "HTTP/2: header fields, cookie crumbs included",
        H2,
        numbered(lambda i: headers(i, GET + [(b"cookie", b"")] * 4000, end_stream=True)),
    ),
    attack(
        "HTTP/2: CONTINUATION frames of a block",
        H2 + frame(HEADERS, 0, 1, encode(GET)),
        again(frame(CONTINUATION, 0, 1, b"\x82" * 16000)),
    ),
    attack(
        "HTTP/2: stream window, connection window",
        H2,
        (headers(i, at(b"/held")) + data(i, X[:16000]) * 4 for i in range(1, 200, 2)),
        peers=4,
        keeps=2 * 100 * 65536,
    ),
    attack(
        "HTTP/2: resets, the peer's and those it provokes",
        H2,
        numbered(lambda i: headers(i, at(b"/held")) + data(i, X[:100]) + reset(i)),
    ),
    attack("HTTP/2: frames that do nothing for a request", H2 + headers(1, at(b"/held")), again(window(1, 1) * 1000)),
    attack(
        "HTTP/2: empty DATA frames in a row",
        H2 + headers(1, at(b"/held")),
        again(data(1) * 500 + padded(DATA, 0, 1, b"", 200) * 100),
    ),
    attack(
        "HTTP/2: entries of a SETTINGS frame",
        H2,
        again(settings(*((INITIAL_WINDOW_SIZE, size) for size in range(2000)))),
    ),
    attack(
        "HTTP/2: answers owed and not yet taken (SETTINGS, PING, RST)",
        H2,
        again((frame(PING, 0, 0, bytes(8)) + settings()) * 500),
    ),
    attack(
        "HTTP/2: bytes of a stream that wait for its window",
        PREFACE + settings((INITIAL_WINDOW_SIZE, 0)),
        (headers(i, at(b"/stream", GET), end_stream=True) for i in range(1, 200, 2)),
        peers=4,
        keeps=100 * (65536 + 65536),
    ),
    attack(
        "WebSocket: message, all its fragments",
        head("GET", "/taken", *UPGRADE),
        itertools.chain([masked(2, X, final=False)], again(masked(0, X, final=False))),
        keeps=2 * MIB,
    ),
    attack(
        "WebSocket: fragments of a message",
        head("GET", "/taken", *UPGRADE),
        itertools.chain([masked(2, final=False)], again(masked(0, final=False) * 1000)),
    ),
    attack(
        "WebSocket: messages that wait for their reader",
        head("GET", "/held", *UPGRADE),
        again(masked(2, X)),
        peers=10,
        keeps=2 * MIB + 512 * 1024,
    ),
    attack(
        "WebSocket: the peer's answer to Close",
        head("GET", "/taken", *UPGRADE) + masked(8, b"\x03\xe8"),
        again(masked(2, X)),
    ),
    attack(
        "gRPC: message received, and what it decompresses to",
        H2,
        numbered(lambda i: grpc_call(i) + data(i, b"\0\xff\xff\xff\xff" + X[:16000], end_stream=True)),
    ),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    flags = ("--timeout-head", "30s", "--admin-bind", "0")
    # What is freed goes back to the system, so that each attack is measured for itself.
    malloc = {"MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TRIM_THRESHOLD_": "0"}
    with running(tmp_path_factory.mktemp("attacked"), APP, *flags, environment=malloc) as found:
        yield found


def counters(service: Service) -> dict[str, int]:
    port = int(service.wait_for(r"listening on http://127.0.0.1:(\d+) \(admin\)")[0])
    with Client(port) as client:
        found: dict[str, int] = orjson.loads(client.get("/counters")[1])["counters"]
    return found


def press(port: int, attack: Attack, patience: float = 0.3) -> list[socket.socket]:
    """All peers send in turn, each until it has sent enough, or is cut off, or nothing is taken for ``patience``."""
    pieces = (
        attack.pieces if isinstance(attack.pieces, itertools.repeat) else list(itertools.islice(attack.pieces, 2000))
    )
    opened: list[socket.socket] = []
    going: dict[socket.socket, tuple[Iterator[bytes], bytes, int]] = {}
    for _ in range(attack.peers):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.sendall(attack.first)
        sock.setblocking(False)
        opened.append(sock)
        going[sock] = (iter(pieces), b"", 0)
    quiet = time.monotonic() + max(patience, 1)
    while going and time.monotonic() < quiet:
        for sock, (rest, piece, sent) in list(going.items()):
            piece = piece or next(rest, b"")
            if not piece or sent > EACH:
                del going[sock]
                continue
            try:
                count = sock.send(piece)
            except BlockingIOError:
                count = 0
            except OSError:
                del going[sock]
                continue
            if count:
                quiet = time.monotonic() + patience
            going[sock] = (rest, piece[count:], sent + count)
        time.sleep(0.001)
    return opened


@pytest.mark.measures
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_an_attack_costs(service: Service, attack: Attack) -> None:
    load = Load(service.port, pause=0.005)
    with load.going(2):
        load.more(20)
        growth = Growth(service.pid)
        opened = press(service.port, attack)
        load.more(20)
        most, bound = growth.most, GROWTH + attack.peers * attack.keeps
        for sock in opened:
            sock.close()
    assert load.failures == []
    assert load.bodies == {"here"}
    assert most < bound, f"grown by {most >> 10} KiB"
    # Where a handler waits and reading is paused, nobody sees that the peer has left.
    with Client(service.port) as client:
        assert client.get("/go") == (200, "gone on")
    until(lambda: counters(service)["connections_open"] == 1, "the end of the attackers")
    left = counters(service)
    assert (left["bytes_buffered"], left["internal"]) == (0, 0)


MEMORY = 16 * MIB
MANY = 100


@pytest.mark.measures
@pytest.mark.limit("Memory: bytes that the connections of a worker keep in buffers", memory=True)
@pytest.mark.limit("Memory: 1.25 times that, or 5 s above it", memory=True)
def test_uploads_and_slow_readers_do_not_fill_the_memory_of_the_process(tmp_path: Path) -> None:
    """200 connections that would keep 400 MiB and more without a limit."""
    with running(tmp_path, APP, "--limit-memory", str(MEMORY), "--admin-bind", "0") as service:
        assert service.get() == "here"
        growth = Growth(service.pid)
        # None of them is complete, however slowly the others are accepted.
        upload = Attack(head("POST", "/large", f"content-length: {2 * EACH}"), again(X), MANY, 0)
        readers = Attack(head("GET", "/stream"), (), MANY, 0)
        opened = press(service.port, readers) + press(service.port, upload, 4)
        until(lambda: counters(service)["limit_memory"] > 0, "the limit")
        until(lambda: counters(service)["bytes_buffered"] <= MEMORY, "room for others")
        # Buffers grow by doubling, and what one read brings comes on top of the limit.
        bound = 2 * (MEMORY + MEMORY // 4) + MANY * 2 * 65536 + 8 * MIB
        assert growth.most < bound, f"grown by {growth.most >> 10} KiB"
        assert service.get() == "here"
        for sock in opened:
            sock.close()
        until(lambda: counters(service)["bytes_buffered"] == 0, "the end of the attackers")
