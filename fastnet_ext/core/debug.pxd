"""Invariants and counts of live objects, in builds with FASTNET_BUILD=debug or sanitize only; see debug.h.

In a plain build `DEBUG` is a constant 0: what stands behind it is not compiled.
"""


cdef extern from "fastnet_ext/core/debug.h" nogil:
    bint DEBUG "FN_DEBUG"
    # Says which condition does not hold and ends the process. The condition must have no effects.
    void invariant "FN_INVARIANT" (bint condition) noexcept

    ctypedef enum LiveKind "fn_live_kind":
        LIVE_HEADER_BLOCK "FN_LIVE_HEADER_BLOCK"
        LIVE_READER "FN_LIVE_READER"
        LIVE_HTTP2_CONNECTION "FN_LIVE_HTTP2_CONNECTION"
        LIVE_HTTP2_STREAM "FN_LIVE_HTTP2_STREAM"
        LIVE_WEBSOCKET_SESSION "FN_LIVE_WEBSOCKET_SESSION"
        LIVE_EXCHANGE "FN_LIVE_EXCHANGE"
        LIVE_RUNNER "FN_LIVE_RUNNER"
        LIVE_CONNECTION "FN_LIVE_CONNECTION"
        LIVE_COUNT "FN_LIVE_COUNT"

    const char* LIVE_NAMES "FN_LIVE_NAMES" [8]


cdef void count_live(LiveKind kind, int by) noexcept nogil


# For __cinit__ and __dealloc__.
cdef inline void born(LiveKind kind) noexcept nogil:
    if DEBUG:
        count_live(kind, 1)


cdef inline void died(LiveKind kind) noexcept nogil:
    if DEBUG:
        count_live(kind, -1)
