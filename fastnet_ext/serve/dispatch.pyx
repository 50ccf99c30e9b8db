# cython: freethreading_compatible=True
"""Finds the route of a request, asks its guards, and decides what becomes of the body."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from fastnet_ext.core.headers cimport METHOD_OPTIONS, METHOD_OTHER, HeaderBlock, Span
from fastnet_ext.exchange.errors import HandlerTimeout, Overloaded, PayloadTooLarge
from fastnet_ext.exchange.exchange cimport (
    ADMITTED, BODY_IGNORE, BODY_LATE, BODY_STREAM, BODY_WHOLE, MAX_PARAMS, OVERDUE_ANSWERED, OVERDUE_CANCELLED, OVERDUE_NOT,
    WAITS, Admission, Admitter, Exchange, Guard, Route,
)
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.limits cimport LIMIT_BODY, LIMIT_HANDLER_TIME, LIMIT_LAG, LIMIT_MEMORY, LIMIT_QUEUE_TIME
from fastnet_ext.routing.table cimport FOUND, METHOD_NOT_ALLOWED, SLASH_REDIRECT, MatchKind, RoutingTable
from fastnet_ext.serve.grpc_wire cimport is_grpc
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.runner cimport RunnerPool

import orjson

cdef tuple WEBSOCKET_ONLY = ("WEBSOCKET",)

# The answer in place of a handler that does not end although it was cancelled. The connection closes: what
# runs on should not count as free.
cdef ResponseHead OVERDUE_HEAD = ResponseHead(503, [
    (b"content-type", b"application/problem+json"), (b"retry-after", b"1"), (b"connection", b"close"),
])
cdef bytes OVERDUE_BODY = orjson.dumps({
    "type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": str(HandlerTimeout()),
})


@cython.final
cdef class Dispatcher:
    """``table`` maps to ``Route`` objects; WebSocket routes are registered for the method ``WEBSOCKET``."""

    def __init__(
        self, RoutingTable table, *, Route not_found, Route method_not_allowed, Route options,
        Route slash_redirect=None, Route grpc_not_found=None, HttpEndpoint refusals,
        Guard gate=None, bint sheds=True,
    ):
        self.table = table
        self.not_found = not_found
        self.method_not_allowed = method_not_allowed
        self.options = options
        self.slash_redirect = slash_redirect
        self.grpc_not_found = grpc_not_found
        self.refusals = refusals
        self.gate = gate
        self.sheds = sheds

    def of_listener(self, Guard gate, *, bint sheds=True):
        """The same for one listener: ``gate`` is asked before all other guards (None: nobody is).

        ``sheds``: requests are refused while the loop is late or keeps too much in buffers.
        """
        return Dispatcher(
            self.table, not_found=self.not_found, method_not_allowed=self.method_not_allowed, options=self.options,
            slash_redirect=self.slash_redirect, grpc_not_found=self.grpc_not_found, refusals=self.refusals,
            gate=gate, sheds=sheds,
        )

    cdef int begin(self, Exchange x) except -1:
        if x.connection.proxies is not None:
            x.enter_root()
        if x.connection.observers is not None:
            x.observe(x.connection.observers)
        self._route(x)
        x.body_mode = x.route.endpoint.body_mode
        x.collecting = x.body_mode == BODY_WHOLE
        if x.route.max_decompressed >= 0 and x.content_length != 0 and (x.collecting or x.body_mode == BODY_LATE):
            x.decode_body()
        if x.connection.local.pressed and self.sheds and self._press(x):
            return 0
        return self._admit(x)

    cdef int _press(self, Exchange x) except -1:
        """The loop is pressed: refuse the request if it is by as much as its listener minds; 1 then."""
        cdef double lag = x.connection.local.lag
        cdef str why
        if x.connection.local.over_memory and x.content_length != 0 and x.body_mode != BODY_IGNORE:
            # What brings nothing to be kept is served: those who keep much go first, see LoopState._relieve.
            x.connection.over_limit(LIMIT_MEMORY, -1, 503)
            why = "the server has too much to keep; try again later"
        elif 0 < x.connection.queue_time() < lag:
            x.connection.over_limit(LIMIT_LAG, x.connection.queue_time(), 503)
            why = "the server is behind; try again later"
        else:
            return 0
        self.refuse(x, Overloaded(why))
        return 1

    cdef int _admit(self, Exchange x) except -1:
        cdef Route route = x.route
        cdef Guard guard
        cdef Admission outcome
        if self.gate is not None and x.gate is None:
            outcome = self.gate.admit(x)
            if outcome != ADMITTED:
                return self._wait(x) if outcome == WAITS else self.refuse(x, x.refusal)
            x.gate = self.gate
        while x.guards_held < <uint32_t>len(route.guards):
            guard = <Guard>route.guards[x.guards_held]
            outcome = guard.admit(x)
            if outcome != ADMITTED:
                return self._wait(x) if outcome == WAITS else self.refuse(x, x.refusal)
            x.guards_held += 1
        if x.content_length > route.max_body and (x.body_mode == BODY_WHOLE or x.body_mode == BODY_LATE):
            x.connection.over_limit(LIMIT_BODY, <double>route.max_body, 413)
            return self.refuse(x, PayloadTooLarge(route.max_body))
        if x.body_mode == BODY_STREAM:
            return x.ready()
        return 0

    cdef int _wait(self, Exchange x) except -1:
        """A guard makes it wait; of its body no more is kept than of one whose handler is slow."""
        x.admitter = self
        x.collecting = False
        if x.body_mode == BODY_STREAM:
            # Nobody is there yet to be given the pieces.
            x.body_mode = BODY_LATE
        return 0

    cdef int go_on(self, Exchange x) except -1:
        x.deadline = 0
        if x.refusal is not None:
            return self.refuse(x, x.refusal)
        x.body_mode = x.route.endpoint.body_mode
        if self.gate is not None and x.gate is None:
            x.gate = self.gate
        else:
            x.guards_held += 1
        x.collecting = x.body_mode == BODY_WHOLE
        self._admit(x)
        x.ready()
        if x.body_mode == BODY_STREAM and x.started:
            return self._hand_over(x)
        return 0

    cdef int _hand_over(self, Exchange x) except -1:
        """What came while it waited."""
        cdef bytes kept = x.take_chunk()
        if kept and x.responder is not None:
            x.responder.on_data(x, PyBytes_AS_STRING(kept), PyBytes_GET_SIZE(kept))
        if x.body_complete and not x.ended and x.responder is not None:
            x.responder.on_end(x)
        return 0

    cdef int shed(self, Exchange x) except -1:
        x.connection.over_limit(LIMIT_QUEUE_TIME, x.connection.queue_time(), 503)
        return self.refuse(x, Overloaded())

    cdef int expire(self, Exchange x, double seconds, double now, double grace) except -1:
        if x.overdue == OVERDUE_NOT:
            x.connection.over_limit(LIMIT_HANDLER_TIME, seconds, 503)
            if x.task is not None:
                # What comes out is answered as HandlerTimeout: see HttpEndpoint.on_exception.
                x.overdue = OVERDUE_CANCELLED
                x.deadline = now + grace
                x.task.cancel()
                return 0
        x.overdue = OVERDUE_ANSWERED
        return x.respond(OVERDUE_HEAD, OVERDUE_BODY, len(OVERDUE_BODY), OVERDUE_BODY)

    cdef int _route(self, Exchange x) except -1:
        cdef HeaderBlock head = x.head
        cdef PyObject* found = NULL
        cdef const char* path = head.arena + x.path.offset
        cdef MatchKind kind
        cdef Span params[MAX_PARAMS]
        cdef uint32_t i, count = 0
        if x.wants_websocket:
            kind = self.table.match(path, x.path.size, METHOD_OTHER, b"WEBSOCKET", 9, &found, params, &count)
            if kind != FOUND:
                kind = self.table.match(
                    path, x.path.size, head.method, head.at(head.method_name), head.method_name.size,
                    &found, params, &count,
                )
        else:
            kind = self.table.match(
                path, x.path.size, head.method, head.at(head.method_name), head.method_name.size,
                &found, params, &count,
            )
        if kind == FOUND and head.method == METHOD_OTHER and not x.wants_websocket:
            # A plain request cannot ask for a WebSocket by naming the method of their routes.
            if (<Route>found).methods == WEBSOCKET_ONLY:
                kind = METHOD_NOT_ALLOWED
        if kind == FOUND:
            x.route = <Route>found
            for i in range(count):
                params[i].offset += x.path.offset
            if count:
                x.keep_params(params, count)
            return 0
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
        if x.waits_for is not None:
            x.waits_for.leave(x)
        x.started = True
        x.refusal = error
        x.body_mode = BODY_IGNORE
        if x.route.endpoint.takes_refusals:
            return x.route.endpoint.start(x)
        following = self.refusals.on_exception(x, error)
        if following is not None:
            (<RunnerPool>x.connection.local.runners).run(self.refusals, x, following)
        return 0
