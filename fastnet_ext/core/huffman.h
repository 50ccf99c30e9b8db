/* Huffman coding of HPACK strings (RFC 7541, section 5.2 and appendix B).
 *
 * The code is canonical: within one length, codes rise with the symbols. Codes of up to eight bits,
 * all that ordinary header text needs, are found by one look-up of eight bits; longer ones by
 * comparing 32 bits with the last code of each length.
 */
#ifndef FASTNET_CORE_HUFFMAN_H
#define FASTNET_CORE_HUFFMAN_H

#include <stddef.h>
#include <stdint.h>
#include "fastnet_ext/core/endian.h"

/* Code (right-aligned) and its length in bits, by symbol. End-of-string, 30 ones, is never written. */
static const struct {
    uint32_t code;
    uint8_t bits;
} FN_HUFFMAN_CODES[256] = {
    {0x1ff8, 13}, {0x7fffd8, 23}, {0xfffffe2, 28}, {0xfffffe3, 28}, {0xfffffe4, 28}, {0xfffffe5, 28},
    {0xfffffe6, 28}, {0xfffffe7, 28}, {0xfffffe8, 28}, {0xffffea, 24}, {0x3ffffffc, 30}, {0xfffffe9, 28},
    {0xfffffea, 28}, {0x3ffffffd, 30}, {0xfffffeb, 28}, {0xfffffec, 28}, {0xfffffed, 28}, {0xfffffee, 28},
    {0xfffffef, 28}, {0xffffff0, 28}, {0xffffff1, 28}, {0xffffff2, 28}, {0x3ffffffe, 30}, {0xffffff3, 28},
    {0xffffff4, 28}, {0xffffff5, 28}, {0xffffff6, 28}, {0xffffff7, 28}, {0xffffff8, 28}, {0xffffff9, 28},
    {0xffffffa, 28}, {0xffffffb, 28}, {0x14, 6}, {0x3f8, 10}, {0x3f9, 10}, {0xffa, 12}, {0x1ff9, 13}, {0x15, 6},
    {0xf8, 8}, {0x7fa, 11}, {0x3fa, 10}, {0x3fb, 10}, {0xf9, 8}, {0x7fb, 11}, {0xfa, 8}, {0x16, 6}, {0x17, 6},
    {0x18, 6}, {0x0, 5}, {0x1, 5}, {0x2, 5}, {0x19, 6}, {0x1a, 6}, {0x1b, 6}, {0x1c, 6}, {0x1d, 6}, {0x1e, 6},
    {0x1f, 6}, {0x5c, 7}, {0xfb, 8}, {0x7ffc, 15}, {0x20, 6}, {0xffb, 12}, {0x3fc, 10}, {0x1ffa, 13}, {0x21, 6},
    {0x5d, 7}, {0x5e, 7}, {0x5f, 7}, {0x60, 7}, {0x61, 7}, {0x62, 7}, {0x63, 7}, {0x64, 7}, {0x65, 7}, {0x66,
    7}, {0x67, 7}, {0x68, 7}, {0x69, 7}, {0x6a, 7}, {0x6b, 7}, {0x6c, 7}, {0x6d, 7}, {0x6e, 7}, {0x6f, 7},
    {0x70, 7}, {0x71, 7}, {0x72, 7}, {0xfc, 8}, {0x73, 7}, {0xfd, 8}, {0x1ffb, 13}, {0x7fff0, 19}, {0x1ffc, 13},
    {0x3ffc, 14}, {0x22, 6}, {0x7ffd, 15}, {0x3, 5}, {0x23, 6}, {0x4, 5}, {0x24, 6}, {0x5, 5}, {0x25, 6}, {0x26,
    6}, {0x27, 6}, {0x6, 5}, {0x74, 7}, {0x75, 7}, {0x28, 6}, {0x29, 6}, {0x2a, 6}, {0x7, 5}, {0x2b, 6}, {0x76,
    7}, {0x2c, 6}, {0x8, 5}, {0x9, 5}, {0x2d, 6}, {0x77, 7}, {0x78, 7}, {0x79, 7}, {0x7a, 7}, {0x7b, 7},
    {0x7ffe, 15}, {0x7fc, 11}, {0x3ffd, 14}, {0x1ffd, 13}, {0xffffffc, 28}, {0xfffe6, 20}, {0x3fffd2, 22},
    {0xfffe7, 20}, {0xfffe8, 20}, {0x3fffd3, 22}, {0x3fffd4, 22}, {0x3fffd5, 22}, {0x7fffd9, 23}, {0x3fffd6,
    22}, {0x7fffda, 23}, {0x7fffdb, 23}, {0x7fffdc, 23}, {0x7fffdd, 23}, {0x7fffde, 23}, {0xffffeb, 24},
    {0x7fffdf, 23}, {0xffffec, 24}, {0xffffed, 24}, {0x3fffd7, 22}, {0x7fffe0, 23}, {0xffffee, 24}, {0x7fffe1,
    23}, {0x7fffe2, 23}, {0x7fffe3, 23}, {0x7fffe4, 23}, {0x1fffdc, 21}, {0x3fffd8, 22}, {0x7fffe5, 23},
    {0x3fffd9, 22}, {0x7fffe6, 23}, {0x7fffe7, 23}, {0xffffef, 24}, {0x3fffda, 22}, {0x1fffdd, 21}, {0xfffe9,
    20}, {0x3fffdb, 22}, {0x3fffdc, 22}, {0x7fffe8, 23}, {0x7fffe9, 23}, {0x1fffde, 21}, {0x7fffea, 23},
    {0x3fffdd, 22}, {0x3fffde, 22}, {0xfffff0, 24}, {0x1fffdf, 21}, {0x3fffdf, 22}, {0x7fffeb, 23}, {0x7fffec,
    23}, {0x1fffe0, 21}, {0x1fffe1, 21}, {0x3fffe0, 22}, {0x1fffe2, 21}, {0x7fffed, 23}, {0x3fffe1, 22},
    {0x7fffee, 23}, {0x7fffef, 23}, {0xfffea, 20}, {0x3fffe2, 22}, {0x3fffe3, 22}, {0x3fffe4, 22}, {0x7ffff0,
    23}, {0x3fffe5, 22}, {0x3fffe6, 22}, {0x7ffff1, 23}, {0x3ffffe0, 26}, {0x3ffffe1, 26}, {0xfffeb, 20},
    {0x7fff1, 19}, {0x3fffe7, 22}, {0x7ffff2, 23}, {0x3fffe8, 22}, {0x1ffffec, 25}, {0x3ffffe2, 26}, {0x3ffffe3,
    26}, {0x3ffffe4, 26}, {0x7ffffde, 27}, {0x7ffffdf, 27}, {0x3ffffe5, 26}, {0xfffff1, 24}, {0x1ffffed, 25},
    {0x7fff2, 19}, {0x1fffe3, 21}, {0x3ffffe6, 26}, {0x7ffffe0, 27}, {0x7ffffe1, 27}, {0x3ffffe7, 26},
    {0x7ffffe2, 27}, {0xfffff2, 24}, {0x1fffe4, 21}, {0x1fffe5, 21}, {0x3ffffe8, 26}, {0x3ffffe9, 26},
    {0xffffffd, 28}, {0x7ffffe3, 27}, {0x7ffffe4, 27}, {0x7ffffe5, 27}, {0xfffec, 20}, {0xfffff3, 24}, {0xfffed,
    20}, {0x1fffe6, 21}, {0x3fffe9, 22}, {0x1fffe7, 21}, {0x1fffe8, 21}, {0x7ffff3, 23}, {0x3fffea, 22},
    {0x3fffeb, 22}, {0x1ffffee, 25}, {0x1ffffef, 25}, {0xfffff4, 24}, {0xfffff5, 24}, {0x3ffffea, 26},
    {0x7ffff4, 23}, {0x3ffffeb, 26}, {0x7ffffe6, 27}, {0x3ffffec, 26}, {0x3ffffed, 26}, {0x7ffffe7, 27},
    {0x7ffffe8, 27}, {0x7ffffe9, 27}, {0x7ffffea, 27}, {0x7ffffeb, 27}, {0xffffffe, 28}, {0x7ffffec, 27},
    {0x7ffffed, 27}, {0x7ffffee, 27}, {0x7ffffef, 27}, {0x7fffff0, 27}, {0x3ffffee, 26},
};

/* By the next eight bits: length << 8 | symbol; 0 where the code is longer. */
static const uint16_t FN_HUFFMAN_SHORT[256] = {
    0x530, 0x530, 0x530, 0x530, 0x530, 0x530, 0x530, 0x530, 0x531, 0x531, 0x531, 0x531, 0x531, 0x531, 0x531,
    0x531, 0x532, 0x532, 0x532, 0x532, 0x532, 0x532, 0x532, 0x532, 0x561, 0x561, 0x561, 0x561, 0x561, 0x561,
    0x561, 0x561, 0x563, 0x563, 0x563, 0x563, 0x563, 0x563, 0x563, 0x563, 0x565, 0x565, 0x565, 0x565, 0x565,
    0x565, 0x565, 0x565, 0x569, 0x569, 0x569, 0x569, 0x569, 0x569, 0x569, 0x569, 0x56f, 0x56f, 0x56f, 0x56f,
    0x56f, 0x56f, 0x56f, 0x56f, 0x573, 0x573, 0x573, 0x573, 0x573, 0x573, 0x573, 0x573, 0x574, 0x574, 0x574,
    0x574, 0x574, 0x574, 0x574, 0x574, 0x620, 0x620, 0x620, 0x620, 0x625, 0x625, 0x625, 0x625, 0x62d, 0x62d,
    0x62d, 0x62d, 0x62e, 0x62e, 0x62e, 0x62e, 0x62f, 0x62f, 0x62f, 0x62f, 0x633, 0x633, 0x633, 0x633, 0x634,
    0x634, 0x634, 0x634, 0x635, 0x635, 0x635, 0x635, 0x636, 0x636, 0x636, 0x636, 0x637, 0x637, 0x637, 0x637,
    0x638, 0x638, 0x638, 0x638, 0x639, 0x639, 0x639, 0x639, 0x63d, 0x63d, 0x63d, 0x63d, 0x641, 0x641, 0x641,
    0x641, 0x65f, 0x65f, 0x65f, 0x65f, 0x662, 0x662, 0x662, 0x662, 0x664, 0x664, 0x664, 0x664, 0x666, 0x666,
    0x666, 0x666, 0x667, 0x667, 0x667, 0x667, 0x668, 0x668, 0x668, 0x668, 0x66c, 0x66c, 0x66c, 0x66c, 0x66d,
    0x66d, 0x66d, 0x66d, 0x66e, 0x66e, 0x66e, 0x66e, 0x670, 0x670, 0x670, 0x670, 0x672, 0x672, 0x672, 0x672,
    0x675, 0x675, 0x675, 0x675, 0x73a, 0x73a, 0x742, 0x742, 0x743, 0x743, 0x744, 0x744, 0x745, 0x745, 0x746,
    0x746, 0x747, 0x747, 0x748, 0x748, 0x749, 0x749, 0x74a, 0x74a, 0x74b, 0x74b, 0x74c, 0x74c, 0x74d, 0x74d,
    0x74e, 0x74e, 0x74f, 0x74f, 0x750, 0x750, 0x751, 0x751, 0x752, 0x752, 0x753, 0x753, 0x754, 0x754, 0x755,
    0x755, 0x756, 0x756, 0x757, 0x757, 0x759, 0x759, 0x76a, 0x76a, 0x76b, 0x76b, 0x771, 0x771, 0x776, 0x776,
    0x777, 0x777, 0x778, 0x778, 0x779, 0x779, 0x77a, 0x77a, 0x826, 0x82a, 0x82c, 0x83b, 0x858, 0x85a, 0, 0,
};

/* One row per length above eight bits: the last 32-bit value that begins with a code of that length,
 * the first code, and where its symbols start in FN_HUFFMAN_LONG_SYMBOLS. */
static const struct {
    uint32_t last;
    uint32_t first;
    uint8_t start;
    uint8_t bits;
} FN_HUFFMAN_LONG[17] = {
    {0xff3fffff, 0x3f8, 0, 10},
    {0xff9fffff, 0x7fa, 5, 11},
    {0xffbfffff, 0xffa, 8, 12},
    {0xffefffff, 0x1ff8, 10, 13},
    {0xfff7ffff, 0x3ffc, 16, 14},
    {0xfffdffff, 0x7ffc, 18, 15},
    {0xfffe5fff, 0x7fff0, 21, 19},
    {0xfffedfff, 0xfffe6, 24, 20},
    {0xffff47ff, 0x1fffdc, 32, 21},
    {0xffffafff, 0x3fffd2, 45, 22},
    {0xffffe9ff, 0x7fffd8, 71, 23},
    {0xfffff5ff, 0xffffea, 100, 24},
    {0xfffff7ff, 0x1ffffec, 112, 25},
    {0xfffffbbf, 0x3ffffe0, 116, 26},
    {0xfffffe1f, 0x7ffffde, 131, 27},
    {0xffffffef, 0xfffffe2, 150, 28},
    {0xffffffff, 0x3ffffffc, 179, 30},
};

/* The symbols of the longer codes in the order of their codes; end-of-string is the last. */
#define FN_HUFFMAN_LONG_COUNT 183
static const uint8_t FN_HUFFMAN_LONG_SYMBOLS[FN_HUFFMAN_LONG_COUNT] = {
    33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92, 195, 208, 128,
    130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129,
    132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196,
    198, 228, 232, 233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166,
    168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236,
    237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255, 203,
    204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254, 2, 3, 4, 5, 6, 7,
    8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22, 0,
};

/* No string decodes to more than this: the shortest code has five bits. */
static inline size_t fn_huffman_decoded_bound(size_t size) {
    return size * 8 / 5 + 1;
}

/* One symbol from the `bits` (at least eight) leading bits of `window`, by its long code: its length,
 * and the symbol at *symbol. 0 when the bits do not suffice or say end-of-string, an error both. */
static inline int fn_huffman_long(uint64_t window, int bits, uint8_t *symbol) {
    uint32_t head = (uint32_t)(window >> 32);
    uint32_t at;
    int row = 0;
    while (head > FN_HUFFMAN_LONG[row].last) row++;
    if (FN_HUFFMAN_LONG[row].bits > bits) return 0;
    at = FN_HUFFMAN_LONG[row].start + ((head >> (32 - FN_HUFFMAN_LONG[row].bits)) - FN_HUFFMAN_LONG[row].first);
    if (at == FN_HUFFMAN_LONG_COUNT - 1) return 0;
    *symbol = FN_HUFFMAN_LONG_SYMBOLS[at];
    return FN_HUFFMAN_LONG[row].bits;
}

/* Decode `size` bytes to `out`, which holds fn_huffman_decoded_bound(size) bytes at least.
 * How many bytes came out; -1 for end-of-string inside, for padding of more than seven bits and for
 * padding that is not the start of end-of-string. */
static inline ptrdiff_t fn_huffman_decode(const char *data, size_t size, char *out) {
    const uint8_t *p = (const uint8_t *)data, *end = p + size;
    uint8_t *to = (uint8_t *)out;
    uint64_t window = 0; /* the next bits from the top down, zeros after them */
    int bits = 0;        /* how many of them are real */
    for (;;) {
        if (end - p >= 8) {
            /* Bits beyond the whole bytes taken here are read again, equal, by the next refill. */
            window |= fn_load64(p) >> bits;
            p += (63 - bits) >> 3;
            bits |= 56;
        } else {
            while (bits <= 56 && p < end) {
                window |= (uint64_t)*p++ << (56 - bits);
                bits += 8;
            }
            if (bits < 8) break;
        }
        do {
            uint16_t entry = FN_HUFFMAN_SHORT[window >> 56];
            int length = entry >> 8;
            if (length) {
                *to++ = (uint8_t)entry;
            } else {
                if (bits < 30 && p < end) break; /* a long code may want more than is here */
                length = fn_huffman_long(window, bits, to);
                if (length == 0) return -1;
                to++;
            }
            window <<= length;
            bits -= length;
        } while (bits >= 8);
    }
    while (bits) {
        /* The rest, completed with ones: a short code inside it, or padding. */
        uint32_t index = (uint32_t)(window >> 56) | (0xffu >> bits);
        uint16_t entry = FN_HUFFMAN_SHORT[index];
        int length = entry >> 8;
        if (length == 0 || length > bits) {
            if (index != 0xff) return -1;
            break;
        }
        *to++ = (uint8_t)entry;
        window <<= length;
        bits -= length;
    }
    return (char *)to - out;
}

/* How many bytes the string takes when coded. */
static inline size_t fn_huffman_encoded_size(const char *data, size_t size) {
    uint64_t bits = 0;
    size_t i;
    for (i = 0; i < size; i++) bits += FN_HUFFMAN_CODES[(uint8_t)data[i]].bits;
    return (size_t)((bits + 7) / 8);
}

/* Code the string to `out`, which holds fn_huffman_encoded_size bytes; how many were written. */
static inline size_t fn_huffman_encode(const char *data, size_t size, char *out) {
    uint64_t window = 0; /* the low `bits` bits wait to be written */
    int bits = 0;
    char *to = out;
    size_t i;
    for (i = 0; i < size; i++) {
        uint8_t symbol = (uint8_t)data[i];
        window = (window << FN_HUFFMAN_CODES[symbol].bits) | FN_HUFFMAN_CODES[symbol].code;
        bits += FN_HUFFMAN_CODES[symbol].bits;
        while (bits >= 8) {
            bits -= 8;
            *to++ = (char)(window >> bits);
        }
    }
    if (bits) *to++ = (char)((window << (8 - bits)) | (0xffu >> bits));
    return (size_t)(to - out);
}

#endif
