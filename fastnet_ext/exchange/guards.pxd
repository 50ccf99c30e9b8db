"""Guards that every service wants."""

from libc.stdint cimport uint64_t

from fastnet_ext.exchange.exchange cimport Guard


cdef class InFlightLimit(Guard):
    """Refuses requests while too many are being answered."""

    # active <= limit: each admitted request counts until its release.
    cdef readonly Py_ssize_t limit
    cdef readonly Py_ssize_t active
    cdef readonly uint64_t refused      # since the start
