/* Scanners over the bytes of HTTP: tokens, field values, request targets.
 *
 * "skip" functions return the first byte that does not belong (or end), and
 * never read at or behind `end`. With SSE2 they look at 16 bytes at a time; the
 * plain versions are always there, both for other machines and as the oracle
 * of the tests.
 */
#ifndef FASTNET_CORE_SCAN_H
#define FASTNET_CORE_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(FASTNET_PLAIN_SCAN)
#define FN_SCAN_SSE2 1
#include <emmintrin.h>
#else
#define FN_SCAN_SSE2 0
#endif

/* The classes a byte belongs to. */
#define FN_CHAR_TOKEN 1 /* tchar: RFC 9110, 5.6.2 */
#define FN_CHAR_VALUE 2 /* HTAB, SP, VCHAR, obs-text: RFC 9110, 5.5 */
#define FN_CHAR_TARGET 4 /* VCHAR without '#': a request target has no fragment (RFC 9112, 3.2) */
#define FN_CHAR_HOST 8 /* unreserved and sub-delims of a reg-name: RFC 3986, 3.2.2 */
#define FN_CHAR_HEX 16

static const uint8_t FN_CHAR_CLASS[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0, /* 0_ */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* 1_ */
     2, 15,  6,  3, 15,  7, 15, 15, 14, 14, 15, 15, 14, 15, 15,  6, /* 2_ */
    31, 31, 31, 31, 31, 31, 31, 31, 31, 31,  6, 14,  6, 14,  6,  6, /* 3_ */
     6, 31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 4_ */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  6,  6,  7, 15, /* 5_ */
     7, 31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 6_ */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  7,  6, 15,  0, /* 7_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 8_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 9_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* a_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* b_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* c_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* d_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* e_ */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* f_ */
};

static inline int fn_char_is(char c, int classes) {
    return FN_CHAR_CLASS[(uint8_t)c] & classes;
}

static inline const char *fn_skip_class(const char *p, const char *end, int classes) {
    while (p < end && fn_char_is(*p, classes)) p++;
    return p;
}

/* 0 to 15, or -1 when c is no hexadecimal digit. */
static inline int fn_hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of a run of 1*DIGIT, or -1 when it is none or is above 2^63 - 1. */
static inline int64_t fn_parse_decimal(const char *p, size_t size) {
    uint64_t value = 0;
    size_t i;
    if (size == 0) return -1;
    for (i = 0; i < size; i++) {
        unsigned digit = (unsigned)(uint8_t)p[i] - '0';
        if (digit > 9 || value > ((uint64_t)INT64_MAX - digit) / 10) return -1;
        value = value * 10 + digit;
    }
    return (int64_t)value;
}

/* Whether the bytes are `lower`, which is made of lower-case letters, digits and '-', in any case.
 * They must be free of control characters: the fold maps some of these to '-' and digits. */
static inline int fn_equals_fold(const char *p, size_t size, const char *lower, size_t lower_size) {
    size_t i;
    if (size != lower_size) return 0;
    for (i = 0; i < size; i++) {
        if ((p[i] | 0x20) != lower[i]) return 0;
    }
    return 1;
}

/* ---- field values and targets ---- */

static inline const char *fn_skip_value_plain(const char *p, const char *end) {
    return fn_skip_class(p, end, FN_CHAR_VALUE);
}

static inline const char *fn_skip_target_plain(const char *p, const char *end) {
    return fn_skip_class(p, end, FN_CHAR_TARGET);
}

#if FN_SCAN_SSE2

/* One bit per byte that no field value holds: controls but HTAB, and DEL. */
static inline int fn_value_stops(__m128i x) {
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i tab = _mm_cmpeq_epi8(x, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    return _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
}

static inline const char *fn_skip_value(const char *p, const char *end) {
    while (end - p >= 16) {
        int stops = fn_value_stops(_mm_loadu_si128((const __m128i *)(const void *)p));
        if (stops) return p + __builtin_ctz((unsigned)stops);
        p += 16;
    }
    return fn_skip_value_plain(p, end);
}

/* One bit per byte that no target holds. Compared as signed, bytes from 0x80 are below SP. */
static inline int fn_target_stops(__m128i x) {
    __m128i visible = _mm_cmpgt_epi8(x, _mm_set1_epi8(0x20));
    __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    __m128i hash = _mm_cmpeq_epi8(x, _mm_set1_epi8('#'));
    return _mm_movemask_epi8(_mm_andnot_si128(_mm_or_si128(del, hash), visible)) ^ 0xffff;
}

static inline const char *fn_skip_target(const char *p, const char *end) {
    while (end - p >= 16) {
        int stops = fn_target_stops(_mm_loadu_si128((const __m128i *)(const void *)p));
        if (stops) return p + __builtin_ctz((unsigned)stops);
        p += 16;
    }
    return fn_skip_target_plain(p, end);
}

#else

static inline const char *fn_skip_value(const char *p, const char *end) {
    return fn_skip_value_plain(p, end);
}

static inline const char *fn_skip_target(const char *p, const char *end) {
    return fn_skip_target_plain(p, end);
}

#endif

/* ---- names ---- */

/* Longer names have no id, so their lower-case form is never asked for. */
#define FN_LOWER_NAME 32

/* The size of the token at p; its first FN_LOWER_NAME bytes, folded to lower case, at `lower`.
 * The fold (| 0x20) is exact for letters, digits and '-', which is what known names are made of. */
static inline size_t fn_scan_name_plain(const char *p, const char *end, char *lower) {
    const char *start = p;
    while (p < end && fn_char_is(*p, FN_CHAR_TOKEN)) {
        if (p - start < FN_LOWER_NAME) lower[p - start] = (char)(*p | 0x20);
        p++;
    }
    return (size_t)(p - start);
}

#if FN_SCAN_SSE2

/* One bit per byte that is neither letter, digit nor '-'; `folded` is x | 0x20. */
static inline int fn_name_stops(__m128i x, __m128i folded) {
    __m128i letter = _mm_sub_epi8(folded, _mm_set1_epi8('a'));
    __m128i digit = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
    digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
    return _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), _mm_cmpeq_epi8(x, _mm_set1_epi8('-')))) ^ 0xffff;
}

static inline size_t fn_scan_name(const char *p, const char *end, char *lower) {
    const __m128i fold = _mm_set1_epi8(0x20);
    size_t size;
    for (size = 0; size < FN_LOWER_NAME && end - p - (ptrdiff_t)size >= 16; size += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + size));
        __m128i folded = _mm_or_si128(x, fold);
        int stops = fn_name_stops(x, folded);
        _mm_storeu_si128((__m128i *)(void *)(lower + size), folded);
        if (stops) {
            size += (size_t)__builtin_ctz((unsigned)stops);
            if (!fn_char_is(p[size], FN_CHAR_TOKEN)) return size;
            break; /* one of the rarer token characters */
        }
    }
    while (p + size < end && fn_char_is(p[size], FN_CHAR_TOKEN)) {
        if (size < FN_LOWER_NAME) lower[size] = (char)(p[size] | 0x20);
        size++;
    }
    return size;
}

#else

static inline size_t fn_scan_name(const char *p, const char *end, char *lower) {
    return fn_scan_name_plain(p, end, lower);
}

#endif

/* ---- what callers may write ---- */

/* A field name or a method: 1*tchar. */
static inline int fn_is_token(const char *p, size_t size) {
    return size != 0 && fn_skip_class(p, p + size, FN_CHAR_TOKEN) == p + size;
}

/* No CR, LF, NUL, DEL or other control but HTAB. White space at the ends is not looked at:
 * HTTP/1 drops it, HTTP/2 forbids it (RFC 9113, 8.2.1), so that caller looks itself. */
static inline int fn_is_field_value(const char *p, size_t size) {
    return fn_skip_value(p, p + size) == p + size;
}

/* A request target without white space, controls, '#' and bytes above ASCII; not empty. */
static inline int fn_is_target(const char *p, size_t size) {
    return size != 0 && fn_skip_target(p, p + size) == p + size;
}

/* ---- authorities ---- */

/* What may follow the host: nothing, ":" or ":" and a port below 2^16. */
static inline int fn_is_port_suffix(const char *p, const char *end, int need_port) {
    uint32_t port = 0;
    if (p == end) return !need_port;
    if (*p++ != ':') return 0;
    if (p == end) return !need_port;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9') return 0;
        port = port * 10 + (uint32_t)(*p - '0');
        if (port > 65535) return 0;
    }
    return !need_port || port != 0;
}

/* Whether [p, end) can be the address inside the brackets of an IP literal. Which groups an IPv6
 * address may have is left to whoever connects to it; IPvFuture and zones are refused. */
static inline int fn_is_ipv6_text(const char *p, const char *end) {
    int colons = 0;
    if (end - p > 45) return 0;
    for (; p < end; p++) {
        if (*p == ':') colons++;
        else if (*p != '.' && !fn_char_is(*p, FN_CHAR_HEX)) return 0;
    }
    return colons >= 2 && colons <= 8;
}

/* Whether the bytes are uri-host [ ":" port ] of RFC 3986 with a host that is not empty: a
 * registered name, an IPv4 address or a bracketed IPv6 address; no user information. An empty
 * port is a port left out (RFC 3986, 3.2.3), unless need_port says that one other than 0 must be. */
static inline int fn_is_authority(const char *p, size_t size, int need_port) {
    const char *end = p + size, *start = p;
    if (size == 0) return 0;
    if (*p == '[') {
        const char *close = (const char *)memchr(p, ']', size);
        if (close == NULL || !fn_is_ipv6_text(p + 1, close)) return 0;
        return fn_is_port_suffix(close + 1, end, need_port);
    }
    while (p < end) {
        if (fn_char_is(*p, FN_CHAR_HOST)) {
            p++;
        } else if (*p == '%' && end - p >= 3 && fn_char_is(p[1], FN_CHAR_HEX) && fn_char_is(p[2], FN_CHAR_HEX)) {
            p += 3;
        } else {
            break;
        }
    }
    return p > start && fn_is_port_suffix(p, end, need_port);
}

#endif
