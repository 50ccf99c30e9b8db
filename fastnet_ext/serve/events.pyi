from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, final

from fastnet_ext.exchange.request import Request
from fastnet_ext.exchange.response import HeadersInit, Stream

@final
class ServerSentEvent:
    def __init__(
        self,
        data: Any = None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comment: str | None = None,
    ) -> None: ...
    @property
    def data(self) -> Any: ...
    @property
    def event(self) -> str | None: ...
    @property
    def id(self) -> str | None: ...
    @property
    def retry(self) -> int | None: ...
    @property
    def comment(self) -> str | None: ...
    def __eq__(self, other: object) -> bool: ...

class EventStream(Stream):
    subscribe: Callable[[Request[Any], AsyncIterable[Any]], AsyncIterable[Any]] | None
    def __init__(
        self,
        content: Iterable[Any] | AsyncIterable[Any],
        *,
        heartbeat: float = 15.0,
        retry: int | None = None,
        status_code: int = 200,
        headers: HeadersInit | None = None,
    ) -> None: ...
    @property
    def heartbeat(self) -> float: ...
    @property
    def retry(self) -> int | None: ...

@final
class EventResponder:
    def __call__(self) -> None: ...
