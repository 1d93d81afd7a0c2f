// link: tests/unit/fake_machine.c kernel/memory/page.c kernel/memory/ranges.c kernel/memory/block.c
/* The page allocator: blocks never overlap, are aligned, come back together, and reserved memory is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/memory/page.h"
#include "tests/unit/fake_machine.h"

enum { RAM = 64 << 20 };

static int setup(void **state) {
    fake_machine_start(RAM);
    return 0;
}

static uint8_t owner[RAM >> PAGE_SHIFT]; /* of each frame: 0 nobody, else the slot of the block + 1 */

static void claim(const struct page *p, unsigned order, uint8_t who) {
    uint64_t pfn = page_to_phys(p) >> PAGE_SHIFT;
    assert_int_equal(pfn & ((1u << order) - 1), 0);
    for (uint64_t i = pfn; i < pfn + (1u << order); i++) {
        assert_true(i < RAM >> PAGE_SHIFT);
        assert_int_equal(owner[i], 0);
        owner[i] = who;
    }
    /* not the hole, not the image */
    assert_true(page_to_phys(p) >= 0x180000 || page_to_phys(p) + (PAGE_SIZE << order) <= 0x9f000);
    assert_true(page_to_phys(p) > 0);
}

static void release(const struct page *p, unsigned order) {
    uint64_t pfn = page_to_phys(p) >> PAGE_SHIFT;
    for (uint64_t i = pfn; i < pfn + (1u << order); i++)
        owner[i] = 0;
}

static uint64_t free_now(void) {
    struct page_stats s;
    page_stats(&s);
    return s.free;
}

static void random_blocks(void **state) {
    struct {
        struct page *p;
        unsigned order;
    } slot[200] = {0};
    uint64_t before = free_now();
    for (int i = 0; i < 40000; i++) {
        unsigned n = fake_random() % 200;
        if (slot[n].p) {
            release(slot[n].p, slot[n].order);
            page_unref(slot[n].p);
            slot[n].p = NULL;
        } else {
            slot[n].order = fake_random() % 4 ? 0 : fake_random() % 8;
            slot[n].p = page_alloc(slot[n].order, fake_random() % 8 ? 0 : PA_ZERO);
            if (slot[n].p) {
                claim(slot[n].p, slot[n].order, n + 1);
                assert_int_equal(slot[n].p->refs, 1);
                *(uint64_t *)page_to_virt(slot[n].p) = n;
            }
        }
    }
    for (int n = 0; n < 200; n++)
        if (slot[n].p) {
            release(slot[n].p, slot[n].order);
            page_unref(slot[n].p);
        }
    struct page_stats s;
    page_stats(&s);
    assert_int_equal(s.free, before);
    assert_int_equal(s.anon, 0);
}

static void exhaustion_and_reserve(void **state) {
    static struct page *all[RAM >> PAGE_SHIFT];
    unsigned n = 0, more = 0;
    uint64_t before = free_now();
    while ((all[n] = page_alloc(0, 0)))
        n++;
    assert_true(n > 15000);
    struct page *last[300];
    while ((last[more] = page_alloc(0, PA_RESERVE)))
        assert_true(++more < 300);
    assert_true(more >= 8);
    for (unsigned i = 0; i < n; i++)
        page_unref(all[i]);
    for (unsigned i = 0; i < more; i++)
        page_unref(last[i]);
    assert_int_equal(free_now(), before);

    /* and it has come together again: but for what the CPU's cache holds, and the first chunk */
    unsigned large = 0;
    struct page *blocks[16];
    while (large < 16 && (blocks[large] = page_alloc(MAX_ORDER, 0)))
        large++;
    assert_true(large >= 12);
    for (unsigned i = 0; i < large; i++)
        page_unref(blocks[i]);
    assert_int_equal(free_now(), before);
}

static void references(void **state) {
    uint64_t before = free_now();
    struct page *p = page_alloc(3, PA_ANON);
    struct page_stats s;
    page_stats(&s);
    assert_int_equal(s.anon, 8);
    page_ref(p);
    page_unref(p);
    assert_int_equal(p->refs, 1);
    page_split(p, 3);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(p[i].refs, 1);
        assert_int_equal(p[i].flags, PAGE_ANON);
        page_unref(&p[i]);
    }
    page_stats(&s);
    assert_int_equal(s.anon, 0);
    assert_int_equal(free_now(), before);
}

static void reserved_ranges(void **state) {
    uint64_t before = free_now();
    struct page *p = phys_to_page(0x100000);
    assert_true(p->flags & PAGE_RESERVED);
    page_ref(p);
    page_unref(p);
    page_unref(p); /* never freed */
    assert_int_equal(p->refs, 1);
    p = page_adopt(0x101000);
    assert_int_equal(p->refs, 1);
    page_unref(p);
    assert_int_equal(free_now(), before + 1);
    page_free_range(0x110000, 0x118000);
    assert_int_equal(free_now(), before + 9);
    assert_true(ram_contains(0x100000, RAM));
    assert_false(ram_contains(0x90000, 0x101000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_blocks),
        cmocka_unit_test(exhaustion_and_reserve),
        cmocka_unit_test(references),
        cmocka_unit_test(reserved_ranges),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
