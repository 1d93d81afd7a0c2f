// Checks of structures: both neighbours of a list's node agree, reference counts neither come back from zero nor go below it, a
// thread that goes is in no queue and holds nothing, and how deep kernel stacks were used.
#include "kernel/debug/lock_class.h"
#include "kernel/list.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"

#define STACK_BYTE 0x5c
#define STACK_WORD 0x5c5c5c5c5c5c5c5cUL

// Kernel addresses have the upper 16 bits set; the patterns of freed memory do not.
static bool sane(const void *p) { return (uintptr_t)p >= 0xffff800000000000UL && (uintptr_t)p % 8 == 0; }

void check_list_add(const struct list *node, const struct list *prev, const struct list *next) {
    if (!checks_on)
        return;
    if (!sane(prev) || !sane(next) || prev->next != next || next->prev != prev)
        check_failed("list: %p is added between %p and %p, which are not neighbours", (const void *)node,
                     (const void *)prev, (const void *)next);
    if (node == prev || node == next)
        check_failed("list: %p is added where it is already", (const void *)node);
}

void check_list_remove(const struct list *node) {
    if (!checks_on)
        return;
    if (!sane(node->next) || !sane(node->prev))
        check_failed("list: %p is removed, whose neighbours are %p and %p: freed memory?", (const void *)node,
                     (const void *)node->prev, (const void *)node->next);
    if (node->prev->next != node || node->next->prev != node)
        check_failed("list: %p is removed from between %p (next %p) and %p (prev %p)", (const void *)node,
                     (const void *)node->prev, (const void *)node->prev->next, (const void *)node->next,
                     (const void *)node->next->prev);
}

void check_ref_change(const void *counter, uint64_t before, int change) {
    if (!checks_on || (before > 0 && before < 0x7fffffff))
        return;
    if (change > 0)
        check_failed("a reference is taken on what has %ld of them, counted at %p", (long)(int32_t)before, counter);
    check_failed("a reference is dropped that was not there, counted at %p: %ld", counter, (long)(int32_t)before);
}

void check_page_ref(struct page *p) {
    if (checks_on && (!p->refs || p->refs >= 0x7fffffff || p->flags & PAGE_FREE))
        check_failed("page %#lx: a reference of %d, flags %#x", page_to_phys(p), (int)p->refs, p->flags);
}

void check_thread_gone(const struct thread *t) {
    if (!checks_on)
        return;
    if (t->queued)
        check_failed("thread %d (%s) goes while it is in a run queue", t->tid, t->name);
    if (t->process_link.next != &t->process_link)
        check_failed("thread %d (%s) goes while it is in its process's list", t->tid, t->name);
    if (t->sleeping_on)
        check_failed("thread %d (%s) goes while it waits", t->tid, t->name);
    if (t->locks_held.count)
        check_failed("thread %d (%s) goes while it holds %u locks", t->tid, t->name, t->locks_held.count);
}

// ---- kernel stacks: filled with a pattern while nobody has them. The first word of a free one is its list's.

static uint64_t deepest;

void check_stack_allocated(void *stack, bool fresh) {
    const uint64_t *w = stack;
    if (fresh)
        memset(stack, STACK_BYTE, KERNEL_STACK_SIZE);
    for (unsigned i = 1; !fresh && i < KERNEL_STACK_SIZE / 8; i++)
        if (unlikely(w[i] != STACK_WORD))
            check_failed("a free kernel stack was written to: %p has %#lx", (const void *)&w[i], w[i]);
    memset(stack, STACK_BYTE, 8);
}

void check_stack_freed(void *stack) {
    const uint64_t *w = stack;
    unsigned i = 0;
    while (i < KERNEL_STACK_SIZE / 8 && w[i] == STACK_WORD)
        i++;
    uint64_t used = KERNEL_STACK_SIZE - 8 * i;
    if (used > READ_ONCE(deepest))
        WRITE_ONCE(deepest, used);
    check_memory_goes(stack, KERNEL_STACK_SIZE, "a kernel stack");
    memset(stack, STACK_BYTE, KERNEL_STACK_SIZE);
}

void check_print_stack_use(void) {
    log_info("check: the deepest of the kernel stacks that were freed used %lu of %u bytes", READ_ONCE(deepest),
             KERNEL_STACK_SIZE);
}
