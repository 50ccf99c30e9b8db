/* Accept-Encoding (RFC 9110, 12.5.3) as a weight for each coding.
 *
 * Nothing reads at or behind `end`, and the time is linear in the field's size.
 */
#ifndef FASTNET_COMPRESSION_ACCEPT_H
#define FASTNET_COMPRESSION_ACCEPT_H

#include <stddef.h>
#include <stdint.h>

#include "fastnet_ext/core/scan.h"

enum { FN_CODING_GZIP, FN_CODING_DEFLATE, FN_CODING_BR, FN_CODING_ZSTD, FN_CODING_IDENTITY, FN_CODING_SLOTS };

#define FN_WEIGHT_NONE (-1) /* the field does not name it */
#define FN_WEIGHT_FULL 1000

typedef struct {
    int16_t weight[FN_CODING_SLOTS]; /* thousandths; 0: not acceptable */
    int16_t any;                     /* of "*": what is not named */
} fn_accept;

static inline void fn_accept_init(fn_accept *accept) {
    for (int i = 0; i < FN_CODING_SLOTS; i++) accept->weight[i] = FN_WEIGHT_NONE;
    accept->any = FN_WEIGHT_NONE;
}

static inline const char *fn_accept_blanks(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    return p;
}

static inline int16_t *fn_accept_if(int16_t *slot, const char *p, size_t size, const char *name) {
    return fn_equals_fold(p, size, name, size) ? slot : NULL;
}

/* Where the weight of a token is kept; NULL for a coding that is none of ours. x-gzip is gzip (8.4.1.3). */
static inline int16_t *fn_accept_slot(fn_accept *accept, const char *p, size_t size) {
    switch (size) {
    case 1: return *p == '*' ? &accept->any : NULL;
    case 2: return fn_accept_if(&accept->weight[FN_CODING_BR], p, size, "br");
    case 4:
        if ((*p | 0x20) == 'g') return fn_accept_if(&accept->weight[FN_CODING_GZIP], p, size, "gzip");
        return fn_accept_if(&accept->weight[FN_CODING_ZSTD], p, size, "zstd");
    case 6: return fn_accept_if(&accept->weight[FN_CODING_GZIP], p, size, "x-gzip");
    case 7: return fn_accept_if(&accept->weight[FN_CODING_DEFLATE], p, size, "deflate");
    case 8: return fn_accept_if(&accept->weight[FN_CODING_IDENTITY], p, size, "identity");
    default: return NULL;
    }
}

/* qvalue (12.4.2): 0 to 1 with up to three decimals, as thousandths. Where it ends; NULL when it is none. */
static inline const char *fn_accept_qvalue(const char *p, const char *end, int *weight) {
    int scale = 100;
    if (p == end || (*p != '0' && *p != '1')) return NULL;
    *weight = (*p++ - '0') * FN_WEIGHT_FULL;
    if (p < end && *p == '.') {
        for (p++; scale && p < end && *p >= '0' && *p <= '9'; p++, scale /= 10) *weight += (*p - '0') * scale;
        if (*weight > FN_WEIGHT_FULL) return NULL;
    }
    return p;
}

/* Read the field's value; -1 when it is malformed. Of a coding that is named twice the first weight counts. */
static inline int fn_accept_read(const char *p, size_t size, fn_accept *accept) {
    const char *end = p + size, *name;
    int16_t *slot;
    int weight;
    fn_accept_init(accept);
    for (;;) {
        /* Empty elements of a list are none (5.6.1.2). */
        while (p < end && (*p == ',' || *p == ' ' || *p == '\t')) p++;
        if (p == end) return 0;
        name = p;
        p = fn_skip_class(p, end, FN_CHAR_TOKEN);
        if (p == name) return -1;
        slot = fn_accept_slot(accept, name, (size_t)(p - name));
        weight = FN_WEIGHT_FULL;
        p = fn_accept_blanks(p, end);
        if (p < end && *p == ';') {
            p = fn_accept_blanks(p + 1, end);
            if (end - p < 2 || (*p | 0x20) != 'q' || p[1] != '=') return -1;
            p = fn_accept_qvalue(p + 2, end, &weight);
            if (p == NULL) return -1;
            p = fn_accept_blanks(p, end);
        }
        if (p < end && *p != ',') return -1;
        if (slot != NULL && *slot == FN_WEIGHT_NONE) *slot = (int16_t)weight;
    }
}

static inline int fn_accept_weight(const fn_accept *accept, int coding) {
    return accept->weight[coding] != FN_WEIGHT_NONE ? accept->weight[coding] : accept->any;
}

#endif
