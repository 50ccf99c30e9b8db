/* HPACK (RFC 7541): the decoder with its dynamic table, and a stateless encoder.
 *
 * The decoder gives one field at a time as pointers into the static table, the dynamic table, the block
 * itself or a scratch buffer; they hold until the next call. What the engine asks of a field again and
 * again (which name it is, whether name and value are well-formed) is found once, when the field enters
 * the table, and kept with it.
 *
 * The encoder never inserts: what it writes depends on no connection, so heads can be encoded once and
 * sent on every connection.
 */
#ifndef FASTNET_HTTP2_HPACK_H
#define FASTNET_HTTP2_HPACK_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "fastnet_ext/core/buffer.h"
#include "fastnet_ext/core/headers.h"
#include "fastnet_ext/core/huffman.h"
#include "fastnet_ext/http2/fields.h"

/* Ids of pseudo-header fields; they lie above every fn_header_id. */
enum {
    FN_PSEUDO_FIRST = 0x100,
    FN_PSEUDO_METHOD = FN_PSEUDO_FIRST,
    FN_PSEUDO_SCHEME,
    FN_PSEUDO_AUTHORITY,
    FN_PSEUDO_PATH,
    FN_PSEUDO_PROTOCOL,
    FN_PSEUDO_STATUS,
    FN_PSEUDO_UNKNOWN
};

/* What is wrong with a field (RFC 9113, section 8.2.1). */
enum { FN_FIELD_BAD_NAME = 1, FN_FIELD_BAD_VALUE = 2 };

typedef struct {
    const char *name;
    const char *value;
    uint32_t name_size;
    uint32_t value_size;
    uint16_t id;
    uint8_t faults;
} fn_hpack_field;

#define FN_HPACK_OVERHEAD 32 /* per entry, section 4.1 */
#define FN_HPACK_DEFAULT_TABLE 4096
#define FN_HPACK_STATIC 61
#define FN_HPACK_SCRATCH_KEPT 8192 /* a scratch buffer grown beyond this is given back after its block */

#define FN_S(name, value, id) {name, value, sizeof(name) - 1, sizeof(value) - 1, id, 0}
/* Appendix A; index 0 is not used. */
static const fn_hpack_field FN_HPACK_STATIC_TABLE[FN_HPACK_STATIC + 1] = {
    FN_S("", "", 0),
    FN_S(":authority", "", FN_PSEUDO_AUTHORITY),
    FN_S(":method", "GET", FN_PSEUDO_METHOD),
    FN_S(":method", "POST", FN_PSEUDO_METHOD),
    FN_S(":path", "/", FN_PSEUDO_PATH),
    FN_S(":path", "/index.html", FN_PSEUDO_PATH),
    FN_S(":scheme", "http", FN_PSEUDO_SCHEME),
    FN_S(":scheme", "https", FN_PSEUDO_SCHEME),
    FN_S(":status", "200", FN_PSEUDO_STATUS),
    FN_S(":status", "204", FN_PSEUDO_STATUS),
    FN_S(":status", "206", FN_PSEUDO_STATUS),
    FN_S(":status", "304", FN_PSEUDO_STATUS),
    FN_S(":status", "400", FN_PSEUDO_STATUS),
    FN_S(":status", "404", FN_PSEUDO_STATUS),
    FN_S(":status", "500", FN_PSEUDO_STATUS),
    FN_S("accept-charset", "", FN_HEADER_OTHER),
    FN_S("accept-encoding", "gzip, deflate", FN_HEADER_ACCEPT_ENCODING),
    FN_S("accept-language", "", FN_HEADER_ACCEPT_LANGUAGE),
    FN_S("accept-ranges", "", FN_HEADER_OTHER),
    FN_S("accept", "", FN_HEADER_ACCEPT),
    FN_S("access-control-allow-origin", "", FN_HEADER_OTHER),
    FN_S("age", "", FN_HEADER_OTHER),
    FN_S("allow", "", FN_HEADER_OTHER),
    FN_S("authorization", "", FN_HEADER_AUTHORIZATION),
    FN_S("cache-control", "", FN_HEADER_CACHE_CONTROL),
    FN_S("content-disposition", "", FN_HEADER_OTHER),
    FN_S("content-encoding", "", FN_HEADER_CONTENT_ENCODING),
    FN_S("content-language", "", FN_HEADER_OTHER),
    FN_S("content-length", "", FN_HEADER_CONTENT_LENGTH),
    FN_S("content-location", "", FN_HEADER_OTHER),
    FN_S("content-range", "", FN_HEADER_OTHER),
    FN_S("content-type", "", FN_HEADER_CONTENT_TYPE),
    FN_S("cookie", "", FN_HEADER_COOKIE),
    FN_S("date", "", FN_HEADER_DATE),
    FN_S("etag", "", FN_HEADER_OTHER),
    FN_S("expect", "", FN_HEADER_EXPECT),
    FN_S("expires", "", FN_HEADER_OTHER),
    FN_S("from", "", FN_HEADER_OTHER),
    FN_S("host", "", FN_HEADER_HOST),
    FN_S("if-match", "", FN_HEADER_OTHER),
    FN_S("if-modified-since", "", FN_HEADER_IF_MODIFIED_SINCE),
    FN_S("if-none-match", "", FN_HEADER_IF_NONE_MATCH),
    FN_S("if-range", "", FN_HEADER_IF_RANGE),
    FN_S("if-unmodified-since", "", FN_HEADER_OTHER),
    FN_S("last-modified", "", FN_HEADER_OTHER),
    FN_S("link", "", FN_HEADER_OTHER),
    FN_S("location", "", FN_HEADER_LOCATION),
    FN_S("max-forwards", "", FN_HEADER_OTHER),
    FN_S("proxy-authenticate", "", FN_HEADER_OTHER),
    FN_S("proxy-authorization", "", FN_HEADER_OTHER),
    FN_S("range", "", FN_HEADER_RANGE),
    FN_S("referer", "", FN_HEADER_REFERER),
    FN_S("refresh", "", FN_HEADER_OTHER),
    FN_S("retry-after", "", FN_HEADER_OTHER),
    FN_S("server", "", FN_HEADER_SERVER),
    FN_S("set-cookie", "", FN_HEADER_SET_COOKIE),
    FN_S("strict-transport-security", "", FN_HEADER_OTHER),
    FN_S("transfer-encoding", "", FN_HEADER_TRANSFER_ENCODING),
    FN_S("user-agent", "", FN_HEADER_USER_AGENT),
    FN_S("vary", "", FN_HEADER_VARY),
    FN_S("via", "", FN_HEADER_OTHER),
    FN_S("www-authenticate", "", FN_HEADER_OTHER),
};
#undef FN_S

/* ---- What a field is ------------------------------------------------------------------------ */

static inline uint16_t fn_pseudo_id(const char *name, size_t size) {
    switch (size) {
    case 5: return memcmp(name, ":path", 5) == 0 ? FN_PSEUDO_PATH : FN_PSEUDO_UNKNOWN;
    case 7:
        if (memcmp(name, ":method", 7) == 0) return FN_PSEUDO_METHOD;
        if (memcmp(name, ":scheme", 7) == 0) return FN_PSEUDO_SCHEME;
        if (memcmp(name, ":status", 7) == 0) return FN_PSEUDO_STATUS;
        break;
    case 9: return memcmp(name, ":protocol", 9) == 0 ? FN_PSEUDO_PROTOCOL : FN_PSEUDO_UNKNOWN;
    case 10: return memcmp(name, ":authority", 10) == 0 ? FN_PSEUDO_AUTHORITY : FN_PSEUDO_UNKNOWN;
    }
    return FN_PSEUDO_UNKNOWN;
}

/* Set id and the fault of the name. */
static inline void fn_field_classify_name(fn_hpack_field *f) {
    f->faults = 0;
    if (f->name_size && f->name[0] == ':') {
        f->id = fn_pseudo_id(f->name, f->name_size);
        return;
    }
    f->id = (uint16_t)fn_find_header_id(f->name, f->name_size);
    if (f->id == FN_HEADER_OTHER && !fn_field_name_ok(f->name, f->name_size)) f->faults = FN_FIELD_BAD_NAME;
}

/* ---- The dynamic table ---------------------------------------------------------------------- */

typedef struct {
    uint32_t offset; /* of the name in the arena; the value follows it */
    uint32_t name_size;
    uint32_t value_size;
    uint16_t id;
    uint8_t faults;
} fn_hpack_entry;

/* The entries are a ring, oldest first; their bytes lie in the arena in the same order.
 *
 * used = sum of name_size + value_size + 32 <= limit <= ceiling, and used <= sized. The arena holds 2 * sized
 * bytes, and an entry never wraps: with at most `sized` bytes alive, a new entry fits either behind the newest
 * one or, when the end is too near, before the oldest. Nothing is allocated before the first insertion, and room
 * for all of the table only when it is used: most connections hold a few hundred bytes in it.
 */
typedef struct {
    fn_hpack_entry *entries;
    char *arena;
    uint32_t mask; /* capacity of the ring - 1; a power of two */
    uint32_t first; /* number of the oldest entry; entry n lies in slot n & mask */
    uint32_t count;
    uint32_t used;
    uint32_t limit; /* as the peer's encoder last said (section 6.3) */
    uint32_t ceiling; /* what limit may be: our SETTINGS_HEADER_TABLE_SIZE */
    uint32_t update_to; /* with `update_due`: the next block must first bring limit down to this */
    uint8_t update_due;
    uint32_t sized; /* the size of table that ring and arena have room for; 0: there are none yet */
    uint32_t arena_size;
    uint32_t tail; /* where the next entry's bytes go */
    fn_buffer scratch; /* strings of the present field that had to be decoded */
} fn_hpack;

static inline void fn_hpack_init(fn_hpack *h, uint32_t table_size) {
    memset(h, 0, sizeof *h);
    h->limit = table_size;
    h->ceiling = table_size;
}

static inline void fn_hpack_free(fn_hpack *h) {
    free(h->entries);
    free(h->arena);
    fn_buffer_free(&h->scratch);
    h->entries = NULL;
    h->arena = NULL;
    h->count = h->used = 0;
}

static inline fn_hpack_entry *fn_hpack_slot(fn_hpack *h, uint32_t number) { return &h->entries[number & h->mask]; }

static inline void fn_hpack_evict(fn_hpack *h, uint32_t room) {
    while (h->used > room) {
        fn_hpack_entry *oldest = fn_hpack_slot(h, h->first);
        h->used -= oldest->name_size + oldest->value_size + FN_HPACK_OVERHEAD;
        h->first++;
        h->count--;
    }
    if (h->count == 0) h->tail = 0;
}

/* Room in ring and arena for a table of `sized` bytes; live entries move over. The arena before it, perhaps NULL, is
 * the caller's to free. */
static int fn_hpack_allocate(fn_hpack *h, uint32_t sized, char **before) {
    uint32_t capacity = 1, i, tail = 0;
    fn_hpack_entry *entries;
    char *arena;
    while (capacity < sized / FN_HPACK_OVERHEAD + 1) capacity *= 2;
    entries = (fn_hpack_entry *)malloc(capacity * sizeof *entries);
    arena = (char *)malloc(2 * (size_t)sized + 1);
    if (entries == NULL || arena == NULL) {
        free(entries);
        free(arena);
        return -1;
    }
    for (i = 0; i < h->count; i++) {
        fn_hpack_entry e = *fn_hpack_slot(h, h->first + i);
        memcpy(arena + tail, h->arena + e.offset, e.name_size + e.value_size);
        e.offset = tail;
        tail += e.name_size + e.value_size;
        entries[i] = e;
    }
    free(h->entries);
    *before = h->arena;
    h->entries = entries;
    h->arena = arena;
    h->mask = capacity - 1;
    h->first = 0;
    h->tail = tail;
    h->arena_size = 2 * sized;
    h->sized = sized;
    return 0;
}

/* Our own SETTINGS_HEADER_TABLE_SIZE has come into force. When it lowers what the peer may use, its next
 * block must begin with an update to that or less (RFC 9113, section 4.3.1). 0, -1 when memory is out. */
static inline int fn_hpack_set_ceiling(fn_hpack *h, uint32_t ceiling) {
    if (ceiling < h->limit) {
        h->update_due = 1;
        h->update_to = ceiling;
        return 0;
    }
    h->update_due = 0;
    h->ceiling = ceiling;
    return 0;
}

#define FN_HPACK_FIRST_SIZED 512

/* How much room a table with `used` bytes gets: a power of two, no more than it may ever need. */
static inline uint32_t fn_hpack_sized(const fn_hpack *h, uint32_t used) {
    uint32_t sized = FN_HPACK_FIRST_SIZED;
    while (sized < used) sized *= 2;
    if (sized > h->ceiling) sized = h->ceiling;
    return sized < used ? used : sized;
}

/* Insert a field (section 4.4). Its name may point into the arena, where the eviction may free it: it is
 * moved first, and field then points to the entry, if there is one. 0, -1 when memory is out. */
static inline int fn_hpack_insert(fn_hpack *h, fn_hpack_field *field) {
    uint64_t size = (uint64_t)field->name_size + field->value_size + FN_HPACK_OVERHEAD;
    uint32_t bytes = field->name_size + field->value_size, at;
    fn_hpack_entry *e;
    char *before = NULL;
    if (size > h->limit) {
        fn_hpack_evict(h, 0);
        return 0;
    }
    fn_hpack_evict(h, h->limit - (uint32_t)size);
    if (h->used + (uint32_t)size > h->sized
        && fn_hpack_allocate(h, fn_hpack_sized(h, h->used + (uint32_t)size), &before) < 0)
        return -1;
    at = h->tail;
    if (h->arena_size - at < bytes) at = 0;
    memmove(h->arena + at, field->name, field->name_size);
    memcpy(h->arena + at + field->name_size, field->value, field->value_size);
    free(before); /* the name may have lain in it */
    field->name = h->arena + at;
    field->value = field->name + field->name_size;
    e = fn_hpack_slot(h, h->first + h->count);
    e->offset = at;
    e->name_size = field->name_size;
    e->value_size = field->value_size;
    e->id = field->id;
    e->faults = field->faults;
    h->count++;
    h->used += (uint32_t)size;
    h->tail = at + bytes;
    return 0;
}

/* ---- Decoding ------------------------------------------------------------------------------- */

typedef enum {
    FN_HPACK_END = 0,
    FN_HPACK_FIELD = 1,
    FN_HPACK_ERROR = -1, /* COMPRESSION_ERROR */
    FN_HPACK_NO_MEMORY = -2
} fn_hpack_result;

/* Where decoding of one block stands. */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    uint8_t begun; /* a field was read: table size updates are over (section 4.2) */
} fn_hpack_block;

#define FN_HPACK_INTEGER_MAX 0x0fffffffu /* beyond any block; keeps sums of two within 32 bits */

/* An integer with a prefix of `bits` bits (section 5.1). -1 when it is cut off or too large. */
static inline int fn_hpack_integer(fn_hpack_block *b, int bits, uint32_t *value) {
    uint32_t max = (1u << bits) - 1;
    uint32_t v = *b->at++ & max;
    int shift = 0;
    if (v == max) {
        uint8_t byte;
        do {
            if (b->at == b->end || shift > 28) return -1;
            byte = *b->at++;
            if (shift == 28 && byte > 0) return -1;
            v += (uint32_t)(byte & 0x7f) << shift;
            if (v > FN_HPACK_INTEGER_MAX) return -1;
            shift += 7;
        } while (byte & 0x80);
    }
    *value = v;
    return 0;
}

/* A string (section 5.2), coded or not. A coded one is appended to the scratch buffer: *text is NULL then
 * and *offset says where it lies, since the buffer may still move. */
static inline int fn_hpack_string(fn_hpack *h, fn_hpack_block *b, const char **text, size_t *offset, uint32_t *size) {
    uint32_t length;
    int coded;
    if (b->at == b->end) return FN_HPACK_ERROR;
    coded = *b->at & 0x80;
    if (fn_hpack_integer(b, 7, &length) < 0 || length > (size_t)(b->end - b->at)) return FN_HPACK_ERROR;
    if (coded) {
        ptrdiff_t decoded;
        if (fn_buffer_reserve(&h->scratch, fn_huffman_decoded_bound(length)) < 0) return FN_HPACK_NO_MEMORY;
        decoded = fn_huffman_decode((const char *)b->at, length, h->scratch.data + h->scratch.size);
        if (decoded < 0) return FN_HPACK_ERROR;
        *text = NULL;
        *offset = h->scratch.size;
        *size = (uint32_t)decoded;
        h->scratch.size += (size_t)decoded;
    } else {
        *text = (const char *)b->at;
        *size = length;
    }
    b->at += length;
    return FN_HPACK_FIELD;
}

/* The field of an index (section 2.3.3), without its faults' being changed. */
static inline int fn_hpack_lookup(fn_hpack *h, uint32_t index, fn_hpack_field *field) {
    const fn_hpack_entry *e;
    if (index - 1 < FN_HPACK_STATIC) {
        *field = FN_HPACK_STATIC_TABLE[index];
        return FN_HPACK_FIELD;
    }
    index -= FN_HPACK_STATIC + 1;
    if (index >= h->count) return FN_HPACK_ERROR; /* index 0 has wrapped to a large one */
    e = fn_hpack_slot(h, h->first + h->count - 1 - index);
    field->name = h->arena + e->offset;
    field->value = field->name + e->name_size;
    field->name_size = e->name_size;
    field->value_size = e->value_size;
    field->id = e->id;
    field->faults = e->faults;
    return FN_HPACK_FIELD;
}

/* A literal field (section 6.2): name by index or spelled out, then the value. */
static inline int fn_hpack_literal(fn_hpack *h, fn_hpack_block *b, int bits, int insert, fn_hpack_field *field) {
    size_t name_offset = 0, value_offset = 0;
    uint32_t index;
    int result;
    h->scratch.size = 0;
    if (fn_hpack_integer(b, bits, &index) < 0) return FN_HPACK_ERROR;
    if (index) {
        if ((result = fn_hpack_lookup(h, index, field)) < 0) return result;
        field->faults &= FN_FIELD_BAD_NAME;
        if ((result = fn_hpack_string(h, b, &field->value, &value_offset, &field->value_size)) < 0) return result;
    } else {
        if ((result = fn_hpack_string(h, b, &field->name, &name_offset, &field->name_size)) < 0) return result;
        if ((result = fn_hpack_string(h, b, &field->value, &value_offset, &field->value_size)) < 0) return result;
        if (field->name == NULL) field->name = h->scratch.data + name_offset;
        fn_field_classify_name(field);
    }
    if (field->value == NULL) field->value = h->scratch.data + value_offset;
    if (!fn_field_value_ok(field->value, field->value_size)) field->faults |= FN_FIELD_BAD_VALUE;
    if (insert && fn_hpack_insert(h, field) < 0) return FN_HPACK_NO_MEMORY;
    return FN_HPACK_FIELD;
}

static inline int fn_hpack_update(fn_hpack *h, fn_hpack_block *b) {
    uint32_t size, most = h->update_due ? h->update_to : h->ceiling;
    if (b->begun || fn_hpack_integer(b, 5, &size) < 0 || size > most) return FN_HPACK_ERROR;
    if (h->update_due) h->update_due = 0, h->ceiling = h->update_to;
    h->limit = size;
    fn_hpack_evict(h, size);
    return FN_HPACK_FIELD;
}

static inline void fn_hpack_begin(fn_hpack_block *b, const char *data, size_t size) {
    b->at = (const uint8_t *)data;
    b->end = b->at + size;
    b->begun = 0;
}

/* The next field of the block, or FN_HPACK_END. After an error the table is of no further use. */
static inline int fn_hpack_next(fn_hpack *h, fn_hpack_block *b, fn_hpack_field *field) {
    for (;;) {
        uint8_t byte;
        uint32_t index;
        if (b->at == b->end) {
            if (h->scratch.capacity > FN_HPACK_SCRATCH_KEPT) fn_buffer_free(&h->scratch);
            return FN_HPACK_END;
        }
        byte = *b->at;
        if ((byte & 0xe0) == 0x20) {
            if (fn_hpack_update(h, b) < 0) return FN_HPACK_ERROR;
            continue;
        }
        if (h->update_due) return FN_HPACK_ERROR;
        b->begun = 1;
        if (byte & 0x80) {
            if (fn_hpack_integer(b, 7, &index) < 0) return FN_HPACK_ERROR;
            return fn_hpack_lookup(h, index, field);
        }
        if (byte & 0x40) return fn_hpack_literal(h, b, 6, 1, field);
        return fn_hpack_literal(h, b, 4, 0, field); /* without indexing, or never indexed */
    }
}

/* ---- Encoding ------------------------------------------------------------------------------- */

/* The first static index of each name, by the name's length: FN_HPACK_NAMES[FN_HPACK_BY_SIZE[n]] to before
 * [n + 1] are the indices of the names with n bytes. */
#define FN_HPACK_LONGEST_NAME 27
static const uint8_t FN_HPACK_BY_SIZE[FN_HPACK_LONGEST_NAME + 2] = {
    0, 0, 0, 0, 2, 8, 11, 15, 21, 24, 24, 27, 28, 30, 36, 38, 40, 44, 46, 47, 50, 50, 50, 50, 50, 50, 51, 51,
    52,
};
static const uint8_t FN_HPACK_NAMES[52] = {
    21, 60, 33, 34, 37, 38, 45, 59, 4, 22, 50, 19, 32, 35, 54, 2, 6, 8, 36, 51, 52, 39, 42, 46, 1, 55, 58, 53,
    31, 47, 18, 23, 24, 30, 41, 44, 15, 28, 16, 17, 26, 27, 29, 61, 40, 57, 48, 25, 43, 49, 56, 20,
};

/* The first static index with that name, 0 when there is none. */
static inline uint32_t fn_hpack_static_name(const char *name, size_t size) {
    int i;
    if (size > FN_HPACK_LONGEST_NAME) return 0;
    for (i = FN_HPACK_BY_SIZE[size]; i < FN_HPACK_BY_SIZE[size + 1]; i++) {
        const char *candidate = FN_HPACK_STATIC_TABLE[FN_HPACK_NAMES[i]].name;
        if (candidate[size - 1] == name[size - 1] && memcmp(candidate, name, size) == 0) return FN_HPACK_NAMES[i];
    }
    return 0;
}

/* The static index with that name and value, given the name's first index; 0 when there is none. */
static inline uint32_t fn_hpack_static_field(uint32_t index, const char *value, size_t size) {
    const fn_hpack_field *row = &FN_HPACK_STATIC_TABLE[index];
    const char *name = row->name;
    uint32_t name_size = row->name_size;
    if (index > 16) return 0; /* the rows behind have no values */
    for (; index <= 16 && row->name_size == name_size && memcmp(row->name, name, name_size) == 0; index++, row++)
        if (row->value_size && row->value_size == size && memcmp(row->value, value, size) == 0) return index;
    return 0;
}

/* The writers below go to memory reserved by their callers: six bytes for an integer. */
static inline char *fn_hpack_put_integer(char *to, uint8_t pattern, int bits, uint32_t value) {
    uint32_t max = (1u << bits) - 1;
    if (value < max) {
        *to++ = (char)(pattern | value);
        return to;
    }
    *to++ = (char)(pattern | max);
    value -= max;
    while (value >= 0x80) {
        *to++ = (char)(value | 0x80);
        value >>= 7;
    }
    *to++ = (char)value;
    return to;
}

static inline char *fn_hpack_put_string(char *to, const char *text, size_t size, int huffman) {
    if (huffman) {
        size_t coded = fn_huffman_encoded_size(text, size);
        if (coded < size) {
            to = fn_hpack_put_integer(to, 0x80, 7, (uint32_t)coded);
            return to + fn_huffman_encode(text, size, to);
        }
    }
    to = fn_hpack_put_integer(to, 0, 7, (uint32_t)size);
    memcpy(to, text, size);
    return to + size;
}

/* Values that must not enter a compression context anywhere down the road (RFC 7541, section 7.1.3). */
static inline int fn_hpack_is_secret(uint32_t index) {
    return index == 23 || index == 49 || index == 55 || index == 32;
}

/* Append one field: indexed when the static table has it, else a literal that nobody indexes. The name is in
 * lower case; neither size may be above FN_HPACK_INTEGER_MAX. `huffman` codes strings that get shorter by it.
 * 0, or -1 when memory is out or a size too large. */
static inline int fn_hpack_encode_field(fn_buffer *out, const char *name, size_t name_size, const char *value,
                                        size_t value_size, int huffman) {
    uint32_t index, both;
    char *to;
    if (name_size > FN_HPACK_INTEGER_MAX || value_size > FN_HPACK_INTEGER_MAX) return -1;
    if (fn_buffer_reserve(out, name_size + value_size + 18) < 0) return -1;
    index = fn_hpack_static_name(name, name_size);
    to = out->data + out->size;
    if (index && (both = fn_hpack_static_field(index, value, value_size))) {
        *to++ = (char)(0x80 | both);
    } else {
        to = fn_hpack_put_integer(to, fn_hpack_is_secret(index) ? 0x10 : 0, 4, index);
        if (index == 0) to = fn_hpack_put_string(to, name, name_size, huffman);
        to = fn_hpack_put_string(to, value, value_size, huffman);
    }
    out->size = (size_t)(to - out->data);
    return 0;
}

/* Append `:status`, a number of three digits. 0, or -1 when memory is out. */
static inline int fn_hpack_encode_status(fn_buffer *out, int status) {
    char digits[3];
    digits[0] = (char)('0' + status / 100 % 10);
    digits[1] = (char)('0' + status / 10 % 10);
    digits[2] = (char)('0' + status % 10);
    return fn_hpack_encode_field(out, ":status", 7, digits, 3, 0);
}

/* Append a dynamic table size update. */
static inline int fn_hpack_encode_table_size(fn_buffer *out, uint32_t size) {
    if (fn_buffer_reserve(out, 6) < 0) return -1;
    out->size = (size_t)(fn_hpack_put_integer(out->data + out->size, 0x20, 5, size) - out->data);
    return 0;
}

#endif
