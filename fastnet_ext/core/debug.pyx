# cython: freethreading_compatible=True
"""How many objects of the engine live, in builds that count them (FASTNET_BUILD=debug or sanitize)."""

from libc.stdint cimport int64_t


cdef extern from *:
    """
    #define fn_atomic_add(counter, by) ((void)__atomic_fetch_add((counter), (by), __ATOMIC_RELAXED))
    """
    void fn_atomic_add(int64_t* counter, int by) noexcept nogil


# The one mutable global of the engine: objects of every thread and loop count here, and only in builds for
# developers.
cdef int64_t counts[8]


cdef void count_live(LiveKind kind, int by) noexcept nogil:
    fn_atomic_add(&counts[<int>kind], by)


def enabled():
    """Whether this build checks invariants and counts objects."""
    return bool(DEBUG)


def live():
    """The number of live objects by kind, as a dict; empty in a build that does not count."""
    cdef int kind
    if not DEBUG:
        return {}
    return {LIVE_NAMES[kind].decode("ascii"): counts[kind] for kind in range(LIVE_COUNT)}
