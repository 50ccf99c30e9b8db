"""Percent-encoding; see percent.h."""


cdef extern from "fastnet_ext/routing/percent.h" nogil:
    int percent_octet "fn_percent_octet" (const char* p, size_t size) noexcept
    Py_ssize_t percent_decode "fn_percent_decode" (const char* p, size_t size, int plus, char* out, size_t capacity) noexcept
    Py_ssize_t percent_length "fn_percent_length" (const char* p, size_t size) noexcept
    size_t percent_skip "fn_percent_skip" (const char* p, size_t octets) noexcept
    int percent_spells "fn_percent_spells" (const char* p, const char* text, size_t size) noexcept
