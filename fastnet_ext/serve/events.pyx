# cython: freethreading_compatible=True
"""Server-sent events as answers; events.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

import asyncio

from fastnet_ext.core.headers cimport METHOD_GET
from fastnet_ext.exchange.exchange cimport Exchange, LoopLocal
from fastnet_ext.exchange.head cimport ResponseHead
from fastnet_ext.exchange.response cimport MutableHeaders, Stream
from fastnet_ext.serve.json cimport JsonEncoder
from fastnet_ext.sse.encoder cimport check_event, check_id, encode

# Bytes that a stream may send before the loop gets a turn.
cdef Py_ssize_t BURST = 64 * 1024

# A comment: proxies and clients see that the stream lives, and no event is made of it.
cdef bytes HEARTBEAT = b":\n\n"


cdef long long retry_of(object retry) except? -1:
    """Milliseconds, -1 for None. Raises ValueError, TypeError."""
    cdef long long milliseconds
    if retry is None:
        return -1
    milliseconds = retry
    if milliseconds < 0:
        raise ValueError(f"retry is at least 0 milliseconds, not {retry}")
    return milliseconds


@cython.final
@cython.freelist(16)
cdef class ServerSentEvent:
    """One event of a stream.

    * ``data``: text, UTF-8 as bytes, or any value, which is sent as JSON; None sends none, and clients then make
      no event of it.
    * ``event``: its type; clients take "message" without one.
    * ``id``: what a client that reconnects says in ``Last-Event-ID``; an empty one forgets the last.
    * ``retry``: milliseconds that a client waits before it reconnects, from now on.
    * ``comment``: text that clients drop.

    Raises ``ValueError`` for a line end in ``event`` or ``id``, NUL in ``id`` and a negative ``retry``. Its bytes are
    made when it is sent first: a value in ``data`` must not change after that.
    """

    def __init__(self, data=None, *, str event=None, str id=None, retry=None, str comment=None):
        if event is not None:
            check_event(event)
        if id is not None:
            check_id(id)
        retry_of(retry)
        self.data = data
        self.event = event
        self.id = id
        self.retry = retry
        self.comment = comment

    cdef bytes to_bytes(self, JsonEncoder encoder):
        cdef object data = self.data
        if self.encoded is None:
            if data is not None and type(data) is not bytes and not isinstance(data, str):
                data = encoder.encode(data)
            self.encoded = encode(data, self.event, self.id, retry_of(self.retry), self.comment)
        return self.encoded

    def __eq__(self, other):
        if not isinstance(other, ServerSentEvent):
            return NotImplemented
        return (self.data, self.event, self.id, self.retry, self.comment) == (
            other.data, other.event, other.id, other.retry, other.comment
        )

    __hash__ = None

    def __repr__(self):
        parts = [repr(self.data)]
        parts += [
            f"{name}={value!r}"
            for name, value in (
                ("event", self.event), ("id", self.id), ("retry", self.retry), ("comment", self.comment)
            )
            if value is not None
        ]
        return f"ServerSentEvent({', '.join(parts)})"


cdef class EventStream(Stream):
    """An answer of server-sent events: ``EventStream(events())``.

    ``content`` is an iterable, generator, async iterable or async generator of ``ServerSentEvent``, str (its data) or
    values (its data as JSON). It is closed when the client leaves. ``heartbeat``: after so many seconds of silence a
    comment is sent, 0 for none. ``retry``: milliseconds that a client waits before it reconnects. What ``headers``
    say of Cache-Control and X-Accel-Buffering counts more than ``no-store`` and ``no``.
    """

    def __init__(self, content, *, double heartbeat=15.0, retry=None, int status_code=200, headers=None):
        cdef MutableHeaders fields
        if not heartbeat >= 0:
            raise ValueError(f"heartbeat is at least 0 seconds, not {heartbeat}: 0 is none")
        retry_of(retry)
        Stream.__init__(self, content, status_code)
        self.content_type = "text/event-stream"
        self.add_headers(headers if headers is not None else ())
        fields = self._headers
        fields.setdefault("cache-control", "no-store")
        # nginx would collect events until a buffer is full.
        fields.setdefault("x-accel-buffering", "no")
        self.heartbeat = heartbeat
        self.retry = retry


cdef bytes bytes_of(object item, JsonEncoder encoder):
    """An item of a stream as the event that it stands for."""
    if type(item) is ServerSentEvent:
        return (<ServerSentEvent>item).to_bytes(encoder)
    if isinstance(item, str) or type(item) is bytes:
        return encode(item, None, None, -1, None)
    return encode(encoder.encode(item), None, None, -1, None)


@cython.final
cdef class EventResponder(Responder):
    """The listener of one stream; not made by users."""

    cdef int open(self) except -1:
        cdef Exchange x = self.opening
        self.opening = None
        if x is None or x.gone or x.status:
            return 0
        if self.compression is None:
            x.send_head(self.head, -1)
        else:
            self.coder = self.compression.send_head(x, self.head)
        if self.preamble is not None and not x.is_head:
            self.send(x, self.preamble)
        return 0

    cdef int send(self, Exchange x, bytes data) except -1:
        if self.coder is not None:
            return self.coder.write(data)
        return x.send_data(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data)

    def __call__(self):
        """The loop's turn after the first step."""
        self.open()

    cdef int look(self, Exchange x, double now) except -1:
        if self.heartbeat == 0 or self.blocked or x.is_head:
            return 0
        if self.since == 0 or x.bytes_sent != self.seen:
            self.seen = x.bytes_sent
            self.since = now
        elif now - self.since >= self.heartbeat:
            if self.send(x, HEARTBEAT) == 0:
                self.blocked = True
            self.seen = x.bytes_sent
            self.since = now
        return 0

    cdef int on_gone(self, Exchange x, int why) except -1:
        self.task.cancel()
        return 0

    cdef int on_writable(self, Exchange x) except -1:
        self.blocked = False
        if self.coder is not None:
            self.coder.congested = False
        return 0

    cdef int on_drain(self, Exchange x) except -1:
        # An EventSource comes again by itself, and asks by GET; whoever sent a POST waits for the end of its answer.
        if not self.draining and x.head.method == METHOD_GET:
            self.draining = True
            self.task.cancel()
        return 0


cdef object send_events(
    Exchange x, EventStream response, object source, JsonEncoder encoder, ResponseHead head, Compression compression
):
    return _send_events(x, response, source, encoder, head, compression)


async def _send_events(
    Exchange x, EventStream response, source, JsonEncoder encoder, ResponseHead head, Compression compression,
):
    """Send each event as it comes; wait while the client is slow, close the source at the end."""
    cdef bytes chunk
    cdef LoopLocal local = x.connection.local
    cdef Py_ssize_t burst = 0
    cdef EventResponder responder = EventResponder.__new__(EventResponder)
    responder.task = asyncio.current_task()
    responder.heartbeat = response.heartbeat
    responder.head = head
    responder.compression = compression
    if compression is not None:
        compression.check(x, head)
    responder.opening = x
    if response.retry is not None:
        responder.preamble = encode(None, None, None, retry_of(response.retry), None)
    x.responder = responder
    handle = local.loop.call_soon(responder)
    try:
        try:
            # When it went before this Task took its first step, nobody was there to be cancelled.
            if not x.gone and not x.is_head:
                async for item in source:
                    if x.gone or responder.draining:
                        break
                    chunk = bytes_of(item, encoder)
                    if responder.opening is not None:
                        responder.open()
                    burst += PyBytes_GET_SIZE(chunk)
                    if responder.send(x, chunk) == 0:
                        burst = 0
                        responder.blocked = True
                        x.drain_waiter = local.loop.create_future()
                        await x.drain_waiter
                    elif burst > BURST:
                        # A source that never waits, and a client as quick as we are: the others get a turn.
                        burst = 0
                        await asyncio.sleep(0)
        except asyncio.CancelledError:
            if not responder.draining or x.gone:
                raise
            # As asyncio.timeout does: the cancellation was ours, and has arrived.
            responder.task.uncancel()
        responder.open()
        if responder.coder is not None:
            responder.coder.finish()
        x.end(response.trailer_fields())
    finally:
        handle.cancel()
        responder.opening = None
        responder.task = None
        if responder.coder is not None:
            responder.coder.close()
        x.responder = None
        if hasattr(source, "aclose"):
            await source.aclose()
    return None
