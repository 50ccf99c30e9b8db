"""XOR with a repeating key of four bytes, RFC 6455 section 5.3; see mask.h."""

from libc.stdint cimport uint32_t

from fastnet_ext.core.simd cimport Simd


cdef extern from "fastnet_ext/core/mask.h" nogil:
    # A key is its four bytes as they lie in memory: memcpy them into the uint32_t.
    # `to` is `source`, or does not overlap it.
    void mask_copy "fn_mask_copy" (char* to, const char* source, size_t size, uint32_t key) noexcept
    void mask_in_place "fn_mask" (char* data, size_t size, uint32_t key) noexcept
    # The same with vectors of one kind, which the machine has.
    void mask_copy_with "fn_mask_with" (
        Simd kind, char* to, const char* source, size_t size, uint32_t key
    ) noexcept
    # The key for data that begins `by` bytes further into the payload.
    uint32_t mask_rotate "fn_mask_rotate" (uint32_t key, size_t by) noexcept
