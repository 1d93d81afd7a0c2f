/*
 * /etc/ld.so.cache, which ldconfig(8) writes: where glibc's dynamic linker finds libraries outside the usual directories.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The path that the cache (its bytes, which are not believed) has for a library for x86-64, or NULL. It points into the
 * cache.
 */
const char *ldcache_find(const void *cache, size_t size, const char *library);
