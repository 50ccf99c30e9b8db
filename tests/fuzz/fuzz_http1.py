"""A mutation fuzzer for the HTTP/1 reader, both roles.

    python -m tests.fuzz.fuzz_http1 --seconds 60 --seed 1

Starts from the files in corpus/http1. Whatever the bytes: no exception; the same events however
they are cut; events in an order that a driver can rely on; all of it bounded by the input. A
failing input is written beside the corpus files, to be replayed by the tests from then on.
"""

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from fastnet_ext.http1.reader import Limits  # noqa: E402
from tests.http1.reading import Outcome, agree, bytewise, read  # noqa: E402

CORPUS = Path(__file__).parent / "corpus" / "http1"
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


def seeds() -> list[tuple[str, bytes]]:
    """The corpus: names and contents, in order."""
    return [(path.name, path.read_bytes()) for path in sorted(CORPUS.iterdir())]


def mutated(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A few random changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(data) + 1)
        until = min(len(data), at + rng.choice((1, 1, 2, 4, 16)))
        match rng.randrange(7):
            case 0:
                data = data[:at] + rng.choice(PIECES) + data[at:]
            case 1:
                data = data[:at] + rng.choice(PIECES) + data[until:]
            case 2:
                data = data[:at] + data[until:]
            case 3:
                data = data[:at] + data[at:until] * rng.choice((2, 3, 20)) + data[until:]
            case 4:
                data = data[:at] + bytes([rng.randrange(256)]) + data[until:]
            case 5:
                other = rng.choice(others)
                data = data[:at] + other[rng.randrange(len(other) + 1) :]
            case 6:
                data = data[:at]
    return data[:LONGEST]


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    places = sorted({0, len(data), *(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))})
    return [data[a:b] for a, b in pairwise(places)]


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


def inputs(seed: int) -> Iterator[tuple[bytes, random.Random]]:
    """Endless mutations of the corpus, the same for the same seed."""
    rng = random.Random(seed)
    contents = [content for _, content in seeds()]
    while True:
        yield mutated(rng, rng.choice(contents), contents), rng


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    end, count = time.monotonic() + options.seconds, 0
    for data, rng in inputs(options.seed):
        if time.monotonic() >= end:
            break
        count += 1
        try:
            check(data, rng)
        except Exception:
            path = CORPUS / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
            path.write_bytes(data)
            print(f"input {count} of seed {options.seed} fails; written to {path}", file=sys.stderr)
            raise
    print(f"{count} inputs, all well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
