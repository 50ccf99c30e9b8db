# cython: freethreading_compatible=True
"""Guards that every service wants."""

cimport cython

import logging
from collections import OrderedDict

from fastnet_ext.exchange.errors import Overloaded
from fastnet_ext.exchange.exchange cimport ADMITTED, BODY_STREAM, REFUSED, WAITS, Admission, Exchange, Guard
from fastnet_ext.exchange.limits cimport LIMIT_IN_FLIGHT

cdef object log = logging.getLogger("fastnet.error")

# The code a carrier is given to abort an answer that failed: INTERNAL_ERROR of RFC 9113, 7.
cdef int INTERNAL_ERROR = 2


@cython.final
cdef class InFlightLimit(Guard):
    """At most ``limit`` requests are answered at once; further ones wait for their turn, in their order.

    A request counts from its head until its answer is complete or given up, streams and
    connections handed over (WebSocket) included. As many as the limit, and at least 16, may wait, for as
    long as their listener's ``limit_queue_time``; one more gets 503, and so does a WebSocket or a gRPC
    call at once, since what they would wait for is held for long. One limit may stand before several
    routes: it counts them together. It belongs to one event loop. Raises ``ValueError`` for a limit below 1.
    """

    def __init__(self, Py_ssize_t limit):
        if limit < 1:
            raise ValueError("a limit of requests in flight is at least 1")
        self.limit = limit
        self.queue_limit = max(limit, LEAST_QUEUE)
        self.queue = OrderedDict()

    cdef Admission admit(self, Exchange x) except *:
        if self.active < self.limit and not self.queue:
            self.active += 1
            return ADMITTED
        if x.connection.queue_time() > 0 and x.body_mode != BODY_STREAM and len(self.queue) < self.queue_limit:
            self.queue[x] = None
            x.waits_for = self
            return WAITS
        self.refused += 1
        x.refusal = Overloaded()
        x.connection.over_limit(LIMIT_IN_FLIGHT, <double>self.limit, 503)
        return REFUSED

    cdef int release(self, Exchange x) except -1:
        self.active -= 1
        if self.queue and not self.waking:
            # In a turn of its own: the release is in the middle of the end of another exchange.
            self.waking = True
            x.connection.local.loop.call_soon(self._wake)
        return 0

    cdef int leave(self, Exchange x) except -1:
        x.waits_for = None
        self.queue.pop(x, None)
        return 0

    def _wake(self):
        cdef Exchange x
        self.waking = False
        while self.queue and self.active < self.limit:
            x = self.queue.popitem(last=False)[0]
            x.waits_for = None
            self.active += 1
            try:
                x.admitter.go_on(x)
            except Exception:
                log.exception("a request that had waited for its turn could not be started")
                x.abort(INTERNAL_ERROR)
                x.finish()

    @property
    def waiting(self):
        """How many requests wait for their turn."""
        return len(self.queue)

    def __repr__(self):
        return f"<InFlightLimit {self.active} of {self.limit}, {len(self.queue)} waiting>"
