"""The limits by which a peer is turned away or cut off; see limits.h for the list."""


cdef extern from "fastnet_ext/exchange/limits.h" nogil:
    ctypedef enum Limit "fn_limit":
        LIMIT_REQUEST_LINE "FN_LIMIT_REQUEST_LINE"
        LIMIT_HEAD "FN_LIMIT_HEAD"
        LIMIT_FIELDS "FN_LIMIT_FIELDS"
        LIMIT_BODY "FN_LIMIT_BODY"
        LIMIT_MESSAGE "FN_LIMIT_MESSAGE"
        LIMIT_FRAGMENTS "FN_LIMIT_FRAGMENTS"
        LIMIT_STREAMS "FN_LIMIT_STREAMS"
        LIMIT_UNREAD "FN_LIMIT_UNREAD"
        LIMIT_KEEPALIVE "FN_LIMIT_KEEPALIVE"
        LIMIT_HEARTBEAT "FN_LIMIT_HEARTBEAT"
        LIMIT_SLOW "FN_LIMIT_SLOW"
        LIMIT_FLOOD "FN_LIMIT_FLOOD"
        LIMIT_TLS_TIME "FN_LIMIT_TLS_TIME"
        LIMIT_HEAD_TIME "FN_LIMIT_HEAD_TIME"
        LIMIT_IDLE_TIME "FN_LIMIT_IDLE_TIME"
        LIMIT_BODY_TIME "FN_LIMIT_BODY_TIME"
        LIMIT_BODY_RATE "FN_LIMIT_BODY_RATE"
        LIMIT_WRITE_TIME "FN_LIMIT_WRITE_TIME"
        LIMIT_WRITE_RATE "FN_LIMIT_WRITE_RATE"
        LIMIT_HANDLER_TIME "FN_LIMIT_HANDLER_TIME"
        LIMIT_CONNECTIONS "FN_LIMIT_CONNECTIONS"
        LIMIT_ADDRESS "FN_LIMIT_ADDRESS"
        LIMIT_IN_FLIGHT "FN_LIMIT_IN_FLIGHT"
        LIMIT_RATE "FN_LIMIT_RATE"
        LIMIT_QUEUE_TIME "FN_LIMIT_QUEUE_TIME"
        LIMIT_LAG "FN_LIMIT_LAG"
        LIMIT_MEMORY "FN_LIMIT_MEMORY"
        LIMIT_COUNT "FN_LIMIT_COUNT"

    ctypedef struct LimitRow "fn_limit_row":
        const char* name        # of the counter, behind "limit_"
        const char* setting     # empty: there is none
        const char* unit        # of the limit's value, as it is written behind it
        const char* what        # what happened

    const LimitRow* limit_row "fn_limit_of" (Limit which) noexcept


# What became of the peer, beside a status that it was answered with, or the code that its WebSocket was closed with.
cdef enum Cutoff:
    CUT_CLOSED = 0
    CUT_RESET = -1
    CUT_STREAM = -2
    CUT_REFUSED = -3    # a stream that was not opened
    CUT_CALL = -4       # a gRPC call
