"""The limits in time of what runs on a connection, or for another server; see docs/limits.md."""

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.net.connection cimport Connection
from fastnet_ext.net.loop_state cimport LoopState
from fastnet_ext.serve.dispatch cimport Dispatcher


# Whether the answer to an exchange has begun in time. The clock starts when a sweep sees it first. `timeout` is the
# listener's, where the route says none; `elapsed` and `late` as in Member.look.
cdef int look_at_answer(
    LoopState state, Exchange x, Dispatcher dispatcher, double timeout, double elapsed, double late
) except -1

# The limits of x's body, its route's or the listener's: seconds of silence, bytes a second.
cdef double body_timeout_of(Connection connection, Exchange x) noexcept
cdef double body_rate_of(Connection connection, Exchange x) noexcept
