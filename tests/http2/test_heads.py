"""Messages and their fields: RFC 9113, section 8; every case whole and byte by byte."""

import pytest

from fastnet_ext.http2.errors import ErrorCode
from fastnet_ext.http2.limits import Limits
from fastnet_ext.http2.peer import Peer
from tests.http2.wire import (
    END_HEADERS,
    GET,
    HEADERS,
    OK,
    POST,
    RST_STREAM,
    Field,
    asking,
    both_ways,
    data,
    fed,
    frame,
    frames,
    headers,
    server,
)


def with_fields(*fields: Field, base: list[Field] = GET) -> list[Field]:
    return [*base, *fields]


def without(name: bytes, base: list[Field] = GET) -> list[Field]:
    return [field for field in base if field[0] != name]


def replaced(name: bytes, value: bytes, base: list[Field] = GET) -> list[Field]:
    return [(n, value if n == name else v) for n, v in base]


def test_request() -> None:
    fields = [*POST, (b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"x-a", b"b"), (b"x-a", b"c")]
    events, sent = both_ways(server, headers(1, fields) + data(1, b"hello") + data(1, b"", end_stream=True))
    start = {"method": b"POST", "target": b"/", "scheme": b"http", "authority": b"a.example", "status": 0}
    assert events == [("request", 1, start, fields[4:], False), ("data", 1, b"hello"), ("end", 1)]
    assert sent == []


def test_cookie_crumbs_are_joined() -> None:
    """Section 8.2.3."""
    fields = with_fields((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3"))
    events, _ = both_ways(server, headers(1, fields, end_stream=True))
    assert events[0][3] == [(b"cookie", b"a=1; b=2; c=3"), (b"x", b"y")]


@pytest.mark.parametrize("crumbs", [[b"", b"a=1"], [b"a=1", b""], [b"", b"", b"a=1", b""]])
def test_empty_crumbs_are_left_out(crumbs: list[bytes]) -> None:
    events, _ = both_ways(server, headers(1, with_fields(*((b"cookie", crumb) for crumb in crumbs)), end_stream=True))
    assert events[0][3] == [(b"cookie", b"a=1")]


def test_one_cookie_stays_as_it_is() -> None:
    events, _ = both_ways(server, headers(1, with_fields((b"cookie", b"a=1; b=2")), end_stream=True))
    assert events[0][3] == [(b"cookie", b"a=1; b=2")]


MALFORMED = [
    pytest.param(with_fields((b"X-upper", b"a")), id="8.2.1 upper case"),
    pytest.param(with_fields((b"", b"a")), id="8.2.1 empty name"),
    pytest.param(with_fields((b"a b", b"a")), id="8.2.1 space in name"),
    pytest.param(with_fields((b"a:b", b"a")), id="8.2.1 colon in name"),
    pytest.param(with_fields((b"a\x80", b"a")), id="8.2.1 byte above 0x7f in name"),
    pytest.param(with_fields((b"a", b"b\r\nc")), id="8.2.1 CR LF in value"),
    pytest.param(with_fields((b"a", b"0123456789abcdef\n0123456")), id="8.2.1 LF in a long value"),
    pytest.param(with_fields((b"a", b"\x00")), id="8.2.1 NUL in value"),
    pytest.param(with_fields((b"a", b"b\x7f")), id="9110 5.5 DEL in value"),
    pytest.param(with_fields((b"a", b" b")), id="8.2.1 space before value"),
    pytest.param(with_fields((b"a", b"b\t")), id="8.2.1 tab behind value"),
    pytest.param(with_fields((b"accept", b"\x01")), id="8.2.1 control in a known field"),
    pytest.param(with_fields((b"connection", b"close")), id="8.2.2 connection"),
    pytest.param(with_fields((b"keep-alive", b"a")), id="8.2.2 keep-alive"),
    pytest.param(with_fields((b"proxy-connection", b"a")), id="8.2.2 proxy-connection"),
    pytest.param(with_fields((b"transfer-encoding", b"chunked")), id="8.2.2 transfer-encoding"),
    pytest.param(with_fields((b"upgrade", b"h2c")), id="8.2.2 upgrade"),
    pytest.param(with_fields((b"te", b"trailers, gzip")), id="8.2.2 te"),
    pytest.param(with_fields((b":path", b"/")), id="8.3 path twice"),
    pytest.param([*GET[:2], (b"a", b"b"), *GET[2:]], id="8.3 pseudo-header behind a field"),
    pytest.param(with_fields((b":foo", b"a")), id="8.3 unknown pseudo-header"),
    pytest.param(with_fields((b":status", b"200")), id="8.3 pseudo-header of responses"),
    pytest.param(with_fields((b":protocol", b"websocket")), id="8441 not enabled"),
    pytest.param(without(b":method"), id="8.3.1 no method"),
    pytest.param(without(b":scheme"), id="8.3.1 no scheme"),
    pytest.param(without(b":path"), id="8.3.1 no path"),
    pytest.param(without(b":authority"), id="neither authority nor host"),
    pytest.param(replaced(b":method", b""), id="empty method"),
    pytest.param(replaced(b":method", b"G T"), id="method no token"),
    pytest.param(replaced(b":scheme", b"1http"), id="scheme"),
    pytest.param(replaced(b":path", b""), id="8.3.1 empty path"),
    pytest.param(replaced(b":path", b"a"), id="8.3.1 path without a slash"),
    pytest.param(replaced(b":path", b"*"), id="8.3.1 asterisk with GET"),
    pytest.param(replaced(b":path", b"/a b"), id="space in path"),
    pytest.param(replaced(b":path", b"/#a"), id="fragment in path"),
    pytest.param(replaced(b":path", b"/\xc3\xa4"), id="bytes above 0x7f in path"),
    pytest.param(replaced(b":authority", b""), id="empty authority"),
    pytest.param(replaced(b":authority", b"u@a"), id="8.3.1 userinfo"),
    pytest.param(replaced(b":authority", b"a/b"), id="slash in authority"),
    pytest.param(with_fields((b"host", b"b.example")), id="8.3.1 host differs"),
    pytest.param(with_fields((b"host", b"a.example"), (b"host", b"a.example")), id="host twice"),
    pytest.param([*without(b":authority"), (b"host", b"a b")], id="host malformed"),
    pytest.param(replaced(b":method", b"CONNECT"), id="8.5 CONNECT with path and scheme"),
    pytest.param([(b":method", b"CONNECT"), (b"host", b"a")], id="8.5 CONNECT without authority"),
    pytest.param(with_fields((b"content-length", b"+1")), id="content-length with a sign"),
    pytest.param(with_fields((b"content-length", b"1, 1")), id="content-length list"),
    pytest.param(with_fields((b"content-length", b"")), id="content-length empty"),
    pytest.param(with_fields((b"content-length", b"9" * 19)), id="content-length too large"),
    pytest.param(with_fields((b"content-length", b"0"), (b"content-length", b"0")), id="content-length twice"),
    pytest.param(with_fields((b"content-length", b"1")), id="8.1.1 content-length without content"),
]


@pytest.mark.parametrize("fields", MALFORMED)
def test_malformed_request_is_a_stream_error(fields: list[Field]) -> None:
    """Section 8.1.1: the driver never sees it; the connection goes on, its dynamic table in step."""
    following = frame(HEADERS, END_HEADERS | 1, 3, bytes.fromhex("828684be"))
    inserting = frame(HEADERS, END_HEADERS | 1, 5, bytes.fromhex("828684410161"))
    events, sent = both_ways(
        server, inserting + headers(7, fields, end_stream=True) + following.replace(b"\x00\x00\x00\x03", b"\0\0\0\t")
    )
    assert [event[:2] for event in events] == [("request", 5), ("end", 5), ("request", 9), ("end", 9)]
    assert events[2][2]["authority"] == b"a"
    assert [(f.type, f.stream_id, f.number) for f in sent] == [(RST_STREAM, 7, ErrorCode.PROTOCOL_ERROR)]


WELL_FORMED = [
    pytest.param(with_fields((b"host", b"A.Example")), id="host equals authority"),
    pytest.param([*without(b":authority"), (b"host", b"a.example")], id="host instead of authority"),
    pytest.param([*replaced(b":path", b"*", replaced(b":method", b"OPTIONS"))], id="asterisk with OPTIONS"),
    pytest.param([(b":method", b"CONNECT"), (b":authority", b"a:1")], id="CONNECT"),
    pytest.param(replaced(b":method", b"PROPFIND"), id="any method"),
    pytest.param(replaced(b":authority", b"[::1]:80"), id="IPv6"),
    pytest.param(with_fields((b"content-length", b"0")), id="content-length 0"),
    pytest.param(with_fields((b"a", b"\xe4 b\tc"), (b"b", b""), (b"te", b"trailers")), id="values"),
]


@pytest.mark.parametrize("fields", WELL_FORMED)
def test_well_formed_request(fields: list[Field]) -> None:
    events, sent = both_ways(server, headers(1, fields, end_stream=True))
    assert [event[:2] for event in events] == [("request", 1), ("end", 1)]
    assert events[0][2]["authority"] in (b"a.example", b"a:1", b"[::1]:80")
    assert sent == []


def test_extended_connect() -> None:
    """RFC 8441, section 4."""
    peer = server(Limits(enable_connect=True))
    fields = [*replaced(b":method", b"CONNECT"), (b":protocol", b"websocket")]
    assert peer.receive(headers(1, fields))[0][:2] == ("request", 1)
    assert peer.protocol == b"websocket"
    assert peer.receive(headers(3))[0][:2] == ("request", 3)
    assert peer.protocol == b""
    for wrong in ([*GET, (b":protocol", b"websocket")], without(b":path", fields), without(b":scheme", fields)):
        peer = server(Limits(enable_connect=True))
        assert peer.receive(headers(1, wrong)) == []
        assert frames(peer.data_to_send())[0].number == ErrorCode.PROTOCOL_ERROR


# Content-Length against DATA: section 8.1.1.
LENGTH_3 = with_fields((b"content-length", b"3"), base=POST)


@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        ([b"abcd"], b""),
        ([b"abc", b"d"], b"abc"),
        ([b"ab", b""], b"ab"),
        ([b""], b""),
    ],
)
def test_content_length_mismatch(parts: list[bytes], seen: bytes) -> None:
    body = b"".join(data(1, part, end_stream=i == len(parts) - 1) for i, part in enumerate(parts))
    events, sent = both_ways(server, headers(1, LENGTH_3) + body)
    assert b"".join(event[2] for event in events if event[0] == "data") == seen
    assert events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR, False)
    assert [(f.type, f.number) for f in sent] == [(RST_STREAM, ErrorCode.PROTOCOL_ERROR)]


def test_content_length_met() -> None:
    events, sent = both_ways(server, headers(1, LENGTH_3) + data(1, b"ab") + data(1, b"c", end_stream=True))
    assert events[1:] == [("data", 1, b"abc"), ("end", 1)]
    assert sent == []


def test_content_length_and_trailers() -> None:
    short = headers(1, LENGTH_3) + data(1, b"ab") + headers(1, [(b"x", b"y")], end_stream=True)
    events, _ = both_ways(server, short)
    assert events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR, False)


# Trailers: section 8.1.


def test_trailers() -> None:
    events, sent = both_ways(server, headers(1, POST) + data(1, b"a") + headers(1, [(b"x", b"y")], end_stream=True))
    assert events[1:] == [("data", 1, b"a"), ("trailers", 1, [(b"x", b"y")])]
    assert sent == []


@pytest.mark.parametrize(
    ("fields", "end_stream"),
    [
        pytest.param([(b"x", b"y")], False, id="without END_STREAM"),
        pytest.param([(b":path", b"/")], True, id="with a pseudo-header field"),
        pytest.param([(b"connection", b"close")], True, id="with a connection-specific field"),
        pytest.param([(b"X", b"y")], True, id="with upper case"),
    ],
)
def test_malformed_trailers(fields: list[Field], end_stream: bool) -> None:
    events, sent = both_ways(server, headers(1, POST) + headers(1, fields, end_stream=end_stream))
    assert events[1:] == [("reset", 1, ErrorCode.PROTOCOL_ERROR, False)]
    assert [(f.type, f.number) for f in sent] == [(RST_STREAM, ErrorCode.PROTOCOL_ERROR)]


# Sizes: what is too large is told to the driver, which answers 431.


def small() -> Peer:
    return server(Limits(header_list=1000, fields=4))


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ([(b"a", b"b")] * 4, True),
        ([(b"a", b"b")] * 5, False),
        ([(b"cookie", b"b")] * 5, False),
        ([(b"a", b"b" * (1000 - 174 - 33))], True),
        ([(b"a", b"b" * (1000 - 174 - 32))], False),
    ],
)
def test_field_and_list_limits(fields: list[Field], fits: bool) -> None:
    assert sum(len(name) + len(value) + 32 for name, value in GET) == 174
    events, sent = both_ways(small, headers(1, with_fields(*fields), end_stream=True))
    assert events[0][:2] == ("request" if fits else "too_large", 1)
    assert sent == []


def test_too_large_request_can_be_answered_and_the_table_follows() -> None:
    peer = small()
    block = bytes.fromhex("828684410161") + b"\x40\x01x\x01y" * 6
    (event,) = peer.receive(frame(HEADERS, END_HEADERS | 1, 1, block))
    assert (event[0], event[4]) == ("too_large", True)
    peer.send_headers(1, [(b":status", b"431")], end_stream=True)
    assert [f.type for f in frames(peer.data_to_send())] == [HEADERS]
    (event,) = peer.receive(frame(HEADERS, END_HEADERS | 1, 3, bytes.fromhex("828684c4be")))
    assert event[0] == "request"
    assert event[3] == [(b"x", b"y")]
    assert event[2]["authority"] == b"a"


def test_references_to_one_long_entry_are_counted() -> None:
    """A header bomb: one byte each, four kilobytes decoded."""
    peer = server()
    value = b"v" * 3900
    literal = b"\x40\x01x\x7f" + bytes([(3900 - 127) % 128 | 128, (3900 - 127) // 128]) + value
    block = bytes.fromhex("828684410161") + literal + b"\xbe" * 12000
    (event,) = peer.receive(frame(HEADERS, END_HEADERS | 1, 1, block))
    assert event[0] == "too_large"
    assert sum(len(name) + len(content) for name, content in event[3]) <= 65536


def test_too_large_trailers() -> None:
    events, _ = both_ways(small, headers(1, POST) + headers(1, [(b"a", b"b")] * 5, end_stream=True))
    assert events[1:] == [("reset", 1, ErrorCode.ENHANCE_YOUR_CALM, False)]


# Responses, for the client role: section 8.3.2.


def test_response() -> None:
    events, _ = both_ways(
        asking,
        headers(1, [(b":status", b"103"), (b"link", b"a")])
        + headers(1, [*OK, (b"content-length", b"3")])
        + data(1, b"abc")
        + headers(1, [(b"x", b"y")], end_stream=True),
    )
    assert [event[0] for event in events] == ["response", "response", "data", "trailers"]
    assert [event[2]["status"] for event in events[:2]] == [103, 200]


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(headers(1, [(b"a", b"b")]), id="no status"),
        pytest.param(headers(1, [*OK, *OK]), id="two statuses"),
        pytest.param(headers(1, [(b":status", b"20")]), id="two digits"),
        pytest.param(headers(1, [(b":status", b"2000")]), id="four digits"),
        pytest.param(headers(1, [(b":status", b"2x0")]), id="no digits"),
        pytest.param(headers(1, [(b":status", b"099")]), id="below 100"),
        pytest.param(headers(1, [(b":status", b"101")]), id="8.6 switching protocols"),
        pytest.param(headers(1, [*OK, (b":path", b"/")]), id="pseudo-header of requests"),
        pytest.param(headers(1, [(b":status", b"100")], end_stream=True), id="interim head that ends the stream"),
        pytest.param(data(1, b"a"), id="data before a head"),
        pytest.param(headers(1, [(b":status", b"100")]) + data(1, b"a"), id="data behind an interim head"),
        pytest.param(headers(1, [(b":status", b"204")]) + data(1, b"a"), id="content in 204"),
        pytest.param(
            headers(1, [(b":status", b"304"), (b"content-length", b"1")]) + data(1, b"a"), id="content in 304"
        ),
        pytest.param(headers(1, [*OK, (b"content-length", b"1")], end_stream=True), id="content missing"),
    ],
)
def test_malformed_response(received: bytes) -> None:
    events, sent = both_ways(asking, received)
    assert events[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR, False)
    assert [(f.type, f.number) for f in sent] == [(RST_STREAM, ErrorCode.PROTOCOL_ERROR)]


def test_answer_to_head_announces_a_length() -> None:
    peer = asking()
    peer.expect_no_body(1)
    answer = headers(1, [*OK, (b"content-length", b"5")], end_stream=True)
    assert [event[0] for event in fed(peer, answer)] == ["response", "end"]
    peer = asking()
    peer.expect_no_body(1)
    assert fed(peer, headers(1, OK) + data(1, b"a"))[-1] == ("reset", 1, ErrorCode.PROTOCOL_ERROR, False)


def test_304_announces_a_length() -> None:
    answer = headers(1, [(b":status", b"304"), (b"content-length", b"5")], end_stream=True)
    assert [event[0] for event in fed(asking(), answer)] == ["response", "end"]
