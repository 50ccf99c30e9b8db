/* Priorities (RFC 9218): the value of a `priority` field or a PRIORITY_UPDATE frame, a dictionary of structured fields
 * (RFC 9651, section 3.2). `u` is an integer from 0, served first, to 7; `i` says that pieces of the answer are of use.
 */
#ifndef FASTNET_HTTP2_PRIORITY_H
#define FASTNET_HTTP2_PRIORITY_H

#include <stddef.h>
#include <stdint.h>

#define FN_URGENCIES 8
#define FN_URGENCY_DEFAULT 3

typedef struct {
    uint8_t urgency;
    uint8_t incremental;
} fn_priority;

static inline int fn_priority_key_char(char c, int first) {
    if ((c >= 'a' && c <= 'z') || c == '*') return 1;
    return !first && ((c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.');
}

/* The end of a bare item or an inner list; NULL when it has none, or is empty. */
static inline const char *fn_priority_skip_item(const char *p, const char *end) {
    const char *begin = p;
    int depth = 0;
    for (; p < end; p++) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                if (*p == '\\') p++;
            if (p >= end) return NULL;
        } else if (*p == '(') {
            depth++;
        } else if (*p == ')') {
            if (--depth < 0) return NULL;
        } else if (depth == 0 && (*p == ',' || *p == ';' || *p == ' ' || *p == '\t')) {
            break;
        }
    }
    return depth || p == begin ? NULL : p;
}

/* One key of a dictionary or a parameter with its value, if it has one; NULL when it is malformed. */
static inline const char *fn_priority_member(const char *p, const char *end, const char **key_end, const char **value) {
    if (p >= end || !fn_priority_key_char(*p, 1)) return NULL;
    while (p < end && fn_priority_key_char(*p, 0)) p++;
    *key_end = p;
    *value = NULL;
    if (p < end && *p == '=') {
        *value = p + 1;
        p = fn_priority_skip_item(p + 1, end);
    }
    return p;
}

/* 1 with the priority that the text says; 0 when it is malformed, which says nothing (RFC 9218, section 4): `into` has
 * the defaults then. Unknown keys, and values out of range, are ignored. */
static inline int fn_priority_parse(const char *p, size_t size, fn_priority *into) {
    const char *end = p + size;
    fn_priority found = {FN_URGENCY_DEFAULT, 0};
    into->urgency = FN_URGENCY_DEFAULT;
    into->incremental = 0;
    while (p < end && *p == ' ') p++;
    while (end > p && end[-1] == ' ') end--;
    while (p < end) {
        const char *key = p, *key_end, *value, *value_end, *ignored;
        if ((p = fn_priority_member(p, end, &key_end, &value)) == NULL) return 0;
        value_end = p;
        while (p < end && *p == ';') {
            for (p++; p < end && *p == ' '; p++) {}
            if ((p = fn_priority_member(p, end, &ignored, &ignored)) == NULL) return 0;
        }
        if (key_end - key == 1 && *key == 'u' && value && value_end - value == 1 && *value >= '0' && *value <= '7')
            found.urgency = (uint8_t)(*value - '0');
        else if (key_end - key == 1 && *key == 'i' && value == NULL)
            found.incremental = 1;
        else if (key_end - key == 1 && *key == 'i' && value_end - value == 2 && value[0] == '?')
            found.incremental = value[1] == '1';
        while (p < end && (*p == ' ' || *p == '\t')) p++;
        if (p == end) break;
        if (*p++ != ',') return 0;
        while (p < end && (*p == ' ' || *p == '\t')) p++;
        if (p == end) return 0;
    }
    *into = found;
    return 1;
}

#endif
