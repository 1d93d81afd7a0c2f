/*
 * Reads ld.so.cache; see the header. Caches of before 2020 begin with a table in an older form, which the newer one follows.
 */
#include "tools/ldcache.h"

#include <stdint.h>
#include <string.h>

enum { FLAGS_X86_64 = 0x0303 }; /* for 64-bit programs of the GNU C library */

struct old_header {
    char magic[12]; /* "ld.so-1.7.0" */
    uint32_t count;
};
struct old_entry {
    int32_t flags;
    uint32_t key, value;
};
struct header {
    char magic[20]; /* "glibc-ld.so.cache1.1", without a NUL */
    uint32_t count, strings_size;
    uint8_t flags, padding[3];
    uint32_t extensions, unused[3];
};
struct entry {
    int32_t flags;
    uint32_t key, value; /* offsets of strings from the header on */
    uint32_t os_version;
    uint64_t hwcap; /* not 0: a variant for particular processors */
};
_Static_assert(sizeof(struct header) == 48 && sizeof(struct entry) == 24, "ld.so.cache");

static const char *text_at(const char *table, size_t size, uint32_t offset) {
    return offset < size && memchr(table + offset, '\0', size - offset) ? table + offset : NULL;
}

const char *ldcache_find(const void *cache, size_t size, const char *library) {
    const char *table = cache;
    struct old_header old;
    struct header header;

    if (size >= sizeof(old) && memcmp(table, "ld.so-1.7.0", 11) == 0) {
        memcpy(&old, table, sizeof(old));
        uint64_t skip = (sizeof(old) + (uint64_t)old.count * sizeof(struct old_entry) + 7) / 8 * 8;
        if (skip > size)
            return NULL;
        table += skip;
        size -= skip;
    }
    if (size < sizeof(header))
        return NULL;
    memcpy(&header, table, sizeof(header));
    if (memcmp(header.magic, "glibc-ld.so.cache1.1", sizeof(header.magic)) != 0 ||
        header.count > (size - sizeof(header)) / sizeof(struct entry))
        return NULL;
    for (uint32_t i = 0; i < header.count; i++) {
        struct entry entry;
        memcpy(&entry, table + sizeof(header) + i * sizeof(entry), sizeof(entry));
        const char *key = text_at(table, size, entry.key);
        if (entry.flags == FLAGS_X86_64 && entry.hwcap == 0 && key && strcmp(key, library) == 0)
            return text_at(table, size, entry.value);
    }
    return NULL;
}
