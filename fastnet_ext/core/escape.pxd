"""Bytes of a peer, made harmless for a line of a log; see escape.h."""


cdef extern from "fastnet_ext/core/escape.h" nogil:
    # What one byte may become at most.
    const int ESCAPED_MAX "FN_ESCAPED_MAX"

    # Returns the end of what was written to `out`, which has room for size * ESCAPED_MAX.
    char* escape "fn_escape" (char* out, const char* data, size_t size, bint json) noexcept
