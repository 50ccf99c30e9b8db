"""HTTP/2 frames; see frames.h."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastnet_ext.core.buffer cimport Buffer


cdef extern from "fastnet_ext/http2/frames.h" nogil:
    const char* PREFACE "FN_H2_PREFACE"

    enum:
        PREFACE_SIZE "FN_H2_PREFACE_SIZE"
        FRAME_HEAD "FN_H2_FRAME_HEAD"
        WINDOW_MAX "FN_H2_WINDOW_MAX"
        WINDOW_DEFAULT "FN_H2_WINDOW_DEFAULT"
        FRAME_SIZE_MIN "FN_H2_FRAME_SIZE_MIN"
        FRAME_SIZE_MAX "FN_H2_FRAME_SIZE_MAX"
        STREAM_MAX "FN_H2_STREAM_MAX"

        FRAME_DATA "FN_FRAME_DATA"
        FRAME_HEADERS "FN_FRAME_HEADERS"
        FRAME_PRIORITY "FN_FRAME_PRIORITY"
        FRAME_RST_STREAM "FN_FRAME_RST_STREAM"
        FRAME_SETTINGS "FN_FRAME_SETTINGS"
        FRAME_PUSH_PROMISE "FN_FRAME_PUSH_PROMISE"
        FRAME_PING "FN_FRAME_PING"
        FRAME_GOAWAY "FN_FRAME_GOAWAY"
        FRAME_WINDOW_UPDATE "FN_FRAME_WINDOW_UPDATE"
        FRAME_CONTINUATION "FN_FRAME_CONTINUATION"
        FRAME_PRIORITY_UPDATE "FN_FRAME_PRIORITY_UPDATE"

        FLAG_END_STREAM "FN_FLAG_END_STREAM"
        FLAG_ACK "FN_FLAG_ACK"
        FLAG_END_HEADERS "FN_FLAG_END_HEADERS"
        FLAG_PADDED "FN_FLAG_PADDED"
        FLAG_PRIORITY "FN_FLAG_PRIORITY"

        SETTING_HEADER_TABLE_SIZE "FN_SETTING_HEADER_TABLE_SIZE"
        SETTING_ENABLE_PUSH "FN_SETTING_ENABLE_PUSH"
        SETTING_MAX_CONCURRENT_STREAMS "FN_SETTING_MAX_CONCURRENT_STREAMS"
        SETTING_INITIAL_WINDOW_SIZE "FN_SETTING_INITIAL_WINDOW_SIZE"
        SETTING_MAX_FRAME_SIZE "FN_SETTING_MAX_FRAME_SIZE"
        SETTING_MAX_HEADER_LIST_SIZE "FN_SETTING_MAX_HEADER_LIST_SIZE"
        SETTING_ENABLE_CONNECT_PROTOCOL "FN_SETTING_ENABLE_CONNECT_PROTOCOL"
        SETTING_NO_RFC7540_PRIORITIES "FN_SETTING_NO_RFC7540_PRIORITIES"

        ERROR_NO_ERROR "FN_H2_NO_ERROR"
        ERROR_PROTOCOL_ERROR "FN_H2_PROTOCOL_ERROR"
        ERROR_INTERNAL_ERROR "FN_H2_INTERNAL_ERROR"
        ERROR_FLOW_CONTROL_ERROR "FN_H2_FLOW_CONTROL_ERROR"
        ERROR_SETTINGS_TIMEOUT "FN_H2_SETTINGS_TIMEOUT"
        ERROR_STREAM_CLOSED "FN_H2_STREAM_CLOSED"
        ERROR_FRAME_SIZE_ERROR "FN_H2_FRAME_SIZE_ERROR"
        ERROR_REFUSED_STREAM "FN_H2_REFUSED_STREAM"
        ERROR_CANCEL "FN_H2_CANCEL"
        ERROR_COMPRESSION_ERROR "FN_H2_COMPRESSION_ERROR"
        ERROR_CONNECT_ERROR "FN_H2_CONNECT_ERROR"
        ERROR_ENHANCE_YOUR_CALM "FN_H2_ENHANCE_YOUR_CALM"
        ERROR_INADEQUATE_SECURITY "FN_H2_INADEQUATE_SECURITY"
        ERROR_HTTP_1_1_REQUIRED "FN_H2_HTTP_1_1_REQUIRED"

    ctypedef struct Frame "fn_frame":
        uint32_t length
        uint32_t stream_id
        uint8_t type
        uint8_t flags

    # `data` holds FRAME_HEAD bytes.
    void frame_parse "fn_frame_parse" (const char* data, Frame* frame) noexcept

    # Writers: 0, or -1 when memory is out (no Python exception is set).
    int write_frame "fn_frame_write" (
        Buffer* out, uint8_t type, uint8_t flags, uint32_t stream_id, const char* payload, uint32_t length
    ) noexcept
    int write_reset "fn_frame_write_reset" (Buffer* out, uint32_t stream_id, uint32_t error_code) noexcept
    int write_window "fn_frame_write_window" (Buffer* out, uint32_t stream_id, uint32_t increment) noexcept
    int write_ping "fn_frame_write_ping" (Buffer* out, int ack, const char* opaque) noexcept
    int write_goaway "fn_frame_write_goaway" (
        Buffer* out, uint32_t last_stream_id, uint32_t error_code, const char* debug, size_t debug_size
    ) noexcept
    char* put_setting "fn_frame_put_setting" (char* to, uint16_t id, uint32_t value) noexcept
