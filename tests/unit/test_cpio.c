// link: tools/cpio.c
// libs: -larchive
/* What the cpio writer writes is read back with libarchive, and large data lies on page boundaries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>

#include "tools/cpio.h"

static void is_read_back_the_same(void **state) {
    char *image;
    size_t size;
    struct cpio cpio = {.file = open_memstream(&image, &size)};
    static char big[3 * 4096 + 17];
    memset(big, 'b', sizeof(big));

    cpio_add(&cpio, &(struct cpio_member){.path = "etc", .ino = 1, .mode = S_IFDIR | 0755, .nlink = 2}, NULL);
    uint64_t at[40];
    for (int i = 0; i < 40; i++) {
        char name[64];
        memset(name, 'n', sizeof(name));
        snprintf(name + i, sizeof(name) - i, "%d", i);
        at[i] = cpio_header(&cpio, &(struct cpio_member){.path = name,
                                                         .ino = 2 + i,
                                                         .mode = S_IFREG | 04751,
                                                         .uid = 12,
                                                         .gid = 34,
                                                         .nlink = 1,
                                                         .mtime = 1234567890,
                                                         .size = sizeof(big) - i});
        cpio_data(&cpio, big, sizeof(big) - i);
        cpio_pad(&cpio);
    }
    cpio_add(&cpio, &(struct cpio_member){.path = "sh", .ino = 99, .mode = S_IFLNK | 0777, .nlink = 1, .size = 4},
             "bash");
    cpio_add(&cpio,
             &(struct cpio_member){
                 .path = "tty", .ino = 100, .mode = S_IFCHR | 0620, .nlink = 1, .rdev_major = 4, .rdev_minor = 65},
             NULL);
    assert_true(cpio_end(&cpio));
    fclose(cpio.file);
    assert_int_equal(size, cpio.offset);

    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_format_cpio(archive);
    assert_int_equal(archive_read_open_memory(archive, image, size), ARCHIVE_OK);
    assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
    assert_string_equal(archive_entry_pathname(entry), "etc");
    assert_int_equal(archive_entry_mode(entry), S_IFDIR | 0755);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
        assert_int_equal(archive_entry_mode(entry), S_IFREG | 04751);
        assert_int_equal(archive_entry_uid(entry), 12);
        assert_int_equal(archive_entry_gid(entry), 34);
        assert_int_equal(archive_entry_mtime(entry), 1234567890);
        assert_int_equal(archive_entry_size(entry), sizeof(big) - i);
        assert_int_equal(at[i] % CPIO_ALIGN, 0);
        assert_memory_equal(image + at[i], big, sizeof(big) - i);
    }
    assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
    assert_string_equal(archive_entry_symlink(entry), "bash");
    assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_OK);
    assert_int_equal(archive_entry_rdevmajor(entry), 4);
    assert_int_equal(archive_entry_rdevminor(entry), 65);
    assert_int_equal(archive_read_next_header(archive, &entry), ARCHIVE_EOF);
    archive_read_free(archive);
    free(image);
}

static void reports_a_full_disk(void **state) {
    struct cpio cpio = {.file = fopen("/dev/full", "w")};
    assert_non_null(cpio.file);
    assert_false(cpio_end(&cpio));
    fclose(cpio.file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_back_the_same),
        cmocka_unit_test(reports_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
