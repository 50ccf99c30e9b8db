# cython: freethreading_compatible=True
"""Limiters; limiter.pxd is the map."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastnet_ext.core.utf8 cimport utf8_of

import contextlib
import mmap
import os

__all__ = [
    "GCRA",
    "Decision",
    "FixedWindow",
    "LeakyBucket",
    "Limiter",
    "SlidingLog",
    "SlidingWindow",
    "TableLimiter",
    "TokenBucket",
]

cdef uint64_t SECOND = 1_000_000_000
# A window that is shorter would have too many numbers.
cdef uint64_t SHORTEST_WINDOW = 1_000_000
# Bytes of a table from which on it may lie in huge pages.
cdef uint64_t HUGE = 4 << 20


@cython.final
@cython.freelist(8)
cdef class Decision:
    """What a limiter says of one request; true when it is admitted. Times are nanoseconds.

    ``retry_after``: how long the same request has to wait, if no other comes; 0 when it is admitted, and None
    when it never will be, because its cost is more than is ever admitted at once. ``remaining``: the cost that
    would be admitted now. ``reset_after``: how long until the key stands as if it had never been seen.
    Stores that count elsewhere make their own.
    """

    def __init__(self, bint admitted, retry_after=0, uint64_t remaining=0, uint64_t reset_after=0):
        if admitted and retry_after != 0:
            raise ValueError(f"what is admitted has nothing to wait for: retry_after is {retry_after}")
        self.outcome.verdict = ADMIT if admitted else NEVER if retry_after is None else REFUSE
        self.outcome.retry = 0 if retry_after is None else retry_after
        self.outcome.left = remaining
        self.outcome.unit = 1
        self.outcome.reset = reset_after

    @property
    def admitted(self):
        return self.outcome.verdict == ADMIT

    @property
    def retry_after(self):
        return None if self.outcome.verdict == NEVER else self.outcome.retry

    @property
    def remaining(self):
        return self.outcome.left // self.outcome.unit

    @property
    def reset_after(self):
        return self.outcome.reset

    def __bool__(self):
        return self.outcome.verdict == ADMIT

    def __repr__(self):
        return (
            f"Decision(admitted={self.admitted}, retry_after={self.retry_after}, "
            f"remaining={self.remaining}, reset_after={self.reset_after})"
        )


# Functions, for calls that are no look-ups in a table of methods: a hit is a few dozen nanoseconds.

cdef inline int check(Limiter limiter, uint64_t now, uint64_t cost) except -1:
    if limiter.ready and now < LATEST and cost:
        return 0
    return limiter.reject(now, cost)


cdef inline uint64_t hash_with(const uint64_t* secret, object key) except? 0:
    cdef Py_ssize_t size = 0
    cdef const char* data
    if isinstance(key, str):
        data = utf8_of(<str>key, &size)
        return siphash(secret, data, size)
    if isinstance(key, bytes):
        return siphash(secret, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    raise TypeError(f"a key is str or bytes, not {type(key).__name__}")


cdef class Limiter:
    """What all limiters can: ``hit``, ``decide``, ``peek`` and ``give_back``, each for a key and a time.

    ``count`` requests are admitted in ``period`` seconds. ``capacity`` is how many keys surely find a place at a time;
    the memory for them is fixed. Beyond, a new key takes the place of one that has not used up its limit; where there
    is none, ``when_full`` says what becomes of it: ``"admit"`` or ``"refuse"``. ``secret``, 16 bytes, keys
    the hashes; processes that share a table have the same one, and random bytes are the default.

    Times are nanoseconds of a clock that starts at 0 and does not go back, such as ``time.monotonic_ns()``: they are
    below 2**57. A cost is at least 1. ``ValueError`` for what is out of these ranges.
    """

    def __cinit__(self):
        self.admit_when_full = True

    cdef int set_up(self, count, period, most, capacity, when_full, secret) except -1:
        cdef bytes word
        if self.ready:
            raise TypeError("a limiter does not change")
        if count < 1:
            raise ValueError(f"a rate of {count}: it is at least 1 request in a period")
        if most < 1:
            raise ValueError(f"a burst of {most}: it is at least 1 request")
        if not 0 < period <= 366 * 86400:
            raise ValueError(f"a period of {period} s: it is above 0 and at most a year")
        if not 1 <= capacity <= 1 << 32:
            raise ValueError(f"a capacity of {capacity} keys: it is at least 1 and at most 2**32")
        if when_full not in ("admit", "refuse"):
            raise ValueError(f"when_full is 'admit' or 'refuse', not {when_full!r}")
        word = os.urandom(16) if secret is None else bytes(secret)
        if len(word) != 16:
            raise ValueError(f"a secret of {len(word)} bytes: it has 16")
        self.period_ns = max(round(period * SECOND), 1)
        self.count = count
        self.most = most
        self.capacity = capacity
        self.admit_when_full = when_full == "admit"
        memcpy(self.secret, PyBytes_AS_STRING(word), 16)
        return 0

    cdef int reject(self, uint64_t now, uint64_t cost) except -1:
        if not self.ready:
            raise TypeError("this limiter was not set up")
        if now >= LATEST:
            raise ValueError(f"a time of {now} ns: it is below 2**57, as those of time.monotonic_ns() are")
        raise ValueError("a cost is at least 1")

    cdef uint64_t hash_of(self, object key) except? 0:
        return hash_with(self.secret, key)

    cdef int hit_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept:
        outcome.verdict = NEVER
        return 0

    cdef int peek_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept:
        outcome.verdict = NEVER
        return 0

    cdef int give_back_hash(self, uint64_t hash, uint64_t now, uint64_t cost) noexcept:
        return 0

    def hit(self, key, uint64_t now, uint64_t cost=1):
        """Whether a request of ``key`` is admitted at ``now``; if so, its cost is taken, otherwise nothing is."""
        cdef Outcome outcome
        check(self, now, cost)
        self.hit_hash(hash_with(self.secret, key), now, cost, &outcome)
        return outcome.verdict == ADMIT

    def decide(self, key, uint64_t now, uint64_t cost=1):
        """The same, with all that there is to say about it: a ``Decision``."""
        cdef Decision decision = Decision.__new__(Decision)
        check(self, now, cost)
        self.hit_hash(hash_with(self.secret, key), now, cost, &decision.outcome)
        return decision

    def peek(self, key, uint64_t now, uint64_t cost=1):
        """What ``decide`` would say; nothing is taken."""
        cdef Decision decision = Decision.__new__(Decision)
        check(self, now, cost)
        self.peek_hash(hash_with(self.secret, key), now, cost, &decision.outcome)
        return decision

    def give_back(self, key, uint64_t now, uint64_t cost=1):
        """Undo what ``hit`` took a moment ago: another limit refused the request."""
        check(self, now, cost)
        self.give_back_hash(hash_with(self.secret, key), now, cost)

    @property
    def period(self):
        """Seconds."""
        return self.period_ns / SECOND

    @property
    def when_full(self):
        return "admit" if self.admit_when_full else "refuse"

    def __repr__(self):
        return f"<{type(self).__name__} {self.count} in {self.period:g} s, {self.most} at once>"


cdef class TableLimiter(Limiter):
    """A limiter with 64 bits of state for each key, and 32 to 64 bytes of memory for it.

    ``memory``: a writable buffer of at least ``size_for(capacity)`` bytes, aligned to 64, that begins as zeros. When
    processes share it, and agree on all arguments, the limit is one for all of them; they need one clock too.
    """

    cdef int use(self, object memory) except -1:
        cdef uint64_t size = table_size(self.capacity)
        cdef unsigned char[::1] view
        if memory is None:
            # Pages of an anonymous mapping take nothing until they are touched.
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
                # Keys lie anywhere in it: with small pages most look-ups miss the TLB too.
                with contextlib.suppress(OSError):
                    memory.madvise(mmap.MADV_HUGEPAGE)
        view = memoryview(memory).cast("B")
        if <uint64_t>view.shape[0] < size:
            raise ValueError(f"{view.shape[0]} bytes of memory: {self.capacity} keys need {size}")
        if <uintptr_t>&view[0] % 64:
            raise ValueError("the memory of a table is aligned to 64 bytes")
        self.memory = view
        self.table.head = <TableHead*>&view[0]
        self.table.sets = <Set*>(&view[0] + sizeof(TableHead))
        self.table.mask = table_sets(self.capacity) - 1
        self.table.admit_when_full = self.admit_when_full
        self.rule.most = self.most
        self.rule.period = self.period_ns
        self.ready = True
        return 0

    cdef int set_up_meter(self, count, period, most, capacity, when_full, secret, memory) except -1:
        cdef uint64_t interval
        self.set_up(count, period, most, capacity, when_full, secret)
        # At most a year in 16ths of a nanosecond: below 2**59.
        interval = (self.period_ns * TICKS + self.count - 1) // self.count
        if <object>interval * most >= LATEST * TICKS:
            raise ValueError(f"a burst of {most} at {count} in {period} s: it would take more than 4 years to refill")
        self.rule.kind = METER
        self.rule.interval = interval
        return self.use(memory)

    cdef int set_up_window(self, count, period, capacity, when_full, secret, memory, uint64_t most) except -1:
        if count > most:
            raise ValueError(f"{count} requests in a window: {type(self).__name__} counts up to {most}")
        self.set_up(count, period, count, capacity, when_full, secret)
        if self.period_ns < SHORTEST_WINDOW:
            raise ValueError(f"a window of {period} s: it is at least a millisecond")
        return self.use(memory)

    cdef int hit_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept:
        table_hit(&self.table, &self.rule, hash, now, cost, outcome)
        return 0

    cdef int peek_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept:
        table_peek(&self.table, &self.rule, hash, now, cost, outcome)
        return 0

    cdef int give_back_hash(self, uint64_t hash, uint64_t now, uint64_t cost) noexcept:
        table_give_back(&self.table, &self.rule, hash, now, cost)
        return 0

    @staticmethod
    def size_for(uint64_t capacity):
        """Bytes of memory for so many keys."""
        return table_size(capacity)

    @property
    def memory_size(self):
        """Bytes of its table."""
        return table_size(self.capacity)

    @property
    def evicted(self):
        """How many keys lost what they had used, because a new one needed the place."""
        return load(&self.table.head.evicted) if self.ready else 0

    @property
    def full(self):
        """How many requests found no place: they met ``when_full``."""
        return load(&self.table.head.full) if self.ready else 0


@cython.final
cdef class TokenBucket(TableLimiter):
    """A bucket of ``burst`` tokens (``count`` by default), refilled at ``count`` in ``period`` seconds.

    A request takes as many tokens as it costs, or is refused. So ``burst`` pass at once after a pause, and in any
    time T no more than ``burst + T * count / period``.
    """

    def __init__(self, count, period=1, *, burst=None, capacity=100_000, when_full="admit", secret=None, memory=None):
        self.set_up_meter(count, period, count if burst is None else burst, capacity, when_full, secret, memory)


@cython.final
cdef class LeakyBucket(TableLimiter):
    """A bucket that leaks ``count`` in ``period`` seconds; a request pours in its cost, or is refused if it would spill.

    ``burst`` is what the bucket holds, 1 by default: then requests pass one by one, evenly spaced.
    """

    def __init__(self, count, period=1, *, burst=1, capacity=100_000, when_full="admit", secret=None, memory=None):
        self.set_up_meter(count, period, burst, capacity, when_full, secret, memory)


@cython.final
cdef class GCRA(TableLimiter):
    """The generic cell rate algorithm (ITU-T I.371): a request may be early by ``burst - 1`` intervals, no more.

    The interval is ``period / count``. With the same ``burst`` (``count`` by default) it admits what TokenBucket does.
    """

    def __init__(self, count, period=1, *, burst=None, capacity=100_000, when_full="admit", secret=None, memory=None):
        self.set_up_meter(count, period, count if burst is None else burst, capacity, when_full, secret, memory)


@cython.final
cdef class FixedWindow(TableLimiter):
    """``count`` in each window of ``period`` seconds, at least a millisecond; windows begin at multiples of it.

    Around the border of two windows up to twice as many may pass within one period. ``count`` is below 2**24.
    """

    def __init__(self, count, period=1, *, capacity=100_000, when_full="admit", secret=None, memory=None):
        self.rule.kind = FIXED
        self.set_up_window(count, period, capacity, when_full, secret, memory, FIXED_MOST)


@cython.final
cdef class SlidingWindow(TableLimiter):
    """``count`` in any ``period`` seconds, estimated from two counters.

    The window before counts by the share of it that is within the last period, as if its requests had come evenly.
    ``count`` is below 2**20, ``period`` at least a millisecond.
    """

    def __init__(self, count, period=1, *, capacity=100_000, when_full="admit", secret=None, memory=None):
        self.rule.kind = SLIDING
        self.set_up_window(count, period, capacity, when_full, secret, memory, SLIDING_MOST)


@cython.final
cdef class SlidingLog(Limiter):
    """``count`` in any ``period`` seconds, exactly: the time of each admitted request is kept.

    A key takes ``8 * count + 16`` bytes, twice because of the table's room; it belongs to one process. ``count`` is
    below 2**20.
    """

    cdef LogTable table

    def __init__(self, count, period=1, *, capacity=10_000, when_full="admit", secret=None):
        cdef uint64_t size
        if count > SLIDING_MOST:
            raise ValueError(f"{count} requests in a window: SlidingLog counts up to {SLIDING_MOST}")
        self.set_up(count, period, count, capacity, when_full, secret)
        size = log_size(self.capacity, self.most)
        free(self.table.logs)
        # Its pages take nothing until they are touched.
        self.table.logs = <char*>calloc(1, size)
        if self.table.logs is NULL:
            raise MemoryError(f"no memory for {size} bytes: {capacity} logs of {count} times")
        self.table.stride = log_stride(self.most)
        self.table.mask = table_sets(self.capacity) - 1
        self.table.most = self.most
        self.table.period = self.period_ns
        self.table.admit_when_full = self.admit_when_full
        self.ready = True

    def __dealloc__(self):
        free(self.table.logs)

    cdef int hit_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept:
        log_hit(&self.table, hash, now, cost, outcome)
        return 0

    cdef int peek_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept:
        log_decide(&self.table, log_find(&self.table, hash, now), now, cost, outcome)
        return 0

    cdef int give_back_hash(self, uint64_t hash, uint64_t now, uint64_t cost) noexcept:
        log_give_back(&self.table, hash, now, cost)
        return 0

    @property
    def memory_size(self):
        """Bytes of its table."""
        return log_size(self.capacity, self.most)

    @property
    def evicted(self):
        """How many keys lost what they had used, because a new one needed the place."""
        return self.table.evicted

    @property
    def full(self):
        """How many requests found no place: they met ``when_full``."""
        return self.table.full
