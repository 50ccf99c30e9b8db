"""Replays the corpus of the WebSocket fuzzer and lets it run for a moment."""

import random
from itertools import islice

import pytest

from tests.fuzz.fuzz_websocket import AGREEMENTS, CORPUS, check, inputs
from tests.fuzz.harness import seeds
from tests.websocket.wire import receive_both_ways


@pytest.mark.parametrize("data", [pytest.param(content, id=name) for name, content in seeds(CORPUS)])
def test_the_corpus_still_holds(data: bytes) -> None:
    check(data, random.Random(0))
    for deflate in AGREEMENTS:
        receive_both_ways(data, deflate=deflate)
        receive_both_ways(data, role="client", deflate=deflate)


def test_mutations_of_the_corpus() -> None:
    for data, rng in islice(inputs(1), 500):
        check(data, rng)
