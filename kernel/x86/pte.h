// Page table entries: their bits, and what the rest of the memory code asks of one. Pure functions, without state.
#ifndef KERNEL_X86_PTE_H
#define KERNEL_X86_PTE_H

#include "kernel/types.h"
#include <linux/mman.h> // PROT_*

typedef uint64_t pte_t;

#define PTE_PRESENT 0x001UL
#define PTE_WRITE 0x002UL
#define PTE_USER 0x004UL
#define PTE_PWT 0x008UL
#define PTE_PCD 0x010UL
#define PTE_ACCESSED 0x020UL
#define PTE_DIRTY 0x040UL
#define PTE_LARGE 0x080UL // in a level 2 or 3 entry: it maps 2 MiB or 1 GiB
#define PTE_GLOBAL 0x100UL
#define PTE_HIDDEN 0x200UL // ours: PROT_NONE. Not present to the processor, but the frame is still there
#define PTE_NOREF 0x400UL  // ours: the frame is not counted (the zero page)
#define PTE_NX (1UL << 63)
#define PTE_FRAME 0x000ffffffffff000UL
#define PTE_TABLE (PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED)

#define TABLE_ENTRIES 512

// Shifts of what one entry of a level spans: level 1 is 4 KiB, 2 is 2 MiB, 3 is 1 GiB, 4 is 512 GiB.
static inline unsigned level_shift(unsigned level) { return PAGE_SHIFT + 9 * (level - 1); }

static inline unsigned level_index(uint64_t va, unsigned level) {
    return (va >> level_shift(level)) & (TABLE_ENTRIES - 1);
}

// An entry of an application's page: readable when any right is given, as the processor knows no less.
static inline pte_t pte_make(phys_t pa, unsigned prot) {
#define BASE_BITS (PTE_USER | PTE_ACCESSED)
#define SEEN (BASE_BITS | PTE_PRESENT)
#define WRITTEN (SEEN | PTE_WRITE | PTE_DIRTY)
    static const pte_t rights[8] = {
        [0] = BASE_BITS | PTE_HIDDEN | PTE_NX,
        [PROT_READ] = SEEN | PTE_NX,
        [PROT_WRITE] = WRITTEN | PTE_NX,
        [PROT_READ | PROT_WRITE] = WRITTEN | PTE_NX,
        [PROT_EXEC] = SEEN,
        [PROT_EXEC | PROT_READ] = SEEN,
        [PROT_EXEC | PROT_WRITE] = WRITTEN,
        [PROT_EXEC | PROT_READ | PROT_WRITE] = WRITTEN,
    };
#undef BASE_BITS
#undef SEEN
#undef WRITTEN
    return pa | rights[prot & 7];
}

// Is there a page, whether the processor may see it or not?
static inline bool pte_used(pte_t e) { return e & (PTE_PRESENT | PTE_HIDDEN); }

static inline phys_t pte_frame(pte_t e) { return e & PTE_FRAME; }

static inline bool pte_writable(pte_t e) { return e & PTE_WRITE; }

static inline bool pte_counted(pte_t e) { return !(e & PTE_NOREF); }

static inline bool pte_allows(pte_t e, bool write, bool exec) {
    return (e & PTE_PRESENT) && (!write || (e & PTE_WRITE)) && (!exec || !(e & PTE_NX));
}

// The same frame with other rights. A page that is not written through this entry now stays so: the next write
// faults, and the fault decides whether it must be copied.
static inline pte_t pte_change(pte_t e, unsigned prot) {
    pte_t keep = e & (PTE_FRAME | PTE_NOREF | PTE_LARGE | PTE_WRITE | PTE_DIRTY);
    if (prot & PROT_WRITE)
        return pte_make(0, (prot & ~PROT_WRITE) | PROT_READ) | keep;
    return (pte_make(0, prot) | keep) & ~PTE_WRITE;
}

// Does a translation of `old` that a processor still has allow more than `e`? Less does no harm: the access faults, and
// finds that it is allowed.
static inline bool pte_less(pte_t old, pte_t e) {
    return (old & PTE_PRESENT) && ((old & ~e & (PTE_PRESENT | PTE_WRITE)) || (e & ~old & PTE_NX));
}

// Copy on write: what both address spaces hold after a fork.
static inline pte_t pte_shared(pte_t e) { return e & ~PTE_WRITE; }

#endif
