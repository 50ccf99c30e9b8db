/* What a TLS ClientHello offers by ALPN: RFC 8446, 4.1.2 and 4.2; RFC 7301, 3.1. */
#ifndef FASTNET_TLS_CLIENT_HELLO_H
#define FASTNET_TLS_CLIENT_HELLO_H

#include <stddef.h>
#include <string.h>

#include "fastnet_ext/core/endian.h"

#define FN_HELLO_TYPE 1
#define FN_HELLO_HEADER 4 /* type and length of the message */
#define FN_HELLO_FIXED 34 /* version and random */
#define FN_HELLO_ALPN 16

typedef enum {
    FN_ALPN_ABSENT, /* the client says nothing of protocols */
    FN_ALPN_OFFERED,
    FN_ALPN_MALFORMED /* this is no ClientHello as it must be */
} fn_alpn;

/* A part of the message that is still to be read. */
typedef struct {
    const char *at;
    const char *end;
} fn_tls_part;

/* Take off a vector whose length is in `width` bytes; 0 when it does not fit. */
static inline int fn_tls_vector(fn_tls_part *from, int width, fn_tls_part *vector) {
    size_t size;
    if (from->end - from->at < width) return 0;
    size = width == 1 ? (unsigned char)*from->at : fn_load16(from->at);
    from->at += width;
    if ((size_t)(from->end - from->at) < size) return 0;
    vector->at = from->at;
    vector->end = from->at += size;
    return 1;
}

/* Whether the list is one of names that are not empty, and not empty itself. */
static inline int fn_alpn_list_valid(fn_tls_part list) {
    fn_tls_part name;
    if (list.at == list.end) return 0;
    while (list.at < list.end) {
        if (!fn_tls_vector(&list, 1, &name) || name.at == name.end) return 0;
    }
    return 1;
}

/* Read a whole handshake message; with FN_ALPN_OFFERED `list` is the run of names, each behind a byte of its length. */
static inline fn_alpn fn_alpn_of(const char *message, size_t size, fn_tls_part *list) {
    fn_tls_part rest = {message, message + size}, skipped, extensions, body;
    fn_alpn found = FN_ALPN_ABSENT;
    if (size < FN_HELLO_HEADER + FN_HELLO_FIXED || message[0] != FN_HELLO_TYPE) return FN_ALPN_MALFORMED;
    if (fn_load24(message + 1) != size - FN_HELLO_HEADER) return FN_ALPN_MALFORMED;
    rest.at += FN_HELLO_HEADER + FN_HELLO_FIXED;
    /* Session id, cipher suites, compression methods. */
    if (!fn_tls_vector(&rest, 1, &skipped) || !fn_tls_vector(&rest, 2, &skipped) || !fn_tls_vector(&rest, 1, &skipped))
        return FN_ALPN_MALFORMED;
    if (rest.at == rest.end) return FN_ALPN_ABSENT; /* TLS 1.2 may have no extensions */
    if (!fn_tls_vector(&rest, 2, &extensions) || rest.at != rest.end) return FN_ALPN_MALFORMED;
    while (extensions.at < extensions.end) {
        unsigned type;
        if (extensions.end - extensions.at < 2) return FN_ALPN_MALFORMED;
        type = fn_load16(extensions.at);
        extensions.at += 2;
        if (!fn_tls_vector(&extensions, 2, &body)) return FN_ALPN_MALFORMED;
        if (type != FN_HELLO_ALPN) continue;
        /* No extension comes twice. */
        if (found == FN_ALPN_OFFERED) return FN_ALPN_MALFORMED;
        if (!fn_tls_vector(&body, 2, list) || body.at != body.end || !fn_alpn_list_valid(*list))
            return FN_ALPN_MALFORMED;
        found = FN_ALPN_OFFERED;
    }
    return found;
}

#endif
