"""What the HTTP/1 reader refuses, and with which status: a table per part of the message.

Each case is read whole, byte by byte and cut at every place.
"""

import pytest

from fastnet_ext.http1.reader import Limits
from tests.http1.reading import bytewise, error_of, read, read_every_way, request

NOT_HTTP = 0
SECOND = request()  # puts the case behind a good request, where the first line no longer decides


def cases(*rows: tuple[str, bytes, int]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("data", "status"), [pytest.param(*row[1:], id=row[0]) for row in rows])


def start(line: bytes) -> bytes:
    return request(start=line)


@cases(
    ("h2spec 3.5 invalid preface", b"INVALID CONNECTION PREFACE\r\n\r\n", NOT_HTTP),
    ("TLS client hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", NOT_HTTP),
    ("NUL first", b"\x00", NOT_HTTP),
    ("above ASCII first", b"\xff\xfe", NOT_HTTP),
    ("binary within the method", b"GE\x01", NOT_HTTP),
    ("HTTP/0.9: RFC 9112, 2.3", b"GET /\r\n", NOT_HTTP),
    ("bare LF line", b"hello\n", NOT_HTTP),
    ("version in lower case", start(b"GET / http/1.1"), NOT_HTTP),
    ("version without a dot", start(b"GET / HTTP/11"), NOT_HTTP),
    ("version with two digits", start(b"GET / HTTP/1.10"), NOT_HTTP),
    ("version with a word", start(b"GET / HTTP/one"), NOT_HTTP),
    ("space behind the version", start(b"GET / HTTP/1.1 "), NOT_HTTP),
    ("empty lines without end", b"\r\n\r\n\r\n", NOT_HTTP),
)
def test_a_first_line_that_is_not_http(data: bytes, status: int) -> None:
    assert error_of(data) == status


def test_a_long_first_line_without_a_space_is_not_http() -> None:
    data = b"A" * 9000
    assert read(data).events == read([data[:100], data[100:8193], data[8193:]]).events == [("not_http",)]


@cases(
    ("preface", b"INVALID CONNECTION PREFACE\r\n\r\n", 400),
    ("binary", b"\x16", 400),
    ("HTTP/0.9", b"GET /\r\n", 400),
    ("malformed version", start(b"GET / HTTP/one"), 400),
    ("empty lines without end", b"\r\n\r\n\r\n", 400),
    ("no space for too long", b"A" * 9000, 414),
)
def test_behind_a_good_request_the_same_is_an_error(data: bytes, status: int) -> None:
    assert read(SECOND + data).events[-1][:2] == ("failed", status)
    assert read(bytewise(SECOND + data)).events[-1][:2] == ("failed", status)


@cases(
    ("HTTP/2.0", start(b"PRI * HTTP/2.0"), 505),
    ("HTTP/1.2", start(b"GET / HTTP/1.2"), 505),
    ("HTTP/0.9 written out", start(b"GET / HTTP/0.9"), 505),
    ("HTTP/3.0", start(b"GET / HTTP/3.0"), 505),
    ("two spaces before the target: RFC 9112, 3", start(b"GET  / HTTP/1.1"), 400),
    ("two spaces before the version", start(b"GET /  HTTP/1.1"), 400),
    ("tab for a space", start(b"GET\t/ HTTP/1.1"), 400),
    ("space in the target", start(b"GET /a b HTTP/1.1"), 400),
    ("no target", start(b"GET HTTP/1.1"), 400),
    ("empty target", start(b"GET  HTTP/1.1"), 400),
    ("leading space", start(b" GET / HTTP/1.1"), 400),
    ("method no token: RFC 9110, 9.1", start(b"G@T / HTTP/1.1"), 400),
    ("method with a colon", start(b"GET: / HTTP/1.1"), 400),
    ("method of 65", start(b"M" * 65 + b" / HTTP/1.1"), 400),
    ("bare LF: RFC 9112, 2.2", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("bare CR: RFC 9112, 2.2", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    ("CR in the target", start(b"GET /\ra HTTP/1.1"), 400),
    ("CR before CRLF", start(b"GET / HTTP/1.1\r"), 400),
)
def test_request_lines(data: bytes, status: int) -> None:
    assert error_of(data) == status


@pytest.mark.parametrize("byte", [*range(0x0A), *range(0x0B, 0x20), 0x7F, 0x80, 0xFF, ord("#")])
def test_characters_that_no_target_holds(byte: int) -> None:
    """RFC 9112, 3.2 and RFC 3986: visible ASCII, and no fragment."""
    assert error_of(start(b"GET /a" + bytes([byte]) + b"b HTTP/1.1")) == 400


@cases(
    ("relative", start(b"GET index.html HTTP/1.1"), 400),
    ("query only", start(b"GET ?a HTTP/1.1"), 400),
    ("asterisk for GET: RFC 9112, 3.2.4", start(b"GET * HTTP/1.1"), 400),
    ("asterisk and more", start(b"OPTIONS ** HTTP/1.1"), 400),
    ("authority for GET: RFC 9112, 3.2.3", start(b"GET example.com:80 HTTP/1.1"), 400),
    ("origin for CONNECT", start(b"CONNECT / HTTP/1.1"), 400),
    ("CONNECT without port: RFC 9110, 9.3.6", start(b"CONNECT example.com HTTP/1.1"), 400),
    ("CONNECT with an empty port", start(b"CONNECT example.com: HTTP/1.1"), 400),
    ("CONNECT to port 0", start(b"CONNECT example.com:0 HTTP/1.1"), 400),
    ("CONNECT absolute", start(b"CONNECT http://example.com:80/ HTTP/1.1"), 400),
    ("another scheme", start(b"GET ftp://example.com/ HTTP/1.1"), 400),
    ("no authority", start(b"GET http:///a HTTP/1.1"), 400),
    ("empty host with port", start(b"GET http://:80/ HTTP/1.1"), 400),
    ("user information: RFC 9110, 4.2.4", start(b"GET http://user@example.com/ HTTP/1.1"), 400),
    ("scheme only", start(b"GET http:// HTTP/1.1"), 400),
    ("one slash", start(b"GET http:/example.com HTTP/1.1"), 400),
)
def test_target_forms(data: bytes, status: int) -> None:
    assert error_of(data) == status


@cases(
    ("folded: RFC 9112, 5.2", request(b"A: b", b" c"), 400),
    ("folded with a tab", request(b"A: b", b"\tc"), 400),
    ("white space before the first field: RFC 9112, 2.2", request(b" A: b", host=False), 400),
    ("space before the colon: RFC 9112, 5.1", request(b"A : b"), 400),
    ("tab before the colon", request(b"A\t: b"), 400),
    ("empty name: RFC 9110, 5.1", request(b": b"), 400),
    ("no colon", request(b"A b"), 400),
    ("name alone", request(b"Name"), 400),
    ("name in brackets", request(b"(A): b"), 400),
    ("name above ASCII", request(b"\xc3\xa4: b"), 400),
    ("name with NUL", request(b"A\x00: b"), 400),
    ("long name with a bad end", request(b"Content-Length-Of-Something-Very-Long@: b"), 400),
    ("bare LF behind a value: RFC 9112, 2.2", request(b"A: b\nB: c"), 400),
    ("bare LF behind a name", request(b"A\nB: c"), 400),
    ("bare CR within a value", request(b"A: b\rB: c"), 400),
    ("CR before CRLF", request(b"A: b\r"), 400),
    ("bare LF for the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    ("bare CR for the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", 400),
)
def test_field_lines(data: bytes, status: int) -> None:
    assert error_of(data) == status


@pytest.mark.parametrize("byte", [b for b in range(0x20) if b != 0x09] + [0x7F])
@pytest.mark.parametrize("length", [0, 20])
def test_controls_that_no_value_holds(byte: int, length: int) -> None:
    """RFC 9110, 5.5; far enough within for the scanner's wide loads, and near the end."""
    assert error_of(request(b"A: " + b"x" * length + bytes([byte]) + b"x" * length)) == 400


@cases(
    ("missing: RFC 9112, 3.2", request(host=False), 400),
    ("repeated", request(b"Host: example.com"), 400),
    ("repeated in HTTP/1.0", request(b"HOST: b", start=b"GET / HTTP/1.0"), 400),
    ("list", request(b"Host: a, b", host=False), 400),
    ("with a path", request(b"Host: a/b", host=False), 400),
    ("with user information", request(b"Host: u@a", host=False), 400),
    ("with a space", request(b"Host: a b", host=False), 400),
    ("above ASCII", request(b"Host: \xc3\xa4", host=False), 400),
    ("port no number", request(b"Host: a:b", host=False), 400),
    ("port too large", request(b"Host: a:65536", host=False), 400),
    ("two ports", request(b"Host: a:1:2", host=False), 400),
    ("port alone", request(b"Host: :80", host=False), 400),
    ("bad percent-encoding", request(b"Host: a%4", host=False), 400),
    ("unclosed bracket", request(b"Host: [::1", host=False), 400),
    ("no address in brackets", request(b"Host: [a]", host=False), 400),
    ("zone", request(b"Host: [fe80::1%25eth0]", host=False), 400),
    ("behind the bracket", request(b"Host: [::1]x", host=False), 400),
    ("bare IPv6", request(b"Host: ::1", host=False), 400),
    ("empty with absolute-form", request(b"Host:", start=b"GET http://a/ HTTP/1.1", host=False), 400),
    ("empty with CONNECT", request(b"Host:", start=b"CONNECT a:80 HTTP/1.1", host=False), 400),
    ("missing with absolute-form", request(start=b"GET http://a/ HTTP/1.1", host=False), 400),
)
def test_host(data: bytes, status: int) -> None:
    assert error_of(data) == status


@cases(
    ("negative: RFC 9112, 6.3", request(b"Content-Length: -1"), 400),
    ("plus", request(b"Content-Length: +1"), 400),
    ("empty", request(b"Content-Length:"), 400),
    ("hexadecimal", request(b"Content-Length: 0x1"), 400),
    ("fraction", request(b"Content-Length: 1.0"), 400),
    ("underscore", request(b"Content-Length: 1_0"), 400),
    ("space within", request(b"Content-Length: 1 0"), 400),
    ("2^63", request(b"Content-Length: 9223372036854775808"), 400),
    ("2^64 + 1", request(b"Content-Length: 18446744073709551617"), 400),
    ("list of equals", request(b"Content-Length: 1, 1"), 400),
    ("repeated equals", request(b"Content-Length: 1", b"Content-Length: 1"), 400),
    ("repeated zero", request(b"Content-Length: 0", b"Content-Length: 0"), 400),
    ("with Transfer-Encoding", request(b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
    ("behind Transfer-Encoding", request(b"Transfer-Encoding: chunked", b"Content-Length: 1"), 400),
)
def test_content_length(data: bytes, status: int) -> None:
    assert error_of(data) == status


@cases(
    ("HTTP/1.0: RFC 9112, 6.1", request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0"), 400),
    ("not chunked", request(b"Transfer-Encoding: gzip"), 400),
    ("chunked not last: RFC 9112, 6.3", request(b"Transfer-Encoding: chunked, gzip"), 400),
    ("identity", request(b"Transfer-Encoding: identity"), 400),
    ("unknown before chunked", request(b"Transfer-Encoding: gzip, chunked"), 501),
    ("unknown in a line before", request(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"), 501),
    ("identity before chunked", request(b"Transfer-Encoding: identity, chunked"), 501),
    ("unknown in a line behind", request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"), 400),
    ("twice: RFC 9112, 6.1", request(b"Transfer-Encoding: chunked, chunked"), 400),
    ("twice in two lines", request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    ("with a parameter: RFC 9112, 7.1", request(b"Transfer-Encoding: chunked;q=1"), 400),
    ("empty", request(b"Transfer-Encoding:"), 400),
    ("empty element", request(b"Transfer-Encoding: , chunked"), 400),
    ("empty last element", request(b"Transfer-Encoding: chunked,"), 400),
    ("quoted", request(b'Transfer-Encoding: "chunked"'), 400),
    ("another word", request(b"Transfer-Encoding: xchunked"), 400),
    ("vertical tab", request(b"Transfer-Encoding: \x0bchunked"), 400),
    ("other expectation: RFC 9110, 10.1.1", request(b"Expect: 200-ok"), 417),
    ("two expectations", request(b"Expect: 100-continue, x=y"), 417),
)
def test_codings_and_expectations(data: bytes, status: int) -> None:
    assert error_of(data) == status


CHUNKED = request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")


@cases(
    ("no size: RFC 9112, 7.1", b"\r\n", 400),
    ("no digit", b"g\r\n", 400),
    ("minus", b"-1\r\n", 400),
    ("prefix", b"0x1\r\n", 400),
    ("underscore", b"1_0\r\n", 400),
    ("leading space", b" 1\r\n", 400),
    ("space behind the size", b"1 \r\n", 400),
    ("17 digits", b"00000000000000001\r\n", 400),
    ("2^63", b"8000000000000000\r\n", 400),
    ("2^64 - 1", b"ffffffffffffffff\r\n", 400),
    ("bare LF behind the size", b"1\na\r\n", 400),
    ("bare CR behind the size", b"1\ra\r\n", 400),
    ("data too long", b"1\r\nab\r\n0\r\n\r\n", 400),
    ("bare LF behind the data", b"1\r\na\n0\r\n\r\n", 400),
    ("CR and more behind the data", b"1\r\na\r0\r\n\r\n", 400),
    ("next chunk at once", b"1\r\na1\r\n", 400),
    ("extension without a name", b"1;\r\n", 400),
    ("extension without a value", b"1;a=\r\n", 400),
    ("extension with white space", b"1; a\r\n", 400),
    ("white space before the extension", b"1 ;a\r\n", 400),
    ("extension with a bare LF", b"1;a\nb\r\n", 400),
    ("extension with a bare CR", b"1;a\rb\r\n", 400),
    ("extension with NUL", b"1;a\x00\r\n", 400),
    ("unclosed quotes", b'1;a="b\r\n', 400),
    ("unclosed escape", b'1;a="b\\\r\n', 400),
    ("behind the quotes", b'1;a="b"c\r\n', 400),
    ("two values", b"1;a=b=c\r\n", 400),
    ("trailer folded", b"0\r\nA: b\r\n c\r\n\r\n", 400),
    ("trailer without colon", b"0\r\nA\r\n\r\n", 400),
    ("trailer with a bare LF", b"0\r\nA: b\n\r\n", 400),
    ("bare LF behind the last chunk", b"0\r\n\n", 400),
)
def test_chunks(data: bytes, status: int) -> None:
    assert error_of(CHUNKED + data) == status


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length",
        "Transfer-Encoding",
        "HOST",
        "Connection",
        "Trailer",
        "TE",
        "Upgrade",
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Range",
        "Expect",
        "Max-Forwards",
        "Cache-Control",
        "If-Match",
        "If-None-Match",
        "X-Forwarded-For",
        "Forwarded",
    ],
)
def test_trailers_that_belong_into_the_head(name: str) -> None:
    """RFC 9110, 6.5.1."""
    assert error_of(CHUNKED + b"0\r\n" + name.encode() + b": 1\r\n\r\n") == 400


SMALL = Limits(request_line=128, head=256, fields=4, chunk_extensions=16, trailers=128)


@cases(
    ("target: RFC 9110, 15.5.15", start(b"GET /" + b"a" * 115 + b" HTTP/1.1"), 414),
    ("long before it is wrong", start(b"GET /\x00" + b"a" * 115 + b" HTTP/1.1"), 414),
    ("no end of line", b"GET /" + b"a" * 140, 414),
    ("one field: RFC 6585, 5", request(b"A: " + b"a" * 300), 431),
    ("one field without end", request()[:-2] + b"A: " + b"a" * 300, 431),
    ("all fields", request(b"A: " + b"a" * 110, b"B: " + b"b" * 110), 431),
    ("only the last CRLF is over", request(b"A: " + b"a" * (256 - len(request(b"A: ")) + 1)), 431),
    ("too many fields", request(b"A: 1", b"B: 2", b"C: 3", b"D: 4"), 431),
    ("chunk extension", CHUNKED + b"1;" + b"a" * 16 + b"\r\n", 400),
    ("chunk extensions in total", CHUNKED + b"1;aaaaaaa\r\na\r\n1;aaaaaaa\r\na\r\n0;a\r\n\r\n", 400),
    ("chunk extension without end", CHUNKED + b"1;" + b"a" * 17, 400),
    ("trailers", CHUNKED + b"0\r\nA: " + b"a" * 128 + b"\r\n\r\n", 431),
    ("too many trailers", CHUNKED + b"0\r\n" + b"A: b\r\n" * 5 + b"\r\n", 431),
)
def test_limits(data: bytes, status: int) -> None:
    assert error_of(data, limits=SMALL) == status


@cases(
    ("request line", start(b"GET /" + b"a" * (128 - 14) + b" HTTP/1.1"), 200),
    ("head", request(b"A: " + b"a" * (256 - len(request(b"A: ")))), 200),
    ("fields", request(b"A: 1", b"B: 2", b"C: 3"), 200),
    ("chunk extensions", CHUNKED + b"1;aaaaaaa\r\na\r\n0;aaaaaaa\r\n\r\n", 200),
    ("trailers", CHUNKED + b"0\r\nA: " + b"a" * (128 - 7) + b"\r\n\r\n", 200),
)
def test_limits_are_inclusive(data: bytes, status: int) -> None:
    assert read_every_way(data, limits=SMALL).events[-1][0] == "end"


SMUGGLING = [
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nX: x\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 1,2\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nGET /x HTTP/1.1",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 \x01\r\n\r\nhello",
    b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\nxx\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\rX\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
]


@pytest.mark.parametrize("data", SMUGGLING)
def test_smuggling_is_refused(data: bytes) -> None:
    assert error_of(data) in (400, 501)
