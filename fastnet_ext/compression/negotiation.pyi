from collections.abc import Sequence
from typing import Literal, final

from fastnet_ext.compression.libraries import CodingName

@final
class Negotiator:
    minimum_size: int
    media_types: tuple[str, ...]
    def __init__(
        self, codings: Sequence[CodingName], *, minimum_size: int = 0, media_types: Sequence[str] = ("*/*",)
    ) -> None: ...
    def choose(
        self, accept: bytes | None, size: int, content_type: bytes | None
    ) -> CodingName | Literal[""] | None: ...
    @property
    def codings(self) -> tuple[CodingName, ...]: ...
