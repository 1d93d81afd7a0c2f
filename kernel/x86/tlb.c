// Translation caches: which CPU has which address space loaded, and what must be flushed where.
//
// aspace.cpus has a bit for each CPU whose CR3 holds the table. A CPU sets its bit before it loads CR3 and clears it
// after it has loaded another; whoever changes an entry does that with a locked instruction before it reads the bits.
// So either the changer sees the bit and calls that CPU, or the CPU's load of CR3 comes after the change.
#include "kernel/irq.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/pagetable.h"

static void flush_this_cpu(const struct tlb_batch *b) {
    if (b->flush_count > TLB_FLUSH_SINGLE) {
        write_cr3(read_cr3());
        return;
    }
    for (unsigned i = 0; i < b->flush_count; i++)
        tlb_flush_page(b->flush[i]);
    if (!b->flush_count)
        tlb_flush_page(0); // forgets cached tables, whatever the address
}

static void flush_remote(void *arg) {
    const struct tlb_batch *b = arg;
    if (cpu_this()->aspace == b->as)
        flush_this_cpu(b);
}

static __attribute__((noinline)) void free_tables(struct tlb_batch *b) {
    long n = 0;
    while (b->tables) {
        struct page *p = b->tables;
        b->tables = (struct page *)(uintptr_t)p->private;
        page_free_clean(p);
        n++;
    }
    page_count(PAGE_TABLE, -n);
}

void tlb_batch_flush(struct tlb_batch *b) {
    if (b->flush_count || b->tables) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        struct cpu *cpu = cpu_this();
        if (cpu->aspace == b->as)
            flush_this_cpu(b);
        uint64_t others = READ_ONCE(b->as->cpus) & ~(1UL << cpu->id);
        if (unlikely(others))
            cpu_call(others, flush_remote, b);
        b->flush_count = 0;
    }
    for (unsigned i = 0; i < b->page_count; i++)
        mapped_page_unref(b->pages[i], b->large >> i & 1 ? 2 : 1);
    b->page_count = 0;
    b->large = 0;
    while (b->anon) {
        struct page *p = b->anon;
        b->anon = (struct page *)(uintptr_t)p->private;
        page_unref(p);
    }
    if (b->tables)
        free_tables(b);
}

void tlb_flush_user(struct aspace *as, uaddr_t va) {
    struct tlb_batch b;
    tlb_batch_begin(&b, as);
    tlb_batch_stale(&b, va);
    tlb_batch_flush(&b);
}

void aspace_activate(struct aspace *as) {
    struct cpu *cpu = cpu_this();
    struct aspace *old = cpu->aspace;
    if (old == as)
        return;
    if (as)
        atomic_or(&as->cpus, 1UL << cpu->id);
    cpu->aspace = as;
    write_cr3(as ? as->root : kernel_root);
    if (old)
        atomic_and(&old->cpus, ~(1UL << cpu->id));
}

static void leave(void *as) {
    uint64_t irq = irq_save();
    if (cpu_this()->aspace == as)
        aspace_activate(NULL);
    irq_restore(irq);
}

void aspace_deactivate(struct aspace *as) {
    leave(as);
    uint64_t others = load_acquire(&as->cpus);
    if (others)
        cpu_call(others, leave, as);
}
