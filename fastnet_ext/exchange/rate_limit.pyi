from collections.abc import Callable, Iterable
from typing import Any, final

from fastnet_ext.exchange.exchange import Guard
from fastnet_ext.ratelimit.limiter import Limiter

__all__ = ["ClientKey", "FunctionKey", "HeaderKey", "Key", "RateLimit", "RateLimitGuard", "SharedKey"]

class Key: ...

@final
class SharedKey(Key): ...

@final
class ClientKey(Key):
    def __init__(self, prefix: int = 64) -> None: ...

@final
class HeaderKey(Key):
    def __init__(self, name: str, otherwise: Key) -> None: ...

@final
class FunctionKey(Key):
    def __init__(self, function: Callable[[Any], str | bytes | None]) -> None: ...

@final
class RateLimit:
    limiter: Limiter
    key: Key
    name: str
    headers: bool
    policy: bytes
    cost: Callable[[Any], int] | None
    def __init__(
        self,
        limiter: Limiter,
        key: Key,
        *,
        cost: int | Callable[[Any], int] = 1,
        name: str = "default",
        headers: bool = False,
    ) -> None: ...
    def move(self, limiter: Limiter) -> None: ...

@final
class RateLimitGuard(Guard):
    limits: tuple[RateLimit, ...]
    refused: int
    def __init__(self, limits: Iterable[RateLimit], *, clock: Callable[[], int] | None = None) -> None: ...
