// For lwIP's own sources: what they use of <stdlib.h>. The number at the end of an interface's name (netif_find).
#ifndef NET_LWIP_LIBC_STDLIB_H
#define NET_LWIP_LIBC_STDLIB_H

static inline int atoi(const char *s) {
    int n = 0;
    while (*s >= '0' && *s <= '9' && n < 10000)
        n = n * 10 + *s++ - '0';
    return n;
}

#endif
