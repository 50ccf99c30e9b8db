from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime, timedelta
from typing import Any, final

from fastnet_ext.exchange.cookies import SameSite

HeadersInit = Mapping[str, str] | Iterable[tuple[str, str]]
Chunks = AsyncIterable[Any] | Iterable[Any]

@final
class MutableHeaders(MutableMapping[str, str]):
    def __init__(self, headers: HeadersInit | None = None) -> None: ...
    def __getitem__(self, name: str) -> str: ...
    def __setitem__(self, name: str, value: str | bytes) -> None: ...
    def __delitem__(self, name: str) -> None: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    def append(self, name: str, value: str | bytes) -> None: ...
    def add(self, name: str, value: str | bytes) -> None: ...
    def extend(self, headers: HeadersInit) -> None: ...
    def getlist(self, name: str) -> list[str]: ...
    def multi_items(self) -> list[tuple[str, str]]: ...
    def add_vary(self, name: str) -> None: ...
    @property
    def raw(self) -> list[tuple[bytes, bytes]]: ...

class Response:
    status_code: int
    body: bytes | None
    iterator: Chunks | None
    def __init__(
        self,
        content: str | bytes | bytearray | memoryview | None = None,
        status_code: int = 200,
        headers: HeadersInit | None = None,
        media_type: str | None = None,
    ) -> None: ...
    @property
    def headers(self) -> MutableHeaders: ...
    @property
    def media_type(self) -> str | None: ...
    def set_cookie(
        self,
        key: str,
        value: str = "",
        *,
        max_age: int | timedelta | None = None,
        expires: datetime | int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None: ...
    def delete_cookie(
        self,
        key: str,
        *,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None: ...
    def set_content(self, content: str | bytes | bytearray | memoryview | None, media_type: str | None) -> None: ...
    def add_headers(self, headers: HeadersInit) -> None: ...
    def drop_length(self) -> None: ...

class Stream(Response):
    untyped: bool
    @property
    def trailers(self) -> MutableHeaders: ...
    def __init__(
        self,
        content: Chunks,
        status_code: int = 200,
        headers: HeadersInit | None = None,
        media_type: str | None = None,
    ) -> None: ...

@final
class HTMLResponse(Response): ...

@final
class PlainTextResponse(Response): ...

@final
class RedirectResponse(Response):
    def __init__(self, url: str, status_code: int = 307, headers: HeadersInit | None = None) -> None: ...
