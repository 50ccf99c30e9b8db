/* Scanners of the opening hand-shake's field values: RFC 6455, section 4, and RFC 6454. */
#ifndef FASTNET_WEBSOCKET_HANDSHAKE_H
#define FASTNET_WEBSOCKET_HANDSHAKE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline char fn_ws_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline int fn_ws_equal_folded(const char *a, size_t a_size, const char *b, size_t b_size) {
    size_t i;
    if (a_size != b_size) return 0;
    for (i = 0; i < a_size; i++)
        if (fn_ws_lower(a[i]) != fn_ws_lower(b[i])) return 0;
    return 1;
}

/* Whether a comma-separated list has the token (in any case). */
static inline int fn_ws_has_token(const char *value, size_t size, const char *token) {
    const char *end = value + size, *item, *stop;
    while (value < end) {
        const char *comma = (const char *)memchr(value, ',', (size_t)(end - value));
        item = value;
        stop = comma ? comma : end;
        value = comma ? comma + 1 : end;
        while (item < stop && (*item == ' ' || *item == '\t')) item++;
        while (stop > item && (stop[-1] == ' ' || stop[-1] == '\t')) stop--;
        if (fn_ws_equal_folded(item, (size_t)(stop - item), token, strlen(token))) return 1;
    }
    return 0;
}

static inline int fn_ws_is_base64(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* Whether this is the base64 of 16 bytes: 22 characters and the padding. */
static inline int fn_ws_is_key(const char *value, size_t size) {
    size_t i;
    if (size != 24 || value[22] != '=' || value[23] != '=') return 0;
    for (i = 0; i < 22; i++)
        if (!fn_ws_is_base64(value[i])) return 0;
    return 1;
}

/* Where the host of "host[:port]" ends; the default port is cut off. */
static inline size_t fn_ws_host_size(const char *p, size_t size, const char *port) {
    size_t length = strlen(port);
    if (size > length && p[size - length - 1] == ':' && memcmp(p + size - length, port, length) == 0)
        return size - length - 1;
    return size;
}

/* Whether an Origin ("https://example.com") is of the host that the request names. The port is compared
 * after the default of the origin's scheme is taken off both; the scheme itself is not compared, since a
 * proxy may have ended TLS. "null" is of no host. */
static inline int fn_ws_same_origin(const char *origin, size_t origin_size, const char *host, size_t host_size) {
    const char *port;
    size_t skip;
    if (origin_size > 8 && fn_ws_equal_folded(origin, 8, "https://", 8)) {
        port = "443";
        skip = 8;
    } else if (origin_size > 7 && fn_ws_equal_folded(origin, 7, "http://", 7)) {
        port = "80";
        skip = 7;
    } else {
        return 0;
    }
    origin += skip;
    origin_size -= skip;
    return fn_ws_equal_folded(
        origin, fn_ws_host_size(origin, origin_size, port), host, fn_ws_host_size(host, host_size, port));
}

#endif
