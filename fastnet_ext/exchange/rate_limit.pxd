"""Rate limits as a guard: whose requests count together (`Key`), by which limiter, and what the refused are told."""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Exchange, Guard
from fastnet_ext.ratelimit.limiter cimport Limiter, Outcome


cdef enum:
    # Limits of one guard; more are refused at registration.
    MAX_RATE_LIMITS = 16


cdef class Key:
    """Whose requests count together."""

    # str or bytes; None: this request is not limited.
    cdef object of(self, Exchange x)


cdef class RateLimit:
    # Constant but for `limiter`, which is set before requests come: who serves knows where its table lies.
    cdef readonly Limiter limiter
    cdef readonly Key key
    cdef readonly str name
    cdef uint64_t fixed_cost            # when `cost` is None
    cdef readonly object cost           # request -> int, None

    # What a request costs; 0: nothing. Raises ValueError for less.
    cdef uint64_t cost_of(self, Exchange x) except? 0
    cdef object refusal(self, const Outcome* outcome)


cdef class RateLimitGuard(Guard):
    """Asks its limits one after the other; what was taken is given back when a later one refuses."""

    cdef readonly tuple limits
    cdef readonly uint64_t refused      # since the start
    cdef object clock                   # () -> nanoseconds; None: the system's monotonic clock

    # None when the request is admitted, else the exception that refuses it; `cutoff` is what the log is told.
    cdef object take(self, Exchange x, int cutoff)
