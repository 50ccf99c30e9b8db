/* What FASTNET_BUILD=debug and sanitize check on top; nothing of it is in a plain build.
 *
 * `assert` would not do: Python's own flags define NDEBUG for every extension.
 */
#ifndef FASTNET_CORE_DEBUG_H
#define FASTNET_CORE_DEBUG_H

#ifdef FASTNET_DEBUG

#include <stdio.h>
#include <stdlib.h>

#define FN_DEBUG 1

static inline void fn_broken(const char *condition, const char *file, int line) {
    fprintf(stderr, "fastnet: invariant broken: %s (%s:%d)\n", condition, file, line);
    fflush(stderr);
    abort();
}

#define FN_INVARIANT(condition) ((condition) ? (void)0 : fn_broken(#condition, __FILE__, __LINE__))

#else

#define FN_DEBUG 0
#define FN_INVARIANT(condition) ((void)0)

#endif

/* The kinds of objects whose number is kept. X(identifier, "name") */
#define FN_LIVE_KINDS(X) \
    X(HEADER_BLOCK, "HeaderBlock") \
    X(READER, "Reader") \
    X(HTTP2_CONNECTION, "Http2Connection") \
    X(HTTP2_STREAM, "Http2Stream") \
    X(WEBSOCKET_SESSION, "WebSocketSession") \
    X(EXCHANGE, "Exchange") \
    X(RUNNER, "Runner") \
    X(CONNECTION, "Connection")

typedef enum {
#define FN_X(identifier, name) FN_LIVE_##identifier,
    FN_LIVE_KINDS(FN_X)
#undef FN_X
    FN_LIVE_COUNT
} fn_live_kind;

static const char *const FN_LIVE_NAMES[FN_LIVE_COUNT] = {
#define FN_X(identifier, name) name,
    FN_LIVE_KINDS(FN_X)
#undef FN_X
};

#endif
