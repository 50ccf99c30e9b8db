/* Path segments: where one ends, and the hash under which a static one is found. */
#ifndef FASTNET_ROUTING_SEGMENTS_H
#define FASTNET_ROUTING_SEGMENTS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FN_NOWHERE UINT32_MAX
#define FN_STAGE_TAIL UINT32_MAX

#define FN_ONES 0x0101010101010101ULL
#define FN_HIGH 0x8080808080808080ULL

/* Non-zero exactly when some byte of w is zero. */
#define FN_ZERO_BYTE(w) (((w) - FN_ONES) & ~(w) & FN_HIGH)

/* The first '/' at or after p, or `end`; *escaped is set when a '%' comes before it. */
static inline const char *fn_segment_end(const char *p, const char *end, int *escaped) {
    *escaped = 0;
    for (;;) {
        const char *stop = end;
        if (end - p >= 8) {
            uint64_t w;
            memcpy(&w, p, 8);
            stop = p + 8;
            if (!(FN_ZERO_BYTE(w ^ (FN_ONES * '/')) | FN_ZERO_BYTE(w ^ (FN_ONES * '%')))) {
                p = stop;
                continue;
            }
        }
        for (; p < stop; p++) {
            if (*p == '/') return p;
            if (*p == '%') *escaped = 1;
        }
        if (p == end) return p;
    }
}

/* A hash of a node and a segment. Keys are chosen by whoever registers routes and the table is at
 * most half full, so a peer cannot make a probe long; it need not resist collisions. */
static inline uint64_t fn_segment_hash(uint32_t node, const char *p, size_t size) {
    uint64_t h = (node + 1) * 0x9e3779b97f4a7c15ULL ^ size;
    uint64_t w = 0;
    while (size >= 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdULL;
        h ^= h >> 32;
        p += 8;
        size -= 8;
    }
    if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, p, 4);
        memcpy(&last, p + size - 4, 4);
        w = (uint64_t)first << 32 | last;
    } else if (size) {
        /* One to three bytes: the first, the middle and the last cover them all. */
        w = (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[size >> 1] << 8 | (unsigned char)p[size - 1];
    } else {
        w = 0;
    }
    h = (h ^ w) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ h >> 29;
}

#endif
