// Memory and string functions with the C library's prototypes. In host unit tests the C library provides them.
#ifndef KERNEL_STRING_H
#define KERNEL_STRING_H

#include "kernel/types.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *s, const char *needle);

// Copies with truncation, always NUL-terminates; returns strlen(src). `size` > 0.
size_t str_copy(char *dst, const char *src, size_t size);
// Parses a whole unsigned number (0x prefix understood) with an optional K, M or G at its end. False when malformed.
bool str_to_u64(const char *s, uint64_t *value);
// kmalloc'ed copies; NULL when there is no memory.
char *str_dup(const char *s);
char *str_ndup(const char *s, size_t n);

#endif
