/* A table from hashes of keys to 64 bits of state each, in memory of a fixed size, that many processes may share.
 *
 * A key may lie in two sets of eight slots; it is known by 63 bits of its hash, so that nothing of it is kept. The
 * table has two slots for each key it is made for: while the keys that are not expired are no more than that, each
 * finds a place. Beyond it a new key takes the place of the one that has used least of its limit. Never of one
 * that has used it up: those a flood of fresh keys cannot push out. If all sixteen have, the caller's policy decides.
 *
 * Nobody waits for anybody: all changes are made by compare-and-swap, and a process may die between any two of them.
 *
 *   a hit       state: s -> s'. The state was read while the tag was the key's; whoever takes the slot for another key
 *               changes the state first, so the swap fails.
 *   a new key   1. state: expired (or the victim's) -> CLAIM(key). From here on the slot is not the old key's.
 *               2. look at all sixteen slots. If one is the key's, drop all claims and use it. Otherwise the first
 *                  claim counts and the others are dropped, whoever made them.
 *               3. tag: old -> key's, state: CLAIM(key) -> state with the first request in it.
 *               Whoever finds a claim of its own key goes on with step 2 itself. Two slots never get the same key:
 *               each claims before it looks, so of two at least one sees the other's claim or what became of it.
 *               Claims are numbered: one that was dropped and made again meanwhile is not the one that was seen.
 *
 * Not closed yet: a process may stand still between its last look at a claim and its change of the tag. When the claim
 * is dropped meanwhile, and the slot is taken by the very key that had it before, that key's count gets the other's
 * tag. Both words would have to be swapped as one.
 */
#ifndef FASTNET_RATELIMIT_TABLE_H
#define FASTNET_RATELIMIT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "fastnet_ext/ratelimit/rules.h"

#define FN_WAYS 8
#define FN_CLAIM ((uint64_t)1 << 63)
/* A claim's number, in place of bits of the hash that say in which set the key is in all but small tables. */
#define FN_CLAIM_NUMBER ((uint64_t)0xffff)
#define FN_NOBODY UINT64_MAX

typedef struct {
    uint64_t tag;       /* 0: never used */
    uint64_t state;     /* 0: free; FN_CLAIM set: being taken */
} fn_slot;

typedef struct {
    fn_slot slots[FN_WAYS];
} fn_set;

/* What stands before the sets; zeros are an empty table. */
typedef struct {
    uint64_t evicted;   /* keys that lost what they had used, to make room */
    uint64_t full;      /* requests of keys that found no place */
    uint64_t claims;    /* how many were made: the next one's number */
    uint64_t unused[5];
} fn_table_head;

typedef struct {
    fn_table_head *head;
    fn_set *sets;
    uint64_t mask;
    int admit_when_full;
} fn_table;

/* The two sets of a key, in the order in which everybody looks at them. */
typedef struct {
    fn_set *sets[2];
    uint64_t tag;
} fn_places;

static inline uint64_t fn_table_sets(uint64_t keys) {
    uint64_t sets = 2;
    while (sets * FN_WAYS < 2 * keys) sets *= 2;
    return sets;
}

static inline uint64_t fn_table_size(uint64_t keys) {
    return sizeof(fn_table_head) + fn_table_sets(keys) * sizeof(fn_set);
}

static inline uint64_t fn_load(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }

static inline int fn_swap(uint64_t *p, uint64_t old, uint64_t fresh) {
    return __atomic_compare_exchange_n(p, &old, fresh, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline fn_places fn_places_of(const fn_table *t, uint64_t hash) {
    uint64_t first = hash >> 1 & t->mask, second = hash >> 32 & t->mask;
    fn_places at;
    if (second == first) second ^= 1;
    at.sets[0] = &t->sets[first];
    at.sets[1] = &t->sets[second];
    at.tag = hash | 1;
    /* All four lines at once: a table of millions of keys is in no cache. */
    __builtin_prefetch(&at.sets[0]->slots[0], 1);
    __builtin_prefetch(&at.sets[1]->slots[0], 1);
    __builtin_prefetch(&at.sets[0]->slots[4], 1);
    __builtin_prefetch(&at.sets[1]->slots[4], 1);
    return at;
}

static inline fn_slot *fn_slot_at(const fn_places *at, int i) { return &at->sets[i / FN_WAYS]->slots[i % FN_WAYS]; }

/* The key's slot and what it holds, or NULL. */
static inline fn_slot *fn_find(const fn_places *at, uint64_t *state) {
    int i;
    for (i = 0; i < 2 * FN_WAYS; i++) {
        fn_slot *slot = fn_slot_at(at, i);
        if (__atomic_load_n(&slot->tag, __ATOMIC_RELAXED) != at->tag) continue;
        *state = fn_load(&slot->state);
        if (*state != 0 && !(*state & FN_CLAIM) && fn_load(&slot->tag) == at->tag) return slot;
    }
    return NULL;
}

/* What every claim of a key has, whatever its number. */
static inline uint64_t fn_claim_of(const fn_places *at) { return FN_CLAIM | (at->tag >> 1 & ~FN_CLAIM_NUMBER); }

/* How much would be lost with a state: 0 nothing, FN_NOBODY what may not be lost. */
static inline uint64_t fn_worth(const fn_rule *r, uint64_t state, uint64_t now) {
    fn_decision d;
    if (state == 0) return 0;
    if (state & FN_CLAIM) return FN_NOBODY;
    /* A cost that is never admitted: only to be told where the key stands. */
    fn_rule_step(r, state, now, r->most + 1, &d);
    if (d.reset == 0) return 0;
    if (d.left < d.unit) return FN_NOBODY;
    return r->kind == FN_METER ? d.reset : r->most - d.left + 1;
}

/* Claims a slot for the key. 1: done; 0: somebody else was faster; -1: there is none, and `retry` says for how long. */
static inline int fn_claim(fn_table *t, const fn_rule *r, const fn_places *at, uint64_t now, uint64_t *retry) {
    uint64_t states[2 * FN_WAYS], best[2] = {FN_NOBODY, FN_NOBODY}, worth;
    int i, chosen[2] = {-1, -1}, unused[2] = {0, 0}, side;
    for (i = 0; i < 2 * FN_WAYS; i++) {
        side = i / FN_WAYS;
        states[i] = fn_load(&fn_slot_at(at, i)->state);
        worth = fn_worth(r, states[i], now);
        unused[side] += worth == 0;
        if (worth < best[side]) {
            best[side] = worth;
            chosen[side] = i;
        }
    }
    /* The emptier set, so that both fill alike; of two full ones that with the cheaper victim. */
    side = unused[0] != unused[1] ? unused[1] > unused[0] : best[1] < best[0];
    if (chosen[side] < 0) {
        fn_decision d;
        *retry = UINT64_MAX;
        for (i = 0; i < 2 * FN_WAYS; i++) {
            if (states[i] & FN_CLAIM) continue;
            fn_rule_step(r, states[i], now, 1, &d);
            if (d.retry < *retry) *retry = d.retry;
        }
        if (*retry == UINT64_MAX) return 0;
        return -1;
    }
    i = chosen[side];
    uint64_t number = __atomic_fetch_add(&t->head->claims, 1, __ATOMIC_RELAXED) & FN_CLAIM_NUMBER;
    if (!fn_swap(&fn_slot_at(at, i)->state, states[i], fn_claim_of(at) | number)) return 0;
    if (best[side] != 0) __atomic_fetch_add(&t->head->evicted, 1, __ATOMIC_RELAXED);
    return 1;
}

/* Step 2 and 3. 1: the key has a slot that holds `state`; 0: look again. */
static inline int fn_settle(const fn_places *at, uint64_t state) {
    uint64_t claim = fn_claim_of(at), first_claim = 0, found, tag;
    fn_slot *first = NULL;
    int i, lives = 0;
    for (i = 0; i < 2 * FN_WAYS; i++) {
        fn_slot *slot = fn_slot_at(at, i);
        found = fn_load(&slot->state);
        if ((found & ~FN_CLAIM_NUMBER) == claim) {
            if (first == NULL) {
                first = slot;
                first_claim = found;
            } else if (!fn_swap(&slot->state, found, 0)) {
                return 0;
            }
        } else if (found != 0 && !(found & FN_CLAIM) && fn_load(&slot->tag) == at->tag) {
            lives = 1;
        }
    }
    if (first == NULL) return 0;
    if (lives) {
        fn_swap(&first->state, first_claim, 0);
        return 0;
    }
    tag = fn_load(&first->tag);
    /* Who dropped the claim may have given the slot to another key, whose tag is not ours to change. */
    if (fn_load(&first->state) != first_claim) return 0;
    if (tag != at->tag) fn_swap(&first->tag, tag, at->tag);
    return fn_swap(&first->state, first_claim, state);
}

/* Asks for `cost` and takes it when it is admitted. */
static inline void fn_table_hit(
    fn_table *t, const fn_rule *r, uint64_t hash, uint64_t now, uint64_t cost, fn_decision *d
) {
    fn_places at = fn_places_of(t, hash);
    uint64_t state = 0, next, retry;
    for (;;) {
        fn_slot *slot = fn_find(&at, &state);
        if (slot != NULL) {
            next = fn_rule_step(r, state, now, cost, d);
            if (d->verdict != FN_ADMIT || fn_swap(&slot->state, state, next)) return;
            continue;
        }
        next = fn_rule_step(r, 0, now, cost, d);
        if (d->verdict != FN_ADMIT) return;
        if (fn_claim(t, r, &at, now, &retry) < 0) {
            __atomic_fetch_add(&t->head->full, 1, __ATOMIC_RELAXED);
            if (t->admit_when_full) return;
            d->verdict = FN_REFUSE;
            d->retry = retry;
            d->left = 0;
            d->reset = retry;
            return;
        }
        if (fn_settle(&at, next)) return;
    }
}

/* What `fn_table_hit` would decide. */
static inline void fn_table_peek(
    const fn_table *t, const fn_rule *r, uint64_t hash, uint64_t now, uint64_t cost, fn_decision *d
) {
    fn_places at = fn_places_of(t, hash);
    uint64_t state = 0;
    if (fn_find(&at, &state) == NULL) state = 0;
    fn_rule_step(r, state, now, cost, d);
}

/* Takes back a cost that was admitted a moment ago. */
static inline void fn_table_give_back(fn_table *t, const fn_rule *r, uint64_t hash, uint64_t now, uint64_t cost) {
    fn_places at = fn_places_of(t, hash);
    uint64_t state;
    fn_slot *slot;
    while ((slot = fn_find(&at, &state)) != NULL)
        if (fn_swap(&slot->state, state, fn_rule_give_back(r, state, now, cost))) return;
}

#endif
