"""Which answers are compressed, and how: what ``app.compress`` and the option ``compress`` of a route take."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final, TypedDict

from fastnet_ext.compression.codecs import Codec
from fastnet_ext.compression.libraries import CodingName
from fastnet_ext.compression.negotiation import Negotiator
from fastnet_ext.serve.compression import Compression as EngineCompression

__all__ = ["MEDIA_TYPES", "Compression", "CompressionOptions", "Decompress", "chosen", "largest"]

MEDIA_TYPES: Final = (
    *("text/*", "+json", "+xml", "+yaml"),
    *("application/json", "application/jsonl", "application/x-ndjson", "application/json-seq", "application/yaml"),
    *("application/javascript", "application/xml", "application/wasm", "application/vnd.ms-fontobject"),
    *("font/otf", "font/ttf", "font/collection", "image/bmp"),
)
"""What becomes smaller; images, videos, archives and most fonts are compressed by themselves."""

# The preferred one first: what takes least time for what it saves.
_PREFERRED: Final[tuple[CodingName, ...]] = ("zstd", "br", "gzip", "deflate")

# Whether request bodies are decompressed, and to how many bytes at most: True is the route's max_body.
Decompress = bool | int


class CompressionOptions(TypedDict, total=False):
    """What ``app.compress`` may be told: see ``Compression``."""

    codings: Sequence[CodingName] | Mapping[CodingName, int | None]
    minimum_size: int
    media_types: Sequence[str]
    thread_size: int


class Compression:
    """How answers are compressed: ``Compression(codings={"br": 5, "gzip": 6})``.

    * ``codings``: those that are offered, the preferred one first, and their levels if it is a mapping (None: the
      usual one): 0 to 9 of gzip and deflate (6), 0 to 11 of br (4), -7 to 22 of zstd (3). The client's weights count
      more than the order. All four: zstd, br, gzip, deflate.
    * ``minimum_size``: bytes below which an answer is sent as it is; 1,024. A stream has no size.
    * ``media_types``: what is compressed: ``"text/html"``, ``"text/*"``, ``"+json"``; ``MEDIA_TYPES``.
    * ``thread_size``: bodies, and pieces of streams, of so many bytes are compressed in a thread, beside the loop;
      64 KiB, and a sixteenth of it at the slow levels (br from 7, zstd from 13).

    Raises ``UnknownCoding``, ``MissingLibrary``, and ``ValueError`` for what cannot be.
    """

    def __init__(
        self,
        *,
        codings: Sequence[CodingName] | Mapping[CodingName, int | None] = _PREFERRED,
        minimum_size: int = 1024,
        media_types: Sequence[str] = MEDIA_TYPES,
        thread_size: int = 64 * 1024,
    ) -> None:
        if isinstance(codings, str) or isinstance(media_types, str):
            raise TypeError("codings and media_types are lists: one alone is a list too")
        if thread_size < 0:
            raise ValueError(f"thread_size is at least 0 bytes, not {thread_size}")
        levels = codings if isinstance(codings, Mapping) else dict.fromkeys(codings)
        codecs = [Codec(coding, level) for coding, level in levels.items()]
        negotiator = Negotiator(list(codings), minimum_size=minimum_size, media_types=media_types)
        self.engine = EngineCompression(negotiator, codecs, thread_size=thread_size)

    @property
    def codings(self) -> tuple[CodingName, ...]:
        """The codings that are offered, the preferred one first."""
        return self.engine.negotiator.codings

    def __repr__(self) -> str:
        return f"<Compression {', '.join(self.codings)}>"


@functools.cache
def _usual() -> Compression:
    return Compression()


def chosen(option: bool | Compression | None, inherited: Compression | None) -> Compression | None:
    """What is said of a route, against what is said around it. Raises ``TypeError`` for what says nothing."""
    if option is None or option is True:
        return inherited if option is None or inherited is not None else _usual()
    if option is False:
        return None
    if not isinstance(option, Compression):
        raise TypeError(f"compress is True, False or a Compression, not {option!r}")
    return option


def largest(decompress: Decompress, max_body: int) -> int:
    """What a request's body may become, in bytes; -1: it is not decompressed."""
    if isinstance(decompress, bool):
        return max_body if decompress else -1
    if not isinstance(decompress, int) or decompress < 0:
        raise ValueError(f"decompress is True, False, or at least 0 bytes, not {decompress!r}")
    return decompress
