// See crc32c.h. With the processor's instruction where there is one (SSE4.2), else four bits at a time.
#include "kernel/crc32c.h"

#include "kernel/x86/crc32c.h"

// The remainders of the 16 values of four bits; the reflected polynomial is 0x82f63b78.
static const uint32_t remainder[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c(uint32_t crc, const void *data, size_t n) {
    if (crc32c_by_processor())
        return crc32c_processor(crc, data, n);
    for (const uint8_t *p = data, *end = p + n; p < end; p++) {
        crc ^= *p;
        crc = crc >> 4 ^ remainder[crc & 15];
        crc = crc >> 4 ^ remainder[crc & 15];
    }
    return crc;
}
