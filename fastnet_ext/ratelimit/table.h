/* A table from hashes of keys to 64 bits of state each, in memory of a fixed size, that many processes may share.
 *
 * A key may lie in two sets of eight slots; it is known by 63 bits of its hash, so that nothing of it is kept. The
 * table has two slots for each key it is made for: while the keys that are not expired are no more than that, each
 * finds a place. Beyond it a new key takes the place of the one that has used least of its limit. Never of one
 * that has used it up: those a flood of fresh keys cannot push out. If all sixteen have, the caller's policy decides.
 *
 * Nobody waits for anybody, and a process may die between any two steps. A slot is a pair of a tag and a state, and
 * changes only as a pair, by compare-and-swap: free (any tag, 0), living (tag, state), or claimed (tag, CLAIM | stamp),
 * where no stamp is used twice.
 *
 *   a hit       (K, s) -> (K, s'), and for a refusal s' = s: whatever happened since tag and state were looked at, at
 *               the moment of the swap K stood at s, and the answer is right for that moment.
 *   a new key   1. A free, expired or cheap slot -> (K, CLAIM | stamp), unless one of the sixteen is K's by now.
 *               2. Look at all sixteen. If K lives in one, drop K's claims: claimed -> free. Otherwise the first claim
 *                  counts and K's others are dropped, whoever made them.
 *               3. That claim -> (K, state with the first request in it).
 *               Whoever meets a claim of its own key takes steps 2 and 3 for it, so K never waits for who made it.
 *   giving back (K, s) -> (K, s - cost), which frees the slot if nothing is left.
 *
 * A key lives in one slot at most, so no request is admitted by a count that lacks others. Suppose that claim a, in slot
 * i, came alive, and then claim b, in slot j, while a's entry still lived. The looks of step 2 for b were begun when b
 * stood in j, and it stood there until it came alive.
 *   - If b's look at i saw a's entry, b was dropped. If it saw claim a, then a was dropped, or a's slot is the earlier
 *     one and b gave way. Neither leaves both to come alive.
 *   - If b's look at i was before a was made, all looks for a came later, and the one at j saw b: the same holds of it.
 * Tag and state are looked at one after the other, tag first: K's tag stands there for as long as claim and entry do.
 *
 * Of two claims the earlier slot's is kept, so claims do not drop each other in turns: one of them comes alive. A claim
 * that is left behind by a process that died is free for all after two seconds, and sooner for its own key.
 */
#ifndef FASTNET_RATELIMIT_TABLE_H
#define FASTNET_RATELIMIT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "fastnet_ext/ratelimit/slot.h"
#include "fastnet_ext/ratelimit/rules.h"

#ifndef FN_WAYS
#define FN_WAYS 8
#endif
#define FN_PLACES (2 * FN_WAYS)

/* A stamp: the second (of 2^30 ns) in 23 bits and a number in 40, which the same second does not see again. */
#define FN_CLAIM ((uint64_t)1 << 63)
#define FN_CLAIM_NUMBERS (((uint64_t)1 << 40) - 1)
#define FN_CLAIM_SECONDS (((uint64_t)1 << 23) - 1)
#define FN_CLAIM_LASTS ((uint64_t)2)

#define FN_NOBODY UINT64_MAX

typedef struct {
    fn_slot slots[FN_WAYS];
} fn_set;

/* What stands before the sets; zeros are an empty table. */
typedef struct {
    uint64_t evicted;   /* keys that lost what they had used, to make room */
    uint64_t full;      /* requests of keys that found no place */
    uint64_t claims;    /* begun ones: the next one's number */
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

static inline fn_places fn_places_of(const fn_table *t, uint64_t hash) {
    uint64_t first = hash >> 1 & t->mask, second = hash >> 32 & t->mask;
    fn_places at;
    if (second == first) second ^= 1;
    at.sets[0] = &t->sets[first];
    at.sets[1] = &t->sets[second];
    at.tag = hash | 1;
    /* All four lines at once: a table of millions of keys is in no cache. */
    __builtin_prefetch(at.sets[0], 1);
    __builtin_prefetch(at.sets[1], 1);
    __builtin_prefetch((char *)at.sets[0] + 64, 1);
    __builtin_prefetch((char *)at.sets[1] + 64, 1);
    return at;
}

static inline fn_slot *fn_slot_at(const fn_places *at, int i) { return &at->sets[i / FN_WAYS]->slots[i % FN_WAYS]; }

static inline int fn_change(const fn_places *at, fn_slot *slot, uint64_t state, uint64_t fresh) {
    fn_slot before = {at->tag, state}, after = {at->tag, fresh};
    return fn_swap(slot, before, after);
}

/* The slot in which the key lives, and its state, or NULL: as it seems, since others change what is looked at. */
static inline fn_slot *fn_find(const fn_places *at, uint64_t *state) {
    int i;
    for (i = 0; i < FN_PLACES; i++) {
        fn_slot *slot = fn_slot_at(at, i);
        if (__atomic_load_n(&slot->tag, __ATOMIC_RELAXED) != at->tag) continue;
        *state = fn_load(&slot->state);
        if (*state != 0 && !(*state & FN_CLAIM)) return slot;
    }
    return NULL;
}

static inline uint64_t fn_claim_of(uint64_t number, uint64_t now) {
    return FN_CLAIM | (now >> 30 & FN_CLAIM_SECONDS) << 40 | (number & FN_CLAIM_NUMBERS);
}

/* Whoever made it would have gone on long ago. A clock that stands a bit behind does not count as far ahead. */
static inline int fn_left_behind(uint64_t claim, uint64_t now) {
    uint64_t age = ((now >> 30) - (claim >> 40)) & FN_CLAIM_SECONDS;
    return age >= FN_CLAIM_LASTS && age <= FN_CLAIM_SECONDS - FN_CLAIM_LASTS;
}

/* How much would be lost with a state: 0 nothing, FN_NOBODY what may not be lost. */
static inline uint64_t fn_worth(const fn_rule *r, uint64_t state, uint64_t now) {
    fn_decision d;
    if (state == 0) return 0;
    if (state & FN_CLAIM) return fn_left_behind(state, now) ? 0 : FN_NOBODY;
    /* A cost that is never admitted: only to be told where the key stands. */
    fn_rule_step(r, state, now, r->most + 1, &d);
    if (d.reset == 0) return 0;
    if (d.left < d.unit) return FN_NOBODY;
    return r->kind == FN_METER ? d.reset : r->most - d.left + 1;
}

/* Step 1. 1: done; 0: somebody else was faster; -1: there is no place, and `retry` says for how long. */
static inline int fn_claim(fn_table *t, const fn_rule *r, const fn_places *at, uint64_t now, uint64_t *retry) {
    fn_slot seen[FN_PLACES], fresh;
    uint64_t best[2] = {FN_NOBODY, FN_NOBODY}, worth;
    int i, chosen[2] = {-1, -1}, unused[2] = {0, 0}, side;
    for (i = 0; i < FN_PLACES; i++) {
        side = i / FN_WAYS;
        seen[i].tag = fn_load(&fn_slot_at(at, i)->tag);
        seen[i].state = fn_load(&fn_slot_at(at, i)->state);
        if (seen[i].tag == at->tag && seen[i].state != 0) return 0;
        worth = fn_worth(r, seen[i].state, now);
        unused[side] += worth == 0;
        if (worth < best[side]) {
            best[side] = worth;
            chosen[side] = i;
        }
    }
    /* The emptier set, so that both fill alike; of two full ones that with the cheaper victim. */
    side = unused[0] != unused[1] ? unused[1] > unused[0] : best[1] < best[0];
    i = chosen[side];
    if (i < 0) {
        fn_decision d;
        *retry = UINT64_MAX;
        for (i = 0; i < FN_PLACES; i++) {
            if (seen[i].state & FN_CLAIM)
                d.retry = FN_CLAIM_LASTS << 30;
            else
                fn_rule_step(r, seen[i].state, now, 1, &d);
            if (d.retry < *retry) *retry = d.retry;
        }
        return -1;
    }
    fresh.tag = at->tag;
    fresh.state = fn_claim_of(__atomic_fetch_add(&t->head->claims, 1, __ATOMIC_RELAXED), now);
    if (!fn_swap(fn_slot_at(at, i), seen[i], fresh)) return 0;
    if (best[side] != 0) __atomic_fetch_add(&t->head->evicted, 1, __ATOMIC_RELAXED);
    return 1;
}

/* Steps 2 and 3. 1: the key lives, in `state`; 0: look again. */
static inline int fn_settle(const fn_places *at, uint64_t state) {
    uint64_t claim = 0, found;
    int i, first = FN_PLACES, lives = 0;
    for (i = 0; i < FN_PLACES; i++) {
        fn_slot *slot = fn_slot_at(at, i);
        if (i == first || fn_load(&slot->tag) != at->tag) continue;
        found = fn_load(&slot->state);
        if (!(found & FN_CLAIM)) {
            lives |= found != 0;
        } else if (i < first) {
            /* What counts are looks that are begun after this claim was seen. */
            first = i;
            claim = found;
            lives = 0;
            i = -1;
        } else if (!fn_change(at, slot, found, 0)) {
            i--;
        }
    }
    if (first == FN_PLACES) return 0;
    if (!lives) return fn_change(at, fn_slot_at(at, first), claim, state);
    fn_change(at, fn_slot_at(at, first), claim, 0);
    return 0;
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
            if (fn_change(&at, slot, state, next)) return;
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
    fn_slot *slot;
    while ((slot = fn_find(&at, &state)) != NULL && !fn_change(&at, slot, state, state)) {}
    fn_rule_step(r, slot == NULL ? 0 : state, now, cost, d);
}

/* Takes back a cost that was admitted a moment ago. */
static inline void fn_table_give_back(fn_table *t, const fn_rule *r, uint64_t hash, uint64_t now, uint64_t cost) {
    fn_places at = fn_places_of(t, hash);
    uint64_t state;
    fn_slot *slot;
    while ((slot = fn_find(&at, &state)) != NULL)
        if (fn_change(&at, slot, state, fn_rule_give_back(r, state, now, cost))) return;
}

#endif
