"""A WebSocket over a tunnel of bytes: input -> machine -> queue of messages, output, and the close."""

from fastnet_ext.core.buffer cimport Buffer
from fastnet_ext.core.flag cimport flag
from fastnet_ext.exchange.exchange cimport Exchange
from fastnet_ext.serve.websocket_driver cimport SharedMessage, WebSocketDriver
from fastnet_ext.websocket.extensions cimport DeflateAgreement
from fastnet_ext.websocket.session cimport Limits, Session


cdef enum:
    # Messages of one piece of input that a waiting handler gets at once; for those after them it waits for
    # its turn of the loop, so that one peer's many small messages do not keep the others waiting.
    DIRECT_MESSAGES = 256
    # Payloads from here on go to the carrier from where they are.
    SEND_THROUGH = 16 * 1024
    # The longest memory for output that is kept for the next connection.
    SPARE_OUTPUT = 64 * 1024


cdef class FrameDriver(WebSocketDriver):
    # --- the machine, and what it and `send` wrote that the carrier does not have yet: within one call only
    cdef Session session
    cdef Buffer out

    # --- input. `carry` holds bytes that came after the queue was full (or before the hand-shake was
    # answered, over HTTP/2); they are read, and `input_ended` acted on, when there is room again.
    cdef bytearray carry            # None: nothing

    # The answer to the hand-shake will agree on permessage-deflate.
    cdef int use_deflate(self, Exchange x, DeflateAgreement agreement) except -1

    cdef Py_ssize_t _carried(self) noexcept
    cdef int _carry(self, const char* data, Py_ssize_t size) except -1
    cdef Py_ssize_t _read(self, Exchange x, char* data, size_t size, bint direct) except -1
    cdef int _note_limit(self, Exchange x) except -1
    cdef int _message(self, Exchange x, bint direct) except -1
    cdef int _give_up_ping(self) except -1
    cdef bytes _compressed(self, SharedMessage message)
    cdef int _peer_closed(self, Exchange x, bint direct) except -1
    cdef int _input_over(self, Exchange x) except -1
    cdef int _flush(self, Exchange x) except -1
    cdef int _borrow(self, Exchange x) noexcept
    cdef int _schedule_resume(self, Exchange x) except -1
    cdef bint _has_room(self) noexcept


cdef FrameDriver new_frame_driver(Exchange x, Limits limits)
