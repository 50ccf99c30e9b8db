/* Text to values, and the places in a head where a named text stands. No Python objects here. */
#ifndef FASTNET_SERVE_CONVERT_H
#define FASTNET_SERVE_CONVERT_H

#include <stddef.h>
#include <string.h>

#include "fastnet_ext/routing/percent.h"

/* A decimal integer with an optional sign. 1: *value is set; 0: it is none; -1: it is one of more
 * than 18 digits, which may not fit. */
static inline int fn_parse_integer(const char *p, size_t size, long long *value) {
    size_t i = 0;
    long long v = 0;
    int negative = 0;
    if (size && (p[0] == '-' || p[0] == '+')) {
        negative = p[0] == '-';
        i = 1;
    }
    if (i == size) return 0;
    if (size - i > 18) {
        for (; i < size; i++) {
            if (p[i] < '0' || p[i] > '9') return 0;
        }
        return -1;
    }
    for (; i < size; i++) {
        unsigned digit = (unsigned)(unsigned char)p[i] - '0';
        if (digit > 9) return 0;
        v = v * 10 + digit;
    }
    *value = negative ? -v : v;
    return 1;
}

/* `word` is in lower case. */
static inline int fn_is_word(const char *p, const char *word, size_t size) {
    size_t i;
    for (i = 0; i < size; i++) {
        char c = p[i];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        if (c != word[i]) return 0;
    }
    return 1;
}

/* true/false, yes/no, on/off, 1/0 in any case: 1 or 0; -1 for anything else. */
static inline int fn_parse_bool(const char *p, size_t size) {
    switch (size) {
    case 1: return p[0] == '1' ? 1 : p[0] == '0' ? 0 : -1;
    case 2: return fn_is_word(p, "on", 2) ? 1 : fn_is_word(p, "no", 2) ? 0 : -1;
    case 3: return fn_is_word(p, "yes", 3) ? 1 : fn_is_word(p, "off", 3) ? 0 : -1;
    case 4: return fn_is_word(p, "true", 4) ? 1 : -1;
    case 5: return fn_is_word(p, "false", 5) ? 0 : -1;
    }
    return -1;
}

/* Whether the text holds an escape; with `plus`, '+' is one. */
static inline int fn_has_escape(const char *p, size_t size, int plus) {
    size_t i;
    for (i = 0; i < size; i++) {
        if (p[i] == '%' || (plus && p[i] == '+')) return 1;
    }
    return 0;
}

typedef struct {
    const char *name;
    size_t name_size;
    const char *value;
    size_t value_size;
} fn_pair;

/* The next pair of a query (form encoding); returns where the one after it begins, NULL at the end. */
static inline const char *fn_next_query_pair(const char *p, const char *end, fn_pair *pair) {
    const char *start = p, *equals = NULL;
    if (p >= end) return NULL;
    for (; p < end && *p != '&'; p++) {
        if (*p == '=' && equals == NULL) equals = p;
    }
    pair->name = start;
    pair->name_size = (size_t)((equals ? equals : p) - start);
    pair->value = equals ? equals + 1 : p;
    pair->value_size = (size_t)(p - pair->value);
    return p + 1;
}

/* Whether a form-encoded name stands for `name`. */
static inline int fn_names(const char *p, size_t size, const char *name, size_t name_size) {
    size_t i = 0, j = 0;
    if (size < name_size) return 0;
    while (i < size && j < name_size) {
        int c = (unsigned char)p[i];
        if (c == '%') {
            c = fn_percent_octet(p + i, size - i);
            i += 3;
        } else {
            if (c == '+') c = ' ';
            i++;
        }
        if (c != (unsigned char)name[j++]) return 0;
    }
    return i == size && j == name_size;
}

static inline int fn_text_is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* The next pair of a Cookie field (RFC 6265, 4.2.1), blanks and one pair of quotes taken off the
 * value; returns where the one after it begins, NULL at the end. A part without '=' has no name. */
static inline const char *fn_next_cookie(const char *p, const char *end, fn_pair *pair) {
    const char *stop, *equals, *last;
    if (p >= end) return NULL;
    stop = (const char *)memchr(p, ';', (size_t)(end - p));
    if (stop == NULL) stop = end;
    while (p < stop && fn_text_is_blank(*p)) p++;
    last = stop;
    while (last > p && fn_text_is_blank(last[-1])) last--;
    equals = (const char *)memchr(p, '=', (size_t)(last - p));
    pair->name = p;
    pair->name_size = 0;
    pair->value = last;
    pair->value_size = 0;
    if (equals) {
        const char *name_end = equals;
        while (name_end > p && fn_text_is_blank(name_end[-1])) name_end--;
        pair->name_size = (size_t)(name_end - p);
        p = equals + 1;
        while (p < last && fn_text_is_blank(*p)) p++;
        if (last - p >= 2 && *p == '"' && last[-1] == '"') {
            p++;
            last--;
        }
        pair->value = p;
        pair->value_size = (size_t)(last - p);
    }
    return stop + 1;
}

/* Whether a Content-Type names JSON: application/json, or a type with the suffix +json (RFC 6839, 3.1). */
static inline int fn_is_json(const char *p, size_t size) {
    const char *stop = (const char *)memchr(p, ';', size);
    if (stop) size = (size_t)(stop - p);
    while (size && fn_text_is_blank(p[size - 1])) size--;
    if (size == 16 && fn_is_word(p, "application/json", 16)) return 1;
    return size > 6 && memchr(p, '/', size - 5) != NULL && fn_is_word(p + size - 5, "+json", 5);
}

/* Whether a Content-Type names `media_type` (lower case), whatever its parameters. */
static inline int fn_is_media_type(const char *p, size_t size, const char *media_type, size_t media_size) {
    const char *stop = (const char *)memchr(p, ';', size);
    if (stop) size = (size_t)(stop - p);
    while (size && fn_text_is_blank(p[size - 1])) size--;
    return size == media_size && fn_is_word(p, media_type, size);
}

#endif
