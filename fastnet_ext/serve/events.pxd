"""Server-sent events as answers: what handlers yield, the stream, and what becomes of it on an exchange."""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Exchange, Responder
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.response cimport Stream
from fastnet_ext.serve.compression cimport BodyCoder, Compression
from fastnet_ext.serve.json cimport JsonEncoder


cdef class ServerSentEvent:
    """One event; immutable, so that its bytes are made once, however many streams it is sent to."""

    cdef readonly object data       # str, UTF-8 as bytes, None: no data, or a value sent as JSON
    cdef readonly str event
    cdef readonly str id
    cdef readonly object retry      # milliseconds; None
    cdef readonly str comment
    cdef bytes encoded              # None until it was sent once

    cdef bytes to_bytes(self, JsonEncoder encoder)


cdef class EventStream(Stream):
    """An answer of events."""

    cdef readonly double heartbeat  # seconds of silence before a comment is sent; 0: none is
    cdef readonly object retry      # milliseconds, said once at the beginning; None
    # (request, events) -> async iterable of events: what is sent in their place, asked when the answer begins.
    cdef public object subscribe


cdef class EventResponder(Responder):
    """What a carrier tells a stream of events."""

    cdef object task
    cdef object loop
    # Not None until the head is sent: at the first event, or when the handler has waited for the first time, so that
    # what it raises before is answered as an error.
    cdef Exchange opening
    cdef ResponseHead head
    cdef bytes preamble
    cdef Compression compression    # None: the stream is not compressed
    cdef BodyCoder coder            # what its bytes go through, None: nothing
    # The server stops: the Task was cancelled, to end the answer properly.
    cdef bint draining
    cdef bint blocked               # send_data said so, and on_writable has not come since
    # Silence: `seen` bytes had been sent when it began, at `since` by the sweep's clock (0: no sweep has looked yet).
    cdef double heartbeat
    cdef double since
    cdef uint64_t seen

    cdef int open(self) except -1
    # As Exchange.send_data.
    cdef int send(self, Exchange x, bytes data) except -1
    # The loop's sweep looks at the stream: say something when it has been silent for long.
    cdef int look(self, Exchange x, double now) except -1


# The coroutine that sends `source`, an async iterable, with that head; `compression` may be None.
cdef object send_events(
    Exchange x, EventStream response, object source, JsonEncoder encoder, ResponseHead head, Compression compression
)
