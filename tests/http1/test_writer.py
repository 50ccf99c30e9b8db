"""The HTTP/1 writer: exact bytes, dates, and what it refuses to write."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.http1.writer import Writer, imf_fixdate

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 9110 renamed these; the standard library followed in 3.13.
RENAMED = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
UNREGISTERED = {418, 510}


def written(*calls: tuple[str, tuple[object, ...]]) -> bytes:
    writer = Writer()
    for name, arguments in calls:
        getattr(writer, name)(*arguments)
    return writer.take()


@pytest.mark.parametrize("status", [s for s in HTTPStatus if s not in UNREGISTERED], ids=int)
def test_registered_status_lines(status: HTTPStatus) -> None:
    expected = f"HTTP/1.1 {status.value} {RENAMED.get(status.value, status.phrase)}\r\n"
    assert written(("status_line", (status.value,))) == expected.encode()


def test_other_status_lines() -> None:
    assert written(("status_line", (299,))) == b"HTTP/1.1 299 \r\n"
    assert written(("status_line", (999,))) == b"HTTP/1.1 999 \r\n"


def test_status_lines_of_http_1_0() -> None:
    writer = Writer()
    writer.field(b"before", b"x")
    writer.status_line(200, minor=0)
    writer.status_line(299, minor=0)
    assert writer.take() == b"before: x\r\nHTTP/1.0 200 OK\r\nHTTP/1.0 299 \r\n"


def test_a_response_head() -> None:
    writer = Writer()
    writer.status_line(200)
    writer.date(imf_fixdate(784111777))
    writer.content_length(13)
    writer.field(b"x-empty", b"")
    writer.end()
    assert writer.take() == (
        b"HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 13\r\nx-empty: \r\n\r\n"
    )
    assert writer.take() == b""


@pytest.mark.parametrize("length", [0, 9, 10, 2**32, 2**64 - 1])
def test_content_length(length: int) -> None:
    assert written(("content_length", (length,))) == b"content-length: %d\r\n" % length


@pytest.mark.parametrize("size", [1, 15, 16, 255, 256, 70000])
def test_chunks(size: int) -> None:
    assert written(("chunk", (b"x" * size,))) == b"%x\r\n" % size + b"x" * size + b"\r\n"


def test_no_data_is_no_chunk() -> None:
    """A chunk of size 0 would end the body."""
    assert written(("chunk", (b"",)), ("last_chunk", ())) == b"0\r\n\r\n"


def test_trailers() -> None:
    assert written(("trailers_begin", ()), ("field", (b"a", b"b")), ("end", ())) == b"0\r\na: b\r\n\r\n"


@settings(max_examples=200, deadline=None)
@given(st.integers(-62135596800, 253402300799))
def test_dates_equal_those_of_the_standard_library(seconds: int) -> None:
    assert imf_fixdate(seconds).decode() == format_datetime(EPOCH + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, b"Wed, 31 Dec 1969 23:59:59 GMT"),
        (951782400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
        (4107542399, b"Sun, 28 Feb 2100 23:59:59 GMT"),
        (4107542400, b"Mon, 01 Mar 2100 00:00:00 GMT"),
        (-(2**63), b"Sat, 01 Jan 0000 00:00:00 GMT"),
        (2**63 - 1, b"Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_dates_at_the_edges(seconds: int, expected: bytes) -> None:
    assert imf_fixdate(seconds) == expected


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r", b"\xe4", b"a\x00", b"x" * 40 + b"("])
def test_names_that_are_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="token"):
        Writer().field(name, b"b")


@pytest.mark.parametrize("byte", [b for b in range(32) if b != 9] + [127])
@pytest.mark.parametrize("place", [0, 20])
def test_values_that_are_refused(byte: int, place: int) -> None:
    with pytest.raises(ValueError, match="CR, LF, NUL"):
        Writer().field(b"a", b"x" * place + bytes([byte]) + b"y")


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"", b"/"), (b"G T", b"/"), (b"GET", b""), (b"GET", b"/ b"), (b"GET", b"/\r\n"), (b"GET", b"/#a")],
)
def test_request_lines_that_are_refused(method: bytes, target: bytes) -> None:
    with pytest.raises(ValueError, match="method must be a token"):
        Writer().request_line(method, target)


@pytest.mark.parametrize("status", [99, 1000, -200])
def test_statuses_that_are_refused(status: int) -> None:
    with pytest.raises(ValueError, match="three digits"):
        Writer().status_line(status)


def test_a_refused_call_writes_nothing() -> None:
    writer = Writer()
    with pytest.raises(ValueError, match="token"):
        writer.field(b"a\n", b"b")
    assert writer.take() == b""


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=8))
def test_h11_reads_our_response(chunks: list[bytes]) -> None:
    writer = Writer()
    writer.status_line(206)
    writer.field(b"Transfer-Encoding", b"chunked")
    writer.end()
    for chunk in chunks:
        writer.chunk(chunk)
    writer.trailers_begin()
    writer.field(b"X-Sum", b"1")
    writer.end()
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(writer.take())
    head = client.next_event()
    assert isinstance(head, h11.Response)
    assert (head.status_code, head.reason) == (206, b"Partial Content")
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert body == b"".join(chunks)
    assert isinstance(event, h11.EndOfMessage)
    assert list(event.headers) == [(b"x-sum", b"1")]
