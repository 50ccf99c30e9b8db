# cython: freethreading_compatible=True
"""Rate limits as a guard; rate_limit.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastnet_ext.core.headers cimport Field
from fastnet_ext.exchange.errors import TooManyRequests
from fastnet_ext.exchange.exchange cimport ADMITTED, CLIENT_PREFIX, REFUSED, Admission, Exchange, address_key
from fastnet_ext.exchange.limits cimport LIMIT_RATE
from fastnet_ext.exchange.request cimport request_of
from fastnet_ext.proxy.forwarded cimport Forwarded
from fastnet_ext.ratelimit.limiter cimport ADMIT, NEVER, Limiter, Outcome

__all__ = ["ClientKey", "FunctionKey", "HeaderKey", "Key", "RateLimit", "RateLimitGuard", "SharedKey"]

cdef uint64_t SECOND = 1_000_000_000


cdef class Key:
    cdef object of(self, Exchange x):
        return b""


@cython.final
cdef class SharedKey(Key):
    """All requests count together."""


@cython.final
cdef class ClientKey(Key):
    """The client's address, as trusted proxies or else the connection say it.

    An IPv6 client counts by the first ``prefix`` bits of its address. Clients without an address (Unix sockets)
    count together.
    """

    cdef unsigned prefix

    def __init__(self, prefix=CLIENT_PREFIX):
        if not 1 <= prefix <= 128:
            raise ValueError(f"a prefix of {prefix} bits: an IPv6 address has 1 to 128")
        self.prefix = prefix

    cdef object of(self, Exchange x):
        cdef Forwarded forwarded = None if x.connection.proxies is None else x.forwarded()
        if forwarded is not None and forwarded.host is not None:
            return address_key(forwarded.host, self.prefix)
        if self.prefix == CLIENT_PREFIX:
            return x.connection.peer_key()
        peer = x.connection.peer_name()
        return address_key(peer[0], self.prefix) if isinstance(peer, tuple) and peer else b""


@cython.final
cdef class HeaderKey(Key):
    """The value of a header field, such as an API key; requests without it count by ``otherwise``."""

    cdef bytes name
    cdef Key otherwise

    def __init__(self, str name, Key otherwise not None):
        self.name = name.lower().encode("ascii")
        self.otherwise = otherwise

    cdef object of(self, Exchange x):
        cdef const Field* field = x.head.find_name(PyBytes_AS_STRING(self.name), <uint32_t>PyBytes_GET_SIZE(self.name))
        if field is NULL:
            return self.otherwise.of(x)
        # No value is the same as an address that others count by: no IPv6 network begins with this byte.
        return b"=" + PyBytes_FromStringAndSize(x.head.at(field.value), field.value.size)


@cython.final
cdef class FunctionKey(Key):
    """What ``function(request)`` returns: text or bytes, or None for a request that is not limited."""

    cdef object function

    def __init__(self, function):
        self.function = function

    cdef object of(self, Exchange x):
        found = self.function(request_of(x))
        if found is not None and not isinstance(found, (str, bytes)):
            raise TypeError(f"the key of a rate limit is str, bytes or None, not {found!r}")
        return found


@cython.final
cdef class RateLimit:
    """One limit: who counts together, and how much is admitted.

    ``cost`` is what a request costs, or a function of the request that says so; 0 is for free. ``name`` is what peers
    are told; it stands in a header field, within quotes.
    """

    def __init__(self, Limiter limiter not None, Key key not None, *, cost=1, str name="default"):
        if not name or not name.isascii() or not name.isprintable() or '"' in name or "\\" in name:
            raise ValueError(f"{name!r} is no name of a rate limit: it is printable ASCII without quotes and backslashes")
        if callable(cost):
            self.cost = cost
        elif not isinstance(cost, int) or cost < 0:
            raise ValueError(f"the cost of a request is an integer, at least 0, or a function, not {cost!r}")
        else:
            self.fixed_cost = cost
        self.limiter = limiter
        self.key = key
        self.name = name

    def move(self, Limiter limiter not None):
        """Go on with a limiter whose table lies elsewhere; before requests come."""
        self.limiter = limiter

    cdef uint64_t cost_of(self, Exchange x) except? 0:
        if self.cost is None:
            return self.fixed_cost
        cost = self.cost(request_of(x))
        if not isinstance(cost, int) or cost < 0:
            raise ValueError(f"the cost of a request is an integer, at least 0, not {cost!r}")
        return min(cost, self.limiter.most + 1)

    cdef object refusal(self, const Outcome* outcome):
        cdef Limiter limiter = self.limiter
        cdef uint64_t window = (limiter.period_ns + SECOND - 1) // SECOND
        cdef uint64_t wait = (outcome.retry + SECOND - 1) // SECOND
        cdef dict headers = {
            "ratelimit-policy": f'"{self.name}";q={limiter.count};w={window}',
            "ratelimit": f'"{self.name}";r={outcome.left // outcome.unit};t={wait}',
        }
        if outcome.verdict == NEVER:
            return TooManyRequests(self.name, None, headers)
        headers["retry-after"] = str(wait)
        return TooManyRequests(self.name, outcome.retry / <double>SECOND, headers)


@cython.final
cdef class RateLimitGuard(Guard):
    """Admits a request that all ``limits`` admit, in their order.

    What the first ones took is given back when a later one refuses. ``clock()``, in nanoseconds, stands for the
    system's monotonic clock in tests.
    """

    def __init__(self, limits, *, clock=None):
        self.limits = tuple(limits)
        if len(self.limits) > MAX_RATE_LIMITS:
            raise ValueError(f"{len(self.limits)} rate limits before one handler: at most {MAX_RATE_LIMITS}")
        for limit in self.limits:
            if not isinstance(limit, RateLimit):
                raise TypeError(f"{limit!r} is no RateLimit")
        self.clock = clock

    cdef Admission admit(self, Exchange x) except *:
        cdef object refusal
        try:
            refusal = self.take(x, 429)
        except Exception as error:
            # A key or cost of the application's failed: that is its 500.
            refusal = error
        if refusal is None:
            return ADMITTED
        x.refusal = refusal
        return REFUSED

    cdef object take(self, Exchange x, int cutoff):
        cdef uint64_t hashes[MAX_RATE_LIMITS]
        cdef uint64_t costs[MAX_RATE_LIMITS]
        cdef uint64_t now
        cdef Outcome outcome
        cdef timespec time
        cdef RateLimit limit
        cdef Py_ssize_t i, j, count = len(self.limits)
        if self.clock is None:
            clock_gettime(CLOCK_MONOTONIC, &time)
            now = <uint64_t>time.tv_sec * SECOND + <uint64_t>time.tv_nsec
        else:
            now = self.clock()
        # Everything of the application's first, so that nothing was taken when it fails.
        for i in range(count):
            limit = <RateLimit>self.limits[i]
            key = limit.key.of(x)
            costs[i] = 0 if key is None else limit.cost_of(x)
            hashes[i] = limit.limiter.hash_of(key) if costs[i] else 0
        for i in range(count):
            if costs[i] == 0:
                continue
            limit = <RateLimit>self.limits[i]
            limit.limiter.hit_hash(hashes[i], now, costs[i], &outcome)
            if outcome.verdict == ADMIT:
                continue
            for j in range(i):
                if costs[j]:
                    (<RateLimit>self.limits[j]).limiter.give_back_hash(hashes[j], now, costs[j])
            self.refused += 1
            x.connection.over_limit(LIMIT_RATE, <double>limit.limiter.count, cutoff)
            return limit.refusal(&outcome)
        return None
