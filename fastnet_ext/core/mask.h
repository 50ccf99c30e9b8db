/* XOR with a repeating key of four bytes: the masking of RFC 6455, section 5.3.
 *
 * A key is held as its four bytes lie in memory (memcpy into a uint32_t), never
 * as a number, so the code is the same on either byte order. Loads and stores
 * are unaligned: no head or tail is treated apart for alignment's sake.
 *
 * Each kind of vectors takes whole blocks, a multiple of four bytes, and leaves
 * the rest to a smaller one; plain C ends it.
 */
#ifndef FASTNET_CORE_MASK_H
#define FASTNET_CORE_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fastnet_ext/core/simd.h"

/* The key for data that begins `by` bytes further into the payload. */
static inline uint32_t fn_mask_rotate(uint32_t key, size_t by) {
    unsigned shift = (unsigned)(by & 3) * 8;
    if (shift == 0) return key;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (key << shift) | (key >> (32 - shift));
#else
    return (key >> shift) | (key << (32 - shift));
#endif
}

static inline void fn_mask_plain(char *to, const char *from, size_t size, uint32_t key) {
    uint64_t twice = ((uint64_t)key << 32) | key, word;
    uint32_t half;
    char bytes[4];
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= twice;
        memcpy(to + i, &word, 8);
    }
    if (i + 4 <= size) {
        memcpy(&half, from + i, 4);
        half ^= key;
        memcpy(to + i, &half, 4);
        i += 4;
    }
    memcpy(bytes, &key, 4);
    for (; i < size; i++) to[i] = (char)(from[i] ^ bytes[i & 3]);
}

#ifdef FN_SIMD_X86
static inline size_t fn_mask_sse2(char *to, const char *from, size_t size, uint32_t key) {
    const __m128i wide = _mm_set1_epi32((int)key);
    size_t i;
    for (i = 0; i + 16 <= size; i += 16)
        _mm_storeu_si128((__m128i *)(to + i), _mm_xor_si128(_mm_loadu_si128((const __m128i *)(from + i)), wide));
    return i;
}

__attribute__((target("avx2"))) static size_t fn_mask_avx2(char *to, const char *from, size_t size, uint32_t key) {
    const __m256i wide = _mm256_set1_epi32((int)key);
    size_t i;
    for (i = 0; i + 128 <= size; i += 128) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(from + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(from + i + 32));
        __m256i c = _mm256_loadu_si256((const __m256i *)(from + i + 64));
        __m256i d = _mm256_loadu_si256((const __m256i *)(from + i + 96));
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_xor_si256(a, wide));
        _mm256_storeu_si256((__m256i *)(to + i + 32), _mm256_xor_si256(b, wide));
        _mm256_storeu_si256((__m256i *)(to + i + 64), _mm256_xor_si256(c, wide));
        _mm256_storeu_si256((__m256i *)(to + i + 96), _mm256_xor_si256(d, wide));
    }
    return i;
}

__attribute__((target("avx512f"))) static size_t fn_mask_avx512(char *to, const char *from, size_t size, uint32_t key) {
    const __m512i wide = _mm512_set1_epi32((int)key);
    size_t i;
    for (i = 0; i + 128 <= size; i += 128) {
        __m512i a = _mm512_loadu_si512(from + i);
        __m512i b = _mm512_loadu_si512(from + i + 64);
        _mm512_storeu_si512(to + i, _mm512_xor_si512(a, wide));
        _mm512_storeu_si512(to + i + 64, _mm512_xor_si512(b, wide));
    }
    return i;
}
#elif defined(FN_SIMD_ARM)
static inline size_t fn_mask_neon(char *to, const char *from, size_t size, uint32_t key) {
    const uint8x16_t wide = vreinterpretq_u8_u32(vdupq_n_u32(key));
    size_t i = 0;
    for (; i + 64 <= size; i += 64) {
        uint8x16_t a = vld1q_u8((const uint8_t *)from + i), b = vld1q_u8((const uint8_t *)from + i + 16);
        uint8x16_t c = vld1q_u8((const uint8_t *)from + i + 32), d = vld1q_u8((const uint8_t *)from + i + 48);
        vst1q_u8((uint8_t *)to + i, veorq_u8(a, wide));
        vst1q_u8((uint8_t *)to + i + 16, veorq_u8(b, wide));
        vst1q_u8((uint8_t *)to + i + 32, veorq_u8(c, wide));
        vst1q_u8((uint8_t *)to + i + 48, veorq_u8(d, wide));
    }
    for (; i + 16 <= size; i += 16)
        vst1q_u8((uint8_t *)to + i, veorq_u8(vld1q_u8((const uint8_t *)from + i), wide));
    return i;
}
#endif

/* to[i] = from[i] ^ key[i % 4], with vectors that the machine has. */
static inline void fn_mask_with(fn_simd kind, char *to, const char *from, size_t size, uint32_t key) {
    size_t done = 0;
    (void)kind;
#ifdef FN_SIMD_X86
    if (kind == FN_SIMD_AVX512)
        done = fn_mask_avx512(to, from, size, key);
    else if (kind == FN_SIMD_AVX2)
        done = fn_mask_avx2(to, from, size, key);
    if (kind != FN_SIMD_PLAIN) done += fn_mask_sse2(to + done, from + done, size - done, key);
#elif defined(FN_SIMD_ARM)
    if (kind == FN_SIMD_NEON) done = fn_mask_neon(to, from, size, key);
#endif
    fn_mask_plain(to + done, from + done, size - done, key);
}

/* `to` is `from`, or does not overlap it. */
static inline void fn_mask_copy(char *to, const char *from, size_t size, uint32_t key) {
    fn_mask_with(fn_simd_for(size), to, from, size, key);
}

static inline void fn_mask(char *data, size_t size, uint32_t key) {
    fn_mask_copy(data, data, size, key);
}

#endif
