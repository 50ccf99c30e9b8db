# cython: freethreading_compatible=True
"""Carries exchanges over the streams of an HTTP/2 connection: RFC 9113.

The machine cuts the bytes into events and queues what windows do not yet allow; this driver makes an
Exchange of each stream, gives windows back as bodies are read, and lets all output of one batch of
input leave in one write.
"""

cimport cython
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from random import uniform

from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_free, buffer_init
from fastnet_ext.core.endian cimport store_decimal
from fastnet_ext.core.headers cimport METHOD_HEAD, HeaderBlock
from fastnet_ext.core.scan cimport equals_fold
from fastnet_ext.exchange.errors import RequestTimeout
from fastnet_ext.exchange.exchange cimport (
    BODY_IGNORE, BODY_LATE, BODY_STREAM, BODY_WHOLE, GONE_ABORTED, GONE_DEADLINE, GONE_PEER, GONE_PROTOCOL, Exchange, Gone, Responder,
)
from fastnet_ext.exchange.head cimport ResponseHead, status_has_body
from fastnet_ext.exchange.limits cimport (
    CUT_CLOSED, CUT_REFUSED, CUT_RESET, CUT_STREAM, LIMIT_BODY_RATE, LIMIT_BODY_TIME, LIMIT_FIELDS, LIMIT_FLOOD, LIMIT_HEAD,
    LIMIT_HEAD_TIME, LIMIT_IDLE_TIME, LIMIT_KEEPALIVE, LIMIT_STREAMS, LIMIT_UNREAD, LIMIT_WRITE_RATE, LIMIT_WRITE_TIME,
)
from fastnet_ext.http2 cimport connection as h2
from fastnet_ext.http2.connection cimport Http2Connection
from fastnet_ext.http2.hpack cimport encode_field
from fastnet_ext.http2.stream cimport STREAM_HALF_CLOSED_LOCAL, Stream, table_find
from fastnet_ext.net.connection cimport (
    CLOCK_HEAD, CLOCK_IDLE, CLOCK_NONE, CLOCK_WRITE, Carrier, Clock, Connection,
)
from fastnet_ext.net.deadlines cimport body_rate_of, body_timeout_of, look_at_answer
from fastnet_ext.net.loop_state cimport DRAIN_SLOW
from fastnet_ext.net.progress cimport PACE_FINE, PACE_SILENT, Pace, progress_look
from fastnet_ext.net.target cimport split_query

cdef enum:
    # RFC 9113, section 7.
    NO_ERROR = 0
    CANCEL = 8
    ENHANCE_YOUR_CALM = 11

# What our PINGs carry.
cdef const char* GOODBYE = b"goodbye!"
cdef const char* STILL_THERE = b"at home?"
# The part by which the ages that connections reach differ.
cdef double AGE_JITTER = 0.1


@cython.final
cdef class Http2Carrier(Carrier):
    def __cinit__(self):
        buffer_init(&self.block)

    def __init__(self, Connection connection):
        self.connection = connection
        self.machine = Http2Connection(False, connection.service.http2)
        self.fresh = []
        self.unanswered = self.overage = -1
        self.lifetime = connection.service.connection_age
        if self.lifetime != INFINITY:
            # Connections that were opened together do not end together.
            self.lifetime *= uniform(1 - AGE_JITTER, 1 + AGE_JITTER)

    def __dealloc__(self):
        buffer_free(&self.block)

    # --- input

    cdef int receive(self, char* data, size_t size, size_t* consumed) except -1:
        cdef size_t position = 0
        cdef size_t used = 0
        cdef h2.H2Event event
        cdef Connection connection = self.connection
        cdef Http2Connection machine = self.machine
        cdef double now = connection.loop_state.now
        if size:
            # Whatever it says, it is there.
            self.silent = 0
            self.unanswered = -1
        while not connection.closing:
            event = machine.next(data + position, size - position, &used, now)
            position += used
            if event == h2.H2_REQUEST:
                self._begin(False)
            elif event == h2.H2_DATA:
                self._data(<char*>machine.data, machine.data_size, machine.end_stream)
            elif event == h2.H2_END or event == h2.H2_TRAILERS:
                self._data(NULL, 0, True)
            elif event == h2.H2_RESET:
                self._reset()
            elif event == h2.H2_WINDOW:
                self._window_opened()
            elif event == h2.H2_TOO_LARGE:
                self._begin(True)
            elif event == h2.H2_PONG:
                # The peer knew of our GOAWAY when it sent this: what follows is new.
                if self.leaving and memcmp(machine.opaque, GOODBYE, 8) == 0:
                    self._settle()
            elif event == h2.H2_NEED_DATA:
                self._start_fresh()
                break
            elif event == h2.H2_FAILED:
                self._failed()
                break
        consumed[0] = position
        if self.refused != machine.refused:
            self._note_refused()
        if connection.kept > CONNECTION_UNREAD:
            self._read_up_to_limit()
        self._set_clock()
        return self._close_when_done()

    cdef int _begin(self, bint refused) except -1:
        """A stream was opened: make its exchange and find its route."""
        cdef Http2Connection machine = self.machine
        cdef Connection connection = self.connection
        cdef HeaderBlock head = machine.head
        cdef bint end = machine.end_stream
        cdef Http2Exchange x = Http2Exchange.__new__(Http2Exchange)
        x.carrier = self
        x.connection = connection
        x.stream_id = machine.stream_id
        x.head = head
        x.version = 20
        x.began = connection.loop_state.now
        x.is_head = head.method == METHOD_HEAD
        x.content_length = 0 if end else machine.stream.content_length
        x.path = head.target
        split_query(x)
        x.wants_websocket = equals_fold(head.at(machine.protocol), machine.protocol.size, b"websocket", 9)
        machine.set_context(x.stream_id, x)
        self.running += 1
        connection.loop_state.counts.requests += 1
        connection.loop_state.counts.requests_active += 1
        if refused:
            connection.loop_state.counts.over_limit += 1
            if machine.too_many_fields:
                connection.over_limit(LIMIT_FIELDS, connection.service.http2.fields, 431)
            else:
                connection.over_limit(LIMIT_HEAD, connection.service.http2.header_list, 431)
            if connection.observers is not None:
                x.observe(connection.observers)
            x.started = True
            return x.respond(TOO_LARGE, NULL, 0, None)
        if machine.protocol.size and not x.wants_websocket:
            # RFC 8441 leaves the answer open; RFC 9220, 3 names it.
            if connection.observers is not None:
                x.observe(connection.observers)
            x.started = True
            return x.respond(UNKNOWN_PROTOCOL, NULL, 0, None)
        connection.service.dispatcher.begin(x)
        if end:
            x.feed_end()
            x.ready()
        else:
            self.fresh.append(x)
        return 0

    cdef int _data(self, char* data, size_t size, bint end) except -1:
        cdef Http2Connection machine = self.machine
        cdef uint32_t stream_id = machine.stream_id
        cdef object context = machine.get_context(stream_id)
        cdef Http2Exchange x
        if context is None:
            if size:
                machine.consumed_by_app(stream_id, size, False)
            return 0
        x = <Http2Exchange>context
        if size:
            x.feed(data, size)
            # The window opens as the body is taken: a paused body keeps the peer waiting.
            if x.body_paused:
                x.unread += <uint32_t>size
            else:
                machine.consumed_by_app(stream_id, size, x._is_read())
        if end:
            x.feed_end()
            x.ready()
        return 0

    cdef int _reset(self) except -1:
        cdef object context = self.machine.get_context(self.machine.stream_id)
        cdef Http2Exchange x
        if context is not None:
            x = <Http2Exchange>context
            if not x.ended:
                self.connection.loop_state.counts.disconnects += 1
            x._outlive(GONE_PEER)
        return 0

    cdef int _window_opened(self) except -1:
        cdef object context = self.machine.get_context(self.machine.stream_id)
        if context is not None:
            (<Http2Exchange>context).writable()
        return 0

    cdef int _failed(self) except -1:
        """The peer broke the protocol: GOAWAY is in the output."""
        self.connection.loop_state.counts.malformed += 1
        if self.machine.error_code == ENHANCE_YOUR_CALM:
            self.connection.over_limit(LIMIT_FLOOD, 0, CUT_CLOSED)
        self._fail_all(GONE_PROTOCOL)
        return self.connection.close(True)

    cdef int _note_refused(self) except -1:
        """Streams above the limit: the machine has refused them."""
        cdef Connection connection = self.connection
        while self.refused < self.machine.refused:
            self.refused += 1
            connection.over_limit(LIMIT_STREAMS, connection.service.http2.max_concurrent_streams, CUT_REFUSED)
        return 0

    cdef int _read_up_to_limit(self) except -1:
        """Reset the streams that keep most for readers that do not come, until the rest is within the limit."""
        cdef Http2Exchange x, largest
        cdef int64_t total
        while True:
            total = 0
            largest = None
            for context in self.machine.contexts():
                x = <Http2Exchange>context
                total += x._unread()
                if largest is None or x._unread() > largest._unread():
                    largest = x
            if total <= CONNECTION_UNREAD:
                return 0
            self.connection.over_limit(LIMIT_UNREAD, <double>CONNECTION_UNREAD, CUT_STREAM)
            self.machine.reset_stream(largest.stream_id, ENHANCE_YOUR_CALM)
            largest._outlive(GONE_PROTOCOL)

    cdef int _fail_all(self, Gone why) except -1:
        cdef Http2Exchange x
        for context in self.machine.contexts():
            x = <Http2Exchange>context
            if why == GONE_PEER and not x.ended and not x.gone:
                self.connection.loop_state.counts.disconnects += 1
            x.fail(why)
        return 0

    cdef int _start_fresh(self) except -1:
        if self.fresh:
            fresh, self.fresh = self.fresh, []
            for x in fresh:
                (<Http2Exchange>x).ready()
        return 0

    cdef int _set_clock(self) except -1:
        cdef Connection connection = self.connection
        if connection.clock == CLOCK_WRITE or connection.closing:
            return 0
        if self.running or self.machine.has_queued():
            connection.clock = CLOCK_NONE   # each has limits of its own: see `look`
        elif connection.clock != CLOCK_HEAD or self.machine.highest:
            connection.start_clock(CLOCK_IDLE, connection.service.idle_timeout)
        return 0

    cdef int receive_eof(self) except -1:
        # RFC 9113, 5.1: streams have ends of their own; the end of the input ends the connection.
        self._fail_all(GONE_PEER)
        return self.connection.close(False)

    cdef bint ends_within(self, int64_t unread) noexcept:
        # Whatever it still says: its end ends all streams.
        return True

    cdef int lost(self) except -1:
        self._fail_all(GONE_PEER)
        self.machine.clear()
        return 0

    cdef int expired(self, Clock clock) except -1:
        cdef Connection connection = self.connection
        if clock == CLOCK_IDLE:
            connection.over_limit(LIMIT_IDLE_TIME, connection.service.idle_timeout, CUT_CLOSED)
        else:
            connection.over_limit(LIMIT_HEAD_TIME, connection.service.head_timeout, CUT_CLOSED)
        self.machine.goaway(self.machine.highest, NO_ERROR)
        return connection.close(False)

    cdef int congested_for_good(self) except -1:
        return self._fail_all(GONE_DEADLINE)

    cdef int64_t buffered(self) noexcept:
        return <int64_t>(self.machine.sending.queued + self.machine.fragments.size + self.machine.out.size)

    cdef int look(self, double elapsed, double late) except -1:
        self._age(elapsed)
        if self.connection.closing or not self.machine.streams.count:
            return 0
        self._keep_alive(elapsed)
        if self.connection.closing:
            return 0
        for context in self.machine.contexts():
            self._look_at_stream(<Http2Exchange>context, elapsed, late)
        return self.connection.flush_soon()

    cdef int _look_at_stream(self, Http2Exchange x, double elapsed, double late) except -1:
        """End what stands still or creeps: who owes a body, or opens no window for what it asked for."""
        cdef Connection connection = self.connection
        cdef Stream* stream = table_find(&self.machine.streams, x.stream_id)
        cdef double timeout, rate
        cdef size_t queued
        cdef Pace pace
        if stream is NULL:
            return 0
        if x.ended and stream.state == STREAM_HALF_CLOSED_LOCAL:
            # A tunnel of which only the peer's end is missing.
            x.lingering += elapsed
            if x.lingering > connection.service.linger_timeout:
                self.machine.reset_stream(x.stream_id, NO_ERROR)
            return 0
        queued = stream.queued
        if x._owes_body() and not connection.held_back:
            timeout = body_timeout_of(connection, x)
            rate = body_rate_of(connection, x)
            pace = progress_look(&x.reading, x.body_received, elapsed, timeout, rate, timeout)
            if pace != PACE_FINE:
                connection.loop_state.counts.timeouts += 1
                if pace == PACE_SILENT:
                    connection.over_limit(LIMIT_BODY_TIME, timeout, 408)
                else:
                    connection.over_limit(LIMIT_BODY_RATE, rate, 408)
                return x._fail_body(RequestTimeout())
        else:
            x.reading.waiting = False
        if queued and not connection.write_paused:
            timeout = connection.service.write_timeout
            rate = connection.service.write_rate
            pace = progress_look(&x.writing, <int64_t>(x.bytes_sent - queued), elapsed, timeout, rate, timeout)
            if pace != PACE_FINE:
                connection.loop_state.counts.timeouts += 1
                if pace == PACE_SILENT:
                    connection.over_limit(LIMIT_WRITE_TIME, timeout, CUT_STREAM)
                else:
                    connection.over_limit(LIMIT_WRITE_RATE, rate, CUT_STREAM)
                self.machine.reset_stream(x.stream_id, CANCEL)
                return x.fail(GONE_DEADLINE)
        else:
            x.writing.waiting = False
            if x.responder is not None and connection.in_touch():
                x.responder.on_sweep(x, elapsed, connection.service.websocket_keepalive)
                if x.gone:
                    return 0
        return look_at_answer(
            connection.loop_state, x, connection.service.dispatcher, connection.service.handler_timeout, elapsed, late
        )

    cdef int _keep_alive(self, double elapsed) except -1:
        """Ping who is silent while streams are open, and leave who does not answer. Time in which we do not read is ours."""
        cdef Connection connection = self.connection
        if connection.held_back or connection.transport.read_paused:
            return 0
        self.silent += elapsed
        if self.unanswered >= 0:
            self.unanswered += elapsed
            if self.unanswered > connection.service.keepalive_timeout:
                connection.loop_state.counts.timeouts += 1
                connection.over_limit(LIMIT_KEEPALIVE, connection.service.keepalive_timeout, CUT_RESET)
                return connection.abort()
        elif self.silent >= connection.service.keepalive_time:
            self.unanswered = 0
            self.machine.ping(STILL_THERE)
        return 0

    cdef int _age(self, double elapsed) except -1:
        """The connection has become too old: its end in two steps, then the time that its streams still have."""
        cdef Connection connection = self.connection
        if self.overage >= 0:
            self.overage += elapsed
            if self.overage >= connection.service.connection_age_grace:
                self._fail_all(GONE_DEADLINE)
                return connection.close(True)
            # A peer that leaves our PING unanswered has had its time.
            return self._settle() if 100 * self.overage >= DRAIN_SLOW and not self.settled else 0
        self.lifetime -= elapsed
        if self.lifetime > 0 or self.leaving:
            return 0
        self.overage = 0
        self._announce_end()
        return connection.flush_soon()

    cdef int _announce_end(self) except -1:
        """The first step, which refuses nothing yet: RFC 9113, 6.8."""
        self.leaving = True
        self.machine.goaway(ANY_STREAM, NO_ERROR)
        self.machine.ping(GOODBYE)
        return 0

    cdef int drain(self) except -1:
        # A connection that was too old goes on as one of a server that stops.
        self.overage = -1
        if not self.leaving:
            self._announce_end()
        return self._tell_drain()

    cdef int drain_on(self, int elapsed) except -1:
        # A peer that leaves our PING unanswered has had its time.
        return self._settle() if elapsed >= DRAIN_SLOW else 0

    cdef int _settle(self) except -1:
        """Name the last stream that is answered: RFC 9113, 6.8."""
        if not self.settled:
            self.leaving = self.settled = True
            self.machine.goaway(self.machine.highest, NO_ERROR)
            if self.overage < 0:
                self._tell_drain()
        return self._close_when_done()

    cdef int _close_when_done(self) except -1:
        cdef Connection connection = self.connection
        cdef Stream* stream
        if not self.settled or self.running or connection.closing or connection.write_paused:
            return 0
        # What waits for the peer's window is part of an answer too.
        for context in self.machine.contexts():
            stream = table_find(&self.machine.streams, (<Http2Exchange>context).stream_id)
            if stream is not NULL and stream.first is not NULL:
                return 0
        # It may have more to say (windows, acknowledgements), which must not reset what it has not read.
        return connection.close(True)

    cdef int _tell_drain(self) except -1:
        cdef Http2Exchange x
        cdef Responder responder
        for context in self.machine.contexts():
            x = <Http2Exchange>context
            responder = x.responder
            if responder is not None:
                responder.on_drain(x)
        return 0

    cdef bint idle(self) noexcept:
        return self.running == 0

    cdef str protocol(self):
        return "HTTP/2"

    cdef list exchanges(self):
        return [x for x in self.machine.contexts() if not (<Http2Exchange>x).finished]

    # --- output

    cdef int collect(self) except -1:
        cdef Connection connection = self.connection
        cdef Buffer taken
        if self.machine.out.size == 0 or connection.write_paused:
            return 0
        if connection.out.size == 0:
            # An empty buffer for a full one: nothing is copied.
            taken = self.machine.out
            self.machine.out = connection.out
            connection.out = taken
        else:
            if buffer_append(&connection.out, self.machine.out.data, self.machine.out.size) < 0:
                raise MemoryError()
            self.machine.out.size = 0
        return 0

    cdef bint refill(self) except -1:
        cdef size_t consumed = 0
        if not self.machine.has_queued():
            return False
        self.machine.pump()
        if not self.connection.corked:
            # Streams that ran empty are told by the machine's events; no input is needed for them.
            self.receive(NULL, 0, &consumed)
        return self.machine.out.size > 0

    cdef int writable(self) except -1:
        self.connection.flush()
        if self.connection.write_paused or self.connection.closing:
            return 0
        for context in self.machine.contexts():
            (<Http2Exchange>context).writable()
        self._set_clock()
        return self._close_when_done()

    cdef int _finished(self) except -1:
        self.running -= 1
        self.connection.loop_state.counts.requests_active -= 1
        if not self.running and not self.connection.corked and not self.connection.closing:
            self._set_clock()
            return self._close_when_done()
        return 0


@cython.final
cdef class Http2Exchange(Exchange):
    cdef int _send_head(self, ResponseHead head, int64_t length, bint end) except -1:
        cdef Http2Carrier carrier = self.carrier
        cdef Connection connection = <Connection>self.connection
        cdef Buffer* block = &carrier.block
        cdef bytes encoded = head.h2()
        cdef char digits[20]
        if self.status:
            raise RuntimeError("the head of this answer was sent before")
        block.size = 0
        if buffer_append(block, encoded, len(encoded)) < 0:
            raise MemoryError()
        if self.more_fields is not None:
            for name, value in self.more_fields:
                if encode_field(block, <bytes>name, len(<bytes>name), <bytes>value, len(<bytes>value)) < 0:
                    raise MemoryError()
        if not head.has_date and encode_field(block, b"date", 4, connection.loop_state.date() + 6, 29) < 0:
            raise MemoryError()
        if length >= 0 and encode_field(block, b"content-length", 14, digits, store_decimal(digits, length)) < 0:
            raise MemoryError()
        carrier.machine.send_head(self.stream_id, block.data, block.size, end)
        self.status = head.status
        return 0

    cdef int respond(self, ResponseHead head, const char* data, Py_ssize_t size, object owner) except -1:
        cdef bint with_body = size > 0 and not self.is_head and status_has_body(head.status)
        cdef int64_t length = size if status_has_body(head.status) else -1
        cdef bytes kept = owner if isinstance(owner, bytes) else None
        if self.gone or self.ended:
            return 0
        if head.content_length >= 0 and head.content_length != size:
            if with_body:
                raise ValueError(f"content-length says {head.content_length} bytes, the body has {size}")
            length = head.content_length
        self._send_head(head, length, not with_body)
        if with_body:
            self.bytes_sent = size
            self.carrier.machine.send_data(self.stream_id, data, size, True, kept)
        return self._done()

    cdef int send_head(self, ResponseHead head, int64_t content_length) except -1:
        if self.gone or self.ended:
            return 0
        if content_length < 0:
            content_length = head.content_length
        self._send_head(head, content_length, False)
        return (<Connection>self.connection).flush_soon()

    cdef int send_info(self, ResponseHead head) except -1:
        cdef bytes encoded = head.h2()
        cdef const char* block = encoded
        cdef Py_ssize_t size = len(encoded)
        if self.gone or self.ended:
            return 0
        if self.status:
            raise RuntimeError("an informational answer must precede the head")
        self.carrier.machine.send_head(self.stream_id, block, size, False)
        return (<Connection>self.connection).flush_soon()

    cdef int send_data(self, const char* data, Py_ssize_t size, object owner) except -1:
        cdef Connection connection = <Connection>self.connection
        cdef Http2Connection machine = self.carrier.machine
        cdef bytes kept = owner if isinstance(owner, bytes) else None
        cdef Stream* stream
        if self.gone or self.ended or size == 0 or self.is_head or not status_has_body(self.status):
            return 1
        machine.send_data(self.stream_id, data, size, False, kept)
        self.bytes_sent += size
        if machine.out.size > STREAM_HIGH_WATER:
            connection.flush()
        connection.flush_soon()
        # Asked after the flush: what it has emptied was told already, and would not be told again.
        stream = table_find(&machine.streams, self.stream_id)
        return 0 if (stream is not NULL and stream.queued > STREAM_HIGH_WATER) or connection.congested() else 1

    cdef int end(self, list trailers) except -1:
        cdef Http2Carrier carrier = self.carrier
        cdef Buffer* block
        cdef bytes name, value
        if self.gone or self.ended:
            return 0
        if not self.status:
            raise RuntimeError("an answer cannot end before its head was sent")
        if trailers:
            block = &carrier.block
            block.size = 0
            for name, value in trailers:
                if encode_field(block, name, len(name), value, len(value)) < 0:
                    raise MemoryError()
            carrier.machine.send_trailers(self.stream_id, block.data, block.size)
        else:
            carrier.machine.send_data(self.stream_id, NULL, 0, True, None)
        return self._done()

    cdef bint _owes_body(self) noexcept:
        """Whether it is the peer for whom its body waits. Streams of messages may be silent for long."""
        if self.body_mode != BODY_WHOLE and self.body_mode != BODY_LATE:
            return False
        return not self.body_complete and not self.body_paused and not self.ended and self.body_error is None

    cdef bint _is_read(self) noexcept:
        """Whether who takes the body keeps up: it has taken most of what came, or wants all of it first."""
        if self.body_mode == BODY_IGNORE or self.ended:
            return False
        return self.collecting or 2 * self.body_size <= self.body_received

    cdef int64_t _unread(self) noexcept:
        """Bytes that wait for a reader. What is collected, or is a message in pieces, has a limit of its own."""
        cdef int64_t waiting = 0 if self.collecting else self.body_size
        return waiting + self.held if self.body_paused else waiting

    cdef int _outlive(self, Gone why) except -1:
        """The stream was reset: its handler goes on counting until it has ended."""
        if not self.finished:
            self.outlived = True
            self.carrier.machine.hold()
        return self.fail(why)

    cdef int _done(self) except -1:
        cdef Connection connection = <Connection>self.connection
        self.ended = True
        self.finish()
        return connection.flush_soon()

    cdef int finish(self) except -1:
        cdef Http2Carrier carrier = self.carrier
        cdef bint first = not self.finished
        Exchange.finish(self)
        if first and carrier is not None:
            self.carrier = None
            if self.outlived:
                carrier.machine.release()
            carrier._finished()
        return 0

    cdef int open_tunnel(self, ResponseHead head) except -1:
        """RFC 8441, 5: DATA in both directions, END_STREAM ends one and RST_STREAM both."""
        if self.gone or self.ended:
            return 0
        self.carrier.machine.open_tunnel(self.stream_id)
        (<Connection>self.connection).loop_state.counts.upgrades += 1
        return self.send_head(head, -1)

    cdef int abort(self, int code) except -1:
        cdef Http2Carrier carrier = self.carrier
        if self.gone or self.ended:
            return 0
        if carrier is not None:
            carrier.machine.reset_stream(self.stream_id, code)
        self.fail(GONE_ABORTED)
        return (<Connection>self.connection).flush_soon()

    cdef int resume_body(self) except -1:
        cdef uint32_t unread = self.unread
        self.unread = 0
        if unread and self.carrier is not None and not self.gone:
            self.carrier.machine.consumed_by_app(self.stream_id, unread, True)
            (<Connection>self.connection).flush_soon()
        return 0

    cdef int flush(self) except -1:
        return (<Connection>self.connection).flush()


# The answer to a head over the limits, without a body: its fields are incomplete, so is what they mean.
cdef ResponseHead TOO_LARGE = ResponseHead(431)
# To an extended CONNECT for anything but a WebSocket.
cdef ResponseHead UNKNOWN_PROTOCOL = ResponseHead(501)
