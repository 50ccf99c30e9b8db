from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, final

from fastnet_ext.exchange.exchange import ConnectionInfo, Exchange, LoopLocal, Route
from fastnet_ext.exchange.head import ResponseHead
from fastnet_ext.proxy.forwarded import Proxies

@final
class MemoryConnection(ConnectionInfo):
    extras: dict[str, Any]
    def __init__(
        self,
        local: LoopLocal | None,
        extras: Mapping[str, Any] | None = None,
        secure: bool = False,
        *,
        proxies: Proxies | None = None,
    ) -> None: ...

@final
class MemoryExchange(Exchange):
    answer_head: ResponseHead | None
    answer_body: bytearray
    answer_trailers: list[tuple[bytes, bytes]] | None
    announced_length: int
    aborted_with: int
    tunnel: bool
    slow: bool
    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        *,
        route: Route | None = None,
        params: Sequence[str | bytes] = (),
        local: LoopLocal | None = None,
        connection: MemoryConnection | None = None,
        version: int = 11,
    ) -> None: ...
    @classmethod
    def streaming(
        cls, method: str = "POST", target: str = "/", headers: Iterable[tuple[bytes, bytes]] = (), **options: Any
    ) -> Self: ...
    def run(self) -> None: ...
    def push(self, data: bytes) -> None: ...
    def push_end(self) -> None: ...
    def disconnect(self) -> None: ...
    def drain(self) -> None: ...
    @property
    def fields(self) -> list[tuple[bytes, bytes]] | None: ...
    @property
    def answer_status(self) -> int: ...
    @property
    def content(self) -> bytes: ...
    @property
    def is_finished(self) -> bool: ...
    @property
    def paused(self) -> bool: ...
    @property
    def complete(self) -> bool: ...
