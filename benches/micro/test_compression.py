"""Negotiation of a browser's Accept-Encoding, and what an answer of 20 KB of JSON costs beside the library call itself.

An answer goes from a handler's bytes through all that the framework does, onto a carrier in memory. The same answer
without compression is subtracted, so that neither the handler nor the exchange counts.
"""

import time
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import orjson
import pytest

from fastnet.compression import CODINGS, CodingName, Compression
from fastnet_ext.compression import libraries
from fastnet_ext.compression.negotiation import Negotiator
from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallPlan

CHOICES = 1_000
BROWSER = b"gzip, deflate, br, zstd"
WEIGHTED = b"gzip;q=0.8, deflate;q=0.5, br;q=1.0, zstd;q=0.9, *;q=0.1"
JSON = b"application/json"
ROUNDS = 40

ROWS = orjson.dumps(
    [{"id": n, "name": f"user {n}", "email": f"user{n}@example.com", "score": n * 37 % 1009} for n in range(280)]
)


def _choices(choose: Callable[[bytes, int, bytes], object], accept: bytes) -> None:
    # Ten to a turn, so that the loop itself hardly counts.
    for _ in range(CHOICES // 10):
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)
        choose(accept, 20_000, JSON)


@pytest.mark.parametrize("accept", [BROWSER, WEIGHTED], ids=["browser", "weighted"])
def test_negotiate(benchmark: Any, accept: bytes) -> None:
    negotiator = Compression().engine.negotiator
    assert isinstance(negotiator, Negotiator)
    assert negotiator.choose(accept, 20_000, JSON) == ("zstd" if accept is BROWSER else "br")
    benchmark.extra_info["items"] = CHOICES
    benchmark(_choices, negotiator.choose, accept)


def by_library(coding: str) -> Callable[[], bytes]:
    """The library call itself, at the level that is the usual one here."""
    if coding == "br":
        return lambda: bytes(brotli.compress(ROWS, quality=4))
    if coding == "zstd":
        assert libraries.ZSTD is not None
        whole = libraries.ZSTD.compress
        return lambda: bytes(whole(ROWS, 3))
    deflate = libraries.deflating(6).compress
    return lambda: bytes(deflate(ROWS, 6, zlib.MAX_WBITS + 16 if coding == "gzip" else zlib.MAX_WBITS))


def by_framework(coding: str, compression: Compression | None) -> Callable[[], bytes]:
    """An answer of a handler, as it is sent."""
    endpoint = HttpEndpoint(CallPlan(lambda: ROWS, []), mode="inline")
    endpoint.compression = None if compression is None else compression.engine
    route = Route(endpoint)

    def answer() -> bytes:
        x = MemoryExchange(headers=[(b"accept-encoding", coding.encode())], route=route)
        x.run()
        return x.content

    return answer


def least(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds of the fastest call of each; they take turns, so that all see the machine as it is."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            for _ in range(10):
                start = time.perf_counter()
                call()
                best[i] = min(best[i], time.perf_counter() - start)
    return best


@pytest.mark.parametrize("coding", CODINGS)
def test_an_answer_over_the_library(benchmark: Any, coding: CodingName) -> None:
    """``over``: by how much the framework's part is more than the library call; below 0 where contexts are reused."""
    # Handlers' bytes are of no type that is worth it, by themselves.
    compression = Compression(media_types=["application/octet-stream"])
    library, coded, plain = by_library(coding), by_framework(coding, compression), by_framework(coding, None)
    assert (len(coded()), plain()) == (len(library()), ROWS)
    of_library, of_coded, of_plain = least([library, coded, plain])
    benchmark.extra_info["library_us"] = round(of_library * 1e6, 1)
    benchmark.extra_info["over"] = round((of_coded - of_plain) / of_library - 1, 3)
    benchmark(coded)
