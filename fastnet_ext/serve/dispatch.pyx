# cython: freethreading_compatible=True
"""Finds the route of a request, asks its guards, and decides what becomes of the body."""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastnet_ext.core.headers cimport METHOD_OPTIONS, METHOD_OTHER, HeaderBlock
from fastnet_ext.exchange.errors import PayloadTooLarge
from fastnet_ext.exchange.exchange cimport BODY_IGNORE, BODY_LATE, BODY_STREAM, BODY_WHOLE, Exchange, Guard, Route
from fastnet_ext.routing.table cimport FOUND, METHOD_NOT_ALLOWED, SLASH_REDIRECT, MatchKind, RoutingTable
from fastnet_ext.serve.grpc_wire cimport is_grpc
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.runner cimport RunnerPool

cdef tuple WEBSOCKET_ONLY = ("WEBSOCKET",)


@cython.final
cdef class Dispatcher:
    """``table`` maps to ``Route`` objects; WebSocket routes are registered for the method ``WEBSOCKET``."""

    def __init__(
        self, RoutingTable table, *, Route not_found, Route method_not_allowed, Route options,
        Route slash_redirect=None, Route grpc_not_found=None, HttpEndpoint refusals, observers=(),
    ):
        self.table = table
        self.not_found = not_found
        self.method_not_allowed = method_not_allowed
        self.options = options
        self.slash_redirect = slash_redirect
        self.grpc_not_found = grpc_not_found
        self.refusals = refusals
        self.observers = tuple(observers) or None

    cdef int begin(self, Exchange x) except -1:
        cdef Guard guard
        cdef Route route
        if x.connection.proxies is not None:
            x.enter_root()
        self._route(x)
        route = x.route
        x.observers = self.observers
        x.body_mode = route.endpoint.body_mode
        x.collecting = x.body_mode == BODY_WHOLE
        for guard in route.guards:
            if not guard.admit(x):
                return self.refuse(x, x.refusal)
            x.guards_held += 1
        if x.content_length > route.max_body and (x.body_mode == BODY_WHOLE or x.body_mode == BODY_LATE):
            return self.refuse(x, PayloadTooLarge(route.max_body))
        if x.body_mode == BODY_STREAM:
            return x.ready()
        return 0

    cdef int _route(self, Exchange x) except -1:
        cdef HeaderBlock head = x.head
        cdef PyObject* found = NULL
        cdef const char* path = head.arena + x.path.offset
        cdef MatchKind kind
        cdef uint32_t i
        if x.wants_websocket:
            kind = self.table.match(path, x.path.size, METHOD_OTHER, b"WEBSOCKET", 9, &found, x.params, &x.param_count)
            if kind != FOUND:
                kind = self.table.match(
                    path, x.path.size, head.method, head.at(head.method_name), head.method_name.size,
                    &found, x.params, &x.param_count,
                )
        else:
            kind = self.table.match(
                path, x.path.size, head.method, head.at(head.method_name), head.method_name.size,
                &found, x.params, &x.param_count,
            )
        if kind == FOUND and head.method == METHOD_OTHER and not x.wants_websocket:
            # A plain request cannot ask for a WebSocket by naming the method of their routes.
            if (<Route>found).methods == WEBSOCKET_ONLY:
                kind = METHOD_NOT_ALLOWED
        if kind == FOUND:
            x.route = <Route>found
            for i in range(x.param_count):
                x.params[i].offset += x.path.offset
            return 0
        x.param_count = 0
        if self.grpc_not_found is not None and is_grpc(head):
            x.route = self.grpc_not_found
            return 0
        if kind == METHOD_NOT_ALLOWED:
            x.route = self.options if head.method == METHOD_OPTIONS else self.method_not_allowed
        elif kind == SLASH_REDIRECT and self.slash_redirect is not None:
            x.route = self.slash_redirect
        elif head.method == METHOD_OPTIONS and x.path.size == 1 and path[0] == b"*":
            x.route = self.options
        else:
            x.route = self.not_found
        return 0

    cdef int refuse(self, Exchange x, object error) except -1:
        """Answer with an error in place of the handler, through its middleware; the body is not read."""
        cdef object following
        x.started = True
        x.refusal = error
        x.body_mode = BODY_IGNORE
        if isinstance(x.route.endpoint, HttpEndpoint):
            return x.route.endpoint.start(x)
        following = self.refusals.on_exception(x, error)
        if following is not None:
            (<RunnerPool>x.connection.local.runners).run(self.refusals, x, following)
        return 0
