/* Bytes of a peer, made harmless for a line of a log: printable ASCII stays, the rest becomes an escape. */
#ifndef FASTNET_CORE_ESCAPE_H
#define FASTNET_CORE_ESCAPE_H

#include <stddef.h>
#include <string.h>

/* What one byte may become at most: \u00ff. */
#define FN_ESCAPED_MAX 6

/* Write `size` bytes to `out`, which has room for FN_ESCAPED_MAX times as many, and return the end.
 *
 * Controls, quotes, backslashes and bytes above 126 become \xhh, or with `json` \u00hh (their ISO 8859-1 character),
 * so that no byte ends the line, the quoted part or the encoding that it stands in. */
static inline char *fn_escape(char *out, const char *p, size_t size, int json) {
    static const char digits[] = "0123456789abcdef";
    size_t i;
    for (i = 0; i < size; i++) {
        unsigned char c = (unsigned char)p[i];
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
