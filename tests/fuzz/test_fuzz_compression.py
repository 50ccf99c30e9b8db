"""Replays the corpus of the fuzzer of compression and lets it run for a moment."""

import random
from itertools import islice

import pytest

from tests.fuzz.fuzz_compression import CORPUS, check, inputs
from tests.fuzz.harness import seeds


@pytest.mark.parametrize("data", [pytest.param(content, id=name) for name, content in seeds(CORPUS)])
def test_the_corpus_still_holds(data: bytes) -> None:
    for seed in range(20):
        check(data, random.Random(seed))


def test_mutations_of_the_corpus() -> None:
    for data, rng in islice(inputs(1), 600):
        check(data, rng)
