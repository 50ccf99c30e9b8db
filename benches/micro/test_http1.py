"""The HTTP/1 head reader and response writer.

The reader takes a batch of pipelined requests per call, so that the calls from Python do not count.
"""

from typing import Any

import pytest

from fastnet_ext.http1.reader import Reader
from fastnet_ext.http1.writer import Writer, imf_fixdate

BATCH = 1000

SMALL = b"GET / HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: wrk/4.1\r\nAccept: */*\r\n\r\n"
BROWSER = (
    b"GET /users/42?verbose=true HTTP/1.1\r\n"
    b"Host: www.example.com\r\n"
    b"Connection: keep-alive\r\n"
    b"Cache-Control: max-age=0\r\n"
    b"Upgrade-Insecure-Requests: 1\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    b"Sec-Fetch-Site: none\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept-Language: en-US,en;q=0.9\r\n"
    b"Referer: https://www.example.com/index.html\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n"
)
POST = (
    b"POST /users HTTP/1.1\r\nHost: localhost:8000\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n"
    b'{"name":"Ada","age":36.5}'
)
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10\r\n0123456789abcdef\r\n" * 8
CHUNKED += b"0\r\n\r\n"


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(BROWSER, id="browser"),
        pytest.param(POST, id="post"),
        pytest.param(CHUNKED, id="chunked-8"),
    ],
)
def test_reader(benchmark: Any, message: bytes) -> None:
    reader, data = Reader(), message * BATCH
    benchmark.extra_info.update(items=BATCH, bytes=len(data))
    assert benchmark(reader.run, data) == BATCH


def test_reader_byte_by_byte(benchmark: Any) -> None:
    """What a peer that sends a head in single bytes costs beside the calls that bring them; per byte."""
    reader, data = Reader(), BROWSER * 10
    benchmark.extra_info.update(items=len(data))
    assert benchmark(reader.run, data, 1) == 10


def test_writer(benchmark: Any) -> None:
    """Calls from Python included: five per response."""
    writer, date = Writer(), imf_fixdate(0)
    benchmark.extra_info["items"] = BATCH

    def thousand() -> int:
        for _ in range(BATCH):
            writer.status_line(200)
            writer.date(date)
            writer.field(b"content-type", b"text/plain; charset=utf-8")
            writer.content_length(13)
            writer.end()
        return len(writer.take())

    assert benchmark(thousand) == BATCH * 117


def test_date(benchmark: Any) -> None:
    assert benchmark(imf_fixdate, 784111777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
