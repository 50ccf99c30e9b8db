"""Which coding an answer gets: from what the client accepts, what the server offers, the answer's size and its type."""

from libc.stdint cimport int16_t, int64_t

from fastnet_ext.compression.codecs cimport CODING_COUNT


cdef enum:
    # Besides the number of a Coding, what a choice may be.
    AS_IT_IS = -1
    NOT_ACCEPTABLE = -2     # neither a coding that there is nor none at all


cdef class Negotiator:
    # --- what is offered: constant
    cdef int[CODING_COUNT] order        # codings, the preferred one first
    cdef int count
    cdef readonly int64_t minimum_size  # bytes that are worth it
    cdef readonly tuple media_types

    # --- whether a Content-Type is worth it, of those that were asked about; bounded
    cdef dict known_types

    # A coding, AS_IT_IS or NOT_ACCEPTABLE, by the client alone: the value of its Accept-Encoding, NULL for none.
    cdef int by_client(self, const char* accept, Py_ssize_t size) noexcept
    # Whether bodies of that Content-Type become smaller; None is none.
    cdef bint is_worth(self, bytes content_type) except -1
    # By all three; `size` below 0 is unknown.
    cdef int choice(self, const char* accept, Py_ssize_t accept_size, int64_t size, bint worth) noexcept
