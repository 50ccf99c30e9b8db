/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): with a key that nobody outside knows,
 * keys that collide cannot be found by trying. */
#ifndef FASTNET_RATELIMIT_SIPHASH_H
#define FASTNET_RATELIMIT_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#include "fastnet_ext/core/endian.h"

#define FN_ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))

#define FN_SIP_ROUND(a, b, c, d) \
    do { \
        a += b; c += d; b = FN_ROTATE(b, 13); d = FN_ROTATE(d, 16); b ^= a; d ^= c; a = FN_ROTATE(a, 32); \
        c += b; a += d; b = FN_ROTATE(b, 17); d = FN_ROTATE(d, 21); b ^= c; d ^= a; c = FN_ROTATE(c, 32); \
    } while (0)

static inline uint64_t fn_siphash(const uint64_t key[2], const void *data, size_t size) {
    const unsigned char *p = (const unsigned char *)data, *end = p + (size & ~(size_t)7);
    uint64_t a = key[0] ^ 0x736f6d6570736575u, b = key[1] ^ 0x646f72616e646f6du;
    uint64_t c = key[0] ^ 0x6c7967656e657261u, d = key[1] ^ 0x7465646279746573u;
    uint64_t word;
    size_t left = size & 7, i;
    for (; p < end; p += 8) {
        word = fn_load64_le(p);
        d ^= word;
        FN_SIP_ROUND(a, b, c, d);
        a ^= word;
    }
    word = (uint64_t)size << 56;
    for (i = 0; i < left; i++) word |= (uint64_t)p[i] << (8 * i);
    d ^= word;
    FN_SIP_ROUND(a, b, c, d);
    a ^= word;
    c ^= 0xff;
    FN_SIP_ROUND(a, b, c, d);
    FN_SIP_ROUND(a, b, c, d);
    FN_SIP_ROUND(a, b, c, d);
    return a ^ b ^ c ^ d;
}

#endif
