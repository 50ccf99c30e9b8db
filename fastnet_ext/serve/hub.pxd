"""Rooms of WebSocket connections, and what is sent to all in one; of one event loop.

    Rooms           the rooms of one hub, and its way with who is slow
    Subscriber      one connection in them: what waits for it, and its end

References: a room holds its subscribers, a subscriber its WebSocket, and the driver the subscriber (as a Follower).
The driver lets go when the connection closes, by either side, and the subscriber leaves its rooms then; a room
without subscribers is none.
"""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.serve.websocket cimport WebSocket
from fastnet_ext.serve.websocket_driver cimport Follower, SharedMessage, WebSocketDriver


cdef enum Slow:
    # What becomes of a message for a subscriber whose queue is full.
    SLOW_DROP_OLDEST    # the one that waits longest gives its place
    SLOW_DROP_NEW       # it is dropped itself
    SLOW_CLOSE          # the connection is closed with 1013


cdef class Rooms:
    cdef dict rooms             # name -> {Subscriber: member}; no empty ones
    cdef object on_left         # (name, member): a connection has ended that was there. In a turn of its own

    # Messages, and bytes of them, that wait for one subscriber.
    cdef readonly Py_ssize_t queue
    cdef readonly size_t queue_bytes
    cdef Slow slow

    cdef uint64_t sent
    cdef uint64_t dropped
    cdef uint64_t closed

    cdef Subscriber _subscriber(self, WebSocket ws)
    cdef int _discard(self, Subscriber subscriber, str room) except -1


cdef class Subscriber(Follower):
    cdef Rooms hub
    cdef WebSocket ws
    cdef Exchange x
    cdef dict rooms             # name -> member
    # What waits until the peer takes output again; None while nothing does. `held` bytes.
    cdef object waiting
    cdef size_t held

    # 1: it is sent, or waits; 0: it is for nobody.
    cdef int deliver(self, SharedMessage message) except -1
    cdef int _wait(self, WebSocketDriver driver, SharedMessage message) except -1
    cdef int _hold(self, WebSocketDriver driver, Py_ssize_t size) except -1
