// Memory and string functions. Large copies use REP MOVSQ: fast on real processors, and a quarter of the steps that a loop
// over words needs where every step is emulated. (REP MOVSB may be faster still with ERMS, but counts every byte as a step
// under emulation.)
#include "kernel/string.h"
#include "kernel/memory/slab.h"
#include "kernel/x86/string.h"

// Or the compiler makes of a loop a call of the very function that it is in.
#pragma GCC optimize("no-tree-loop-distribute-patterns")

void *memcpy(void *restrict dst, const void *restrict src, size_t n) {
    char *d = dst;
    const char *s = src;
    if (n >= 8) {
        // The last word first, so that whole words suffice for any length.
        uint64_t tail = load64(s + n - 8);
        char *last = d + n - 8;
        if (n >= 64)
            rep_movsq(d, s, n / 8);
        else
            for (; d < last; d += 8, s += 8)
                store64(d, load64(s));
        store64(last, tail);
        return dst;
    }
    if (n >= 4) {
        uint32_t head = load32(s), tail = load32(s + n - 4);
        store32(d, head);
        store32(d + n - 4, tail);
        return dst;
    }
    if (n > 0) {
        char head = s[0], middle = s[n / 2], tail = s[n - 1];
        d[0] = head;
        d[n / 2] = middle;
        d[n - 1] = tail;
    }
    return dst;
}

void *memmove(void *dst, const void *src, size_t n) {
    char *d = dst;
    const char *s = src;
    if (d == s)
        return dst;
    if ((uintptr_t)d - (uintptr_t)s >= n) { // also true when dst is below src; overlapping forwards then
        if (d > s || (uintptr_t)s - (uintptr_t)d >= n)
            return memcpy(dst, src, n);
        for (; n >= 8; n -= 8, d += 8, s += 8)
            store64(d, load64(s));
        while (n-- > 0)
            *d++ = *s++;
        return dst;
    }
    for (; n >= 8; n -= 8)
        store64(d + n - 8, load64(s + n - 8));
    while (n-- > 0)
        d[n] = s[n];
    return dst;
}

void *memset(void *dst, int c, size_t n) {
    char *d = dst;
    uint64_t word = (uint8_t)c * 0x0101010101010101UL;
    if (n >= 8) {
        char *last = d + n - 8;
        if (n >= 64)
            rep_stosq(d, word, n / 8);
        else
            for (; d < last; d += 8)
                store64(d, word);
        store64(last, word);
        return dst;
    }
    while (n-- > 0)
        *d++ = (char)c;
    return dst;
}

int memcmp(const void *a, const void *b, size_t n) {
    const unsigned char *x = a, *y = b;
    for (; n >= 8 && load64(x) == load64(y); n -= 8, x += 8, y += 8)
        ;
    for (; n > 0; n--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

void *memchr(const void *s, int c, size_t n) {
    for (const unsigned char *p = s; n > 0; n--, p++)
        if (*p == (unsigned char)c)
            return (void *)p;
    return NULL;
}

size_t strlen(const char *s) {
    const char *p = s;
    while (*p)
        p++;
    return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t max) {
    size_t n = 0;
    while (n < max && s[n])
        n++;
    return n;
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t n) {
    for (; n > 0; n--, a++, b++)
        if (*a != *b || !*a)
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

char *strchr(const char *s, int c) {
    for (;; s++) {
        if (*s == (char)c)
            return (char *)s;
        if (!*s)
            return NULL;
    }
}

char *strrchr(const char *s, int c) {
    const char *found = NULL;
    do {
        if (*s == (char)c)
            found = s;
    } while (*s++);
    return (char *)found;
}

char *strstr(const char *s, const char *needle) {
    size_t n = strlen(needle);
    for (;; s++) {
        if (strncmp(s, needle, n) == 0)
            return (char *)s;
        if (!*s)
            return NULL;
    }
}

size_t str_copy(char *dst, const char *src, size_t size) {
    size_t len = strlen(src), n = MIN(len, size - 1);
    memcpy(dst, src, n);
    dst[n] = '\0';
    return len;
}

bool str_to_u64(const char *s, uint64_t *value) {
    uint64_t v = 0;
    unsigned base = 10, shift = 0;
    if (s[0] == '0' && (s[1] | 0x20) == 'x') {
        base = 16;
        s += 2;
    }
    const char *first = s;
    for (;; s++) {
        unsigned digit = (unsigned)(*s - '0');
        if (digit > 9) {
            digit = (unsigned)((*s | 0x20) - 'a') + 10;
            if (digit < 10 || digit >= base)
                break;
        }
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    if (s == first)
        return false;
    switch (*s) {
    case 'k':
    case 'K': shift = 10; break;
    case 'm':
    case 'M': shift = 20; break;
    case 'g':
    case 'G': shift = 30; break;
    }
    if (shift)
        s++;
    if (*s != '\0' || v > UINT64_MAX >> shift)
        return false;
    *value = v << shift;
    return true;
}

char *str_ndup(const char *s, size_t n) {
    n = strnlen(s, n);
    char *copy = kmalloc(n + 1);
    if (copy) {
        memcpy(copy, s, n);
        copy[n] = '\0';
    }
    return copy;
}

char *str_dup(const char *s) { return str_ndup(s, strlen(s)); }
