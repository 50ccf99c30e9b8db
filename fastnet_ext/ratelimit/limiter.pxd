"""Limiters: a rule (rules.h) and a table of keys (table.h, log.h) with memory of a fixed size.

A key is text or bytes; all that is kept of it is a keyed hash. `hit`, `peek` and `give_back` are what guards call,
with hashes; the Python methods of the same names take keys. Nothing here waits, allocates after construction, or
needs the GIL, and what is in the table may be shared by processes.
"""

from libc.stdint cimport uint64_t


cdef extern from "fastnet_ext/ratelimit/siphash.h" nogil:
    uint64_t siphash "fn_siphash" (const uint64_t* key, const void* data, size_t size) noexcept


cdef extern from "fastnet_ext/ratelimit/rules.h" nogil:
    ctypedef enum RuleKind "fn_rule_kind":
        METER "FN_METER"
        FIXED "FN_FIXED"
        SLIDING "FN_SLIDING"

    ctypedef enum Verdict "fn_verdict":
        NEVER "FN_NEVER"
        REFUSE "FN_REFUSE"
        ADMIT "FN_ADMIT"

    ctypedef struct Rule "fn_rule":
        RuleKind kind
        uint64_t most
        uint64_t interval
        uint64_t period

    ctypedef struct Outcome "fn_decision":
        Verdict verdict
        uint64_t retry          # nanoseconds
        uint64_t left, unit     # left / unit is what remains
        uint64_t reset          # nanoseconds

    const uint64_t LATEST "FN_LATEST"
    const uint64_t TICKS "FN_TICKS"
    const uint64_t FIXED_MOST "FN_FIXED_MOST"
    const uint64_t SLIDING_MOST "FN_SLIDING_MOST"


cdef extern from "fastnet_ext/ratelimit/table.h" nogil:
    ctypedef struct TableHead "fn_table_head":
        uint64_t evicted
        uint64_t full

    ctypedef struct Set "fn_set":
        pass

    ctypedef struct Table "fn_table":
        TableHead* head
        Set* sets
        uint64_t mask
        bint admit_when_full

    uint64_t table_sets "fn_table_sets" (uint64_t keys) noexcept
    uint64_t table_size "fn_table_size" (uint64_t keys) noexcept
    uint64_t load "fn_load" (const uint64_t* p) noexcept
    void table_hit "fn_table_hit" (
        Table* table, const Rule* rule, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome
    ) noexcept
    void table_peek "fn_table_peek" (
        const Table* table, const Rule* rule, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome
    ) noexcept
    void table_give_back "fn_table_give_back" (
        Table* table, const Rule* rule, uint64_t hash, uint64_t now, uint64_t cost
    ) noexcept


cdef extern from "fastnet_ext/ratelimit/log.h" nogil:
    ctypedef struct Log "fn_log":
        pass

    ctypedef struct LogTable "fn_log_table":
        char* logs
        size_t stride
        uint64_t mask
        uint64_t most
        uint64_t period
        uint64_t evicted
        uint64_t full
        bint admit_when_full

    size_t log_stride "fn_log_stride" (uint64_t most) noexcept
    uint64_t log_size "fn_log_size" (uint64_t keys, uint64_t most) noexcept
    Log* log_find "fn_log_find" (const LogTable* table, uint64_t hash, uint64_t now) noexcept
    void log_decide "fn_log_decide" (
        const LogTable* table, const Log* log, uint64_t now, uint64_t cost, Outcome* outcome
    ) noexcept
    void log_hit "fn_log_hit" (LogTable* table, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept
    void log_give_back "fn_log_give_back" (LogTable* table, uint64_t hash, uint64_t now, uint64_t cost) noexcept


cdef class Decision:
    """What a limiter says of one request."""

    cdef Outcome outcome


cdef class Limiter:
    # Constant after __init__.
    cdef readonly uint64_t count        # the rate: `count` in `period_ns`
    cdef readonly uint64_t period_ns
    cdef readonly uint64_t most         # the cost that is admitted at once
    cdef readonly uint64_t capacity     # keys that surely find a place
    cdef readonly bint admit_when_full
    cdef bint ready                     # all that is above, and the table, are there
    cdef uint64_t secret[2]

    cdef int set_up(self, count, period, most, capacity, when_full, secret) except -1
    # Raises for a time or a cost that cannot be.
    cdef int reject(self, uint64_t now, uint64_t cost) except -1
    cdef uint64_t hash_of(self, object key) except? 0
    # What is made of a hash. `cost` is at least 1, `now` below LATEST.
    cdef int hit_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept
    cdef int peek_hash(self, uint64_t hash, uint64_t now, uint64_t cost, Outcome* outcome) noexcept
    cdef int give_back_hash(self, uint64_t hash, uint64_t now, uint64_t cost) noexcept


cdef class TableLimiter(Limiter):
    """One whose keys have 64 bits of state."""

    cdef Rule rule
    cdef Table table
    cdef object memory                  # what holds the table: a buffer, exported for as long as this lives

    cdef int use(self, object memory) except -1
    cdef int set_up_meter(self, count, period, most, capacity, when_full, secret, memory) except -1
    cdef int set_up_window(self, count, period, capacity, when_full, secret, memory, uint64_t most) except -1
