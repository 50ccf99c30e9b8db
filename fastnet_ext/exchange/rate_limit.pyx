# cython: freethreading_compatible=True
"""Rate limits as a guard; rate_limit.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from fastnet_ext.core.endian cimport store_decimal
from fastnet_ext.core.headers cimport Field
from fastnet_ext.exchange.errors import TooManyRequests
from fastnet_ext.exchange.exchange cimport ADMITTED, CLIENT_PREFIX, REFUSED, Admission, Exchange, address_key
from fastnet_ext.exchange.limits cimport LIMIT_RATE
from fastnet_ext.exchange.request cimport request_of
from fastnet_ext.proxy.forwarded cimport Forwarded
from fastnet_ext.ratelimit.limiter cimport ADMIT, NEVER, Limiter, Outcome

__all__ = ["ClientKey", "FunctionKey", "HeaderKey", "Key", "RateLimit", "RateLimitGuard", "SharedKey"]

cdef uint64_t SECOND = 1_000_000_000
# An integer of a structured field: RFC 9651, 3.3.1.
cdef uint64_t LARGEST = 999_999_999_999_999


cdef inline uint64_t seconds_of(uint64_t nanoseconds) noexcept:
    """Rounded up."""
    return (nanoseconds + SECOND - 1) // SECOND


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
    are told; it stands in a header field, within quotes. ``headers``: those who are admitted are told too.
    """

    def __init__(self, Limiter limiter not None, Key key not None, *, cost=1, str name="default", bint headers=False):
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
        self.headers = headers
        self.quoted = b'"' + name.encode() + b'"'
        self.policy = self.quoted + b";q=%d;w=%d" % (min(limiter.count, LARGEST), seconds_of(limiter.period_ns))

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

    cdef bytes standing(self, const Outcome* outcome, uint64_t time):
        cdef char numbers[48]
        cdef int size = 3
        memcpy(numbers, b";r=", 3)
        size += store_decimal(numbers + size, min(outcome.left // outcome.unit, LARGEST))
        memcpy(numbers + size, b";t=", 3)
        size += 3
        size += store_decimal(numbers + size, min(time, LARGEST))
        return self.quoted + numbers[:size]

    cdef object refusal(self, const Outcome* outcome):
        cdef uint64_t wait = seconds_of(outcome.retry)
        cdef dict headers = {
            "ratelimit-policy": self.policy.decode(),
            "ratelimit": self.standing(outcome, wait).decode(),
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
            self.headers = self.headers or (<RateLimit>limit).headers
        self.clock = clock

    cdef Admission admit(self, Exchange x) except *:
        cdef Taken taken
        cdef object refusal
        try:
            refusal = self.take_into(x, 429, &taken)
        except Exception as error:
            # A key or cost of the application's failed: that is its 500.
            refusal = error
        if refusal is None:
            if self.headers:
                self.announce(x, &taken)
            return ADMITTED
        x.refusal = refusal
        return REFUSED

    cdef object take(self, Exchange x, int cutoff):
        cdef Taken taken
        return self.take_into(x, cutoff, &taken)

    cdef object take_into(self, Exchange x, int cutoff, Taken* taken):
        cdef Outcome* outcome
        cdef timespec time
        cdef RateLimit limit
        cdef Py_ssize_t i, count = len(self.limits)
        if self.clock is None:
            clock_gettime(CLOCK_MONOTONIC, &time)
            taken.now = <uint64_t>time.tv_sec * SECOND + <uint64_t>time.tv_nsec
        else:
            taken.now = self.clock()
        # Everything of the application's first, so that nothing was taken when it fails.
        for i in range(count):
            limit = <RateLimit>self.limits[i]
            key = limit.key.of(x)
            taken.costs[i] = 0 if key is None else limit.cost_of(x)
            taken.hashes[i] = limit.limiter.hash_of(key) if taken.costs[i] else 0
        for i in range(count):
            if taken.costs[i] == 0:
                continue
            limit = <RateLimit>self.limits[i]
            outcome = &taken.outcomes[i]
            limit.limiter.hit_hash(taken.hashes[i], taken.now, taken.costs[i], outcome)
            if outcome.verdict == ADMIT:
                continue
            self.give_back(taken, i)
            self.refused += 1
            x.connection.over_limit(LIMIT_RATE, <double>limit.limiter.count, cutoff)
            return limit.refusal(outcome)
        return None

    cdef int give_back(self, const Taken* taken, Py_ssize_t count) except -1:
        cdef Py_ssize_t i
        for i in range(count):
            if taken.costs[i]:
                (<RateLimit>self.limits[i]).limiter.give_back_hash(taken.hashes[i], taken.now, taken.costs[i])
        return 0

    cdef int announce(self, Exchange x, const Taken* taken) except -1:
        cdef RateLimit limit
        cdef Py_ssize_t i
        for i in range(len(self.limits)):
            limit = <RateLimit>self.limits[i]
            if limit.headers and taken.costs[i]:
                announce(x, limit, &taken.outcomes[i])
        return 0


cdef int announce(Exchange x, RateLimit limit, const Outcome* outcome) except -1:
    # Lines of one name are one list (RFC 9651, 4.2): each limit adds its item as a line.
    cdef bytes standing = limit.standing(outcome, seconds_of(outcome.reset))
    if x.more_fields is None:
        x.more_fields = []
    x.more_fields.append((b"ratelimit-policy", limit.policy))
    x.more_fields.append((b"ratelimit", standing))
    return 0
