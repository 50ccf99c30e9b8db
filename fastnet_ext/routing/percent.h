/* Percent-encoding (RFC 3986, section 2.1), decoded the same way for routes and for arguments. */
#ifndef FASTNET_ROUTING_PERCENT_H
#define FASTNET_ROUTING_PERCENT_H

#include <stddef.h>
#include <string.h>

/* The value of a hex digit, -1 when it is none. */
static inline int fn_hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* The octet of the escape at p (p[0] is '%'), -1 when it is cut short or has other digits. */
static inline int fn_percent_octet(const char *p, size_t size) {
    int high, low;
    if (size < 3) return -1;
    high = fn_hex_value(p[1]);
    low = fn_hex_value(p[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Decode `size` bytes into `out`, which holds `capacity`. With `plus`, '+' is a space (form
 * encoding: queries only). Returns the length, -1 for a malformed escape, -2 when out is full. */
static inline ptrdiff_t fn_percent_decode(const char *p, size_t size, int plus, char *out, size_t capacity) {
    size_t length = 0, i = 0;
    while (i < size) {
        int c = (unsigned char)p[i];
        if (c == '%') {
            c = fn_percent_octet(p + i, size - i);
            if (c < 0) return -1;
            i += 3;
        } else {
            if (c == '+' && plus) c = ' ';
            i++;
        }
        if (length == capacity) return -2;
        out[length++] = (char)c;
    }
    return (ptrdiff_t)length;
}

/* How many octets `size` encoded bytes stand for, -1 for a malformed escape. */
static inline ptrdiff_t fn_percent_length(const char *p, size_t size) {
    size_t length = 0, i = 0;
    while (i < size) {
        if (p[i] == '%') {
            if (fn_percent_octet(p + i, size - i) < 0) return -1;
            i += 3;
        } else {
            i++;
        }
        length++;
    }
    return (ptrdiff_t)length;
}

/* How many encoded bytes the first `octets` octets take. The escapes are known to be well formed. */
static inline size_t fn_percent_skip(const char *p, size_t octets) {
    const char *start = p;
    while (octets--) p += *p == '%' ? 3 : 1;
    return (size_t)(p - start);
}

/* Whether encoded bytes starting at p spell `text`. The escapes are known to be well formed and
 * at least `size` octets follow. */
static inline int fn_percent_spells(const char *p, const char *text, size_t size) {
    while (size--) {
        int c = (unsigned char)*p;
        if (c == '%') {
            c = fn_percent_octet(p, 3);
            p += 3;
        } else {
            p++;
        }
        if (c != (unsigned char)*text++) return 0;
    }
    return 1;
}

#endif
