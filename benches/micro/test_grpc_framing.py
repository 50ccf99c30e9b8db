"""gRPC's message framing and header fields; messages are cut a thousand to a call."""

from typing import Any

import pytest

from fastnet_ext.grpc import fields
from fastnet_ext.grpc.framing import MessageReader, frame

BATCH = 1_000


@pytest.mark.parametrize("size", [16, 1024])
def test_reader(benchmark: Any, size: int) -> None:
    data = frame(bytes(size)) * BATCH
    reader = MessageReader()
    benchmark.extra_info["items"] = BATCH
    assert benchmark(reader.count_messages, data) == BATCH


def test_reader_in_pieces(benchmark: Any) -> None:
    data = frame(bytes(100)) * BATCH
    pieces = [data[i : i + 90] for i in range(0, len(data), 90)]
    reader = MessageReader()
    benchmark.extra_info["items"] = BATCH

    def read() -> int:
        return sum(map(reader.count_messages, pieces))

    assert benchmark(read) == BATCH


def test_timeout(benchmark: Any) -> None:
    """The call from Python included."""
    assert benchmark(fields.timeout_microseconds, b"4999999u") == 4_999_999


def test_message(benchmark: Any) -> None:
    assert benchmark(fields.decode_message, b"not found: user 42") == "not found: user 42"


def test_binary(benchmark: Any) -> None:
    value = fields.encode_binary(bytes(120))
    assert benchmark(fields.decode_binary, value) == [bytes(120)]
