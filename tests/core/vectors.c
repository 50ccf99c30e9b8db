/* Holds each kind of vectors of mask.h and utf8.h that KINDS lists to plain C: every length, many alignments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastnet_ext/core/mask.h"
#include "fastnet_ext/core/utf8.h"

static char room[2048], by_vectors[2048], by_plain[2048];

static int mask_differs(fn_simd kind, size_t start, size_t size) {
    memset(by_vectors, 1, sizeof by_vectors);
    memset(by_plain, 1, sizeof by_plain);
    fn_mask_with(kind, by_vectors + start, room + start, size, 0x80ff015au);
    fn_mask_plain(by_plain + start, room + start, size, 0x80ff015au);
    return memcmp(by_vectors, by_plain, sizeof by_plain) != 0;
}

/* With one byte that is not ASCII, which may be the one behind the end. */
static int prefix_differs(fn_simd kind, size_t start, size_t size, size_t place) {
    int differs;
    room[start + place] = (char)0x80;
    differs = fn_ascii_prefix(kind, room + start, size) != place;
    room[start + place] = 'a';
    return differs;
}

int main(void) {
    const fn_simd kinds[] = {KINDS};
    size_t k, start, size, place;
    for (k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        for (size = 0; size < sizeof room; size++) room[size] = (char)(size * 31);
        for (start = 0; start < 65; start += 3)
            for (size = 0; size < 800; size++)
                if (mask_differs(kinds[k], start, size)) {
                    printf("kind %d masks %zu bytes at %zu differently\n", (int)kinds[k], size, start);
                    return 1;
                }
        memset(room, 'a', sizeof room);
        for (start = 0; start < 65; start += 7)
            for (size = 0; size < 400; size++)
                for (place = 0; place <= size; place += size < 140 || place % 128 > 120 ? 1 : 7)
                    if (prefix_differs(kinds[k], start, size, place)) {
                        printf("kind %d: %zu bytes at %zu, not ASCII at %zu\n", (int)kinds[k], size, start, place);
                        return 1;
                    }
    }
    puts("equal");
    return 0;
}
