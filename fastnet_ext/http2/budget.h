/* A token bucket: what a peer may cause, in a burst and over time. Seconds are given by the caller. */
#ifndef FASTNET_HTTP2_BUDGET_H
#define FASTNET_HTTP2_BUDGET_H

typedef struct {
    double tokens;
    double burst;
    double per_second;
    double filled_at; /* negative before the first use */
} fn_budget;

static inline void fn_budget_init(fn_budget *b, double burst, double per_second) {
    b->tokens = burst;
    b->burst = burst;
    b->per_second = per_second;
    b->filled_at = -1;
}

/* Take one token; 0 when there is none. */
static inline int fn_budget_take(fn_budget *b, double now) {
    if (b->filled_at < 0) b->filled_at = now;
    if (now > b->filled_at) {
        b->tokens += (now - b->filled_at) * b->per_second;
        if (b->tokens > b->burst) b->tokens = b->burst;
        b->filled_at = now;
    }
    if (b->tokens < 1) return 0;
    b->tokens -= 1;
    return 1;
}

#endif
