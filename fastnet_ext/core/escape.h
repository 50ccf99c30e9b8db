/* Bytes of a peer, made harmless for a line of a log: printable ASCII stays, the rest becomes an escape. */
#ifndef FASTNET_CORE_ESCAPE_H
#define FASTNET_CORE_ESCAPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What one byte may become at most: \u00ff. */
#define FN_ESCAPED_MAX 6

/* Each byte of a word compared at once: whether one is below `bound` (128 at most) or is `value`. Exact as to whether
 * there is one, not as to which it is. */
#define FN_ONES 0x0101010101010101ULL
#define FN_ANY_BELOW(v, bound) (((v) - FN_ONES * (bound)) & ~(v) & FN_ONES * 0x80)
#define FN_ANY_IS(v, value) FN_ANY_BELOW((v) ^ FN_ONES * (value), 1)

/* Whether all of these eight bytes stay as they are. */
static inline int fn_stays(uint64_t v) {
    return !((v & FN_ONES * 0x80) | FN_ANY_BELOW(v, 0x20) | FN_ANY_IS(v, 0x7f) | FN_ANY_IS(v, '"') | FN_ANY_IS(v, '\\'));
}

/* Write `size` bytes to `out`, which has room for FN_ESCAPED_MAX times as many, and return the end.
 *
 * Controls, quotes, backslashes and bytes above 126 become \xhh, or with `json` \u00hh (their ISO 8859-1 character),
 * so that no byte ends the line, the quoted part or the encoding that it stands in. */
static inline char *fn_escape(char *out, const char *p, size_t size, int json) {
    static const char digits[] = "0123456789abcdef";
    uint64_t word;
    size_t i = 0;
    while (i < size) {
        unsigned char c;
        if (size - i >= 8) {
            memcpy(&word, p + i, 8);
            if (fn_stays(word)) {
                memcpy(out, &word, 8);
                out += 8;
                i += 8;
                continue;
            }
        }
        c = (unsigned char)p[i++];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            *out++ = (char)c;
            continue;
        }
        if (json) {
            memcpy(out, "\\u00", 4);
            out += 4;
        } else {
            memcpy(out, "\\x", 2);
            out += 2;
        }
        *out++ = digits[c >> 4];
        *out++ = digits[c & 15];
    }
    return out;
}

#endif
