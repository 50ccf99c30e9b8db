import asyncio
from collections.abc import Callable, Iterable
from typing import final

from fastnet_ext.exchange.exchange import Observer

@final
class QueryMask:
    def __init__(self, keys: Iterable[str]) -> None: ...
    def mask(self, query: str) -> str: ...

@final
class AccessSink:
    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[bytes], object]) -> None: ...
    def flush(self) -> None: ...

@final
class AccessLog(Observer):
    def __init__(
        self, sink: AccessSink, mask: QueryMask, *, listener: str, json: bool, worker: int | None = None
    ) -> None: ...
