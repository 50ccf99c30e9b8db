import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Executor
from typing import Any

from fastnet_ext.exchange.response import Response

class LoopLocal:
    loop: asyncio.AbstractEventLoop
    def __init__(self, loop: asyncio.AbstractEventLoop, executor: Executor | None = None) -> None: ...

class ConnectionInfo:
    local: LoopLocal
    secure: bool
    state: Any

class Responder: ...
class Guard: ...
class Admitter: ...
class Observer: ...
class Endpoint: ...

class Route:
    endpoint: Endpoint
    guards: tuple[Guard, ...]
    path: str
    methods: tuple[str, ...]
    param_names: tuple[str, ...]
    max_body: int
    max_decompressed: int
    timeout: float
    timeout_body: float
    rate_body: float
    cancel_on_disconnect: bool
    handler: Any
    on_error: Any
    app: Any
    def __init__(
        self,
        endpoint: Endpoint,
        *,
        path: str = "",
        methods: Sequence[str] = (),
        param_names: Sequence[str] = (),
        guards: Sequence[Guard] = (),
        max_body: int = 1048576,
        max_decompressed: int = -1,
        timeout: float = -1,
        timeout_body: float = -1,
        rate_body: float = -1,
        cancel_on_disconnect: bool = False,
        handler: Any = None,
        on_error: Callable[[Any, Any], Response | Awaitable[Response]] | None = None,
        app: Any = None,
    ) -> None: ...

class Exchange:
    cleanups: Callable[[BaseException | None], Coroutine[Any, Any, None]] | None
