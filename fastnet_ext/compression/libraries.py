"""The libraries that compress: which does what, found once.

gzip and deflate are one format in two wrappings, and several libraries make it: isal is the fastest by far at its
levels 1 to 3, zlib-ng has all of zlib's and is about twice as fast as it, and zlib comes with Python. The first two
are the extra ``fastnet-server[compression]``.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Final, Literal, TypeAlias

from fastnet_ext.compression.errors import MissingLibrary

__all__ = ["BROTLI", "DEFLATING", "ZSTD", "CodingName", "deflating", "inflating", "needed"]

CodingName: TypeAlias = Literal["gzip", "deflate", "br", "zstd"]


def _found(*names: str) -> ModuleType | None:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_ZSTD_NAMES: Final = ("compression.zstd",) if sys.version_info >= (3, 14) else ("backports.zstd",)

# By the names of their packages; those that are not installed are left out.
DEFLATING: Final[dict[str, ModuleType]] = {
    package: module
    for package, name in (("isal", "isal.isal_zlib"), ("zlib-ng", "zlib_ng.zlib_ng"), ("zlib", "zlib"))
    if (module := _found(name)) is not None
}
BROTLI: Final = _found("brotli", "brotlicffi")
ZSTD: Final = _found(*_ZSTD_NAMES)

# The levels that isal has. Its level 0 compresses, where zlib's stores.
_ISAL_LEVELS: Final = range(1, 4)


def deflating(level: int) -> ModuleType:
    """The library that compresses gzip and deflate at that level."""
    if level in _ISAL_LEVELS and "isal" in DEFLATING:
        return DEFLATING["isal"]
    return DEFLATING.get("zlib-ng", DEFLATING["zlib"])


def inflating() -> ModuleType:
    """The library that decompresses gzip and deflate."""
    return DEFLATING.get("zlib-ng", DEFLATING["zlib"])


def needed(module: ModuleType | None, coding: str, package: str) -> ModuleType:
    """The library of a coding; raises ``MissingLibrary`` for one that was not found."""
    if module is None:
        raise MissingLibrary(coding, package)
    return module
