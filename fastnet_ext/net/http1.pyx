# cython: freethreading_compatible=True
"""Carries exchanges over an HTTP/1 connection: RFC 9112.

One exchange at a time. While it is being answered, later requests wait in the connection's carry;
what the reader says of its body goes to the exchange. An answer that ends before its request was
read to the end closes the connection unless what is left is short.
"""

cimport cython
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastnet_ext.core.buffer cimport Buffer, buffer_append, buffer_reserve
from fastnet_ext.core.endian cimport store_decimal, store_hex
from fastnet_ext.core.headers cimport HEADER_UPGRADE, METHOD_HEAD, Field, HeaderBlock
from fastnet_ext.core.scan cimport equals_fold
from fastnet_ext.exchange.exchange cimport (
    BODY_STREAM, GONE_ABORTED, GONE_DEADLINE, GONE_PEER, GONE_PROTOCOL, GONE_SHUTDOWN, ConnectionInfo, Exchange, Responder,
)
from fastnet_ext.exchange.head cimport ResponseHead, status_has_body
from fastnet_ext.exchange.limits cimport (
    CUT_CLOSED, CUT_RESET, LIMIT_BODY_RATE, LIMIT_BODY_TIME, LIMIT_FIELDS, LIMIT_HEAD, LIMIT_HEAD_TIME, LIMIT_IDLE_TIME,
    LIMIT_REQUEST_LINE, Limit,
)
from fastnet_ext.http1 cimport reader as h1
from fastnet_ext.http1.reader cimport Reader
from fastnet_ext.net.connection cimport (
    CLOCK_BODY, CLOCK_HEAD, CLOCK_IDLE, CLOCK_NONE, CLOCK_WRITE, OUTPUT_HIGH_WATER, WRITE_THROUGH, Carrier, Clock, Connection,
)
from fastnet_ext.net.deadlines cimport body_rate_of, body_timeout_of, look_at_answer
from fastnet_ext.net.loop_state cimport DATE_FIELD
from fastnet_ext.net.progress cimport PACE_FINE, progress_look
from fastnet_ext.net.refusals cimport refusal
from fastnet_ext.net.target cimport leave_authority, split_query

# Bytes of a request's body that are read and dropped, after an early answer, to keep the connection.
cdef int64_t DISCARD_LIMIT = 64 * 1024

# Requests of one connection that are answered in one turn of the loop.
cdef int MAX_BATCH = 128

# The longest head line that _write_head adds itself: length, connection and transfer coding.
cdef enum:
    FRAMING_ROOM = 128

cdef bytes CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@cython.no_gc
@cython.final
cdef class Http1Carrier(Carrier):
    def __init__(self, Connection connection):
        self.connection = connection
        self.reader = Reader(connection.service.http1)

    # --- input

    cdef int receive(self, char* data, size_t size, size_t* consumed) except -1:
        cdef size_t position = 0
        cdef size_t used = 0
        cdef int served = 0
        cdef h1.Event event
        cdef Connection connection = self.connection
        # Held here: an exchange that ends leaves `current` in the middle of a call of its own.
        cdef Http1Exchange x
        while not connection.closing:
            if self.tunnel:
                self._receive_tunnel(data + position, size - position, &used)
                position += used
                break
            if self.request_read:
                # The current answer is not complete: the rest waits.
                break
            if self.input_paused:
                # More of the body is not wanted yet. It may never be if its reader has not been started.
                if self.current is not None:
                    self.current.ready()
                break
            if self.current is None:
                # Requests wait while their peer does not read its answers.
                if connection.out.size > OUTPUT_HIGH_WATER:
                    connection.flush()
                if connection.write_paused:
                    break
                if served == MAX_BATCH:
                    # The other connections get a turn.
                    connection.resume_input()
                    break
            event = self.reader.next(data + position, size - position, &used)
            position += used
            if event == h1.HEAD:
                served += 1
                self._begin()
                continue
            x = self.current
            if event == h1.DATA:
                x.wants_continue = False    # RFC 9110, 10.1.1: it did not wait for our 100
                x.feed(<char*>self.reader.data, self.reader.data_size)
            elif event == h1.END:
                self.request_read = True
                connection.stop_clock()
                if x.ended:
                    self._next_request()
                    continue
                x.trailers = self.reader.trailers
                x.pipelined = served > 1 or position < size
                x.feed_end()
                x.ready()
            elif event == h1.NEED_DATA:
                if x is not None:
                    x.pipelined = served > 1
                    x.ready()
                    self._wait_for_body()
                elif position < size and connection.clock == CLOCK_IDLE:
                    connection.start_clock(CLOCK_HEAD, connection.service.head_timeout)
                break
            elif event == h1.FAILED:
                self._refuse()
                break
            else:
                connection.loop_state.counts.malformed += 1
                connection.close(False)
                break
        consumed[0] = position
        return 0

    cdef int _receive_tunnel(self, char* data, size_t size, size_t* consumed) except -1:
        """The bytes belong to another protocol; without somebody to take them they wait."""
        cdef Http1Exchange x = self.current
        cdef Responder responder = x.responder if x is not None else None
        consumed[0] = 0
        if responder is not None and size:
            consumed[0] = size
            responder.on_data(x, data, size)
        return 0

    cdef int _begin(self) except -1:
        """A head is there: make its exchange and find its route."""
        cdef Reader reader = self.reader
        cdef HeaderBlock head = reader.head
        cdef Connection connection = self.connection
        cdef const Field* upgrade
        cdef Http1Exchange x = Http1Exchange.__new__(Http1Exchange)
        x.carrier = self
        x.connection = connection
        x.head = head
        x.version = 11 if reader.minor else 10
        x.is_head = head.method == METHOD_HEAD
        x.content_length = reader.content_length if reader.body_kind != h1.BODY_NONE else 0
        x.keep_alive = reader.keep_alive and not connection.draining
        x.began = connection.loop_state.now
        x.wants_continue = reader.expect_continue
        x.path = head.target
        if head.arena[head.target.offset] != b"/":
            leave_authority(x)
        split_query(x)
        if reader.upgrade:
            upgrade = head.find(HEADER_UPGRADE)
            x.wants_websocket = equals_fold(head.at(upgrade.value), upgrade.value.size, b"websocket", 9)
        self.current = x
        self.request_read = False
        connection.clock = CLOCK_NONE
        connection.loop_state.counts.requests += 1
        connection.loop_state.counts.requests_active += 1
        return connection.service.dispatcher.begin(x)

    cdef int _wait_for_body(self) except -1:
        """The peer owes us the rest of a body: let the clock run, unless we are what it waits for."""
        cdef Connection connection = self.connection
        cdef Http1Exchange x = self.current
        if x is not None and not self.request_read and not self.tunnel and connection.clock != CLOCK_WRITE:
            if self.input_paused or x.wants_continue:
                connection.stop_clock()
            else:
                connection.start_clock(CLOCK_BODY, body_timeout_of(connection, x))
        return 0

    cdef int _refuse(self) except -1:
        """The peer broke the protocol or a limit: say so if it can still be said, then close."""
        cdef int status = self.reader.error_status
        cdef Connection connection = self.connection
        cdef Http1Exchange x = self.current
        if status in (413, 414, 417, 431):
            connection.loop_state.counts.over_limit += 1
        else:
            connection.loop_state.counts.malformed += 1
        if status == 414:
            connection.over_limit(LIMIT_REQUEST_LINE, connection.service.http1.request_line, 414)
        elif status == 431 and self.reader.too_many_fields:
            connection.over_limit(LIMIT_FIELDS, connection.service.http1.fields, 431)
        elif status == 431:
            connection.over_limit(LIMIT_HEAD, connection.service.http1.head, 431)
        if x is None or not x.status:
            refusal(&connection.out, connection.loop_state.date(), status, self.reader.error_reason)
            if x is None:
                connection.refused(status)
        if x is not None:
            if not x.status:
                x.status = status
            # The head was good, the body is not: whoever reads it is told.
            x.fail(GONE_PROTOCOL)
        return connection.close(True)

    cdef int receive_eof(self) except -1:
        cdef Connection connection = self.connection
        cdef Http1Exchange x = self.current
        cdef Responder responder
        if x is None:
            if connection.carry.size:
                if connection.write_paused:
                    return 0    # whole requests may wait there: see `resume_writing`
                connection.loop_state.counts.disconnects += 1
            return connection.close(False)
        if self.tunnel:
            responder = x.responder
            if responder is not None:
                responder.on_end(x)
            return 0
        if self.request_read and x.waits_for is not None:
            # It has most likely given up. If it has only half closed, it is told.
            x.keep_alive = False
            return connection.service.dispatcher.shed(x)
        if not self.request_read or x.responder is not None:
            # In the middle of a body whoever reads it is told. A stream has nobody left to read it, as
            # far as one can tell.
            self._disconnected()
            return connection.close(False)
        x.half_closed = True
        if connection.carry.size == 0:
            x.keep_alive = False
        return 0

    cdef bint ends_within(self, int64_t unread) noexcept:
        cdef Http1Exchange x = self.current
        if x is None or self.tunnel:
            return False
        if not self.request_read:
            # The body stays incomplete.
            return x.content_length >= 0 and x.body_received + unread < x.content_length
        # A stream has nobody left to read it, whatever else was asked for behind it.
        return x.waits_for is None and x.responder is not None

    cdef int _disconnected(self) except -1:
        """The peer left before its answer was complete."""
        cdef Http1Exchange x = self.current
        if not x.ended and not x.gone:
            self.connection.loop_state.counts.disconnects += 1
            x.fail(GONE_PEER)
        return 0

    cdef int lost(self) except -1:
        cdef Http1Exchange x = self.current
        if x is not None:
            self._disconnected()
            x.carrier = None
        self.current = None
        return 0

    cdef int writable(self) except -1:
        cdef Http1Exchange x = self.current
        if x is not None:
            x.writable()
            if self.connection.clock == CLOCK_NONE:
                self._wait_for_body()
        return 0

    cdef int expired(self, Clock clock) except -1:
        cdef Connection connection = self.connection
        cdef Http1Exchange x = self.current
        if clock == CLOCK_IDLE:
            connection.over_limit(LIMIT_IDLE_TIME, connection.service.idle_timeout, CUT_CLOSED)
            return connection.close(False)
        if clock == CLOCK_HEAD:
            connection.over_limit(
                LIMIT_HEAD_TIME, connection.service.head_timeout, 408 if connection.carry.size else CUT_CLOSED
            )
            if connection.carry.size:
                refusal(&connection.out, connection.loop_state.date(), 408, b"the request head did not arrive in time")
                connection.refused(408)
            return connection.close(False)
        return self._body_late(LIMIT_BODY_TIME, connection.service.body_timeout if x is None else body_timeout_of(connection, x))

    cdef int _body_late(self, Limit which, double value) except -1:
        cdef Connection connection = self.connection
        cdef Http1Exchange x = self.current
        if x is not None and not x.status:
            connection.over_limit(which, value, 408)
            refusal(&connection.out, connection.loop_state.date(), 408, b"the request body did not arrive in time")
            x.status = 408
            x.fail(GONE_DEADLINE)
            return connection.close(True)
        connection.over_limit(which, value, CUT_RESET)
        return self.congested_for_good() or connection.abort()

    cdef int congested_for_good(self) except -1:
        cdef Http1Exchange x = self.current
        if x is not None:
            x.fail(GONE_DEADLINE)
        return 0

    cdef int look(self, double elapsed, double late) except -1:
        cdef Connection connection = self.connection
        cdef Http1Exchange x = self.current
        cdef double rate
        if x is None:
            return 0
        if self.tunnel:
            if x.responder is not None and connection.in_touch():
                x.responder.on_sweep(x, elapsed, connection.service.websocket_keepalive)
            return 0
        if connection.clock == CLOCK_BODY and not connection.held_back and x.body_mode != BODY_STREAM:
            rate = body_rate_of(connection, x)
            if progress_look(
                &x.reading, x.body_received, elapsed, INFINITY, rate, body_timeout_of(connection, x)
            ) != PACE_FINE:
                connection.loop_state.counts.timeouts += 1
                return self._body_late(LIMIT_BODY_RATE, rate)
        else:
            x.reading.waiting = False
        return look_at_answer(
            connection.loop_state, x, connection.service.dispatcher, connection.service.handler_timeout, elapsed, late
        )

    cdef int drain(self) except -1:
        cdef Http1Exchange x = self.current
        cdef Responder responder
        if x is None:
            # Its next request may be on its way; its answer will say that it was the last.
            return 0
        x.keep_alive = False
        responder = x.responder
        if responder is not None:
            responder.on_drain(x)
        return 0

    cdef int drain_on(self, int elapsed) except -1:
        cdef Connection connection = self.connection
        # A head that has begun is waited for; its deadline runs.
        if self.current is None and connection.waiting() == 0:
            return connection.close(False)
        return 0

    cdef str protocol(self):
        return "WebSocket" if self.tunnel else "HTTP/1"

    cdef list exchanges(self):
        return [] if self.current is None else [self.current]

    cdef bint idle(self) noexcept:
        return self.current is None

    # --- the end of an exchange

    cdef int _exchange_done(self) except -1:
        """The answer has ended."""
        cdef Connection connection = self.connection
        cdef Http1Exchange x = self.current
        if not x.keep_alive:
            self.current = None
            x.carrier = None
            return connection.close(not self.request_read or connection.carry.size > 0)
        if self.request_read:
            return self._next_request()
        # The rest of a short body is read and dropped before the next request.
        self.input_paused = False
        self._wait_for_body()
        if not connection.corked:
            connection.resume_input()
        return 0

    cdef int _next_request(self) except -1:
        cdef Connection connection = self.connection
        self.current.carrier = None
        self.current = None
        self.request_read = False
        self.input_paused = False
        if connection.clock != CLOCK_WRITE:
            connection.start_clock(CLOCK_IDLE, connection.service.idle_timeout)
        if connection.corked:
            return 0
        connection.flush_soon()
        if connection.carry.size or connection.transport.read_paused or connection.eof:
            connection.resume_input()
        return 0


@cython.final
cdef class Http1Exchange(Exchange):
    # --- the answer's head

    cdef int _write_head(self, ResponseHead head, int64_t length, Py_ssize_t room) except -1:
        """Status line, fields and framing; `room` bytes are reserved behind them.

        `length` is the body's, -1 when unknown. Sets `framing` and `keep_alive`.
        """
        cdef Connection connection = <Connection>self.connection
        cdef Http1Carrier carrier = self.carrier
        cdef Buffer* out = &connection.out
        cdef bytes h1_head = head.h1()
        cdef Py_ssize_t size = len(h1_head)
        cdef char* p
        if self.status:
            raise RuntimeError("the head of this answer was sent before")
        self.status = head.status
        if connection.draining or head.close:
            self.keep_alive = False
        elif not carrier.request_read and (self.wants_continue or self._unread() > DISCARD_LIMIT):
            self.keep_alive = False
        if out.capacity == 0:
            connection.loop_state.lend(out)
        if self.more_fields is not None:
            room += fields_size(self.more_fields)
        if buffer_reserve(out, size + DATE_FIELD + FRAMING_ROOM + room) < 0:
            raise MemoryError()
        p = out.data + out.size
        memcpy(p, <const char*>h1_head, size)
        p += size
        if self.more_fields is not None:
            p = put_fields(p, self.more_fields)
        if not head.has_date:
            memcpy(p, connection.loop_state.date(), DATE_FIELD)
            p += DATE_FIELD
        self.framing = FRAMING_NONE
        if status_has_body(head.status):
            if length >= 0:
                memcpy(p, b"content-length: ", 16)
                p += 16
                p += store_decimal(p, length)
                memcpy(p, b"\r\n", 2)
                p += 2
                self.framing = FRAMING_LENGTH
            elif self.version >= 11:
                memcpy(p, b"transfer-encoding: chunked\r\n", 28)
                p += 28
                self.framing = FRAMING_CHUNKED
            else:
                self.keep_alive = False
                self.framing = FRAMING_CLOSE
            if self.is_head:
                self.framing = FRAMING_NONE
        elif head.content_length >= 0 and head.status == 304:
            memcpy(p, b"content-length: ", 16)
            p += 16
            p += store_decimal(p, head.content_length)
            memcpy(p, b"\r\n", 2)
            p += 2
        if not self.keep_alive:
            memcpy(p, b"connection: close\r\n", 19)
            p += 19
        elif self.version == 10:
            memcpy(p, b"connection: keep-alive\r\n", 24)
            p += 24
        memcpy(p, b"\r\n", 2)
        out.size = <size_t>(p + 2 - out.data)
        self.announced = length
        self.wants_continue = False
        return 0

    cdef int64_t _unread(self) noexcept:
        """Bytes of the request's body still to come; a great number when unknown."""
        if self.content_length < 0:
            return DISCARD_LIMIT + 1
        return self.content_length - self.body_received

    # --- Exchange

    cdef int respond(self, ResponseHead head, const char* data, Py_ssize_t size, object owner) except -1:
        cdef Connection connection = <Connection>self.connection
        cdef Buffer* out = &connection.out
        cdef bint small = size < WRITE_THROUGH
        if self.gone or self.ended:
            return 0
        if head.content_length >= 0 and head.content_length != size:
            if not self.is_head and status_has_body(head.status):
                raise ValueError(f"content-length says {head.content_length} bytes, the body has {size}")
            self._write_head(head, head.content_length, 0)
        else:
            self._write_head(head, size, size if small else 0)
        if self.framing != FRAMING_NONE and size:
            self.bytes_sent = size
            if small:
                memcpy(out.data + out.size, data, size)
                out.size += size
            else:
                connection.write(data, size, owner)
        return self._done()

    cdef int send_head(self, ResponseHead head, int64_t content_length) except -1:
        if self.gone or self.ended:
            return 0
        if content_length < 0:
            content_length = head.content_length
        self._write_head(head, content_length, 0)
        return (<Connection>self.connection).flush_soon()

    cdef int send_info(self, ResponseHead head) except -1:
        cdef Connection connection = <Connection>self.connection
        cdef bytes h1_head
        if self.gone or self.ended or self.version == 10:
            return 0
        if self.status:
            raise RuntimeError("an informational answer must precede the head")
        h1_head = head.h1()
        if buffer_append(&connection.out, h1_head, len(h1_head)) < 0 or buffer_append(&connection.out, b"\r\n", 2) < 0:
            raise MemoryError()
        return connection.flush_soon()

    cdef int send_data(self, const char* data, Py_ssize_t size, object owner) except -1:
        cdef Connection connection = <Connection>self.connection
        cdef char line[20]
        cdef int digits
        if self.gone or self.ended or size == 0 or self.framing == FRAMING_NONE:
            return 1
        if self.framing == FRAMING_CHUNKED:
            digits = store_hex(line, size)
            memcpy(line + digits, b"\r\n", 2)
            connection.write(line, digits + 2, None)
            connection.write(data, size, owner)
            connection.write(b"\r\n", 2, None)
        else:
            if self.framing == FRAMING_LENGTH and <int64_t>self.bytes_sent + size > self.announced:
                raise ValueError(f"the body is longer than the content-length of {self.announced} bytes that was sent")
            connection.write(data, size, owner)
        self.bytes_sent += size
        connection.flush_soon()
        return 0 if connection.congested() else 1

    cdef int end(self, list trailers) except -1:
        cdef Connection connection = <Connection>self.connection
        cdef bytes name, value
        if self.gone or self.ended:
            return 0
        if not self.status:
            raise RuntimeError("an answer cannot end before its head was sent")
        if self.framing == FRAMING_CHUNKED:
            connection.write(b"0\r\n", 3, None)
            if trailers is not None:
                for name, value in trailers:
                    connection.write(name, len(name), None)
                    connection.write(b": ", 2, None)
                    connection.write(value, len(value), None)
                    connection.write(b"\r\n", 2, None)
            connection.write(b"\r\n", 2, None)
        elif self.framing == FRAMING_LENGTH and <int64_t>self.bytes_sent < self.announced:
            raise ValueError(
                f"the body ended after {self.bytes_sent} bytes, content-length promised {self.announced}"
            )
        elif self.framing == FRAMING_TUNNEL:
            self.keep_alive = False
        return self._done()

    cdef int finish(self) except -1:
        if not self.finished:
            (<Connection>self.connection).loop_state.counts.requests_active -= 1
        return Exchange.finish(self)

    cdef int _done(self) except -1:
        cdef Http1Carrier carrier = self.carrier
        self.ended = True
        self.finish()
        return carrier._exchange_done()

    cdef int open_tunnel(self, ResponseHead head) except -1:
        cdef Connection connection = <Connection>self.connection
        cdef bytes h1_head = head.h1()
        if self.gone or self.ended:
            return 0
        if self.status:
            raise RuntimeError("the head of this answer was sent before")
        self.status = head.status
        self.framing = FRAMING_TUNNEL
        self.carrier.tunnel = True
        # No HTTP follows: the connection does without it, however long it lasts.
        self.carrier.reader = None
        connection.loop_state.counts.upgrades += 1
        connection.clock = CLOCK_NONE
        if buffer_append(&connection.out, h1_head, len(h1_head)) < 0:
            raise MemoryError()
        if self.more_fields is not None:
            if buffer_reserve(&connection.out, fields_size(self.more_fields)) < 0:
                raise MemoryError()
            connection.out.size = put_fields(connection.out.data + connection.out.size, self.more_fields) - connection.out.data
        if buffer_append(&connection.out, b"connection: upgrade\r\n\r\n", 23) < 0:
            raise MemoryError()
        connection.flush_soon()
        if not connection.corked and connection.carry.size:
            connection.resume_input()
        return 0

    cdef int abort(self, int code) except -1:
        cdef Connection connection = <Connection>self.connection
        if self.gone or self.ended:
            return 0
        self.fail(GONE_ABORTED)
        connection.flush()
        return connection.abort()

    cdef int want_body(self) except -1:
        cdef Connection connection = <Connection>self.connection
        if self.wants_continue and not self.status and not self.gone:
            self.wants_continue = False
            if buffer_append(&connection.out, CONTINUE, len(CONTINUE)) < 0:
                raise MemoryError()
            connection.flush_soon()
            self.carrier._wait_for_body()
        return Exchange.want_body(self)

    cdef int pause_body(self) except -1:
        if self.carrier is not None:
            self.carrier.input_paused = True
            self.carrier._wait_for_body()
        return (<Connection>self.connection).pause_reading()

    cdef int resume_body(self) except -1:
        cdef Connection connection = <Connection>self.connection
        if self.carrier is not None:
            self.carrier.input_paused = False
            self.carrier._wait_for_body()
        return connection.resume_input()

    cdef int flush(self) except -1:
        return (<Connection>self.connection).flush()


cdef Py_ssize_t fields_size(list fields) except -1:
    """Bytes that fields take on the wire."""
    cdef bytes name, value
    cdef Py_ssize_t size = 0
    for name, value in fields:
        size += len(name) + len(value) + 4
    return size


cdef char* put_fields(char* p, list fields) except NULL:
    """Writes them to where `fields_size` of them fit; where they end."""
    cdef bytes name, value
    for name, value in fields:
        memcpy(p, <const char*>name, len(name))
        p += len(name)
        memcpy(p, b": ", 2)
        memcpy(p + 2, <const char*>value, len(value))
        p += len(value) + 2
        memcpy(p, b"\r\n", 2)
        p += 2
    return p
