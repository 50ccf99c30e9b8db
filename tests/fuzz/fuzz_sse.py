"""A mutation fuzzer for the parser and the encoder of event streams.

    python -m tests.fuzz.fuzz_sse --seconds 60 --seed 1

Whatever the bytes: no exception; the same events however the stream is cut; memory within the limits; and each
event, encoded again, is parsed to the same.
"""

import random
import sys

from fastnet_ext.sse.encoder import encode_event
from fastnet_ext.sse.parser import EventParser, ServerEvent
from tests.fuzz.harness import corpus_of, main, mutations, pieces

CORPUS = corpus_of("sse")
LONGEST = 4096
LIMITS = ((1, 1), (7, 3), (64, 40), (1 << 20, 1 << 20))
PIECES = [
    *(b"data:", b"data: ", b"data", b"event: ", b"id: ", b"id", b"retry: ", b":", b" ", b"\xef\xbb\xbf"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b"\0", b"99999999999999999999"),
    *(b"\xff", b"\xe2\x82", b"\xe2\x82\xac", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"x" * 70),
]


def read(parts: list[bytes], max_line: int, max_event: int) -> tuple[list[ServerEvent], str | None, int | None, str]:
    parser = EventParser(max_line, max_event)
    events: list[ServerEvent] = []
    for part in parts:
        events += parser.feed(part)
        assert parser.memory <= 2 * max(512, max_line) + 2 * max(512, max_event)
    return events, parser.failure, parser.retry, parser.last_event_id


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    for limits in LIMITS:
        whole = read([data], *limits)
        for parts in (pieces(rng, data), [data[i : i + 1] for i in range(len(data))]):
            assert read(parts, *limits) == whole, limits
    for event in whole[0]:
        again = EventParser(1 << 22, 1 << 22).feed(encode_event(event.data, event=event.event, id=event.id))
        if "\r" not in event.data:
            assert again == [event]


def insert(rng: random.Random) -> bytes:
    return rng.choice(PIECES)


inputs = mutations(CORPUS, insert, longest=LONGEST)


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
