"""Limits as they are registered, and the guards that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

from fastnet.ratelimit.keys import KeyLike, client_ip, key_of
from fastnet.ratelimit.rates import Rate
from fastnet_ext.exchange.exchange import Guard
from fastnet_ext.exchange.guards import InFlightLimit
from fastnet_ext.exchange.rate_limit import RateLimit as EngineLimit
from fastnet_ext.exchange.rate_limit import RateLimitGuard
from fastnet_ext.exchange.request import Call
from fastnet_ext.exchange.store_limit import StoreLimitGuard
from fastnet_ext.exchange.stores import Quota, Store
from fastnet_ext.ratelimit.limiter import (
    GCRA,
    FixedWindow,
    LeakyBucket,
    Limiter,
    SlidingLog,
    SlidingWindow,
    TableLimiter,
    TokenBucket,
)

if TYPE_CHECKING:
    from fastnet.server.shared import SharedMemory

__all__ = ["Algorithm", "AnyLimit", "Concurrency", "LimitOptions", "RateLimit", "guards_of", "limits_of"]

Algorithm: TypeAlias = type[TokenBucket | LeakyBucket | GCRA | FixedWindow | SlidingWindow | SlidingLog]

_WITH_BURST: Final = (TokenBucket, LeakyBucket, GCRA)


class LimitOptions(TypedDict, total=False):
    """What ``app.limit`` may be told beside the rate: see ``RateLimit``."""

    burst: int | None
    key: KeyLike
    algorithm: Algorithm
    cost: int | Callable[[Call], int]
    name: str
    capacity: int | None
    when_full: Literal["admit", "refuse"]
    headers: bool
    store: Store | None
    store_timeout: float
    when_store_fails: Literal["admit", "refuse"]


class RateLimit:
    """How many requests of whom are admitted: ``RateLimit("100/second", burst=200, key=client_ip)``.

    * ``rate``: text such as ``"100/second"`` or ``"5 per 10 minutes"``, or a ``Rate``.
    * ``burst``: what may come at once after a pause; the rate's count, and for a ``LeakyBucket`` 1. Windows have none.
    * ``key``: whose requests count together: ``client_ip``, ``everyone``, ``header("…")``, ``api_key()``, or a function
      of the request that returns text, bytes, or None for a request that is not limited.
    * ``algorithm``: ``TokenBucket``, ``LeakyBucket``, ``GCRA``, ``FixedWindow``, ``SlidingWindow`` or ``SlidingLog``.
    * ``cost``: what a request costs, or a function of it; 0 is for free.
    * ``name``: what refused clients are told; with several limits, it says which one it was.
    * ``capacity``: how many keys surely have a place at a time, 32 to 64 bytes each. Beyond, keys that have not used up
      their limit make room, and where all have, ``when_full`` says whether a new one is admitted or refused.
    * ``headers``: answers to admitted requests have the fields RateLimit and RateLimit-Policy too.
    * ``store``: who counts in place of this server's memory, for several machines: see ``Store``. Requests wait for it
      for ``store_timeout`` seconds; while it fails, ``when_store_fails`` says what becomes of them.

    One object counts for all places where it is registered, and all workers of a server count together, except for
    ``SlidingLog``, which each counts for itself. Raises ``ValueError`` and ``TypeError`` for what cannot be.
    """

    def __init__(
        self,
        rate: str | Rate,
        *,
        burst: int | None = None,
        key: KeyLike = client_ip,
        algorithm: Algorithm = TokenBucket,
        cost: int | Callable[[Call], int] = 1,
        name: str = "default",
        capacity: int | None = None,
        when_full: Literal["admit", "refuse"] = "admit",
        headers: bool = False,
        store: Store | None = None,
        store_timeout: float = 0.5,
        when_store_fails: Literal["admit", "refuse"] = "admit",
    ) -> None:
        if not isinstance(rate, (str, Rate)):
            raise TypeError(f'a rate is text such as "100/second", not {rate!r}')
        self.rate = Rate.parse(rate) if isinstance(rate, str) else rate
        self.algorithm = algorithm
        self._options: dict[str, Any] = {"when_full": when_full}
        if capacity is not None:
            self._options["capacity"] = capacity
        if burst is not None:
            if algorithm not in _WITH_BURST:
                raise ValueError(f"{algorithm.__name__} has no burst: its rate says what may come at once")
            self._options["burst"] = burst
        if store is not None and not callable(getattr(store, "reserve", None)):
            raise TypeError(f"a store of rate limits has a method reserve: {store!r} has none")
        if not store_timeout > 0:
            raise ValueError(f"a store is given {store_timeout} s to answer: it is more than 0")
        if when_store_fails not in ("admit", "refuse"):
            raise ValueError(f"when_store_fails is 'admit' or 'refuse', not {when_store_fails!r}")
        self.store = store
        self.store_timeout = store_timeout
        self.when_store_fails = when_store_fails
        self.store_guards: list[StoreLimitGuard] = []
        # Refuses what cannot be, now; its memory takes nothing until there are keys.
        self.engine = EngineLimit(self._limiter(), key_of(key), cost=cost, name=name, headers=headers)

    def _limiter(self, **place: Any) -> Limiter:
        return self.algorithm(self.rate.count, self.rate.period, **self._options, **place)

    @property
    def name(self) -> str:
        """What refused clients are told."""
        return self.engine.name

    @property
    def limiter(self) -> Limiter:
        """What counts, unless a store does: its ``peek`` tells how a key stands."""
        return self.engine.limiter

    @property
    def quota(self) -> Quota:
        """What a store is told of it."""
        limiter = self.engine.limiter
        return Quota(self.name, self.algorithm.__name__, limiter.count, limiter.period, limiter.most)

    @property
    def store_failures(self) -> int:
        """How many requests the store failed."""
        return sum(guard.failures for guard in self.store_guards)

    def share(self, memory: SharedMemory, number: int) -> None:
        """Count together with all processes that share ``memory``; ``number`` is which limit of theirs this is."""
        limiter = self.engine.limiter
        if self.store is not None or not isinstance(limiter, TableLimiter):
            return
        what = (number, self.name, self.algorithm.__name__, self.rate, limiter.most, limiter.capacity)
        region = memory.region(repr(what), limiter.memory_size)
        if region is not None:
            self.engine.move(self._limiter(memory=region, secret=memory.secret))

    def __repr__(self) -> str:
        return f"<RateLimit {self.name!r}: {self.limiter!r}>"


class Concurrency:
    """At most ``n`` requests of all clients are answered at once; further ones wait for their turn, then get 503.

    One object counts for all places where it is registered; each worker counts for itself.
    """

    def __init__(self, n: int) -> None:
        self.guard = InFlightLimit(n)

    def __repr__(self) -> str:
        return f"<Concurrency {self.guard!r}>"


AnyLimit: TypeAlias = RateLimit | Concurrency | str


def limits_of(given: AnyLimit | Iterable[AnyLimit] | None) -> tuple[RateLimit | Concurrency, ...]:
    """What an option names: one limit or several, text being a rate. Raises ``TypeError`` for anything else."""
    if given is None:
        return ()
    several = (given,) if isinstance(given, (RateLimit, Concurrency, str)) else tuple(given)
    limits = tuple(RateLimit(one) if isinstance(one, str) else one for one in several)
    for one in limits:
        if not isinstance(one, (RateLimit, Concurrency)):
            raise TypeError(f"a limit is a RateLimit, a Concurrency or a rate, not {one!r}")
    return limits


def guards_of(limits: Iterable[RateLimit | Concurrency]) -> tuple[Guard, ...]:
    """The guards of one route: its rate limits as one, which cost nothing to ask, then what makes requests wait."""
    unique = tuple(dict.fromkeys(limits))
    rates = [one for one in unique if isinstance(one, RateLimit)]
    waiting = [one.guard for one in unique if isinstance(one, Concurrency)]
    local = [one.engine for one in rates if one.store is None]
    stored = [one for one in rates if one.store is not None]
    asked = RateLimitGuard(local) if local else None
    guard = _stored(stored, asked) if stored else asked
    return (*(() if guard is None else (guard,)), *waiting)


def _stored(limits: list[RateLimit], local: RateLimitGuard | None) -> StoreLimitGuard:
    """One guard for what a store counts, since what several limits took is reserved, or given back, as one."""
    store, *others = dict.fromkeys(one.store for one in limits)
    assert store is not None
    if others:
        raise ValueError(f"{len(limits)} rate limits before one handler are in {len(others) + 1} stores: it is one")
    guard = StoreLimitGuard(
        store,
        [(one.engine, one.quota) for one in limits],
        local=local,
        timeout=min(one.store_timeout for one in limits),
        admits_failing=all(one.when_store_fails == "admit" for one in limits),
    )
    for one in limits:
        one.store_guards.append(guard)
    return guard
