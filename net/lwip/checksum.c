// The Internet checksum (RFC 1071) for lwIP, of what no device sums: 32 bits a step into 64. The sum is the same in any width, folded in the end.
#include "lwip/arch.h"
#include "net/lwip/hooks.h"

static inline uint64_t load32(const uint8_t *p) {
    uint32_t w;
    __builtin_memcpy(&w, p, 4);
    return w;
}

// Not complemented, in the order of the bytes in memory. Of at most 64 KiB.
u16_t net_checksum(const void *data, int len) {
    const uint8_t *p = data;
    uint64_t sum = 0;
    for (; len >= 32; len -= 32, p += 32)
        sum += load32(p) + load32(p + 4) + load32(p + 8) + load32(p + 12) + load32(p + 16) + load32(p + 20) + load32(p + 24) + load32(p + 28);
    for (; len >= 4; len -= 4, p += 4)
        sum += load32(p);
    for (int i = 0; i < len; i++)
        sum += (uint64_t)p[i] << 8 * i;
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16_t)((sum & 0xffff) + (sum >> 16));
}
