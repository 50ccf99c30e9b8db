"""Rate limits that a store counts: a guard that waits for what the store says."""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Exchange, Guard
from fastnet_ext.exchange.rate_limit cimport RateLimitGuard, Taken


cdef class Wait:
    """A request that waits for the store."""

    cdef Exchange x
    cdef list limits                    # RateLimit of each ask
    cdef Taken taken                    # of the local limits
    cdef object reply                   # future of the decisions
    cdef object task                    # waits for it


cdef class StoreLimitGuard(Guard):
    """Asks the limits of this process first, then the store for all of its own at once."""

    # Constant.
    cdef readonly object store
    cdef readonly RateLimitGuard local  # None: there are none
    cdef readonly tuple limits
    cdef readonly tuple quotas          # of each limit
    cdef readonly double timeout        # seconds
    cdef readonly bint admits_failing   # what becomes of requests while the store fails

    # Since the start.
    cdef readonly uint64_t refused
    cdef readonly uint64_t failures
    cdef bint failing                   # the latest answer was a failure: the log knows
    cdef dict waiting                   # Exchange -> Wait

    # None when the store admits the request, else the exception that refuses it.
    cdef object judge(self, Exchange x, list limits, object decisions)
    cdef object failed(self, object why)
    # The request is admitted (None) or refused: local limits get back what a refused one took.
    cdef int settle(self, Exchange x, const Taken* taken, object refusal) except -1
