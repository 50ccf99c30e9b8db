"""What can go wrong when data is compressed or decompressed.

* ``UnknownCoding``: there is no coding of that name here.
* ``MissingLibrary``: the library that does a coding is not installed.
* ``DecompressionError``: the data is not what its coding says: damaged, cut off, or followed by something else.

  * ``DecompressedTooLarge``: there would be more of it than ``max_size`` bytes.
"""

__all__ = ["DecompressedTooLarge", "DecompressionError", "MissingLibrary", "UnknownCoding"]


class UnknownCoding(ValueError):
    """``coding`` is none of those that there are."""

    def __init__(self, coding: str) -> None:
        self.coding = coding
        super().__init__(f"{coding!r} is no coding that is known here: there are gzip, deflate, br and zstd")


class MissingLibrary(ImportError):
    """The coding needs a library that is not installed; the message names it."""

    def __init__(self, coding: str, package: str) -> None:
        super().__init__(f"the coding {coding!r} needs the package {package}: pip install {package}")


class DecompressionError(ValueError):
    """The data cannot be decompressed."""


class DecompressedTooLarge(DecompressionError):
    """The data is larger than ``max_size`` bytes once it is decompressed; no more than that was made of it."""

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        super().__init__(f"decompressed, the data is larger than max_size, which is {max_size} bytes")
