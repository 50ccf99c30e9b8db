"""gRPC's message framing: whole and in pieces, limits before memory, flags."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.grpc.framing import MessageReader, frame

RESOURCE_EXHAUSTED, INTERNAL = 8, 13

Events = list[tuple[str, int, bytes] | tuple[str, int, str]]


def read(data: bytes, cuts: list[int] | None = None, *, limit: int = 4 << 20, flags: int = 1) -> tuple[Events, bool]:
    reader = MessageReader(limit, flags)
    events: Events = []
    for a, b in pairwise([0, *(cuts or []), len(data)]):
        events += reader.feed(data[a:b])
    return events, reader.complete


def read_both_ways(data: bytes, *, limit: int = 4 << 20, flags: int = 1) -> tuple[Events, bool]:
    whole = read(data, limit=limit, flags=flags)
    splits = [list(range(1, len(data))), *([cut] for cut in range(1, min(len(data), 40)))]
    for cuts in splits:
        assert read(data, cuts, limit=limit, flags=flags) == whole, cuts
    return whole


def prefix(size: int, flag: int = 0) -> bytes:
    return bytes([flag]) + size.to_bytes(4)


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6, 300])
@pytest.mark.parametrize("flag", [0, 1])
def test_a_message(size: int, flag: int) -> None:
    message = (bytes(range(256)) * 2)[:size]
    assert frame(message, flag) == prefix(len(message), flag) + message
    assert read_both_ways(frame(message, flag)) == ([("message", flag, message)], True)


def test_many_messages_in_one_piece() -> None:
    data = frame(b"a") + frame(b"") + frame(b"bcd", 1) + frame(b"")
    expected = [("message", 0, b"a"), ("message", 0, b""), ("message", 1, b"bcd"), ("message", 0, b"")]
    assert read_both_ways(data) == (expected, True)


@given(st.lists(st.binary(max_size=100), max_size=6), st.lists(st.integers(0, 700), max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_split_gives_the_messages(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(frame, messages))
    split = sorted(min(cut, len(data)) for cut in cuts)
    assert read(data, split) == ([("message", 0, message) for message in messages], True)


@pytest.mark.parametrize("step", [1000, 16384, 65536])
def test_a_long_message_in_pieces(step: int) -> None:
    message = bytes(i * 7 & 0xFF for i in range(300_000))
    data = frame(message) + frame(b"next")
    assert read(data, list(range(step, len(data), step))) == ([("message", 0, message), ("message", 0, b"next")], True)


@pytest.mark.parametrize("data", [b"\0", prefix(1)[:4], prefix(1), prefix(3) + b"ab", frame(b"a") + b"\0"])
def test_the_stream_may_not_end_inside_a_message(data: bytes) -> None:
    assert read_both_ways(data)[1] is False


def test_the_stream_may_end_between_messages() -> None:
    assert read(b"") == ([], True)
    assert read(frame(b"a"))[1] is True


def test_the_limit_is_checked_from_the_prefix() -> None:
    assert read_both_ways(frame(b"x" * 10), limit=10)[0] == [("message", 0, b"x" * 10)]
    events, _ = read_both_ways(frame(b"ok") + prefix(11), limit=10)
    assert events == [("message", 0, b"ok"), ("failed", RESOURCE_EXHAUSTED, "message larger than the limit")]


def test_the_default_limit_is_four_mebibytes() -> None:
    assert read(prefix(4 << 20))[0] == []
    assert read(prefix((4 << 20) + 1))[0][0][:2] == ("failed", RESOURCE_EXHAUSTED)


def test_a_prefix_of_4_gib_holds_nothing() -> None:
    reader = MessageReader(1 << 40)
    assert reader.feed(prefix(0xFFFFFFFF) + b"x") == []
    assert 0 < reader.memory <= 4096


def test_a_long_message_is_not_held_after_it_is_delivered() -> None:
    reader = MessageReader()
    data = frame(bytes(500_000))
    reader.feed(data[:400_000])
    assert reader.memory >= 399_000
    assert reader.feed(data[400_000:]) == [("message", 0, bytes(500_000))]
    assert reader.memory == 0


def test_a_whole_message_is_not_collected() -> None:
    reader = MessageReader()
    reader.feed(frame(bytes(100_000)) * 3)
    assert reader.memory == 0


@pytest.mark.parametrize("flag", [2, 3, 4, 0x80, 0x81, 0xFF])
def test_an_unknown_flag_fails(flag: int) -> None:
    events, _ = read_both_ways(frame(b"x", flag))
    assert events == [("failed", INTERNAL, "message with a flag that is not known")]


@pytest.mark.parametrize(("flags", "flag"), [(0x81, 0x80), (0x81, 0x81), (0x03, 0x02), (0x03, 0x03)])
def test_flags_of_grpc_web_and_connect(flags: int, flag: int) -> None:
    assert read_both_ways(frame(b"x", flag), flags=flags)[0] == [("message", flag, b"x")]
    assert read_both_ways(frame(b"x", 0x04), flags=flags)[0][0][:2] == ("failed", INTERNAL)


def test_bytes_after_a_failure_are_dropped() -> None:
    reader = MessageReader(10)
    assert len(reader.feed(prefix(11) + frame(b"x") * 3)) == 1
    assert reader.feed(frame(b"x")) == []


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_the_same_at_any_split(data: bytes, cuts: list[int]) -> None:
    split = sorted(min(cut, len(data)) for cut in cuts)
    assert read(data, split, limit=50) == read(data, limit=50)
