"""A mutation fuzzer for the HTTP/2 machine, both roles.

    python -m tests.fuzz.fuzz_http2 --seconds 60 --seed 1

Starts from the files in corpus/http2 and from random sequences of frames. Whatever the bytes: no exception; the same
events and answers however they are cut; events in an order that a driver can rely on; memory and output bounded by
the limits. A second pass lets a driver answer at random, where only the calls it makes wrongly may raise. A failing
input is written beside the corpus files, to be replayed by the tests from then on.
"""

import random
import sys

from fastnet_ext.http2.errors import ErrorCode, LocalProtocolError
from fastnet_ext.http2.hpack import encode
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer
from tests.fuzz.harness import Inputs, changed, corpus_of, main, pieces, seeds
from tests.http2.wire import GET, GOAWAY, OK, POST, PREFACE, WINDOW_UPDATE, Event, Frame, frame, frames, merged

CORPUS = corpus_of("http2")
TIGHT = Limits(
    max_concurrent_streams=3,
    header_list=400,
    header_table=128,
    initial_window=100,
    connection_window=65535,
    fields=6,
    continuations=2,
    resets=4,
    resets_per_second=0,
    glitches=20,
    glitches_per_second=0,
    empty_frames=3,
    settings_entries=8,
    control_queue=10,
    output=16384,
)
WIDE = Limits(enable_connect=True)
LONGEST = 4096
BLOCKS = [
    *(encode(fields) for fields in (GET, POST, OK, [(b"x", b"y")], [*POST, (b"content-length", b"3")])),
    *(encode(fields, huffman=True) for fields in (GET, [*GET, (b"cookie", b"a=1"), (b"cookie", b"b=2")])),
    *(b"\x82\x86\x84\x41\x01a", b"\x82\x86\x84\xbe", b"\x20\x82", b"\x3f\xe1\x1f", b"\x80", b"\x40\x01a\x01b" * 5, b""),
]


def random_frame(rng: random.Random) -> bytes:
    """A frame that may be well-formed."""
    kind = rng.choice((0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 0x10, 0x77))
    stream_id = rng.choice((0, 1, 1, 3, 3, 5, 7, 2, 0x7FFFFFFF))
    flags = rng.choice((0, 1, 4, 5, 5, 8, 0x0D, 0x25, 0xFF))
    number = rng.choice((0, 1, 5, 100, 65535, 0x7FFFFFFF, 0xFFFFFFFF)).to_bytes(4, "big")
    match kind:
        case 0:
            payload = rng.choice((b"", b"abc", bytes(rng.randrange(300))))
        case 1 | 9:
            block = rng.choice(BLOCKS)
            payload = (bytes([rng.randrange(4)]) if flags & 8 else b"") + (bytes(5) if flags & 0x20 else b"") + block
        case 4:
            payload = b"".join(
                rng.randrange(1, 10).to_bytes(2, "big") + rng.choice((number, bytes(4), b"\0\0\x40\0"))
                for _ in range(rng.randrange(4))
            )
        case 6 | 7:
            payload = number + number
        case 2:
            payload = number + b"\0"
        case 0x10:
            # PRIORITY_UPDATE (RFC 9218, 7.1): a stream and its priority field.
            chosen = rng.choice((bytes(4), b"\0\0\0\1", b"\0\0\0\3", b"\0\0\0\x09", number))
            payload = chosen + rng.choice((b"", b"u=0", b"u=7, i", b"i", b"u=9", b"u=", b"\xff", b"u=1, " * 60))
        case _:
            payload = number
    if rng.random() < 0.05:
        payload = payload[: rng.randrange(len(payload) + 1)] + bytes(rng.randrange(3))
    return frame(kind, flags, stream_id, payload)


def generated(rng: random.Random) -> bytes:
    return b"".join(random_frame(rng) for _ in range(rng.randrange(1, 20)))


def started(client: bool, limits: Limits) -> Peer:
    peer = Peer(client=client, limits=limits)
    if client:
        for _ in range(3):
            peer.send_headers(peer.open_stream(), GET, end_stream=True)
        peer.open_stream()
    peer.data_to_send()
    return peer


def read(parts: list[bytes], client: bool, limits: Limits) -> tuple[list[Event], list[Frame]]:
    """Events of an input in pieces, DATA merged, and the answers that do not depend on the pieces."""
    peer = started(client, limits)
    events: list[Event] = []
    for part in parts:
        events += peer.receive(part)
        assert peer.held_bytes < 500_000
        assert peer.open_streams <= (4 if client else limits.max_concurrent_streams + 1)
        if events and events[-1][0] == "failed":
            break
    sent = frames(peer.data_to_send())
    if events and events[-1][0] == "failed":
        assert sent[-1].type == GOAWAY
        assert sent[-1].number == events[-1][1]
    return merged(events), [f for f in sent if (f.type, f.stream_id) != (WINDOW_UPDATE, 0)]


def check_order(events: list[Event], client: bool) -> None:
    """Each stream: a head, data, one end or trailers or a reset. Nothing behind a failure."""
    state = {1: "head", 3: "head", 5: "head", 7: "idle"} if client else {}
    for index, event in enumerate(events):
        kind, stream_id = event[0], event[1] if len(event) > 1 else 0
        if kind in ("request", "too_large"):
            assert not client
            assert stream_id % 2
            assert stream_id not in state
            state[stream_id] = "body"
            if kind == "too_large" and event[4]:
                state[stream_id] = "ended"
        elif kind == "response":
            assert state[stream_id] == "head"
            state[stream_id] = "head" if event[2]["status"] < 200 else "body"
        elif kind == "data":
            assert state[stream_id] == "body"
        elif kind in ("end", "trailers"):
            assert state[stream_id] == "body"
            state[stream_id] = "ended"
        elif kind == "reset":
            # A request that has ended can still be reset; a client's stream that has ended is over.
            assert state[stream_id] != "over"
            assert not (client and state[stream_id] == "ended")
            state[stream_id] = "over"
        elif kind == "failed":
            assert index == len(events) - 1
            ErrorCode(event[1])
        else:
            assert kind in ("settings", "goaway")
        if kind in ("request", "response", "trailers"):
            for name, value in event[-1] if kind == "trailers" else event[3]:
                assert name
                assert not name.startswith(b":")
                assert name == name.lower()
                assert not set(value) & set(b"\r\n\x00\x7f")
                assert value == value.strip(b" \t")


def act(peer: Peer, rng: random.Random, events: list[Event]) -> None:
    """What a driver might do, right or wrong, at some moment."""
    streams = [event[1] for event in events if len(event) > 1] or [1]
    for _ in range(rng.randrange(4)):
        stream_id = rng.choice(streams)
        end = rng.random() < 0.5
        try:
            match rng.randrange(10):
                case 0 | 1:
                    peer.send_headers(stream_id, OK, end_stream=end)
                case 2 | 3 | 4:
                    peer.send_data(stream_id, bytes(rng.choice((0, 1, 500, 5000, 70000))), end_stream=end)
                case 5:
                    peer.send_trailers(stream_id, [(b"x", b"y")])
                case 6:
                    peer.reset(stream_id, 8)
                case 7:
                    peer.acknowledge(stream_id, rng.choice((0, 1, 100, 1 << 20)))
                case 8:
                    peer.set_context(stream_id, object())
                case 9:
                    peer.pump()
        except LocalProtocolError:
            pass


def check_with_answers(parts: list[bytes], rng: random.Random, client: bool, limits: Limits) -> None:
    peer = started(client, limits)
    for part in parts:
        if rng.random() < 0.5:
            peer.receive(part, 0.0, lambda event: act(peer, rng, [event]))
        else:
            act(peer, rng, peer.receive(part))
        if rng.random() < 0.5:
            frames(peer.data_to_send())
    peer.receive(b"")
    frames(peer.data_to_send())
    peer.clear()
    assert peer.open_streams == 0


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    for client in (False, True):
        received = data if client or rng.random() < 0.05 else PREFACE + data
        for limits in (TIGHT, WIDE):
            events, sent = read([received], client, limits)
            check_order(events, client)
            assert read(pieces(rng, received), client, limits) == (events, sent)
            if len(received) <= 600:
                assert read([received[i : i + 1] for i in range(len(received))], client, limits) == (events, sent)
            check_with_answers(pieces(rng, received), rng, client, limits)


def inputs(seed: int) -> Inputs:
    """Endless inputs, the same for the same seed."""
    rng = random.Random(seed)
    contents = [content for _, content in seeds(CORPUS)]
    beginning = frame(4) + frame(4, 1)
    while True:
        data = rng.choice(contents) if rng.random() < 0.5 else beginning + generated(rng)
        yield changed(rng, data, contents, random_frame, changes=(0, 1, 1, 2, 3), longest=LONGEST), rng


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
