"""``fastnet.compression``: every coding against the library that does it, damaged input, and bombs."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import brotli
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastnet.compression import (
    CODINGS,
    Compressor,
    DecompressedTooLarge,
    DecompressionError,
    Decompressor,
    MissingLibrary,
    UnknownCoding,
    compress,
    decompress,
)
from fastnet_ext.compression import libraries
from fastnet_ext.compression.codecs import Codec
from fastnet_ext.compression.libraries import CodingName

zstd: Any = libraries.ZSTD
TEXT = b"".join(b"line %d of a text that says little, %d times\n" % (i, i * i) for i in range(900))
LEVELS: list[tuple[CodingName, int]] = [
    *(("gzip", level) for level in range(10)),
    *(("deflate", level) for level in range(10)),
    *(("br", level) for level in (0, 1, 4, 5, 9, 11)),
    *(("zstd", level) for level in (-7, 0, 1, 3, 9, 19, 22)),
]


def by_library(data: bytes, coding: str) -> bytes:
    """What the library of a coding makes of it, without us."""
    match coding:
        case "gzip":
            return gzip.decompress(data)
        case "deflate":
            return zlib.decompress(data)
        case "br":
            return bytes(brotli.decompress(data))
    return bytes(zstd.decompress(data))


@pytest.fixture(params=["all", "zlib-ng", "zlib"], autouse=True)
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all libraries of gzip and deflate, without isal, and with zlib alone."""
    for package in {"all": (), "zlib-ng": ("isal",), "zlib": ("isal", "zlib-ng")}[request.param]:
        monkeypatch.delitem(libraries.DEFLATING, package, raising=False)


@pytest.mark.parametrize(("coding", "level"), LEVELS)
def test_libraries_read_what_is_compressed(coding: CodingName, level: int) -> None:
    for data in (b"", b"x", TEXT):
        coded = compress(data, coding, level=level)
        assert by_library(coded, coding) == data
        assert decompress(coded, coding) == data
    if level:
        assert len(compress(TEXT, coding, level=level)) < len(TEXT) / 3


@pytest.mark.parametrize(("coding", "level"), LEVELS)
@pytest.mark.parametrize("small", [False, True])
def test_in_pieces(coding: CodingName, level: int, small: bool) -> None:
    coder = Compressor(coding, level, small=small)
    parts = [coder.compress(TEXT[at : at + 1000]) for at in range(0, len(TEXT), 1000)]
    assert by_library(b"".join([*parts, coder.finish()]), coding) == TEXT
    for late in (coder.finish, coder.flush, lambda: coder.compress(b"x")):
        with pytest.raises(ValueError, match="finished"):
            late()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("small", [False, True])
def test_a_flush_gives_all_that_was_taken(coding: CodingName, small: bool) -> None:
    coder, reader, coded = Compressor(coding, small=small), Decompressor(coding), b""
    for n in range(300):
        message = b"data: event %d\n\n" % n
        piece = coder.compress(message) + coder.flush()
        coded += piece
        assert reader.decompress(piece) == message
    with pytest.raises(DecompressionError, match="ends before it is complete"):
        reader.finish()
    coded += (last := coder.finish())
    assert reader.decompress(last) == b""
    reader.finish()
    assert len(by_library(coded, coding)) == reader.size
    assert len(coded) < reader.size


@pytest.mark.parametrize("coding", CODINGS)
def test_codecs_are_shared_by_threads(coding: CodingName) -> None:
    codec = Codec(coding)
    texts = [TEXT[n : 20_000 + 13 * n] for n in range(60)]
    with ThreadPoolExecutor(6) as pool:
        assert [by_library(coded, coding) for coded in pool.map(codec.compress, texts)] == texts


@given(data=st.binary(max_size=2000), coding=st.sampled_from(CODINGS), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_it_is_and_however_it_is_cut(installed: None, data: bytes, coding: CodingName, seed: int) -> None:
    rng = random.Random(seed)
    coded, reader, out = compress(data, coding), Decompressor(coding, max_size=len(data)), b""
    while coded:
        size = rng.randrange(1, 40)
        out, coded = out + reader.decompress(coded[:size]), coded[size:]
    reader.finish()
    assert out == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("coding", CODINGS)
def test_buffers(kind: Any, coding: CodingName) -> None:
    assert decompress(kind(compress(kind(TEXT), coding)), coding) == TEXT


# --- bad input


@pytest.mark.parametrize("coding", CODINGS)
def test_damage(coding: CodingName) -> None:
    coded = compress(TEXT, coding)
    for cut in (0, 1, 5, len(coded) // 2, len(coded) - 1):
        with pytest.raises(DecompressionError, match="ends before it is complete"):
            decompress(coded[:cut], coding)
    for wrong in (b"not compressed at all", b"\xff" * 40, coded[:30] + b"\0" * 60 + coded[90:]):
        with pytest.raises(DecompressionError):
            decompress(wrong, coding)
    for behind in (b"more", b"\0"):
        with pytest.raises(DecompressionError):
            decompress(coded + behind, coding)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("coding", CODINGS)
def test_bodies_of_one_codec_know_nothing_of_each_other(coding: CodingName, small: bool) -> None:
    """Contexts are used again: those of bodies that are finished, and of no others."""
    codec = Codec(coding)
    bodies = [random.Random(n).randbytes(2_000) * 2 for n in range(12)]
    expected = [codec.compressor(small=small) for _ in bodies]  # at the same time: a context each
    alone = [
        b"".join([one.compress(body), one.flush(), one.finish()]) for one, body in zip(expected, bodies, strict=True)
    ]
    for body, whole in zip(bodies, alone, strict=True):
        left = codec.compressor(small=small)
        left.compress(b"never finished")
        left.flush()
        again = codec.compressor(small=small)
        coded = b"".join([again.compress(body), again.flush(), again.finish()])
        assert coded == whole
        assert decompress(coded, coding) == body
        assert decompress(codec.compress(body), coding) == body


def test_deflate_without_its_wrapping() -> None:
    """As some send it: RFC 9110, 8.4.1.2."""
    for data in (b"", b"x", TEXT, random.Random(1).randbytes(70_000)):
        for level in (0, 1, 6, 9):
            coder = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
            coded = coder.compress(data) + coder.flush()
            assert decompress(coded, "deflate") == data
            reader = Decompressor("deflate")
            assert reader.decompress(coded[:1]) + reader.decompress(coded[1:]) == data
            with pytest.raises(DecompressionError):
                decompress(coded + b"more", "deflate")


@pytest.mark.parametrize("coding", CODINGS)
def test_nothing_is_read_after_damage(coding: CodingName) -> None:
    reader = Decompressor(coding)
    with pytest.raises(DecompressionError):
        reader.decompress(b"\xff" * 40)
    with pytest.raises(DecompressionError, match="before this"):
        reader.decompress(compress(b"fine", coding))


@pytest.mark.parametrize("coding", CODINGS)
def test_the_bound(coding: CodingName) -> None:
    coded = compress(TEXT, coding)
    assert decompress(coded, coding, max_size=len(TEXT)) == TEXT
    assert decompress(coded, coding, max_size=None) == TEXT
    assert decompress(compress(b"", coding), coding, max_size=0) == b""
    for bound in (0, 1, len(TEXT) - 1):
        with pytest.raises(DecompressedTooLarge, match=f"{bound} bytes") as raised:
            decompress(coded, coding, max_size=bound)
        assert raised.value.max_size == bound


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.limit("Compression: decompressed request body", memory=True)
def test_a_bomb_is_not_inflated(coding: CodingName, pieces: int) -> None:
    """200 MiB of zeros: what is ever kept stays near the bound."""
    coder = Compressor(coding, {"br": 5}.get(coding))
    bomb = b"".join([*(coder.compress(bytes(1 << 20)) for _ in range(200)), coder.finish()])
    reader, size = Decompressor(coding, max_size=1 << 20), len(bomb) // pieces + 1

    def read() -> None:
        for at in range(0, len(bomb), size):
            reader.decompress(bomb[at : at + size])

    tracemalloc.start()
    try:
        with pytest.raises(DecompressedTooLarge):
            read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 << 20


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_in_a_row(coding: CodingName) -> None:
    coded = b"".join(compress(TEXT, coding) for _ in range(200))
    assert decompress(coded, coding) == TEXT * 200
    reader = Decompressor(coding)
    assert b"".join(reader.decompress(coded[at : at + 777]) for at in range(0, len(coded), 777)) == TEXT * 200
    reader.finish()
    with pytest.raises(DecompressionError, match="in a row"):
        decompress(compress(b"", coding) * 50_000, coding)


def test_a_window_that_is_too_large() -> None:
    """RFC 9659 bounds the window of zstd in HTTP: what a reader keeps is bounded with it."""
    parameter = zstd.CompressionParameter
    coder = zstd.ZstdCompressor(options={parameter.compression_level: 3, parameter.window_log: 27})
    large = coder.compress(random.Random(1).randbytes(1 << 20)) + coder.flush()
    with pytest.raises(DecompressionError, match="zstd"):
        decompress(large, "zstd")


@pytest.mark.parametrize("level", [19, 20, 22])
def test_ours_never_is(level: int) -> None:
    coder = Compressor("zstd", level)
    coded = coder.compress(bytes(100))
    coded += coder.finish()
    limit = {zstd.DecompressionParameter.window_log_max: 23}
    assert zstd.decompress(coded, options=limit) == bytes(100)


def test_mistakes() -> None:
    calls: list[Any] = [compress, decompress]
    for name in ("GZIP", "compress", "", "identity"):
        for call in calls:
            with pytest.raises(UnknownCoding, match="gzip, deflate, br and zstd"):
                call(b"", name)
    wrong: list[tuple[CodingName, int]] = [("gzip", 10), ("deflate", -1), ("br", 12), ("zstd", 23)]
    for coding, level in wrong:
        with pytest.raises(ValueError, match=f"level {level}"):
            compress(b"", coding, level=level)
    with pytest.raises(ValueError, match="max_size"):
        decompress(b"", "gzip", max_size=-1)
    with pytest.raises(TypeError):
        compress("text", "gzip")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("coding", "constant", "package"), [("br", "BROTLI", "brotli"), ("zstd", "ZSTD", "backports.zstd")]
)
def test_a_library_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, coding: CodingName, constant: str, package: str
) -> None:
    monkeypatch.setattr(libraries, constant, None)
    for call in (compress, decompress):
        with pytest.raises(MissingLibrary, match=f"pip install {package}"):
            call(b"", coding)


def test_which_library_deflates(monkeypatch: pytest.MonkeyPatch) -> None:
    has = libraries.DEFLATING
    for level in range(10):
        name = libraries.deflating(level).__name__
        if 1 <= level <= 3 and "isal" in has:
            assert name == "isal.isal_zlib"
        else:
            assert name == ("zlib_ng.zlib_ng" if "zlib-ng" in has else "zlib")
