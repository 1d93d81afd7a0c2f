// link: fs/cache/inode_table.c
// flags: -D__KERNEL__
/* The table of inodes by number against a plain array: additions, lookups, removals by the last reference, walks during which the
 * table changes, and the inode that is on its way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/cache/inode_table.h"
#include "kernel/log.h"

/* Of the C library, whose headers do not go together with the kernel's. */
void *calloc(size_t n, size_t size);
void free(void *p);
void abort(void) NORETURN;
int rand(void);

#define COUNT 3000

static struct superblock sb;
static struct inode inodes[COUNT];
static long allocated;
static bool no_memory;

void *kzalloc(size_t size) {
    if (no_memory)
        return NULL;
    allocated++;
    return calloc(1, size);
}
void kfree(void *p) {
    allocated -= p != NULL;
    free(p);
}
void spin_lock_slow(struct spinlock *l) { fail_msg("a spinlock is taken twice"); }
void panic(const char *fmt, ...) {
    fail_msg("%s", fmt);
    abort();
}
void inode_unref(struct inode *inode) {
    if (atomic_sub(&inode->refs, 1) == 1)
        inode_table_remove(inode);
}

static uint64_t number(unsigned i) { return i % 3 == 0 ? i : i % 3 == 1 ? (uint64_t)i << 20 : ~0ul - i; }

static struct inode *prepare(unsigned i) {
    inodes[i] = (struct inode){.sb = &sb, .refs = 1, .ino = number(i)};
    return &inodes[i];
}

static int start(void **state) {
    sb = (struct superblock){0};
    no_memory = false;
    return inode_table_create(&sb);
}

static int stop(void **state) {
    inode_table_destroy(&sb);
    assert_int_equal(allocated, 0);
    return 0;
}

static void test_model(void **state) {
    bool there[COUNT] = {false};
    for (unsigned step = 0; step < 200000; step++) {
        unsigned i = rand() % COUNT;
        no_memory = step % 7 == 0;
        switch (rand() % 3) {
        case 0:
            if (there[i]) {
                struct inode other = {.sb = &sb, .refs = 1, .ino = number(i)};
                assert_ptr_equal(inode_table_add(&other), &inodes[i]);
                assert_false(other.in_table);
                inode_unref(&inodes[i]);
            } else {
                assert_ptr_equal(inode_table_add(prepare(i)), &inodes[i]);
                assert_true(inodes[i].in_table);
            }
            assert_int_equal(inodes[i].refs, 1);
            there[i] = true;
            break;
        case 1:
            if (there[i]) {
                inode_unref(&inodes[i]);
                assert_false(inodes[i].in_table);
            }
            there[i] = false;
            break;
        default: {
            struct inode *found = inode_table_find(&sb, number(i));
            assert_ptr_equal(found, there[i] ? &inodes[i] : NULL);
            if (found)
                inode_unref(found);
        }
        }
    }
    for (unsigned i = 0; i < COUNT; i++)
        if (there[i])
            inode_unref(&inodes[i]);
}

// One whose last reference is gone is not found, and another of its number may come before it is taken out.
static void test_dying(void **state) {
    struct inode *old = prepare(5), fresh = {.sb = &sb, .refs = 1, .ino = number(5)};
    inode_table_add(old);
    old->refs = 0;
    assert_null(inode_table_find(&sb, number(5)));
    assert_ptr_equal(inode_table_add(&fresh), &fresh);
    struct inode *found = inode_table_find(&sb, number(5));
    assert_ptr_equal(found, &fresh);
    inode_unref(found);
    inode_table_remove(old);
    found = inode_table_find(&sb, number(5));
    assert_ptr_equal(found, &fresh);
    inode_unref(found);
    inode_unref(&fresh);
    assert_null(inode_table_find(&sb, number(5)));
}

static unsigned seen[COUNT], calls;

static bool look(struct inode *inode, void *ctx) {
    unsigned i = inode - inodes;
    assert_true(i < COUNT && inode->refs > 1);
    seen[i]++;
    // Others come and go: each one seen takes its neighbour with it, and one in three brings a new one.
    if (ctx && i % 2 == 0 && inodes[i + 1].in_table)
        inode_unref(&inodes[i + 1]);
    if (ctx && i % 3 == 0 && i + 1000 < COUNT && !inodes[i + 1000].in_table)
        inode_table_add(prepare(i + 1000));
    return ++calls != 7 || ctx;
}

static void test_each(void **state) {
    for (unsigned i = 0; i < 2000; i++)
        inode_table_add(prepare(i));
    calls = 0;
    inode_table_each(&sb, look, NULL);
    assert_int_equal(calls, 7);
    for (unsigned i = 0; i < COUNT; i++)
        seen[i] = 0;
    inode_table_each(&sb, look, &sb);
    for (unsigned i = 0; i < 2000; i += 2)
        assert_int_equal(seen[i], 1);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_true(seen[i] <= 1);
        if (inodes[i].in_table)
            inode_unref(&inodes[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model, start, stop),
        cmocka_unit_test_setup_teardown(test_dying, start, stop),
        cmocka_unit_test_setup_teardown(test_each, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
