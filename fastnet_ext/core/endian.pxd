"""Big-endian loads and stores of unaligned memory, decimal and hex output; see endian.h."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t


cdef extern from "fastnet_ext/core/endian.h" nogil:
    uint16_t load16 "fn_load16" (const void* p) noexcept
    uint32_t load24 "fn_load24" (const void* p) noexcept
    uint32_t load32 "fn_load32" (const void* p) noexcept
    uint64_t load64 "fn_load64" (const void* p) noexcept
    void store16 "fn_store16" (void* p, uint16_t v) noexcept
    void store24 "fn_store24" (void* p, uint32_t v) noexcept
    void store32 "fn_store32" (void* p, uint32_t v) noexcept
    void store64 "fn_store64" (void* p, uint64_t v) noexcept
    # Digits written: 20 at most, 16 at most.
    int store_decimal "fn_store_decimal" (char* out, uint64_t v) noexcept
    int store_hex "fn_store_hex" (char* out, uint64_t v) noexcept
    # Always 16.
    void store_hex16 "fn_store_hex16" (char* out, uint64_t v) noexcept
