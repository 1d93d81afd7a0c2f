// link: kernel/memory/uio.c
/* Buffer lists: random lists of buffers filled and emptied in random pieces, and what a fault in the middle leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/memory/uio.h"
#include "kernel/memory/usercopy.h"

/* "User memory" is this array; from `good_end` on it faults. */
static unsigned char memory[4096];
static size_t good_end = sizeof(memory);

static size_t good_part(uaddr_t addr, size_t n) {
    size_t at = addr - (uintptr_t)memory;
    return at >= good_end ? 0 : at + n > good_end ? good_end - at : n;
}

size_t copy_out_partial(uaddr_t dst, const void *src, size_t n) {
    size_t m = good_part(dst, n);
    memcpy((void *)(uintptr_t)dst, src, m);
    return m;
}

size_t copy_in_partial(void *dst, uaddr_t src, size_t n) {
    size_t m = good_part(src, n);
    memcpy(dst, (void *)(uintptr_t)src, m);
    return m;
}

size_t clear_out_partial(uaddr_t dst, size_t n) {
    size_t m = good_part(dst, n);
    memset((void *)(uintptr_t)dst, 0, m);
    return m;
}

/* Buffers that lie one after another, empty ones among them: the whole is memory[0, total). */
static size_t make(struct uio_vec *vec, unsigned count, struct uio *u, int user) {
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        vec[i].base = (uintptr_t)memory + at;
        vec[i].len = rand() % 3 ? rand() % 200 : 0;
        at += vec[i].len;
    }
    *u = (struct uio){.vec = vec, .left = at, .user = user};
    return at;
}

static void random_lists(void **state) {
    srand(1);
    for (int round = 0; round < 3000; round++) {
        struct uio_vec vec[12];
        struct uio u;
        unsigned char text[4096], back[4096];
        int user = rand() % 2;
        size_t total = make(vec, 1 + rand() % 12, &u, user), done = 0;
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = rand();
        memset(memory, 0xaa, sizeof(memory));
        struct uio start = u;
        while (u.left) {
            size_t n = rand() % 300, expected = n < u.left ? n : u.left;
            if (rand() % 8 == 0) {
                assert_int_equal(uio_put_zero(&u, n), expected);
                memset(text + done, 0, expected);
            } else {
                assert_int_equal(uio_put(&u, text + done, n), expected);
            }
            done += expected;
        }
        assert_int_equal(done, total);
        assert_memory_equal(memory, text, total);
        if (total < sizeof(memory))
            assert_int_equal(memory[total], 0xaa);
        u = start;
        for (done = 0; u.left;) {
            size_t n = rand() % 300;
            done += uio_get(&u, back + done, n);
        }
        assert_int_equal(done, total);
        assert_memory_equal(back, text, total);
        assert_int_equal(uio_get(&u, back, 10), 0);
    }
}

static void faults(void **state) {
    struct uio_vec vec[3] = {{(uintptr_t)memory, 100}, {(uintptr_t)memory + 100, 100}, {(uintptr_t)memory + 200, 100}};
    struct uio u = {.vec = vec, .left = 300, .user = 1};
    unsigned char text[300] = {1};
    good_end = 150;
    assert_int_equal(uio_put(&u, text, 300), 150);
    assert_int_equal(u.left, 150);
    assert_int_equal(uio_put(&u, text, 10), 0);
    assert_int_equal(u.left, 150);
    good_end = sizeof(memory);
    assert_int_equal(uio_put(&u, text, 300), 150);
    assert_int_equal(u.left, 0);
}

static void one_buffer(void **state) {
    struct uio_vec one;
    struct uio u = uio_one(&one, (uintptr_t)memory, 10, 0);
    assert_int_equal(uio_put(&u, "0123456789abc", 13), 10);
    assert_memory_equal(memory, "0123456789", 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists),
        cmocka_unit_test(faults),
        cmocka_unit_test(one_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
