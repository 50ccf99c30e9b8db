# cython: freethreading_compatible=True
"""Rate limits that a store counts; store_limit.pxd is the map."""

cimport cython
from libc.stdint cimport uint64_t

import asyncio
import inspect
import logging
import time

from fastnet_ext.exchange.errors import Overloaded
from fastnet_ext.exchange.exchange cimport ADMITTED, REFUSED, WAITS, Admission, Exchange, Guard
from fastnet_ext.exchange.limits cimport LIMIT_RATE
from fastnet_ext.exchange.rate_limit cimport MAX_RATE_LIMITS, RateLimit, RateLimitGuard, Taken, announce
from fastnet_ext.exchange.stores import Ask
from fastnet_ext.ratelimit.limiter cimport ADMIT, Decision

__all__ = ["StoreLimitGuard"]

cdef object log = logging.getLogger("fastnet.error")

# The code a carrier is given to abort an answer that failed: INTERNAL_ERROR of RFC 9113, 7.
cdef int INTERNAL_ERROR = 2


@cython.final
cdef class Wait:
    pass


@cython.final
cdef class StoreLimitGuard(Guard):
    """Admits a request that the ``local`` limits and then all ``limits`` of the ``store`` admit.

    ``limits`` come with the quotas by which the store knows them. A store that raises, says nothing within ``timeout``
    seconds or something that cannot be has failed: requests are then admitted (``admits_failing``) or get 503, and are
    counted as ``failures``; the log is told when that begins and ends.
    """

    def __init__(self, store, limits, *, RateLimitGuard local=None, double timeout, bint admits_failing):
        pairs = tuple(limits)
        if len(pairs) > MAX_RATE_LIMITS:
            raise ValueError(f"{len(pairs)} rate limits before one handler: at most {MAX_RATE_LIMITS}")
        for limit, _ in pairs:
            if not isinstance(limit, RateLimit):
                raise TypeError(f"{limit!r} is no RateLimit")
        if not timeout > 0:
            raise ValueError(f"a store is given {timeout} s to answer: it is more than 0")
        self.store = store
        self.limits = tuple([limit for limit, _ in pairs])
        self.quotas = tuple([quota for _, quota in pairs])
        self.local = local
        self.timeout = timeout
        self.admits_failing = admits_failing
        self.waiting = {}

    cdef Admission admit(self, Exchange x) except *:
        cdef Wait wait = Wait.__new__(Wait)
        cdef RateLimit limit
        cdef list asks = []
        cdef object refusal = None
        wait.x = x
        wait.limits = []
        try:
            # Everything of the application's first, so that nothing was taken when it fails.
            for limit, quota in zip(self.limits, self.quotas):
                key = limit.key.of(x)
                cost = 0 if key is None else limit.cost_of(x)
                if cost:
                    wait.limits.append(limit)
                    asks.append(Ask(quota, key.encode() if isinstance(key, str) else key, cost))
            if self.local is not None:
                refusal = self.local.take_into(x, 429, &wait.taken)
        except Exception as error:
            refusal = error
        if refusal is not None:
            x.refusal = refusal
            return REFUSED
        if asks:
            try:
                reply = self.store.reserve(asks, time.time_ns())
            except Exception as error:
                refusal = self.failed(repr(error))
            else:
                if inspect.isawaitable(reply):
                    loop = x.connection.local.loop
                    # A coroutine gets its end from its own Task, even if the client leaves before it has begun.
                    wait.reply = asyncio.ensure_future(reply, loop=loop)
                    wait.task = loop.create_task(self._wait(wait))
                    self.waiting[x] = wait
                    x.waits_for = self
                    return WAITS
                refusal = self.judge(x, wait.limits, reply)
        self.settle(x, &wait.taken, refusal)
        return ADMITTED if refusal is None else REFUSED

    async def _wait(self, Wait wait not None):
        cdef Exchange x = wait.x
        cdef object why = None, decisions = None
        try:
            async with asyncio.timeout(self.timeout):
                decisions = await wait.reply
        except TimeoutError:
            why = f"no answer within {self.timeout:g} s"
        except asyncio.CancelledError:
            if x not in self.waiting:
                raise
            why = "it cancelled its answer"
        except Exception as error:
            why = repr(error)
        if self.waiting.pop(x, None) is None:
            return
        x.waits_for = None
        wait.task = wait.reply = None
        try:
            refusal = self.judge(x, wait.limits, decisions) if why is None else self.failed(why)
            self.settle(x, &wait.taken, refusal)
            x.admitter.go_on(x)
        except Exception:
            log.exception("a request whose rate limits a store counts could not be started")
            x.abort(INTERNAL_ERROR)
            x.finish()

    cdef int leave(self, Exchange x) except -1:
        cdef Wait wait = self.waiting.pop(x, None)
        x.waits_for = None
        if wait is not None:
            wait.reply.cancel()
            wait.task.cancel()
            wait.task = wait.reply = None
            if self.local is not None:
                self.local.give_back(&wait.taken, len(self.local.limits))
        return 0

    cdef object judge(self, Exchange x, list limits, object decisions):
        cdef RateLimit limit
        cdef Decision decision
        cdef Py_ssize_t i
        try:
            given = list(decisions)
        except Exception as error:
            return self.failed(repr(error))
        for one in given:
            if not isinstance(one, Decision):
                return self.failed(f"{one!r} is no Decision")
        if len(given) > len(limits) or (len(given) < len(limits) and (not given or given[-1])):
            return self.failed(f"{len(given)} decisions on {len(limits)} asks")
        if self.failing:
            self.failing = False
            log.warning("the store %r of rate limits answers again", self.store)
        for i in range(len(given)):
            limit, decision = limits[i], given[i]
            if decision.outcome.verdict != ADMIT:
                self.refused += 1
                x.connection.over_limit(LIMIT_RATE, <double>limit.limiter.count, 429)
                return limit.refusal(&decision.outcome)
        for i in range(len(given)):
            limit, decision = limits[i], given[i]
            if limit.headers:
                announce(x, limit, &decision.outcome)
        return None

    cdef object failed(self, object why):
        self.failures += 1
        if not self.failing:
            self.failing = True
            log.warning(
                "the store %r of rate limits failed: %s; until it answers, requests are %s",
                self.store, why, "admitted" if self.admits_failing else "refused",
            )
        return None if self.admits_failing else Overloaded("rate limits cannot be counted just now; try again later")

    cdef int settle(self, Exchange x, const Taken* taken, object refusal) except -1:
        if refusal is not None:
            x.refusal = refusal
            if self.local is not None:
                self.local.give_back(taken, len(self.local.limits))
        elif self.local is not None and self.local.headers:
            self.local.announce(x, taken)
        return 0

    def __repr__(self):
        return f"<StoreLimitGuard of {self.store!r}: {len(self.limits)} limits, {len(self.waiting)} requests waiting>"
