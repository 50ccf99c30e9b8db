from typing import Literal, final

from typing_extensions import Buffer

__all__ = [
    "GCRA",
    "Decision",
    "FixedWindow",
    "LeakyBucket",
    "Limiter",
    "SlidingLog",
    "SlidingWindow",
    "TableLimiter",
    "TokenBucket",
]

@final
class Decision:
    def __init__(
        self, admitted: bool, retry_after: int | None = 0, remaining: int = 0, reset_after: int = 0
    ) -> None: ...
    @property
    def admitted(self) -> bool: ...
    @property
    def retry_after(self) -> int | None: ...
    @property
    def remaining(self) -> int: ...
    @property
    def reset_after(self) -> int: ...
    def __bool__(self) -> bool: ...

class Limiter:
    count: int
    period_ns: int
    most: int
    capacity: int
    admit_when_full: bool
    def hit(self, key: str | bytes, now: int, cost: int = 1) -> bool: ...
    def decide(self, key: str | bytes, now: int, cost: int = 1) -> Decision: ...
    def peek(self, key: str | bytes, now: int, cost: int = 1) -> Decision: ...
    def give_back(self, key: str | bytes, now: int, cost: int = 1) -> None: ...
    @property
    def period(self) -> float: ...
    @property
    def when_full(self) -> str: ...

class TableLimiter(Limiter):
    @staticmethod
    def size_for(capacity: int) -> int: ...
    @property
    def memory_size(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def full(self) -> int: ...

@final
class TokenBucket(TableLimiter):
    def __init__(
        self,
        count: int,
        period: float = 1,
        *,
        burst: int | None = None,
        capacity: int = 100_000,
        when_full: Literal["admit", "refuse"] = "admit",
        secret: bytes | None = None,
        memory: Buffer | None = None,
    ) -> None: ...

@final
class LeakyBucket(TableLimiter):
    def __init__(
        self,
        count: int,
        period: float = 1,
        *,
        burst: int = 1,
        capacity: int = 100_000,
        when_full: Literal["admit", "refuse"] = "admit",
        secret: bytes | None = None,
        memory: Buffer | None = None,
    ) -> None: ...

@final
class GCRA(TableLimiter):
    def __init__(
        self,
        count: int,
        period: float = 1,
        *,
        burst: int | None = None,
        capacity: int = 100_000,
        when_full: Literal["admit", "refuse"] = "admit",
        secret: bytes | None = None,
        memory: Buffer | None = None,
    ) -> None: ...

@final
class FixedWindow(TableLimiter):
    def __init__(
        self,
        count: int,
        period: float = 1,
        *,
        capacity: int = 100_000,
        when_full: Literal["admit", "refuse"] = "admit",
        secret: bytes | None = None,
        memory: Buffer | None = None,
    ) -> None: ...

@final
class SlidingWindow(TableLimiter):
    def __init__(
        self,
        count: int,
        period: float = 1,
        *,
        capacity: int = 100_000,
        when_full: Literal["admit", "refuse"] = "admit",
        secret: bytes | None = None,
        memory: Buffer | None = None,
    ) -> None: ...

@final
class SlidingLog(Limiter):
    def __init__(
        self,
        count: int,
        period: float = 1,
        *,
        capacity: int = 10_000,
        when_full: Literal["admit", "refuse"] = "admit",
        secret: bytes | None = None,
    ) -> None: ...
    @property
    def memory_size(self) -> int: ...
    @property
    def evicted(self) -> int: ...
    @property
    def full(self) -> int: ...
