"""WebSocket handlers: the hand-shake, what the handler holds, and what becomes of its outcome.

    WebSocketEndpoint       of a route: checks the hand-shake, runs the handler, and sees to what it returns or raises
    WebSocket               what the handler sees: a Call that sends and receives
    WebSocketDriver         of one connection, see websocket_driver.pxd

References: the exchange holds the driver (x.responder) and the WebSocket (x.call), the WebSocket holds
both others, the driver holds the handler's Task. `Exchange.finish` cuts the first, the handler's end the
others, so nothing is left to the garbage collector.
"""

from libc.stdint cimport uint16_t

from fastnet_ext.core.flag cimport flag
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.exchange.query cimport QueryParams
from fastnet_ext.exchange.rate_limit cimport RateLimitGuard
from fastnet_ext.exchange.request cimport Call
from fastnet_ext.serve.http cimport HttpEndpoint
from fastnet_ext.serve.json cimport JsonEncoder
from fastnet_ext.serve.plan cimport CallPlan
from fastnet_ext.serve.runner cimport AsyncEndpoint
from fastnet_ext.serve.websocket_driver cimport WebSocketDriver
from fastnet_ext.websocket.extensions cimport PerMessageDeflate
from fastnet_ext.websocket.session cimport Limits


cdef class WebSocketEndpoint(AsyncEndpoint):
    # What it knows of one hand-shake is in the exchange: `call`, the WebSocket, unless it was refused before there was
    # one; `refusal`, the exception that is being answered in its place.
    cdef readonly CallPlan plan         # its call returns the handler's coroutine; None: see asgi_websocket.pyx
    cdef HttpEndpoint refusals          # sends the answer when the hand-shake is refused
    cdef Limits limits
    cdef readonly double ping_interval
    cdef RateLimitGuard message_rate    # asked for each message that is received; None: there is no limit
    cdef object warning                 # what is sent in place of closing when it refuses; None: it closes

    # The hand-shake: origins in lower case, None for those of our own host, empty tuple of subprotocols for none.
    cdef readonly object origins
    cdef readonly tuple subprotocols
    cdef readonly PerMessageDeflate compression     # None: what clients offer is declined

    # JSON out; of WebSocket[In, Out]: message -> value and value -> message, None when messages are taken as they are.
    cdef JsonEncoder encoder
    cdef object decode
    cdef object encode

    # Raises HandshakeRefused.
    cdef int check(self, Exchange x) except -1
    cdef int check_origin(self, Exchange x) except -1
    # `message_rate` admits one more message; otherwise the peer was warned. Raises what closes the connection.
    cdef bint admits(self, WebSocket ws) except -1

    # The handler is done: open and close what it did not.
    cdef int ended(self, Exchange x, uint16_t code, str reason) except -1
    # Answer with an error in place of the hand-shake, and with what its handler made of it. The coroutine to go on
    # with, None when all is done.
    cdef object refuse(self, Exchange x, object error)
    cdef object answer(self, Exchange x, object response)


cdef class WebSocket(Call):
    cdef WebSocketEndpoint endpoint
    cdef WebSocketDriver driver
    cdef readonly str subprotocol       # the one agreed on, None before and without
    cdef QueryParams _query

    # Before a first wait for a message: the hand-shake is answered, and nobody else receives.
    cdef int _begin_receiving(self) except -1
    # The next message that the rate admits; None when none is there.
    cdef object _take(self)
    # Answer the hand-shake; nothing happens when it was answered.
    cdef int _open(self) except -1
    # `further`: (name, value) bytes of fields that stand in the answer too; checked.
    cdef int _accept(self, str subprotocol, list further) except -1
    # Sec-WebSocket-Extensions of the answer; None when nothing is agreed on.
    cdef bytes _agree_on_compression(self)


cdef class Messages:
    """The messages of one ``async for``: the iterator, and what is awaited for each of them."""

    cdef WebSocket ws
    cdef bint waiting


cdef class Receive:
    """One wait for a message: done at once when one is there."""

    cdef WebSocket ws
    cdef flag iterating                 # the end is StopAsyncIteration
    cdef flag waiting
    cdef flag expired
    cdef object convert                 # message -> result, None
    cdef double timeout                 # seconds; below 0: none
    cdef object timer                   # running while it waits within a timeout

    cdef int _stop_timer(self) except -1
    cdef int _give_up(self) except -1


# The WebSocket of an exchange, known to it, and its driver.
cdef WebSocket new_websocket(WebSocketEndpoint endpoint, Exchange x)

# The WebSocket of an exchange; None before there is one, and when all is over.
cdef inline WebSocket websocket_of(Exchange x):
    return <WebSocket>x.call if isinstance(x.call, WebSocket) else None

# (name, value) bytes of what a handler adds to the answer of the hand-shake. Raises ValueError.
cdef list handshake_fields(object headers)

# The beginning of a text that fits a Close frame: 123 bytes.
cdef str brief(str text)
