"""Finds the route of a request, asks its guards, and decides what becomes of the body."""

from fastnet_ext.exchange.exchange cimport Exchange, Route
from fastnet_ext.routing.table cimport RoutingTable
from fastnet_ext.serve.http cimport HttpEndpoint


cdef class Dispatcher:
    """The frozen routes of one application, and what answers when none fits."""

    cdef readonly RoutingTable table
    # Routes of their own, so that middleware sees them; they ask the table for what they say.
    cdef readonly Route not_found
    cdef readonly Route method_not_allowed
    cdef readonly Route options
    cdef readonly Route grpc_not_found      # what answers gRPC calls of unknown services, or None
    cdef readonly Route slash_redirect      # None: such requests are not found
    cdef HttpEndpoint refusals              # renders what guards and limits refuse
    cdef tuple observers                    # None when there are none

    # The head is known: find the route. Afterwards the carrier feeds the body and calls x.ready().
    cdef int begin(self, Exchange x) except -1
    cdef int _route(self, Exchange x) except -1
    cdef int refuse(self, Exchange x, object error) except -1
