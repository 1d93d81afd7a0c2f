// link: tests/unit/fake_machine.c kernel/memory/page.c kernel/memory/ranges.c kernel/memory/slab.c kernel/x86/usertable.c kernel/memory/vma.c
// link: kernel/memory/aspace.c kernel/memory/aspace_pages.c kernel/memory/aspace_change.c kernel/memory/aspace_remap.c kernel/memory/aspace_info.c
// link: kernel/memory/aspace_fork.c kernel/memory/block.c kernel/memory/fault.c kernel/memory/huge.c kernel/memory/backing.c
// flags: -fno-builtin
/* Address spaces: single cases, each with what it must end in. The page tables are the real ones. */
#include "tests/unit/aspace_check.h"

/* ---- a file ------------------------------------------------------------------------------------------------------- */

enum { FILE_PAGES = 600 };

static struct {
    struct backing backing;
    struct page *pages[FILE_PAGES];
    uint64_t size; /* in pages */
    int refs, writes_heard;
} file;

static struct page *file_get(struct backing *b, uint64_t index, bool write) {
    if (index >= file.size)
        return ERR_PTR(-EFAULT);
    if (!file.pages[index]) {
        file.pages[index] = page_alloc(0, PA_ZERO);
        file.pages[index]->flags = PAGE_CACHE;
        memset(page_to_virt(file.pages[index]), 100 + index % 100, PAGE_SIZE);
    }
    file.writes_heard += write;
    page_ref(file.pages[index]);
    return file.pages[index];
}

static void file_peek(struct backing *b, uint64_t first, unsigned count, struct page **pages) {
    for (unsigned i = 0; i < count; i++) {
        pages[i] = first + i < file.size ? file.pages[first + i] : NULL;
        if (pages[i])
            page_ref(pages[i]);
    }
}

static void file_ref(struct backing *b) { file.refs++; }

static void file_unref(struct backing *b) { file.refs--; }

static const struct backing_ops file_ops = {
    .get_page = file_get, .ref = file_ref, .unref = file_unref, .peek_pages = file_peek};

static void file_truncate(uint64_t size) {
    for (uint64_t i = size; i < file.size; i++)
        if (file.pages[i]) {
            page_unref(file.pages[i]);
            file.pages[i] = NULL;
        }
    file.size = size;
    backing_unmap(&file.backing, size, ~0UL);
}

static void file_open(uint64_t size) {
    backing_init(&file.backing, &file_ops);
    file.size = size;
}
/* ---- single cases --------------------------------------------------------------------------------------------------- */

static long map_at(struct aspace *as, uaddr_t addr, size_t pages, unsigned prot, unsigned flags) {
    return aspace_map(as, addr, pages * PAGE_SIZE, prot, flags | MAP_ANONYMOUS, NULL, 0, ALL, 0);
}

static void errors(void **state) {
    struct aspace *as = aspace_create();
    assert_int_equal(map_at(as, BASE, 0, RW, MAP_PRIVATE), -EINVAL);
    assert_int_equal(aspace_map(as, 0, ~0UL, RW, MAP_PRIVATE, NULL, 0, ALL, 0), -ENOMEM);
    assert_int_equal(map_at(as, BASE + 1, 1, RW, MAP_PRIVATE | MAP_FIXED), -EINVAL);
    assert_int_equal(map_at(as, 0, 1, RW, MAP_PRIVATE | MAP_FIXED), -EPERM);
    assert_int_equal(map_at(as, USER_END, 1, RW, MAP_PRIVATE | MAP_FIXED), -ENOMEM);
    assert_int_equal(map_at(as, BASE, 4, RW, MAP_PRIVATE | MAP_FIXED), BASE);
    assert_int_equal(map_at(as, BASE + PAGE_SIZE, 1, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE), -EEXIST);
    assert_int_equal(map_at(as, BASE + 4 * PAGE_SIZE, 1, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE), BASE + 4 * PAGE_SIZE);
    assert_int_equal(as->vma_count, 1); /* joined */
    assert_int_equal(map_at(as, 0, page_total() + 1, RW, MAP_PRIVATE), -ENOMEM);
    assert_true(map_at(as, 0, page_total() + 1, RW, MAP_PRIVATE | MAP_NORESERVE) > 0);
    assert_true(map_at(as, 0, page_total() + 1, PROT_NONE, MAP_PRIVATE) > 0);
    assert_int_equal(aspace_map(as, 0, PAGE_SIZE, RW, MAP_PRIVATE, &file.backing, ~0UL << 12, ALL, 0), -EOVERFLOW);

    assert_int_equal(aspace_unmap(as, BASE + 1, PAGE_SIZE), -EINVAL);
    assert_int_equal(aspace_unmap(as, BASE, 0), -EINVAL);
    assert_int_equal(aspace_unmap(as, USER_END, PAGE_SIZE), -EINVAL);
    assert_int_equal(aspace_unmap(as, BASE + 100 * PAGE_SIZE, PAGE_SIZE), 0);

    assert_int_equal(aspace_protect(as, BASE + 1, PAGE_SIZE, PROT_READ), -EINVAL);
    assert_int_equal(aspace_protect(as, BASE, 0, PROT_READ), 0);
    assert_int_equal(aspace_protect(as, BASE, PAGE_SIZE, 0x40), -EINVAL);
    assert_int_equal(aspace_protect(as, BASE, 10 * PAGE_SIZE, PROT_READ), -ENOMEM); /* done up to the hole */
    assert_int_equal(aspace_protect(as, BASE, 5 * PAGE_SIZE, RW), 0);
    assert_int_equal(aspace_protect(as, BASE, PAGE_SIZE, RW | PROT_GROWSDOWN), -EINVAL);

    assert_int_equal(aspace_remap(as, BASE, PAGE_SIZE, 0, 0, 0), -EINVAL);
    assert_int_equal(aspace_remap(as, BASE, PAGE_SIZE, PAGE_SIZE, MREMAP_FIXED, BASE), -EINVAL);
    assert_int_equal(aspace_remap(as, BASE, PAGE_SIZE, PAGE_SIZE, 8, BASE), -EINVAL);
    assert_int_equal(aspace_remap(as, BASE - PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, 0, 0), -EFAULT);
    assert_int_equal(aspace_remap(as, BASE, PAGE_SIZE, 9 * PAGE_SIZE, 0, 0), -ENOMEM);  /* in the middle */
    assert_int_equal(aspace_remap(as, BASE, 0, PAGE_SIZE, MREMAP_MAYMOVE, 0), -EINVAL); /* private */
    assert_int_equal(aspace_remap(as, BASE, 6 * PAGE_SIZE, 7 * PAGE_SIZE, MREMAP_MAYMOVE, 0), -EFAULT);

    assert_int_equal(aspace_advise(as, BASE, PAGE_SIZE, 12345), -EINVAL);
    assert_int_equal(aspace_advise(as, BASE + 1, PAGE_SIZE, MADV_NORMAL), -EINVAL);
    assert_int_equal(aspace_advise(as, BASE - PAGE_SIZE, PAGE_SIZE, MADV_WILLNEED), -ENOMEM);
    assert_int_equal(aspace_advise(as, BASE, PAGE_SIZE, MADV_REMOVE), -EINVAL);
    assert_int_equal(aspace_sync(as, BASE, PAGE_SIZE, MS_SYNC | MS_ASYNC), -EINVAL);
    assert_int_equal(aspace_sync(as, BASE, 100 * PAGE_SIZE, MS_SYNC), -ENOMEM);
    assert_int_equal(aspace_sync(as, BASE, PAGE_SIZE, MS_SYNC), 0);
    uint8_t vec[8];
    assert_int_equal(aspace_resident(as, BASE, 8, vec), -ENOMEM);
    assert_int_equal(aspace_resident(as, BASE + 1, 1, vec), -EINVAL);
    assert_true(write_byte(as, BASE + 2 * PAGE_SIZE, 1));
    assert_int_equal(aspace_resident(as, BASE, 4, vec), 0);
    assert_true(!vec[0] && !vec[1] && vec[2] && !vec[3]);

    as->limit_as = as->mapped_pages * PAGE_SIZE;
    assert_int_equal(map_at(as, 0, 1, PROT_NONE, MAP_PRIVATE), -ENOMEM);
    assert_int_equal(map_at(as, BASE, 4, PROT_READ, MAP_PRIVATE | MAP_FIXED), BASE); /* replaces */
    as->limit_as = ~0UL;
    as->limit_memlock = 2 * PAGE_SIZE;
    assert_int_equal(aspace_lock_pages(as, BASE, 3 * PAGE_SIZE, LOCK_ON), -ENOMEM);
    assert_int_equal(aspace_lock_pages(as, BASE, 2 * PAGE_SIZE, LOCK_ON), 0);
    assert_int_equal(as->locked_pages, 2);
    assert_int_equal(map_at(as, 0, 1, RW, MAP_PRIVATE | MAP_LOCKED), -EAGAIN);
    assert_int_equal(aspace_advise(as, BASE, PAGE_SIZE, MADV_DONTNEED), -EINVAL);
    assert_int_equal(aspace_lock_all(as, 0), 0);
    assert_int_equal(as->locked_pages, 0);
    check_invariants(as);
    aspace_unref(as);
}

static int fault(struct aspace *as, uaddr_t addr, enum fault_access access) {
    int code = 0;
    int sig = aspace_fault(as, addr, access, 0, &code);
    return sig ? sig * 10 + code : 0;
}

enum { SEGV = 110, BUS = 70 }; /* signal * 10, plus the code */

static void faults(void **state) {
    struct aspace *as = aspace_create();
    file_open(3);
    assert_int_equal(fault(as, BASE, FAULT_READ), SEGV + 1);
    assert_int_equal(map_at(as, BASE, 3, PROT_READ, MAP_PRIVATE | MAP_FIXED), BASE);
    assert_int_equal(fault(as, BASE, FAULT_READ), 0);
    assert_int_equal(as->resident_pages, 0); /* the zero page */
    assert_int_equal(fault(as, BASE, FAULT_WRITE), SEGV + 2);
    assert_int_equal(fault(as, BASE, FAULT_EXEC), SEGV + 2);
    assert_int_equal(aspace_protect(as, BASE, PAGE_SIZE, RW), 0);
    assert_int_equal(fault(as, BASE, FAULT_WRITE), 0);
    assert_int_equal(as->resident_pages, 1);
    assert_int_equal(aspace_protect(as, BASE, PAGE_SIZE, PROT_NONE), 0);
    assert_int_equal(fault(as, BASE, FAULT_READ), SEGV + 2);
    assert_int_equal(as->resident_pages, 1);

    uaddr_t f = BASE + (1UL << 30);
    assert_int_equal(aspace_map(as, f, 5 * PAGE_SIZE, RW, MAP_SHARED | MAP_FIXED, &file.backing, PAGE_SIZE, ALL, 0), f);
    assert_int_equal(fault(as, f + PAGE_SIZE, FAULT_READ), 0);
    assert_int_equal(fault(as, f + 2 * PAGE_SIZE, FAULT_READ), BUS + 2); /* BUS_ADRERR */
    assert_int_equal(file.writes_heard, 0);
    assert_true(write_byte(as, f + PAGE_SIZE + 5, 42));
    assert_int_equal(file.writes_heard, 1);
    assert_int_equal(((uint8_t *)page_to_virt(file.pages[2]))[5], 42);

    uaddr_t p = f + (1UL << 30);
    assert_int_equal(aspace_map(as, p, 3 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_FIXED, &file.backing, 0, ALL, 0), p);
    assert_int_equal(read_byte(as, p + 2 * PAGE_SIZE + 5), 42);
    assert_true(write_byte(as, p + 2 * PAGE_SIZE + 5, 43)); /* a copy */
    assert_int_equal(read_byte(as, f + PAGE_SIZE + 5), 42);
    assert_int_equal(read_byte(as, p + 2 * PAGE_SIZE + 5), 43);
    assert_int_equal(read_byte(as, p + 2 * PAGE_SIZE + 6), 102);
    assert_int_equal(read_byte(as, p + PAGE_SIZE), 101);
    check_invariants(as);

    file_truncate(2); /* the copy goes, too */
    assert_int_equal(read_byte(as, p + 2 * PAGE_SIZE), -1);
    assert_int_equal(read_byte(as, f + PAGE_SIZE), -1);
    assert_int_equal(read_byte(as, p + PAGE_SIZE), 101);
    check_invariants(as);
    assert_int_equal(file.refs, 2);
    assert_int_equal(aspace_unmap(as, p + PAGE_SIZE, PAGE_SIZE), 0); /* split */
    assert_int_equal(file.refs, 3);
    aspace_unref(as);
    assert_int_equal(file.refs, 0);
    assert_true(list_empty(&file.backing.vmas));
    file_truncate(0);
}

static void stack_grows(void **state) {
    struct aspace *as = aspace_create();
    uaddr_t top = 0x7f0000000000;
    as->limit_stack = 1 << 20;
    assert_int_equal(aspace_map(as, top - 4 * PAGE_SIZE, 4 * PAGE_SIZE, RW, MAP_PRIVATE | MAP_GROWSDOWN | MAP_FIXED,
                                NULL, 0, ALL, VMA_STACK),
                     top - 4 * PAGE_SIZE);
    assert_true(write_byte(as, top - 100 * PAGE_SIZE, 1));
    assert_int_equal(as->mapped_pages, 100);
    assert_false(write_byte(as, top - 300 * PAGE_SIZE, 1)); /* RLIMIT_STACK */
    as->limit_stack = 8 << 20;
    assert_true(write_byte(as, top - 300 * PAGE_SIZE, 1));
    /* a mapping below: the guard gap of 256 pages stays */
    assert_int_equal(map_at(as, top - 1000 * PAGE_SIZE, 1, RW, MAP_PRIVATE | MAP_FIXED), top - 1000 * PAGE_SIZE);
    assert_true(write_byte(as, top - 743 * PAGE_SIZE, 1));
    assert_false(write_byte(as, top - 744 * PAGE_SIZE, 1));
    /* nothing is placed into the gap */
    as->mmap_base = top;
    long r = map_at(as, top - 800 * PAGE_SIZE, 1, RW, MAP_PRIVATE);
    assert_true(r > 0 && r < (long)(top - 999 * PAGE_SIZE));
    assert_int_equal(aspace_protect(as, top - PAGE_SIZE, PAGE_SIZE, ALL | PROT_GROWSDOWN), 0);
    assert_int_equal(vma_find(as, top - 700 * PAGE_SIZE)->prot, ALL);
    check_invariants(as);
    aspace_unref(as);
}

static void heap(void **state) {
    struct aspace *as = aspace_create();
    as->brk_start = as->brk = BASE + 100;
    assert_int_equal(aspace_brk(as, 0), BASE + 100);
    assert_int_equal(aspace_brk(as, BASE + 50), BASE + 100);
    assert_int_equal(aspace_brk(as, BASE + 3 * PAGE_SIZE + 1), BASE + 3 * PAGE_SIZE + 1);
    assert_int_equal(as->mapped_pages, 3);
    assert_true(write_byte(as, BASE + 3 * PAGE_SIZE, 9));
    assert_int_equal(aspace_brk(as, BASE + 3 * PAGE_SIZE + 9), BASE + 3 * PAGE_SIZE + 9);
    assert_int_equal(aspace_brk(as, BASE + PAGE_SIZE), BASE + PAGE_SIZE);
    assert_int_equal(as->mapped_pages, 0);
    assert_int_equal(aspace_brk(as, BASE + 4 * PAGE_SIZE), BASE + 4 * PAGE_SIZE);
    assert_int_equal(read_byte(as, BASE + 3 * PAGE_SIZE), 0); /* new and clean */
    assert_int_equal(as->vma_count, 1);
    assert_int_equal(map_at(as, BASE + 10 * PAGE_SIZE, 1, RW, MAP_PRIVATE | MAP_FIXED), BASE + 10 * PAGE_SIZE);
    assert_int_equal(aspace_brk(as, BASE + 10 * PAGE_SIZE), BASE + 4 * PAGE_SIZE); /* would touch */
    as->limit_data = 6 * PAGE_SIZE;
    assert_int_equal(aspace_brk(as, BASE + 8 * PAGE_SIZE), BASE + 4 * PAGE_SIZE);
    check_invariants(as);
    aspace_unref(as);
}

static void shared_memory(void **state) {
    struct aspace *as = aspace_create();
    size_t len = 3000 * PAGE_SIZE;
    uint64_t before = free_now();
    struct backing *b = shared_memory_create(len);
    assert_int_equal(aspace_map(as, BASE, len, RW, MAP_SHARED | MAP_FIXED, b, 0, ALL, 0), BASE);
    b->ops->unref(b);
    assert_true(write_byte(as, BASE, 1));
    assert_true(write_byte(as, BASE + len - 1, 2));
    struct aspace *child = aspace_fork(as);
    assert_int_equal(read_byte(child, BASE), 1);
    assert_true(write_byte(child, BASE, 3));
    assert_int_equal(read_byte(as, BASE), 3);
    assert_int_equal(read_byte(child, BASE + len - 1), 2);
    /* a second view of the same: mremap with old size 0 */
    long second = aspace_remap(as, BASE, 0, PAGE_SIZE, MREMAP_MAYMOVE, 0);
    assert_true(second > 0);
    assert_int_equal(read_byte(as, second), 3);
    void *object, *object2;
    uint64_t offset, offset2;
    assert_int_equal(aspace_futex_key(as, second + 8, &object, &offset), 0);
    assert_int_equal(aspace_futex_key(child, BASE + 8, &object2, &offset2), 0);
    assert_ptr_equal(object, object2);
    assert_int_equal(offset, offset2);
    assert_int_equal(aspace_advise(as, BASE, PAGE_SIZE, MADV_REMOVE), 0);
    assert_int_equal(read_byte(child, BASE), 0);
    assert_int_equal(read_byte(as, second), 0);
    check_invariants(as);
    aspace_unref(child);
    aspace_unref(as);
    struct page_stats s;
    page_stats(&s);
    assert_int_equal(s.cache, 0);
    assert_int_equal(s.anon, 0);
    assert_true(s.free + 8 >= before);
}

static void copy_on_write(void **state) {
    struct aspace *as = aspace_create();
    assert_int_equal(map_at(as, BASE, 100, RW, MAP_PRIVATE | MAP_FIXED), BASE);
    for (int i = 0; i < 50; i++)
        assert_true(write_byte(as, BASE + i * PAGE_SIZE, i));
    assert_int_equal(aspace_advise(as, BASE + 10 * PAGE_SIZE, PAGE_SIZE, MADV_WIPEONFORK), 0);
    assert_int_equal(aspace_advise(as, BASE + 12 * PAGE_SIZE, PAGE_SIZE, MADV_DONTFORK), 0);
    struct page_stats s;
    page_stats(&s);
    uint64_t anon = s.anon;
    struct aspace *child = aspace_fork(as);
    page_stats(&s);
    assert_int_equal(s.anon, anon);
    assert_int_equal(read_byte(child, BASE + 10 * PAGE_SIZE), 0);
    assert_int_equal(read_byte(child, BASE + 12 * PAGE_SIZE), -1);
    assert_true(write_byte(child, BASE, 77));
    page_stats(&s);
    assert_int_equal(s.anon, anon + 1);
    assert_int_equal(read_byte(as, BASE), 0);
    assert_true(write_byte(as, BASE, 78)); /* the last holder: no copy */
    page_stats(&s);
    assert_int_equal(s.anon, anon + 1);
    assert_int_equal(read_byte(child, BASE), 77);
    aspace_unref(as);
    for (int i = 1; i < 50; i++)
        if (i != 10 && i != 12)
            assert_int_equal(read_byte(child, BASE + i * PAGE_SIZE), i);
    check_invariants(child);
    aspace_unref(child);
    page_stats(&s);
    assert_int_equal(s.anon, 0);
}

static void large_pages(void **state) {
    struct aspace *as = aspace_create();
    struct aspace_usage u;
    uaddr_t base = 0x40000000;
    size_t pages = 4 * 512;
    assert_int_equal(map_at(as, base, pages, RW, MAP_PRIVATE | MAP_FIXED), base);
    assert_true(write_byte(as, base + 300 * PAGE_SIZE, 1));
    aspace_usage(as, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.resident, 1); /* one byte does not cost 2 MiB */
    for (unsigned i = 0; i < 512; i++)
        assert_true(write_byte(as, base + i * PAGE_SIZE, i));
    aspace_usage(as, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.huge, 512); /* but 60 pages in use do */
    assert_int_equal(u.resident, 512);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(read_byte(as, base + i * PAGE_SIZE), i & 255);
    assert_int_equal(aspace_advise(as, base + 512 * PAGE_SIZE, 512 * PAGE_SIZE, MADV_HUGEPAGE), 0);
    assert_true(write_byte(as, base + 700 * PAGE_SIZE, 5));
    aspace_usage(as, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.huge, 1024);
    check_invariants(as);
    /* partial changes split */
    assert_int_equal(aspace_protect(as, base + 10 * PAGE_SIZE, PAGE_SIZE, PROT_READ), 0);
    assert_int_equal(aspace_unmap(as, base + 600 * PAGE_SIZE, PAGE_SIZE), 0);
    aspace_usage(as, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.huge, 0);
    assert_int_equal(u.resident, 1023);
    assert_int_equal(read_byte(as, base + 10 * PAGE_SIZE), 10);
    assert_int_equal(read_byte(as, base + 700 * PAGE_SIZE), 5);
    check_invariants(as);
    struct aspace *child = aspace_fork(as);
    assert_true(write_byte(child, base + 20 * PAGE_SIZE, 99));
    assert_int_equal(read_byte(as, base + 20 * PAGE_SIZE), 20);
    aspace_unref(child);
    aspace_unref(as);
    struct page_stats s;
    page_stats(&s);
    assert_int_equal(s.anon, 0);
}

/* Large pages after a fork: held by both, split where one of them writes, whole again for the last one. */
static void large_pages_shared(void **state) {
    struct aspace *as = aspace_create();
    struct aspace_usage u;
    struct page_stats s;
    uaddr_t base = 0x40000000;
    size_t pages = 3 * 512;
    assert_int_equal(map_at(as, base, pages, RW, MAP_PRIVATE | MAP_FIXED), base);
    assert_int_equal(aspace_advise(as, base, pages * PAGE_SIZE, MADV_HUGEPAGE), 0);
    for (unsigned i = 0; i < pages; i++)
        assert_true(write_byte(as, base + i * PAGE_SIZE, i));
    page_stats(&s);
    uint64_t anon = s.anon;
    struct aspace *a = aspace_fork(as), *b = aspace_fork(a);
    page_stats(&s);
    assert_int_equal(s.anon, anon);
    aspace_usage(b, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.huge, pages);
    assert_int_equal(u.shared, pages);
    /* A write splits the page for the writer, and costs one small page. */
    assert_true(write_byte(a, base + 5 * PAGE_SIZE, 99));
    page_stats(&s);
    assert_int_equal(s.anon, anon + 1);
    aspace_usage(a, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.huge, pages - 512);
    aspace_usage(as, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.huge, pages);
    assert_int_equal(read_byte(as, base + 5 * PAGE_SIZE), 5);
    assert_int_equal(read_byte(b, base + 5 * PAGE_SIZE), 5);
    /* One that has fallen apart is forked and unmapped by those that still show it as a large one. */
    struct aspace *c = aspace_fork(b);
    assert_int_equal(read_byte(c, base + 6 * PAGE_SIZE), 6);
    aspace_unref(b);
    assert_int_equal(aspace_unmap(as, base, 100 * PAGE_SIZE), 0);
    assert_int_equal(aspace_protect(as, base + 512 * PAGE_SIZE, 512 * PAGE_SIZE, PROT_READ), 0);
    assert_int_equal(aspace_protect(as, base + 512 * PAGE_SIZE, 512 * PAGE_SIZE, RW), 0);
    assert_true(write_byte(as, base + 600 * PAGE_SIZE, 1));
    assert_int_equal(read_byte(c, base + 600 * PAGE_SIZE), 600 & 255);
    check_invariants(as);
    check_invariants(a);
    check_invariants(c);
    aspace_unref(as);
    aspace_unref(a);
    /* The only holder: the whole ones are written to as they are. */
    page_stats(&s);
    uint64_t before = s.anon;
    for (unsigned i = 0; i < pages; i++)
        assert_int_equal(read_byte(c, base + i * PAGE_SIZE), i & 255);
    for (unsigned i = 0; i < pages; i++)
        assert_true(write_byte(c, base + i * PAGE_SIZE, 1));
    page_stats(&s);
    assert_int_equal(s.anon, before);
    aspace_usage(c, base, base + pages * PAGE_SIZE, &u);
    assert_int_equal(u.huge, pages);
    check_invariants(c);
    aspace_unref(c);
    page_stats(&s);
    assert_int_equal(s.anon, 0);
}

/* Of a file's private mapping the child gets the copies; the rest it can have again. */
static void fork_of_files(void **state) {
    struct aspace *as = aspace_create();
    file_open(FILE_PAGES);
    size_t len = FILE_PAGES * PAGE_SIZE;
    assert_int_equal(aspace_map(as, BASE, len, RW, MAP_PRIVATE | MAP_FIXED, &file.backing, 0, ALL, 0), BASE);
    assert_int_equal(aspace_map(as, 2 * BASE, 1024 * PAGE_SIZE + len, PROT_READ, MAP_PRIVATE | MAP_FIXED, &file.backing, 0, ALL, 0), 2 * BASE);
    assert_int_equal(read_byte(as, 2 * BASE), 100);
    assert_true(write_byte(as, BASE + 3 * PAGE_SIZE, 1));
    struct aspace *child = aspace_fork(as);
    assert_int_equal(child->resident_pages, as->resident_pages - 1); /* not the large read-only mapping's */
    assert_int_equal(read_byte(child, BASE + 3 * PAGE_SIZE), 1);
    assert_int_equal(read_byte(child, 2 * BASE), 100);
    /* A part that is cut off, moved or joined keeps its copies in the next fork. */
    assert_int_equal(aspace_remap(child, BASE + 3 * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, BASE / 2), BASE / 2);
    struct aspace *grandchild = aspace_fork(child);
    assert_int_equal(read_byte(grandchild, BASE / 2), 1);
    check_invariants(grandchild);
    aspace_unref(child);
    aspace_unref(as);
    assert_int_equal(read_byte(grandchild, BASE / 2), 1);
    aspace_unref(grandchild);
    assert_int_equal(file.refs, 0);
    file_truncate(0);
}

static void fork_without_memory(void **state) {
    struct aspace *as = aspace_create();
    /* 3000 tables are a third of what a fork needs. */
    size_t places = 9000;
    assert_true(map_at(as, BASE, places * 512, RW, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE) == BASE);
    for (size_t i = 0; i < places; i++)
        assert_true(write_byte(as, BASE + i * HUGE_PAGE_SIZE, i));
    struct page *taken = NULL, *p;
    while (free_now() > 3000 && (p = page_alloc(0, 0))) {
        p->private = (uint64_t)(uintptr_t)taken;
        taken = p;
    }
    uint64_t before = free_now();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(PTR_ERR(aspace_fork(as)), -ENOMEM);
        assert_int_equal(free_now(), before);
        check_invariants(as);
    }
    while (taken) {
        p = taken;
        taken = (struct page *)(uintptr_t)p->private;
        page_unref(p);
    }
    struct aspace *child = aspace_fork(as);
    assert_false(IS_ERR(child));
    for (size_t i = 0; i < places; i++)
        assert_int_equal(read_byte(child, BASE + i * HUGE_PAGE_SIZE), i & 255);
    aspace_unref(as);
    check_invariants(child);
    aspace_unref(child);
}

static bool count_maps(void *ctx, const struct vma_info *info) {
    ++*(int *)ctx;
    return true;
}

static void description(void **state) {
    struct aspace *as = aspace_create();
    int count = 0;
    map_at(as, BASE, 1, RW, MAP_PRIVATE | MAP_FIXED);
    map_at(as, BASE + PAGE_SIZE, 1, PROT_READ, MAP_PRIVATE | MAP_FIXED);
    aspace_each(as, count_maps, &count);
    assert_int_equal(count, 2);
    aspace_unref(as);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),        cmocka_unit_test(faults),
        cmocka_unit_test(stack_grows),   cmocka_unit_test(heap),
        cmocka_unit_test(shared_memory), cmocka_unit_test(copy_on_write),
        cmocka_unit_test(large_pages),   cmocka_unit_test(large_pages_shared),
        cmocka_unit_test(fork_of_files), cmocka_unit_test(fork_without_memory),
        cmocka_unit_test(description),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
