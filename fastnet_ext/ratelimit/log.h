/* The sliding log: the times of all that was admitted within the last period, for each key; of one process.
 *
 * Placement and displacement are those of table.h; a slot has its log of `most` times behind it.
 */
#ifndef FASTNET_RATELIMIT_LOG_H
#define FASTNET_RATELIMIT_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "fastnet_ext/ratelimit/rules.h"
#include "fastnet_ext/ratelimit/table.h"

typedef struct {
    uint64_t tag;
    uint32_t first;         /* the oldest time's place; they go round */
    uint32_t used;          /* times */
    uint64_t times[];       /* `most` of them, never going down */
} fn_log;

typedef struct {
    char *logs;
    size_t stride;          /* bytes of a log */
    uint64_t mask;          /* of the sets */
    uint64_t most, period;
    uint64_t evicted, full;
    int admit_when_full;
} fn_log_table;

static inline size_t fn_log_stride(uint64_t most) { return sizeof(fn_log) + (size_t)most * sizeof(uint64_t); }

static inline uint64_t fn_log_size(uint64_t keys, uint64_t most) {
    return fn_table_sets(keys) * FN_WAYS * fn_log_stride(most);
}

static inline uint64_t fn_log_time(const fn_log_table *t, const fn_log *log, uint64_t i) {
    return log->times[(log->first + i) % t->most];
}

/* Forgets what has left the window: a time counts until a period has passed since. */
static inline void fn_log_trim(const fn_log_table *t, fn_log *log, uint64_t now) {
    while (log->used && log->times[log->first] + t->period <= now) {
        log->first = (uint32_t)((log->first + 1) % t->most);
        log->used--;
    }
}

static inline fn_log *fn_log_at(const fn_log_table *t, uint64_t hash, int i) {
    uint64_t first = hash >> 1 & t->mask, second = hash >> 32 & t->mask, set;
    if (second == first) second ^= 1;
    set = i < FN_WAYS ? first : second;
    return (fn_log *)(t->logs + (set * FN_WAYS + i % FN_WAYS) * t->stride);
}

static inline fn_log *fn_log_find(const fn_log_table *t, uint64_t hash, uint64_t now) {
    int i;
    for (i = 0; i < 2 * FN_WAYS; i++) {
        fn_log *log = fn_log_at(t, hash, i);
        if (log->tag != (hash | 1)) continue;
        fn_log_trim(t, log, now);
        return log;
    }
    return NULL;
}

/* A log for a new key, or NULL when all that it may have are used up: then `retry` says for how long. */
static inline fn_log *fn_log_take(fn_log_table *t, uint64_t hash, uint64_t now, uint64_t *retry) {
    fn_log *best[2] = {NULL, NULL}, *log;
    int i, side, unused[2] = {0, 0};
    *retry = UINT64_MAX;
    for (i = 0; i < 2 * FN_WAYS; i++) {
        log = fn_log_at(t, hash, i);
        side = i / FN_WAYS;
        fn_log_trim(t, log, now);
        unused[side] += log->used == 0;
        if (log->used == t->most) {
            uint64_t wait = log->times[log->first] + t->period - now;
            if (wait < *retry) *retry = wait;
        } else if (best[side] == NULL || log->used < best[side]->used) {
            best[side] = log;
        }
    }
    if (unused[0] != unused[1])
        side = unused[1] > unused[0];
    else
        side = best[0] == NULL || (best[1] != NULL && best[1]->used < best[0]->used);
    log = best[side];
    if (log == NULL) {
        t->full++;
        return NULL;
    }
    t->evicted += log->used != 0;
    log->tag = hash | 1;
    log->first = log->used = 0;
    return log;
}

static inline void fn_log_decide(
    const fn_log_table *t, const fn_log *log, uint64_t now, uint64_t cost, fn_decision *d
) {
    uint64_t used = log == NULL ? 0 : log->used;
    d->retry = 0;
    if (cost > t->most) {
        d->verdict = FN_NEVER;
    } else if (used + cost > t->most) {
        d->verdict = FN_REFUSE;
        d->retry = fn_log_time(t, log, used + cost - t->most - 1) + t->period - now;
    } else {
        d->verdict = FN_ADMIT;
    }
    d->left = t->most - used;
    d->unit = 1;
    d->reset = used ? fn_log_time(t, log, used - 1) + t->period - now : 0;
}

static inline void fn_log_hit(fn_log_table *t, uint64_t hash, uint64_t now, uint64_t cost, fn_decision *d) {
    fn_log *log = fn_log_find(t, hash, now);
    uint64_t time = now, retry, i;
    fn_log_decide(t, log, now, cost, d);
    if (d->verdict != FN_ADMIT) return;
    if (log == NULL && (log = fn_log_take(t, hash, now, &retry)) == NULL) {
        if (t->admit_when_full) return;
        d->verdict = FN_REFUSE;
        d->retry = d->reset = retry;
        d->left = 0;
        return;
    }
    if (log->used && fn_log_time(t, log, log->used - 1) > time) time = fn_log_time(t, log, log->used - 1);
    for (i = 0; i < cost; i++) log->times[(log->first + log->used++) % t->most] = time;
    d->left -= cost;
    d->reset = time + t->period - now;
}

static inline void fn_log_give_back(fn_log_table *t, uint64_t hash, uint64_t now, uint64_t cost) {
    fn_log *log = fn_log_find(t, hash, now);
    if (log != NULL) log->used -= (uint32_t)(log->used < cost ? log->used : cost);
}

#endif
