"""The event-stream parser: the rules of HTML 9.2.5 and 9.2.6, whole and in pieces, and limits before memory."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.sse.encoder import encode_event
from fastnet_ext.sse.parser import EventParser, ServerEvent

BOM = b"\xef\xbb\xbf"
Outcome = tuple[list[ServerEvent], int | None, str]


def event(data: str, kind: str = "message", id: str = "") -> ServerEvent:
    return ServerEvent(kind, data, id)


def read(data: bytes, cuts: list[int] | None = None) -> Outcome:
    parser = EventParser()
    events: list[ServerEvent] = []
    for a, b in pairwise([0, *(cuts or []), len(data)]):
        events += parser.feed(data[a:b])
    assert parser.failure is None
    return events, parser.retry, parser.last_event_id


def read_all_ways(data: bytes) -> Outcome:
    whole = read(data)
    for cuts in (list(range(1, len(data))), *([cut] for cut in range(1, len(data)))):
        assert read(data, cuts) == whole, cuts
    return whole


# What the eventsource folder of the web-platform-tests asks of the format: a stream and what it means.
FORMAT: dict[str, tuple[bytes, list[ServerEvent]]] = {
    "one event": (b"data: one\n\n", [event("one")]),
    "BOM": (BOM + b"data:1\n\n\n\ndata:2\n\n", [event("1"), event("2")]),
    "two BOMs": (BOM + BOM + b"data:1\n\n\n\ndata:2\n\ndata:3\n\n", [event("2"), event("3")]),
    "BOM later": (b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n", [event("1"), event("3")]),
    "comments": (
        b"data:1\r:\x00\n:\r\ndata:2\n:" + b"x" * 2048 + b"\rdata:3\n:data:fail\r:" + b"x" * 2048 + b"\ndata:4\n\n",
        [event("1\n2\n3\n4")],
    ),
    "data before the end only": (b"data:test1\r\r\ndata:test2", [event("test1")]),
    "fields without a value": (b"data:\n\ndata\ndata\n\ndata:test\n\n", [event(""), event("\n"), event("test")]),
    "event type, empty": (b"event: \ndata:data\n\n", [event("data")]),
    "event type": (b"event:test\ndata:x\n\ndata:x\n\n", [event("x", "test"), event("x")]),
    "event type without data": (b"event:test\n\ndata:x\n\n", [event("x")]),
    "event type, the last counts": (b"event:a\nevent:b\ndata:x\n\n", [event("x", "b")]),
    "id": (b"id:1\ndata:a\n\ndata:b\n\n", [event("a", id="1"), event("b", id="1")]),
    "id, emptied": (b"id:1\ndata:a\n\nid\ndata:b\n\n", [event("a", id="1"), event("b")]),
    "id with NUL": (b"id:1\ndata:a\n\nid:2\x002\ndata:b\n\n", [event("a", id="1"), event("b", id="1")]),
    "id that is a NUL": (b"id:\x00\ndata:b\n\n", [event("b")]),
    "id without data": (b"id:7\n\ndata:a\n\n", [event("a", id="7")]),
    "id beyond ASCII": ("id:…\ndata:a\n\n".encode(), [event("a", id="…")]),
    "one space goes": (b"data:\ttest\rdata: \ndata:test\n\n", [event("\ttest\n\ntest")]),
    "one space of two": (b"data:  test\n\n", [event(" test")]),
    "newlines": (b"data:test\r\ndata\ndata:test\r\n\r\n", [event("test\n\ntest")]),
    "CR ends lines": (b"data:test\rdata:\rdata:test\r\r", [event("test\n\ntest")]),
    "NUL in data": (b"data:\x00\n\n", [event("\x00")]),
    "NUL in a field name": (b"data\x00:x\ndata:1\n\n", [event("1")]),
    "field names are exact": (
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        [event("test\n\ntest")],
    ),
    "capitals": (b"DATA:x\nData:x\ndata:1\n\n", [event("1")]),
    "UTF-8": ("data:ok…\n\n".encode(), [event("ok…")]),
    "UTF-8, broken": (b"data:\xff\xc3(\xe2\x82\n\n", [event("�" + "�(" + "�")]),
    "UTF-8, cut by a line": (b"data:\xe2\x82\ndata:\xac\n\n", [event("�\n�")]),
    "UTF-8, surrogates": (b"data:\xed\xa0\x80\n\n", [event("���")]),
    "retry alone": (b"retry:3000\ndata:x\n\n", [event("x")]),
    "blank lines": (b"\n\n\r\n\r\ndata:x\n\n", [event("x")]),
    "no end": (b"data:x\n", []),
    "nothing": (b"", []),
}


@pytest.mark.parametrize(("data", "expected"), FORMAT.values(), ids=FORMAT)
def test_the_format(data: bytes, expected: list[ServerEvent]) -> None:
    assert read_all_ways(data)[0] == expected


@pytest.mark.parametrize(
    ("data", "retry"),
    [
        (b"retry:3000\n", 3000),
        (b"retry: 0\n", 0),
        (b"retry:007\n", 7),
        (b"retry:1000x\n", None),
        (b"retry:-1\n", None),
        (b"retry:+1\n", None),
        (b"retry: 1 \n", None),
        (b"retry:1.5\n", None),
        ("retry:٣\n".encode(), None),
        (b"retry:\n", None),
        (b"retry\n", None),
        (b"retry:5\nretry:x\n", 5),
        (b"retry:5\nretry:6\n", 6),
        (b"retry:9223372036854775807\n", 2**63 - 1),
        (b"retry:9223372036854775808\n", 2**63 - 1),
        (b"retry:" + b"9" * 100 + b"\n", 2**63 - 1),
    ],
)
def test_retry(data: bytes, retry: int | None) -> None:
    assert read_all_ways(data)[1] == retry


def test_the_last_event_id_is_the_streams_from_the_blank_line_on() -> None:
    parser = EventParser()
    parser.feed(b"id: 1\n")
    assert parser.last_event_id == ""
    parser.feed(b"\n")
    assert parser.last_event_id == "1"


def test_a_cr_ends_the_line_at_once_and_takes_the_lf_behind_it_along() -> None:
    parser = EventParser()
    assert parser.feed(b"data:x\r\r") == [event("x")]
    assert parser.feed(b"\ndata:y\n") == []
    assert parser.feed(b"\n") == [event("y")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("size", [1, 5, 16, 17, 33])
def test_a_line_of_the_limit_is_read_and_one_byte_more_is_not(size: int, end: bytes) -> None:
    fits = b":" * size + end + b"data:x\n\n"
    for data, expected in ((fits, None), (b":" + fits, f"a line of an event stream is longer than {size} bytes")):
        for step in (1, 3, len(data)):
            parser = EventParser(max_line=max(size, 6), max_event=100)
            events = [one for i in range(0, len(data), step) for one in parser.feed(data[i : i + step])]
            if size < 6:
                assert (events, parser.failure) == ([event("x")], None)
                continue
            assert parser.failure == expected
            assert events == ([event("x")] if expected is None else [])


def test_the_data_of_an_event_has_a_limit_over_all_its_lines() -> None:
    for data, failed in ((b"data:abc\ndata:abc\n\n", False), (b"data:abc\ndata:abcd\n\n", True)):
        for step in (1, len(data)):
            parser = EventParser(max_event=8)
            events = [one for i in range(0, len(data), step) for one in parser.feed(data[i : i + step])]
            assert (parser.failure == "the data of an event is longer than 8 bytes") == failed
            assert events == ([] if failed else [event("abc\nabc")])


def test_what_came_before_the_failure_counts_and_what_follows_is_dropped() -> None:
    parser = EventParser(max_line=10)
    assert parser.feed(b"data:a\n\n" + b"x" * 11 + b"\ndata:b\n\n") == [event("a")]
    assert parser.failure is not None
    assert parser.feed(b"data:c\n\n") == []
    assert parser.memory == 0


def test_memory_is_bounded_by_the_limits_and_given_back() -> None:
    parser = EventParser(max_line=300_000, max_event=300_000)
    for _ in range(20):
        parser.feed(b"data:" + b"x" * 200_000)
        assert parser.memory <= 2 * 300_000 + 1024
        assert len(parser.feed(b"\n\n")) == 1
        assert parser.memory <= 2 * 65536
    for _ in range(10_000):
        parser.feed(b"x" * 29)
    assert parser.memory <= 2 * 300_000


@pytest.mark.parametrize("limits", [(0, 1), (1, 0)])
def test_limits_are_at_least_a_byte(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 byte"):
        EventParser(*limits)


def by_the_letter(data: bytes) -> list[ServerEvent]:
    """The steps of 9.2.6 over the decoded text, as they are written there."""
    text = data.decode("utf-8-sig", "replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    events, buffer, kind, last = [], "", "", ""
    for line in lines:
        if line == "":
            if buffer:
                events.append(ServerEvent(kind or "message", buffer.removesuffix("\n"), last))
            buffer = kind = ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            buffer += value + "\n"
        elif name == "id" and "\0" not in value:
            last = value
    return events


FRAGMENTS = st.sampled_from(
    [
        *(b"data", b"event", b"id", b"retry", b":", b" ", b"data: ", b"data:a\n\n", b"x", b"7", b"y" * 20),
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"\xe2\x82\xac", b"\xef\xbb\xbf", b"\xff", b"\xe2\x82"),
    ]
)


@given(st.lists(FRAGMENTS, max_size=40).map(b"".join), st.lists(st.integers(0, 300), max_size=6))
@settings(max_examples=400, deadline=None)
def test_any_stream_cut_anywhere_is_what_the_standard_says(data: bytes, cuts: list[int]) -> None:
    split = sorted(min(cut, len(data)) for cut in cuts)
    assert read(data, split)[0] == by_the_letter(data)


LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=30)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXT, st.none() | LINE, st.none() | LINE, st.none() | st.integers(0, 2**63 - 1), st.none() | TEXT)
@settings(max_examples=300, deadline=None)
def test_what_is_encoded_is_parsed_to_the_same(
    data: str, kind: str | None, id: str | None, retry: int | None, comment: str | None
) -> None:
    parser = EventParser()
    encoded = encode_event(data, event=kind, id=id, retry=retry, comment=comment)
    seen = data.replace("\r\n", "\n").replace("\r", "\n")
    assert parser.feed(encoded) == [ServerEvent(kind or "message", seen, id or "")]
    assert parser.retry == retry
