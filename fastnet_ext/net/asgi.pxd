"""A call of ASGI as the carrier of one exchange: scope, receive and send of a server that is not ours.

    AsgiService         what one event loop answers with: dispatcher, limits, LoopState
    AsgiConnection      of one call, as far as handlers and the sweep may see it
    AsgiExchange        the call; what is sent waits in `queue`
    carry()             the coroutine that the server awaits: it hands over what waits, until all is done
    HostedPool          runs handlers in Tasks with the context variables of the server's own

The server's Task is the writer. What the handler does is a Task of its own, since one must not wait for the other. A
second one, the pump, awaits `receive` where somebody has to: for a body that the handler reads while it runs, and to
see the peer leave while a handler waits for something else. A handler that answers at once needs neither.

References: exchange and connection hold each other until `_leave`, which every call ends with.
"""

from libc.stdint cimport int64_t, uint64_t

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.net.loop_state cimport LoopState, Member
from fastnet_ext.net.progress cimport Progress
from fastnet_ext.proxy.forwarded cimport Proxies
from fastnet_ext.serve.dispatch cimport Dispatcher
from fastnet_ext.serve.runner cimport RunnerPool


cdef enum:
    # Bytes of an answer that wait for the server; above it, whoever sends waits until half of it is taken.
    QUEUE_HIGH_WATER = 64 * 1024
    # Pieces of a body that wait together leave in one message of up to about so many bytes.
    COALESCE = 64 * 1024


cdef class HostedPool(RunnerPool):
    pass


cdef class AsgiService:
    """What answers on one event loop, and what limits it: constant, but for the state."""

    cdef readonly Dispatcher dispatcher
    cdef readonly LoopState state
    # Seconds; what was given as 0 is infinite.
    cdef readonly double handler_timeout
    cdef readonly double body_timeout
    cdef readonly double queue_time     # 0: requests do not wait for their turn
    cdef readonly double body_rate      # bytes a second; 0: none
    cdef uint64_t calls                 # so far
    # The root_path of the latest call: it is the same for all, or nearly so.
    cdef object root_scope
    cdef Proxies root

    cdef AsgiExchange open(self, object scope, object receive, object send, bint websocket)
    cdef Proxies root_of(self, object scope)


cdef class AsgiConnection(Member):
    cdef AsgiService service
    cdef object scope
    cdef readonly uint64_t number
    cdef AsgiExchange x         # None after its end


cdef class AsgiExchange(Exchange):
    # --- the call
    cdef AsgiConnection link    # the connection, by its type
    cdef object receive
    cdef object send
    cdef object context         # contextvars.Context of whoever called, for the handler and the pump
    cdef bint websocket
    cdef bint sends_trailers    # the server takes them
    cdef bint sends_hints       # and 103
    cdef bint sends_refusals    # and answers to hand-shakes
    cdef bint closes            # it may be told to close the connection (HTTP/1)

    # --- output, in order: messages (dicts; with their size, in a tuple, where it counts), pieces of the body (bytes),
    # and END. `queued` bytes of pieces and counted messages, `sending` of them in what the server has.
    cdef object queue           # deque
    cdef Py_ssize_t queued
    cdef Py_ssize_t sending
    cdef bint congested         # whoever sends was told to wait
    cdef bint bodyless          # no body is sent: HEAD, 204, 304
    cdef bint trailing          # the head said that trailers follow
    cdef bint tunnel            # a WebSocket, accepted
    cdef int64_t announced      # bytes that Content-Length promised, -1
    cdef bint aborted
    cdef object wakeup          # future of the server's Task, which waits for something to do; None

    # --- input
    cdef bint input_ended       # the last http.request came; it does so for a request without a body, too
    cdef bint input_paused
    cdef bint receiving         # the server is being asked for more
    cdef object reader          # the server's Task, while it is that which asks
    cdef bint interrupted       # and was told to stop
    cdef object pump            # Task, None until somebody needs it
    cdef object resumed         # future of the pump while input is paused, None
    cdef Progress reading       # of the body
    cdef object failure         # what the server, or what is between, did wrong: raised to it

    # --- the Tasks of handlers, and whether they tell when they end
    cdef list jobs
    cdef bint watched

    cdef int _enter_and_begin(self) except -1
    cdef int _begin(self) except -1
    cdef bint _feeds_a_responder(self) noexcept
    cdef bint _reads_in_place(self) noexcept
    cdef int _received(self, object message) except -1
    cdef int _received_http(self, object message) except -1
    cdef int _received_websocket(self, object message) except -1
    cdef int _received_in_place(self, object message) except -1
    cdef int _connect(self, object message) except -1
    cdef int _stop_reading(self) except -1
    cdef int _start_pump(self) except -1
    cdef bint _pumps(self) except -1
    cdef object _next_message(self)
    cdef object _body_message(self, bytes first)
    cdef int _message_sent(self) except -1
    cdef bint _is_over(self) except -1
    cdef list _running(self)
    cdef int _watch(self) except -1
    cdef int _wake(self) except -1
    cdef int _blame(self, object error) except -1
    cdef int _cancel(self) except -1
    cdef int _leave(self) except -1
    cdef bint _owes_body(self) noexcept
    cdef int _queue_head(self, ResponseHead head, int64_t length, bint streamed) except -1
    cdef int _done(self) except -1
