from collections.abc import Iterable
from typing import final

@final
class ResponseHead:
    status: int
    fields: list[tuple[bytes, bytes]]
    content_length: int
    def __init__(self, status: int, fields: Iterable[tuple[bytes, bytes]] = ()) -> None: ...
