# cython: freethreading_compatible=True
"""Incremental UTF-8 validation, for Python."""

cimport cython
from libc.stdint cimport uint8_t


@cython.final
cdef class Utf8Validator:
    """Validates text that comes in pieces; ``feed`` them in order."""

    cdef uint8_t _state

    def __cinit__(self):
        self._state = UTF8_ACCEPT

    def feed(self, const uint8_t[::1] data not None):
        """Take one more piece. False from the first byte on that no later bytes could make valid."""
        if data.shape[0]:
            self._state = utf8_check(<const char*>&data[0], <size_t>data.shape[0], self._state)
        return self._state != UTF8_REJECT

    @property
    def complete(self):
        """Whether the text could end here: valid so far, and not inside a character."""
        return self._state == UTF8_ACCEPT
