// The CRC-16 that group descriptors have without metadata_csum.
#include "fs/ext4/ext4.h"

uint16_t ext4_crc16(uint16_t crc, const void *data, size_t n) {
    for (const uint8_t *p = data; n; n--) {
        crc ^= *p++;
        for (int k = 0; k < 8; k++)
            crc = (uint16_t)(crc >> 1 ^ (crc & 1 ? 0xa001 : 0));
    }
    return crc;
}
