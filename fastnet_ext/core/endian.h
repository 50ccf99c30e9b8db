/* Big-endian loads and stores of unaligned memory, and decimal and hex output. */
#ifndef FASTNET_CORE_ENDIAN_H
#define FASTNET_CORE_ENDIAN_H

#include <stdint.h>
#include <string.h>

static inline uint16_t fn_load16(const void *p) {
    const uint8_t *b = (const uint8_t *)p;
    return (uint16_t)((b[0] << 8) | b[1]);
}

static inline uint32_t fn_load24(const void *p) {
    const uint8_t *b = (const uint8_t *)p;
    return ((uint32_t)b[0] << 16) | ((uint32_t)b[1] << 8) | b[2];
}

static inline uint32_t fn_load32(const void *p) {
    const uint8_t *b = (const uint8_t *)p;
    return ((uint32_t)b[0] << 24) | ((uint32_t)b[1] << 16) | ((uint32_t)b[2] << 8) | b[3];
}

static inline uint64_t fn_load64(const void *p) {
    return ((uint64_t)fn_load32(p) << 32) | fn_load32((const char *)p + 4);
}

static inline void fn_store16(void *p, uint16_t v) {
    uint8_t *b = (uint8_t *)p;
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}

static inline void fn_store24(void *p, uint32_t v) {
    uint8_t *b = (uint8_t *)p;
    b[0] = (uint8_t)(v >> 16);
    b[1] = (uint8_t)(v >> 8);
    b[2] = (uint8_t)v;
}

static inline void fn_store32(void *p, uint32_t v) {
    fn_store16(p, (uint16_t)(v >> 16));
    fn_store16((char *)p + 2, (uint16_t)v);
}

static inline void fn_store64(void *p, uint64_t v) {
    fn_store32(p, (uint32_t)(v >> 32));
    fn_store32((char *)p + 4, (uint32_t)v);
}

/* Little-endian, unlike the rest: what was put together from its lowest byte on. */
static inline uint64_t fn_load64_le(const void *p) {
    uint64_t v;
    memcpy(&v, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline void fn_store64_le(void *p, uint64_t v) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, 8);
}

/* Decimal digits of v at out (20 bytes at most); returns how many. */
static inline int fn_store_decimal(char *out, uint64_t v) {
    uint64_t bound = 10;
    int n = 1, i;
    while (n < 20 && v >= bound) {
        n++;
        bound *= 10;
    }
    for (i = n - 1; i >= 0; i--) {
        out[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return n;
}

/* Lower-case hex digits of v at out (16 bytes at most); returns how many. */
static inline int fn_store_hex(char *out, uint64_t v) {
    int n = 1, i;
    while (n < 16 && (v >> (4 * n))) n++;
    for (i = 0; i < n; i++) out[i] = "0123456789abcdef"[(v >> (4 * (n - 1 - i))) & 15];
    return n;
}

/* The same with leading zeros: always 16 digits. */
static inline void fn_store_hex16(char *out, uint64_t v) {
    int half;
    for (half = 0; half < 2; half++) {
        /* A byte for each of eight digits, the first one lowest; those above 9 are letters. */
        uint64_t x = (uint32_t)(half ? v : v >> 32), letters;
        x = ((x & 0xffff) << 32) | (x >> 16);
        x = ((x & 0x000000ff000000ffULL) << 16) | ((x >> 8) & 0x000000ff000000ffULL);
        x = ((x & 0x000f000f000f000fULL) << 8) | ((x >> 4) & 0x000f000f000f000fULL);
        letters = ((x + 0x0606060606060606ULL) >> 4) & 0x0101010101010101ULL;
        x += 0x3030303030303030ULL + letters * ('a' - '0' - 10);
        fn_store64_le(out + 8 * half, x);
    }
}

#endif
