"""HPACK by the sections and the examples of RFC 7541."""

import pytest
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.http2.hpack import HpackDecoder, encode

REQUESTS = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]
DATE_1, DATE_2 = b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT"
RESPONSES = [
    [
        (b":status", b"302"),
        (b"cache-control", b"private"),
        (b"date", DATE_1),
        (b"location", b"https://www.example.com"),
    ],
    [
        (b":status", b"307"),
        (b"cache-control", b"private"),
        (b"date", DATE_1),
        (b"location", b"https://www.example.com"),
    ],
    [
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", DATE_2),
        (b"location", b"https://www.example.com"),
        (b"content-encoding", b"gzip"),
        (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
]
C3 = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
]
C4 = [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
]
C5 = [
    "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
    "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
    "4803333037c1c0bf",
    "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d"
    "4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
]
C6 = [
    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960"
    "d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
]


@pytest.mark.parametrize(
    ("blocks", "expected", "limit", "sizes"),
    [
        pytest.param(C3, REQUESTS, 4096, [57, 110, 164], id="C.3"),
        pytest.param(C4, REQUESTS, 4096, [57, 110, 164], id="C.4"),
        pytest.param(C5, RESPONSES, 256, [222, 222, 215], id="C.5"),
        pytest.param(C6, RESPONSES, 256, [222, 222, 215], id="C.6"),
    ],
)
def test_examples_of_appendix_c(
    blocks: list[str], expected: list[list[tuple[bytes, bytes]]], limit: int, sizes: list[int]
) -> None:
    decoder = HpackDecoder(limit)
    for block, fields, size in zip(blocks, expected, sizes, strict=True):
        assert decoder.decode(bytes.fromhex(block)) == fields
        assert decoder.table_used == size


@pytest.mark.parametrize(
    ("block", "field", "size"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header"), 55),  # C.2.1
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path"), 0),  # C.2.2
        ("100870617373776f726406736563726574", (b"password", b"secret"), 0),  # C.2.3
        ("82", (b":method", b"GET"), 0),  # C.2.4
    ],
)
def test_representations_of_appendix_c2(block: str, field: tuple[bytes, bytes], size: int) -> None:
    decoder = HpackDecoder()
    assert decoder.decode(bytes.fromhex(block)) == [field]
    assert decoder.table_used == size


def test_static_table_is_that_of_appendix_a() -> None:
    decoder = HpackDecoder()
    for index, field in enumerate(HeaderTable.STATIC_TABLE, 1):
        assert decoder.decode(bytes([0x80 | index])) == [field]
        assert encode([field])[0] == (0x80 | index if field[1] else encode([(field[0], b"x")])[0])


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("80", id="6.1 index 0"),
        pytest.param("be", id="2.3.3 index beyond both tables"),
        pytest.param("ff", id="5.1 integer without continuation"),
        pytest.param("ff80808080808001", id="5.1 integer too long"),
        pytest.param("ffffffffff7f", id="5.1 integer too large"),
        pytest.param("7f8080808010", id="5.1 integer of 2^32"),
        pytest.param("40", id="5.2 name missing"),
        pytest.param("4001", id="5.2 name cut off"),
        pytest.param("400161", id="5.2 value missing"),
        pytest.param("4001610261", id="5.2 value cut off"),
        pytest.param("400161ffffffff7f61", id="5.2 length beyond the block"),
        pytest.param("0481ff", id="5.2 padding of eight bits"),
        pytest.param("0482fffc", id="5.2 padding too long"),
        pytest.param("0484fffffffc", id="5.2 end-of-string inside"),
        pytest.param("8220", id="4.2 size update behind a field"),
        pytest.param("3fe21f", id="6.3 size update above the limit"),
        pytest.param("3f", id="6.3 size update cut off"),
    ],
)
def test_compression_errors(block: str) -> None:
    with pytest.raises(ValueError):
        HpackDecoder().decode(bytes.fromhex(block))


def test_entry_larger_than_the_table_empties_it() -> None:
    """Section 4.4."""
    decoder = HpackDecoder(100)
    decoder.decode(bytes.fromhex("4001610162"))
    assert decoder.table_used == 34
    large = b"v" * 90
    assert decoder.decode(b"\x40\x01a" + bytes([len(large)]) + large) == [(b"a", large)]
    assert decoder.table_used == 0


def test_name_of_the_entry_that_its_own_insertion_evicts() -> None:
    """Section 4.4: the name is taken before the eviction."""
    decoder = HpackDecoder(80)
    decoder.decode(b"\x40\x04name\x14" + b"1" * 20)
    for i in range(50):
        value = bytes([65 + i % 26]) * (20 + i % 20)
        assert decoder.decode(b"\x7e" + bytes([len(value)]) + value) == [(b"name", value)]
        assert decoder.table_used == 4 + len(value) + 32


def test_lowered_ceiling_must_be_acted_on_first() -> None:
    """RFC 9113, section 4.3.1; RFC 7541, section 4.2."""
    decoder = HpackDecoder()
    decoder.decode(bytes.fromhex("4001610162"))
    decoder.set_ceiling(64)
    assert decoder.decode(bytes.fromhex("3f2182")) == [(b":method", b"GET")]
    assert (decoder.table_limit, decoder.table_used) == (64, 34)
    for wrong in ("82", "3f2282", "3f22"):
        decoder = HpackDecoder()
        decoder.set_ceiling(64)
        with pytest.raises(ValueError):
            decoder.decode(bytes.fromhex(wrong))


def test_several_updates_at_the_start() -> None:
    decoder = HpackDecoder()
    decoder.decode(bytes.fromhex("4001610162"))
    assert decoder.decode(bytes.fromhex("203fe11f82")) == [(b":method", b"GET")]
    assert (decoder.table_limit, decoder.table_used) == (4096, 0)


def test_raised_ceiling_keeps_the_entries() -> None:
    decoder = HpackDecoder(128)
    for i in range(3):
        decoder.decode(b"\x40\x01%c\x01b" % (97 + i))
    decoder.set_ceiling(8192)
    assert decoder.decode(bytes.fromhex("3fe13f") + b"\xbe\xbf\xc0") == [(b"c", b"b"), (b"b", b"b"), (b"a", b"b")]
    value = b"v" * 4000
    literal = b"\x40\x01x\x7f" + bytes([(4000 - 127) % 128 | 128, (4000 - 127) // 128]) + value
    assert decoder.decode(literal + b"\xbe\xc1") == [(b"x", value), (b"x", value), (b"a", b"b")]


def test_secrets_are_never_indexed() -> None:
    """Section 7.1.3."""
    for name in (b"authorization", b"cookie", b"set-cookie", b"proxy-authorization"):
        assert encode([(name, b"x")])[0] & 0xF0 == 0x10
    assert encode([(b"accept", b"x")])[0] & 0xF0 == 0


def test_encoder_uses_the_static_table() -> None:
    assert (
        encode([(b":status", b"200"), (b":method", b"POST"), (b"accept-encoding", b"gzip, deflate")]) == b"\x88\x83\x90"
    )
    assert encode([(b":status", b"503")]) == b"\x08\x03503"
    assert encode([], table_size=0) == b"\x20"
    assert encode([], table_size=4096) == b"\x3f\xe1\x1f"


text = st.binary(max_size=300)


@given(st.lists(st.tuples(text, text), max_size=12), st.booleans())
def test_what_the_encoder_writes_the_decoder_reads(fields: list[tuple[bytes, bytes]], huffman: bool) -> None:
    decoder = HpackDecoder()
    block = encode(fields, huffman=huffman)
    assert decoder.decode(block) == fields
    assert decoder.table_used == 0
    assert decoder.count(block) == len(fields)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_decode_or_are_refused(blocks: list[bytes]) -> None:
    decoder = HpackDecoder(256)
    for block in blocks:
        try:
            fields = decoder.decode(block)
        except ValueError:
            return
        assert len(fields) <= len(block)
        assert decoder.table_used <= decoder.table_limit <= 256
