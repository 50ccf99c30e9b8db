/* Incremental UTF-8 validation: the well-formed sequences of RFC 3629, section 4.
 *
 * A state says what the next byte may be; text is complete in FN_UTF8_ACCEPT only.
 * The automaton rejects at the first byte that no continuation could make valid,
 * which is what "as soon as it can" means for a peer that sends text in pieces.
 */
#ifndef FASTNET_CORE_UTF8_H
#define FASTNET_CORE_UTF8_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fastnet_ext/core/simd.h"

typedef enum {
    FN_UTF8_ACCEPT = 0, /* between characters */
    FN_UTF8_ONE = 1, /* one continuation byte to come; two; three */
    FN_UTF8_TWO = 2,
    FN_UTF8_THREE = 3,
    FN_UTF8_AFTER_E0 = 4, /* then A0..BF: a shorter form exists below */
    FN_UTF8_AFTER_ED = 5, /* then 80..9F: surrogates above */
    FN_UTF8_AFTER_F0 = 6, /* then 90..BF: a shorter form exists below */
    FN_UTF8_AFTER_F4 = 7, /* then 80..8F: nothing above U+10FFFF */
    FN_UTF8_REJECT = 8
} fn_utf8_state;

/* For each state but ACCEPT: the range of its next byte, and the state after it. */
static const struct {
    uint8_t low, high, next;
} FN_UTF8_NEXT[8] = {
    {0x00, 0x7f, FN_UTF8_ACCEPT},
    {0x80, 0xbf, FN_UTF8_ACCEPT},
    {0x80, 0xbf, FN_UTF8_ONE},
    {0x80, 0xbf, FN_UTF8_TWO},
    {0xa0, 0xbf, FN_UTF8_ONE},
    {0x80, 0x9f, FN_UTF8_ONE},
    {0x90, 0xbf, FN_UTF8_TWO},
    {0x80, 0x8f, FN_UTF8_TWO},
};

/* The state after the first byte of a character. */
static inline uint8_t fn_utf8_lead(uint8_t byte) {
    if (byte < 0x80) return FN_UTF8_ACCEPT;
    if (byte < 0xc2) return FN_UTF8_REJECT;
    if (byte < 0xe0) return FN_UTF8_ONE;
    if (byte == 0xe0) return FN_UTF8_AFTER_E0;
    if (byte == 0xed) return FN_UTF8_AFTER_ED;
    if (byte < 0xf0) return FN_UTF8_TWO;
    if (byte == 0xf0) return FN_UTF8_AFTER_F0;
    if (byte < 0xf4) return FN_UTF8_THREE;
    if (byte == 0xf4) return FN_UTF8_AFTER_F4;
    return FN_UTF8_REJECT;
}

static inline uint8_t fn_utf8_step(uint8_t state, uint8_t byte) {
    if (state == FN_UTF8_ACCEPT) return fn_utf8_lead(byte);
    if (state == FN_UTF8_REJECT || byte < FN_UTF8_NEXT[state].low || byte > FN_UTF8_NEXT[state].high)
        return FN_UTF8_REJECT;
    return FN_UTF8_NEXT[state].next;
}

/* How many bytes at the front are ASCII: each kind of vectors finds whole blocks, the next smaller one the rest. */

static inline size_t fn_ascii_plain(const char *data, size_t size) {
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        if (word & 0x8080808080808080ULL) break;
    }
    while (i < size && (uint8_t)data[i] < 0x80) i++;
    return i;
}

#ifdef FN_SIMD_X86
static inline size_t fn_ascii_sse2(const char *data, size_t size) {
    size_t i = 0;
    int high;
    for (; i + 64 <= size; i += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(data + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(data + i + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(data + i + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(data + i + 48));
        if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)))) break;
    }
    for (; i + 16 <= size; i += 16) {
        high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(data + i)));
        if (high) return i + (size_t)__builtin_ctz((unsigned)high);
    }
    return i + fn_ascii_plain(data + i, size - i);
}

__attribute__((target("avx2"))) static size_t fn_ascii_avx2(const char *data, size_t size) {
    size_t i = 0;
    for (; i + 128 <= size; i += 128) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(data + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(data + i + 32));
        __m256i c = _mm256_loadu_si256((const __m256i *)(data + i + 64));
        __m256i d = _mm256_loadu_si256((const __m256i *)(data + i + 96));
        if (_mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)))) break;
    }
    return i;
}

__attribute__((target("avx512f,avx512bw"))) static size_t fn_ascii_avx512(const char *data, size_t size) {
    size_t i = 0;
    for (; i + 128 <= size; i += 128) {
        __m512i a = _mm512_loadu_si512(data + i);
        __m512i b = _mm512_loadu_si512(data + i + 64);
        if (_mm512_movepi8_mask(_mm512_or_si512(a, b))) break;
    }
    return i;
}
#elif defined(FN_SIMD_ARM)
static inline size_t fn_ascii_neon(const char *data, size_t size) {
    size_t i = 0;
    for (; i + 16 <= size; i += 16)
        if (vmaxvq_u8(vld1q_u8((const uint8_t *)data + i)) >= 0x80) break;
    return i + fn_ascii_plain(data + i, size - i);
}
#endif

static inline size_t fn_ascii_prefix(fn_simd kind, const char *data, size_t size) {
#ifdef FN_SIMD_X86
    size_t i = 0;
    if (kind != FN_SIMD_PLAIN) {
        if (kind == FN_SIMD_AVX512)
            i = fn_ascii_avx512(data, size);
        else if (kind == FN_SIMD_AVX2)
            i = fn_ascii_avx2(data, size);
        return i + fn_ascii_sse2(data + i, size - i);
    }
#elif defined(FN_SIMD_ARM)
    if (kind == FN_SIMD_NEON) return fn_ascii_neon(data, size);
#endif
    (void)kind;
    return fn_ascii_plain(data, size);
}

static inline int fn_is_ascii(const char *data, size_t size) {
    return fn_ascii_prefix(fn_simd_for(size), data, size) == size;
}

/* The length (2 to 4) of the well-formed character of several bytes at p, of which
 * four can be read; 0 when it is not well-formed. */
static inline int fn_utf8_character(const uint8_t *p) {
    uint8_t second = p[1];
    if (p[0] < 0xe0) return p[0] >= 0xc2 && (second & 0xc0) == 0x80 ? 2 : 0;
    if ((p[2] & 0xc0) != 0x80) return 0;
    if (p[0] < 0xf0) {
        if (p[0] == 0xe0) return second >= 0xa0 && second <= 0xbf ? 3 : 0;
        if (p[0] == 0xed) return second >= 0x80 && second <= 0x9f ? 3 : 0;
        return (second & 0xc0) == 0x80 ? 3 : 0;
    }
    if ((p[3] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xf0) return second >= 0x90 && second <= 0xbf ? 4 : 0;
    if (p[0] == 0xf4) return second >= 0x80 && second <= 0x8f ? 4 : 0;
    return p[0] < 0xf4 && (second & 0xc0) == 0x80 ? 4 : 0;
}

/* The state after `size` more bytes; FN_UTF8_REJECT as soon as one of them cannot be. ASCII is skipped with vectors
 * that the machine has. */
static uint8_t fn_utf8_check_with(fn_simd kind, const char *data, size_t size, uint8_t state) {
    const uint8_t *p = (const uint8_t *)data, *end = p + size;
    int length;
    while (p < end) {
        if (state == FN_UTF8_ACCEPT) {
            if (*p < 0x80) {
                p += fn_ascii_prefix(kind, (const char *)p, (size_t)(end - p));
                if (p == end) break;
            }
            while (end - p >= 4 && *p >= 0x80) {
                length = fn_utf8_character(p);
                if (length == 0) return FN_UTF8_REJECT;
                p += length;
            }
            if (p == end) break;
        }
        state = fn_utf8_step(state, *p++);
        if (state == FN_UTF8_REJECT) break;
    }
    return state;
}

static inline uint8_t fn_utf8_check(const char *data, size_t size, uint8_t state) {
    return fn_utf8_check_with(fn_simd_for(size), data, size, state);
}

#endif
