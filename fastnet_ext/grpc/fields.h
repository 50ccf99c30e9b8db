/* The values of gRPC's header fields: grpc-timeout, grpc-message, and base64 of "-bin" metadata
 * (gRPC over HTTP/2, "Requests" and "Responses"). */
#ifndef FASTNET_GRPC_FIELDS_H
#define FASTNET_GRPC_FIELDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fastnet_ext/core/buffer.h"
#include "fastnet_ext/core/endian.h"

/* At most eight digits and a unit. */
#define FN_GRPC_TIMEOUT_MAX 9
#define FN_GRPC_TIMEOUT_DIGITS 99999999

/* Microseconds of a grpc-timeout value, or -1 when it is malformed. Nanoseconds are rounded up, so that
 * a time that was asked for is never none. */
static inline int64_t fn_grpc_parse_timeout(const char *p, size_t size) {
    int64_t value = 0;
    size_t i;
    if (size < 2 || size > FN_GRPC_TIMEOUT_MAX) return -1;
    for (i = 0; i < size - 1; i++) {
        if (p[i] < '0' || p[i] > '9') return -1;
        value = value * 10 + (p[i] - '0');
    }
    switch (p[size - 1]) {
    case 'H': return value * 3600000000LL;
    case 'M': return value * 60000000LL;
    case 'S': return value * 1000000LL;
    case 'm': return value * 1000LL;
    case 'u': return value;
    case 'n': return (value + 999) / 1000;
    }
    return -1;
}

/* Write a timeout in the finest unit that fits eight digits, rounded up; returns how many bytes (9 at
 * most). What is over gives "0u", what is too long the longest there is. */
static inline int fn_grpc_write_timeout(char *to, int64_t microseconds) {
    static const struct {
        int64_t size;
        char unit;
    } units[] = {{1, 'u'}, {1000, 'm'}, {1000000, 'S'}, {60000000, 'M'}, {3600000000LL, 'H'}};
    int64_t value = 0;
    int i, digits;
    if (microseconds < 0) microseconds = 0;
    for (i = 0; i < 5; i++) {
        value = microseconds / units[i].size + (microseconds % units[i].size != 0);
        if (value <= FN_GRPC_TIMEOUT_DIGITS) break;
    }
    if (i == 5) {
        i = 4;
        value = FN_GRPC_TIMEOUT_DIGITS;
    }
    digits = fn_store_decimal(to, (uint64_t)value);
    to[digits] = units[i].unit;
    return digits + 1;
}

/* How many bytes at the front need no percent coding. */
static inline size_t fn_grpc_plain_prefix(const char *p, size_t size) {
    size_t i;
    for (i = 0; i < size; i++) {
        uint8_t c = (uint8_t)p[i];
        if (c < 0x20 || c > 0x7e || c == '%') break;
    }
    return i;
}

/* Append grpc-message for these bytes (UTF-8, though any will do): what is not printable ASCII, and '%',
 * becomes %XX. 0, or -1 when memory is out. */
static inline int fn_grpc_percent_encode(fn_buffer *out, const char *p, size_t size) {
    static const char digits[] = "0123456789ABCDEF";
    while (size) {
        size_t plain = fn_grpc_plain_prefix(p, size);
        if (plain) {
            if (fn_buffer_append(out, p, plain) < 0) return -1;
        } else {
            uint8_t c = (uint8_t)*p;
            char coded[3] = {'%', digits[c >> 4], digits[c & 15]};
            plain = 1;
            if (fn_buffer_append(out, coded, 3) < 0) return -1;
        }
        p += plain;
        size -= plain;
    }
    return 0;
}

static inline int fn_grpc_hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* Append the bytes that a grpc-message stands for. What is no valid coding stands for itself: the
 * message of an error is never lost to an error. 0, or -1 when memory is out. */
static inline int fn_grpc_percent_decode(fn_buffer *out, const char *p, size_t size) {
    size_t i = 0;
    char *to;
    if (fn_buffer_reserve(out, size) < 0) return -1;
    if (size == 0) return 0;
    to = out->data + out->size;
    while (i < size) {
        if (p[i] == '%' && size - i > 2 && fn_grpc_hex(p[i + 1]) >= 0 && fn_grpc_hex(p[i + 2]) >= 0) {
            *to++ = (char)(fn_grpc_hex(p[i + 1]) << 4 | fn_grpc_hex(p[i + 2]));
            i += 3;
        } else {
            *to++ = p[i++];
        }
    }
    out->size = (size_t)(to - out->data);
    return 0;
}

/* Append base64 without padding. 0, or -1 when memory is out. */
static inline int fn_grpc_base64_encode(fn_buffer *out, const char *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = (const uint8_t *)data;
    char *to;
    if (size > SIZE_MAX / 2 || fn_buffer_reserve(out, size / 3 * 4 + 4) < 0) return -1;
    to = out->data + out->size;
    for (; size >= 3; size -= 3, p += 3) {
        *to++ = digits[p[0] >> 2];
        *to++ = digits[(p[0] & 3) << 4 | p[1] >> 4];
        *to++ = digits[(p[1] & 15) << 2 | p[2] >> 6];
        *to++ = digits[p[2] & 63];
    }
    if (size) {
        *to++ = digits[p[0] >> 2];
        *to++ = digits[(p[0] & 3) << 4 | (size == 2 ? p[1] >> 4 : 0)];
        if (size == 2) *to++ = digits[(p[1] & 15) << 2];
    }
    out->size = (size_t)(to - out->data);
    return 0;
}

static inline int fn_grpc_base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    if (c == '/') return 63;
    return -1;
}

/* Append what one base64 value stands for, padded or not. 0; -1 when memory is out; 1 when it is not
 * base64, and then nothing is appended. Bits beyond the last byte are not looked at. */
static inline int fn_grpc_base64_decode(fn_buffer *out, const char *p, size_t size) {
    uint32_t bits = 0;
    size_t i;
    int held = 0, digit;
    char *to;
    if (size && size % 4 == 0 && p[size - 1] == '=') size -= p[size - 2] == '=' ? 2 : 1;
    if (size % 4 == 1) return 1;
    if (fn_buffer_reserve(out, size / 4 * 3 + 3) < 0) return -1;
    to = out->data + out->size;
    for (i = 0; i < size; i++) {
        digit = fn_grpc_base64_digit(p[i]);
        if (digit < 0) return 1;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            *to++ = (char)(bits >> held & 0xff);
        }
    }
    out->size = (size_t)(to - out->data);
    return 0;
}

#endif
