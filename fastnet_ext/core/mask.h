/* XOR with a repeating key of four bytes: the masking of RFC 6455, section 5.3.
 *
 * A key is held as its four bytes lie in memory (memcpy into a uint32_t), never
 * as a number, so the code is the same on either byte order. Loads and stores
 * are unaligned: no head or tail is treated apart for alignment's sake.
 */
#ifndef FASTNET_CORE_MASK_H
#define FASTNET_CORE_MASK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define FN_MASK_X86 1
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define FN_MASK_NEON 1
#include <arm_neon.h>
#endif

/* From here on AVX2 saves more than the call and the test of the processor cost. */
#define FN_MASK_WIDE 512

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

#ifdef FN_MASK_X86
/* Whole blocks of 128 bytes; returns how many bytes are done (a multiple of 4). */
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
#endif

/* to[i] = from[i] ^ key[i % 4]. `to` is `from`, or does not overlap it. */
static inline void fn_mask_copy(char *to, const char *from, size_t size, uint32_t key) {
    uint64_t twice = ((uint64_t)key << 32) | key, word;
    uint32_t half;
    char bytes[4];
    size_t i = 0;
#ifdef FN_MASK_X86
    /* The processor is asked each time: libgcc keeps the answer in a constant word, so no state of ours is needed. */
    if (size >= FN_MASK_WIDE && __builtin_cpu_supports("avx2")) i = fn_mask_avx2(to, from, size, key);
    {
        const __m128i wide = _mm_set1_epi32((int)key);
        for (; i + 16 <= size; i += 16)
            _mm_storeu_si128((__m128i *)(to + i), _mm_xor_si128(_mm_loadu_si128((const __m128i *)(from + i)), wide));
    }
#elif defined(FN_MASK_NEON)
    {
        const uint8x16_t wide = vreinterpretq_u8_u32(vdupq_n_u32(key));
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
    }
#endif
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

static inline void fn_mask(char *data, size_t size, uint32_t key) {
    fn_mask_copy(data, data, size, key);
}

#endif
