/* A slot: two words that change as one, by a compare-and-swap of 16 bytes, in memory that processes may share.
 *
 * In assembly, because GCC and clang call libatomic for it unless they are told which processor will run it, and
 * libatomic may use locks of one process. Every x86-64 since 2006 has CMPXCHG16B, every aarch64 LDAXP and STLXP.
 */
#ifndef FASTNET_RATELIMIT_SLOT_H
#define FASTNET_RATELIMIT_SLOT_H

#include <stdint.h>

/* Tests run something else here: each look at shared memory, and each change of it, comes after one. */
#ifndef FN_STEP
#define FN_STEP() ((void)0)
#endif

typedef struct {
    uint64_t tag, state;
} __attribute__((aligned(16))) fn_slot;

/* One word of a slot; looks are not reordered. Two looks are two points in time. */
static inline uint64_t fn_load(const uint64_t *word) {
    FN_STEP();
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* Whether `*slot` was `old`; then it is `fresh` now. A full barrier if so. */
static inline int fn_swap(fn_slot *slot, fn_slot old, fn_slot fresh) {
    FN_STEP();
#if defined(__x86_64__)
    unsigned char done;
    __asm__ __volatile__(
        "lock cmpxchg16b %[slot]"
        : "=@ccz"(done), [slot] "+m"(*slot), "+a"(old.tag), "+d"(old.state)
        : "b"(fresh.tag), "c"(fresh.state)
        : "memory"
    );
    return done;
#elif defined(__aarch64__)
    uint64_t tag, state;
    uint32_t lost;
    /* What is loaded is of one moment only if the store succeeds. Two halves of two moments that differ from `old` are
     * no harm: the slot was changed meanwhile, and whoever is told no looks again. */
    __asm__ __volatile__(
        "1: ldaxp %[tag], %[state], %[slot]\n"
        "   eor %[tag], %[tag], %[old_tag]\n"
        "   eor %[state], %[state], %[old_state]\n"
        "   orr %[tag], %[tag], %[state]\n"
        "   cbnz %[tag], 2f\n"
        "   stlxp %w[lost], %[fresh_tag], %[fresh_state], %[slot]\n"
        "   cbnz %w[lost], 1b\n"
        "   dmb ish\n"
        "2:"
        : [tag] "=&r"(tag), [state] "=&r"(state), [lost] "=&r"(lost), [slot] "+Q"(*slot)
        : [old_tag] "r"(old.tag), [old_state] "r"(old.state), [fresh_tag] "r"(fresh.tag), [fresh_state] "r"(fresh.state)
        : "memory"
    );
    return tag == 0;
#else
#error "rate limits need a compare-and-swap of 16 bytes, written for x86-64 and aarch64"
#endif
}

#endif
