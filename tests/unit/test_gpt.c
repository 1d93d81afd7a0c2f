// link: tools/image/gpt.c
/* GUID partition tables: what is written is found again, what is damaged is not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/image/gpt.h"

enum { SECTORS = 4096 };

static const uint8_t seed[32] = "the digest of all that is in it";

static int make(void) {
    uint8_t boot[440];
    struct partition partitions[2] = {{.name = "one", .start = 64, .sectors = 100},
                                      {.name = "knarr-root", .start = 2048, .sectors = 1000}};
    int fd = memfd_create("disk", 0);

    memset(boot, 0xbb, sizeof(boot));
    memcpy(partitions[0].type, gpt_type_bios_boot, 16);
    memcpy(partitions[1].type, gpt_type_linux, 16);
    assert_int_equal(ftruncate(fd, SECTORS * SECTOR), 0);
    assert_true(gpt_write(fd, SECTORS, partitions, 2, boot, seed));
    return fd;
}

static void is_found_again(void **state) {
    int fd = make();
    uint64_t start, length;

    assert_true(gpt_is_there(fd));
    assert_true(gpt_find(fd, SECTORS * SECTOR, "knarr-root", &start, &length));
    assert_int_equal(start, 2048 * SECTOR);
    assert_int_equal(length, 1000 * SECTOR);
    assert_true(gpt_find(fd, SECTORS * SECTOR, "one", &start, &length));
    assert_false(gpt_find(fd, SECTORS * SECTOR, "on", &start, &length));
    assert_false(gpt_find(fd, SECTORS * SECTOR, "one2", &start, &length));
    assert_false(gpt_find(fd, SECTORS * SECTOR, "", &start, &length));
    assert_false(gpt_find(fd, 2048 * SECTOR, "knarr-root", &start, &length)); /* the file was cut */
    close(fd);
}

static void has_guids_of_its_own(void **state) {
    uint8_t guids[3][16];
    int fd = make();

    assert_int_equal(pread(fd, guids[0], 16, SECTOR + 56), 16);
    assert_int_equal(pread(fd, guids[1], 16, 2 * SECTOR + 16), 16);
    assert_int_equal(pread(fd, guids[2], 16, 2 * SECTOR + 128 + 16), 16);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(guids[i][7] >> 4, 8);
        assert_int_equal(guids[i][8] >> 6, 2);
        assert_memory_not_equal(guids[i], guids[(i + 1) % 3], 16);
    }
    close(fd);
}

/* Whatever stands in the header or the entry: an answer within the file, or none. */
static void is_not_believed(void **state) {
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    int fd = make();
    uint8_t original, value[8];
    uint64_t start, length;

    for (off_t at = SECTOR; at < 2 * SECTOR + 256; at++) {
        assert_int_equal(pread(fd, &original, 1, at), 1);
        for (size_t i = 0; i < sizeof(values); i++) {
            assert_int_equal(pwrite(fd, &values[i], 1, at), 1);
            if (gpt_find(fd, SECTORS * SECTOR, "knarr-root", &start, &length))
                assert_true(start < SECTORS * SECTOR && length <= SECTORS * SECTOR - start && length > 0);
        }
        assert_int_equal(pwrite(fd, &original, 1, at), 1);
    }
    for (off_t at = SECTOR; at < 2 * SECTOR + 256; at += 8) {
        uint8_t old[8];
        assert_int_equal(pread(fd, old, 8, at), 8);
        memset(value, 0xff, 8);
        assert_int_equal(pwrite(fd, value, 8, at), 8);
        if (gpt_find(fd, SECTORS * SECTOR, "knarr-root", &start, &length))
            assert_true(start < SECTORS * SECTOR && length <= SECTORS * SECTOR - start && length > 0);
        assert_int_equal(pwrite(fd, old, 8, at), 8);
    }
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_found_again),
        cmocka_unit_test(has_guids_of_its_own),
        cmocka_unit_test(is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
