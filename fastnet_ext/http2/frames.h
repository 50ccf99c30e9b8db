/* HTTP/2 frames (RFC 9113, sections 4, 6 and 7): numbers, and the layout of what we send. */
#ifndef FASTNET_HTTP2_FRAMES_H
#define FASTNET_HTTP2_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include "fastnet_ext/core/buffer.h"
#include "fastnet_ext/core/endian.h"

#define FN_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define FN_H2_PREFACE_SIZE 24
#define FN_H2_FRAME_HEAD 9
#define FN_H2_WINDOW_MAX 0x7fffffff
#define FN_H2_WINDOW_DEFAULT 65535
#define FN_H2_FRAME_SIZE_MIN 16384
#define FN_H2_FRAME_SIZE_MAX 16777215
#define FN_H2_STREAM_MAX 0x7fffffff

enum {
    FN_FRAME_DATA = 0,
    FN_FRAME_HEADERS = 1,
    FN_FRAME_PRIORITY = 2,
    FN_FRAME_RST_STREAM = 3,
    FN_FRAME_SETTINGS = 4,
    FN_FRAME_PUSH_PROMISE = 5,
    FN_FRAME_PING = 6,
    FN_FRAME_GOAWAY = 7,
    FN_FRAME_WINDOW_UPDATE = 8,
    FN_FRAME_CONTINUATION = 9,
    FN_FRAME_PRIORITY_UPDATE = 0x10 /* RFC 9218 */
};

enum {
    FN_FLAG_END_STREAM = 0x1,
    FN_FLAG_ACK = 0x1,
    FN_FLAG_END_HEADERS = 0x4,
    FN_FLAG_PADDED = 0x8,
    FN_FLAG_PRIORITY = 0x20
};

enum {
    FN_SETTING_HEADER_TABLE_SIZE = 0x1,
    FN_SETTING_ENABLE_PUSH = 0x2,
    FN_SETTING_MAX_CONCURRENT_STREAMS = 0x3,
    FN_SETTING_INITIAL_WINDOW_SIZE = 0x4,
    FN_SETTING_MAX_FRAME_SIZE = 0x5,
    FN_SETTING_MAX_HEADER_LIST_SIZE = 0x6,
    FN_SETTING_ENABLE_CONNECT_PROTOCOL = 0x8, /* RFC 8441 */
    FN_SETTING_NO_RFC7540_PRIORITIES = 0x9 /* RFC 9218 */
};

typedef enum {
    FN_H2_NO_ERROR = 0x0,
    FN_H2_PROTOCOL_ERROR = 0x1,
    FN_H2_INTERNAL_ERROR = 0x2,
    FN_H2_FLOW_CONTROL_ERROR = 0x3,
    FN_H2_SETTINGS_TIMEOUT = 0x4,
    FN_H2_STREAM_CLOSED = 0x5,
    FN_H2_FRAME_SIZE_ERROR = 0x6,
    FN_H2_REFUSED_STREAM = 0x7,
    FN_H2_CANCEL = 0x8,
    FN_H2_COMPRESSION_ERROR = 0x9,
    FN_H2_CONNECT_ERROR = 0xa,
    FN_H2_ENHANCE_YOUR_CALM = 0xb,
    FN_H2_INADEQUATE_SECURITY = 0xc,
    FN_H2_HTTP_1_1_REQUIRED = 0xd
} fn_h2_error;

typedef struct {
    uint32_t length;
    uint32_t stream_id; /* without the reserved bit */
    uint8_t type;
    uint8_t flags;
} fn_frame;

static inline void fn_frame_parse(const char *data, fn_frame *f) {
    f->length = fn_load24(data);
    f->type = (uint8_t)data[3];
    f->flags = (uint8_t)data[4];
    f->stream_id = fn_load32(data + 5) & FN_H2_STREAM_MAX;
}

static inline void fn_frame_store(char *to, uint32_t length, uint8_t type, uint8_t flags, uint32_t stream_id) {
    fn_store24(to, length);
    to[3] = (char)type;
    to[4] = (char)flags;
    fn_store32(to + 5, stream_id);
}

/* The writers append one frame; 0, or -1 when memory is out. */

static inline int fn_frame_write(fn_buffer *out, uint8_t type, uint8_t flags, uint32_t stream_id, const char *payload,
                                 uint32_t length) {
    if (fn_buffer_reserve(out, FN_H2_FRAME_HEAD + (size_t)length) < 0) return -1;
    fn_frame_store(out->data + out->size, length, type, flags, stream_id);
    out->size += FN_H2_FRAME_HEAD;
    return fn_buffer_append(out, payload, length);
}

static inline int fn_frame_write_u32(fn_buffer *out, uint8_t type, uint32_t stream_id, uint32_t value) {
    char payload[4];
    fn_store32(payload, value);
    return fn_frame_write(out, type, 0, stream_id, payload, 4);
}

static inline int fn_frame_write_reset(fn_buffer *out, uint32_t stream_id, uint32_t error_code) {
    return fn_frame_write_u32(out, FN_FRAME_RST_STREAM, stream_id, error_code);
}

static inline int fn_frame_write_window(fn_buffer *out, uint32_t stream_id, uint32_t increment) {
    return fn_frame_write_u32(out, FN_FRAME_WINDOW_UPDATE, stream_id, increment);
}

static inline int fn_frame_write_ping(fn_buffer *out, int ack, const char *opaque) {
    return fn_frame_write(out, FN_FRAME_PING, ack ? FN_FLAG_ACK : 0, 0, opaque, 8);
}

/* `debug` is for the peer's log: at most FN_H2_DEBUG_MAX bytes of it are sent. */
#define FN_H2_DEBUG_MAX 64
static inline int fn_frame_write_goaway(fn_buffer *out, uint32_t last_stream_id, uint32_t error_code,
                                        const char *debug, size_t debug_size) {
    char payload[8 + FN_H2_DEBUG_MAX];
    if (debug_size > FN_H2_DEBUG_MAX) debug_size = FN_H2_DEBUG_MAX;
    fn_store32(payload, last_stream_id);
    fn_store32(payload + 4, error_code);
    if (debug_size) memcpy(payload + 8, debug, debug_size);
    return fn_frame_write(out, FN_FRAME_GOAWAY, 0, 0, payload, (uint32_t)(8 + debug_size));
}

/* One setting of a SETTINGS payload that is being built; returns the end. */
static inline char *fn_frame_put_setting(char *to, uint16_t id, uint32_t value) {
    fn_store16(to, id);
    fn_store32(to + 2, value);
    return to + 6;
}

/* A header block as HEADERS and as many CONTINUATION frames as max_frame asks for (section 4.3).
 * `prefix` bytes are put before the block: a table size update. */
static inline int fn_frame_write_head(fn_buffer *out, uint32_t stream_id, int end_stream, uint32_t max_frame,
                                      const char *prefix, size_t prefix_size, const char *block, size_t size) {
    uint8_t flags = end_stream ? FN_FLAG_END_STREAM : 0;
    uint8_t type = FN_FRAME_HEADERS;
    size_t frames = (prefix_size + size) / max_frame + 1;
    if (fn_buffer_reserve(out, frames * FN_H2_FRAME_HEAD + prefix_size + size) < 0) return -1;
    for (;;) {
        size_t room = max_frame - prefix_size;
        size_t part = size < room ? size : room;
        if (part == size) flags |= FN_FLAG_END_HEADERS;
        fn_frame_store(out->data + out->size, (uint32_t)(prefix_size + part), type, flags, stream_id);
        out->size += FN_H2_FRAME_HEAD;
        fn_buffer_append(out, prefix, prefix_size);
        fn_buffer_append(out, block, part);
        if (flags & FN_FLAG_END_HEADERS) return 0;
        block += part;
        size -= part;
        prefix_size = 0;
        flags = 0;
        type = FN_FRAME_CONTINUATION;
    }
}

#endif
