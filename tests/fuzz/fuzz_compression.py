"""A mutation fuzzer for the negotiation of codings and for what decompresses.

    python -m tests.fuzz.fuzz_compression --seconds 60 --seed 1

The first byte of an input says what it is for: an Accept-Encoding, on which the reader and its slow model must agree,
or a body of one of the codings. Whatever the bytes of a body: nothing but DecompressionError; never more than the
bound; the same bytes however it is cut; and what comes out, compressed again, comes out again.
"""

import random
import sys

from fastnet_ext.compression.codecs import CODINGS, Decompressor, compress, decompress
from fastnet_ext.compression.errors import DecompressionError
from fastnet_ext.compression.libraries import CodingName
from fastnet_ext.compression.negotiation import Negotiator
from tests.compression.models import choose
from tests.fuzz.harness import corpus_of, main, mutations, pieces

CORPUS = corpus_of("compression")
LONGEST = 2048
BOUND = 64 * 1024
OFFERED: tuple[tuple[CodingName, ...], ...] = (("zstd", "br", "gzip", "deflate"), ("gzip", "br"), ("deflate",))
NEGOTIATORS = [(Negotiator(offered), offered) for offered in OFFERED]
TEXTS = [
    *(b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"identity", b"*", b"compress", b"GZIP"),
    *(b";q=", b"; q=0", b";Q=0.5", b"q", b"0.001", b"1.000", b"1.001", b",", b", ", b" ", b"\t", b"\0", b"\xff"),
]


def read(parts: list[bytes], coding: CodingName) -> bytes | None:
    """What comes out; None of what is refused, as damaged or as too large: what is both may be either."""
    reader, out = Decompressor(coding, max_size=BOUND), b""
    try:
        for part in parts:
            out += reader.decompress(part)
            assert len(out) <= BOUND
        reader.finish()
    except DecompressionError:
        return None
    return out


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    kind, body = (data[:1] or b"a")[0] % 5, data[1:]
    if kind == 0:
        for negotiator, offered in NEGOTIATORS:
            got = negotiator.choose(body, 5000, b"text/plain")
            assert got == choose(body.decode("latin-1"), offered), offered
        return
    coding = CODINGS[kind - 1]
    whole = read([body], coding)
    assert read(pieces(rng, body), coding) == whole
    if whole is not None:
        assert decompress(body, coding, max_size=len(whole)) == whole
        assert decompress(compress(whole, coding), coding) == whole


def insert(rng: random.Random) -> bytes:
    return rng.choice(TEXTS) if rng.random() < 0.6 else rng.randbytes(rng.choice((1, 2, 4, 8)))


inputs = mutations(CORPUS, insert, longest=LONGEST)


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
