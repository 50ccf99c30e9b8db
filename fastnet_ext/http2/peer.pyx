# cython: freethreading_compatible=True
"""The machine for Python: bytes in, tuples out. For tests and tools; the driver uses connection.pxd."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_consume, buffer_free, buffer_init
from fastnet_ext.http2.connection cimport (
    H2_DATA,
    H2_END,
    H2_FAILED,
    H2_GOAWAY,
    H2_NEED_DATA,
    H2_PONG,
    H2_REQUEST,
    H2_RESET,
    H2_RESPONSE,
    H2_SETTINGS,
    H2_TOO_LARGE,
    H2_TRAILERS,
    H2_WINDOW,
    H2Event,
    Http2Connection,
)
from fastnet_ext.http2.hpack cimport hpack_encode_field
from fastnet_ext.http2.limits cimport Limits
from fastnet_ext.http2.stream cimport STREAM_INPUTS, STREAM_NEXT, STREAM_REFUSED, STREAM_STATES


@cython.final
cdef class Peer:
    """One end of a connection: a server unless ``client`` is true. ``limits`` bounds what the other end may do.

    Sending methods return -2 when the stream is over already, and raise LocalProtocolError when HTTP/2 does not
    allow what is asked.
    """

    cdef readonly Http2Connection connection
    cdef Buffer carry

    def __cinit__(self, *, bint client=False, Limits limits=None):
        buffer_init(&self.carry)
        self.connection = Http2Connection(client, limits)

    def __dealloc__(self):
        buffer_free(&self.carry)

    def receive(self, bytes data not None, double now=0.0, on_event=None):
        """Take bytes from the peer at ``now`` (seconds) and return what they mean, a list of tuples.

        ``("request" | "response" | "too_large", stream_id, start, fields, end_stream)``, where start is the
        dict of HeaderBlock.start and fields a list of byte pairs; ``("data", stream_id, bytes, end_stream)``;
        ``("end", stream_id)``; ``("trailers", stream_id, fields)``; ``("reset", stream_id, error_code, by_peer)``;
        ``("window", stream_id)``; ``("settings",)``; ``("pong", bytes)``; ``("goaway", last_stream_id,
        error_code)``; ``("failed", error_code)``, again for all that comes after it.

        ``on_event``, called with each tuple as it comes, can answer before the rest of the input is read.
        """
        cdef list events = []
        cdef H2Event event
        cdef size_t consumed = 0
        cdef size_t used = 0
        if buffer_append(&self.carry, data, <size_t>len(data)) < 0:
            raise MemoryError()
        while True:
            event = self.connection.next(self.carry.data + used, self.carry.size - used, &consumed, now)
            used += consumed
            if event != H2_NEED_DATA:
                events.append(self._tuple(event))
                if on_event is not None:
                    on_event(events[-1])
            if event == H2_NEED_DATA or event == H2_FAILED:
                buffer_consume(&self.carry, used)
                return events

    def drain(self, bytes data not None, double now=0.0):
        """Take bytes without making objects of what they mean; how many events there were."""
        cdef Py_ssize_t count = 0
        cdef const char* at = data
        cdef size_t size = <size_t>len(data)
        cdef size_t consumed = 0
        cdef H2Event event
        while True:
            event = self.connection.next(at, size, &consumed, now)
            at += consumed
            size -= consumed
            if event == H2_NEED_DATA or event == H2_FAILED:
                return count
            count += 1

    def data_to_send(self):
        """All bytes that must go to the peer; they count as taken."""
        cdef bytes taken = PyBytes_FromStringAndSize(
            self.connection.out.data, <Py_ssize_t>self.connection.out.size
        )
        self.connection.out.size = 0
        return taken

    def open_stream(self):
        """Client: the id of a new stream, 0 when the server takes no more."""
        return self.connection.open_stream()

    def send_headers(self, uint32_t stream_id, fields, *, bint end_stream=False):
        """Send a head of ``(name, value)`` byte pairs, pseudo-header fields first."""
        cdef bytes block = _encode(fields)
        return self.connection.send_head(stream_id, block, <size_t>len(block), end_stream)

    def send_data(self, uint32_t stream_id, bytes data not None, *, bint end_stream=False):
        """Send a part of the body; returns how many bytes of the stream now wait for a window."""
        return self.connection.send_data(stream_id, data, <size_t>len(data), end_stream, data)

    def send_trailers(self, uint32_t stream_id, fields):
        """Send the last head, behind everything that waits."""
        cdef bytes block = _encode(fields)
        return self.connection.send_trailers(stream_id, block, <size_t>len(block))

    def reset(self, uint32_t stream_id, uint32_t error_code):
        """End the stream with RST_STREAM."""
        return self.connection.reset_stream(stream_id, error_code)

    def acknowledge(self, uint32_t stream_id, size_t size, *, bint reading=False):
        """The application is done with ``size`` bytes of the stream; ``reading``: it waits for more."""
        return self.connection.consumed_by_app(stream_id, size, reading)

    def open_tunnel(self, uint32_t stream_id):
        """Server: the stream carries a tunnel."""
        return self.connection.open_tunnel(stream_id)

    def ping(self, bytes opaque not None):
        """Send a PING of eight bytes."""
        if len(opaque) != 8:
            raise ValueError("a PING carries eight bytes")
        self.connection.ping(opaque)

    def goaway(self, uint32_t last_stream_id, uint32_t error_code=0):
        """Send GOAWAY; streams of the peer above ``last_stream_id`` are ignored from now on."""
        self.connection.goaway(last_stream_id, error_code)

    def pump(self):
        """Frame what waits, as far as windows and limits allow; whether something still waits for its turn."""
        self.connection.pump()
        return self.connection.has_queued()

    def expect_no_body(self, uint32_t stream_id):
        """Client: the request is HEAD."""
        return self.connection.expect_no_body(stream_id)

    def hold(self):
        """A handler outlives its stream."""
        self.connection.hold()

    def release(self):
        """It has ended."""
        self.connection.release()

    def clear(self):
        """Drop all streams and contexts."""
        self.connection.clear()

    def get_context(self, uint32_t stream_id):
        """The object that hangs on the stream, or None."""
        return self.connection.get_context(stream_id)

    def set_context(self, uint32_t stream_id, context):
        """Hang an object on the stream until the stream is over."""
        return self.connection.set_context(stream_id, context)

    def contexts(self):
        """The objects of all streams."""
        return self.connection.contexts()

    @property
    def open_streams(self):
        """Streams that are not forgotten yet."""
        return self.connection.streams.count

    @property
    def held_bytes(self):
        """Memory that the peer's input made this end hold: output, fragments, dynamic table, carry."""
        return (
            self.connection.out.capacity + self.connection.fragments.capacity + self.carry.capacity
            + 2 * self.connection.hpack.ceiling
        )

    @property
    def reason(self):
        """What was wrong when the connection failed, else None."""
        if self.connection.reason is NULL:
            return None
        return self.connection.reason.decode("ascii")

    @property
    def protocol(self):
        """``:protocol`` of the last request (RFC 8441)."""
        if self.connection.head is None or self.connection.protocol.size == 0:
            return b""
        return self.connection.head.raw(self.connection.protocol)

    cdef tuple _tuple(self, H2Event event):
        cdef Http2Connection c = self.connection
        if event == H2_REQUEST or event == H2_RESPONSE or event == H2_TOO_LARGE:
            name = "request" if event == H2_REQUEST else "response" if event == H2_RESPONSE else "too_large"
            return (name, c.stream_id, c.head.start, c.head.items(), bool(c.end_stream))
        if event == H2_DATA:
            return ("data", c.stream_id, PyBytes_FromStringAndSize(c.data, <Py_ssize_t>c.data_size), bool(c.end_stream))
        if event == H2_END:
            return ("end", c.stream_id)
        if event == H2_TRAILERS:
            return ("trailers", c.stream_id, c.head.items())
        if event == H2_RESET:
            return ("reset", c.stream_id, c.error_code, bool(c.by_peer))
        if event == H2_WINDOW:
            return ("window", c.stream_id)
        if event == H2_SETTINGS:
            return ("settings",)
        if event == H2_PONG:
            return ("pong", PyBytes_FromStringAndSize(c.opaque, 8))
        if event == H2_GOAWAY:
            return ("goaway", c.last_stream_id, c.error_code)
        return ("failed", c.error_code)


cdef bytes _encode(fields):
    cdef Buffer out
    cdef bytes name, value
    buffer_init(&out)
    try:
        for name, value in fields:
            if hpack_encode_field(&out, name, <size_t>len(name), value, <size_t>len(value), 0) < 0:
                raise MemoryError()
        return PyBytes_FromStringAndSize(out.data, <Py_ssize_t>out.size)
    finally:
        buffer_free(&out)


def transition(int state, int stimulus):
    """The table of stream states: the state that follows, None when it is not allowed."""
    if not 0 <= state < STREAM_STATES or not 0 <= stimulus < STREAM_INPUTS:
        raise ValueError("no such state or input")
    following = STREAM_NEXT[state][stimulus]
    return None if following == STREAM_REFUSED else following
