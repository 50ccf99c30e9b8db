from fastnet_ext.core.headers import HeaderBlock

class Limits:
    request_line: int
    head: int
    fields: int
    chunk_extensions: int
    trailers: int
    def __init__(
        self,
        *,
        request_line: int = 8192,
        head: int = 65536,
        fields: int = 128,
        chunk_extensions: int = 16384,
        trailers: int = 8192,
    ) -> None: ...

class Reader:
    head: HeaderBlock | None
    trailers: HeaderBlock | None
    content_length: int
    minor: int
    keep_alive: bool
    expect_continue: bool
    upgrade: bool
    has_host: bool
    error_status: int
    def __init__(self, limits: Limits | None = None, *, client: bool = False) -> None: ...
    def answers(self, method: bytes) -> None: ...
    def events(self, data: bytes) -> list[tuple[object, ...]]: ...
    def finish(self) -> str: ...
    def run(self, data: bytes, step: int = 0) -> int: ...
    def clear(self) -> None: ...
    @property
    def body(self) -> str: ...
    @property
    def unread(self) -> bytes: ...
