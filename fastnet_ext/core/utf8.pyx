# cython: freethreading_compatible=True
"""Incremental UTF-8 validation, for Python."""

cimport cython
from libc.stdint cimport uint8_t

from fastnet_ext.core.simd cimport Simd, simd_for, simd_named


@cython.final
cdef class Utf8Validator:
    """Validates text that comes in pieces; ``feed`` them in order.

    ``vectors`` is one of ``simd.available()``, for tests; by default the best for each piece. Raises
    ValueError for others.
    """

    cdef uint8_t _state
    cdef Simd _kind
    cdef bint _forced

    def __cinit__(self, *, str vectors=None):
        self._state = UTF8_ACCEPT
        self._forced = vectors is not None
        if self._forced:
            self._kind = simd_named(vectors)

    def feed(self, const uint8_t[::1] data not None):
        """Take one more piece. False from the first byte on that no later bytes could make valid."""
        cdef size_t size = <size_t>data.shape[0]
        if size:
            self._state = utf8_check_with(
                self._kind if self._forced else simd_for(size), <const char*>&data[0], size, self._state
            )
        return self._state != UTF8_REJECT

    @property
    def complete(self):
        """Whether the text could end here: valid so far, and not inside a character."""
        return self._state == UTF8_ACCEPT
