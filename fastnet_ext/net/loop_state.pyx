# cython: freethreading_compatible=True
"""What all connections of one event loop share."""

cimport cython
from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from libc.time cimport time as unix_time

import asyncio
import operator
import time

from fastnet_ext.core.buffer cimport Buffer, buffer_free, buffer_init
from fastnet_ext.exchange.describe cimport describe
from fastnet_ext.exchange.exchange cimport ConnectionInfo, Exchange, LoopLocal
from fastnet_ext.http1.writer cimport format_date
from fastnet_ext.net.addresses cimport AddressTable
from fastnet_ext.net.limit_log cimport LimitLog
from fastnet_ext.proxy.protocol cimport PROXY_HELD
from fastnet_ext.serve.runner cimport RunnerPool, current_exchange, is_at_work

cdef object connection_number = operator.attrgetter("number")

# Seconds by which timers come late on any machine that has something to do.
cdef double NOTICEABLE = 0.01


cdef class Member(ConnectionInfo):
    def __cinit__(self):
        self.place = -1

    cdef int look(self, double elapsed, double late) except -1:
        raise NotImplementedError

    cdef int flush_tick(self) except -1:
        raise NotImplementedError

    cdef int ease(self) except -1:
        raise NotImplementedError

    cdef int relinquish(self) except -1:
        raise NotImplementedError


@cython.final
cdef class ReadBuffer:
    def __cinit__(self):
        self.data = <char*>malloc(READ_BUFFER + PROXY_HELD)
        if self.data == NULL:
            raise MemoryError()
        self.view = self.whole_view = PyMemoryView_FromMemory(self.data, READ_BUFFER, PyBUF_WRITE)
        self.short_view = PyMemoryView_FromMemory(self.data, PRESSED_READ, PyBUF_WRITE)

    def __dealloc__(self):
        free(self.data)

    @cython.binding(False)
    def lend(self, hint):
        """``BufferedProtocol.get_buffer``."""
        return self.view


@cython.final
cdef class LoopState:
    """``LoopState(loop, executor)``: made once per event loop by whoever serves on it.

    Deadlines are looked at every ``sweep_interval`` seconds: one passes up to two of them late, never early.
    ``memory_limit``: bytes that all its connections may keep in buffers; 0 is no limit.
    """

    def __cinit__(self):
        buffer_init(&self.spare)
        memset(&self.counts, 0, sizeof(Counters))
        self.date_second = -1

    def __init__(
        self, loop, executor=None, *, bint eager=True, double sweep_interval=1.0, int64_t memory_limit=0,
    ):
        if not sweep_interval > 0:
            raise ValueError("the sweep interval is a number of seconds above 0")
        self.sweep_interval = sweep_interval
        self.local = LoopLocal(loop, executor)
        self.runners = RunnerPool(self.local, eager=eager)
        self.local.runners = self.runners
        self.memory_limit = memory_limit
        self.limits = LimitLog()
        self.addresses = AddressTable()
        self.read = ReadBuffer()
        self.lend_read = self.read.lend
        self.dirty = []
        self.connections = []
        self.now = loop.time()

    def __dealloc__(self):
        buffer_free(&self.spare)
        free(self.plain_buffer)

    cdef int need_plain_buffer(self) except -1:
        if self.plain_buffer == NULL:
            self.plain_buffer = <char*>malloc(PLAIN_BUFFER)
            if self.plain_buffer == NULL:
                raise MemoryError()
            self.plain_view = PyMemoryView_FromMemory(self.plain_buffer, PLAIN_BUFFER, PyBUF_WRITE)
        return 0

    cdef const char* date(self) noexcept:
        """The Date field of this second, with its name and line end."""
        cdef int64_t second = unix_time(NULL)
        if second != self.date_second:
            memcpy(self.date_field, b"date: ", 6)
            format_date(self.date_field + 6, second)
            memcpy(self.date_field + 35, b"\r\n", 2)
            self.date_second = second
        return self.date_field

    cdef int lend(self, Buffer* out) noexcept:
        """Give an empty buffer capacity that is at hand."""
        if out.capacity == 0 and self.spare.capacity:
            out[0] = self.spare
            buffer_init(&self.spare)
        return 0

    cdef int take_back(self, Buffer* out) noexcept:
        """Keep the memory of an empty buffer for the next writer, or free it."""
        if self.spare.capacity == 0 and out.capacity <= SPARE_OUTPUT:
            self.spare = out[0]
            self.spare.size = 0
            buffer_init(out)
        else:
            buffer_free(out)
        return 0

    cdef int schedule_flush(self, Member connection) except -1:
        self.dirty.append(connection)
        if not self.flush_scheduled:
            self.flush_scheduled = True
            self.local.loop.call_soon(self._flush_dirty)
        return 0

    def _flush_dirty(self):
        self.flush_scheduled = False
        dirty, self.dirty = self.dirty, []
        for connection in dirty:
            (<Member>connection).flush_tick()

    cdef int add(self, Member connection) except -1:
        connection.place = len(self.connections)
        self.connections.append(connection)
        self.counts.connections += 1
        self.counts.connections_open += 1
        if self.sweep_handle is None:
            self.now = self.local.loop.time()
            self.sweeps = 0
            self.sweep_handle = self.local.loop.call_later(self.sweep_interval, self._sweep)
        return 0

    cdef int discard(self, Member connection) except -1:
        cdef Member last
        if connection.place >= 0:
            # The last one takes its place.
            last = <Member>self.connections.pop()
            if last is not connection:
                self.connections[connection.place] = last
                last.place = connection.place
            connection.place = -1
            self.account(connection, 0)
            self.counts.connections_open -= 1
            if not self.connections and self.empty is not None:
                if not self.empty.done():
                    self.empty.set_result(None)
                self.empty = None
        return 0

    def _sweep(self):
        cdef double now = self.local.loop.time()
        cdef double elapsed = now - self.now
        cdef double late = elapsed - self.sweep_interval
        cdef double began = time.perf_counter()
        self.sweep_handle = None
        self.now = now
        self._note_lateness(late)
        # While somebody blocked the loop nothing was read: that time is not the peers'.
        if late < self.sweep_interval:
            late = 0
        for connection in list(self.connections):
            (<Member>connection).look(elapsed - late, late)
        if self.over_since and now - self.over_since > MEMORY_PATIENCE:
            self._relieve()
        self.limits.settle(now)
        self.sweep_seconds = time.perf_counter() - began
        if self.connections:
            self.sweep_handle = self.local.loop.call_later(self.sweep_interval, self._sweep)

    cdef int _note_lateness(self, double late) except -1:
        cdef double least = late
        cdef int i
        for i in range(LATE_SWEEPS - 1, 0, -1):
            self.lates[i] = self.lates[i - 1]
        self.lates[0] = late
        if self.sweeps < LATE_SWEEPS:
            self.sweeps += 1
        for i in range(1, LATE_SWEEPS):
            least = min(least, self.lates[i])
        self.local.lag = least if self.sweeps == LATE_SWEEPS and least > NOTICEABLE else 0
        self.local.pressed = self.local.lag > 0 or self.local.over_memory
        return 0

    # --- memory

    cdef int account(self, Member connection, int64_t held) except -1:
        self.buffered += held - connection.accounted
        connection.accounted = held
        if self.memory_limit == 0:
            return 0
        if self.buffered > self.memory_limit:
            if not self.local.over_memory:
                self._press()
            if self.buffered > self.memory_limit + self.memory_limit // 4 and not self.relief_scheduled:
                self.relief_scheduled = True
                self.local.loop.call_soon(self._relieve_soon)
        elif self.local.over_memory and self.buffered <= self.memory_limit - self.memory_limit // 8:
            self._ease()
        return 0

    cdef int _press(self) except -1:
        self.local.over_memory = self.local.pressed = True
        self.over_since = self.now
        self.read.view = self.read.short_view
        return 0

    cdef int _ease(self) except -1:
        self.local.over_memory = False
        self.local.pressed = self.local.lag > 0
        self.over_since = 0
        self.read.view = self.read.whole_view
        for connection in list(self.connections):
            (<Member>connection).ease()
        return 0

    def _relieve_soon(self):
        self.relief_scheduled = False
        self._relieve()

    cdef int _relieve(self) except -1:
        cdef Member connection
        for connection in sorted(self.connections, key=accounted_of, reverse=True):
            # Well below the limit: what is read on fills it again, and the next relief is a while away.
            if self.buffered <= self.memory_limit // 2:
                return 0
            connection.relinquish()
            self.account(connection, 0)
        return 0

    @property
    def open(self):
        """How many connections are open."""
        return len(self.connections)

    def drain(self):
        """Tell each connection to finish what runs and close, and take no new ones."""
        self.draining = True
        if self.drain_handle is not None:
            self.drain_handle.cancel()
        for connection in list(self.connections):
            connection.drain()
        self.drain_handle = self.local.loop.call_later(DRAIN_IDLE / 100, self._drain_on, DRAIN_IDLE)

    def _drain_on(self, int elapsed):
        self.drain_handle = None
        for connection in list(self.connections):
            connection.drain_on(elapsed)
        if elapsed < DRAIN_SLOW and self.connections:
            self.drain_handle = self.local.loop.call_later((DRAIN_SLOW - elapsed) / 100, self._drain_on, DRAIN_SLOW)

    def cut(self):
        """Close what is still open and cancel the handlers that still run."""
        # Who answers is cancelled by the loss of its connection, a turn from now. Once: a second time would break off
        # what the first had it clean up.
        cancelled = {task: task.cancelling() for task in self._at_work()}
        for connection in list(self.connections):
            connection.cut()
        self.local.loop.call_soon(self._cut_others, cancelled)

    def _cut_others(self, dict cancelled):
        for task in self._at_work():
            if task.cancelling() <= cancelled.get(task, 0):
                task.cancel()

    def _at_work(self):
        """The Tasks of handlers that still run, or close what their dependencies opened."""
        return [task for task in asyncio.all_tasks(self.local.loop) if is_at_work(task.get_coro(), self.runners)]

    async def wait_empty(self):
        """Wait until no connection is open, no handler runs and what answers left to do is done."""
        while True:
            if self.connections:
                if self.empty is None:
                    self.empty = self.local.loop.create_future()
                await asyncio.shield(self.empty)
            working = self._at_work()
            if working:
                # Asked again and again: the Task of a handler that never waited does not end, it is parked.
                await asyncio.wait(working, timeout=0.05)
            elif not self.connections:
                return

    def close(self):
        """Stop sweeping and let the parked tasks go. Connections must be closed before."""
        if self.sweep_handle is not None:
            self.sweep_handle.cancel()
            self.sweep_handle = None
        if self.drain_handle is not None:
            self.drain_handle.cancel()
            self.drain_handle = None
        self.runners.close()

    def running(self):
        """The request that the loop is busy with at this moment, as a dict, or None. From any thread."""
        cdef Exchange x = current_exchange(self.local)
        return None if x is None else describe(x, self.local.loop.time())

    def describe(self, *, int limit=200):
        """What is open and what runs: the first ``limit`` connections, as dicts."""
        cdef list connections = sorted(self.connections, key=connection_number)[:limit]
        return {
            "connections": [connection.describe() for connection in connections],
            "connections_open": len(self.connections),
            "parked": self.runners.idle,
            "draining": self.draining,
        }

    @property
    def counters(self):
        """Numbers since the start, and a few of now: connections_open, requests_active, bytes_buffered, threads_overdue."""
        cdef dict found = dict(self.counts)
        cdef list threads = self.local.overdue_threads
        threads[:] = [future for future in threads if not future.done()]
        found["threads_overdue"] = len(threads)
        found["bytes_buffered"] = self.buffered
        self.limits.write(found)
        return found


def accounted_of(Member connection not None):
    """Bytes that a connection keeps in buffers, as far as its account says."""
    return connection.accounted
