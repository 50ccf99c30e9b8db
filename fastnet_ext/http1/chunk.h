/* The line before a chunk: its size and its extensions (RFC 9112, 7.1).
 *
 * Everything is judged as soon as its bytes are there, but for the grammar of the extensions, which
 * waits for the line's end. So the outcome does not depend on how the bytes were cut.
 */
#ifndef FASTNET_HTTP1_CHUNK_H
#define FASTNET_HTTP1_CHUNK_H

#include "fastnet_ext/http1/head.h"

typedef struct {
    uint64_t size; /* of the chunk's data, below 2^63 */
    uint32_t line; /* bytes of the line, CRLF included */
    uint32_t scanned; /* bytes of the unfinished line known to be no line end */
    uint32_t budget; /* bytes of extensions the message may still have */
} fn_h1_chunk;

static inline void fn_h1_begin_chunks(fn_h1_chunk *c, uint32_t budget) {
    c->size = 0;
    c->line = c->scanned = 0;
    c->budget = budget;
}

/* The byte behind the quoted-string at p, NULL when there is none: RFC 9110, 5.6.4. */
static const char *fn_h1_skip_quoted(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\' && ++p == end) return NULL;
    }
    return p < end ? p + 1 : NULL;
}

/* Whether [p, end), free of controls, is *( ";" token [ "=" ( token / quoted-string ) ] ). The
 * "bad" white space that RFC 9112, 7.1.1 lets old senders put in is refused. */
static int fn_h1_is_extension(const char *p, const char *end) {
    const char *start;
    while (p < end) {
        if (*p++ != ';') return 0;
        start = p;
        p = fn_skip_class(p, end, FN_CHAR_TOKEN);
        if (p == start) return 0;
        if (p == end || *p != '=') continue;
        start = ++p;
        if (p < end && *p == '"') p = fn_h1_skip_quoted(p, end);
        else p = fn_skip_class(p, end, FN_CHAR_TOKEN);
        if (p == NULL || p == start) return 0;
    }
    return 1;
}

/* The rest of a chunk line, from the ';' at data + offset on. */
static fn_h1_result fn_h1_read_extension(fn_h1_chunk *c, const char *data, size_t size, size_t offset) {
    const char *from = data + offset, *end = data + size, *stop;
    const char *limit = (size_t)(end - from) > c->budget ? from + c->budget : end;
    stop = fn_skip_value(c->scanned > offset ? data + c->scanned : from, limit);
    c->scanned = (uint32_t)(stop - data);
    if (stop == end) return FN_H1_MORE;
    if (stop == limit && fn_char_is(*stop, FN_CHAR_VALUE)) return FN_H1_CHUNK_EXTENSIONS_TOO_LONG;
    if (*stop != '\r') return *stop == '\n' ? FN_H1_BARE_LF : FN_H1_CHUNK_EXTENSION;
    if (stop + 1 == end) return FN_H1_MORE;
    if (stop[1] != '\n') return FN_H1_BARE_CR;
    if (!fn_h1_is_extension(from, stop)) return FN_H1_CHUNK_EXTENSION;
    c->budget -= (uint32_t)(stop - from);
    c->line = (uint32_t)(stop + 2 - data);
    c->scanned = 0;
    return FN_H1_DONE;
}

/* FN_H1_DONE sets size and line. Otherwise call again with the same bytes and more behind them. */
static inline fn_h1_result fn_h1_read_chunk_line(fn_h1_chunk *c, const char *data, size_t size) {
    uint64_t value = 0;
    size_t i;
    int digit;
    for (i = 0; i < size && (digit = fn_hex_digit(data[i])) >= 0; i++) {
        if (i == 16) return FN_H1_CHUNK_SIZE;
        value = value << 4 | (uint64_t)digit;
    }
    if (i == size) return FN_H1_MORE;
    if (i == 0 || value > (uint64_t)INT64_MAX) return FN_H1_CHUNK_SIZE;
    c->size = value;
    if (data[i] == ';') return fn_h1_read_extension(c, data, size, i);
    if (data[i] != '\r') return data[i] == '\n' ? FN_H1_BARE_LF : FN_H1_CHUNK_SIZE;
    if (i + 1 == size) return FN_H1_MORE;
    if (data[i + 1] != '\n') return FN_H1_BARE_CR;
    c->line = (uint32_t)i + 2;
    return FN_H1_DONE;
}

#endif
