"""Guards that every service wants."""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Guard


cdef enum:
    # Requests that may wait where fewer are answered at once.
    LEAST_QUEUE = 16


cdef class InFlightLimit(Guard):
    """Lets requests wait, or refuses them, while too many are being answered."""

    # active <= limit: each admitted request counts until its release.
    cdef readonly Py_ssize_t limit
    cdef readonly Py_ssize_t active
    cdef readonly uint64_t refused      # since the start

    # Those that wait, the oldest first: Exchange -> None. Nobody overtakes them.
    cdef object queue
    cdef readonly Py_ssize_t queue_limit
    cdef bint waking                    # `_wake` is scheduled
