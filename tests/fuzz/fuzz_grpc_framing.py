"""A mutation fuzzer for gRPC's message framing and its header fields.

    python -m tests.fuzz.fuzz_grpc_framing --seconds 60 --seed 1

Whatever the bytes: no exception but ValueError for metadata that is not base64; the same messages
however the stream is cut, and no other than a five-line reader finds; memory within the limit;
fields that decode to something encode and decode to the same again.
"""

import random
import sys
from itertools import pairwise

from fastnet_ext.grpc import fields
from fastnet_ext.grpc.framing import MessageReader, frame
from tests.fuzz.harness import corpus_of, main, mutations

CORPUS = corpus_of("grpc_framing")
LONGEST = 2048
LIMITS = (0, 3, 40, 1 << 22)
FLAGS = (0x00, 0x01, 0x81, 0x03)
PIECES = [
    *(frame(b"ab", flag) for flag in (0, 1, 2, 0x80, 0x81, 0xFF)),
    *(frame(b""), frame(bytes(40)), frame(bytes(41)), bytes(5), b"\x00\xff\xff\xff\xff", b"\x00\x00\x40\x00\x00"),
    *(
        b"%",
        b"%4",
        b"%41",
        b"%c3%a9",
        b"%FF",
        b"AAAA",
        b"AA==",
        b"AAA=",
        b",",
        b" , ",
        b"=",
        b"99999999",
        b"n",
        b"H",
        b"u",
    ),
]

Events = list[tuple[str, int, bytes]]


def naive(data: bytes, limit: int, flags: int) -> Events:
    """What is in a stream, read from its whole."""
    events: Events = []
    while len(data) >= 5:
        flag, size = data[0], int.from_bytes(data[1:5])
        if flag & ~flags or size > limit:
            return [*events, ("failed", 13 if flag & ~flags else 8, b"")]
        if len(data) < 5 + size:
            break
        events.append(("message", flag, data[5 : 5 + size]))
        data = data[5 + size :]
    return events


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    limit, flags = rng.choice(LIMITS), rng.choice(FLAGS)
    expected = naive(data, limit, flags)
    random_cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    for cuts in ([], random_cuts, list(range(1, len(data)))):
        reader = MessageReader(limit, flags)
        events: Events = []
        for a, b in pairwise([0, *cuts, len(data)]):
            for kind, number, content in reader.feed(data[a:b]):
                events.append((kind, number, content if isinstance(content, bytes) else b""))
            assert reader.memory <= max(512, 2 * limit)
        assert events == expected, cuts
    check_fields(data[:200])


def check_fields(data: bytes) -> None:
    text = fields.decode_message(data)
    assert fields.decode_message(fields.encode_message(text)) == text
    timeout = fields.timeout_microseconds(data)
    assert timeout is None or (timeout >= 0 and len(data) <= 9)
    assert fields.decode_binary(fields.encode_binary(data)) == [data]
    try:
        values = fields.decode_binary(data)
    except ValueError:
        return
    assert fields.decode_binary(b",".join(map(fields.encode_binary, values))) == values


def insert(rng: random.Random) -> bytes:
    return rng.choice(PIECES)


inputs = mutations(CORPUS, insert, longest=LONGEST)


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
