"""A WebSocket over a carrier that frames messages itself: Exchange.carries_messages."""

from libc.stdint cimport uint16_t, uint64_t

from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.serve.websocket_driver cimport WebSocketDriver
from fastnet_ext.websocket.session cimport Limits


cdef class MessageDriver(WebSocketDriver):
    cdef uint64_t limit     # bytes of one message

    cdef int _end(self, Exchange x, uint16_t code, str reason) except -1


cdef MessageDriver new_message_driver(Exchange x, Limits limits)
