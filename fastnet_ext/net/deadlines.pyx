# cython: freethreading_compatible=True
"""The limits in time of what runs on a connection; deadlines.pxd is the map."""

from libc.math cimport INFINITY

from fastnet_ext.exchange.exchange cimport BODY_STREAM, Exchange
from fastnet_ext.net.connection cimport Connection
from fastnet_ext.net.loop_state cimport LoopState
from fastnet_ext.serve.dispatch cimport Dispatcher
from fastnet_ext.serve.events cimport EventResponder


cdef int look_at_answer(
    LoopState state, Exchange x, Dispatcher dispatcher, double timeout, double elapsed, double late
) except -1:
    cdef double seconds
    if x.status or x.gone or x.ended:
        if type(x.responder) is EventResponder and x.status and not x.gone and not x.ended:
            return (<EventResponder>x.responder).look(x, state.now)
        return 0
    if x.waits_for is None and (not x.started or x.body_mode == BODY_STREAM):
        return 0
    if x.waits_for is not None:
        seconds = x.connection.queue_time()
    else:
        seconds = x.route.timeout if x.route.timeout >= 0 else timeout
    if seconds == 0:
        return 0
    if x.deadline == 0:
        x.deadline = state.now + seconds
        return 0
    x.deadline += late
    if x.body_waiter is not None and not x.overdue:
        # The handler waits for its peer, whose body has limits of its own.
        x.deadline += elapsed
    if state.now < x.deadline:
        return 0
    if x.waits_for is not None:
        x.deadline = 0
        return dispatcher.shed(x)
    if not x.overdue:
        state.counts.timeouts += 1
    return dispatcher.expire(x, seconds, state.now, 2 * state.sweep_interval)


cdef double body_timeout_of(Connection connection, Exchange x) noexcept:
    if x.route is None or x.route.timeout_body < 0:
        return connection.service.body_timeout
    return x.route.timeout_body or INFINITY


cdef double body_rate_of(Connection connection, Exchange x) noexcept:
    return connection.service.body_rate if x.route is None or x.route.rate_body < 0 else x.route.rate_body
