"""Which vectors the code of mask.h and utf8.h may use; see simd.h."""


cdef extern from "fastnet_ext/core/simd.h" nogil:
    ctypedef enum Simd "fn_simd":
        SIMD_PLAIN "FN_SIMD_PLAIN"
        SIMD_SSE2 "FN_SIMD_SSE2"
        SIMD_AVX2 "FN_SIMD_AVX2"
        SIMD_AVX512 "FN_SIMD_AVX512"
        SIMD_NEON "FN_SIMD_NEON"
        SIMD_KINDS "FN_SIMD_KINDS"

    # Whether this machine has them.
    bint simd_has "fn_simd_has" (Simd kind) noexcept
    # The best for this many bytes.
    Simd simd_for "fn_simd_for" (size_t size) noexcept


# The kind of that name; ValueError when there is none, or this machine lacks it.
cdef Simd simd_named(str name) except *
