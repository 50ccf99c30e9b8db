"""A mutation fuzzer for the HTTP/1 reader, both roles.

    python -m tests.fuzz.fuzz_http1 --seconds 60 --seed 1

Starts from the files in corpus/http1. Whatever the bytes: no exception; the same events however
they are cut; events in an order that a driver can rely on; all of it bounded by the input. A
failing input is written beside the corpus files, to be replayed by the tests from then on.
"""

import random
import sys

from fastnet_ext.http1.reader import Limits
from tests.fuzz.harness import corpus_of, main, mutations, pieces
from tests.http1.reading import Outcome, agree, bytewise, read

CORPUS = corpus_of("http1")
SMALL = Limits(request_line=128, head=256, fields=5, chunk_extensions=8, trailers=128)
LARGE = Limits(fields=1024)
METHODS = [b"GET", b"HEAD", b"CONNECT"]
STATUSES = {400, 414, 417, 431, 501, 502, 505}
LONGEST = 4096

# What is worth inserting: delimiters, framing, borders of numbers and of the scanners' wide loads.
PIECES = [
    *(bytes([b]) for b in b'\r\n\t :;,="\\/?#*[]@%\x00\x01\x0b\x1f\x7f\x80\xff0aA-'),
    *(b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b" \r\n", b"\r\n ", b"0\r\n\r\n", b"1\r\na\r\n", b"a" * 16, b"b" * 70),
    *(b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 x\r\n\r\n", b" HTTP/1.0", b" HTTP/2.0", b"PRI * "),
    *(b"Host: a\r\n", b"Host:", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: gzip\r\n", b"chunked", b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n"),
    *(
        b"Expect: 100-continue\r\n",
        b"7fffffffffffffff",
        b"8000000000000000",
        b"9223372036854775808",
        b";a=b",
        b';a="b"',
    ),
    *(b"http://a", b"https://[::1]:8/", b"CONNECT a:1 ", b"OPTIONS * ", b"X: y\r\n" * 6),
]


def check_order(outcome: Outcome, data: bytes, client: bool) -> None:
    """Heads, then data, then one end; failures last; nothing that is not in the input."""
    inside = False
    for index, event in enumerate(outcome.events):
        kind = event[0]
        if kind == "head":
            assert not inside
            inside = not client or not 100 <= event[1]["status"] < 200 or event[1]["status"] == 101
            for name, value in event[2]:
                assert name
                assert name.decode("ascii").lower() == name.decode("ascii")
                assert not set(value) & set(b"\r\n\x00\x7f")
                assert value == value.strip(b" \t")
        elif kind == "data":
            assert inside
            assert event[1]
        elif kind == "end":
            assert inside
            inside = False
        else:
            assert index == len(outcome.events) - 1
            assert outcome.end == "failed"
            assert kind == "not_http" or (event[1] in STATUSES and event[2].endswith("."))
    assert sum(len(event[1]) for event in outcome.events if event[0] == "data") <= len(data)
    assert len(outcome.unread) <= len(data)
    assert len(outcome.events) <= len(data) + 1
    if outcome.end == "end":
        assert client
        assert inside


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    for client in (False, True):
        method = rng.choice(METHODS)
        for limits in (SMALL, LARGE):
            whole = read(data, limits=limits, client=client, method=method)
            check_order(whole, data, client)
            cut = read(pieces(rng, data), limits=limits, client=client, method=method)
            agree(whole, cut, data, "in pieces")
            if len(data) <= 600:
                cut = read(bytewise(data), limits=limits, client=client, method=method)
                agree(whole, cut, data, "byte by byte")


def insert(rng: random.Random) -> bytes:
    return rng.choice(PIECES)


inputs = mutations(CORPUS, insert, longest=LONGEST)


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
