"""The example does what it says."""

from __future__ import annotations

from examples.compression import app
from fastnet.compression import CODINGS, Decompressor, compress
from tests.wire.live import live


def test_what_it_compresses() -> None:
    with live(app) as server, server.peer() as peer:
        for target in ("/rows", "/report", "/lines"):
            answer = peer.get(target, "accept-encoding: gzip, br").answer()
            assert (answer.status, answer["content-encoding"]) == (200, "br")
        assert peer.get("/token?name=x", "accept-encoding: gzip, br").answer()["content-encoding"] is None
        for coding in CODINGS:
            answer = peer.post("/count", compress(bytes(1_500_000), coding), f"content-encoding: {coding}").answer()
            assert (answer.status, answer.body) == (200, b"1500000")
        with server.peer() as bomber:
            bomb = compress(bytes(10_000_001), "gzip")
            assert bomber.post("/count", bomb, "content-encoding: gzip").answer().status == 413
        with server.peer() as listener:
            listener.get("/ticks", "accept-encoding: zstd").until(b"\r\n\r\n")
            size = int(listener.until(b"\r\n"), 16)
            assert Decompressor("zstd").decompress(listener.exactly(size)) == b'data: {"n":0}\n\n'
