// The Internet checksum (RFC 1071) for lwIP, of what no device sums: 64 bits a step. The sum is the same in any width, folded in the end.
#include "lwip/arch.h"
#include "net/lwip/hooks.h"

static uint64_t load64(const uint8_t *p) {
    uint64_t w;
    __builtin_memcpy(&w, p, 8);
    return w;
}

// Not complemented, in the order of the bytes in memory.
u16_t net_checksum(const void *data, int len) {
    const uint8_t *p = data;
    unsigned __int128 sum = 0;
    uint64_t last = 0;
    for (; len >= 32; len -= 32, p += 32) {
        sum += load64(p);
        sum += load64(p + 8);
        sum += load64(p + 16);
        sum += load64(p + 24);
    }
    for (; len >= 8; len -= 8, p += 8)
        sum += load64(p);
    for (int i = 0; i < len; i++)
        last |= (uint64_t)p[i] << 8 * i;
    sum += last;
    uint64_t s = (uint64_t)sum, high = (uint64_t)(sum >> 64);
    s = (s & 0xffffffff) + (s >> 32) + high;
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    return (u16_t)((s & 0xffff) + (s >> 16));
}
