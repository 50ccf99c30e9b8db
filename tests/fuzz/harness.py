"""What the fuzzers share: a corpus, random changes to it, and a loop that keeps what fails.

A fuzzer is a file ``fuzz_NAME.py`` with ``check(data, rng)``, which raises when an invariant does not hold, and
``inputs(seed)``, an endless iterator over ``(data, rng)`` that is the same for the same seed. What fails is written to
``corpus/NAME/``, where the tests replay it for ever after.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

__all__ = ["Inputs", "changed", "corpus_of", "main", "mutations", "pieces", "seeds"]

Inputs = Iterator[tuple[bytes, random.Random]]


def corpus_of(name: str) -> Path:
    """The folder of a fuzzer's corpus."""
    return Path(__file__).parent / "corpus" / name


def seeds(corpus: Path) -> list[tuple[str, bytes]]:
    """The corpus: names and contents, in order."""
    return [(path.name, path.read_bytes()) for path in sorted(corpus.iterdir())]


def changed(
    rng: random.Random,
    data: bytes,
    others: Sequence[bytes],
    insert: Callable[[random.Random], bytes],
    *,
    changes: Sequence[int] = (1, 1, 1, 2, 3, 6),
    longest: int,
) -> bytes:
    """``data`` after a few random changes, as many as one of ``changes``; ``insert`` makes what is put into it."""
    for _ in range(rng.choice(changes)):
        at = rng.randrange(len(data) + 1)
        until = min(len(data), at + rng.choice((1, 1, 2, 4, 16)))
        match rng.randrange(7):
            case 0:
                data = data[:at] + insert(rng) + data[at:]
            case 1:
                data = data[:at] + insert(rng) + data[until:]
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
    return data[:longest]


def mutations(corpus: Path, insert: Callable[[random.Random], bytes], *, longest: int) -> Callable[[int], Inputs]:
    """The ``inputs`` of most fuzzers: endless mutations of the corpus."""

    def inputs(seed: int) -> Inputs:
        rng = random.Random(seed)
        contents = [content for _, content in seeds(corpus)]
        while True:
            yield changed(rng, rng.choice(contents), contents, insert, longest=longest), rng

    return inputs


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """``data`` cut at up to five random places."""
    places = sorted({0, len(data), *(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))})
    return [data[a:b] for a, b in pairwise(places)]


def main(
    description: str | None,
    corpus: Path,
    check: Callable[[bytes, random.Random], None],
    inputs: Callable[[int], Inputs],
) -> int:
    """Check inputs for ``--seconds``; raises what the first failing one raises, after keeping it in the corpus."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
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
            path = corpus / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
            path.write_bytes(data)
            print(f"input {count} of seed {options.seed} fails; written to {path}", file=sys.stderr)
            raise
    print(f"{count} inputs, all well")
    return 0
