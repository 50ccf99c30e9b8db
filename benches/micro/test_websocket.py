"""WebSocket frames in and out, compression, the mask, the UTF-8 validator; websockets and wsproto beside them.

Frames are parsed a thousand to a call, so that the call from Python does not count. The mask's bytes
are such that ASCII stays ASCII masked and unmasked: the session unmasks in place, so every other round
reads what the one before left.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate as Theirs
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionType

from fastnet_ext.core.mask import mask_into
from fastnet_ext.core.simd import available
from fastnet_ext.core.utf8 import Utf8Validator
from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.extensions import PerMessageDeflate, accept

BATCH = 1_000
KEY = b"\x01\x02\x03\x04"
LARGE = 65_536


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    size = len(payload)
    length = (
        bytes([0x80 | size])
        if size < 126
        else b"\xfe" + size.to_bytes(2)
        if size < 65536
        else b"\xff" + size.to_bytes(8)
    )
    content = bytes(byte ^ KEY[i % 4] for i, byte in enumerate(payload))
    return bytes([fin << 7 | opcode]) + length + KEY + content


MESSAGES = {
    "text-128": masked(1, b"x" * 128),
    "binary-128": masked(2, b"x" * 128),
    "binary-16": masked(2, b"x" * 16),
    "text-8KiB": masked(1, b"x" * 8192),
    "fragments-4x32": b"".join(masked(0 if i else 1, b"x" * 32, fin=i == 3) for i in range(4)),
    "ping": masked(9, b"x" * 8),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_session_reads(benchmark: Any, name: str) -> None:
    data = bytearray(MESSAGES[name] * BATCH)
    connection = Connection("server")
    benchmark.extra_info["items"] = BATCH
    connection.automatic_pong = False
    assert benchmark(connection.count_events, data) == BATCH


def test_session_reads_128_bytes_cut_anywhere(benchmark: Any) -> None:
    """Pieces of 100 bytes: every frame is collected, headers are cut too."""
    data = MESSAGES["text-128"] * BATCH
    pieces = [bytearray(data[i : i + 100]) for i in range(0, len(data), 100)]
    connection = Connection("server")
    benchmark.extra_info["items"] = BATCH

    def read() -> int:
        return sum(map(connection.count_events, pieces))

    # Collected payloads are copied out, so the pieces stay masked.
    assert benchmark(read) == BATCH


@pytest.mark.parametrize("role", ["server", "client"])
def test_session_writes_128_bytes(benchmark: Any, role: Any) -> None:
    """The call from Python included."""
    connection, payload = Connection(role), b"x" * 128
    benchmark.extra_info["items"] = BATCH

    def write() -> bytes:
        for _ in range(BATCH):
            connection.send_bytes(payload)
        return connection.data_to_send()

    assert len(benchmark(write)) == BATCH * (132 if role == "server" else 136)


def test_websockets_reads_128_bytes(benchmark: Any) -> None:
    data, batch = MESSAGES["text-128"], 100
    benchmark.extra_info["items"] = batch
    protocol = Protocol(Side.SERVER)

    def read() -> int:
        protocol.receive_data(data * batch)
        return len(protocol.events_received())

    assert benchmark(read) == batch


def test_wsproto_reads_128_bytes(benchmark: Any) -> None:
    data, batch = MESSAGES["text-128"], 100
    benchmark.extra_info["items"] = batch
    connection = WsprotoConnection(ConnectionType.SERVER)

    def read() -> int:
        connection.receive_data(data * batch)
        return len(list(connection.events()))

    assert benchmark(read) == batch


@pytest.mark.parametrize("size", [128, LARGE, 1 << 20])
def test_mask(benchmark: Any, size: int) -> None:
    data = bytearray(size)
    benchmark.extra_info["bytes"] = size
    benchmark(mask_into, data, KEY)
    assert set(data) in ({0}, set(KEY))


@pytest.mark.parametrize("text", ["ascii", "latin", "chinese"])
def test_utf8(benchmark: Any, text: str) -> None:
    sample = {"ascii": "plain ASCII ", "latin": "Größe süß, déjà vu, naïve ", "chinese": "中文文本验证"}[text].encode()
    data = sample * (LARGE // len(sample))
    validator = Utf8Validator()
    benchmark.extra_info["bytes"] = len(data)
    assert benchmark(validator.feed, data)
    assert validator.complete


@pytest.mark.parametrize("text", ["ascii", "chinese"])
def test_utf8_of_python(benchmark: Any, text: str) -> None:
    """What bytes.decode takes for the same, the string included."""
    sample = {"ascii": "plain ASCII ", "chinese": "中文文本验证"}[text].encode()
    data = sample * (LARGE // len(sample))
    benchmark.extra_info["bytes"] = len(data)
    assert benchmark(data.decode)


@pytest.mark.parametrize("vectors", available())
@pytest.mark.parametrize("size", [128, LARGE])
def test_mask_by_vectors(benchmark: Any, vectors: str, size: int) -> None:
    data = bytearray(size)
    benchmark.extra_info["bytes"] = size
    benchmark(lambda: mask_into(data, KEY, vectors=vectors))


@pytest.mark.parametrize("vectors", available())
def test_utf8_of_ascii_by_vectors(benchmark: Any, vectors: str) -> None:
    data = b"plain ASCII " * (LARGE // 12)
    validator = Utf8Validator(vectors=vectors)
    benchmark.extra_info["bytes"] = len(data)
    assert benchmark(validator.feed, data)


# --- permessage-deflate: 4 KiB of JSON, a different one each time, received and sent back


def records() -> list[str]:
    rng = random.Random(1)

    def record() -> dict[str, object]:
        return {
            "id": rng.randrange(10**6),
            "name": rng.choice(["alice", "bob", "carol"]) + str(rng.randrange(1000)),
            "price": round(rng.random() * 1000, 2),
            "tags": rng.sample(["red", "green", "blue", "fast", "slow"], 2),
            "active": rng.random() < 0.5,
        }

    return [json.dumps([record() for _ in range(42)]) for _ in range(50)]


RECORDS = records()
# What websockets agrees on by default: a window of 4 KiB, kept from message to message.
THEIR_BITS, THEIR_MEMORY = 12, 5
MODES = {
    "default": PerMessageDeflate(),
    "shared-6": PerMessageDeflate(level=6),
    "kept-5": PerMessageDeflate(server_no_context_takeover=False, client_no_context_takeover=False, level=5),
    "kept-as-websockets": PerMessageDeflate(
        server_no_context_takeover=False,
        client_no_context_takeover=False,
        server_max_window_bits=THEIR_BITS,
        client_max_window_bits=THEIR_BITS,
        memory_level=THEIR_MEMORY,
        level=6,
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_deflate_echoes_json(benchmark: Any, mode: str) -> None:
    agreement = accept("permessage-deflate; client_max_window_bits", MODES[mode])
    client, server = (Connection(role, deflate=agreement) for role in ("client", "server"))
    pieces = []
    for message in RECORDS:
        client.send_text(message)
        pieces.append(client.data_to_send())

    def echo() -> int:
        sent = 0
        for piece in pieces:
            ((_, text),) = server.receive_data(piece)  # type: ignore[misc]
            server.send_text(text)  # type: ignore[arg-type]
            sent += len(server.data_to_send())
        return sent

    measure_echo(benchmark, echo)


def test_deflate_of_websockets_echoes_json(benchmark: Any) -> None:
    def extension() -> Theirs:
        return Theirs(False, False, THEIR_BITS, THEIR_BITS, {"memLevel": THEIR_MEMORY})

    client, server = Protocol(Side.CLIENT), Protocol(Side.SERVER)
    client.extensions, server.extensions = [extension()], [extension()]
    pieces = []
    for message in RECORDS:
        client.send_text(message.encode())
        pieces.append(b"".join(client.data_to_send()))

    def echo() -> int:
        sent = 0
        for piece in pieces:
            server.receive_data(piece)
            (frame,) = server.events_received()
            text = bytes(frame.data).decode()  # type: ignore[union-attr]
            server.send_text(text.encode())
            sent += sum(map(len, server.data_to_send()))
        return sent

    measure_echo(benchmark, echo)


def measure_echo(benchmark: Any, echo: Callable[[], int]) -> None:
    """Per message; ``ratio``: bytes sent for a byte of text."""
    benchmark.extra_info["items"] = len(RECORDS)
    sent = benchmark(echo)
    benchmark.extra_info["ratio"] = round(sent / sum(map(len, RECORDS)), 3)
