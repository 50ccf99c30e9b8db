"""WebSocket frames in and out, the mask, the UTF-8 validator; websockets and wsproto beside them.

Frames are parsed a thousand to a call, so that the call from Python does not count. The mask's bytes
are such that ASCII stays ASCII masked and unmasked: the session unmasks in place, so every other round
reads what the one before left.
"""

from typing import Any

import pytest
from websockets.protocol import Protocol, Side
from wsproto.connection import Connection as WsprotoConnection
from wsproto.connection import ConnectionType

from fastnet_ext.core.mask import mask_into
from fastnet_ext.core.utf8 import Utf8Validator
from fastnet_ext.websocket.connection import Connection

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
