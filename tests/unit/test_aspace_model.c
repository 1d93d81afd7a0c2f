// link: tests/unit/fake_machine.c kernel/memory/page.c kernel/memory/ranges.c kernel/memory/slab.c kernel/x86/usertable.c kernel/memory/vma.c
// link: kernel/memory/aspace.c kernel/memory/aspace_pages.c kernel/memory/aspace_change.c kernel/memory/aspace_remap.c kernel/memory/aspace_info.c
// link: kernel/memory/aspace_fork.c kernel/memory/block.c kernel/memory/fault.c kernel/memory/huge.c kernel/memory/backing.c
// flags: -fno-builtin
/* Address spaces against a model: an array that says of every page whether it is mapped, with which rights, and what is in it.
 * Random operations are done to both, and the tree's own invariants are checked. The page tables are the real ones. */
#include "tests/unit/aspace_check.h"

enum { PAGES = 3072 };

struct model {
    bool mapped[PAGES];
    uint8_t prot[PAGES], value[PAGES];
};

static uaddr_t at(unsigned page) { return BASE + page * PAGE_SIZE; }
static void check_page(struct aspace *as, const struct model *m, unsigned page) {
    int expected = m->mapped[page] && m->prot[page] ? m->value[page] : -1;
    assert_int_equal(read_byte(as, at(page) + 7), expected);
}

static void check_vmas(struct aspace *as, const struct model *m) {
    for (unsigned i = 0; i < PAGES; i++) {
        struct vma *v = vma_find(as, at(i));
        bool mapped = v && v->start <= at(i);
        assert_int_equal(mapped, m->mapped[i]);
        if (mapped)
            assert_int_equal(v->prot, m->prot[i]);
    }
}

static void pick_range(unsigned *first, unsigned *count) {
    unsigned most = fake_random() % 8 ? 40 : 1200;
    *first = fake_random() % PAGES;
    *count = 1 + fake_random() % most;
    if (*first + *count > PAGES)
        *count = PAGES - *first;
}

static unsigned pick_prot(void) {
    static const unsigned prots[] = {RW, RW, RW, PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC, ALL};
    return prots[fake_random() % 7];
}

static bool all_mapped(const struct model *m, unsigned first, unsigned count) {
    for (unsigned i = first; i < first + count; i++)
        if (!m->mapped[i])
            return false;
    return true;
}

static void do_map(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    unsigned prot = pick_prot();
    long r =
        aspace_map(as, at(first), count * PAGE_SIZE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0, ALL, 0);
    assert_int_equal(r, at(first));
    for (unsigned i = first; i < first + count; i++) {
        m->mapped[i] = true;
        m->prot[i] = prot;
        m->value[i] = 0;
    }
}

static void do_unmap(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    assert_int_equal(aspace_unmap(as, at(first), count * PAGE_SIZE), 0);
    for (unsigned i = first; i < first + count; i++)
        m->mapped[i] = false;
}

static void do_protect(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    unsigned prot = pick_prot();
    long r = aspace_protect(as, at(first), count * PAGE_SIZE, prot);
    assert_int_equal(r, all_mapped(m, first, count) ? 0 : -ENOMEM);
    for (unsigned i = first; i < first + count && m->mapped[i]; i++)
        m->prot[i] = prot;
}

static void do_write(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    for (unsigned i = first; i < first + count; i++) {
        uint8_t byte = fake_random();
        bool may = m->mapped[i] && (m->prot[i] & PROT_WRITE);
        assert_int_equal(write_byte(as, at(i) + 7, byte), may);
        if (may)
            m->value[i] = byte;
    }
}

static void do_discard(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    int advice = fake_random() % 2 ? MADV_DONTNEED : MADV_FREE;
    long r = aspace_advise(as, at(first), count * PAGE_SIZE, advice);
    assert_int_equal(r, all_mapped(m, first, count) ? 0 : -ENOMEM);
    for (unsigned i = first; i < first + count; i++)
        m->value[i] = 0;
}

static void do_remap(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    unsigned to = fake_random() % PAGES, new_count = fake_random() % 3 ? count : 1 + fake_random() % 64;
    if (to + new_count > PAGES)
        return;
    /* within one mapping? */
    struct vma *v = vma_find(as, at(first));
    bool found = v && v->start <= at(first), one = found && v->end >= at(first + count);
    bool overlap = first + count > to && to + new_count > first;
    unsigned prot = m->prot[first];
    long r =
        aspace_remap(as, at(first), count * PAGE_SIZE, new_count * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, at(to));
    if (overlap) {
        assert_int_equal(r, -EINVAL);
        return;
    }
    if (found) {
        for (unsigned i = to; i < to + new_count; i++)
            m->mapped[i] = false;
        for (unsigned i = first + new_count; i < first + count; i++)
            m->mapped[i] = false;
    }
    if (!one && !(new_count < count && r >= 0)) {
        assert_int_equal(r, -EFAULT);
        return;
    }
    assert_int_equal(r, at(to));
    for (unsigned i = 0; i < new_count; i++) {
        m->mapped[to + i] = true;
        m->prot[to + i] = prot;
        m->value[to + i] = i < count ? m->value[first + i] : 0;
    }
    for (unsigned i = first; i < first + MIN(count, new_count); i++)
        m->mapped[i] = false;
}

static void do_place(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    /* without MAP_FIXED: a hint that is taken when free */
    bool free = true;
    for (unsigned i = first; i < first + count; i++)
        free &= !m->mapped[i];
    size_t len = count * PAGE_SIZE;
    long r = aspace_map(as, at(first), len, RW, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0, ALL, 0);
    assert_true(r > 0);
    if (free) {
        assert_int_equal(r, at(first));
        for (unsigned i = first; i < first + count; i++) {
            m->mapped[i] = true;
            m->prot[i] = RW;
            m->value[i] = 0;
        }
        return;
    }
    assert_true((uaddr_t)r >= at(PAGES)); /* top down: far above */
    assert_true(r + len <= as->mmap_base);
    if (fake_random() % 2)
        assert_int_equal(aspace_unmap(as, r, len), 0);
}

static void do_flags(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    static const int advices[] = {MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP};
    long r = aspace_advise(as, at(first), count * PAGE_SIZE, advices[fake_random() % 4]);
    assert_int_equal(r, all_mapped(m, first, count) ? 0 : -ENOMEM);
}

static void do_lock(struct aspace *as, struct model *m, unsigned first, unsigned count) {
    assert_int_equal(aspace_lock_pages(as, at(first), count * PAGE_SIZE, LOCK_ON_FAULT),
                     all_mapped(m, first, count) ? 0 : -ENOMEM);
    aspace_lock_pages(as, at(first), count * PAGE_SIZE, LOCK_OFF);
    /* what is beyond a hole must not stay locked: madvise would refuse it */
    for (unsigned i = first; i < first + count; i++)
        if (m->mapped[i])
            aspace_lock_pages(as, at(i), PAGE_SIZE, LOCK_OFF);
}

static void check_model(struct aspace *as, const struct model *m) {
    check_vmas(as, m);
    for (unsigned i = 0; i < PAGES; i++)
        check_page(as, m, i);
}
static void run_model(unsigned steps, bool with_forks) {
    struct model m = {0}, child_model;
    struct aspace *as = aspace_create(), *child = NULL;
    static void (*const ops[])(struct aspace *, struct model *, unsigned, unsigned) = {
        do_map,   do_map,     do_unmap, do_protect, do_write, do_write,
        do_write, do_discard, do_remap, do_place,   do_flags, do_lock,
    };
    for (unsigned step = 0; step < steps; step++) {
        unsigned first, count;
        pick_range(&first, &count);
        ops[fake_random() % ARRAY_SIZE(ops)](as, &m, first, count);
        if (step % 16 == 0)
            check_invariants(as);
        for (int i = 0; i < 20; i++)
            check_page(as, &m, fake_random() % PAGES);
        if (step % 256 == 0)
            check_model(as, &m);
        if (with_forks && step % 200 == 100) {
            if (child) {
                check_model(child, &child_model);
                check_invariants(child);
                aspace_unref(child);
            }
            child = aspace_fork(as);
            assert_false(IS_ERR(child));
            child_model = m;
            if (fake_random() % 2) { /* the child lives on instead */
                struct aspace *other = as;
                as = child;
                child = other;
            }
        }
        if (child && step % 7 == 0) {
            pick_range(&first, &count);
            do_write(child, &child_model, first, count);
        }
    }
    check_model(as, &m);
    check_invariants(as);
    if (child) {
        check_model(child, &child_model);
        aspace_unref(child);
    }
    /* everything unmapped: no table but the root is left */
    assert_int_equal(aspace_unmap(as, 0, USER_END), 0);
    check_invariants(as);
    assert_int_equal(as->resident_pages, 0);
    assert_int_equal(as->table_pages, 1);
    aspace_unref(as);
}

static void model_alone(void **state) {
    run_model(64, false); /* slabs keep a few pages */
    uint64_t before = free_now();
    run_model(30000, false);
    assert_true(free_now() + 16 >= before);
}

static void model_with_forks(void **state) {
    uint64_t before = free_now();
    run_model(20000, true);
    assert_true(free_now() + 16 >= before);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(model_alone), cmocka_unit_test(model_with_forks)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
