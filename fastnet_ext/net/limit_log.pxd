"""Counts whom a limit cut off, and says so in the log, a few times a second at most."""

from libc.stdint cimport uint32_t, uint64_t

from fastnet_ext.exchange.limits cimport LIMIT_COUNT, Limit


cdef enum:
    # Lines a second for one limit; how many more there were is said when the second is over.
    LINES_PER_SECOND = 10


cdef struct Tally:
    uint64_t total              # since the start
    double since                # when the running second began
    uint32_t lines              # written in it
    uint32_t unsaid             # left out in it


cdef class LimitLog:
    cdef Tally tallies[LIMIT_COUNT]
    cdef bint pending           # some limit has `unsaid` cut-offs

    # `cutoff`: a status, or one of Cutoff. `now`: seconds from any fixed point, never going back.
    cdef int add(
        self, Limit which, double value, int cutoff, str listener, object peer, bint silent, double now
    ) except -1
    # Say what was left out in seconds that are over.
    cdef int settle(self, double now) except -1
    cdef int write(self, dict into) except -1
    cdef int _say(
        self, Limit which, int level, double value, str answer, str listener, str peer
    ) except -1
    cdef int _settle(self, Limit which, double now) except -1
