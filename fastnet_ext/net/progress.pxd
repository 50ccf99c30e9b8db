"""How a transfer gets on: when it is silent for too long, and when it is too slow; see progress.h."""

from libc.stdint cimport int64_t


cdef extern from "fastnet_ext/net/progress.h" nogil:
    ctypedef struct Progress "fn_progress":
        bint waiting

    ctypedef enum Pace "fn_pace":
        PACE_FINE "FN_PROGRESS_FINE"
        PACE_SILENT "FN_PROGRESS_SILENT"
        PACE_SLOW "FN_PROGRESS_SLOW"

    # Bytes so far, seconds since the last look, then the limits: seconds of silence, bytes a second, and the
    # seconds that a quick start may earn.
    Pace progress_look "fn_progress_look" (
        Progress* p, int64_t total, double elapsed, double timeout, double rate, double credit
    ) noexcept

    # Bytes that a socket was given and its peer has not acknowledged; 0 where the system does not say.
    int64_t unacknowledged "fn_unacknowledged" (int fd) noexcept
