from collections.abc import Callable
from typing import Any, final

from fastnet_ext.serve.websocket import WebSocket
from fastnet_ext.serve.websocket_driver import Follower, SharedMessage

__all__ = ["Rooms"]

@final
class Rooms:
    queue: int
    queue_bytes: int
    def __init__(
        self,
        on_left: Callable[[str, Any], object],
        *,
        queue: int = 64,
        queue_bytes: int = 1048576,
        slow: str = "drop_oldest",
    ) -> None: ...
    def join(self, ws: WebSocket[Any, Any], room: str, member: object) -> bool: ...
    def leave(self, ws: WebSocket[Any, Any], room: str) -> Any: ...
    def rooms_of(self, ws: WebSocket[Any, Any]) -> dict[str, Any]: ...
    def members(self, room: str) -> list[Any]: ...
    @property
    def names(self) -> list[str]: ...
    def broadcast(self, room: str, message: SharedMessage, exclude: WebSocket[Any, Any] | None = None) -> int: ...
    @property
    def counters(self) -> dict[str, int]: ...

@final
class Subscriber(Follower): ...
