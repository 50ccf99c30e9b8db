/* The head of an HTTP/1 message: start line, fields, and how the body is framed (RFC 9112).
 *
 * Bytes come with every call from the first byte of the head on, more of them each time. Two rules
 * make the outcome independent of how they were cut, and the cost linear:
 *
 *  - A line is judged once its LF is there. Until then the only errors are those that its first
 *    bytes prove (no method starts like this) and those of size. `searched` keeps how far the
 *    search for the LF has come.
 *  - Sizes come before contents: a line that reaches behind a limit fails for its size.
 *
 * Lines read stay read: `line` is where the next one starts.
 */
#ifndef FASTNET_HTTP1_HEAD_H
#define FASTNET_HTTP1_HEAD_H

#include "fastnet_ext/core/headers.h"
#include "fastnet_ext/core/scan.h"

/* X(identifier, status for the peer, sentence for the peer) */
#define FN_H1_ERRORS(X) \
    X(START_LINE, 400, "The request line is malformed.") \
    X(STATUS_LINE, 400, "The status line is malformed.") \
    X(METHOD, 400, "The method is not a token of at most 64 characters.") \
    X(TARGET_CHARACTER, 400, "The request target holds a forbidden character.") \
    X(TARGET_FORM, 400, "The request target has no form that its method may have.") \
    X(VERSION, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken in this format.") \
    X(LINE_TOO_LONG, 414, "The request line is too long.") \
    X(HEAD_TOO_LARGE, 431, "The header section is too large.") \
    X(TOO_MANY_FIELDS, 431, "The message has too many fields.") \
    X(BARE_CR, 400, "A carriage return stands without a line feed.") \
    X(BARE_LF, 400, "A line feed stands without a carriage return.") \
    X(FOLDED, 400, "A field is folded over several lines.") \
    X(NAME_EMPTY, 400, "A field has no name.") \
    X(NAME_SPACE, 400, "White space stands between a field's name and its colon.") \
    X(NAME, 400, "A field's name is not a token followed by a colon.") \
    X(VALUE, 400, "A field's value holds a control character.") \
    X(HOST_MISSING, 400, "The Host field is missing.") \
    X(HOST_REPEATED, 400, "There is more than one Host field.") \
    X(HOST_INVALID, 400, "The Host field holds no valid host and port.") \
    X(LENGTH_INVALID, 400, "The Content-Length is no decimal number below 2^63.") \
    X(LENGTH_REPEATED, 400, "There is more than one Content-Length.") \
    X(LENGTH_AND_CODING, 400, "Content-Length and Transfer-Encoding stand together.") \
    X(CODING_VERSION, 400, "Transfer-Encoding is not part of HTTP/1.0.") \
    X(CODING_INVALID, 400, "The Transfer-Encoding has an empty element.") \
    X(CODING_REPEATED, 400, "The chunked coding is applied more than once.") \
    X(CODING_NOT_CHUNKED, 400, "The final transfer coding is not chunked.") \
    X(CODING_UNKNOWN, 501, "Chunked is the only transfer coding understood.") \
    X(EXPECTATION, 417, "100-continue is the only expectation understood.") \
    X(CHUNK_SIZE, 400, "A chunk's size is not 1 to 16 hexadecimal digits of a number below 2^63.") \
    X(CHUNK_EXTENSION, 400, "A chunk extension is malformed.") \
    X(CHUNK_EXTENSIONS_TOO_LONG, 400, "The chunk extensions are too long in total.") \
    X(CHUNK_END, 400, "A chunk's data is not followed by CRLF.") \
    X(TRAILERS_TOO_LARGE, 431, "The trailer section is too large.") \
    X(TRAILER_FORBIDDEN, 400, "A trailer field may only stand in the head.") \
    X(TOO_MANY_INTERIM, 502, "Too many interim responses came before the final one.") \
    X(TRUNCATED, 400, "The message ends too early.")

typedef enum {
    FN_H1_DONE = 0, /* the section is complete */
    FN_H1_MORE, /* more bytes must come */
    FN_H1_NOT_HTTP, /* no request line of HTTP/1 at all */
#define FN_X(identifier, status, sentence) FN_H1_##identifier,
    FN_H1_ERRORS(FN_X)
#undef FN_X
    FN_H1_COUNT
} fn_h1_result;

typedef struct {
    uint16_t status;
    const char *sentence;
} fn_h1_answer;

static const fn_h1_answer FN_H1_ANSWERS[FN_H1_COUNT] = {
    {0, ""},
    {0, ""},
    {0, ""},
#define FN_X(identifier, status, sentence) {status, sentence},
    FN_H1_ERRORS(FN_X)
#undef FN_X
};

typedef enum { FN_H1_PART_REQUEST, FN_H1_PART_RESPONSE, FN_H1_PART_FIELDS, FN_H1_PART_TRAILERS } fn_h1_part;

/* What the fields said about the message. */
#define FN_H1_CLOSE 1
#define FN_H1_KEEP_ALIVE 2
#define FN_H1_UPGRADE 4 /* Connection: upgrade */
#define FN_H1_HAS_UPGRADE 8 /* an Upgrade field */
#define FN_H1_HAS_HOST 16
#define FN_H1_EMPTY_HOST 32
#define FN_H1_HAS_CODING 64
#define FN_H1_CHUNKED 128 /* chunked stands somewhere in Transfer-Encoding */
#define FN_H1_CHUNKED_LAST 256
#define FN_H1_OTHER_CODING 512
#define FN_H1_EXPECT 1024
#define FN_H1_BAD_EXPECT 2048

#define FN_H1_METHOD_MAX 64

typedef struct {
    /* Where the reading stands, as offsets from the section's first byte. [line, searched) holds
     * no LF. `end` is behind the last value: what a block must keep. */
    uint32_t line;
    uint32_t searched;
    uint32_t end;
    uint8_t part; /* fn_h1_part of the next line */
    uint8_t first; /* nothing was read on this connection before: NOT_HTTP is possible */

    /* Limits: bytes of the start line without CRLF, bytes of the section, fields. */
    uint32_t max_line;
    uint32_t max_size;
    uint32_t max_fields;

    /* The fields read; room for max_fields of them. */
    uint32_t count;
    fn_field *fields;

    /* The start line. A response has its reason in `target`. */
    fn_span method_name;
    fn_span target;
    fn_span authority;
    uint32_t method; /* fn_method */
    uint32_t status;
    uint32_t minor;

    uint32_t flags;
    int64_t content_length; /* -1: none */
} fn_h1_head;

static inline void fn_h1_begin(fn_h1_head *h, fn_h1_part part, uint32_t max_line, uint32_t max_size,
                               uint32_t max_fields) {
    h->line = h->searched = h->end = h->count = 0;
    h->part = (uint8_t)part;
    h->max_line = max_line;
    h->max_size = max_size;
    h->max_fields = max_fields;
    h->method_name.offset = h->method_name.size = 0;
    h->target = h->authority = h->method_name;
    h->method = FN_METHOD_OTHER;
    h->status = h->minor = h->flags = 0;
    h->content_length = -1;
}

static inline fn_span fn_h1_span(const char *data, const char *from, const char *to) {
    fn_span span;
    span.offset = (uint32_t)(from - data);
    span.size = (uint32_t)(to - from);
    return span;
}

/* ---- errors: the cold half ---- */

/* The limits are above FN_H1_METHOD_MAX, so that many bytes are there. */
static fn_h1_result fn_h1_too_large(const fn_h1_head *h, const char *data) {
    const char *method_limit = data + FN_H1_METHOD_MAX + 1;
    switch (h->part) {
    case FN_H1_PART_REQUEST:
        /* Many bytes without a method are no request, however long. */
        if (h->first && fn_skip_class(data, method_limit, FN_CHAR_TOKEN) == method_limit) return FN_H1_NOT_HTTP;
        return FN_H1_LINE_TOO_LONG;
    case FN_H1_PART_TRAILERS: return FN_H1_TRAILERS_TOO_LARGE;
    default: return FN_H1_HEAD_TOO_LARGE;
    }
}

/* Whether a start line breaks its limit; `lf` is NULL when its end is not among the `size` bytes. */
static int fn_h1_start_line_too_long(const fn_h1_head *h, const char *data, size_t size, const char *lf) {
    if (h->part > FN_H1_PART_RESPONSE) return 0;
    return (lf ? (size_t)(lf - data) : size) > (size_t)h->max_line + 1;
}

/* The line's LF is not among `size` bytes. */
static fn_h1_result fn_h1_incomplete(fn_h1_head *h, const char *data, size_t size) {
    h->searched = (uint32_t)size;
    if (size >= h->max_size || fn_h1_start_line_too_long(h, data, size, NULL)) return fn_h1_too_large(h, data);
    return FN_H1_MORE;
}

/* The current line is wrong: judged when its LF is there, and by its size first. */
static fn_h1_result fn_h1_wrong(fn_h1_head *h, const char *data, size_t size, fn_h1_result result) {
    const char *lf = (const char *)memchr(data + h->line, '\n', size - h->line);
    if (lf == NULL) return fn_h1_incomplete(h, data, size);
    if (fn_h1_start_line_too_long(h, data, size, lf)) return fn_h1_too_large(h, data);
    return result;
}

/* The last occurrence of " HTTP/" in the line, NULL when there is none. */
static const char *fn_h1_find_version(const char *line, const char *end) {
    const char *p;
    for (p = end - 6; p >= line; p--) {
        if (memcmp(p, " HTTP/", 6) == 0) return p;
    }
    return NULL;
}

/* Why a complete request line [line, lf) is wrong. */
static fn_h1_result fn_h1_judge_request_line(const fn_h1_head *h, const char *line, const char *lf) {
    const char *end = lf > line && lf[-1] == '\r' ? lf - 1 : lf;
    const char *version = end - line < 6 ? NULL : fn_h1_find_version(line, end);
    const char *method_end, *p;
    if (version == NULL) return h->first ? FN_H1_NOT_HTTP : FN_H1_START_LINE;
    if (end == lf) return FN_H1_BARE_LF;
    if (memchr(line, '\r', (size_t)(end - line))) return FN_H1_BARE_CR;
    version += 6;
    if (end - version != 3 || version[0] < '0' || version[0] > '9' || version[1] != '.' || version[2] < '0' ||
        version[2] > '9')
        return h->first ? FN_H1_NOT_HTTP : FN_H1_START_LINE;
    if (version[0] != '1' || version[2] > '1') return FN_H1_VERSION;
    method_end = fn_skip_class(line, end, FN_CHAR_TOKEN);
    if (method_end == line || *method_end != ' ' || method_end - line > FN_H1_METHOD_MAX) return FN_H1_METHOD;
    p = method_end + 1;
    version -= 6;
    if (p >= version || memchr(p, ' ', (size_t)(version - p))) return FN_H1_START_LINE;
    if (fn_skip_target(p, version) != version) return FN_H1_TARGET_CHARACTER;
    return FN_H1_TARGET_FORM;
}

static fn_h1_result fn_h1_wrong_request_line(fn_h1_head *h, const char *data, size_t size) {
    const char *lf = (const char *)memchr(data, '\n', size);
    if (lf == NULL) return fn_h1_incomplete(h, data, size);
    if (fn_h1_start_line_too_long(h, data, size, lf)) return fn_h1_too_large(h, data);
    return fn_h1_judge_request_line(h, data, lf);
}

/* ---- start lines ---- */

/* The authority of an absolute-form target, http or https only: RFC 9112, 3.2.2. User information
 * is refused (RFC 9110, 4.2.4). */
static int fn_h1_read_absolute_form(fn_h1_head *h, const char *data, const char *p, const char *end) {
    const char *authority, *q;
    if (end - p > 8 && fn_equals_fold(p, 4, "http", 4) && memcmp(p + 4, "://", 3) == 0) authority = p + 7;
    else if (end - p > 8 && fn_equals_fold(p, 5, "https", 5) && memcmp(p + 5, "://", 3) == 0) authority = p + 8;
    else return 0;
    for (q = authority; q < end && *q != '/' && *q != '?'; q++) {}
    if (!fn_is_authority(authority, (size_t)(q - authority), 0)) return 0;
    h->authority = fn_h1_span(data, authority, q);
    return 1;
}

/* Whether a target free of forbidden characters has a form its method may have: RFC 9112, 3.2. */
static int fn_h1_read_target(fn_h1_head *h, const char *data, const char *p, const char *end) {
    h->target = fn_h1_span(data, p, end);
    if (p == end) return 0;
    if (h->method == FN_METHOD_CONNECT) {
        h->authority = h->target;
        return fn_is_authority(p, (size_t)(end - p), 1);
    }
    if (*p == '/') return 1;
    if (*p == '*') return end - p == 1 && h->method == FN_METHOD_OPTIONS;
    return fn_h1_read_absolute_form(h, data, p, end);
}

/* A byte that no line of HTTP starts with: a control or one above ASCII. */
static int fn_h1_is_binary(char c) {
    return (uint8_t)c >= 0x7f || ((uint8_t)c < 0x20 && c != '\r' && c != '\n' && c != '\t');
}

static inline fn_h1_result fn_h1_read_request_line(fn_h1_head *h, const char *data, size_t size) {
    const char *p = data, *end = data + size, *target;
    const char *method_limit = size > FN_H1_METHOD_MAX + 1 ? data + FN_H1_METHOD_MAX + 1 : end;
    p = fn_skip_class(p, method_limit, FN_CHAR_TOKEN);
    if (p == end) return fn_h1_incomplete(h, data, size);
    if (*p != ' ' || p == data || p - data > FN_H1_METHOD_MAX) {
        if (p < method_limit && fn_h1_is_binary(*p)) return h->first ? FN_H1_NOT_HTTP : FN_H1_METHOD;
        return fn_h1_wrong_request_line(h, data, size);
    }
    h->method_name = fn_h1_span(data, data, p);
    h->method = fn_find_method(data, h->method_name.size);
    target = ++p;
    p = fn_skip_target(p, end);
    if (end - p < 11) return fn_h1_wrong_request_line(h, data, size);
    if (memcmp(p, " HTTP/1.", 8) != 0 || (p[8] != '1' && p[8] != '0') || p[9] != '\r' || p[10] != '\n')
        return fn_h1_wrong_request_line(h, data, size);
    if (!fn_h1_read_target(h, data, target, p)) return fn_h1_wrong_request_line(h, data, size);
    if (p + 10 - data > (ptrdiff_t)h->max_line + 1) return fn_h1_too_large(h, data);
    h->minor = (uint32_t)(p[8] - '0');
    h->line = h->end = (uint32_t)(p + 11 - data);
    h->part = FN_H1_PART_FIELDS;
    return FN_H1_DONE;
}

/* RFC 9112, 4. A line that ends right behind the code, without the SP, is taken as well: servers
 * send it, and it can be read in one way only. */
static fn_h1_result fn_h1_read_status_line(fn_h1_head *h, const char *data, size_t size) {
    const char *lf, *end, *reason;
    int i;
    if (memcmp(data, "HTTP/1.", size < 7 ? size : 7) != 0) return FN_H1_STATUS_LINE;
    lf = (const char *)memchr(data, '\n', size);
    if (lf == NULL) return fn_h1_incomplete(h, data, size);
    if (fn_h1_start_line_too_long(h, data, size, lf)) return fn_h1_too_large(h, data);
    if (lf[-1] != '\r') return FN_H1_BARE_LF;
    end = lf - 1;
    if (end - data < 12 || (data[7] != '0' && data[7] != '1') || data[8] != ' ') return FN_H1_STATUS_LINE;
    for (i = 9; i < 12; i++) {
        if (data[i] < '0' || data[i] > '9') return FN_H1_STATUS_LINE;
        h->status = h->status * 10 + (uint32_t)(data[i] - '0');
    }
    reason = data + 12;
    if (reason < end && *reason++ != ' ') return FN_H1_STATUS_LINE;
    if (h->status < 100 || fn_skip_value(reason, end) != end) return FN_H1_STATUS_LINE;
    h->target = fn_h1_span(data, reason, end);
    h->minor = (uint32_t)(data[7] - '0');
    h->line = h->end = (uint32_t)(lf + 1 - data);
    h->part = FN_H1_PART_FIELDS;
    return FN_H1_DONE;
}

/* ---- what fields mean for the message ---- */

/* The next element of a comma-separated list: trimmed, possibly empty. 0 when there is none. */
static int fn_h1_next_element(const char **p, const char *end, const char **from, const char **to) {
    const char *comma, *a, *b;
    if (*p > end) return 0;
    comma = (const char *)memchr(*p, ',', (size_t)(end - *p));
    a = *p;
    b = comma ? comma : end;
    *p = b + 1;
    while (a < b && (*a == ' ' || *a == '\t')) a++;
    while (a < b && (b[-1] == ' ' || b[-1] == '\t')) b--;
    *from = a;
    *to = b;
    return 1;
}

#define FN_H1_IS(literal) fn_equals_fold(from, (size_t)(to - from), literal, sizeof(literal) - 1)

static void fn_h1_read_connection(fn_h1_head *h, const char *p, const char *end) {
    const char *from, *to;
    while (fn_h1_next_element(&p, end, &from, &to)) {
        if (FN_H1_IS("close")) h->flags |= FN_H1_CLOSE;
        else if (FN_H1_IS("keep-alive")) h->flags |= FN_H1_KEEP_ALIVE;
        else if (FN_H1_IS("upgrade")) h->flags |= FN_H1_UPGRADE;
    }
}

/* Parameters make a coding another one: chunked has none (RFC 9112, 7.1). */
static fn_h1_result fn_h1_read_codings(fn_h1_head *h, const char *p, const char *end) {
    const char *from, *to;
    h->flags |= FN_H1_HAS_CODING;
    while (fn_h1_next_element(&p, end, &from, &to)) {
        if (from == to) return FN_H1_CODING_INVALID;
        if (FN_H1_IS("chunked")) {
            if (h->flags & FN_H1_CHUNKED) return FN_H1_CODING_REPEATED;
            h->flags |= FN_H1_CHUNKED | FN_H1_CHUNKED_LAST;
        } else {
            h->flags |= FN_H1_OTHER_CODING;
            h->flags &= ~(uint32_t)FN_H1_CHUNKED_LAST;
        }
    }
    return FN_H1_DONE;
}

static fn_h1_result fn_h1_read_host(fn_h1_head *h, const char *from, const char *to) {
    if (h->flags & FN_H1_HAS_HOST) return FN_H1_HOST_REPEATED;
    h->flags |= FN_H1_HAS_HOST;
    if (from == to) h->flags |= FN_H1_EMPTY_HOST;
    else if (!fn_is_authority(from, (size_t)(to - from), 0)) return FN_H1_HOST_INVALID;
    return FN_H1_DONE;
}

static fn_h1_result fn_h1_read_length(fn_h1_head *h, const char *from, const char *to) {
    if (h->content_length >= 0 || memchr(from, ',', (size_t)(to - from))) return FN_H1_LENGTH_REPEATED;
    h->content_length = fn_parse_decimal(from, (size_t)(to - from));
    return h->content_length < 0 ? FN_H1_LENGTH_INVALID : FN_H1_DONE;
}

/* A field of the head that says how the message is to be read, or FN_H1_DONE at once. */
static inline fn_h1_result fn_h1_interpret(fn_h1_head *h, uint32_t id, const char *from, const char *to) {
    switch (id) {
    case FN_HEADER_HOST: return h->status ? FN_H1_DONE : fn_h1_read_host(h, from, to);
    case FN_HEADER_CONTENT_LENGTH: return fn_h1_read_length(h, from, to);
    case FN_HEADER_TRANSFER_ENCODING: return fn_h1_read_codings(h, from, to);
    case FN_HEADER_CONNECTION: fn_h1_read_connection(h, from, to); break;
    case FN_HEADER_UPGRADE: h->flags |= FN_H1_HAS_UPGRADE; break;
    case FN_HEADER_EXPECT: h->flags |= FN_H1_IS("100-continue") ? FN_H1_EXPECT : FN_H1_BAD_EXPECT; break;
    }
    return FN_H1_DONE;
}

/* Fields that frame, route, authenticate or modify a message, or say how to read its content, come
 * too late behind it: RFC 9110, 6.5.1. */
static int fn_h1_is_forbidden_trailer(uint32_t id, const char *name, size_t size) {
    static const char *const others[] = {
        "content-range", "max-forwards", "pragma", "if-match", "if-unmodified-since", "proxy-authenticate",
        "proxy-authorization", "www-authenticate",
    };
    size_t i;
    switch (id) {
    case FN_HEADER_OTHER:
        for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            if (fn_equals_fold(name, size, others[i], strlen(others[i]))) return 1;
        }
        return 0;
    case FN_HEADER_AUTHORIZATION:
    case FN_HEADER_CACHE_CONTROL:
    case FN_HEADER_CONNECTION:
    case FN_HEADER_CONTENT_ENCODING:
    case FN_HEADER_CONTENT_LENGTH:
    case FN_HEADER_CONTENT_TYPE:
    case FN_HEADER_COOKIE:
    case FN_HEADER_EXPECT:
    case FN_HEADER_FORWARDED:
    case FN_HEADER_HOST:
    case FN_HEADER_IF_MODIFIED_SINCE:
    case FN_HEADER_IF_NONE_MATCH:
    case FN_HEADER_IF_RANGE:
    case FN_HEADER_KEEP_ALIVE:
    case FN_HEADER_PROXY_CONNECTION:
    case FN_HEADER_RANGE:
    case FN_HEADER_SET_COOKIE:
    case FN_HEADER_TE:
    case FN_HEADER_TRAILER:
    case FN_HEADER_TRANSFER_ENCODING:
    case FN_HEADER_UPGRADE:
    case FN_HEADER_X_FORWARDED_FOR:
    case FN_HEADER_X_FORWARDED_HOST:
    case FN_HEADER_X_FORWARDED_PROTO: return 1;
    }
    return 0;
}

/* ---- field lines ---- */

/* Why the line at `line`, whose name is no token before a colon, is wrong. */
static fn_h1_result fn_h1_judge_name(const char *line, const char *stop) {
    if (*stop == '\n') return FN_H1_BARE_LF;
    if (*stop == '\r') return FN_H1_BARE_CR;
    if (stop > line) return *stop == ' ' || *stop == '\t' ? FN_H1_NAME_SPACE : FN_H1_NAME;
    if (*stop == ' ' || *stop == '\t') return FN_H1_FOLDED;
    return *stop == ':' ? FN_H1_NAME_EMPTY : FN_H1_NAME;
}

/* The next line of a header or trailer section. FN_H1_DONE when it was the empty one that ends the
 * section, FN_H1_COUNT when it was a field. The bytes end at size <= max_size. */
static inline fn_h1_result fn_h1_read_field(fn_h1_head *h, const char *data, size_t size) {
    char lower[FN_LOWER_NAME];
    const char *line = data + h->line, *end = data + size, *p, *from, *to;
    fn_h1_result result;
    fn_field *field;
    size_t name;
    uint32_t id;
    if (line == end) return fn_h1_incomplete(h, data, size);
    if (line[0] == '\r' && end - line >= 2 && line[1] == '\n') {
        h->line += 2;
        return FN_H1_DONE;
    }
    name = fn_scan_name(line, end, lower);
    p = line + name;
    if (p == end) return fn_h1_incomplete(h, data, size);
    if (*p != ':' || name == 0) return fn_h1_wrong(h, data, size, fn_h1_judge_name(line, p));
    p++;
    while (p < end && (*p == ' ' || *p == '\t')) p++;
    from = p;
    p = fn_skip_value(p, end);
    if (end - p < 2) return fn_h1_wrong(h, data, size, p < end && *p == '\n' ? FN_H1_BARE_LF : FN_H1_VALUE);
    if (p[0] != '\r' || p[1] != '\n') {
        result = *p == '\n' ? FN_H1_BARE_LF : *p == '\r' ? FN_H1_BARE_CR : FN_H1_VALUE;
        return fn_h1_wrong(h, data, size, result);
    }
    to = p;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t')) to--;
    if (h->count == h->max_fields) return FN_H1_TOO_MANY_FIELDS;
    id = name <= FN_LOWER_NAME ? fn_find_header_id(lower, name) : FN_HEADER_OTHER;
    if (h->part == FN_H1_PART_TRAILERS) {
        if (fn_h1_is_forbidden_trailer(id, line, name)) return FN_H1_TRAILER_FORBIDDEN;
    } else if (id != FN_HEADER_OTHER) {
        result = fn_h1_interpret(h, id, from, to);
        if (result != FN_H1_DONE) return result;
    }
    field = &h->fields[h->count++];
    field->name.offset = h->line;
    field->name.size = (uint32_t)name;
    field->value = fn_h1_span(data, from, to);
    field->id = id;
    h->end = (uint32_t)(to - data);
    h->line = (uint32_t)(p + 2 - data);
    return FN_H1_COUNT;
}

#undef FN_H1_IS

/* ---- sections ---- */

/* Read on. `data` starts at the section's first byte; at FN_H1_DONE `h->line` is its size. */
static fn_h1_result fn_h1_read_section(fn_h1_head *h, const char *data, size_t size) {
    fn_h1_result result;
    if (size > h->max_size) size = h->max_size; /* no line may end behind it */
    /* Start lines are looked at again while their first bytes alone may prove them wrong. */
    if (h->searched > h->line && (h->line || h->part == FN_H1_PART_TRAILERS || h->searched > FN_H1_METHOD_MAX + 1)) {
        if (size <= h->searched) return FN_H1_MORE;
        if (memchr(data + h->searched, '\n', size - h->searched) == NULL) return fn_h1_incomplete(h, data, size);
    }
    if (h->part == FN_H1_PART_REQUEST) result = fn_h1_read_request_line(h, data, size);
    else if (h->part == FN_H1_PART_RESPONSE) result = fn_h1_read_status_line(h, data, size);
    else result = FN_H1_DONE;
    if (result != FN_H1_DONE) return result;
    do result = fn_h1_read_field(h, data, size);
    while (result == FN_H1_COUNT);
    return result;
}

/* What a complete head adds up to: RFC 9112, 3.2 and 6.3. The head stays valid when this fails. */
static inline fn_h1_result fn_h1_check_codings(const fn_h1_head *h) {
    if (!(h->flags & FN_H1_HAS_CODING)) return FN_H1_DONE;
    if (h->minor == 0) return FN_H1_CODING_VERSION;
    if (h->content_length >= 0) return FN_H1_LENGTH_AND_CODING;
    if (!(h->flags & FN_H1_CHUNKED_LAST)) return FN_H1_CODING_NOT_CHUNKED;
    return h->flags & FN_H1_OTHER_CODING ? FN_H1_CODING_UNKNOWN : FN_H1_DONE;
}

static inline fn_h1_result fn_h1_check_request(const fn_h1_head *h) {
    fn_h1_result result;
    if (!(h->flags & FN_H1_HAS_HOST) && h->minor) return FN_H1_HOST_MISSING;
    if ((h->flags & FN_H1_EMPTY_HOST) && h->authority.size) return FN_H1_HOST_INVALID;
    result = fn_h1_check_codings(h);
    return result == FN_H1_DONE && (h->flags & FN_H1_BAD_EXPECT) ? FN_H1_EXPECTATION : result;
}

/* Whether the connection outlives the message: RFC 9112, 9.3. */
static inline int fn_h1_keeps_alive(const fn_h1_head *h) {
    if (h->flags & FN_H1_CLOSE) return 0;
    return h->minor || (h->flags & FN_H1_KEEP_ALIVE);
}

#endif
