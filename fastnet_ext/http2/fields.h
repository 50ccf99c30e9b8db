/* What the bytes of header fields and pseudo-header fields may be (RFC 9113, sections 8.2 and 8.3). */
#ifndef FASTNET_HTTP2_FIELDS_H
#define FASTNET_HTTP2_FIELDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Where a byte may stand:
 *  1  a field name: tchar of RFC 9110, section 5.6.2, without upper case
 *  2  a field value: visible, obs-text, space and tab (section 5.5)
 *  4  a path with query: visible ASCII but '#', which begins a fragment
 *  8  an authority: uri-host and port of RFC 3986, section 3.2, without userinfo's '@'
 * 16  a scheme (RFC 3986, section 3.1)
 */
static const uint8_t FN_FIELD_BYTES[256] = {
    ['\t'] = 2, [' '] = 2, ['!'] = 15, ['"'] = 6, ['#'] = 3, ['$'] = 15, ['%'] = 15, ['&'] = 15, ['\''] = 15,
    ['('] = 14, [')'] = 14, ['*'] = 15, ['+'] = 31, [','] = 14, ['-'] = 31, ['.'] = 31, ['/'] = 6,
    ['0' ... '9'] = 31, [':'] = 14, [';'] = 14, ['<'] = 6, ['='] = 14, ['>'] = 6, ['?'] = 6, ['@'] = 6,
    ['A' ... 'Z'] = 30, ['['] = 14, ['\\'] = 6, [']'] = 14, ['^'] = 7, ['_'] = 15, ['`'] = 7,
    ['a' ... 'z'] = 31, ['{'] = 6, ['|'] = 7, ['}'] = 6, ['~'] = 15, [0x80 ... 0xff] = 2,
};

static inline int fn_bytes_all(const char *data, size_t size, uint8_t kind) {
    size_t i;
    for (i = 0; i < size; i++)
        if (!(FN_FIELD_BYTES[(uint8_t)data[i]] & kind)) return 0;
    return 1;
}

static inline int fn_field_name_ok(const char *name, size_t size) { return size > 0 && fn_bytes_all(name, size, 1); }

/* A method: a token, upper case and all. */
static inline int fn_method_ok(const char *name, size_t size) {
    size_t i;
    for (i = 0; i < size; i++)
        if (!(FN_FIELD_BYTES[(uint8_t)name[i]] & 1) && !(name[i] >= 'A' && name[i] <= 'Z')) return 0;
    return size > 0;
}

static inline int fn_scheme_ok(const char *scheme, size_t size) {
    return size > 0 && (scheme[0] | 0x20) >= 'a' && (scheme[0] | 0x20) <= 'z' && fn_bytes_all(scheme, size, 16);
}

static inline int fn_authority_ok(const char *authority, size_t size) {
    return size > 0 && fn_bytes_all(authority, size, 8);
}

static inline int fn_path_ok(const char *path, size_t size) { return size > 0 && fn_bytes_all(path, size, 4); }

static inline int fn_is_blank(char c) { return c == ' ' || c == '\t'; }

/* No control bytes but tab, no white space at either end (RFC 9113, section 8.2.1). */
static inline int fn_field_value_ok(const char *value, size_t size) {
    size_t i = 0;
    if (size && (fn_is_blank(value[0]) || fn_is_blank(value[size - 1]))) return 0;
    for (; size - i >= 8; i += 8) {
        /* The high bit of each byte that is below 0x20 or is 0x7f; bytes from 0x80 on are left out. */
        uint64_t word, low, del;
        memcpy(&word, value + i, 8);
        low = (word & 0x7f7f7f7f7f7f7f7fULL) + 0x6060606060606060ULL;
        del = (word & 0x7f7f7f7f7f7f7f7fULL) + 0x0101010101010101ULL;
        if (((~low | del) & ~word & 0x8080808080808080ULL) && !fn_bytes_all(value + i, 8, 2)) return 0;
    }
    return fn_bytes_all(value + i, size - i, 2);
}

static inline int fn_equal_nocase(const char *a, size_t a_size, const char *b, size_t b_size) {
    size_t i;
    if (a_size != b_size) return 0;
    for (i = 0; i < a_size; i++) {
        char x = a[i], y = b[i];
        if (x >= 'A' && x <= 'Z') x |= 0x20;
        if (y >= 'A' && y <= 'Z') y |= 0x20;
        if (x != y) return 0;
    }
    return 1;
}

/* A content-length: digits only, at most 18 of them so that sums cannot overflow. -1 when it is none. */
static inline int64_t fn_parse_length(const char *text, size_t size) {
    int64_t value = 0;
    size_t i;
    if (size == 0 || size > 18) return -1;
    for (i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') return -1;
        value = 10 * value + (text[i] - '0');
    }
    return value;
}

/* A status code, 100 to 999; 0 when it is none. */
static inline uint32_t fn_parse_status(const char *text, size_t size) {
    int64_t value = size == 3 ? fn_parse_length(text, size) : -1;
    return value >= 100 ? (uint32_t)value : 0;
}

#endif
