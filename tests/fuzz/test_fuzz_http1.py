"""Replays the corpus of the HTTP/1 fuzzer and lets it run for a moment."""

import random
from itertools import islice

import pytest

from tests.fuzz.fuzz_http1 import CORPUS, check, inputs
from tests.fuzz.harness import seeds
from tests.http1.reading import read_every_way


@pytest.mark.parametrize("data", [pytest.param(content, id=name) for name, content in seeds(CORPUS)])
def test_the_corpus_still_holds(data: bytes) -> None:
    check(data, random.Random(0))
    if len(data) <= 1000:
        read_every_way(data)
        read_every_way(data, client=True)


def test_mutations_of_the_corpus() -> None:
    for data, rng in islice(inputs(1), 1000):
        check(data, rng)
