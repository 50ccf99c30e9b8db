"""Messages through permessage-deflate: RFC 7692, sections 6 and 7.2; input whole and byte by byte."""

import os
import random
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.deflate import Compressors
from fastnet_ext.websocket.extensions import DeflateAgreement, PerMessageDeflate, accept, agree, offer
from fastnet_ext.websocket.session import Limits
from tests.websocket.test_session import assert_failed
from tests.websocket.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Role,
    frame,
    parse,
    receive,
    receive_both_ways,
)

TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")


def agreed(*, keep: bool, **options: Any) -> DeflateAgreement:
    """Both ends keep their context between messages, or neither does."""
    wanted = PerMessageDeflate(server_no_context_takeover=not keep, client_no_context_takeover=not keep, **options)
    agreement = accept("permessage-deflate; client_max_window_bits", wanted)
    assert agreement is not None
    return agreement


KEEP, FORGET = agreed(keep=True), agreed(keep=False)
both = pytest.mark.parametrize("deflate", [pytest.param(KEEP, id="keep"), pytest.param(FORGET, id="forget")])


def packed(data: bytes, *, bits: int = 15, level: int = 6) -> bytes:
    """A message compressed by zlib itself."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def unpacked(payload: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(payload + TAIL)


class TestExamples:
    """Section 7.2.3, from a server to a client."""

    @both
    @pytest.mark.parametrize(
        "wire",
        [
            pytest.param("c1 07 f2 48 cd c9 c9 07 00", id="one block"),
            pytest.param("41 03 f2 48 cd 80 04 c9 c9 07 00", id="two frames"),
            pytest.param("c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00", id="a block without compression"),
            pytest.param("c1 08 f3 48 cd c9 c9 07 00 00", id="a block with BFINAL"),
            pytest.param("c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00", id="two blocks"),
        ],
    )
    def test_each_is_hello(self, wire: str, deflate: DeflateAgreement) -> None:
        data = bytes.fromhex(wire)
        assert receive_both_ways(data, role="client", deflate=deflate).events == [("text", "Hello")]
        twice = receive_both_ways(data * 2, role="client", deflate=deflate)
        assert twice.events == [("text", "Hello")] * 2

    def test_the_window_is_shared_by_messages_where_it_is_kept(self) -> None:
        data = bytes.fromhex("c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00")
        assert receive_both_ways(data, role="client", deflate=KEEP).events == [("text", "Hello")] * 2
        assert assert_failed(receive_both_ways(data, role="client", deflate=FORGET), 1007, before=1) == (
            "compressed data is not valid"
        )

    def test_what_we_send_is_the_example(self) -> None:
        connection = Connection("server", deflate=agreed(keep=True, min_size=1))
        connection.send_text("Hello")
        connection.send_text("Hello")
        assert connection.data_to_send() == bytes.fromhex("c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00")


class TestReservedBits:
    """Section 6: RSV1 is of the first frame of a compressed message, and of no other."""

    @both
    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    def test_not_on_control_frames(self, opcode: int, deflate: DeflateAgreement) -> None:
        assert_failed(receive_both_ways(frame(opcode, rsv=4), deflate=deflate), 1002)

    @both
    @pytest.mark.parametrize("first", [0, 4])
    def test_not_on_continuations(self, first: int, deflate: DeflateAgreement) -> None:
        data = frame(TEXT, HELLO[:3] if first else b"Hel", fin=False, rsv=first)
        assert_failed(receive_both_ways(data + frame(CONTINUATION, HELLO[3:], rsv=4), deflate=deflate), 1002)

    @both
    @pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
    def test_no_other_bit(self, rsv: int, deflate: DeflateAgreement) -> None:
        assert_failed(receive_both_ways(frame(TEXT, HELLO, rsv=rsv), deflate=deflate), 1002)

    def test_none_without_the_extension(self) -> None:
        assert_failed(receive_both_ways(frame(TEXT, HELLO, rsv=4)), 1002)

    @both
    def test_messages_may_come_without(self, deflate: DeflateAgreement) -> None:
        data = frame(TEXT, b"plain") + frame(TEXT, HELLO, rsv=4) + frame(BINARY, b"plain")
        expected = [("text", "plain"), ("text", "Hello"), ("binary", b"plain")]
        assert receive_both_ways(data, deflate=deflate).events == expected


class TestReceiving:
    @both
    @pytest.mark.parametrize("payload", [b"", b"\x00", b"\x02\x00"])
    def test_empty_messages(self, payload: bytes, deflate: DeflateAgreement) -> None:
        data = frame(TEXT, payload, rsv=4) * 2 + frame(TEXT, HELLO, rsv=4)
        assert receive_both_ways(data, deflate=deflate).events == [("text", "")] * 2 + [("text", "Hello")]

    @both
    def test_empty_fragments_and_control_frames_between(self, deflate: DeflateAgreement) -> None:
        data = frame(TEXT, fin=False, rsv=4) + frame(PING, b"x") + frame(CONTINUATION, HELLO[:2], fin=False)
        data += frame(CONTINUATION, fin=False) + frame(CONTINUATION, HELLO[2:], fin=False) + frame(CONTINUATION)
        assert receive_both_ways(data, deflate=deflate).events == [("ping", b"x"), ("text", "Hello")]

    @both
    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(b"\xff\xff\xff", id="no block type"),
            pytest.param(b"\x00\x05\x00\x00\x00Hello", id="lengths that differ"),
            pytest.param(b"Hello", id="not compressed"),
            pytest.param(zlib.compress(b"Hello"), id="with zlib's header"),
        ],
    )
    def test_bad_data(self, payload: bytes, deflate: DeflateAgreement) -> None:
        outcome = receive_both_ways(frame(TEXT, payload, rsv=4), deflate=deflate)
        assert assert_failed(outcome, 1007) == "compressed data is not valid"

    def test_a_block_that_does_not_end(self) -> None:
        """Known where the stream ends with the message; otherwise the next message shows it, or never."""
        payload = packed(b"a text that is longer than one block of DEFLATE needs to be" * 9)
        for cut in (*(payload[:size] for size in range(1, len(payload) - 1)), payload + TAIL):
            outcome = receive(frame(BINARY, cut, rsv=4), deflate=FORGET)
            assert assert_failed(outcome, 1007) == "compressed data is not valid", cut

    @both
    def test_text_is_held_to_utf8_as_soon_as_it_can_be(self, deflate: DeflateAgreement) -> None:
        payload = packed("über".encode() + b"\xff" + os.urandom(500))
        outcome = receive(frame(TEXT, payload, rsv=4)[:400], deflate=deflate)
        assert assert_failed(outcome, 1007) == "text is not valid UTF-8"
        assert_failed(receive_both_ways(frame(TEXT, packed("ü".encode()[:1]), rsv=4), deflate=deflate), 1007)

    @both
    @pytest.mark.parametrize("blocks", [1, 2, 16])
    def test_blocks_with_bfinal(self, blocks: int, deflate: DeflateAgreement) -> None:
        """Each ends a stream of zlib's; the message goes on, and the next one too."""
        part = zlib.compressobj(wbits=-15)
        final = part.compress(b"Hello") + part.flush()
        data = frame(TEXT, final * blocks + b"\x00", rsv=4) + frame(TEXT, final * blocks, rsv=4)
        data += frame(TEXT, HELLO, rsv=4)
        expected = [("text", "Hello" * blocks)] * 2 + [("text", "Hello")]
        assert receive_both_ways(data, deflate=deflate).events == expected

    @both
    def test_what_follows_a_block_with_bfinal_may_refer_to_what_was_before(self, deflate: DeflateAgreement) -> None:
        before = random.Random(1).randbytes(1000)
        first, second = zlib.compressobj(wbits=-15), zlib.compressobj(wbits=-15, zdict=before)
        payload = first.compress(before) + first.flush() + second.compress(before) + second.flush(zlib.Z_SYNC_FLUSH)
        assert len(payload) < 1100
        data = frame(BINARY, payload[:-4], rsv=4)
        assert receive_both_ways(data, deflate=deflate).events == [("binary", before * 2)]

    @both
    @pytest.mark.limit("WebSocket: blocks with BFINAL of a compressed message", memory=True)
    def test_too_many_blocks_with_bfinal(self, deflate: DeflateAgreement) -> None:
        """Each costs a decompressor and a copy of what follows: a message of nothing else is no message."""
        data = frame(TEXT, b"\x03\x00" * 17 + b"\x00", rsv=4)
        assert assert_failed(receive_both_ways(data, deflate=deflate), 1007) == "compressed data is not valid"
        outcome = receive(frame(TEXT, b"\x03\x00" * 400_000, rsv=4), deflate=deflate)
        assert_failed(outcome, 1007)
        assert outcome.connection.held == 0

    @pytest.mark.parametrize("bits", range(8, 16))
    def test_windows_of_the_peer(self, bits: int) -> None:
        """A peer that says 8 may be zlib, whose smallest is 9."""
        wanted = PerMessageDeflate(server_no_context_takeover=False, client_no_context_takeover=False)
        deflate = accept(f"permessage-deflate; client_max_window_bits={bits}", wanted)
        assert deflate is not None
        text = random.Random(bits).randbytes(400).hex()
        compressor = zlib.compressobj(9, zlib.DEFLATED, -max(bits, 9))
        data = b""
        for _ in range(100):
            payload = compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
            data += frame(TEXT, payload[:-4], rsv=4)
        assert receive(data, deflate=deflate).events == [("text", text)] * 100


class TestLimits:
    @both
    @pytest.mark.limit("WebSocket: message, all its fragments", memory=True)
    def test_a_bomb(self, deflate: DeflateAgreement) -> None:
        bomb = packed(bytes(200 << 20))
        assert len(bomb) < 1 << 18
        outcome = receive(frame(BINARY, bomb, rsv=4), deflate=deflate)
        assert assert_failed(outcome, 1009) == "message too big"
        assert outcome.connection.held == 0

    @both
    @pytest.mark.parametrize("pieces", [1, 3])
    def test_the_limit_is_of_what_comes_out(self, pieces: int, deflate: DeflateAgreement) -> None:
        limits = Limits(message=1000)
        for size, fits in ((1000, True), (1001, False)):
            payload = packed(b"x" * size)
            cuts = [len(payload) * i // pieces for i in range(pieces + 1)]
            parts = [payload[a:b] for a, b in pairwise(cuts)]
            data = b"".join(
                frame(CONTINUATION if i else BINARY, part, fin=i == pieces - 1, rsv=0 if i else 4)
                for i, part in enumerate(parts)
            )
            outcome = receive_both_ways(data, limits=limits, deflate=deflate)
            if fits:
                assert outcome.events == [("binary", b"x" * size)]
            else:
                assert_failed(outcome, 1009)

    @both
    def test_data_that_does_not_compress_may_have_the_size_of_the_limit(self, deflate: DeflateAgreement) -> None:
        content = os.urandom(1 << 20)
        for memory_level in (1, 8):
            compressor = zlib.compressobj(1, zlib.DEFLATED, -15, memory_level)
            payload = compressor.compress(content) + compressor.flush(zlib.Z_SYNC_FLUSH)
            assert len(payload) > len(content)
            assert receive(frame(BINARY, payload[:-4], rsv=4), deflate=deflate).events == [("binary", content)]

    @both
    @pytest.mark.limit("WebSocket: compressed bytes of a message", memory=True)
    def test_what_is_longer_than_any_compressor_makes_it_is_known_from_the_header(
        self, deflate: DeflateAgreement
    ) -> None:
        limits = Limits(message=8000)
        allowed = 8000 + 1000 + 1024
        data = frame(BINARY, length=allowed + 1, rsv=4)
        assert assert_failed(receive_both_ways(data, limits=limits, deflate=deflate), 1009) == "message too big"
        nothing = b"\x00\x00\x00\xff\xff" * 2000
        data = frame(BINARY, nothing, fin=False, rsv=4)
        assert receive(data, limits=limits, deflate=deflate).events == []
        outcome = receive(data + frame(CONTINUATION, b"x" * 100), limits=limits, deflate=deflate)
        assert_failed(outcome, 1009)
        assert outcome.connection.held == 0

    def test_an_idle_connection_holds_no_context_unless_that_was_agreed(self) -> None:
        for deflate, holds in ((FORGET, False), (KEEP, True)):
            connection = Connection("server", deflate=deflate)
            assert connection.held == 0
            connection.receive_data(frame(TEXT, packed(b"x" * 5000), rsv=4))
            connection.send_text("x" * 5000)
            assert (connection.held > 300_000) is holds
            connection.receive_data(frame(TEXT, fin=False, rsv=4))
            assert connection.held > 32_768


class TestSending:
    @both
    def test_small_messages_are_sent_as_they_are(self, deflate: DeflateAgreement) -> None:
        connection = Connection("server", deflate=deflate)
        connection.send_text("x" * 1023)
        connection.send_text("x" * 1024)
        small, large = parse(connection.data_to_send())
        assert (small.rsv1, small.payload) == (False, b"x" * 1023)
        assert large.rsv1
        assert unpacked(large.payload) == b"x" * 1024

    def test_what_does_not_get_smaller_is_sent_as_it_is_where_no_history_has_to_agree(self) -> None:
        content = os.urandom(5000)
        for deflate, compressed in ((FORGET, False), (KEEP, True)):
            connection = Connection("server", deflate=deflate)
            connection.send_bytes(content)
            (sent,) = parse(connection.data_to_send())
            assert sent.rsv1 is compressed
            assert receive(frame(BINARY, sent.payload, rsv=4 if compressed else 0), deflate=deflate).events == [
                ("binary", content)
            ]

    @both
    @pytest.mark.parametrize("role", ["server", "client"])
    def test_fragments(self, role: Role, deflate: DeflateAgreement) -> None:
        parts = [b"a" * 2000, b"", b"b" * 10, os.urandom(3000), b""]
        sender = Connection(role, deflate=deflate)
        for i, part in enumerate(parts):
            sender.send_fragment(part, final=i == len(parts) - 1)
            sender.ping(b"between")
        wire = sender.data_to_send()
        frames = [sent for sent in parse(wire) if sent.opcode != PING]
        assert [sent.rsv1 for sent in frames] == [True, False, False, False, False]
        other = receive(wire, role="client" if role == "server" else "server", deflate=deflate)
        assert [event for event in other.events if event[0] == "binary"] == [("binary", b"".join(parts))]

    def test_a_message_that_begins_small_is_not_compressed(self) -> None:
        connection = Connection("server", deflate=KEEP)
        connection.send_fragment(b"a")
        connection.send_fragment(b"b" * 5000, final=True)
        assert [sent.rsv1 for sent in parse(connection.data_to_send())] == [False, False]

    def test_the_window_agreed_on_is_kept_to(self) -> None:
        """A peer whose window is that small can read it all."""
        for bits in range(9, 16):
            deflate = accept(f"permessage-deflate; server_max_window_bits={bits}", KEEP.settings)
            assert deflate is not None
            connection = Connection("server", deflate=deflate)
            reader = zlib.decompressobj(-bits)
            text = random.Random(bits).randbytes(3000).hex().encode()
            for _ in range(50):
                connection.send_text(text.decode())
            for sent in parse(connection.data_to_send()):
                assert reader.decompress(sent.payload + TAIL) == text

    def test_a_client_that_is_told_8_bits_does_not_compress(self) -> None:
        deflate = agree("permessage-deflate; client_max_window_bits=8", KEEP.settings)
        assert deflate is not None
        connection = Connection("client", deflate=deflate)
        connection.send_text("x" * 5000)
        (sent,) = parse(connection.data_to_send())
        assert (sent.rsv1, sent.payload) == (False, b"x" * 5000)


class TestSharedCompressor:
    """Without context takeover the connections of a loop compress with one compressor."""

    def test_there_is_one_for_all_that_agree_on_the_same(self) -> None:
        shared = Compressors()
        for _ in range(50):
            connection = Connection("server", deflate=FORGET, compressors=shared)
            connection.send_text("x" * 2000)
        assert len(shared) == 1
        Connection("server", deflate=agreed(keep=False, server_max_window_bits=10), compressors=shared).send_text(
            "x" * 2000
        )
        assert len(shared) == 2
        Connection("server", deflate=KEEP, compressors=shared).send_text("x" * 2000)
        assert len(shared) == 2

    @given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=8), st.integers(1, 9))
    @settings(max_examples=60, deadline=None)
    def test_nothing_of_one_connection_is_in_what_another_sends(self, messages: list[bytes], level: int) -> None:
        """Bit by bit, each message is what a compressor makes of it that has never seen another."""
        deflate = agreed(keep=False, level=level, min_size=1)
        shared = Compressors()
        # What is sent twice would show: it is what a history makes smallest.
        for message in [*messages, *messages]:
            with_others = Connection("server", deflate=deflate, compressors=shared)
            alone = Connection("server", deflate=deflate)
            for connection in (with_others, alone):
                connection.send_bytes(message * 3)
            assert with_others.data_to_send() == alone.data_to_send()

    def test_a_secret_does_not_make_a_guess_smaller(self) -> None:
        secret = random.Random(1).randbytes(1000).hex()
        shared = Compressors()
        victim = Connection("server", deflate=FORGET, compressors=shared)
        attacker = Connection("server", deflate=FORGET, compressors=shared)
        attacker.send_text(secret)
        before = len(attacker.data_to_send())
        victim.send_text(secret)
        attacker.send_text(secret)
        assert len(attacker.data_to_send()) == before
        # The same guess where there is a history, so that the sizes mean something.
        keeping = Connection("server", deflate=KEEP)
        keeping.send_text(secret)
        first = len(keeping.data_to_send())
        keeping.send_text(secret)
        assert len(keeping.data_to_send()) < first / 10

    def test_fragments_of_several_connections_in_turns(self) -> None:
        shared = Compressors()
        senders = [Connection("server", deflate=FORGET, compressors=shared) for _ in range(3)]
        for i in range(4):
            for number, sender in enumerate(senders):
                sender.send_fragment(f"{number}{i}".encode() * 1000, final=i == 3)
        for number, sender in enumerate(senders):
            expected = b"".join(f"{number}{i}".encode() * 1000 for i in range(4))
            assert receive(sender.data_to_send(), role="client", deflate=FORGET).events == [("binary", expected)]


contents = st.one_of(
    st.text(max_size=300),
    st.binary(max_size=300),
    st.binary(min_size=1, max_size=40).map(lambda part: part * 200),
    st.text(min_size=1, max_size=20).map(lambda part: part * 100),
)
options = st.fixed_dictionaries(
    {
        "server_no_context_takeover": st.booleans(),
        "client_no_context_takeover": st.booleans(),
        "server_max_window_bits": st.integers(9, 15),
        "client_max_window_bits": st.integers(9, 15),
        "level": st.integers(1, 9),
        "memory_level": st.integers(1, 9),
        "min_size": st.sampled_from([1, 100, 1024]),
    }
)


@given(options, options, st.lists(contents, max_size=8), st.lists(st.integers(0, 20000), max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_one_end_sends_the_other_receives(
    client: dict[str, Any], server: dict[str, Any], messages: list[str | bytes], cuts: list[int], forwards: bool
) -> None:
    wanted = PerMessageDeflate(**client)
    at_server = accept(offer(wanted), PerMessageDeflate(**server))
    assert at_server is not None
    at_client = agree(at_server.field, wanted)
    ends = [("client", at_client), ("server", at_server)]
    (role, deflate), (other, others) = ends if forwards else reversed(ends)
    sender = Connection(role, deflate=deflate)  # type: ignore[arg-type]
    for message in messages:
        if isinstance(message, str):
            sender.send_text(message)
        else:
            sender.send_bytes(message)
    wire = sender.data_to_send()
    edges = sorted(min(cut, len(wire)) for cut in cuts)
    expected = [("text" if isinstance(message, str) else "binary", message) for message in messages]
    for ways in (edges, list(range(1, len(wire))) if len(wire) < 3000 else []):
        assert receive(wire, role=other, cuts=ways, deflate=others).events == expected  # type: ignore[arg-type]
