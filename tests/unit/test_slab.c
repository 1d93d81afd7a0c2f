// link: tests/unit/fake_machine.c kernel/memory/page.c kernel/memory/ranges.c kernel/memory/block.c kernel/memory/slab.c
/* Small objects: random sizes and lifetimes; nobody's contents change, and all memory comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "tests/unit/fake_machine.h"

static int setup(void **state) {
    fake_machine_start(32 << 20);
    return 0;
}

static void check(const unsigned char *p, size_t size, unsigned char byte) {
    for (size_t i = 0; i < size; i++)
        assert_int_equal(p[i], byte);
}

static void random_objects(void **state) {
    struct {
        unsigned char *p;
        size_t size;
    } slot[251] = {0};
    for (int i = 0; i < 50000; i++) {
        unsigned n = fake_random() % 251;
        if (!slot[n].p) {
            slot[n].size = fake_random() % 64 ? fake_random() % 3000 : fake_random() % 100000;
            slot[n].p = kmalloc(slot[n].size);
            assert_non_null(slot[n].p);
            assert_int_equal((uintptr_t)slot[n].p % 16, 0);
            memset(slot[n].p, n, slot[n].size);
            continue;
        }
        check(slot[n].p, slot[n].size, n);
        if (fake_random() % 4 == 0) {
            size_t size = fake_random() % 5000;
            slot[n].p = krealloc(slot[n].p, size);
            check(slot[n].p, size < slot[n].size ? size : slot[n].size, n);
            slot[n].size = size;
            memset(slot[n].p, n, size);
        } else {
            kfree(slot[n].p);
            slot[n].p = NULL;
        }
    }
    for (int n = 0; n < 251; n++)
        kfree(slot[n].p);
    struct page_stats s;
    page_stats(&s);
    assert_true(s.slab < 40); /* an empty slab a cache is kept */
}

static struct slab_cache odd = SLAB_CACHE("odd", 24, 8), aligned = SLAB_CACHE("aligned", 200, 64),
                         big = SLAB_CACHE("big", 9000, 64);

static void caches(void **state) {
    struct slab_cache *all[] = {&odd, &aligned, &big};
    for (int c = 0; c < 3; c++) {
        void *p[100];
        for (int i = 0; i < 100; i++) {
            p[i] = slab_zalloc(all[c]);
            assert_non_null(p[i]);
            assert_int_equal((uintptr_t)p[i] % all[c]->align, 0);
            check(p[i], all[c]->size, 0);
            memset(p[i], 0xee, all[c]->size);
        }
        assert_int_equal(all[c]->objects, 100);
        for (int i = 0; i < 100; i++)
            slab_free(all[c], p[(i * 37) % 100]);
        assert_int_equal(all[c]->objects, 0);
    }
    slab_free(&odd, NULL);
}

static void sizes(void **state) {
    for (size_t size = 0; size < 9000; size++) {
        unsigned char *p = kzalloc(size);
        check(p, size, 0);
        memset(p, 0xff, size);
        kfree(p);
    }
    assert_null(kmalloc((4UL << 20) + 1));
    void *p = kmalloc(1 << 20);
    assert_int_equal((uintptr_t)p % PAGE_SIZE, 0);
    kfree(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_objects),
        cmocka_unit_test(caches),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
