"""Incremental UTF-8 validation, RFC 3629; see utf8.h."""

from libc.stdint cimport uint8_t

from fastnet_ext.core.simd cimport Simd


cdef extern from "fastnet_ext/core/utf8.h" nogil:
    # A state is carried from piece to piece: begin with UTF8_ACCEPT, and text is complete
    # in UTF8_ACCEPT only. UTF8_REJECT is final.
    ctypedef enum Utf8State "fn_utf8_state":
        UTF8_ACCEPT "FN_UTF8_ACCEPT"
        UTF8_REJECT "FN_UTF8_REJECT"

    uint8_t utf8_check "fn_utf8_check" (const char* data, size_t size, uint8_t state) noexcept
    # The same with vectors of one kind, which the machine has.
    uint8_t utf8_check_with "fn_utf8_check_with" (Simd kind, const char* data, size_t size, uint8_t state) noexcept
