from collections.abc import Iterable
from typing import Literal, NamedTuple, final

__all__ = ["Match", "RoutingTable"]

class Match(NamedTuple):
    kind: Literal["found", "not_found", "method_not_allowed", "slash_redirect"]
    value: object
    params: tuple[bytes, ...]

@final
class RoutingTable:
    @property
    def methods(self) -> tuple[str, ...]: ...
    def __init__(self, routes: Iterable[tuple[Iterable[str] | None, str, object]]) -> None: ...
    def match_path(self, method: str, path: str | bytes) -> Match: ...
    def allowed(self, path: bytes) -> tuple[str, ...]: ...
    def search_repeatedly(self, method: str, path: bytes, times: int) -> None: ...
