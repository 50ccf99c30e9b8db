/* The base64 of gRPC-Web's text format: a stream of groups of four, any of which may be padded. */
#ifndef FASTNET_GRPC_WEB_H
#define FASTNET_GRPC_WEB_H

#include <stddef.h>
#include <stdint.h>

#include "fastnet_ext/core/buffer.h"
#include "fastnet_ext/grpc/fields.h"

/* A group that is not complete: `have` digits, whose bits are in `bits`, then `pads` signs of padding.
 * have + pads < 4, and pads only after two or three digits. All zero: between groups. */
typedef struct {
    uint32_t bits;
    uint8_t have;
    uint8_t pads;
} fn_grpc_web_group;

/* Append what a piece of the text stands for. 0; -1 when memory is out; 1 at what is not base64: what
 * stands before it is appended. Bits beyond the last byte of a padded group are not looked at. */
static inline int fn_grpc_web_decode(fn_grpc_web_group *group, fn_buffer *out, const char *p, size_t size) {
    char *to;
    size_t i;
    if (size == 0) return 0;
    if (fn_buffer_reserve(out, size / 4 * 3 + 3) < 0) return -1;
    to = out->data + out->size;
    for (i = 0; i < size; i++) {
        if (p[i] == '=') {
            if (group->have < 2) break;
            group->bits <<= 6;
            group->pads++;
        } else {
            int digit = group->pads ? -1 : fn_grpc_base64_digit(p[i]);
            if (digit < 0) break;
            group->bits = group->bits << 6 | (uint32_t)digit;
            group->have++;
        }
        if (group->have + group->pads == 4) {
            *to++ = (char)(group->bits >> 16 & 0xff);
            if (group->pads < 2) *to++ = (char)(group->bits >> 8 & 0xff);
            if (group->pads < 1) *to++ = (char)(group->bits & 0xff);
            group->bits = group->have = group->pads = 0;
        }
    }
    out->size = (size_t)(to - out->data);
    return i < size;
}

/* Append bytes as base64 with padding, which the next ones may follow. 0, or -1 when memory is out. */
static inline int fn_grpc_web_encode(fn_buffer *out, const char *p, size_t size) {
    size_t pads = (3 - size % 3) % 3;
    if (fn_grpc_base64_encode(out, p, size) < 0) return -1;
    return fn_buffer_append(out, "==", pads);
}

#endif
