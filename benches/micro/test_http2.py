"""HTTP/2: header blocks, DATA frames, whole requests with their answers.

Each call takes a batch, so that the calls from Python do not count.
"""

import struct
from typing import Any

import hpack
import pytest

from fastnet_ext.http2.hpack import HpackDecoder, encode
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer

BATCH = 1000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FIELDS = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/users/42?verbose=true"),
    (b":authority", b"www.example.com"),
    (b"accept", b"text/html,application/xhtml+xml"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"),
]
CALL = [
    (b":scheme", b"http"),
    (b":method", b"POST"),
    (b":authority", b"localhost:8000"),
    (b":path", b"/greeter.Greeter/SayHello"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"grpc-python/1.80.0 grpc-c/50.0.0 (linux; chttp2)"),
    (b"grpc-accept-encoding", b"identity, deflate, gzip"),
]


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


@pytest.mark.parametrize("kind", ["indexed", "plain", "huffman"])
def test_block_of_8_fields(benchmark: Any, kind: str) -> None:
    decoder = HpackDecoder()
    if kind == "indexed":
        encoder = hpack.Encoder()
        decoder.decode(encoder.encode(FIELDS))
        block = encoder.encode(FIELDS)
        assert len(block) == 8
    else:
        block = encode(FIELDS, huffman=kind == "huffman")
    assert decoder.decode(block) == FIELDS
    benchmark.extra_info["items"] = BATCH
    assert benchmark(decoder.count, block, BATCH) == 8


def started() -> Peer:
    peer = Peer(limits=Limits(max_concurrent_streams=1 << 20, initial_window=1 << 30, connection_window=1 << 30))
    peer.receive(PREFACE + frame(4, 0, 0, b"") + frame(4, 1, 0, b""))
    peer.data_to_send()
    return peer


def heads(end_stream: bool, fields: list[tuple[bytes, bytes]]) -> tuple[bytes, list[bytes]]:
    """HEADERS that fills the dynamic table, and a batch of such that use it."""
    encoder = hpack.Encoder()
    first = frame(1, 5, 1, encoder.encode(fields))
    return first, [frame(1, 5 if end_stream else 4, 2 * n + 3, encoder.encode(fields)) for n in range(BATCH)]


def test_request(benchmark: Any) -> None:
    """An indexed head from frame to HeaderBlock, its stream opened; no answer."""
    first, batch = heads(True, FIELDS)
    data = b"".join(batch)

    def setup() -> tuple[tuple[Peer, bytes], dict[str, object]]:
        peer = started()
        peer.drain(first)
        return (peer, data), {}

    benchmark.extra_info["items"] = BATCH
    assert benchmark.pedantic(Peer.drain, setup=setup, rounds=50) == BATCH


@pytest.mark.parametrize("size", [16, 1024, 16384])
def test_data_frame(benchmark: Any, size: int) -> None:
    data = frame(0, 0, 1, bytes(size)) * BATCH

    def setup() -> tuple[tuple[Peer, bytes], dict[str, object]]:
        peer = started()
        peer.drain(frame(1, 4, 1, encode(FIELDS)))
        return (peer, data), {}

    benchmark.extra_info["items"] = BATCH
    assert benchmark.pedantic(Peer.drain, setup=setup, rounds=30) == BATCH


def test_unary_call(benchmark: Any) -> None:
    """Head and message in; head, message and trailers out; from Python, objects and all."""
    first, batch = heads(False, CALL)
    data = b"".join(head + frame(0, 1, 2 * n + 3, b"\0\0\0\0\x07\n\x05world") for n, head in enumerate(batch))
    answer = [(b":status", b"200"), (b"content-type", b"application/grpc")]
    trailers = [(b"grpc-status", b"0")]

    def serve(peer: Peer) -> int:
        for event in peer.receive(data):
            if event[0] == "data":
                peer.send_headers(event[1], answer)
                peer.send_data(event[1], event[2])
                peer.send_trailers(event[1], trailers)
        return len(peer.data_to_send())

    def setup() -> tuple[tuple[Peer], dict[str, object]]:
        peer = started()
        peer.drain(first)
        return (peer,), {}

    benchmark.extra_info["items"] = BATCH
    assert benchmark.pedantic(serve, setup=setup, rounds=30) > BATCH * 60
