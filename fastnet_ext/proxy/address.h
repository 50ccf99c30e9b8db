/* IP addresses as 16 bytes: IPv4 is kept as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), so that both forms are one. */
#ifndef FASTNET_PROXY_ADDRESS_H
#define FASTNET_PROXY_ADDRESS_H

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

typedef struct {
    uint8_t bytes[16];
} fn_ip;

static const uint8_t fn_mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static inline void fn_ip_from_v4(const void *four, fn_ip *ip) {
    memcpy(ip->bytes, fn_mapped_prefix, 12);
    memcpy(ip->bytes + 12, four, 4);
}

static inline int fn_ip_is_v4(const fn_ip *ip) { return memcmp(ip->bytes, fn_mapped_prefix, 12) == 0; }

/* 1 when the text is an address, and nothing else: no scope, no port. */
static inline int fn_parse_ip(const char *p, size_t size, fn_ip *ip) {
    char text[INET6_ADDRSTRLEN];
    uint8_t four[4];
    if (size == 0 || size >= sizeof(text) || memchr(p, 0, size) != NULL) return 0;
    memcpy(text, p, size);
    text[size] = 0;
    if (memchr(text, ':', size) != NULL) return inet_pton(AF_INET6, text, ip->bytes) == 1;
    if (inet_pton(AF_INET, text, four) != 1) return 0;
    fn_ip_from_v4(four, ip);
    return 1;
}

/* A port of 1 to 5 digits, or -1. */
static inline int fn_parse_port(const char *p, size_t size) {
    int port = 0;
    size_t i;
    if (size == 0 || size > 5) return -1;
    for (i = 0; i < size; i++) {
        if (p[i] < '0' || p[i] > '9') return -1;
        port = port * 10 + (p[i] - '0');
    }
    return port <= 65535 ? port : -1;
}

/* "_" and what RFC 7239, 6.3 lets a name that hides something consist of. */
static inline int fn_is_obfuscated(const char *p, size_t size) {
    size_t i;
    if (size < 2 || p[0] != '_') return 0;
    for (i = 1; i < size; i++) {
        char c = p[i];
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' || c == '_' || c == '-'))
            return 0;
    }
    return 1;
}

/* 1 for an address with or without a port: 1.2.3.4, 1.2.3.4:5, ::1, [::1], [::1]:5. A port that is hidden
 * (RFC 7239, 6.2) or not there is 0. */
static inline int fn_parse_node(const char *p, size_t size, fn_ip *ip, int *port) {
    const char *colon = NULL, *end = p + size;
    *port = 0;
    if (size == 0) return 0;
    if (*p == '[') {
        const char *close = (const char *)memchr(p, ']', size);
        /* Brackets are for IPv6. */
        if (close == NULL || memchr(p, ':', (size_t)(close - p)) == NULL) return 0;
        if (!fn_parse_ip(p + 1, (size_t)(close - p) - 1, ip)) return 0;
        if (close + 1 == end) return 1;
        if (close[1] != ':') return 0;
        colon = close + 1;
    } else {
        const char *first = (const char *)memchr(p, ':', size);
        if (first == NULL || memchr(first + 1, ':', (size_t)(end - first) - 1) != NULL) return fn_parse_ip(p, size, ip);
        if (!fn_parse_ip(p, (size_t)(first - p), ip)) return 0;
        colon = first;
    }
    colon++;
    if (fn_is_obfuscated(colon, (size_t)(end - colon))) return 1;
    *port = fn_parse_port(colon, (size_t)(end - colon));
    if (*port >= 0) return 1;
    *port = 0;
    return 0;
}

/* The usual text of an address, IPv4 as such; its size. */
static inline size_t fn_ip_text(const fn_ip *ip, char out[INET6_ADDRSTRLEN]) {
    if (fn_ip_is_v4(ip))
        inet_ntop(AF_INET, ip->bytes + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, ip->bytes, out, INET6_ADDRSTRLEN);
    return strlen(out);
}

/* Whether the first `bits` of both are the same. */
static inline int fn_ip_in(const fn_ip *ip, const fn_ip *network, unsigned bits) {
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(ip->bytes, network->bytes, whole) != 0) return 0;
    return rest == 0 || ((ip->bytes[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0;
}

#endif
