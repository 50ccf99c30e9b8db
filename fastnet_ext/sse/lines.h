/* Lines of an event stream: HTML, 9.2.5. A line ends with LF, CR or CRLF.
 *
 * Nothing reads at or behind `end`.
 */
#ifndef FASTNET_SSE_LINES_H
#define FASTNET_SSE_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* The first LF or CR, or `end`. */
static inline const char *fn_sse_line_end(const char *p, const char *end) {
#if defined(__SSE2__)
    const __m128i lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        int found = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, lf), _mm_cmpeq_epi8(bytes, cr)));
        if (found) return p + __builtin_ctz((unsigned)found);
    }
#endif
    while (p < end && *p != '\n' && *p != '\r') p++;
    return p;
}

/* What follows the line end at p, where an LF or CR stands. */
static inline const char *fn_sse_next_line(const char *p, const char *end) {
    return p + (*p == '\r' && end - p > 1 && p[1] == '\n' ? 2 : 1);
}

/* Where the value of a line of the field `name` begins; NULL for other lines. Without a colon it is empty, and a space
 * behind the colon is no part of it: HTML, 9.2.6. */
static inline const char *fn_sse_value(const char *p, const char *end, const char *name, size_t name_size) {
    if ((size_t)(end - p) < name_size || memcmp(p, name, name_size) != 0) return NULL;
    p += name_size;
    if (p == end) return p;
    if (*p++ != ':') return NULL;
    return p + (p != end && *p == ' ');
}

/* How many bytes fn_sse_write_lines writes. */
static inline size_t fn_sse_lines_size(size_t name_size, const char *p, size_t size) {
    const char *end = p + size, *stop;
    size_t total = 0;
    for (;;) {
        stop = fn_sse_line_end(p, end);
        total += name_size + (size_t)(stop - p) + 1;
        if (stop == end) return total;
        p = fn_sse_next_line(stop, end);
    }
}

/* Write one line. Returns where the next byte goes. */
static inline char *fn_sse_write_line(char *to, const char *name, size_t name_size, const char *p, size_t size) {
    memcpy(to, name, name_size);
    to += name_size;
    if (size) memcpy(to, p, size);
    to[size] = '\n';
    return to + size + 1;
}

/* Write each line of a text behind `name` ("data: "), ended by LF. Returns where the next byte goes. */
static inline char *fn_sse_write_lines(char *to, const char *name, size_t name_size, const char *p, size_t size) {
    const char *end = p + size, *stop;
    for (;;) {
        stop = fn_sse_line_end(p, end);
        to = fn_sse_write_line(to, name, name_size, p, (size_t)(stop - p));
        if (stop == end) return to;
        p = fn_sse_next_line(stop, end);
    }
}

#endif
