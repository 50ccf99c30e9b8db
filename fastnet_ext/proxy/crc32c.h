/* CRC-32C (Castagnoli), RFC 3720, appendix B.4: four bits at a time, since headers are short and rare. */
#ifndef FASTNET_PROXY_CRC32C_H
#define FASTNET_PROXY_CRC32C_H

#include <stddef.h>
#include <stdint.h>

static const uint32_t fn_crc32c_nibbles[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

/* Continue a checksum; begin with 0. */
static inline uint32_t fn_crc32c(uint32_t crc, const char *p, size_t size) {
    size_t i;
    crc = ~crc;
    for (i = 0; i < size; i++) {
        crc ^= (uint8_t)p[i];
        crc = (crc >> 4) ^ fn_crc32c_nibbles[crc & 15];
        crc = (crc >> 4) ^ fn_crc32c_nibbles[crc & 15];
    }
    return ~crc;
}

#endif
