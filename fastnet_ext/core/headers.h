/* Header fields as spans, and the ids of the names the engine knows.
 *
 * An id is found once, while a field is parsed; everything after compares ids.
 */
#ifndef FASTNET_CORE_HEADERS_H
#define FASTNET_CORE_HEADERS_H

#include <stdint.h>
#include <string.h>

/* Where some bytes lie in an arena. {0, 0} is the empty span. */
typedef struct {
    uint32_t offset;
    uint32_t size;
} fn_span;

typedef struct {
    fn_span name; /* lower case */
    fn_span value; /* without surrounding white space */
    uint32_t id; /* enum fn_header_id, FN_HEADER_OTHER when not listed there */
} fn_field;

/* X(identifier, "name"): the one list of known names. */
#define FN_KNOWN_HEADERS(X) \
    X(ACCEPT, "accept") \
    X(ACCEPT_ENCODING, "accept-encoding") \
    X(ACCEPT_LANGUAGE, "accept-language") \
    X(ACCESS_CONTROL_REQUEST_HEADERS, "access-control-request-headers") \
    X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method") \
    X(AUTHORIZATION, "authorization") \
    X(CACHE_CONTROL, "cache-control") \
    X(CONNECTION, "connection") \
    X(CONTENT_ENCODING, "content-encoding") \
    X(CONTENT_LENGTH, "content-length") \
    X(CONTENT_TYPE, "content-type") \
    X(COOKIE, "cookie") \
    X(DATE, "date") \
    X(EXPECT, "expect") \
    X(FORWARDED, "forwarded") \
    X(GRPC_ACCEPT_ENCODING, "grpc-accept-encoding") \
    X(GRPC_ENCODING, "grpc-encoding") \
    X(GRPC_MESSAGE, "grpc-message") \
    X(GRPC_STATUS, "grpc-status") \
    X(GRPC_TIMEOUT, "grpc-timeout") \
    X(HOST, "host") \
    X(HTTP2_SETTINGS, "http2-settings") \
    X(IF_MODIFIED_SINCE, "if-modified-since") \
    X(IF_NONE_MATCH, "if-none-match") \
    X(IF_RANGE, "if-range") \
    X(KEEP_ALIVE, "keep-alive") \
    X(LAST_EVENT_ID, "last-event-id") \
    X(LOCATION, "location") \
    X(ORIGIN, "origin") \
    X(PRIORITY, "priority") \
    X(PROXY_CONNECTION, "proxy-connection") \
    X(RANGE, "range") \
    X(REFERER, "referer") \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept") \
    X(SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions") \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key") \
    X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol") \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version") \
    X(SERVER, "server") \
    X(SET_COOKIE, "set-cookie") \
    X(TE, "te") \
    X(TRAILER, "trailer") \
    X(TRANSFER_ENCODING, "transfer-encoding") \
    X(UPGRADE, "upgrade") \
    X(USER_AGENT, "user-agent") \
    X(VARY, "vary") \
    X(X_FORWARDED_FOR, "x-forwarded-for") \
    X(X_FORWARDED_HOST, "x-forwarded-host") \
    X(X_FORWARDED_PROTO, "x-forwarded-proto") \
    X(X_REQUEST_ID, "x-request-id")

typedef enum {
    FN_HEADER_OTHER = 0,
#define FN_X(identifier, name) FN_HEADER_##identifier,
    FN_KNOWN_HEADERS(FN_X)
#undef FN_X
    FN_HEADER_COUNT
} fn_header_id;

static const struct {
    const char *name;
    uint8_t size;
} FN_HEADER_NAMES[FN_HEADER_COUNT] = {
    {"", 0},
#define FN_X(identifier, name) {name, sizeof(name) - 1},
    FN_KNOWN_HEADERS(FN_X)
#undef FN_X
};

/* The name that an id stands for, in lower case; empty for FN_HEADER_OTHER. */
static inline const char *fn_header_name(uint32_t id) { return FN_HEADER_NAMES[id].name; }

#define FN_IS(identifier) (memcmp(name, FN_HEADER_NAMES[FN_HEADER_##identifier].name, size) == 0 ? FN_HEADER_##identifier : FN_HEADER_OTHER)

/* The id of a lower-case name, FN_HEADER_OTHER when it is not a known one. */
static inline fn_header_id fn_find_header_id(const char *name, size_t size) {
    switch (size) {
    case 2: return FN_IS(TE);
    case 4:
        switch (name[0]) {
        case 'h': return FN_IS(HOST);
        case 'd': return FN_IS(DATE);
        case 'v': return FN_IS(VARY);
        }
        break;
    case 5: return FN_IS(RANGE);
    case 6:
        switch (name[0]) {
        case 'a': return FN_IS(ACCEPT);
        case 'c': return FN_IS(COOKIE);
        case 'e': return FN_IS(EXPECT);
        case 'o': return FN_IS(ORIGIN);
        case 's': return FN_IS(SERVER);
        }
        break;
    case 7:
        switch (name[0]) {
        case 'u': return FN_IS(UPGRADE);
        case 'r': return FN_IS(REFERER);
        case 't': return FN_IS(TRAILER);
        }
        break;
    case 8:
        switch (name[0]) {
        case 'i': return FN_IS(IF_RANGE);
        case 'l': return FN_IS(LOCATION);
        case 'p': return FN_IS(PRIORITY);
        }
        break;
    case 9: return FN_IS(FORWARDED);
    case 10:
        switch (name[0]) {
        case 'c': return FN_IS(CONNECTION);
        case 'u': return FN_IS(USER_AGENT);
        case 'k': return FN_IS(KEEP_ALIVE);
        case 's': return FN_IS(SET_COOKIE);
        }
        break;
    case 11: return FN_IS(GRPC_STATUS);
    case 12:
        switch (name[5]) {
        case 'n': return FN_IS(CONTENT_TYPE);
        case 't': return FN_IS(GRPC_TIMEOUT);
        case 'm': return FN_IS(GRPC_MESSAGE);
        case 'u': return FN_IS(X_REQUEST_ID);
        }
        break;
    case 13:
        switch (name[0]) {
        case 'a': return FN_IS(AUTHORIZATION);
        case 'c': return FN_IS(CACHE_CONTROL);
        case 'i': return FN_IS(IF_NONE_MATCH);
        case 'g': return FN_IS(GRPC_ENCODING);
        case 'l': return FN_IS(LAST_EVENT_ID);
        }
        break;
    case 14:
        return name[0] == 'c' ? FN_IS(CONTENT_LENGTH) : FN_IS(HTTP2_SETTINGS);
    case 15:
        switch (name[7]) {
        case 'e': return FN_IS(ACCEPT_ENCODING);
        case 'l': return FN_IS(ACCEPT_LANGUAGE);
        case 'r': return FN_IS(X_FORWARDED_FOR);
        }
        break;
    case 16:
        switch (name[0]) {
        case 'c': return FN_IS(CONTENT_ENCODING);
        case 'p': return FN_IS(PROXY_CONNECTION);
        case 'x': return FN_IS(X_FORWARDED_HOST);
        }
        break;
    case 17:
        switch (name[0]) {
        case 't': return FN_IS(TRANSFER_ENCODING);
        case 'i': return FN_IS(IF_MODIFIED_SINCE);
        case 's': return FN_IS(SEC_WEBSOCKET_KEY);
        case 'x': return FN_IS(X_FORWARDED_PROTO);
        }
        break;
    case 20:
        return name[0] == 's' ? FN_IS(SEC_WEBSOCKET_ACCEPT) : FN_IS(GRPC_ACCEPT_ENCODING);
    case 21: return FN_IS(SEC_WEBSOCKET_VERSION);
    case 22: return FN_IS(SEC_WEBSOCKET_PROTOCOL);
    case 24: return FN_IS(SEC_WEBSOCKET_EXTENSIONS);
    case 29: return FN_IS(ACCESS_CONTROL_REQUEST_METHOD);
    case 30: return FN_IS(ACCESS_CONTROL_REQUEST_HEADERS);
    }
    return FN_HEADER_OTHER;
}

#undef FN_IS

/* ASCII lower case in place, eight bytes at a time. */
static inline void fn_lower(char *p, size_t size) {
    while (size >= 8) {
        uint64_t w, seven, upper;
        memcpy(&w, p, 8);
        seven = w & 0x7f7f7f7f7f7f7f7fULL;
        upper = ((seven + 0x3f3f3f3f3f3f3f3fULL) ^ (seven + 0x2525252525252525ULL)) & ~w & 0x8080808080808080ULL;
        w |= upper >> 2;
        memcpy(p, &w, 8);
        p += 8;
        size -= 8;
    }
    while (size--) {
        if (*p >= 'A' && *p <= 'Z') *p |= 0x20;
        p++;
    }
}

/* The request methods with an id; FN_METHOD_OTHER keeps its name in the block. */
typedef enum {
    FN_METHOD_OTHER = 0,
    FN_METHOD_GET,
    FN_METHOD_HEAD,
    FN_METHOD_POST,
    FN_METHOD_PUT,
    FN_METHOD_PATCH,
    FN_METHOD_DELETE,
    FN_METHOD_OPTIONS,
    FN_METHOD_CONNECT,
    FN_METHOD_TRACE,
    FN_METHOD_COUNT
} fn_method;

static const char *const FN_METHOD_NAMES[FN_METHOD_COUNT] = {
    "", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"};

/* The id of a method; names are case-sensitive (RFC 9110, section 9.1). */
static inline fn_method fn_find_method(const char *name, size_t size) {
    switch (size) {
    case 3:
        if (memcmp(name, "GET", 3) == 0) return FN_METHOD_GET;
        if (memcmp(name, "PUT", 3) == 0) return FN_METHOD_PUT;
        break;
    case 4:
        if (memcmp(name, "POST", 4) == 0) return FN_METHOD_POST;
        if (memcmp(name, "HEAD", 4) == 0) return FN_METHOD_HEAD;
        break;
    case 5:
        if (memcmp(name, "PATCH", 5) == 0) return FN_METHOD_PATCH;
        if (memcmp(name, "TRACE", 5) == 0) return FN_METHOD_TRACE;
        break;
    case 6:
        if (memcmp(name, "DELETE", 6) == 0) return FN_METHOD_DELETE;
        break;
    case 7:
        if (memcmp(name, "OPTIONS", 7) == 0) return FN_METHOD_OPTIONS;
        if (memcmp(name, "CONNECT", 7) == 0) return FN_METHOD_CONNECT;
        break;
    }
    return FN_METHOD_OTHER;
}

#endif
