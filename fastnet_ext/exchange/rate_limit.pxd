"""Rate limits as a guard: whose requests count together (`Key`), by which limiter, and what the refused are told."""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Exchange, Guard
from fastnet_ext.ratelimit.limiter cimport Limiter, Outcome


cdef enum:
    # Limits of one guard; more are refused at registration.
    MAX_RATE_LIMITS = 16


cdef struct Taken:
    # What a request took of each limit of a guard, in their order; a cost of 0 is nothing.
    uint64_t now
    uint64_t hashes[MAX_RATE_LIMITS]
    uint64_t costs[MAX_RATE_LIMITS]
    Outcome outcomes[MAX_RATE_LIMITS]


cdef class Key:
    """Whose requests count together."""

    # str or bytes; None: this request is not limited.
    cdef object of(self, Exchange x)


cdef class RateLimit:
    # Constant but for `limiter`, which is set before requests come: who serves knows where its table lies.
    cdef readonly Limiter limiter
    cdef readonly Key key
    cdef readonly str name
    cdef readonly bint headers          # admitted requests are told too
    cdef readonly bytes policy          # the item of RateLimit-Policy
    cdef bytes quoted                   # the name
    cdef uint64_t fixed_cost            # when `cost` is None
    cdef readonly object cost           # request -> int, None

    # What a request costs; 0: nothing. Raises ValueError for less.
    cdef uint64_t cost_of(self, Exchange x) except? 0
    # The item of RateLimit: what is left, and for how many seconds that counts.
    cdef bytes standing(self, const Outcome* outcome, uint64_t time)
    cdef object refusal(self, const Outcome* outcome)


cdef class RateLimitGuard(Guard):
    """Asks its limits one after the other; what was taken is given back when a later one refuses."""

    cdef readonly tuple limits
    cdef readonly uint64_t refused      # since the start
    cdef object clock                   # () -> nanoseconds; None: the system's monotonic clock
    cdef bint headers                   # of at least one limit

    # None when the request is admitted, else the exception that refuses it; `cutoff` is what the log is told.
    cdef object take(self, Exchange x, int cutoff)
    cdef object take_into(self, Exchange x, int cutoff, Taken* taken)
    # Undo the first `count` of what was taken.
    cdef int give_back(self, const Taken* taken, Py_ssize_t count) except -1
    # Fields for the answer to what was admitted.
    cdef int announce(self, Exchange x, const Taken* taken) except -1


# Adds to the fields of the answer to an admitted request how a limit stands.
cdef int announce(Exchange x, RateLimit limit, const Outcome* outcome) except -1
