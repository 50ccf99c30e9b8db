/* HTTP/1 heads, fields and chunks into a buffer (RFC 9112).
 *
 * Every function reserves once and then writes; 0, or -1 when memory is out (the buffer is as it
 * was). Nothing is checked here: names, values and targets that are not the caller's own go through
 * fn_is_token, fn_is_field_value and fn_is_target of core/scan.h first.
 */
#ifndef FASTNET_HTTP1_WRITER_H
#define FASTNET_HTTP1_WRITER_H

#include "fastnet_ext/core/buffer.h"
#include "fastnet_ext/core/endian.h"

#define FN_H1_DATE_SIZE 29

/* X(code, reason phrase): the registered status codes. */
#define FN_H1_REASONS(X) \
    X(100, "Continue") \
    X(101, "Switching Protocols") \
    X(102, "Processing") \
    X(103, "Early Hints") \
    X(200, "OK") \
    X(201, "Created") \
    X(202, "Accepted") \
    X(203, "Non-Authoritative Information") \
    X(204, "No Content") \
    X(205, "Reset Content") \
    X(206, "Partial Content") \
    X(207, "Multi-Status") \
    X(208, "Already Reported") \
    X(226, "IM Used") \
    X(300, "Multiple Choices") \
    X(301, "Moved Permanently") \
    X(302, "Found") \
    X(303, "See Other") \
    X(304, "Not Modified") \
    X(305, "Use Proxy") \
    X(307, "Temporary Redirect") \
    X(308, "Permanent Redirect") \
    X(400, "Bad Request") \
    X(401, "Unauthorized") \
    X(402, "Payment Required") \
    X(403, "Forbidden") \
    X(404, "Not Found") \
    X(405, "Method Not Allowed") \
    X(406, "Not Acceptable") \
    X(407, "Proxy Authentication Required") \
    X(408, "Request Timeout") \
    X(409, "Conflict") \
    X(410, "Gone") \
    X(411, "Length Required") \
    X(412, "Precondition Failed") \
    X(413, "Content Too Large") \
    X(414, "URI Too Long") \
    X(415, "Unsupported Media Type") \
    X(416, "Range Not Satisfiable") \
    X(417, "Expectation Failed") \
    X(421, "Misdirected Request") \
    X(422, "Unprocessable Content") \
    X(423, "Locked") \
    X(424, "Failed Dependency") \
    X(425, "Too Early") \
    X(426, "Upgrade Required") \
    X(428, "Precondition Required") \
    X(429, "Too Many Requests") \
    X(431, "Request Header Fields Too Large") \
    X(451, "Unavailable For Legal Reasons") \
    X(500, "Internal Server Error") \
    X(501, "Not Implemented") \
    X(502, "Bad Gateway") \
    X(503, "Service Unavailable") \
    X(504, "Gateway Timeout") \
    X(505, "HTTP Version Not Supported") \
    X(506, "Variant Also Negotiates") \
    X(507, "Insufficient Storage") \
    X(508, "Loop Detected") \
    X(511, "Network Authentication Required")

/* The whole line of a registered code, NULL for another one. */
static inline const char *fn_h1_status_line(int status, size_t *size) {
    switch (status) {
#define FN_X(code, reason) \
    case code: *size = sizeof("HTTP/1.1 " #code " " reason "\r\n") - 1; return "HTTP/1.1 " #code " " reason "\r\n";
        FN_H1_REASONS(FN_X)
#undef FN_X
    }
    return NULL;
}

/* `minor` is 0 or 1. A code without a phrase gets none; `status` has three digits. */
static inline int fn_h1_write_status_line(fn_buffer *b, int minor, int status) {
    size_t size;
    const char *line = fn_h1_status_line(status, &size);
    char other[] = "HTTP/1.1 000 \r\n";
    if (line == NULL) {
        other[9] = (char)('0' + status / 100 % 10);
        other[10] = (char)('0' + status / 10 % 10);
        other[11] = (char)('0' + status % 10);
        line = other;
        size = sizeof(other) - 1;
    }
    if (fn_buffer_append(b, line, size) < 0) return -1;
    if (minor == 0) b->data[b->size - size + 7] = '0';
    return 0;
}

static inline char *fn_h1_put(char *out, const char *data, size_t size) {
    if (size) memcpy(out, data, size);
    return out + size;
}

static inline int fn_h1_write_request_line(fn_buffer *b, const char *method, size_t method_size, const char *target,
                                           size_t target_size) {
    char *out;
    if (fn_buffer_reserve(b, method_size + target_size + 12) < 0) return -1;
    out = fn_h1_put(b->data + b->size, method, method_size);
    *out++ = ' ';
    out = fn_h1_put(out, target, target_size);
    out = fn_h1_put(out, " HTTP/1.1\r\n", 11);
    b->size = (size_t)(out - b->data);
    return 0;
}

static inline int fn_h1_write_field(fn_buffer *b, const char *name, size_t name_size, const char *value,
                                    size_t value_size) {
    char *out;
    if (fn_buffer_reserve(b, name_size + value_size + 4) < 0) return -1;
    out = fn_h1_put(b->data + b->size, name, name_size);
    out = fn_h1_put(out, ": ", 2);
    out = fn_h1_put(out, value, value_size);
    out = fn_h1_put(out, "\r\n", 2);
    b->size = (size_t)(out - b->data);
    return 0;
}

static inline int fn_h1_write_content_length(fn_buffer *b, uint64_t length) {
    char *out;
    if (fn_buffer_reserve(b, 16 + 20 + 2) < 0) return -1;
    out = fn_h1_put(b->data + b->size, "content-length: ", 16);
    out += fn_store_decimal(out, length);
    out = fn_h1_put(out, "\r\n", 2);
    b->size = (size_t)(out - b->data);
    return 0;
}

/* `date`: FN_H1_DATE_SIZE bytes, as fn_h1_format_date makes them. */
static inline int fn_h1_write_date(fn_buffer *b, const char *date) {
    return fn_h1_write_field(b, "date", 4, date, FN_H1_DATE_SIZE);
}

/* The empty line behind the last field of a head or trailer section. */
static inline int fn_h1_write_end(fn_buffer *b) {
    return fn_buffer_append(b, "\r\n", 2);
}

/* ---- chunked (RFC 9112, 7.1): begin, the data, end; or all of it at once ---- */

/* `size` is not 0: a chunk of size 0 would end the body. */
static inline int fn_h1_write_chunk_begin(fn_buffer *b, uint64_t size) {
    char *out;
    if (fn_buffer_reserve(b, 18) < 0) return -1;
    out = b->data + b->size;
    out += fn_store_hex(out, size);
    out = fn_h1_put(out, "\r\n", 2);
    b->size = (size_t)(out - b->data);
    return 0;
}

static inline int fn_h1_write_chunk_end(fn_buffer *b) {
    return fn_buffer_append(b, "\r\n", 2);
}

/* Nothing at all for no data. */
static inline int fn_h1_write_chunk(fn_buffer *b, const char *data, size_t size) {
    if (size == 0) return 0;
    if (size > SIZE_MAX - 20 || fn_buffer_reserve(b, size + 20) < 0) return -1;
    fn_h1_write_chunk_begin(b, size);
    fn_buffer_append(b, data, size);
    return fn_h1_write_chunk_end(b);
}

/* The end of a chunked body without trailers. With them: fn_h1_write_trailers_begin, a
 * fn_h1_write_field each, fn_h1_write_end. */
static inline int fn_h1_write_last_chunk(fn_buffer *b) {
    return fn_buffer_append(b, "0\r\n\r\n", 5);
}

static inline int fn_h1_write_trailers_begin(fn_buffer *b) {
    return fn_buffer_append(b, "0\r\n", 3);
}

/* ---- dates ---- */

static inline void fn_h1_put_two(char *out, unsigned value) {
    out[0] = (char)('0' + value / 10);
    out[1] = (char)('0' + value % 10);
}

/* The IMF-fixdate (RFC 9110, 5.6.7) of a Unix time, from year 0 to 9999; times beyond are taken to
 * the nearest end. The calendar is computed over years that begin in March, so that the leap day is
 * the last of its year; 146097 days are 400 years. */
static inline void fn_h1_format_date(char *out, int64_t seconds) {
    static const char days[] = "ThuFriSatSunMonTueWed"; /* 1 January 1970 was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const int64_t first = -62167219200LL, last = 253402300799LL;
    int64_t day, shifted;
    unsigned second, era_day, era_year, year_day, month_index, month, year;
    if (seconds < first) seconds = first;
    if (seconds > last) seconds = last;
    day = seconds / 86400 - (seconds % 86400 < 0);
    second = (unsigned)(seconds - day * 86400);
    shifted = day + 719468; /* days since 1 March of year 0, which can be below 0 by 60 */
    shifted += 146097;
    era_day = (unsigned)(shifted % 146097);
    era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    month_index = (5 * year_day + 2) / 153;
    month = month_index < 10 ? month_index + 3 : month_index - 9;
    year = (unsigned)((shifted / 146097) * 400 - 400 + era_year + (month <= 2));
    memcpy(out, days + 3 * (((day % 7) + 7) % 7), 3);
    memcpy(out + 3, ", ", 2);
    fn_h1_put_two(out + 5, year_day - (153 * month_index + 2) / 5 + 1);
    out[7] = ' ';
    memcpy(out + 8, months + 3 * (month - 1), 3);
    out[11] = ' ';
    fn_h1_put_two(out + 12, year / 100);
    fn_h1_put_two(out + 14, year % 100);
    out[16] = ' ';
    fn_h1_put_two(out + 17, second / 3600);
    out[19] = ':';
    fn_h1_put_two(out + 20, second / 60 % 60);
    out[22] = ':';
    fn_h1_put_two(out + 23, second % 60);
    memcpy(out + 25, " GMT", 4);
}

#endif
