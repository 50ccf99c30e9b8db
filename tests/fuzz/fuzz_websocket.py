"""A mutation fuzzer for the WebSocket session, both roles, without compression and with it.

    python -m tests.fuzz.fuzz_websocket --seconds 60 --seed 1

Starts from the files in corpus/websocket. Whatever the bytes: no exception; the same events and the
same answers however they are cut; nothing after the end; memory within the limit; and what we send
is well-formed. A failing input is written beside the corpus files, to be replayed by the tests from
then on.
"""

import random
import sys
import zlib

from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.extensions import DeflateAgreement, PerMessageDeflate, accept
from fastnet_ext.websocket.session import Limits
from tests.fuzz.harness import corpus_of, main, mutations
from tests.websocket.wire import CLOSE, KEY, PONG, Outcome, Role, frame, parse, receive

CORPUS = corpus_of("websocket")
SMALL = Limits(message=200, fragments=4)
LARGE = Limits()
LONGEST = 4096
# A session's buffer grows by doubling, from 512 bytes on.
FIRST_CAPACITY = 512
# What zlib keeps for the messages of a peer at most.
INFLATE_STATE = 40 * 1024


def agreed(*, keep: bool) -> DeflateAgreement | None:
    """What both ends of a connection agree on that keep their context from message to message, or do not."""
    return accept(
        "permessage-deflate",
        PerMessageDeflate(server_no_context_takeover=not keep, client_no_context_takeover=not keep, min_size=20),
    )


def deflated(data: bytes) -> bytes:
    """The payload of a compressed message."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


AGREEMENTS = (None, agreed(keep=True), agreed(keep=False))

# What is worth inserting: whole frames, headers, borders of lengths, bytes that break UTF-8, compressed messages and
# parts of them.
PIECES = [
    *(frame(opcode, b"ab", fin=fin, key=key) for opcode in range(16) for fin in (True, False) for key in (KEY, None)),
    *(bytes([b]) for b in (0, 1, 2, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 125, 126, 127, 0xFD, 0xFE, 0xFF)),
    *(b"\x00\x7d", b"\x00\x7e", b"\xff\xff", bytes(8), b"\x80" + bytes(7), b"\x00\x00\x00\x00\x00\x01\x00\x00"),
    *(b"\x03\xe8", b"\x03\xed", b"\x0b\xb8", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90", "é€𝄞".encode(), bytes(130)),
    *(frame(2, deflated(data), rsv=4) for data in (b"", b"ab", b"ab" * 90, bytes(10_000), bytes(range(256)))),
    *(frame(opcode, deflated(b"ab" * 50)[:3], fin=False, rsv=4) for opcode in (0, 1, 2)),
    *(frame(0, deflated(b"ab" * 50)[3:], fin=fin) for fin in (True, False)),
    *(b"\x00\x00\xff\xff", b"\x03\x00", b"\x03\x00\x00", frame(2, b"\x03\x00" * 8 + b"\x00", rsv=4)),
]


def check_outcome(outcome: Outcome, data: bytes, role: Role, limits: Limits, deflate: DeflateAgreement | None) -> None:
    """What holds for any input, by itself."""
    ends = [event for event in outcome.events if event[0] in ("close", "failed")]
    assert len(ends) <= 1
    assert not ends or outcome.events[-1] is ends[0]
    assert outcome.connection.state == {"close": "closed", "failed": "failed"}.get(ends[0][0] if ends else "", "open")
    contents = [event[1] for event in outcome.events if not isinstance(event[1], int)]
    sizes = [len(item.encode() if isinstance(item, str) else item) for item in contents]
    assert all(size <= max(limits.message, 125) for size in sizes)
    held = max(FIRST_CAPACITY, 2 * limits.message)
    if deflate is None:
        assert sum(sizes) <= len(data)
    else:
        held += INFLATE_STATE
    assert outcome.connection.held <= held
    # One Pong for each Ping, then one Close when it has ended; masked by clients only.
    pings = [event[1] for event in outcome.events if event[0] == "ping"]
    assert [sent.payload for sent in outcome.sent if sent.opcode == PONG] == pings
    assert [sent.opcode for sent in outcome.sent] == [PONG] * len(pings) + [CLOSE] * len(ends)
    assert all(sent.fin and sent.masked is (role == "client") and len(sent.payload) <= 125 for sent in outcome.sent)


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    for role in ("server", "client"):
        for deflate in AGREEMENTS:
            for limits in (SMALL, LARGE):
                whole = receive(data, role=role, limits=limits, deflate=deflate)
                check_outcome(whole, data, role, limits, deflate)
                ways = [sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))]
                if len(data) <= 400:
                    ways.append(list(range(1, len(data))))
                for cuts in ways:
                    pieces = receive(data, role=role, limits=limits, cuts=cuts, deflate=deflate)
                    assert seen(pieces, deflate) == seen(whole, deflate), (role, cuts)
            check_peer(data, role, deflate)


def seen(outcome: Outcome, deflate: DeflateAgreement | None) -> object:
    """What is the same however the input is cut.

    Of several faults in the contents of a compressed message (bad data, bad text, too much of it), which is found
    first depends on how much is decompressed at once.
    """
    events, sent = outcome.events, outcome.sent
    if deflate is not None and events and events[-1][0] == "failed" and events[-1][1] in (1007, 1009):
        return events[:-1], sent[:-1]
    return events, sent


def check_peer(data: bytes, role: Role, deflate: DeflateAgreement | None) -> None:
    """Bytes as a message, in frames of any kind, arrive as they were at the other end."""
    sender = Connection(role, deflate=deflate)
    half = len(data) // 2
    sender.send_bytes(data)
    sender.send_fragment(data[:half])
    sender.ping(data[:125])
    sender.send_fragment(data[half:], final=True)
    wire = sender.data_to_send()
    assert len(parse(wire)) == 4
    other = receive(wire, role="client" if role == "server" else "server", deflate=deflate)
    assert other.events == [("binary", data), ("ping", data[:125]), ("binary", data)]


def insert(rng: random.Random) -> bytes:
    return rng.choice(PIECES)


inputs = mutations(CORPUS, insert, longest=LONGEST)


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
