from collections.abc import Iterable, Mapping
from typing import final

__all__ = ["metadata_fields"]

class AnswerEncoder: ...

@final
class GrpcEncoder(AnswerEncoder):
    def __init__(self) -> None: ...

def metadata_fields(
    metadata: Iterable[tuple[str, str | bytes]] | Mapping[str, str | bytes] | None,
) -> list[tuple[bytes, bytes]]: ...
