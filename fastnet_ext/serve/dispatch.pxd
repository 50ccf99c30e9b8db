"""Finds the route of a request, asks its guards, and decides what becomes of the body."""

from fastnet_ext.exchange.exchange cimport Admitter, Exchange, Guard, Route
from fastnet_ext.routing.table cimport RoutingTable
from fastnet_ext.serve.http cimport HttpEndpoint


cdef class Dispatcher(Admitter):
    """The frozen routes of one application, and what answers when none fits."""

    cdef readonly RoutingTable table
    # Routes of their own, so that middleware sees them; they ask the table for what they say.
    cdef readonly Route not_found
    cdef readonly Route method_not_allowed
    cdef readonly Route options
    cdef readonly Route grpc_not_found      # what answers gRPC calls of unknown services, or None
    cdef readonly Route slash_redirect      # None: such requests are not found
    cdef HttpEndpoint refusals              # renders what guards and limits refuse
    # Of one listener: its guard, before all others (None: it has none), and whether requests are refused
    # while the loop is pressed.
    cdef readonly Guard gate
    cdef readonly bint sheds

    # The head is known: find the route. Afterwards the carrier feeds the body and calls x.ready().
    cdef int begin(self, Exchange x) except -1
    cdef int _route(self, Exchange x) except -1
    # Ask the guards that have not been asked; then the limit of the body.
    cdef int _admit(self, Exchange x) except -1
    cdef int _press(self, Exchange x) except -1
    cdef int _wait(self, Exchange x) except -1
    cdef int _hand_over(self, Exchange x) except -1
    cdef int refuse(self, Exchange x, object error) except -1
    # It waited for its turn, and may not any longer.
    cdef int shed(self, Exchange x) except -1
    # The handler's time is over, once more if it is not the first time: `seconds` were allowed, and what its
    # cancellation brings about gets `grace` of them, by the clock that says `now`.
    cdef int expire(self, Exchange x, double seconds, double now, double grace) except -1
