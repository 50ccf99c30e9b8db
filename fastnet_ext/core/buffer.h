/* A growable run of bytes: what every writer of the engine appends to.
 *
 * Invariant: size <= capacity; data is NULL exactly when capacity is 0.
 * Functions that may allocate return 0, or -1 when memory is out; a failed
 * call leaves the buffer as it was. Nothing here touches Python objects.
 */
#ifndef FASTNET_CORE_BUFFER_H
#define FASTNET_CORE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fastnet_ext/core/debug.h"

#define FN_BUFFER_FIRST_CAPACITY 512

typedef struct {
    char *data;
    size_t size;
    size_t capacity;
} fn_buffer;

static inline void fn_buffer_check(const fn_buffer *b) {
    (void)b; /* a plain build checks nothing */
    FN_INVARIANT(b->size <= b->capacity);
    FN_INVARIANT((b->data == NULL) == (b->capacity == 0));
}

static inline void fn_buffer_init(fn_buffer *b) {
    b->data = NULL;
    b->size = 0;
    b->capacity = 0;
}

static inline void fn_buffer_free(fn_buffer *b) {
    fn_buffer_check(b);
    free(b->data);
    fn_buffer_init(b);
}

/* Grow so that `extra` more bytes fit. The cold half of fn_buffer_reserve. */
static int fn_buffer_grow(fn_buffer *b, size_t extra) {
    size_t need, capacity;
    char *data;
    if (extra > SIZE_MAX / 2 - b->size) return -1;
    need = b->size + extra;
    capacity = b->capacity ? b->capacity : FN_BUFFER_FIRST_CAPACITY;
    while (capacity < need) capacity *= 2;
    data = (char *)realloc(b->data, capacity);
    if (data == NULL) return -1;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

static inline int fn_buffer_reserve(fn_buffer *b, size_t extra) {
    fn_buffer_check(b);
    if (b->capacity - b->size >= extra) return 0;
    return fn_buffer_grow(b, extra);
}

static inline int fn_buffer_append(fn_buffer *b, const char *data, size_t size) {
    if (fn_buffer_reserve(b, size) < 0) return -1;
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
    return 0;
}

/* Drop the first `count` bytes, keeping the order of the rest. */
static inline void fn_buffer_consume(fn_buffer *b, size_t count) {
    fn_buffer_check(b);
    if (count >= b->size) {
        b->size = 0;
    } else if (count) {
        memmove(b->data, b->data + count, b->size - count);
        b->size -= count;
    }
}

#endif
