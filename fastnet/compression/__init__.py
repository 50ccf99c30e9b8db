"""gzip, deflate, br and zstd, whole and piece by piece: a library of its own; and how answers are compressed.

``compress(data, "zstd", level=3)`` and ``decompress(data, "br", max_size=1_000_000)``; ``Compressor`` and
``Decompressor`` for what comes in pieces. gzip and deflate are made by isal or zlib-ng where they are installed, which
the extra ``fastnet-server[compression]`` brings.
"""

from fastnet.compression.settings import MEDIA_TYPES, Compression, CompressionOptions
from fastnet_ext.compression.codecs import CODINGS, Compressor, Decompressor, compress, decompress
from fastnet_ext.compression.errors import DecompressedTooLarge, DecompressionError, MissingLibrary, UnknownCoding
from fastnet_ext.compression.libraries import CodingName

__all__ = [
    "CODINGS",
    "MEDIA_TYPES",
    "CodingName",
    "Compression",
    "CompressionOptions",
    "Compressor",
    "DecompressedTooLarge",
    "DecompressionError",
    "Decompressor",
    "MissingLibrary",
    "UnknownCoding",
    "compress",
    "decompress",
]
