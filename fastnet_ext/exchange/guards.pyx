# cython: freethreading_compatible=True
"""Guards that every service wants."""

cimport cython

from fastnet_ext.exchange.errors import Overloaded
from fastnet_ext.exchange.exchange cimport Exchange, Guard


@cython.final
cdef class InFlightLimit(Guard):
    """At most ``limit`` requests are answered at once; the next one gets 503 and may try again.

    A request counts from its head until its answer is complete or given up, streams and
    connections handed over (WebSocket) included. One limit may stand before several routes: it
    counts them together. It belongs to one event loop. Raises ``ValueError`` for a limit below 1.
    """

    def __init__(self, Py_ssize_t limit):
        if limit < 1:
            raise ValueError("a limit of requests in flight is at least 1")
        self.limit = limit

    cdef int admit(self, Exchange x) except -1:
        if self.active >= self.limit:
            self.refused += 1
            x.refusal = Overloaded()
            return 0
        self.active += 1
        return 1

    cdef int release(self, Exchange x) except -1:
        self.active -= 1
        return 0

    def __repr__(self):
        return f"<InFlightLimit {self.active} of {self.limit}>"
