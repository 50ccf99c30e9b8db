"""HPACK against the hpack library, in both directions, the dynamic table and its resizing included."""

import hpack
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.http2.hpack import HpackDecoder, encode

Field = tuple[bytes, bytes]

# Few names and values, so that the tables are hit; some of each length class.
names = st.sampled_from([b":path", b":method", b"accept", b"cookie", b"x-a", b"x-b", b"content-type", b"n" * 60])
values = st.sampled_from([b"", b"/", b"GET", b"a", b"b" * 30, b"text/html", b"v" * 200]) | st.binary(max_size=40)
blocks = st.lists(st.tuples(names, values), max_size=10)


class Resize(int):
    """A change of the table's size between blocks."""


@settings(max_examples=150)
@given(st.lists(blocks | st.integers(0, 4096).map(Resize), max_size=12), st.booleans())
def test_we_read_what_the_library_writes(steps: list[list[Field] | Resize], huffman: bool) -> None:
    encoder, decoder = hpack.Encoder(), HpackDecoder()
    for step in steps:
        if isinstance(step, Resize):
            # The library forgets to announce a change that is followed by setting the same size again.
            if step != encoder.header_table_size:
                encoder.header_table_size = int(step)
            continue
        block = encoder.encode(step, huffman=huffman)
        assert decoder.decode(block) == step
        assert decoder.table_used == encoder.header_table._current_size
        assert decoder.table_limit == encoder.header_table_size


@settings(max_examples=100)
@given(st.lists(blocks, max_size=8), st.booleans())
def test_the_library_reads_what_we_write(heads: list[list[Field]], huffman: bool) -> None:
    decoder = hpack.Decoder()
    for fields in heads:
        assert decoder.decode(encode(fields, huffman=huffman), raw=True) == fields


@settings(max_examples=200)
@given(st.binary(max_size=60), blocks)
def test_same_verdict_on_any_bytes(junk: bytes, first: list[Field]) -> None:
    """Where the library accepts, we give the same; where we accept, it does, but for limits of its own."""
    ours, theirs = HpackDecoder(), hpack.Decoder(max_header_list_size=1 << 20)
    theirs.max_allowed_table_size = 4096
    block = hpack.Encoder().encode(first)
    assert ours.decode(block) == theirs.decode(block, raw=True)
    try:
        expected = [(bytes(name), bytes(value)) for name, value in theirs.decode(junk, raw=True)]
    except (hpack.HPACKError, UnicodeDecodeError):
        expected = None
    try:
        got = ours.decode(junk)
    except ValueError:
        got = None
    assert got == expected
