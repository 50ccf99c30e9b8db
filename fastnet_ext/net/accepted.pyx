# cython: freethreading_compatible=True
"""A connection that a listener accepted; accepted.pxd is the map.

What asyncio tells of it, whether there is room for it, and the header that a proxy in front of the listener may say.
"""

from libc.string cimport memcpy, memmove, strlen

import logging

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.exchange.limits cimport CUT_CLOSED, LIMIT_ADDRESS, LIMIT_CONNECTIONS, Limit, limit_row
from fastnet_ext.net.addresses cimport address_key
from fastnet_ext.net.connection cimport CLOCK_HEAD, CLOCK_IDLE, CLOCK_LINGER, CLOCK_NONE, CLOCK_WRITE, LINGER_BYTES, Carrier
from fastnet_ext.net.loop_state cimport READ_BUFFER, LoopState
from fastnet_ext.net.refusals cimport refusal
from fastnet_ext.net.service cimport Service
from fastnet_ext.net.trace import WireTrace
from fastnet_ext.proxy.forwarded cimport PROTOCOL_OFF, PROTOCOL_REQUIRED
from fastnet_ext.proxy.protocol cimport PROXY_ABSENT, PROXY_FAILED, PROXY_NEED_DATA, ProxyEvent, ProxyReader

cdef object log = logging.getLogger("fastnet.error")


cdef class AcceptedConnection(Connection):
    """The protocol object of a connection without TLS; ``connection_type`` says which kind an event loop wants."""

    def __init__(self, LoopState loop_state, Service service):
        if self.secure != (service.tls is not None):
            raise ValueError("a service with TLS takes a TlsConnection, one without it does not")
        Connection.__init__(self, loop_state, service)

    # --- asyncio's side

    def connection_made(self, transport):
        self.transport.open(transport)
        if not self._admit():
            return
        self.loop_state.add(self)
        self.number = self.loop_state.counts.connections
        self.opened = self.local.loop.time()
        # Accepted in the turn of the loop in which the server stopped to listen: answered, and closed.
        self.draining = self.loop_state.draining
        self._expect_client()
        if self.service.trace:
            self.trace = WireTrace.begin(self.number, transport.get_extra_info("peername"))
        if self.proxies is not None and self.proxies.protocol != PROTOCOL_OFF:
            self._expect_proxy()

    @property
    def get_buffer(self):
        return self.loop_state.lend_read

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
        self._arrived(count)

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
        return self._unsent() > 0

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
        if self.transport.sending:
            # Said in the middle of `write`: what is being sent goes first.
            self.local.loop.call_soon(self._writable)
        else:
            self._writable()

    def _writable(self):
        if self.write_paused or self.gone:
            return
        try:
            self._go_on()
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
            self.loop_state.addresses.leave(self.address)
            self.address = None
        self.carry_used = 0
        self.carrier = None
        self.transport.lost()
        buffer_free(&self.out)
        buffer_free(&self.carry)
        self._forget()
        if carrier is not None:
            try:
                carrier.lost()
            except Exception:
                self.loop_state.counts.internal += 1
                log.exception("a connection could not be cleaned up")

    # --- what the bytes are

    cdef int _expect_client(self) except -1:
        return self.start_clock(CLOCK_HEAD, self.service.head_timeout)

    cdef int _arrived(self, size_t size) except -1:
        return self._received(self.loop_state.read.data, size)

    # --- admission

    cdef bint _admit(self) except -1:
        """Whether there is room for one more connection; one without is sent away before it is read."""
        cdef LoopState state = self.loop_state
        cdef Service service = self.service
        if service.connections and state.counts.connections_open >= <size_t>service.connections:
            self._turn_away(LIMIT_CONNECTIONS, <double>service.connections, 503)
        elif service.connections_per_address and not self._count_address():
            self._turn_away(LIMIT_ADDRESS, <double>service.connections_per_address, 429)
        else:
            return True
        return False

    cdef bint _count_address(self) except -1:
        """Whether the peer's address may have one more connection, which is counted until it is lost."""
        cdef object key = address_key(self.peer_name())
        if key is None or self.trusts_peer():
            # A proxy speaks for many.
            return True
        if not self.loop_state.addresses.enter(key, self.service.connections_per_address):
            return False
        self.address = key
        return True

    cdef int _turn_away(self, Limit which, double value, int status) except -1:
        """Say so at once, where plain HTTP/1 can be said, and close; nothing is read or kept for it."""
        cdef LoopState state = self.loop_state
        cdef Buffer answer
        state.counts.connections += 1
        self.over_limit(which, value, CUT_CLOSED if self.secure else status)
        self.closing = True
        if self.transport.fd >= 0 and not self.secure:
            buffer_init(&answer)
            try:
                refusal(&answer, state.date(), status, limit_row(which).what)
                # What has arrived already is dropped: unread, it would turn the close into a reset that may
                # overtake the answer.
                self.transport.drop_input(state.read.data, READ_BUFFER)
                self.transport.send_now(answer.data, answer.size)
            finally:
                buffer_free(&answer)
            self.transport.close()
        else:
            self.transport.abort()
        return 0

    # --- the PROXY protocol

    cdef int _expect_proxy(self) except -1:
        if self.proxies.trusted.has_peer(self.transport.extra("peername")):
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
        cdef char* data = self.loop_state.read.data
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
            if self.service.connections_per_address and not self._count_address():
                self._turn_away_client()
                return 0
            if self.trace is not None:
                self.trace.note(repr(reader.header))
            count -= used
            memmove(data, data + used, count)
        # The client's own time begins.
        self._expect_client()
        return count

    cdef int _turn_away_client(self) except -1:
        """The client behind the proxy has as many connections as its address may have."""
        self.over_limit(
            LIMIT_ADDRESS, <double>self.service.connections_per_address, CUT_CLOSED if self.secure else 429
        )
        if self.secure:
            return self.abort()
        refusal(&self.out, self.loop_state.date(), 429, limit_row(LIMIT_ADDRESS).what)
        return self.close(True)

    cdef int _refuse_proxy(self, str why) except -1:
        """Close without a word: what speaks is no proxy of ours, or none that can be understood."""
        self.loop_state.counts.malformed += 1
        log.info("PROXY protocol: a connection from %s is closed: %s", self.transport.extra("peername"), why)
        return self.abort()
