# cython: freethreading_compatible=True
"""One connection: hands bytes to a carrier and writes its output; connection.pxd is the map.

What a carrier does not use up of the buffer that all connections of the loop read into is copied into the carry.
Output collects in `out` and leaves in one write at the end of the batch of input that caused it, or at the end of the
tick when a handler wrote it later.

The other rooms: transport.pyx is the socket, accepted.pyx what asyncio tells of a connection that was accepted,
tls_connection.pyx one with TLS in between, deadlines.pyx the limits in time of what runs on one.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.math cimport INFINITY
from libc.stdint cimport int64_t

import logging

from fastnet_ext.core.buffer cimport (
    Buffer, buffer_append, buffer_consume, buffer_free, buffer_init,
)
from fastnet_ext.core.debug cimport DEBUG, LIVE_CONNECTION, born, died, invariant
from fastnet_ext.exchange.describe cimport describe
from fastnet_ext.exchange.exchange cimport Observer
from fastnet_ext.exchange.limits cimport (
    CUT_CLOSED, CUT_RESET, LIMIT_HEAD_TIME, LIMIT_MEMORY, LIMIT_WRITE_RATE, LIMIT_WRITE_TIME, Limit,
)
from fastnet_ext.net.loop_state cimport DRAIN_SLOW, LoopState, Member
from fastnet_ext.net.progress cimport PACE_FINE, PACE_SILENT, PEER_GONE, PEER_THERE, Pace, PeerState
from fastnet_ext.net.service cimport Service
from fastnet_ext.net.transport cimport SENT_ALL, SENT_FAILED, SENT_NOTHING, Sent, Transport

cdef object log = logging.getLogger("fastnet.error")


@cython.no_gc
cdef class Carrier:
    cdef int collect(self) except -1:
        return 0

    cdef bint refill(self) except -1:
        return False

    cdef int receive(self, char* data, size_t size, size_t* consumed) except -1:
        raise NotImplementedError

    cdef int receive_eof(self) except -1:
        raise NotImplementedError

    cdef bint ends_within(self, int64_t unread) noexcept:
        return False

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
    """Bytes in, through the carrier, and out; where they come from is a subclass's matter."""

    def __cinit__(self):
        buffer_init(&self.out)
        buffer_init(&self.carry)
        self.transport = Transport.__new__(Transport)
        born(LIVE_CONNECTION)

    def __init__(self, LoopState loop_state, Service service):
        self.loop_state = loop_state
        self.local = loop_state.local
        self.service = service
        self.proxies = service.proxies
        self.set_queue_time(service.queue_time)
        self.observers = service.observers

    def __dealloc__(self):
        buffer_free(&self.out)
        buffer_free(&self.carry)
        died(LIVE_CONNECTION)

    cdef void _check(self) noexcept:
        invariant(self.carry_used <= self.carry.size)
        # Once gone, nothing is kept and no deadline runs.
        invariant(not self.gone or (self.carrier is None and self.transport.inner is None and self.clock == CLOCK_NONE))
        invariant(not self.gone or (self.out.size == 0 and self.carry.size == 0))

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
        if self.transport.read_paused and not self.held_back and not self.carrier.input_paused and 2 * waiting <= CARRY_LIMIT:
            return self.transport.resume_reading()
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
        return 0 if self.eof else self.transport.pause_reading()

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
        return self._transmit(data, size, owner)

    cdef int _transmit(self, const char* data, Py_ssize_t size, object owner) except -1:
        """Write `out` and then `data` as they are; what the socket does not take goes to the transport."""
        cdef Py_ssize_t total = self.out.size + size
        cdef Sent sent = self.transport.send(&self.out, data, size, owner)
        if sent == SENT_NOTHING:
            return 0
        if sent == SENT_FAILED:
            return self.abort()
        self.loop_state.counts.bytes_sent += total
        if sent != SENT_ALL:
            self._account()
        if not self.corked:
            self.loop_state.take_back(&self.out)
        return 0

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

    cdef bint in_touch(self) except -1:
        if self.held_back or self.transport.read_paused or self.write_paused or self._unsent():
            return False
        return not self.transport.busy or self.transport.idle()

    # --- ends

    cdef int close(self, bint linger) except -1:
        if self.closing:
            return 0
        self.flush()
        if self.gone or self.transport.inner is None:
            return 0
        self.closing = True
        return self._end(linger)

    cdef int _end(self, bint linger) except -1:
        return self._close_transport(linger)

    cdef int _close_transport(self, bint linger) except -1:
        if linger and not self.eof:
            # Closing now would reset what the peer has not read yet.
            if not self.transport.half_close():
                return self.abort()
            self.transport.resume_reading()
        else:
            self.transport.close()
        return self.start_clock(CLOCK_LINGER, self.service.linger_timeout)

    cdef int abort(self) except -1:
        self.closing = True
        return self.transport.abort()

    cdef int _go_on(self) except -1:
        return 0

    cdef size_t _unsent(self) noexcept:
        return 0

    cdef int _forget(self) except -1:
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
        if self.write_paused or self.transport.busy or self.closing:
            self._look_at_output(elapsed)
        if self.transport.read_paused and not self.closing:
            self._look_at_peer()
            if self.closing:
                return 0
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
        cdef Pace pace = self.transport.look(elapsed, service.write_timeout, service.write_rate, self.write_paused)
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

    cdef int _look_at_peer(self) except -1:
        """A socket that is paused tells of no end: ask for it."""
        cdef int64_t unread = 0
        cdef PeerState state = self.transport.peer_state(&unread)
        if state == PEER_THERE:
            return 0
        if state == PEER_GONE:
            return self.abort()
        if unread == 0:
            # Nothing is left but the end: what made us pause will not grow by it.
            return self.transport.resume_reading()
        if self.carrier is not None and self.carrier.ends_within(<int64_t>self.waiting() + unread):
            return self._input_ended()
        return 0

    cdef int _check_deadline(self, double late) except -1:
        """Act on a deadline that is over; `late` seconds of it the loop was blocked."""
        self.deadline += late
        if self.loop_state.now < self.deadline:
            return 0
        if self.clock == CLOCK_LINGER:
            if self.transport.waiting() or self._unsent():
                # The answer itself is not through yet, and gets on: see _look_at_output.
                return self.start_clock(CLOCK_LINGER, self.service.linger_timeout)
            self.clock = CLOCK_NONE
            return self.abort()
        if self.clock != CLOCK_IDLE:
            self.loop_state.counts.timeouts += 1
        if self.carrier is None:
            return self._never_begun()
        self.carrier.expired(self.clock)
        return self.flush()

    cdef int _never_begun(self) except -1:
        """The peer has said too little in its time to be spoken to."""
        self.over_limit(LIMIT_HEAD_TIME, self.service.head_timeout, CUT_CLOSED)
        self.clock = CLOCK_NONE
        return self.abort()

    cdef int _account(self) except -1:
        """Tell the loop's state what is kept here; read no further body while that is too much."""
        cdef int64_t held = self.kept + <int64_t>self.carry.size
        cdef LoopState state = self.loop_state
        if self.gone or self.relinquished:
            return 0
        if self.carrier is not None:
            held += self.carrier.buffered()
        if self.transport.busy or self.write_paused:
            held += self.transport.waiting()
        held += <int64_t>self._unsent()
        if held != self.accounted:
            state.account(self, held)
        if state.local.over_memory and held and not self.held_back and not self.closing and not self.transport.read_paused:
            self.held_back = True
            self.pause_reading()
        return 0

    cdef int ease(self) except -1:
        if self.held_back:
            self.held_back = False
            if not self.closing and (self.carrier is None or not self.carrier.input_paused):
                self.transport.resume_reading()
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
            "bytes_out": self.out.size + self._unsent() + self.transport.waiting(),
            "reading_paused": self.transport.read_paused,
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
        return self.transport.extra(name)
