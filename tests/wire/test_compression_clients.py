"""Clients that are not ours decompress what we send: curl, httpx and aiohttp, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import httpx
import pytest

from fastnet import App, Request
from fastnet.compression import CODINGS, CodingName, compress, decompress
from tests.loops import run
from tests.wire.live import Live, live
from tests.wire.tools import curl, needs
from tests.wire.tools import run as run_program

TEXT = "".join(f"line {n} of a text\n" for n in range(6000))
TARGETS = ("/text", "/stream")


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    app = App()
    app.compress()
    app.decompress()

    @app.get("/text")
    async def text() -> str:
        return TEXT

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for line in TEXT.splitlines(keepends=True):
            yield line

    @app.post("/echo")
    async def echo(request: Request) -> bytes:
        return await request.body()

    with live(app) as running:
        yield running


def decompresses(coding: str) -> bool:
    """Whether the curl that is here does."""
    return {"br": "brotli", "zstd": "zstd"}.get(coding, "libz") in run_program("curl", "--version").stdout.decode()


@needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("target", TARGETS)
def test_curl(server: Live, version: str, coding: CodingName, target: str) -> None:
    url = f"http://127.0.0.1:{server.port}{target}"
    raw = curl(url, version, "-H", f"accept-encoding: {coding}")
    assert (raw.fields["content-encoding"], raw.fields["vary"]) == (coding, "accept-encoding")
    assert decompress(raw.body, coding) == TEXT.encode()
    if decompresses(coding):
        answer = curl(url, version, "--compressed", "-H", f"accept-encoding: {coding}")
        assert answer.fields["content-encoding"] == coding
        assert answer.body == TEXT.encode()
    plain = curl(url, version)
    assert "content-encoding" not in plain.fields
    assert plain.body == TEXT.encode()
    head = curl(url, version, "-I", "-H", f"accept-encoding: {coding}")
    assert (head.status, head.fields["content-encoding"]) == (200, coding)


@needs("curl")
@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("coding", CODINGS)
def test_curl_uploads(server: Live, version: str, coding: CodingName) -> None:
    url, field = f"http://127.0.0.1:{server.port}/echo", ("-H", f"content-encoding: {coding}")
    answer = curl(url, version, *field, body=compress(TEXT.encode(), coding))
    assert (answer.status, answer.body) == (200, TEXT.encode())
    assert curl(url, version, *field, body=compress(bytes(30_000_000), coding)).status == 413
    assert curl(url, version, *field, body=b"x" * 100).status == 400
    if version == "--http1.1":
        # Over HTTP/2, the answer may overtake the upload, and some versions of curl take that for an error.
        refused = curl(url, version, "-H", "content-encoding: lzma", body=b"x")
        assert (refused.status, refused.fields["accept-encoding"]) == (415, "gzip, deflate, br, zstd")


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_httpx(server: Live, http2: bool, target: str, coding: str) -> None:
    with httpx.Client(http1=not http2, http2=http2, trust_env=False) as client:
        answer = client.get(f"http://127.0.0.1:{server.port}{target}", headers={"accept-encoding": coding})
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert answer.headers["content-encoding"] == coding
        assert answer.text == TEXT
        assert answer.num_bytes_downloaded < len(TEXT) / 3


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("coding", CODINGS)
def test_aiohttp(server: Live, target: str, coding: str) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.port}{target}"
            async with session.get(url, headers={"accept-encoding": coding}) as answer:
                assert answer.headers["content-encoding"] == coding
                assert await answer.text() == TEXT

    run(main())


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_aiohttp_uploads(server: Live, coding: str) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            # Its deflate has no wrapping.
            url = f"http://127.0.0.1:{server.port}/echo"
            async with session.post(url, data=TEXT.encode(), compress=coding) as answer:
                assert await answer.text() == TEXT

    run(main())
