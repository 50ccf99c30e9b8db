"""A mutation fuzzer for the reader of ClientHellos.

    python -m tests.fuzz.fuzz_client_hello --seconds 60 --seed 1

Whatever the bytes: no exception but ValueError; the same answer however they are cut; and names that stand in the
bytes as they are, each behind its length, where the records leave them whole.
"""

import random
import sys

from fastnet_ext.tls.client_hello import offered_protocols
from tests.fuzz.harness import corpus_of, main, mutations, pieces
from tests.tls.hellos import EMPTY, NAME, alpn, extension, hello, records

CORPUS = corpus_of("client_hello")
LONGEST = 4096
PIECES = [
    b"\x16\x03\x01\x00",
    b"\x16\x03\x01\x40\x00",
    b"\x01\x00\x00",
    b"\x00\x10\x00",
    b"\x00\x10\xff\xff",
    alpn(b"h2"),
    alpn(b"foo", b"bar"),
    extension(16, b""),
    NAME,
    EMPTY,
    records(hello(alpn(b"h2", b"http/1.1"))),
    records(hello(NAME), 7),
]


def answer(parts: list[bytes]) -> list[bytes] | str | None:
    try:
        return offered_protocols(parts)
    except ValueError:
        return "unreadable"


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    whole = answer([data])
    for cut in (pieces(rng, data), [data[i : i + 1] for i in range(len(data))]):
        assert answer(cut) == whole
    if isinstance(whole, list):
        assert all(0 < len(name) < 256 for name in whole)
        if data.count(b"\x16\x03") == 1:
            assert b"".join(bytes([len(name)]) + name for name in whole) in data


inputs = mutations(CORPUS, lambda rng: rng.choice(PIECES), longest=LONGEST)


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
