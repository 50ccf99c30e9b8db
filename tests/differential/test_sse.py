"""The event-stream parser beside httpx-sse, where that follows the standard.

It differs in what it lets through (lines cut at U+2028 and other separators that are not of the format, events
without data, a BOM), so the streams here have none of that.
"""

from itertools import pairwise

from httpx_sse._decoders import SSEDecoder
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.sse.parser import EventParser

VALUE = st.text(st.sampled_from("ab: \t7…é"), max_size=12)
FIELD = st.tuples(st.sampled_from(["data", "event", "id", "retry", "other", "", " data"]), VALUE)
EVENT = st.tuples(st.lists(FIELD, max_size=5), VALUE)
END = st.sampled_from(["\n", "\r\n"])


@given(st.lists(EVENT, max_size=5), END, st.lists(st.integers(0, 400), max_size=5))
@settings(max_examples=300, deadline=None)
def test_the_same_events(blocks: list[tuple[list[tuple[str, str]], str]], end: str, cuts: list[int]) -> None:
    lines: list[str] = []
    for fields, data in blocks:
        lines += [f"{name}:{value}" for name, value in fields]
        lines += [f"data: {data}", ""]
    oracle = SSEDecoder()
    found = filter(None, map(oracle.decode, lines))
    theirs = [(one.event, one.data, one.id) for one in found]
    stream = "".join(line + end for line in lines).encode()
    parser, ours = EventParser(), []
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, stop in pairwise(places):
        ours += [(one.event, one.data, one.id) for one in parser.feed(stream[start:stop])]
    assert ours == theirs
