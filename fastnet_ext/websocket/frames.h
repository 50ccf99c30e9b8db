/* The frame header of RFC 6455, section 5.2: reading and writing, no state. */
#ifndef FASTNET_WEBSOCKET_FRAMES_H
#define FASTNET_WEBSOCKET_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fastnet_ext/core/endian.h"

#define FN_WS_HEADER_MAX 14
#define FN_WS_CONTROL_MAX 125

#define FN_WS_FIN 0x80
#define FN_WS_RSV1 0x40
#define FN_WS_RSV 0x70

typedef enum {
    FN_WS_CONTINUATION = 0x0,
    FN_WS_TEXT = 0x1,
    FN_WS_BINARY = 0x2,
    FN_WS_CLOSE = 0x8,
    FN_WS_PING = 0x9,
    FN_WS_PONG = 0xa
} fn_ws_opcode;

typedef struct {
    uint64_t size; /* of the payload */
    uint32_t key; /* as its bytes lie in memory; 0 when the frame is not masked */
    uint8_t opcode;
    uint8_t fin; /* 0 or 1 */
    uint8_t rsv; /* the three bits where they stand in the first byte */
    uint8_t masked; /* 0 or 1 */
} fn_ws_frame;

/* A session keeps the pieces of a header where the frame that it will be is going to stand. */
_Static_assert(sizeof(fn_ws_frame) >= FN_WS_HEADER_MAX, "a header does not fit its frame");

/* What can be wrong with a header by itself. */
typedef enum {
    FN_WS_OK = 0,
    FN_WS_RESERVED_OPCODE,
    FN_WS_FRAGMENTED_CONTROL,
    FN_WS_LONG_CONTROL,
    FN_WS_LONG_LENGTH, /* more bytes of length than the value needs */
    FN_WS_HUGE_LENGTH /* the top bit of 64 is set */
} fn_ws_fault;

/* How many bytes the header has that begins with these two: 2 to 14. */
static inline size_t fn_ws_header_size(const char *p) {
    uint8_t second = (uint8_t)p[1], length = second & 0x7f;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (second & 0x80 ? 4 : 0);
}

/* Read a complete header. `frame` is filled as far as the first fault. */
static inline fn_ws_fault fn_ws_read_header(const char *p, fn_ws_frame *frame) {
    uint8_t first = (uint8_t)p[0], second = (uint8_t)p[1], length = second & 0x7f;
    frame->opcode = first & 0x0f;
    frame->fin = first >> 7;
    frame->rsv = first & FN_WS_RSV;
    frame->masked = second >> 7;
    frame->key = 0;
    frame->size = length;
    p += 2;
    if ((frame->opcode & 7) > 2) return FN_WS_RESERVED_OPCODE;
    if (frame->opcode & 8) {
        if (!frame->fin) return FN_WS_FRAGMENTED_CONTROL;
        if (length > FN_WS_CONTROL_MAX) return FN_WS_LONG_CONTROL;
    } else if (length == 126) {
        frame->size = fn_load16(p);
        if (frame->size < 126) return FN_WS_LONG_LENGTH;
        p += 2;
    } else if (length == 127) {
        frame->size = fn_load64(p);
        if (frame->size >> 63) return FN_WS_HUGE_LENGTH;
        if (frame->size < 65536) return FN_WS_LONG_LENGTH;
        p += 8;
    }
    if (frame->masked) memcpy(&frame->key, p, 4);
    return FN_WS_OK;
}

/* Write a header of at most 14 bytes and return its size. `first` is the opcode with FN_WS_FIN and
 * FN_WS_RSV1 as wanted; `key` is NULL for a frame that is not masked. */
static inline size_t fn_ws_write_header(char *p, uint8_t first, uint64_t size, const uint32_t *key) {
    uint8_t masked = key != NULL ? 0x80 : 0;
    size_t written = 2;
    p[0] = (char)first;
    if (size < 126) {
        p[1] = (char)(masked | (uint8_t)size);
    } else if (size < 65536) {
        p[1] = (char)(masked | 126);
        fn_store16(p + 2, (uint16_t)size);
        written = 4;
    } else {
        p[1] = (char)(masked | 127);
        fn_store64(p + 2, size);
        written = 10;
    }
    if (key != NULL) {
        memcpy(p + written, key, 4);
        written += 4;
    }
    return written;
}

/* Whether a Close frame may carry this code: RFC 6455, section 7.4, and the IANA registry (1012 to 1014). */
static inline int fn_ws_close_code_allowed(unsigned code) {
    if (code >= 3000) return code <= 4999;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

#endif
