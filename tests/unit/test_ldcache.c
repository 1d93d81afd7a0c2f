// link: tools/ldcache.c
/* The reader of ld.so.cache: libraries are found in both forms of the file, and nothing in a damaged one leads outside of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/ldcache.h"

struct entry {
    int32_t flags;
    uint32_t key, value, version;
    uint64_t hwcap;
};
struct cache {
    char magic[20];
    uint32_t count, strings_size, flags, extensions, unused[3];
    struct entry entry[3];
    char strings[64];
};

/* libx for a 32-bit program, a variant of it for some processors, and libx itself. */
static struct cache sample(void) {
    struct cache c = {.count = 3, .strings_size = sizeof(c.strings)};

    memcpy(c.magic, "glibc-ld.so.cache1.1", sizeof(c.magic));
    memcpy(c.strings, "libx.so.1\0/32/libx.so.1\0/cpu/libx.so.1\0/lib/libx.so.1\0", 55);
    const uint32_t at = offsetof(struct cache, strings);
    c.entry[0] = (struct entry){3, at, at + 10, 0, 0};
    c.entry[1] = (struct entry){0x303, at, at + 24, 0, 1ull << 62};
    c.entry[2] = (struct entry){0x303, at, at + 39, 0, 0};
    return c;
}

static void finds_the_plain_one(void **state) {
    struct cache c = sample();

    assert_string_equal(ldcache_find(&c, sizeof(c), "libx.so.1"), "/lib/libx.so.1");
    assert_null(ldcache_find(&c, sizeof(c), "libx.so"));
    assert_null(ldcache_find(&c, sizeof(c), "liby.so.1"));
}

static void skips_the_older_table(void **state) {
    struct cache c = sample();
    char file[12 + 4 + 12 + 4 + sizeof(c)] = "ld.so-1.7.0"; /* one entry, and padding to a multiple of 8 */
    const uint32_t one = 1;

    memcpy(file + 12, &one, 4);
    memcpy(file + 32, &c, sizeof(c));
    assert_string_equal(ldcache_find(file, sizeof(file), "libx.so.1"), "/lib/libx.so.1");
}

static void believes_nothing(void **state) {
    struct cache c = sample();

    for (size_t n = 0; n < sizeof(c); n++) { /* cut: read only as far as it goes, as the sanitizer sees */
        char *cut = malloc(n ? n : 1);
        memcpy(cut, &c, n);
        const char *found = ldcache_find(cut, n, "libx.so.1");
        assert_true(!found || strcmp(found, "/lib/libx.so.1") == 0);
        free(cut);
    }
    uint32_t random = 1;
    for (int i = 0; i < 20000; i++) {
        struct cache *damaged = malloc(sizeof(c));
        *damaged = c;
        for (int k = 0; k < 3; k++) {
            random = random * 1664525 + 1013904223;
            ((unsigned char *)damaged)[(random >> 8) % sizeof(c)] = (unsigned char)random;
            random = random * 1664525 + 1013904223;
            ((unsigned char *)damaged)[20 + (random >> 8) % 100] ^= (unsigned char)(1u << (random & 7));
        }
        const char *found = ldcache_find(damaged, sizeof(c), "libx.so.1");
        assert_true(!found || found + strlen(found) < (char *)(damaged + 1));
        free(damaged);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_plain_one),
        cmocka_unit_test(skips_the_older_table),
        cmocka_unit_test(believes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
