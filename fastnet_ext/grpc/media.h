/* Media types of the dialects of gRPC (RFC 9110, 8.3.1). */
#ifndef FASTNET_GRPC_MEDIA_H
#define FASTNET_GRPC_MEDIA_H

#include <stddef.h>
#include <strings.h>

/* The size of type and subtype in a content-type: parameters and white space behind them do not count. */
static inline size_t fn_grpc_essence(const char *p, size_t size) {
    size_t i = 0;
    while (i < size && p[i] != ';') i++;
    while (i && (p[i - 1] == ' ' || p[i - 1] == '\t')) i--;
    return i;
}

/* Whether these bytes are `name` (of `known` bytes, in lower case), whatever their case. */
static inline int fn_grpc_same(const char *p, size_t size, const char *name, size_t known) {
    return size == known && strncasecmp(p, name, known) == 0;
}

#endif
