/* What the tests of address spaces share: the machine, single bytes by way of faults, and what must always hold. */
#ifndef TESTS_UNIT_ASPACE_CHECK_H
#define TESTS_UNIT_ASPACE_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/memory/aspace_ops.h"
#include "kernel/memory/aspace_pages.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "kernel/x86/pagetable.h"
#include "tests/unit/fake_machine.h"

#define BASE 0x10000000UL
enum { RW = PROT_READ | PROT_WRITE, ALL = PROT_READ | PROT_WRITE | PROT_EXEC };

__attribute__((unused)) static int setup(void **state) {
    fake_machine_start(256UL << 20);
    return 0;
}
/* ---- invariants --------------------------------------------------------------------------------------------------- */

struct sums {
    unsigned count;
    uint64_t mapped, data, locked;
    struct vma *last;
};

static uint64_t hole_below(const struct vma *v) {
    uaddr_t start = v->prev ? v->prev->end : 0, end = v->start;
    if (v->flags & MAP_GROWSDOWN)
        end = end > STACK_GUARD_GAP ? end - STACK_GUARD_GAP : 0;
    return end > start ? end - start : 0;
}

static unsigned check_subtree(struct aspace *as, struct vma *v, struct vma *parent, struct sums *s) {
    if (!v)
        return 0;
    assert_ptr_equal(v->parent, parent);
    assert_true(v->start < v->end);
    assert_true(v->as == as);
    unsigned left = check_subtree(as, v->left, v, s);
    assert_ptr_equal(v->prev, s->last);
    if (s->last) {
        assert_true(s->last->end <= v->start);
        assert_ptr_equal(s->last->next, v);
    } else {
        assert_ptr_equal(as->first, v);
    }
    s->last = v;
    s->count++;
    s->mapped += vma_pages(v);
    s->locked += v->flags & MAP_LOCKED ? vma_pages(v) : 0;
    if ((v->prot & PROT_WRITE) && !(v->flags & (MAP_SHARED | MAP_GROWSDOWN)))
        s->data += vma_pages(v);
    unsigned right = check_subtree(as, v->right, v, s);
    assert_true(left <= right + 1 && right <= left + 1);
    unsigned height = 1 + MAX(left, right);
    assert_int_equal(v->height, height);
    uint64_t gap = hole_below(v);
    if (v->left)
        gap = MAX(gap, v->left->gap);
    if (v->right)
        gap = MAX(gap, v->right->gap);
    assert_int_equal(v->gap, gap);
    return height;
}

__attribute__((unused)) static void check_invariants(struct aspace *as) {
    struct sums s = {0};
    check_subtree(as, as->tree, NULL, &s);
    assert_int_equal(as->vma_count, s.count);
    assert_int_equal(as->mapped_pages, s.mapped);
    assert_int_equal(as->data_pages, s.data);
    assert_int_equal(as->locked_pages, s.locked);
    struct aspace_usage u;
    aspace_usage(as, 0, USER_END, &u);
    assert_int_equal(as->resident_pages, u.resident);
    assert_true(fake_rwmutex_free(&as->lock));
    assert_false(spin_is_locked(&as->table_lock));
}
__attribute__((unused)) static int read_byte(struct aspace *as, uaddr_t addr) {
    uint8_t byte;
    return aspace_access(as, addr, &byte, 1, false, false) == 1 ? byte : -1;
}

__attribute__((unused)) static bool write_byte(struct aspace *as, uaddr_t addr, uint8_t byte) {
    return aspace_access(as, addr, &byte, 1, true, false) == 1;
}
__attribute__((unused)) static uint64_t free_now(void) {
    struct page_stats s;
    page_stats(&s);
    return s.free;
}
#endif
