# cython: freethreading_compatible=True
"""One accepted socket: an asyncio BufferedProtocol that hands bytes to a carrier and writes its output.

A connection reads into the buffer that all connections of the loop share. What its carrier does
not use up is copied into the carry. Output collects in `out` and leaves in one write at the end of
the batch of input that caused it, or at the end of the tick when a handler wrote it later.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove, memset, strlen

import asyncio
import logging
import socket
import ssl

from fastnet_ext.core.buffer cimport (
    Buffer, buffer_append, buffer_consume, buffer_free, buffer_init,
)
from fastnet_ext.core.debug cimport DEBUG, LIVE_CONNECTION, born, died, invariant
from fastnet_ext.exchange.describe cimport describe
from fastnet_ext.exchange.exchange cimport BODY_STREAM, Exchange, Observer
from fastnet_ext.exchange.limits cimport (
    CUT_CLOSED, CUT_RESET, LIMIT_ADDRESS, LIMIT_CONNECTIONS, LIMIT_HEAD_TIME, LIMIT_MEMORY, LIMIT_TLS_TIME,
    LIMIT_WRITE_RATE, LIMIT_WRITE_TIME, Limit, limit_row,
)
from fastnet_ext.http1.reader cimport Limits as Http1Limits
from fastnet_ext.http2.limits cimport Limits as Http2Limits
from fastnet_ext.net.loop_state cimport DRAIN_SLOW, PLAIN_BUFFER, READ_BUFFER, LoopState, Member
from fastnet_ext.net.progress cimport PACE_FINE, PACE_SILENT, Pace, Progress, progress_look, unacknowledged
from fastnet_ext.net.refusals cimport refusal
from fastnet_ext.net.tls cimport (
    TLS_ENDED, TLS_FRUITLESS, TLS_HANDSHAKING, TLS_OPEN, TLS_PIECE, TlsLayer, TlsSource,
)
from fastnet_ext.net.trace import WireTrace
from fastnet_ext.proxy.forwarded cimport PROTOCOL_OFF, PROTOCOL_REQUIRED, Proxies
from fastnet_ext.proxy.protocol cimport PROXY_ABSENT, PROXY_FAILED, PROXY_HEADER, PROXY_NEED_DATA, ProxyEvent, ProxyReader
from fastnet_ext.serve.dispatch cimport Dispatcher


cdef extern from "sys/socket.h" nogil:
    ssize_t c_send "send" (int fd, const void* data, size_t size, int flags)
    ssize_t c_recv "recv" (int fd, void* data, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

cdef extern from "sys/uio.h" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "sys/socket.h" nogil:
    cdef struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t c_sendmsg "sendmsg" (int fd, const msghdr* message, int flags)


cdef object log = logging.getLogger("fastnet.error")
cdef object SSLError = ssl.SSLError

# What an IPv4 address begins with where it is written as an IPv6 one: RFC 4291, 2.5.5.2.
cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"


@cython.final
cdef class Service:
    """What the connections of a listener called ``name`` serve.

    Timeouts are in seconds, rates in bytes a second, ``connections`` and ``connections_per_address`` count
    open ones; 0 is no limit. ``queue_time`` is how long a request may wait for its turn, 0 not at all.
    ``silent``: the log says nothing of whom the limits cut off.
    """

    def __init__(
        self, Dispatcher dispatcher, Negotiator negotiator, Http1Limits http1=None, Http2Limits http2=None, *,
        str name="main", bint silent=False, double idle_timeout=75, double head_timeout=10, double body_timeout=30,
        double write_timeout=30, double handler_timeout=60, double linger_timeout=2, double queue_time=5,
        double body_rate=240, double write_rate=240, Py_ssize_t connections=0, Py_ssize_t connections_per_address=0,
        Proxies proxies=None, TlsSource tls=None, double tls_timeout=10, bint trace=False, observers=(),
    ):
        self.name = name
        self.silent = silent
        self.dispatcher = dispatcher
        self.negotiator = negotiator
        self.http1 = http1 if http1 is not None else Http1Limits()
        self.http2 = http2 if http2 is not None else Http2Limits()
        self.proxies = proxies
        self.trace = trace
        self.observers = tuple(observers) or None
        self.idle_timeout = idle_timeout or INFINITY
        self.head_timeout = head_timeout or INFINITY
        self.body_timeout = body_timeout or INFINITY
        self.write_timeout = write_timeout or INFINITY
        self.handler_timeout = handler_timeout or INFINITY
        self.linger_timeout = linger_timeout
        self.tls = tls
        self.tls_timeout = tls_timeout
        self.queue_time = queue_time
        self.body_rate = body_rate
        self.write_rate = write_rate
        self.connections = connections
        self.connections_per_address = connections_per_address


cdef class Negotiator:
    cdef Carrier by_bytes(self, Connection connection, const char* data, size_t size):
        raise NotImplementedError

    cdef Carrier by_alpn(self, Connection connection, object protocol):
        return None


cdef class Carrier:
    cdef int collect(self) except -1:
        return 0

    cdef bint refill(self) except -1:
        return False

    cdef int receive(self, char* data, size_t size, size_t* consumed) except -1:
        raise NotImplementedError

    cdef int receive_eof(self) except -1:
        raise NotImplementedError

    cdef int lost(self) except -1:
        raise NotImplementedError

    cdef int writable(self) except -1:
        raise NotImplementedError

    cdef int look(self, double elapsed, double late) except -1:
        return 0

    cdef int64_t buffered(self) noexcept:
        return 0

    cdef int congested_for_good(self) except -1:
        raise NotImplementedError

    cdef int expired(self, Clock clock) except -1:
        raise NotImplementedError

    cdef int drain(self) except -1:
        raise NotImplementedError

    cdef int drain_on(self, int elapsed) except -1:
        raise NotImplementedError

    cdef bint idle(self) noexcept:
        return True

    cdef str protocol(self):
        raise NotImplementedError

    cdef list exchanges(self):
        raise NotImplementedError


cdef class Connection(Member):
    """The protocol object of one connection: ``loop.create_server(lambda: Connection(state, service), …)``."""

    def __cinit__(self):
        buffer_init(&self.out)
        buffer_init(&self.carry)
        self.fd = -1
        born(LIVE_CONNECTION)

    def __init__(self, LoopState loop_state, Service service):
        self.loop_state = loop_state
        self.local = loop_state.local
        self.service = service
        self.proxies = service.proxies
        self.queue_time = service.queue_time
        self.observers = service.observers

    def __dealloc__(self):
        buffer_free(&self.out)
        buffer_free(&self.carry)
        died(LIVE_CONNECTION)

    cdef void _check(self) noexcept:
        invariant(self.carry_used <= self.carry.size)
        # Once gone, nothing is kept and no deadline runs.
        invariant(not self.gone or (self.carrier is None and self.transport is None and self.clock == CLOCK_NONE))
        invariant(not self.gone or (self.out.size == 0 and self.carry.size == 0))

    # --- asyncio's side

    def connection_made(self, transport):
        cdef object raw = transport.get_extra_info("socket")
        self.transport = transport
        self.encrypted = self.secure = self.service.tls is not None
        if raw is not None:
            if raw.family != socket.AF_UNIX:
                # Accepted sockets of a pre-bound listener may come without it, which costs 40 ms
                # per small answer (Nagle against delayed acknowledgements).
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.fd = raw.fileno()
        if not self._admit():
            return
        self.loop_state.add(self)
        self.number = self.loop_state.counts.connections
        self.opened = self.local.loop.time()
        # Accepted in the turn of the loop in which the server stopped to listen: answered, and closed.
        self.draining = self.loop_state.draining
        if self.encrypted:
            self.start_clock(CLOCK_TLS, self.service.tls_timeout)
        else:
            self.start_clock(CLOCK_HEAD, self.service.head_timeout)
        if self.service.trace:
            self.trace = WireTrace.begin(self.number, transport.get_extra_info("peername"))
        if self.proxies is not None and self.proxies.protocol != PROTOCOL_OFF:
            self._expect_proxy()

    cdef bint _admit(self) except -1:
        """Whether there is room for one more connection; one without is sent away before it is read."""
        cdef LoopState state = self.loop_state
        cdef Service service = self.service
        if service.connections and state.counts.connections_open >= <size_t>service.connections:
            self._turn_away(LIMIT_CONNECTIONS, <double>service.connections, 503)
        elif service.connections_per_address and not self._count_address(self.peer_name()):
            self._turn_away(LIMIT_ADDRESS, <double>service.connections_per_address, 429)
        else:
            return True
        return False

    cdef bint _count_address(self, object peer) except -1:
        """Whether the address may have one more connection, which is counted until it is lost."""
        cdef object key = address_key(peer)
        cdef dict addresses = self.loop_state.addresses
        cdef Py_ssize_t count
        if key is None or self.trusts_peer():
            # A proxy speaks for many.
            return True
        count = addresses.get(key, 0)
        if count >= self.service.connections_per_address:
            return False
        addresses[key] = count + 1
        self.address = key
        return True

    cdef int _turn_away(self, Limit which, double value, int status) except -1:
        """Say so at once, where plain HTTP/1 can be said, and close; nothing is read or kept for it."""
        cdef LoopState state = self.loop_state
        cdef Buffer answer
        state.counts.connections += 1
        self.over_limit(which, value, CUT_CLOSED if self.encrypted else status)
        self.closing = True
        if self.fd >= 0 and not self.encrypted:
            buffer_init(&answer)
            try:
                refusal(&answer, state.date(), status, limit_row(which).what)
                # What has arrived already is dropped: unread, it would turn the close into a reset that may
                # overtake the answer.
                c_recv(self.fd, state.read_buffer, READ_BUFFER, MSG_DONTWAIT)
                c_send(self.fd, answer.data, answer.size, MSG_DONTWAIT | MSG_NOSIGNAL)
            finally:
                buffer_free(&answer)
            self.transport.close()
        else:
            self.transport.abort()
        return 0

    def get_buffer(self, hint):
        return self.loop_state.read_view

    def buffer_updated(self, Py_ssize_t count):
        cdef LoopState state = self.loop_state
        state.counts.bytes_received += count
        if self.closing:
            self.lingered += count
            if self.lingered > LINGER_BYTES:
                self.abort()
            return
        if self.proxy_reader is not None:
            count = self._read_proxy_header(count)
            if count == 0:
                return
        if self.encrypted:
            self._tls_received(count)
        else:
            self._received(state.read_buffer, count)

    def eof_received(self):
        cdef bint told = self.eof   # by TLS, whose half-close precedes that of the socket
        self.eof = True
        if self.trace is not None:
            self.trace.note("the peer sends no more")
        if self.carrier is not None and not self.closing:
            # Whole requests that wait for their turn come before the end: see _resume_input.
            if not self.resume_scheduled and not told:
                self._input_ended()
            # True keeps our half open: an answer may still be on its way.
            if not self.closing:
                return True
        return self.tls is not None and self.tls.queued > 0

    def pause_writing(self):
        self.write_paused = True
        if self.clock != CLOCK_LINGER:
            self.clock = CLOCK_WRITE

    def resume_writing(self):
        self.write_paused = False
        if self.clock == CLOCK_WRITE:
            self.clock = CLOCK_NONE
            if self.carrier is not None and self.carrier.idle():
                self.start_clock(CLOCK_IDLE, self.service.idle_timeout)
        if self.sending:
            # Said in the middle of `write`: what is being sent goes first.
            self.local.loop.call_soon(self._writable)
        else:
            self._writable()

    def _writable(self):
        if self.write_paused or self.gone:
            return
        try:
            if self.tls is not None and self.tls.queued:
                self._tls_go_on()
            if self.carrier is None or self.write_paused or self.gone:
                return
            self.carrier.writable()
            self.flush_soon()
        except Exception:
            self._crashed()
        if self.carry.size:
            self.resume_input()

    def connection_lost(self, error):
        cdef Carrier carrier = self.carrier
        if self.trace is not None:
            self.trace.end(error, self.closing)
            self.trace = None
        self.gone = self.closing = True
        self.loop_state.discard(self)
        self.clock = CLOCK_NONE
        if self.address is not None:
            self._leave_address()
        self.carry_used = 0
        self.carrier = None
        self.transport = None
        self.fd = -1
        buffer_free(&self.out)
        buffer_free(&self.carry)
        if self.tls is not None:
            self.tls.drop()
        if carrier is not None:
            try:
                carrier.lost()
            except Exception:
                self.loop_state.counts.internal += 1
                log.exception("a connection could not be cleaned up")

    def _leave_address(self):
        cdef dict addresses = self.loop_state.addresses
        cdef Py_ssize_t count = addresses.pop(self.address) - 1
        if count:
            addresses[self.address] = count
        self.address = None

    # --- the PROXY protocol

    cdef int _expect_proxy(self) except -1:
        if self.proxies.trusted.has_peer(self.transport.get_extra_info("peername")):
            self.proxy_reader = ProxyReader()
            # The hand-shake of TLS has not begun.
            self.start_clock(CLOCK_HEAD, self.service.head_timeout)
        elif self.proxies.protocol == PROTOCOL_REQUIRED:
            # Whatever it says of itself would not count.
            self._refuse_proxy("it is none of trusted_proxies, and proxy_protocol is required")
        return 0

    cdef Py_ssize_t _read_proxy_header(self, Py_ssize_t count) except -1:
        """Take the header off the bytes that came; how many are left, at the start of the read buffer."""
        cdef ProxyReader reader = self.proxy_reader
        cdef char* data = self.loop_state.read_buffer
        cdef size_t used = 0
        cdef ProxyEvent event = reader.next(data, count, &used)
        if event == PROXY_NEED_DATA:
            return 0
        self.proxy_reader = None
        if event == PROXY_FAILED:
            self._refuse_proxy(reader.error[:strlen(reader.error)].decode("ascii"))
            return 0
        if event == PROXY_ABSENT:
            if self.proxies.protocol == PROTOCOL_REQUIRED:
                self._refuse_proxy("it does not begin with a header, and proxy_protocol is required")
                return 0
            memmove(data + reader.held.size, data, count)
            memcpy(data, reader.held.data, reader.held.size)
            count += reader.held.size
        else:
            self.proxy_header = reader.header
            self.peer_trusted = -1
            if self.service.connections_per_address and not self._count_address(self.peer_name()):
                self._turn_away_client()
                return 0
            if self.trace is not None:
                self.trace.note(repr(reader.header))
            count -= used
            memmove(data, data + used, count)
        # The client's own time begins.
        if self.encrypted:
            self.start_clock(CLOCK_TLS, self.service.tls_timeout)
        else:
            self.start_clock(CLOCK_HEAD, self.service.head_timeout)
        return count

    cdef int _turn_away_client(self) except -1:
        """The client behind the proxy has as many connections as its address may have."""
        self.over_limit(
            LIMIT_ADDRESS, <double>self.service.connections_per_address, CUT_CLOSED if self.encrypted else 429
        )
        if self.encrypted:
            return self.abort()
        refusal(&self.out, self.loop_state.date(), 429, limit_row(LIMIT_ADDRESS).what)
        return self.close(True)

    cdef int _refuse_proxy(self, str why) except -1:
        """Close without a word: what speaks is no proxy of ours, or none that can be understood."""
        self.loop_state.counts.malformed += 1
        log.info("PROXY protocol: a connection from %s is closed: %s", self.transport.get_extra_info("peername"), why)
        return self.abort()

    # --- input

    cdef int _received(self, char* data, size_t size) except -1:
        """Handle bytes that came, behind those that wait. The view ends with the call."""
        if self.trace is not None:
            self.trace.received(PyBytes_FromStringAndSize(data, size))
        if self.carry.size:
            self._keep(data, size)
            return self._input(self.carry.data + self.carry_used, self.waiting(), True)
        return self._input(data, size, False)

    cdef int _input(self, char* data, size_t size, bint from_carry) except -1:
        """Hand a batch of input to the carrier, keep what it leaves, write what it caused."""
        cdef LoopState state = self.loop_state
        cdef size_t consumed = 0
        cdef bint nested = state.runners.in_batch
        self.corked = True
        state.runners.in_batch = not nested
        state.lend(&self.out)
        try:
            if self.carrier is None:
                self.carrier = self.service.negotiator.by_bytes(self, data, size)
                if self.draining and self.carrier is not None:
                    self.carrier.drain()
            if self.carrier is not None:
                self.carrier.receive(data, size, &consumed)
        except Exception:
            self._crashed()
        finally:
            state.runners.in_batch = nested
            self.corked = False
        if DEBUG:
            invariant(consumed <= size)
            self._check()
        if self.gone:
            return 0
        if from_carry:
            self._use_carry(size if self.closing else consumed)
        elif consumed < size and not self.closing:
            self._keep(data + consumed, size - consumed)
        if not self.closing:
            self._balance_reading()
        self.flush()
        return 0

    cdef int _keep(self, const char* data, size_t size) except -1:
        """Append to the carry. What is used of it goes once it is half of it: each byte moves once."""
        if self.carry_used > self.carry.size // 2:
            buffer_consume(&self.carry, self.carry_used)
            self.carry_used = 0
        if buffer_append(&self.carry, data, size) < 0:
            raise MemoryError()
        return 0

    cdef int _use_carry(self, size_t count) noexcept:
        self.carry_used += count
        if self.carry_used == self.carry.size:
            buffer_free(&self.carry)
            self.carry_used = 0
        return 0

    cdef int _balance_reading(self) except -1:
        """Stop reading while whole requests wait in a full carry; go on when it is half empty.

        What waits while nothing is answered is part of a head, which has a limit of its own.
        """
        cdef size_t waiting = self.waiting()
        if self.carrier is None:
            return 0
        if waiting > CARRY_LIMIT and (self.write_paused or self.resume_scheduled or not self.carrier.idle()):
            return self.pause_reading()
        if self.read_paused and not self.held_back and not self.carrier.input_paused and 2 * waiting <= CARRY_LIMIT:
            return self.resume_reading()
        return 0

    cdef int refused(self, int status) except -1:
        cdef Observer observer
        if self.observers is not None:
            for observer in self.observers:
                observer.on_refused(self, status)
        return 0

    cdef int _crashed(self) except -1:
        """A mistake of ours must not reach the loop, nor its text the peer."""
        self.loop_state.counts.internal += 1
        log.exception("a connection failed by a mistake in the server; it is closed")
        return self.abort()

    cdef int pause_reading(self) except -1:
        if not self.read_paused and self.transport is not None and not self.eof:
            self.read_paused = True
            self.transport.pause_reading()
        return 0

    cdef int resume_reading(self) except -1:
        if self.read_paused and self.transport is not None:
            self.read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        return 0

    cdef int resume_input(self) except -1:
        if not self.resume_scheduled and not self.gone:
            self.resume_scheduled = True
            self.local.loop.call_soon(self._resume_input)
        return 0

    def _resume_input(self):
        self.resume_scheduled = False
        if self.closing or self.carrier is None:
            return
        # Without bytes too: the end of a body may be due.
        self._input(self.carry.data + self.carry_used, self.waiting(), True)
        if self.eof and not self.closing and not self.resume_scheduled:
            self._input_ended()

    cdef int _input_ended(self) except -1:
        try:
            self.carrier.receive_eof()
            self.flush()
        except Exception:
            self._crashed()
        return 0

    # --- output

    cdef int write(self, const char* data, Py_ssize_t size, object owner) except -1:
        if size < WRITE_THROUGH:
            if buffer_append(&self.out, data, size) < 0:
                raise MemoryError()
            if self.out.size > OUTPUT_HIGH_WATER:
                self.flush()
            return 0
        return self._send(data, size, owner)

    cdef int flush(self) except -1:
        cdef Carrier carrier = self.carrier
        while True:
            if carrier is not None:
                carrier.collect()
            if self.out.size:
                self._send(NULL, 0, None)
            elif self.out.capacity:
                self.loop_state.take_back(&self.out)
            if carrier is None or self.write_paused or self.closing or not carrier.refill():
                break
        if self.kept or self.accounted or self.carry.size or (carrier is not None and carrier.buffered()):
            self._account()
        return 0

    cdef int _send(self, const char* data, Py_ssize_t size, object owner) except -1:
        """Write `out` and then `data`."""
        if self.trace is not None and not self.gone:
            self.trace.sent(PyBytes_FromStringAndSize(self.out.data, self.out.size))
            self.trace.sent(PyBytes_FromStringAndSize(data, size))
        if self.tls is not None:
            return self._tls_send(data, size, owner)
        return self._transmit(data, size, owner)

    cdef int _transmit(self, const char* data, Py_ssize_t size, object owner) except -1:
        """Write `out` and then `data` as they are; what the socket does not take goes to the transport."""
        cdef iovec parts[2]
        cdef msghdr message
        cdef ssize_t sent = 0
        cdef Py_ssize_t total = self.out.size + size
        if self.gone or self.transport is None:
            self.out.size = 0
            return 0
        if self.fd >= 0 and self.transport_idle():
            if size == 0:
                sent = c_send(self.fd, self.out.data, self.out.size, MSG_DONTWAIT | MSG_NOSIGNAL)
            elif self.out.size == 0:
                sent = c_send(self.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            else:
                parts[0].iov_base = self.out.data
                parts[0].iov_len = self.out.size
                parts[1].iov_base = <void*>data
                parts[1].iov_len = size
                memset(&message, 0, sizeof(msghdr))
                message.msg_iov = parts
                message.msg_iovlen = 2
                sent = c_sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                if errno != EAGAIN and errno != EINTR:
                    self.out.size = 0
                    return self.abort()
                sent = 0
        self.loop_state.counts.bytes_sent += total
        if sent < total:
            self.sending = True
            self.handed += total - sent
            if self.fd >= 0:
                self.transport_busy = True
            if sent < <ssize_t>self.out.size:
                self.transport.write(PyBytes_FromStringAndSize(self.out.data + sent, self.out.size - sent))
                sent = 0
            else:
                sent -= self.out.size
            if size:
                if isinstance(owner, bytes):
                    self.transport.write(owner if size == len(owner) and sent == 0 else memoryview(owner)[len(owner) - size + sent:])
                else:
                    self.transport.write(PyBytes_FromStringAndSize(data + sent, size - sent))
            self.sending = False
            self._account()
        self.out.size = 0
        if not self.corked:
            self.loop_state.take_back(&self.out)
        return 0

    cdef bint transport_idle(self) except -1:
        """Whether the transport has nothing of ours left to write."""
        if self.transport_busy and self.transport.get_write_buffer_size() == 0:
            self.transport_busy = False
        return not self.transport_busy

    cdef int flush_soon(self) except -1:
        if not self.corked and not self.flush_pending and not self.gone:
            self.flush_pending = True
            self.loop_state.schedule_flush(self)
        return 0

    cdef int flush_tick(self) except -1:
        self.flush_pending = False
        if not self.gone:
            try:
                self.flush()
            except Exception:
                self._crashed()
        return 0

    cdef bint congested(self) noexcept:
        return self.write_paused or self.out.size > OUTPUT_HIGH_WATER

    # --- TLS

    cdef int _tls_received(self, size_t size) except -1:
        """Records came: decrypt them, and handle what was in them as one batch."""
        cdef LoopState state = self.loop_state
        cdef TlsLayer tls = self.tls
        cdef Py_ssize_t count
        cdef size_t unsent
        try:
            if tls is None:
                # Records begin with numbers from 20 to 24, the methods of HTTP with a letter.
                if b"A" <= state.read_buffer[0] <= b"Z":
                    return self._tls_refused()
                state.need_plain_buffer()
                tls = self.tls = TlsLayer(self.service.tls.context)
            if tls.state == TLS_HANDSHAKING:
                if not self._tls_opened(size):
                    return 0
                size = 0
            if tls.peer_ended:
                return 0    # what follows close_notify is ignored: RFC 8446, 6.1
            count = tls.decrypt(state.read_buffer, size, state.plain_view, PLAIN_BUFFER)
            if count:
                self._received(state.plain_buffer, count)
            unsent = tls.unsent()
            if unsent and not self.gone:
                # What OpenSSL says by itself: tickets, key updates. A peer that asks for them and takes none goes.
                if not self.write_paused:
                    self._tls_transmit()
                elif unsent > TLS_FRUITLESS:
                    self.abort()
        except SSLError as error:
            return self._tls_failed(error)
        except Exception:
            return self._crashed()
        if tls.peer_ended and not self.eof and not self.closing:
            self.eof = True
            if self.carrier is None:
                return self.close(False)
            if not self.resume_scheduled:
                self._input_ended()
        return 0

    cdef bint _tls_opened(self, size_t size) except -1:
        """Go on with the hand-shake; whether data may follow it in what has come."""
        cdef TlsLayer tls = self.tls
        if not tls.shake_hands(self.loop_state.read_buffer, size):
            self._tls_transmit()
            return False
        self.loop_state.counts.tls_handshakes += 1
        self.start_clock(CLOCK_HEAD, self.service.head_timeout)
        self.carrier = self.service.negotiator.by_alpn(self, tls.ssl_object.selected_alpn_protocol())
        if self.draining and self.carrier is not None:
            self.carrier.drain()
            self.flush()
        return True

    cdef int _tls_refused(self) except -1:
        """HTTP in clear text, on this port: say so in clear text."""
        self.loop_state.counts.tls_failed += 1
        self.encrypted = False
        refusal(&self.out, self.loop_state.date(), 400, b"this port speaks TLS: use https")
        return self.close(True)

    cdef int _tls_failed(self, object error) except -1:
        """The peer broke TLS, or does not want ours: its alert, if it gets one, says why."""
        cdef TlsLayer tls = self.tls
        self.loop_state.counts.tls_failed += 1
        log.debug("TLS with %s failed: %s", self.extra("peername"), error)
        self.out.size = 0
        if tls is None:
            return self.abort()
        tls.state = TLS_ENDED
        tls.drop()
        if self.gone or self.transport is None:
            return 0
        self._tls_transmit()
        if not self.gone and not self.closing:
            self.closing = True
            # A reset would overtake the alert.
            self._close_transport(True)
        return 0

    cdef int _tls_send(self, const char* data, Py_ssize_t size, object owner) except -1:
        """Encrypt and write `out` and then `data`. What is behind a full transport waits as it is, uncopied."""
        cdef TlsLayer tls = self.tls
        cdef Py_ssize_t piece
        if self.gone or self.transport is None or tls.state != TLS_OPEN:
            self.out.size = 0
            return 0
        try:
            if self.out.size:
                if tls.queued:
                    tls.keep(self.out.data, self.out.size, None)
                else:
                    tls.encrypt(self.out.data, self.out.size)
                self.out.size = 0
            while size and not tls.queued and not self.gone:
                piece = min(size, <Py_ssize_t>TLS_PIECE)
                tls.encrypt(data, piece)
                data += piece
                size -= piece
                if size:
                    self._tls_transmit()
                    if self.write_paused:
                        break
        except SSLError as error:
            return self._tls_failed(error)
        if size and not self.gone:
            tls.keep(data, size, owner)
        return self._tls_transmit()

    cdef int _tls_transmit(self) except -1:
        """Write what is encrypted."""
        cdef bytes records = self.tls.take()
        if records:
            self._transmit(records, len(records), records)
        elif not self.corked:
            self.loop_state.take_back(&self.out)
        return 0

    cdef int _tls_go_on(self) except -1:
        """Encrypt and write what waits as far as the transport takes it; behind it comes our end, if it is due."""
        cdef TlsLayer tls = self.tls
        try:
            while tls.queued and not self.write_paused and not self.gone:
                tls.encrypt_queued()
                self._tls_transmit()
        except SSLError as error:
            return self._tls_failed(error)
        if not self.closing or self.gone:
            return 0
        if tls.queued:
            self.start_clock(CLOCK_LINGER, self.service.write_timeout)
            return 0
        tls.end()
        self._tls_transmit()
        if self.gone or self.transport is None:
            return 0
        return self._close_transport(tls.linger)

    # --- ends

    cdef int close(self, bint linger) except -1:
        if self.closing:
            return 0
        self.flush()
        if self.gone or self.transport is None:
            return 0
        self.closing = True
        if self.tls is None:
            return self._close_transport(linger)
        self.tls.linger = linger
        if self.tls.queued:
            # The end comes behind what the peer has not taken yet: see _tls_go_on.
            self.start_clock(CLOCK_LINGER, self.service.write_timeout)
            return 0
        return self._tls_go_on()

    cdef int _close_transport(self, bint linger) except -1:
        if linger and not self.eof:
            # Closing now would reset what the peer has not read yet.
            if self.transport.can_write_eof():
                try:
                    self.transport.write_eof()
                except OSError:
                    # The peer has reset the connection while reading was paused: asyncio's transport raises then.
                    return self.abort()
            self.resume_reading()
            self.start_clock(CLOCK_LINGER, self.service.linger_timeout)
        else:
            self.transport.close()
            self.start_clock(CLOCK_LINGER, self.service.linger_timeout)
        return 0

    cdef int abort(self) except -1:
        self.closing = True
        if self.transport is not None:
            self.transport.abort()
        return 0

    # --- limits

    cdef int over_limit(self, Limit which, double value, int cutoff) except -1:
        cdef LoopState state = self.loop_state
        cdef Service service = self.service
        if which == LIMIT_MEMORY:
            value = <double>state.memory_limit
        return state.limits.add(
            which, value, cutoff, service.name, self.peer_name(), service.silent, self.local.loop.time()
        )

    cdef int look(self, double elapsed, double late) except -1:
        try:
            self._look(elapsed, late)
        except Exception:
            self._crashed()
        return 0

    cdef int _look(self, double elapsed, double late) except -1:
        if self.gone:
            return 0
        if self.held_back:
            # It is us who do not read.
            late += elapsed
        if self.write_paused or self.transport_busy or self.closing:
            self._look_at_output(elapsed)
        if self.clock != CLOCK_NONE and self.clock != CLOCK_WRITE:
            self._check_deadline(late)
        if self.carrier is not None and not self.closing:
            self.carrier.look(elapsed, late)
        if self.accounted:
            self._account()
        return 0

    cdef int _look_at_output(self, double elapsed) except -1:
        """How the peer gets on with what the transport keeps for it."""
        cdef Service service = self.service
        cdef int64_t left
        cdef Pace pace
        if self.transport is None:
            return 0
        left = self.transport.get_write_buffer_size()
        if left == 0 and not self.write_paused:
            self.transport_busy = self.writing.waiting = False
            return 0
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            left += unacknowledged(raw.fileno())
        pace = progress_look(
            &self.writing, self.handed - left, elapsed, service.write_timeout, service.write_rate, service.write_timeout
        )
        if pace == PACE_FINE:
            return 0
        self.loop_state.counts.timeouts += 1
        if pace == PACE_SILENT:
            self.over_limit(LIMIT_WRITE_TIME, service.write_timeout, CUT_RESET)
        else:
            self.over_limit(LIMIT_WRITE_RATE, service.write_rate, CUT_RESET)
        if self.carrier is not None and not self.closing:
            self.carrier.congested_for_good()
        return self.abort()

    cdef int _check_deadline(self, double late) except -1:
        """Act on a deadline that is over; `late` seconds of it the loop was blocked."""
        self.deadline += late
        if self.loop_state.now < self.deadline:
            return 0
        if self.clock == CLOCK_LINGER:
            if self.transport is not None and (
                self.transport.get_write_buffer_size() or (self.tls is not None and self.tls.queued)
            ):
                # The answer itself is not through yet, and gets on: see _look_at_output.
                return self.start_clock(CLOCK_LINGER, self.service.linger_timeout)
            self.clock = CLOCK_NONE
            return self.abort()
        if self.clock != CLOCK_IDLE:
            self.loop_state.counts.timeouts += 1
        if self.carrier is None:
            if self.clock == CLOCK_TLS:
                self.loop_state.counts.tls_failed += 1
                self.over_limit(LIMIT_TLS_TIME, self.service.tls_timeout, CUT_CLOSED)
            else:
                self.over_limit(LIMIT_HEAD_TIME, self.service.head_timeout, CUT_CLOSED)
            self.clock = CLOCK_NONE
            return self.abort()
        self.carrier.expired(self.clock)
        return self.flush()

    cdef int look_at_answer(self, Exchange x, double elapsed, double late) except -1:
        return self.loop_state.look_at_answer(
            x, self.service.dispatcher, self.service.handler_timeout, elapsed, late
        )

    cdef double body_timeout_of(self, Exchange x) noexcept:
        if x.route is None or x.route.timeout_body < 0:
            return self.service.body_timeout
        return x.route.timeout_body or INFINITY

    cdef double body_rate_of(self, Exchange x) noexcept:
        return self.service.body_rate if x.route is None or x.route.rate_body < 0 else x.route.rate_body

    cdef int _account(self) except -1:
        """Tell the loop's state what is kept here; read no further body while that is too much."""
        cdef int64_t held = self.kept + <int64_t>self.carry.size
        cdef LoopState state = self.loop_state
        if self.gone or self.relinquished:
            return 0
        if self.carrier is not None:
            held += self.carrier.buffered()
        if (self.transport_busy or self.write_paused) and self.transport is not None:
            held += <int64_t>self.transport.get_write_buffer_size()
        if self.tls is not None:
            held += <int64_t>self.tls.queued
        if held != self.accounted:
            state.account(self, held)
        if state.local.over_memory and held and not self.held_back and not self.closing and not self.read_paused:
            self.held_back = True
            self.pause_reading()
        return 0

    cdef int ease(self) except -1:
        if self.held_back:
            self.held_back = False
            if self.read_paused and not self.closing and (self.carrier is None or not self.carrier.input_paused):
                self.resume_reading()
        return 0

    cdef int relinquish(self) except -1:
        if self.gone:
            return 0
        self.relinquished = True
        self.over_limit(LIMIT_MEMORY, 0, CUT_RESET)
        return self.abort()

    def drain(self):
        """Close as soon as what runs, or is on its way to us, is answered."""
        self.draining = True
        if self.closing or self.carrier is None:
            return
        try:
            self.carrier.drain()
            self.flush()
        except Exception:
            self._crashed()

    def drain_on(self, int elapsed):
        """The same, ``elapsed`` hundredths of a second later: nothing more is on its way."""
        if self.closing:
            return
        if self.carrier is None:
            # A hand-shake takes its peer some round trips.
            if self.clock != CLOCK_TLS or elapsed >= DRAIN_SLOW:
                self.close(False)
            return
        try:
            self.carrier.drain_on(elapsed)
            self.flush()
        except Exception:
            self._crashed()

    def cut(self):
        """The drain's deadline is over: end what still runs."""
        self.abort()

    def describe(self):
        """What it is, what it does and what it waits for, as a dict. No bytes of anybody's."""
        cdef double now = self.local.loop.time()
        cdef list exchanges = [] if self.carrier is None else self.carrier.exchanges()
        cdef object transport = self.transport
        return {
            "number": self.number,
            "peer": self.extra("peername"),
            "listener": self.extra("sockname"),
            "protocol": "" if self.carrier is None else self.carrier.protocol(),
            "tls": self.secure,
            "state": self._state(bool(exchanges)),
            "seconds_left": (
                None if self.clock == CLOCK_NONE or self.clock == CLOCK_WRITE or self.deadline == INFINITY
                else max(self.deadline - now, 0.0)
            ),
            "bytes_in": self.waiting(),
            "bytes_out": (
                self.out.size
                + (0 if self.tls is None else self.tls.queued)
                + (0 if transport is None else transport.get_write_buffer_size())
            ),
            "reading_paused": self.read_paused,
            "age": now - self.opened,
            "requests": [describe(x, now) for x in exchanges],
        }

    cdef str _state(self, bint busy):
        if self.closing:
            return "closing"
        if self.clock == CLOCK_WRITE:
            return "writing"
        if self.clock == CLOCK_TLS:
            return "hand-shake"
        if self.clock == CLOCK_BODY:
            return "body"
        if busy:
            return "answering"
        return "head" if self.clock == CLOCK_HEAD else "idle"

    cdef object extra(self, str name):
        if self.tls is not None:
            if name == "tls":
                return self.tls.info()
            if name == "ssl_object":
                return self.tls.ssl_object
            if name == "peercert":
                return self.tls.info().peer_certificate
        return None if self.transport is None else self.transport.get_extra_info(name)


cdef object address_key(object peer):
    """What one peer counts by: its IPv4 address, its IPv6 network of 64 bits; None for what has no address."""
    cdef bytes packed
    if not isinstance(peer, tuple) or not peer:
        return None
    if ":" not in peer[0]:
        return peer[0]
    packed = socket.inet_pton(socket.AF_INET6, peer[0].partition("%")[0])
    return packed[12:] if packed[:12] == MAPPED else packed[:8]


class AsyncioConnection(Connection, asyncio.BufferedProtocol):
    """The same for the stock asyncio loop, which asks for a real BufferedProtocol."""

    __slots__ = ()
