/* The algorithms: what becomes of a key's 64 bits of state when a request of some cost comes at some time.
 *
 * Pure functions without a clock. A state of 0 is that of a key never seen; no other state is 0, and none has its
 * highest bit set, which the table needs for itself. Times are nanoseconds on whatever clock the caller keeps.
 *
 * FN_METER   Token bucket, leaky bucket and GCRA are one algorithm with three descriptions (ITU-T I.371, annex A,
 *            shows the last two equal): the state is the time at which the bucket is full again (the level is zero,
 *            the theoretical arrival time), in 16ths of a nanosecond so that the interval between two requests is
 *            nearly exact: it is rounded up, and the limit never admits more than it says.
 * FN_FIXED   The number of the window, and what was admitted in it: 39 and 24 bits.
 * FN_SLIDING The number of the window (23 bits), what was admitted in the one before and in this one (20 bits each).
 *            The one before counts by the share of it that is still inside the sliding window. A key that nobody
 *            asked for in a whole multiple of 2^23 windows, and whose place nobody took, is taken for a fresh one.
 */
#ifndef FASTNET_RATELIMIT_RULES_H
#define FASTNET_RATELIMIT_RULES_H

#include <stdint.h>

typedef enum { FN_METER, FN_FIXED, FN_SLIDING } fn_rule_kind;

#define FN_TICKS 16                         /* in a nanosecond */
#define FN_LATEST ((uint64_t)1 << 57)       /* nanoseconds (4.5 years): times are below, so that sums fit */
#define FN_FIXED_MOST (((uint64_t)1 << 24) - 1)
#define FN_SLIDING_MOST (((uint64_t)1 << 20) - 1)
#define FN_SLIDING_WINDOWS (((uint64_t)1 << 23) - 1)

typedef struct {
    fn_rule_kind kind;
    uint64_t most;          /* the cost admitted at once, at least 1: burst, or requests in a window */
    uint64_t interval;      /* FN_METER: ticks for which a cost of 1 is remembered */
    uint64_t period;        /* nanoseconds of a window; FN_METER: until an empty bucket is full, rounded up */
} fn_rule;

typedef enum { FN_NEVER = -1, FN_REFUSE = 0, FN_ADMIT = 1 } fn_verdict;

typedef struct {
    fn_verdict verdict;     /* FN_NEVER: the cost is above what is ever admitted at once */
    uint64_t retry;         /* nanoseconds after which the same request passes, if no other comes; 0 when admitted */
    uint64_t left, unit;    /* the cost that would be admitted now is left / unit, a division that few need */
    uint64_t reset;         /* nanoseconds until the key is as if it had never been seen */
} fn_decision;

static inline uint64_t fn_up(uint64_t ticks) { return (ticks + FN_TICKS - 1) / FN_TICKS; }

static inline uint64_t fn_meter(const fn_rule *r, uint64_t state, uint64_t now, uint64_t cost, fn_decision *d) {
    uint64_t time = now * FN_TICKS, room = r->most * r->interval;
    uint64_t full = state > time ? state : time, used = full - time;
    /* Above `room` only for a clock that stands behind that of another process. */
    uint64_t left = used < room ? room - used : 0;
    if (cost > r->most) {
        d->verdict = FN_NEVER;
        d->retry = 0;
    } else if (cost * r->interval > left) {
        d->verdict = FN_REFUSE;
        d->retry = fn_up(used + cost * r->interval - room);
    } else {
        d->verdict = FN_ADMIT;
        d->retry = 0;
        state = full + cost * r->interval;
        used += cost * r->interval;
        left -= cost * r->interval;
    }
    d->left = left;
    d->unit = r->interval;
    d->reset = fn_up(used);
    return state;
}

static inline uint64_t fn_fixed(const fn_rule *r, uint64_t state, uint64_t now, uint64_t cost, fn_decision *d) {
    uint64_t window = now / r->period, count = 0;
    /* A window ahead of ours: another process' clock is. */
    if (state != 0 && state >> 24 >= window) {
        window = state >> 24;
        count = state & FN_FIXED_MOST;
    }
    d->retry = 0;
    if (cost > r->most) {
        d->verdict = FN_NEVER;
    } else if (count + cost > r->most) {
        d->verdict = FN_REFUSE;
        d->retry = (window + 1) * r->period - now;
    } else {
        d->verdict = FN_ADMIT;
        count += cost;
        state = window << 24 | count;
    }
    d->left = r->most - count;
    d->unit = 1;
    d->reset = count ? (window + 1) * r->period - now : 0;
    return state;
}

/* Where a sliding window stands: counts by its time, brought up to date. */
typedef struct {
    uint64_t window;        /* all bits of it */
    uint64_t into;          /* nanoseconds of it that have passed */
    uint64_t before, count;
} fn_sliding_place;

static inline fn_sliding_place fn_sliding_at(const fn_rule *r, uint64_t state, uint64_t now) {
    fn_sliding_place at = {now / r->period, now % r->period, 0, 0};
    uint64_t age = (at.window - (state >> 40)) & FN_SLIDING_WINDOWS;
    if (state == 0) return at;
    if (age == FN_SLIDING_WINDOWS) {
        /* Of the next window: another process' clock is ahead. */
        at.window++;
        at.into = 0;
        age = 0;
    }
    if (age == 0) {
        at.before = state >> 20 & FN_SLIDING_MOST;
        at.count = state & FN_SLIDING_MOST;
    } else if (age == 1) {
        at.before = state & FN_SLIDING_MOST;
    }
    return at;
}

/* The first nanosecond of a window in which `before` of the previous one leave room for `room`. */
static inline uint64_t fn_sliding_until(const fn_rule *r, uint64_t before, uint64_t room) {
    return before <= room ? 0 : r->period - (uint64_t)((unsigned __int128)room * r->period / before);
}

static inline uint64_t fn_sliding(const fn_rule *r, uint64_t state, uint64_t now, uint64_t cost, fn_decision *d) {
    fn_sliding_place at = fn_sliding_at(r, state, now);
    uint64_t begin = at.window * r->period, ready;
    /* Rounded up: what is in part inside the window is inside. */
    uint64_t used = at.count;
    if (at.before)
        used += (uint64_t)(((unsigned __int128)at.before * (r->period - at.into) + r->period - 1) / r->period);
    d->retry = 0;
    if (cost > r->most) {
        d->verdict = FN_NEVER;
    } else if (used + cost > r->most) {
        d->verdict = FN_REFUSE;
        if (at.count + cost <= r->most)
            ready = begin + fn_sliding_until(r, at.before, r->most - at.count - cost);
        else
            ready = begin + r->period + fn_sliding_until(r, at.count, r->most - cost);
        d->retry = ready - now;
    } else {
        d->verdict = FN_ADMIT;
        at.count += cost;
        used += cost;
        state = (at.window & FN_SLIDING_WINDOWS) << 40 | at.before << 20 | at.count;
    }
    d->left = used < r->most ? r->most - used : 0;
    d->unit = 1;
    d->reset = at.count ? begin + 2 * r->period - now : at.before ? begin + r->period - now : 0;
    return state;
}

/* The state afterwards: the same one unless the request is admitted. */
static inline uint64_t fn_rule_step(const fn_rule *r, uint64_t state, uint64_t now, uint64_t cost, fn_decision *d) {
    switch (r->kind) {
        case FN_METER: return fn_meter(r, state, now, cost, d);
        case FN_FIXED: return fn_fixed(r, state, now, cost, d);
        default: return fn_sliding(r, state, now, cost, d);
    }
}

/* The state without a cost that was admitted a moment ago, 0 when nothing is left of it. */
static inline uint64_t fn_rule_give_back(const fn_rule *r, uint64_t state, uint64_t now, uint64_t cost) {
    uint64_t count = 0;
    fn_sliding_place at;
    switch (r->kind) {
        case FN_METER: return state > now * FN_TICKS + cost * r->interval ? state - cost * r->interval : 0;
        case FN_FIXED:
            if (state >> 24 >= now / r->period) count = state & FN_FIXED_MOST;
            return count > cost ? state - cost : 0;
        default:
            at = fn_sliding_at(r, state, now);
            if (at.count >= cost)
                at.count -= cost;
            else
                at.before -= at.before < cost ? at.before : cost;
            if (at.before == 0 && at.count == 0) return 0;
            return (at.window & FN_SLIDING_WINDOWS) << 40 | at.before << 20 | at.count;
    }
}

#endif
