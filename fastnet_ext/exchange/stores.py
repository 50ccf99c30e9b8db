"""What is asked of a store that counts rate limits elsewhere, for many machines."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fastnet_ext.ratelimit.limiter import Decision

__all__ = ["Ask", "Quota", "Store"]


@dataclass(frozen=True)
class Quota:
    """What one limit admits of each key: ``count`` in ``period`` seconds, ``burst`` at once, by ``algorithm``.

    Machines that register the same limit have equal quotas: quota and key together name one count.
    """

    name: str
    algorithm: str
    count: int
    period: float
    burst: int


class Ask(NamedTuple):
    """What a request would take: ``cost``, at least 1, of ``key`` in ``quota``."""

    quota: Quota
    key: bytes
    cost: int


class Store(Protocol):
    """Where limits are counted.

    ``reserve`` takes all of ``asks``, in their order, or nothing: when one is refused, what those before it took is
    given back, and no later one is asked. It returns a decision for each ask up to the first refusal. It does so as
    one step, such as a script that runs inside the store, so that concurrent requests never share what is left.

    ``now`` is nanoseconds since 1970 by this machine's clock; a store that has a clock of its own uses that. The result
    itself is for stores that need not wait, an awaitable of it for those that must. Awaiting may be cancelled: the
    request is gone, or took longer than the limit's ``store_timeout``. Whatever it raises counts as a failure.
    """

    def reserve(self, asks: Sequence[Ask], now: int) -> Sequence[Decision] | Awaitable[Sequence[Decision]]: ...
