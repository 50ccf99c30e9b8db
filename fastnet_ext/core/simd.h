/* Which vectors the code of mask.h and utf8.h may use: what the compiler's target always has, and what the
 * processor turns out to have at run time.
 *
 * The processor is asked each time: libgcc and compiler-rt keep its answer in a constant word, so no state of
 * ours is needed, and asking costs a load. It is worth a call from FN_SIMD_WIDE bytes on.
 */
#ifndef FASTNET_CORE_SIMD_H
#define FASTNET_CORE_SIMD_H

#include <stddef.h>

#if defined(__x86_64__)
#define FN_SIMD_X86 1
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define FN_SIMD_ARM 1
#include <arm_neon.h>
#endif

#define FN_SIMD_WIDE 512

typedef enum {
    FN_SIMD_PLAIN, /* 64 bits at a time, in C */
    FN_SIMD_SSE2,
    FN_SIMD_AVX2,
    FN_SIMD_AVX512, /* F and BW */
    FN_SIMD_NEON,
    FN_SIMD_KINDS
} fn_simd;

#if defined(FN_SIMD_X86)
#define FN_SIMD_ALWAYS FN_SIMD_SSE2
#elif defined(FN_SIMD_ARM)
#define FN_SIMD_ALWAYS FN_SIMD_NEON
#else
#define FN_SIMD_ALWAYS FN_SIMD_PLAIN
#endif

static inline int fn_simd_has(fn_simd kind) {
#ifdef FN_SIMD_X86
    if (kind == FN_SIMD_AVX2) return __builtin_cpu_supports("avx2") != 0;
    if (kind == FN_SIMD_AVX512) return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
#endif
    return kind == FN_SIMD_PLAIN || kind == FN_SIMD_ALWAYS;
}

/* The best for this many bytes. */
static inline fn_simd fn_simd_for(size_t size) {
    (void)size;
#ifdef FN_SIMD_X86
    if (size >= FN_SIMD_WIDE) {
        if (fn_simd_has(FN_SIMD_AVX512)) return FN_SIMD_AVX512;
        if (fn_simd_has(FN_SIMD_AVX2)) return FN_SIMD_AVX2;
    }
#endif
    return FN_SIMD_ALWAYS;
}

#endif
