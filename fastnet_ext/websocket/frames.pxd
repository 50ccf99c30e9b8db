"""The frame header of RFC 6455, section 5.2; see frames.h.

A caller that sends from a server without a Session at hand (a broadcast encoded once for all)
writes ``write_header(p, OPCODE_TEXT | FIN, size, NULL)`` and the payload after it.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "fastnet_ext/websocket/frames.h" nogil:
    enum:
        HEADER_MAX "FN_WS_HEADER_MAX"    # bytes of the longest header: 14
        CONTROL_MAX "FN_WS_CONTROL_MAX"  # bytes of payload in a control frame: 125
        FIN "FN_WS_FIN"
        RSV1 "FN_WS_RSV1"

    ctypedef enum Opcode "fn_ws_opcode":
        OPCODE_CONTINUATION "FN_WS_CONTINUATION"
        OPCODE_TEXT "FN_WS_TEXT"
        OPCODE_BINARY "FN_WS_BINARY"
        OPCODE_CLOSE "FN_WS_CLOSE"
        OPCODE_PING "FN_WS_PING"
        OPCODE_PONG "FN_WS_PONG"

    ctypedef struct Frame "fn_ws_frame":
        uint64_t size
        uint32_t key
        uint8_t opcode
        uint8_t fin
        uint8_t rsv
        uint8_t masked

    ctypedef enum Fault "fn_ws_fault":
        FAULT_NONE "FN_WS_OK"
        FAULT_RESERVED_OPCODE "FN_WS_RESERVED_OPCODE"
        FAULT_FRAGMENTED_CONTROL "FN_WS_FRAGMENTED_CONTROL"
        FAULT_LONG_CONTROL "FN_WS_LONG_CONTROL"
        FAULT_LONG_LENGTH "FN_WS_LONG_LENGTH"
        FAULT_HUGE_LENGTH "FN_WS_HUGE_LENGTH"

    # The size of the header that begins with these two bytes.
    size_t header_size "fn_ws_header_size" (const char* p) noexcept
    # Read a header that is there in full.
    Fault read_header "fn_ws_read_header" (const char* p, Frame* frame) noexcept
    # Write a header (HEADER_MAX bytes at most) and return its size. `first` is the opcode with FIN and
    # RSV1 as wanted; `key` is NULL for a frame that is not masked.
    size_t write_header "fn_ws_write_header" (char* p, uint8_t first, uint64_t size, const uint32_t* key) noexcept
    bint close_code_allowed "fn_ws_close_code_allowed" (unsigned int code) noexcept
