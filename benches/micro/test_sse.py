"""Event streams parsed and encoded, beside httpx-sse in the same run; an event has about 60 bytes."""

from typing import Any

from httpx_sse._decoders import SSEDecoder

from fastnet_ext.sse.encoder import encode_event
from fastnet_ext.sse.parser import EventParser

BATCH = 1_000
DATA = '{"n": 1234, "text": "hello wor"}'
EVENT = encode_event(DATA, event="tick", id="1234")


def test_parse(benchmark: Any) -> None:
    """Twenty events at a time, about as many as a segment of TCP holds."""
    parser, stream = EventParser(), EVENT * 20
    benchmark.extra_info["items"] = BATCH

    def read() -> int:
        return sum(len(parser.feed(stream)) for _ in range(BATCH // 20))

    assert benchmark(read) == BATCH


def test_parse_in_pieces(benchmark: Any) -> None:
    """Pieces that end within events."""
    parser, stream = EventParser(), EVENT * BATCH
    pieces = [stream[i : i + 100] for i in range(0, len(stream), 100)]
    benchmark.extra_info["items"] = BATCH

    def read() -> int:
        return sum(len(parser.feed(piece)) for piece in pieces)

    assert benchmark(read) == BATCH


def test_parse_httpx_sse(benchmark: Any) -> None:
    """The lines are cut already, which ours do themselves."""
    decoder, lines = SSEDecoder(), EVENT.decode().split("\n")[:-1] * BATCH
    benchmark.extra_info["items"] = BATCH

    def read() -> int:
        return len([event for line in lines if (event := decoder.decode(line)) is not None])

    assert benchmark(read) == BATCH


def test_encode(benchmark: Any) -> None:
    benchmark.extra_info["items"] = BATCH

    def write() -> bytes:
        encoded = b""
        for _ in range(BATCH):
            encoded = encode_event(DATA, "tick", "1234")
        return encoded

    assert benchmark(write) == EVENT
