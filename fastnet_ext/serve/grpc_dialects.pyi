from collections.abc import Mapping
from typing import final

from fastnet_ext.serve.connect import Transcoder
from fastnet_ext.serve.grpc import Dialects

__all__ = ["SharedAnswers", "WebDialects"]

@final
class OriginAnswers: ...

@final
class SharedAnswers:
    def __init__(self, origins: Mapping[str | None, list[tuple[bytes, bytes]]] | None = None) -> None: ...

@final
class WebDialects(Dialects):
    def __init__(self, answers: SharedAnswers, *, transcoder: Transcoder | None = None, unary: bool = True) -> None: ...
