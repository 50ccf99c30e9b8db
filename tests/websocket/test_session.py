"""Each rule of RFC 6455 that a session keeps, by its section; input whole and byte by byte."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.websocket.connection import Connection
from fastnet_ext.websocket.session import Limits
from tests.websocket.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Outcome,
    Parsed,
    Role,
    close_payload,
    frame,
    parse,
    receive,
    receive_both_ways,
)


def assert_failed(outcome: Outcome, code: int, *, before: int = 0) -> str:
    """The connection failed with ``code`` after ``before`` events and told the peer; returns the reason."""
    assert len(outcome.events) == before + 1
    event = outcome.events[-1]
    assert event[0] == "failed"
    assert event[1] == code
    assert outcome.sent[-1].opcode == CLOSE
    assert outcome.sent[-1].payload == close_payload(code, event[2])
    assert outcome.connection.state == "failed"
    assert outcome.connection.close_code == code
    return event[2]


class TestBaseFraming:
    """Section 5.2."""

    @pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 1000])
    def test_each_size_of_binary_message(self, size: int) -> None:
        payload = bytes(i & 0xFF for i in range(size))
        assert receive_both_ways(frame(BINARY, payload)).events == [("binary", payload)]

    @pytest.mark.parametrize("size", [65535, 65536, 65537, 200_000])
    def test_long_lengths_in_pieces_of_any_size(self, size: int) -> None:
        payload = bytes(i * 31 & 0xFF for i in range(size))
        data = frame(BINARY, payload)
        for step in (size + 20, 16384, 4093):
            assert receive(data, cuts=list(range(step, len(data), step))).events == [("binary", payload)]

    def test_text(self) -> None:
        assert receive_both_ways(frame(TEXT, "Hello, wörld €𝄞".encode())).events == [("text", "Hello, wörld €𝄞")]

    def test_examples_of_section_5_7(self) -> None:
        masked = bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
        assert receive_both_ways(masked).events == [("text", "Hello")]
        assert receive_both_ways(bytes.fromhex("81 05 48 65 6c 6c 6f"), role="client").events == [("text", "Hello")]
        fragments = bytes.fromhex("01 03 48 65 6c 80 02 6c 6f")
        assert receive_both_ways(fragments, role="client").events == [("text", "Hello")]
        ping = bytes.fromhex("89 05 48 65 6c 6c 6f")
        outcome = receive_both_ways(ping, role="client")
        assert outcome.events == [("ping", b"Hello")]
        assert outcome.sent == [Parsed(PONG, b"Hello", fin=True, masked=True)]

    def test_several_frames_in_one_piece(self) -> None:
        data = frame(TEXT, b"a") + frame(PING, b"b") + frame(BINARY, b"c") + frame(PONG, b"d") + frame(TEXT)
        expected = [
            ("text", "a"),
            ("ping", b"b"),
            ("binary", b"c"),
            ("pong", b"d"),
            ("text", ""),
        ]
        assert receive_both_ways(data).events == expected

    @pytest.mark.parametrize("rsv", range(1, 8))
    @pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
    def test_reserved_bits_fail(self, rsv: int, opcode: int) -> None:
        assert_failed(
            receive_both_ways(frame(TEXT, b"ok") + frame(opcode, rsv=rsv)),
            1002,
            before=1,
        )

    def test_a_reserved_bit_on_a_continuation_fails(self) -> None:
        assert_failed(
            receive_both_ways(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", rsv=4)),
            1002,
        )

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
    def test_reserved_opcodes_fail(self, opcode: int) -> None:
        assert assert_failed(receive_both_ways(frame(opcode, b"x")), 1002) == "reserved opcode"

    @pytest.mark.parametrize("size", [0, 1, 125])
    def test_a_length_of_16_bits_below_126_fails(self, size: int) -> None:
        assert_failed(receive_both_ways(frame(BINARY, b"x" * size, form=16)), 1002)

    @pytest.mark.parametrize("size", [0, 125, 126, 65535])
    def test_a_length_of_64_bits_below_65536_fails(self, size: int) -> None:
        assert_failed(receive_both_ways(frame(BINARY, length=size, form=64)), 1002)

    def test_a_length_with_its_top_bit_set_fails(self) -> None:
        reason = assert_failed(receive_both_ways(frame(BINARY, length=1 << 63 | 70000, form=64)), 1002)
        assert reason == "payload length with its top bit set"

    def test_bytes_after_a_failure_are_dropped(self) -> None:
        outcome = receive_both_ways(frame(3) + frame(TEXT, b"later") + frame(CLOSE))
        assert_failed(outcome, 1002)
        assert len(outcome.sent) == 1


class TestMasking:
    """Sections 5.1 and 5.3."""

    def test_a_server_refuses_an_unmasked_frame(self) -> None:
        assert assert_failed(receive_both_ways(frame(TEXT, b"x", key=None)), 1002) == "frame not masked"

    def test_a_client_refuses_a_masked_frame(self) -> None:
        assert_failed(receive_both_ways(frame(TEXT, b"x"), role="client"), 1002)

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    def test_control_frames_are_held_to_it_too(self, opcode: int) -> None:
        assert_failed(receive_both_ways(frame(opcode, key=None)), 1002)
        assert_failed(receive_both_ways(frame(opcode), role="client"), 1002)

    def test_a_server_sends_unmasked(self) -> None:
        connection = Connection("server")
        connection.send_text("Hello")
        assert connection.data_to_send() == bytes.fromhex("81 05 48 65 6c 6c 6f")

    def test_a_client_masks_every_frame_with_a_fresh_key(self) -> None:
        connection = Connection("client")
        for _ in range(200):
            connection.send_bytes(bytes(4))
        data = connection.data_to_send()
        assert parse(data) == [Parsed(BINARY, bytes(4), fin=True, masked=True)] * 200
        keys = {data[i + 2 : i + 6] for i in range(0, len(data), 10)}
        assert len(keys) > 190

    def test_two_clients_do_not_share_keys(self) -> None:
        sent = []
        for _ in range(2):
            connection = Connection("client")
            connection.send_bytes(bytes(4))
            sent.append(connection.data_to_send())
        assert sent[0] != sent[1]

    @given(
        st.binary(max_size=400),
        st.binary(min_size=4, max_size=4),
        st.lists(st.integers(1, 400), max_size=6),
    )
    @settings(max_examples=100, deadline=None)
    def test_any_key_and_any_split(self, payload: bytes, key: bytes, cuts: list[int]) -> None:
        data = frame(BINARY, payload, key=key)
        assert receive(data, cuts=sorted({min(cut, len(data)) for cut in cuts})).events == [("binary", payload)]


class TestFragmentation:
    """Section 5.4."""

    def test_a_message_in_fragments(self) -> None:
        data = frame(TEXT, b"He", fin=False) + frame(CONTINUATION, b"ll", fin=False) + frame(CONTINUATION, b"o")
        assert receive_both_ways(data).events == [("text", "Hello")]

    def test_empty_fragments(self) -> None:
        data = frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION)
        assert receive_both_ways(data).events == [("binary", b"")]
        data = frame(BINARY, fin=False) + frame(CONTINUATION, b"x", fin=False) + frame(CONTINUATION)
        assert receive_both_ways(data).events == [("binary", b"x")]
        data = frame(BINARY, fin=False) + frame(CONTINUATION, b"x")
        assert receive_both_ways(data).events == [("binary", b"x")]

    def test_control_frames_between_fragments(self) -> None:
        data = frame(TEXT, b"a", fin=False) + frame(PING, b"1") + frame(CONTINUATION, b"b", fin=False)
        data += frame(PONG, b"2") + frame(CONTINUATION, b"c") + frame(TEXT, b"next")
        expected = [("ping", b"1"), ("pong", b"2"), ("text", "abc"), ("text", "next")]
        assert receive_both_ways(data).events == expected

    def test_a_continuation_of_nothing_fails(self) -> None:
        assert_failed(receive_both_ways(frame(CONTINUATION, b"x")), 1002)
        assert_failed(receive_both_ways(frame(CONTINUATION, b"x", fin=False)), 1002)
        done = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b")
        assert_failed(receive_both_ways(done + frame(CONTINUATION, b"c")), 1002, before=1)

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_within_a_message_fails(self, opcode: int) -> None:
        assert_failed(receive_both_ways(frame(TEXT, b"a", fin=False) + frame(opcode, b"b")), 1002)
        assert_failed(
            receive_both_ways(frame(BINARY, fin=False) + frame(opcode, b"b", fin=False)),
            1002,
        )

    def test_a_close_within_a_fragmented_message(self) -> None:
        outcome = receive_both_ways(frame(TEXT, b"a", fin=False) + frame(CLOSE, close_payload(1000, "bye")))
        assert outcome.events == [("close", 1000, "bye")]
        assert outcome.sent == [Parsed(CLOSE, close_payload(1000, "bye"), fin=True, masked=False)]

    @given(
        st.binary(max_size=300),
        st.lists(st.integers(0, 300), max_size=8),
        st.lists(st.integers(1, 500), max_size=5),
    )
    @settings(max_examples=100, deadline=None)
    def test_any_fragmentation_is_the_message(self, payload: bytes, cuts: list[int], splits: list[int]) -> None:
        edges = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
        parts = [payload[a:b] for a, b in itertools.pairwise(edges)]
        data = b"".join(
            frame(BINARY if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1) for i, part in enumerate(parts)
        )
        outcome = receive(data, cuts=sorted({min(cut, len(data)) for cut in splits}))
        assert outcome.events == [("binary", payload)]


class TestControlFrames:
    """Section 5.5."""

    @pytest.mark.parametrize("size", [0, 1, 124, 125])
    def test_a_ping_is_answered_with_its_payload(self, size: int) -> None:
        payload = bytes(range(size))
        outcome = receive_both_ways(frame(PING, payload))
        assert outcome.events == [("ping", payload)]
        assert outcome.sent == [Parsed(PONG, payload, fin=True, masked=False)]

    def test_pings_are_answered_in_order(self) -> None:
        outcome = receive_both_ways(b"".join(frame(PING, bytes([i])) for i in range(10)))
        assert [sent.payload for sent in outcome.sent] == [bytes([i]) for i in range(10)]

    def test_automatic_pong_can_be_turned_off(self) -> None:
        connection = Connection("server")
        connection.automatic_pong = False
        assert connection.receive_data(frame(PING, b"x")) == [("ping", b"x")]
        assert connection.data_to_send() == b""
        connection.pong(b"x")
        assert parse(connection.data_to_send()) == [Parsed(PONG, b"x", fin=True, masked=False)]

    def test_an_unasked_pong_is_no_error(self) -> None:
        outcome = receive_both_ways(frame(PONG, b"x"))
        assert outcome.events == [("pong", b"x")]
        assert outcome.sent == []

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    @pytest.mark.parametrize("form", [16, 64])
    def test_more_than_125_bytes_fail(self, opcode: int, form: int) -> None:
        size = 126 if form == 16 else 65536
        assert_failed(receive_both_ways(frame(opcode, b"x" * min(size, 200), length=size)), 1002)

    @pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
    def test_fragmented_control_frames_fail(self, opcode: int) -> None:
        assert_failed(receive_both_ways(frame(opcode, b"", fin=False)), 1002)


class TestCloseFrames:
    """Sections 5.5.1 and 7."""

    @pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
    def test_codes_that_may_be_received_are_echoed(self, code: int) -> None:
        outcome = receive_both_ways(frame(CLOSE, close_payload(code, "bye €")))
        assert outcome.events == [("close", code, "bye €")]
        assert outcome.sent == [Parsed(CLOSE, close_payload(code, "bye €"), fin=True, masked=False)]
        assert outcome.connection.state == "closed"
        assert outcome.connection.close_code == code

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
    def test_codes_that_may_not_fail(self, code: int) -> None:
        assert_failed(receive_both_ways(frame(CLOSE, close_payload(code))), 1002)

    def test_without_a_code(self) -> None:
        outcome = receive_both_ways(frame(CLOSE))
        assert outcome.events == [("close", 1005, "")]
        assert outcome.sent == [Parsed(CLOSE, b"", fin=True, masked=False)]

    def test_a_code_of_one_byte_fails(self) -> None:
        assert_failed(receive_both_ways(frame(CLOSE, b"\x03")), 1002)

    @pytest.mark.parametrize("reason", [b"\xff", b"ab\xc3", b"\xed\xa0\x80"])
    def test_a_reason_that_is_not_utf8_fails(self, reason: bytes) -> None:
        assert_failed(receive_both_ways(frame(CLOSE, close_payload(1000, reason))), 1007)

    def test_the_longest_reason(self) -> None:
        outcome = receive_both_ways(frame(CLOSE, close_payload(1000, "x" * 123)))
        assert outcome.events == [("close", 1000, "x" * 123)]

    def test_what_follows_a_close_is_dropped(self) -> None:
        outcome = receive_both_ways(frame(CLOSE) + frame(TEXT, b"x") + frame(PING) + frame(3) + frame(CLOSE))
        assert outcome.events == [("close", 1005, "")]
        assert len(outcome.sent) == 1

    def test_the_answer_to_our_close_is_not_echoed(self) -> None:
        connection = Connection("server")
        connection.close(1001, "going")
        assert parse(connection.data_to_send()) == [Parsed(CLOSE, close_payload(1001, "going"), fin=True, masked=False)]
        assert connection.receive_data(frame(CLOSE, close_payload(1001))) == [("close", 1001, "")]
        assert connection.data_to_send() == b""
        assert connection.state == "closed"

    def test_messages_and_pings_still_come_after_our_close(self) -> None:
        connection = Connection("server")
        connection.close()
        connection.data_to_send()
        assert connection.receive_data(frame(TEXT, b"late") + frame(PING, b"p")) == [
            ("text", "late"),
            ("ping", b"p"),
        ]
        assert parse(connection.data_to_send()) == [Parsed(PONG, b"p", fin=True, masked=False)]

    def test_a_failure_after_our_close_sends_no_second_one(self) -> None:
        connection = Connection("server")
        connection.close()
        connection.data_to_send()
        assert [event[0] for event in connection.receive_data(frame(3))] == ["failed"]
        assert connection.data_to_send() == b""

    def test_the_end_of_input_without_a_close_is_1006(self) -> None:
        for prepare in (
            lambda c: None,
            lambda c: c.close(),
            lambda c: c.receive_data(frame(TEXT, b"x")[:4]),
        ):
            connection = Connection("server")
            prepare(connection)
            connection.receive_end()
            assert connection.close_code == 1006
            assert connection.state == "closed"

    @pytest.mark.parametrize(("data", "code"), [(frame(CLOSE, close_payload(4000)), 4000), (frame(3), 1002)])
    def test_the_end_of_input_after_a_close_changes_nothing(self, data: bytes, code: int) -> None:
        connection = Connection("server")
        connection.receive_data(data)
        state = connection.state
        connection.receive_end()
        assert (connection.close_code, connection.state) == (code, state)


class TestText:
    """Sections 5.6 and 8.1."""

    @pytest.mark.parametrize(
        "payload",
        [b"\xff", b"ok\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x82"],
    )
    def test_text_that_is_not_utf8_fails(self, payload: bytes) -> None:
        assert_failed(receive_both_ways(frame(TEXT, payload)), 1007)

    def test_binary_is_not_looked_at(self) -> None:
        assert receive_both_ways(frame(BINARY, b"\xff\xc0")).events == [("binary", b"\xff\xc0")]

    def test_characters_across_fragments(self) -> None:
        encoded = "κόσμε€𝄞".encode()
        for cut in range(len(encoded)):
            data = frame(TEXT, encoded[:cut], fin=False) + frame(CONTINUATION, encoded[cut:])
            assert receive_both_ways(data).events == [("text", "κόσμε€𝄞")]

    def test_a_character_cut_off_by_the_end_fails(self) -> None:
        data = frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION)
        assert assert_failed(receive_both_ways(data), 1007) == "text ends inside a character"

    def test_fails_in_the_fragment_that_breaks_it(self) -> None:
        outcome = receive_both_ways(frame(TEXT, b"\xf4", fin=False) + frame(CONTINUATION, b"\x90", fin=False))
        assert_failed(outcome, 1007)

    def test_fails_within_a_frame_before_all_of_it_is_there(self) -> None:
        data = frame(TEXT, b"abc\xff" + b"d" * 100)
        assert receive(data[:9]).events == []
        assert_failed(receive(data[:10]), 1007)

    def test_each_message_begins_anew(self) -> None:
        data = frame(TEXT, "é".encode()) + frame(BINARY, b"\xc3") + frame(TEXT, "é".encode())
        assert receive_both_ways(data).events == [
            ("text", "é"),
            ("binary", b"\xc3"),
            ("text", "é"),
        ]


class TestLimits:
    """Section 10.4."""

    def test_a_message_of_exactly_the_limit(self) -> None:
        limits = Limits(message=100)
        assert receive_both_ways(frame(BINARY, b"x" * 100), limits=limits).events == [("binary", b"x" * 100)]
        data = frame(BINARY, b"x" * 60, fin=False) + frame(CONTINUATION, b"x" * 40)
        assert receive_both_ways(data, limits=limits).events == [("binary", b"x" * 100)]

    def test_one_byte_more_fails_by_the_header_alone(self) -> None:
        header = frame(BINARY, length=101)
        assert_failed(receive_both_ways(header, limits=Limits(message=100)), 1009)

    def test_fragments_count_together(self) -> None:
        data = frame(BINARY, b"x" * 60, fin=False) + frame(CONTINUATION, length=41)
        assert_failed(receive_both_ways(data, limits=Limits(message=100)), 1009)

    def test_the_largest_length_does_not_wrap(self) -> None:
        data = frame(BINARY, b"x", fin=False) + frame(CONTINUATION, length=(1 << 63) - 1)
        assert_failed(receive_both_ways(data), 1009)
        assert_failed(receive_both_ways(data, limits=Limits(message=0)), 1009)

    def test_too_many_fragments(self) -> None:
        limits = Limits(fragments=3)
        parts = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False)
        assert receive_both_ways(parts + frame(CONTINUATION), limits=limits).events == [("text", "")]
        too_many = parts + frame(CONTINUATION, fin=False) + frame(CONTINUATION)
        assert_failed(receive_both_ways(too_many, limits=limits), 1008)

    def test_control_frames_are_no_fragments(self) -> None:
        data = frame(TEXT, fin=False) + frame(PONG) * 20 + frame(CONTINUATION)
        assert receive_both_ways(data, limits=Limits(fragments=2)).events[-1] == (
            "text",
            "",
        )

    def test_the_count_begins_anew_with_each_message(self) -> None:
        data = (frame(TEXT, fin=False) + frame(CONTINUATION)) * 5
        assert receive_both_ways(data, limits=Limits(fragments=2)).events == [("text", "")] * 5

    def test_the_default_is_one_mebibyte(self) -> None:
        assert receive(frame(BINARY, length=1 << 20)).events == []
        assert_failed(receive(frame(BINARY, length=(1 << 20) + 1)), 1009)

    def test_a_header_makes_us_hold_little(self) -> None:
        connection = Connection("server", Limits(message=1 << 40))
        connection.receive_data(frame(BINARY, b"x", length=1 << 39))
        assert 0 < connection.held <= 4096

    def test_a_long_message_is_not_held_after_it_is_delivered(self) -> None:
        connection = Connection("server")
        data = frame(BINARY, bytes(500_000))
        connection.receive_data(data[:400_000])
        assert connection.held >= 399_000
        assert connection.receive_data(data[400_000:]) == [("binary", bytes(500_000))]
        assert connection.held == 0

    def test_what_a_failure_leaves_is_freed(self) -> None:
        connection = Connection("server")
        connection.receive_data(frame(BINARY, bytes(100_000), fin=False))
        assert connection.held >= 100_000
        connection.receive_data(frame(3))
        assert connection.held == 0

    def test_a_whole_message_is_not_collected(self) -> None:
        connection = Connection("server")
        connection.receive_data(frame(BINARY, bytes(100_000)))
        assert connection.held == 0


class TestSending:
    @pytest.mark.parametrize("role", ["server", "client"])
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20, (1 << 20) + 3])
    def test_each_size(self, role: Role, size: int) -> None:
        payload = bytes(i * 3 & 0xFF for i in range(251)) * (size // 251 + 1)
        connection = Connection(role)
        connection.send_bytes(payload[:size])
        masked = role == "client"
        peer = Connection("server" if masked else "client", Limits(message=1 << 21))
        data = connection.data_to_send()
        assert bool(data[1] & 0x80) is masked
        assert peer.receive_data(data) == [("binary", payload[:size])]

    def test_fragments(self) -> None:
        connection = Connection("server")
        connection.send_fragment(b"He", text=True)
        connection.ping(b"p")
        connection.send_fragment(b"ll")
        connection.send_fragment(b"o", final=True)
        connection.send_text("next")
        assert parse(connection.data_to_send()) == [
            Parsed(TEXT, b"He", fin=False, masked=False),
            Parsed(PING, b"p", fin=True, masked=False),
            Parsed(CONTINUATION, b"ll", fin=False, masked=False),
            Parsed(CONTINUATION, b"o", fin=True, masked=False),
            Parsed(TEXT, b"next", fin=True, masked=False),
        ]

    def test_a_message_of_one_fragment(self) -> None:
        connection = Connection("client")
        connection.send_fragment(b"x", final=True)
        assert parse(connection.data_to_send()) == [Parsed(BINARY, b"x", fin=True, masked=True)]

    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 1 << 33])
    def test_a_header_apart_from_its_payload(self, size: int) -> None:
        header = Connection("server").message_header(size, text=True)
        assert header == frame(TEXT, length=size, key=None)

    @pytest.mark.parametrize("code", [1005, 1000, 3000])
    def test_close(self, code: int) -> None:
        connection = Connection("server")
        connection.close(code)
        payload = b"" if code == 1005 else close_payload(code)
        assert parse(connection.data_to_send()) == [Parsed(CLOSE, payload, fin=True, masked=False)]
        assert connection.state == "closing"

    @pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000])
    def test_a_close_code_that_may_not_be_sent_is_refused(self, code: int) -> None:
        connection = Connection("server")
        with pytest.raises(ValueError, match="may not be sent"):
            connection.close(code)
        assert connection.data_to_send() == b""
        assert connection.state == "open"

    def test_contents_that_do_not_fit_are_refused(self) -> None:
        connection = Connection("server")
        with pytest.raises(ValueError, match="125"):
            connection.ping(bytes(126))
        with pytest.raises(ValueError, match="125"):
            connection.pong(bytes(126))
        with pytest.raises(ValueError, match="123"):
            connection.close(1000, "x" * 124)
        with pytest.raises(ValueError, match="needs a code"):
            connection.close(1005, "x")
        assert connection.data_to_send() == b""

    @given(st.text(max_size=200))
    @settings(max_examples=50, deadline=None)
    def test_text_comes_through(self, text: str) -> None:
        client, server = Connection("client"), Connection("server")
        client.send_text(text)
        assert server.receive_data(client.data_to_send()) == [("text", text)]
        server.send_text(text)
        assert client.receive_data(server.data_to_send()) == [("text", text)]


def test_the_key_of_these_tests_is_not_all_that_works() -> None:
    for key in (bytes(4), b"\xff" * 4, KEY[::-1]):
        assert receive_both_ways(frame(TEXT, b"hello", key=key)).events == [("text", "hello")]


@given(
    st.binary(max_size=300),
    st.lists(st.integers(0, 300), max_size=6),
    st.sampled_from(["server", "client"]),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_the_same_at_any_split(data: bytes, cuts: list[int], role: Role) -> None:
    whole = receive(data, role=role)
    pieces = receive(data, role=role, cuts=sorted(min(cut, len(data)) for cut in cuts))
    assert pieces.events == whole.events
    assert pieces.sent == whole.sent
