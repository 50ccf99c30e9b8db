/* Streams: their states, the table that finds them, and the lists they stand in.
 *
 * The states are those of RFC 9113, section 5.1, seen from one end and without the reserved ones, since
 * pushes are neither sent nor accepted:
 *
 *   idle                 no frame yet; such streams have no struct
 *   open                 both ends may send
 *   half-closed (local)  we have ended our direction (END_STREAM sent), the peer has not
 *   half-closed (remote) the peer has ended its direction, we have not
 *   closed               both have ended, or either has sent RST_STREAM
 *
 * What may happen in which state, and what follows, is FN_STREAM_NEXT and nothing else. An input that the
 * table does not allow is our caller's mistake when it is a SEND, and the peer's when it is a RECV: a
 * STREAM_CLOSED error on a stream that had a beginning, a PROTOCOL_ERROR on an idle one.
 */
#ifndef FASTNET_HTTP2_STREAM_H
#define FASTNET_HTTP2_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "fastnet_ext/http2/priority.h"

typedef enum {
    FN_STREAM_IDLE,
    FN_STREAM_OPEN,
    FN_STREAM_HALF_CLOSED_LOCAL,
    FN_STREAM_HALF_CLOSED_REMOTE,
    FN_STREAM_CLOSED,
    FN_STREAM_STATES,
    FN_STREAM_REFUSED = 0xff /* in the table: not allowed */
} fn_stream_state;

typedef enum {
    FN_STREAM_SEND_HEAD, /* HEADERS that begin a message or end it as trailers */
    FN_STREAM_SEND_DATA,
    FN_STREAM_SEND_END, /* END_STREAM, after the frame that carries it */
    FN_STREAM_SEND_RESET,
    FN_STREAM_RECV_HEAD,
    FN_STREAM_RECV_DATA,
    FN_STREAM_RECV_END,
    FN_STREAM_RECV_RESET,
    FN_STREAM_INPUTS
} fn_stream_input;

#define FN_IDLE FN_STREAM_IDLE
#define FN_OPEN FN_STREAM_OPEN
#define FN_LOCAL FN_STREAM_HALF_CLOSED_LOCAL
#define FN_REMOTE FN_STREAM_HALF_CLOSED_REMOTE
#define FN_CLOSED FN_STREAM_CLOSED
#define FN_NO FN_STREAM_REFUSED
static const uint8_t FN_STREAM_NEXT[FN_STREAM_STATES][FN_STREAM_INPUTS] = {
    /*             SEND_HEAD  SEND_DATA  SEND_END   SEND_RESET RECV_HEAD  RECV_DATA  RECV_END   RECV_RESET */
    /* IDLE   */ {FN_OPEN,   FN_NO,     FN_NO,     FN_NO,     FN_OPEN,   FN_NO,     FN_NO,     FN_NO},
    /* OPEN   */ {FN_OPEN,   FN_OPEN,   FN_LOCAL,  FN_CLOSED, FN_OPEN,   FN_OPEN,   FN_REMOTE, FN_CLOSED},
    /* LOCAL  */ {FN_NO,     FN_NO,     FN_NO,     FN_CLOSED, FN_LOCAL,  FN_LOCAL,  FN_CLOSED, FN_CLOSED},
    /* REMOTE */ {FN_REMOTE, FN_REMOTE, FN_CLOSED, FN_CLOSED, FN_NO,     FN_NO,     FN_NO,     FN_CLOSED},
    /* CLOSED */ {FN_NO,     FN_NO,     FN_NO,     FN_CLOSED, FN_NO,     FN_NO,     FN_NO,     FN_CLOSED},
};
#undef FN_IDLE
#undef FN_OPEN
#undef FN_LOCAL
#undef FN_REMOTE
#undef FN_CLOSED
#undef FN_NO

enum {
    FN_STREAM_HEAD_RECEIVED = 0x01, /* the peer's final head: a further one is trailers */
    FN_STREAM_HEAD_SENT = 0x80,
    FN_STREAM_BODY_SENT = 0x02, /* data or trailers were given to us: no further head */
    FN_STREAM_END_GIVEN = 0x04, /* the caller has ended its direction, though data may still be queued */
    FN_STREAM_NO_BODY = 0x08, /* client: the answer to HEAD; its content-length announces nothing */
    FN_STREAM_WAITING = 0x10, /* the caller was told that data is queued, and will be told when it is not */
    FN_STREAM_RESET_SEEN = 0x20, /* a RESET notice is due */
    FN_STREAM_COUNTED = 0x40, /* opened by the peer and counted against our limit */
    FN_STREAM_TUNNEL = 0x100, /* server: our end does not end the peer's direction */
    FN_STREAM_IN_ORDER = 0x400, /* the peer has no use for pieces of the answer: not in turns with others (RFC 9218) */
    FN_STREAM_GROWN = 0x200, /* its receive window is the one for streams whose reader keeps up */
};

typedef struct fn_chunk fn_chunk;
typedef struct fn_stream fn_stream;

/* A stream stands in at most one place of each of these lists. */
enum {
    FN_LIST_READY, /* has queued frames and window to send them: served in turn */
    FN_LIST_NOTICE, /* something to report at the next call for an event */
    FN_LIST_LEAVING, /* server: answered in full while the request still comes in */
    FN_LIST_COUNT
};

struct fn_stream {
    uint32_t id;
    uint8_t state;
    uint8_t listed; /* bit n: is in list n */
    uint16_t flags;
    uint8_t urgency; /* RFC 9218: 0 is served first, 7 last */
    uint8_t frames; /* DATA frames in a row, of one that takes no turns */
    uint32_t error_code; /* of the reset that a notice will report */

    /* Flow control (section 6.9), in bytes. send_window may be negative after a SETTINGS change. */
    int64_t send_window;
    int64_t recv_window; /* what the peer may still send */
    int64_t recv_credit; /* consumed by the application, not yet given back; below 0 while the window shrinks */

    /* Bodies received: -1 for a length that was not announced. */
    int64_t content_length;
    int64_t received;

    /* What waits to be sent, oldest first; queued counts the bytes of DATA in it. */
    fn_chunk *first;
    fn_chunk *last;
    size_t queued;

    void *context; /* PyObject*, owned: what the driver hung here */

    fn_stream *next[FN_LIST_COUNT];
    fn_stream *prev[FN_LIST_COUNT];
};

/* ---- Lists: doubly linked through the streams, first in first out --------------------------- */

typedef struct {
    fn_stream *head;
    fn_stream *tail;
} fn_stream_list;

static inline void fn_list_append(fn_stream_list *list, int which, fn_stream *s) {
    if (s->listed & (1u << which)) return;
    s->listed |= (uint8_t)(1u << which);
    s->next[which] = NULL;
    s->prev[which] = list->tail;
    if (list->tail) list->tail->next[which] = s;
    else list->head = s;
    list->tail = s;
}

static inline void fn_list_remove(fn_stream_list *list, int which, fn_stream *s) {
    if (!(s->listed & (1u << which))) return;
    s->listed &= (uint8_t)~(1u << which);
    if (s->prev[which]) s->prev[which]->next[which] = s->next[which];
    else list->head = s->next[which];
    if (s->next[which]) s->next[which]->prev[which] = s->prev[which];
    else list->tail = s->prev[which];
}

/* ---- The table: open addressing, linear probing, at most half full -------------------------- */

#define FN_TABLE_FIRST_CAPACITY 8
#define FN_STREAMS_KEPT 32 /* unused structs kept for the next stream */

/* Invariant: every live stream lies at or, without a gap, behind slot (id >> 1) & mask. Ids of one side are
 * consecutive odd (or even) numbers, so that collisions are rare without a hash. Structs never move. */
typedef struct {
    fn_stream **slots;
    uint32_t mask;
    uint32_t count;
    fn_stream *spare; /* chained by next[0] */
    uint32_t spares;
} fn_stream_table;

static inline fn_stream *fn_table_find(const fn_stream_table *t, uint32_t id) {
    uint32_t i;
    fn_stream *s;
    if (t->slots == NULL) return NULL;
    for (i = (id >> 1) & t->mask; (s = t->slots[i]) != NULL; i = (i + 1) & t->mask)
        if (s->id == id) return s;
    return NULL;
}

static inline void fn_table_place(fn_stream_table *t, fn_stream *s) {
    uint32_t i = (s->id >> 1) & t->mask;
    while (t->slots[i]) i = (i + 1) & t->mask;
    t->slots[i] = s;
}

static int fn_table_grow(fn_stream_table *t) {
    uint32_t old = t->slots ? t->mask + 1 : 0, capacity = old ? 2 * old : FN_TABLE_FIRST_CAPACITY, i;
    fn_stream **before = t->slots;
    fn_stream **slots = (fn_stream **)calloc(capacity, sizeof *slots);
    if (slots == NULL) return -1;
    t->slots = slots;
    t->mask = capacity - 1;
    for (i = 0; i < old; i++)
        if (before[i]) fn_table_place(t, before[i]);
    free(before);
    return 0;
}

/* A zeroed stream of that id in the table, where it must not be yet; NULL when memory is out. */
static inline fn_stream *fn_table_add(fn_stream_table *t, uint32_t id) {
    fn_stream *s = t->spare;
    if ((t->slots == NULL || 2 * (t->count + 1) > t->mask + 1) && fn_table_grow(t) < 0) return NULL;
    if (s) {
        t->spare = s->next[0];
        t->spares--;
    } else if ((s = (fn_stream *)malloc(sizeof *s)) == NULL) {
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->id = id;
    s->content_length = -1;
    s->urgency = FN_URGENCY_DEFAULT;
    fn_table_place(t, s);
    t->count++;
    return s;
}

/* Take the stream out and give its struct back. It stands in no list and owns nothing any more. */
static inline void fn_table_remove(fn_stream_table *t, fn_stream *s) {
    uint32_t hole = (s->id >> 1) & t->mask, i;
    while (t->slots[hole] != s) hole = (hole + 1) & t->mask;
    /* Close the gap: move back each follower whose own slot lies not between the hole and it. */
    for (i = (hole + 1) & t->mask; t->slots[i]; i = (i + 1) & t->mask) {
        uint32_t home = (t->slots[i]->id >> 1) & t->mask;
        if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = NULL;
    t->count--;
    if (t->spares < FN_STREAMS_KEPT) {
        s->next[0] = t->spare;
        t->spare = s;
        t->spares++;
    } else {
        free(s);
    }
}

/* Any stream of the table; NULL when it is empty. For tearing down. */
static inline fn_stream *fn_table_any(const fn_stream_table *t) {
    uint32_t i;
    if (t->count)
        for (i = 0; i <= t->mask; i++)
            if (t->slots[i]) return t->slots[i];
    return NULL;
}

/* Free everything; the streams must have been removed before. */
static inline void fn_table_free(fn_stream_table *t) {
    while (t->spare) {
        fn_stream *s = t->spare;
        t->spare = s->next[0];
        free(s);
    }
    free(t->slots);
    memset(t, 0, sizeof *t);
}

/* ---- The streams that are gone --------------------------------------------------------------- */

/* How a stream ended decides what a late frame on it means (section 5.1, "closed"). */
typedef enum {
    FN_GONE_UNKNOWN, /* so long ago that we have forgotten */
    FN_GONE_ENDED, /* both directions were ended */
    FN_GONE_RESET_SENT, /* frames may still be on their way: ignored */
    FN_GONE_RESET_RECEIVED,
    FN_GONE_NEVER /* skipped: a later stream was opened without it (section 5.1.1) */
} fn_gone;

#define FN_GRAVES 128

/* The last streams that ended. Ids up to `forgotten` may have had a life that is no longer recorded; an id
 * above it, not among these and not in the table, was never opened. */
typedef struct {
    uint32_t ids[FN_GRAVES];
    uint8_t how[FN_GRAVES];
    uint32_t at; /* the oldest, to be replaced next */
    uint32_t forgotten;
} fn_graveyard;

static inline void fn_graveyard_add(fn_graveyard *g, uint32_t id, fn_gone how) {
    if (g->ids[g->at] > g->forgotten) g->forgotten = g->ids[g->at];
    g->ids[g->at] = id;
    g->how[g->at] = (uint8_t)how;
    g->at = (g->at + 1) % FN_GRAVES;
}

/* The same for a stream that may be recorded already: its record changes. */
static inline void fn_graveyard_mark(fn_graveyard *g, uint32_t id, fn_gone how) {
    int i;
    for (i = 0; i < FN_GRAVES; i++) {
        if (g->ids[i] == id) {
            g->how[i] = (uint8_t)how;
            return;
        }
    }
    fn_graveyard_add(g, id, how);
}

static inline fn_gone fn_graveyard_find(const fn_graveyard *g, uint32_t id) {
    int i;
    for (i = 0; i < FN_GRAVES; i++)
        if (g->ids[i] == id) return (fn_gone)g->how[i];
    return id <= g->forgotten ? FN_GONE_UNKNOWN : FN_GONE_NEVER;
}

#endif
