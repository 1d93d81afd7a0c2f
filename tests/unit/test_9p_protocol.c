// link: fs/9p/protocol.c
/* 9P messages as bytes: what is written is what the protocol says, and nothing that comes is read behind its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/9p/protocol.h"

/* In a piece of its own size, so that the sanitizer sees each byte too many. */
static struct p9_buffer reply(const void *bytes, size_t size) {
    static uint8_t *copy;
    free(copy);
    copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    return (struct p9_buffer){.data = copy, .size = (uint32_t)size};
}

static void writes(void **state) {
    uint8_t bytes[64];
    struct p9_buffer b;
    p9_begin(&b, bytes, sizeof(bytes), P9_TWALK, 0x1234);
    p9_put32(&b, 1);
    p9_put16(&b, 1);
    p9_put_string(&b, "ab", 2);
    p9_put8(&b, 7);
    p9_put64(&b, 0x0102030405060708);
    assert_int_equal(p9_end(&b, 100), 0);
    static const uint8_t want[] = {26 + 100, 0, 0, 0, 110, 0x34, 0x12, 1, 0, 0, 0, 1, 0, 2, 0, 'a', 'b', 7, 8, 7, 6, 5, 4, 3, 2, 1};
    assert_int_equal(b.at, sizeof(want));
    assert_memory_equal(bytes, want, sizeof(want));
}

static void writes_what_fits(void **state) {
    uint8_t bytes[20];
    struct p9_buffer b;
    for (unsigned size = 7; size <= 13; size++) {
        memset(bytes, 0xee, sizeof(bytes));
        p9_begin(&b, bytes, size, P9_TREAD, 1);
        p9_put_string(&b, "abcd", 4);
        assert_int_equal(p9_end(&b, 0), size < 13 ? -ENAMETOOLONG : 0);
        assert_int_equal(bytes[size], 0xee);
    }
    static char name[70000];
    memset(name, 'x', sizeof(name));
    p9_begin(&b, bytes, sizeof(bytes), P9_TREAD, 1);
    p9_put_string(&b, name, sizeof(name));
    assert_int_equal(p9_end(&b, 0), -ENAMETOOLONG);
    p9_begin(&b, bytes, sizeof(bytes), P9_TWRITE, 1);
    assert_int_equal(p9_end(&b, 0xffffffff), -ENAMETOOLONG);
}

static void headers(void **state) {
    static const uint8_t good[] = {11, 0, 0, 0, 117, 5, 0, 1, 2, 3, 4};
    struct p9_buffer b, r = reply(good, sizeof(good));
    assert_int_equal(p9_begin_reply(&b, r.data, 11, 11, P9_TREAD, 5), 0);
    assert_int_equal(p9_get32(&b), 0x04030201);
    assert_int_equal(p9_end_reply(&b), 0);
    assert_int_equal(p9_get8(&b), 0);
    assert_int_equal(p9_end_reply(&b), -EPROTO);
    /* Of another request, of another kind, cut. */
    assert_int_equal(p9_begin_reply(&b, r.data, 11, 11, P9_TREAD, 6), -EPROTO);
    assert_int_equal(p9_begin_reply(&b, r.data, 11, 11, P9_TWRITE, 5), -EPROTO);
    for (unsigned n = 0; n < 11; n++)
        assert_int_equal(p9_begin_reply(&b, r.data, 11, n, P9_TREAD, 5), -EPROTO);
    /* A length that is less than the header, less than what came, more. */
    for (unsigned length = 0; length < 20; length++) {
        r.data[0] = (uint8_t)length;
        assert_int_equal(p9_begin_reply(&b, r.data, 11, 11, P9_TREAD, 5), length >= 7 && length <= 11 ? 0 : -EPROTO);
        if (length >= 7 && length < 11) {
            p9_get32(&b);
            assert_int_equal(p9_end_reply(&b), -EPROTO);
        }
    }
    /* The payload lies elsewhere. */
    r.data[0] = 100;
    assert_int_equal(p9_begin_reply(&b, r.data, 11, 100, P9_TREAD, 5), 0);
    assert_int_equal(b.size, 11);
}

static void errors(void **state) {
    uint8_t bytes[] = {11, 0, 0, 0, P9_RLERROR, 5, 0, 2, 0, 0, 0};
    struct p9_buffer b;
    assert_int_equal(p9_begin_reply(&b, bytes, 11, 11, P9_TREAD, 5), -ENOENT);
    bytes[7] = 0;
    assert_int_equal(p9_begin_reply(&b, bytes, 11, 11, P9_TREAD, 5), -EIO);
    bytes[8] = 2; /* 512: Linux' own */
    assert_int_equal(p9_begin_reply(&b, bytes, 11, 11, P9_TREAD, 5), -EIO);
    bytes[10] = 0xff;
    assert_int_equal(p9_begin_reply(&b, bytes, 11, 11, P9_TREAD, 5), -EIO);
    bytes[0] = 10;
    assert_int_equal(p9_begin_reply(&b, bytes, 11, 11, P9_TREAD, 5), -EPROTO);
    assert_int_equal(p9_error(1), -EPERM);
    assert_int_equal(p9_error(133), -133);
    assert_int_equal(p9_error(134), -EIO);
}

static void strings(void **state) {
    uint16_t len;
    struct p9_buffer b = reply("\3\0abc", 5);
    assert_memory_equal(p9_get_string(&b, &len), "abc", 3);
    assert_int_equal(len, 3);
    b = reply("\4\0abc", 5);
    assert_null(p9_get_string(&b, &len));
    assert_int_equal(len, 0);
    assert_true(b.bad);
    b = reply("\4", 1);
    assert_null(p9_get_string(&b, &len));
}

static void attributes(void **state) {
    uint8_t bytes[153];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = 0;
    bytes[8] = 0x80;                                  /* qid */
    bytes[13] = 42;
    bytes[21] = 0xed, bytes[22] = 0x41;               /* mode 040755 */
    memset(bytes + 25, 1, 4);                         /* uid */
    bytes[33] = 3;                                    /* links */
    bytes[49] = 0x34, bytes[50] = 0x12;               /* size */
    bytes[73] = 10;                                   /* atime */
    memset(bytes + 89, 0xff, 8);                      /* mtime: a second before the epoch, */
    bytes[97] = 5;                                    /* and five nanoseconds behind */
    memset(bytes + 105, 0x7f, 16);                    /* ctime: no time at all */
    for (unsigned size = 0; size <= sizeof(bytes); size++) {
        struct p9_buffer b = reply(bytes, size);
        struct p9_attr a;
        p9_get_attr(&b, &a);
        assert_int_equal(p9_end_reply(&b), size < sizeof(bytes) ? -EPROTO : 0);
        if (size < sizeof(bytes))
            continue;
        assert_int_equal(a.qid.path, 42);
        assert_int_equal(a.mode, 040755);
        assert_int_equal(a.uid, 0x01010101);
        assert_int_equal(a.nlink, 3);
        assert_int_equal(a.size, 0x1234);
        assert_int_equal(a.atime, 10 * NSEC_PER_SEC);
        assert_int_equal(a.mtime, -NSEC_PER_SEC + 5);
        assert_true(a.ctime > 0);
    }
    struct p9_buffer b;
    uint8_t out[64];
    b = (struct p9_buffer){.data = out, .size = sizeof(out)};
    struct p9_setattr s = {.valid = P9_SETATTR_MTIME, .mtime = -NSEC_PER_SEC + 5, .atime = 3 * NSEC_PER_SEC + 7};
    p9_put_setattr(&b, &s);
    assert_int_equal(b.at, 56);
    assert_int_equal((int64_t)out[24] | out[32] << 8, 3 | 7 << 8);
    assert_int_equal(out[40], 0xff);
    assert_int_equal(out[48], 5);
}

static void entries(void **state) {
    uint8_t bytes[60] = {0};
    bytes[0] = 0x80;
    bytes[5] = 9;
    bytes[13] = 77; /* where to go on */
    bytes[21] = 4;
    bytes[22] = 3;
    memcpy(bytes + 24, "abc", 3);
    memcpy(bytes + 27, bytes, 27);
    struct p9_dirent d;
    for (unsigned size = 0; size <= 54; size++) {
        struct p9_buffer b = reply(bytes, size);
        unsigned count = 0;
        while (p9_get_dirent(&b, &d)) {
            assert_int_equal(d.len, 3);
            assert_memory_equal(d.name, "abc", 3);
            assert_int_equal(d.qid.path, 9);
            assert_int_equal(d.offset, 77);
            count++;
        }
        assert_int_equal(count, size / 27);
        assert_int_equal(b.bad, size % 27 != 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes), cmocka_unit_test(writes_what_fits), cmocka_unit_test(headers), cmocka_unit_test(errors),
        cmocka_unit_test(strings), cmocka_unit_test(attributes), cmocka_unit_test(entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
