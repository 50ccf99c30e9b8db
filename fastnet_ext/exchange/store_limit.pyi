from collections.abc import Iterable
from typing import final

from fastnet_ext.exchange.exchange import Guard
from fastnet_ext.exchange.rate_limit import RateLimit, RateLimitGuard
from fastnet_ext.exchange.stores import Quota, Store

__all__ = ["StoreLimitGuard"]

@final
class Wait: ...

@final
class StoreLimitGuard(Guard):
    store: Store
    local: RateLimitGuard | None
    limits: tuple[RateLimit, ...]
    quotas: tuple[Quota, ...]
    timeout: float
    admits_failing: bool
    refused: int
    failures: int
    def __init__(
        self,
        store: Store,
        limits: Iterable[tuple[RateLimit, Quota]],
        *,
        local: RateLimitGuard | None = None,
        timeout: float,
        admits_failing: bool,
    ) -> None: ...
