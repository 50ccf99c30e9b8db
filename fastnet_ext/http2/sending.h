/* What waits to be sent, and who goes next.
 *
 * Each stream has a queue of chunks: DATA and, last, perhaps trailers. Streams with something to send and a
 * window to send it in stand in the ready list of their urgency (RFC 9218); the lowest that is not empty is served.
 * Within it they take turns, one frame each, so that a large body cannot hold up a small one. A stream that the peer
 * asked for without `i` is sent for FN_IN_ORDER frames before it gives way: in order for all but large bodies, and
 * an endless one starves nobody. Streams of which nothing was said take turns. What is no DATA or trailers (answers to
 * PING and SETTINGS, windows, resets, heads) is never queued here. Frames are written as far as the connection's window, the stream's window and
 * the room in the output allow (RFC 9113, section 5.2).
 */
#ifndef FASTNET_HTTP2_SENDING_H
#define FASTNET_HTTP2_SENDING_H

#include <Python.h>
#include "fastnet_ext/http2/frames.h"
#include "fastnet_ext/http2/stream.h"

/* DATA frames that a stream without turns sends in a row. */
#define FN_IN_ORDER 64

/* From this size on a chunk keeps a reference to the caller's bytes object instead of a copy. */
#define FN_CHUNK_BY_REFERENCE 4096

typedef enum { FN_CHUNK_DATA, FN_CHUNK_TRAILERS } fn_chunk_kind;

struct fn_chunk {
    fn_chunk *next;
    PyObject *owner; /* a bytes object, or NULL: the bytes follow the struct */
    const char *data; /* what is left */
    size_t size;
    fn_chunk_kind kind;
    int end_stream;
};

/* Invariant: a stream is in the list of its urgency in `ready` exactly when its queue is not empty and its first chunk may be sent as
 * far as the stream itself is concerned: fn_sending_may. */
typedef struct {
    fn_buffer *out; /* everything that must go to the peer, in order */
    size_t room; /* no queued frame is written while out->size is at or above this */
    int64_t window; /* the connection's */
    uint32_t max_frame; /* the peer's SETTINGS_MAX_FRAME_SIZE */
    fn_stream_list ready[FN_URGENCIES];
    uint64_t heads; /* HEADERS sent so far */
    int update_due; /* the next header block must say that we use no dynamic table */
    uint64_t data_frames; /* sent so far */
    size_t queued; /* bytes of DATA that wait on all streams together */
} fn_sending;

static inline int fn_sending_may(const fn_stream *s) {
    const fn_chunk *c = s->first;
    return c != NULL && (c->kind == FN_CHUNK_TRAILERS || c->size == 0 || s->send_window > 0);
}

/* Put the stream into the ready list or take it out, as its state now says. */
static inline void fn_sending_review(fn_sending *o, fn_stream *s) {
    if (fn_sending_may(s)) fn_list_append(&o->ready[s->urgency], FN_LIST_READY, s);
    else fn_list_remove(&o->ready[s->urgency], FN_LIST_READY, s);
}

/* Whether any stream has something to send and a window of its own. */
static inline int fn_sending_any(const fn_sending *o) {
    int urgency;
    for (urgency = 0; urgency < FN_URGENCIES; urgency++)
        if (o->ready[urgency].head) return 1;
    return 0;
}

/* What the peer asks for: it may come while frames are queued. */
static inline void fn_sending_prioritize(fn_sending *o, fn_stream *s, const fn_priority *priority) {
    fn_list_remove(&o->ready[s->urgency], FN_LIST_READY, s);
    s->urgency = priority->urgency;
    s->frames = 0;
    if (priority->incremental) s->flags &= (uint16_t)~FN_STREAM_IN_ORDER;
    else s->flags |= FN_STREAM_IN_ORDER;
    fn_sending_review(o, s);
}

/* A block of ours as HEADERS now, whatever is queued. 0, -1 when memory is out. */
static inline int fn_sending_head(fn_sending *o, uint32_t stream_id, const char *block, size_t size, int end_stream) {
    /* A table size update to 0: the encoder is stateless and stays so (RFC 7541, section 4.2). */
    size_t prefix = o->update_due ? 1 : 0;
    if (fn_frame_write_head(o->out, stream_id, end_stream, o->max_frame, "\x20", prefix, block, size) < 0) return -1;
    o->update_due = 0;
    o->heads++;
    return 0;
}

/* How many bytes of DATA may go out now on that stream. */
static inline size_t fn_sending_allowance(const fn_sending *o, const fn_stream *s, size_t size) {
    if (size > o->max_frame) size = o->max_frame;
    if ((int64_t)size > s->send_window) size = s->send_window > 0 ? (size_t)s->send_window : 0;
    if ((int64_t)size > o->window) size = o->window > 0 ? (size_t)o->window : 0;
    return size;
}

static inline int fn_sending_data(fn_sending *o, fn_stream *s, const char *data, size_t size, int end_stream) {
    if (fn_frame_write(o->out, FN_FRAME_DATA, end_stream ? FN_FLAG_END_STREAM : 0, s->id, data, (uint32_t)size) < 0)
        return -1;
    s->send_window -= (int64_t)size;
    o->window -= (int64_t)size;
    o->data_frames++;
    return 0;
}

/* Append a chunk to the stream's queue; by reference to `owner` when it is not NULL. 0, -1 when memory is out. */
static inline int fn_sending_queue(fn_sending *o, fn_stream *s, fn_chunk_kind kind, const char *data, size_t size,
                                   int end_stream, PyObject *owner) {
    fn_chunk *c = (fn_chunk *)malloc(sizeof *c + (owner ? 0 : size));
    if (c == NULL) return -1;
    c->next = NULL;
    c->owner = owner;
    c->size = size;
    c->kind = kind;
    c->end_stream = end_stream;
    if (owner) {
        Py_INCREF(owner);
        c->data = data;
    } else {
        c->data = (const char *)(c + 1);
        if (size) memcpy(c + 1, data, size);
    }
    if (s->last) s->last->next = c;
    else s->first = c;
    s->last = c;
    if (kind == FN_CHUNK_DATA) {
        s->queued += size;
        o->queued += size;
    }
    fn_sending_review(o, s);
    return 0;
}

static inline void fn_sending_pop(fn_stream *s) {
    fn_chunk *c = s->first;
    s->first = c->next;
    if (s->first == NULL) s->last = NULL;
    Py_XDECREF(c->owner); /* a bytes object: no code of anybody's runs */
    free(c);
}

/* Drop the whole queue: the stream was reset. */
static inline void fn_sending_drop(fn_sending *o, fn_stream *s) {
    while (s->first) fn_sending_pop(s);
    o->queued -= s->queued;
    s->queued = 0;
    fn_list_remove(&o->ready[s->urgency], FN_LIST_READY, s);
}

typedef enum {
    FN_SENT_NONE, /* the windows or the output are full, or nothing waits */
    FN_SENT_PART,
    FN_SENT_QUEUE, /* the queue has become empty */
    FN_SENT_END, /* the same, and the last frame had END_STREAM */
    FN_SENT_NO_MEMORY
} fn_sent;

/* One frame of the first chunk of a stream in the ready list. */
static inline fn_sent fn_sending_frame(fn_sending *o, fn_stream *s) {
    fn_chunk *c = s->first;
    int end_stream = c->end_stream;
    if (c->kind == FN_CHUNK_TRAILERS) {
        if (fn_sending_head(o, s->id, c->data, c->size, end_stream) < 0) return FN_SENT_NO_MEMORY;
        fn_sending_pop(s);
    } else {
        size_t part = fn_sending_allowance(o, s, c->size);
        int whole = part == c->size;
        if (fn_sending_data(o, s, c->data, part, whole && end_stream) < 0) return FN_SENT_NO_MEMORY;
        c->data += part;
        c->size -= part;
        s->queued -= part;
        o->queued -= part;
        if (!whole) return FN_SENT_PART;
        fn_sending_pop(s);
    }
    if (s->first) return FN_SENT_PART;
    return end_stream ? FN_SENT_END : FN_SENT_QUEUE;
}

/* Whose turn it is; NULL when nothing can go out. Without a window of the connection only what needs none can. */
static inline fn_stream *fn_sending_next(const fn_sending *o) {
    int urgency;
    fn_stream *s;
    for (urgency = 0; urgency < FN_URGENCIES; urgency++)
        for (s = o->ready[urgency].head; s; s = s->next[FN_LIST_READY])
            if (o->window > 0 || s->first->kind == FN_CHUNK_TRAILERS || s->first->size == 0) return s;
    return NULL;
}

/* Serve the ready streams in turn. Stops at the first whose queue became empty and stores it: the caller
 * does what follows and calls again until the result is FN_SENT_NONE (nothing more can go out now). */
static inline fn_sent fn_sending_run(fn_sending *o, fn_stream **done) {
    fn_stream *s;
    while (o->out->size < o->room && (s = fn_sending_next(o)) != NULL) {
        fn_sent sent = fn_sending_frame(o, s);
        if (sent == FN_SENT_NO_MEMORY) return sent;
        if (!(s->flags & FN_STREAM_IN_ORDER) || ++s->frames >= FN_IN_ORDER) {
            /* To the end of the list. */
            s->frames = 0;
            fn_list_remove(&o->ready[s->urgency], FN_LIST_READY, s);
        }
        fn_sending_review(o, s);
        if (sent >= FN_SENT_QUEUE) {
            *done = s;
            return sent;
        }
    }
    return FN_SENT_NONE;
}

/* The invariants of this file and of stream.h, for debug builds: the cost grows with the streams. */
static inline void fn_check_streams(const fn_stream_table *t) {
    uint32_t i, live = 0;
    for (i = 0; t->slots && i <= t->mask; i++) {
        const fn_stream *s = t->slots[i];
        const fn_chunk *c;
        size_t queued = 0;
        if (s == NULL) continue;
        live++;
        for (c = s->first; c; c = c->next)
            if (c->kind == FN_CHUNK_DATA) queued += c->size;
        (void)queued;
        FN_INVARIANT(fn_table_find(t, s->id) == s);
        FN_INVARIANT(s->state < FN_STREAM_STATES);
        FN_INVARIANT(s->queued == queued);
        FN_INVARIANT((s->first == NULL) == (s->last == NULL));
        FN_INVARIANT(((s->listed >> FN_LIST_READY) & 1) == (unsigned)fn_sending_may(s));
    }
    FN_INVARIANT(live == t->count);
    FN_INVARIANT(t->slots == NULL || 2 * t->count <= t->mask + 1);
    (void)live;
}

#endif
