// The kernel's half of every page table: the direct map of RAM, the kernel's image with W^X, kernel stacks, device
// memory. The three top-level entries are made at boot and never change, so that every application's table can copy
// them.
//
// Locks: area_lock (interrupt-safe) protects the tables of the area of stacks and devices; the direct map's tables
// change under the page allocator's lock alone, which calls direct_map.
#include "kernel/x86/pagetable.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/x86/cpu.h"

#define GIB (1UL << 30)
#define BOOT_MAP_END GIB // what boot.S shows

#define IMAGE_BASE KERNEL_IMAGE_BASE

// A slot of the area for each stack: an unmapped half, and the stack in the upper half.
#define STACK_SLOT_SIZE (2UL * KERNEL_STACK_SIZE)
#define STACK_PAGES (KERNEL_STACK_SIZE / PAGE_SIZE)
#define STACK_SLOTS (1UL << 20)
#define STACKS_KEPT 32
#define DEVICES_BASE (KERNEL_AREA_BASE + (256UL << 30))
#define DEVICES_END (KERNEL_AREA_BASE + (512UL << 30))
_Static_assert(STACK_SLOTS *STACK_SLOT_SIZE <= DEVICES_BASE - KERNEL_AREA_BASE, "slots fit");

extern char text_start[], text_end[], rodata_start[], rodata_end[], kernel_end[];

phys_t kernel_root;

static pte_t *direct_pdpt, *area_pdpt;
static pte_t global; // PTE_GLOBAL when the processor has it

static pte_t data_entry(phys_t pa) { return pa | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_NX | global; }

static bool overlaps_image(phys_t start, phys_t end) {
    return start < virt_to_phys(rodata_end) && end > virt_to_phys(text_start);
}

// ---- direct map
// -------------------------------------------------------------------------------------------------------

// The table behind an entry of `level`, made when missing; NULL when the entry maps a large page (or now does), with
// *done set, or when there is no memory.
static pte_t *direct_below(pte_t *table, phys_t pa, unsigned level, bool large_allowed, bool *done) {
    phys_t span = 1UL << level_shift(level), base = ALIGN_DOWN(pa, span);
    pte_t *e = &table[level_index(pa, level)];
    *done = false;
    if (!*e) {
        if (large_allowed && ram_contains(base, base + span) && !overlaps_image(base, base + span)) {
            *e = data_entry(base) | PTE_LARGE;
        } else {
            struct page *p = page_take_for_direct_map();
            if (!p)
                return NULL;
            *e = page_to_phys(p) | PTE_TABLE;
        }
    }
    *done = *e & PTE_LARGE;
    return *done ? NULL : phys_to_virt(pte_frame(*e));
}

// The entries for [start, end), as far as they are not there yet.
static void fill(pte_t *table, phys_t start, phys_t end, pte_t bits) {
    pte_t entry = start | bits;
    for (pte_t *e = &table[level_index(start, 1)], *last = e + ((end - start) >> PAGE_SHIFT); e < last; e++) {
        if (!*e)
            *e = entry;
        entry += PAGE_SIZE;
    }
}

bool direct_map(phys_t start, phys_t end) {
    if (!kernel_root)
        return end <= BOOT_MAP_END;
    for (phys_t pa = start; pa < end;) {
        bool done;
        unsigned level = 3;
        pte_t *table = direct_below(direct_pdpt, pa, 3, cpu_features.huge_1g, &done);
        if (table)
            table = direct_below(table, pa, --level, true, &done);
        if (done) {
            pa = (pa | ((1UL << level_shift(level)) - 1)) + 1;
            continue;
        }
        if (!table)
            return false;
        phys_t stop = MIN(end, (pa | (HUGE_PAGE_SIZE - 1)) + 1);
        phys_t ro_start = MIN(MAX(virt_to_phys(text_start), pa), stop);
        phys_t ro_end = MIN(MAX(virt_to_phys(rodata_end), pa), stop);
        pte_t data = data_entry(0);
        fill(table, pa, ro_start, data);
        fill(table, ro_start, ro_end, data & ~(PTE_WRITE | PTE_DIRTY));
        fill(table, ro_end, stop, data);
        pa = stop;
    }
    return true;
}

const void *direct_map_firmware(phys_t pa, size_t len) {
    if (pa >= 512 * GIB || len > GIB || pa + len > 512 * GIB)
        return NULL;
    return page_map_ram(pa, pa + len) ? phys_to_virt(pa) : NULL;
}

// ---- the final table
// --------------------------------------------------------------------------------------------------

static pte_t *table_new(void) {
    struct page *p = page_alloc(0, PA_ZERO);
    if (!p)
        panic("no memory for the kernel's page table");
    page_count(PAGE_TABLE, 1);
    return page_to_virt(p);
}

static pte_t *table_below(pte_t *e) {
    if (!*e)
        *e = virt_to_phys(table_new()) | PTE_TABLE;
    return phys_to_virt(pte_frame(*e));
}

static void map_image_part(pte_t *pdpt, const char *from, const char *to, pte_t without) {
    uint64_t va = (uint64_t)from, end = (uint64_t)to;
    while (va < end) {
        uint64_t stop = MIN(end, (va | (HUGE_PAGE_SIZE - 1)) + 1);
        pte_t *pt = table_below(&table_below(&pdpt[level_index(va, 3)])[level_index(va, 2)]);
        fill(pt, va - IMAGE_BASE, stop - IMAGE_BASE, data_entry(0) & ~without); // the base is a multiple of 2 MiB
        va = stop;
    }
}

static void map_image(pte_t *pdpt) {
    map_image_part(pdpt, text_start, text_end, PTE_NX | PTE_WRITE | PTE_DIRTY);
    map_image_part(pdpt, rodata_start, rodata_end, PTE_WRITE | PTE_DIRTY);
    map_image_part(pdpt, rodata_end, kernel_end, 0);
}

void pagetable_init(void) {
    global = cpu_features.pge ? PTE_GLOBAL : 0;
    pte_t *root = table_new();
    pte_t *image_pdpt = table_new();
    direct_pdpt = table_new();
    area_pdpt = table_new();
    root[KERNEL_SLOT_DIRECT] = virt_to_phys(direct_pdpt) | PTE_TABLE;
    root[KERNEL_SLOT_AREA] = virt_to_phys(area_pdpt) | PTE_TABLE;
    root[KERNEL_SLOT_IMAGE] = virt_to_phys(image_pdpt) | PTE_TABLE;
    map_image(image_pdpt);
    kernel_root = virt_to_phys(root);
    page_map_opened();
    write_cr3(kernel_root);
}

void pagetable_init_cpu(void) { write_cr3(kernel_root); }

// ---- the area: device memory
// ------------------------------------------------------------------------------------------

static struct spinlock area_lock;
static uint64_t next_device = DEVICES_BASE;
static struct {
    phys_t pa;
    uint64_t va, pages;
} devices[32];
static unsigned device_count;

// The level 1 entry of an address of the area; NULL: no memory. area_lock held.
static pte_t *area_entry(uint64_t va) {
    pte_t *table = area_pdpt;
    for (unsigned level = 3; level > 1; level--) {
        pte_t *e = &table[level_index(va, level)];
        if (!*e) {
            struct page *p = page_alloc(0, PA_ZERO);
            if (!p)
                return NULL;
            page_count(PAGE_TABLE, 1);
            *e = page_to_phys(p) | PTE_TABLE;
        }
        table = phys_to_virt(pte_frame(*e));
    }
    return &table[level_index(va, 1)];
}

void *mmio_map(phys_t pa, size_t len) {
    phys_t first = ALIGN_DOWN(pa, PAGE_SIZE);
    uint64_t pages = (ALIGN_UP(pa + len, PAGE_SIZE) - first) / PAGE_SIZE, va = 0;
    uint64_t irq = spin_lock_irqsave(&area_lock);
    for (unsigned i = 0; i < device_count && !va; i++)
        if (devices[i].pa <= first && first + pages * PAGE_SIZE <= devices[i].pa + devices[i].pages * PAGE_SIZE)
            va = devices[i].va + (first - devices[i].pa);
    if (!va && pages <= (DEVICES_END - next_device) / PAGE_SIZE) {
        va = next_device;
        for (uint64_t i = 0; i < pages; i++) {
            pte_t *e = area_entry(va + i * PAGE_SIZE);
            if (!e) {
                va = 0;
                break;
            }
            *e = data_entry(first + i * PAGE_SIZE) | PTE_PCD | PTE_PWT;
        }
        if (va) {
            next_device += pages * PAGE_SIZE;
            if (device_count < ARRAY_SIZE(devices)) {
                devices[device_count].pa = first;
                devices[device_count].va = va;
                devices[device_count++].pages = pages;
            }
        }
    }
    spin_unlock_irqrestore(&area_lock, irq);
    return va ? (void *)(va + (pa - first)) : NULL;
}

// ---- the area: kernel stacks
// ------------------------------------------------------------------------------------------ A freed stack is kept as
// it is for the next thread. Beyond STACKS_KEPT its pages are freed and its slot is stale: other CPUs may still cache
// the translation. Nobody uses the address any more, so the flush may wait until the slots are wanted again.

static struct kept_stack { struct kept_stack *next; } * kept; // linked through the stacks' own memory
static unsigned kept_count;
static uint64_t next_slot;
static uint16_t stale_count, clean_count;
static uint32_t stale[256], clean[256]; // slots without pages

static uint8_t *slot_stack(uint64_t slot) {
    return (uint8_t *)(KERNEL_AREA_BASE + slot * STACK_SLOT_SIZE + KERNEL_STACK_SIZE);
}

static void flush_all(void *arg) {
    uint64_t cr4 = read_cr4();
    if (global) { // changing PGE flushes global entries, too
        write_cr4(cr4 ^ (1UL << 7));
        write_cr4(cr4);
    } else {
        write_cr3(read_cr3());
    }
}

static void unmap_stack(uint8_t *stack) {
    for (unsigned i = 0; i < STACK_PAGES; i++) {
        uint64_t va = (uint64_t)stack + i * PAGE_SIZE;
        pte_t *e = area_entry(va);
        if (!e || !*e)
            break;
        struct page *p = phys_to_page(pte_frame(*e));
        *e = 0;
        tlb_flush_page(va);
        page_unref(p);
    }
}

static bool map_stack(uint8_t *stack) {
    for (unsigned i = 0; i < STACK_PAGES; i++) {
        pte_t *e = area_entry((uint64_t)stack + i * PAGE_SIZE);
        struct page *p = e ? page_alloc(0, 0) : NULL;
        if (!p) {
            unmap_stack(stack);
            return false;
        }
        *e = data_entry(page_to_phys(p));
    }
    return true;
}

void *kernel_stack_alloc(void) {
    CHECKED(check_cross_call();)
    uint8_t *stack = NULL;
    uint64_t irq = spin_lock_irqsave(&area_lock);
    if (kept) {
        stack = (uint8_t *)kept;
        kept = kept->next;
        kept_count--;
        CHECKED(check_stack_allocated(stack, false);)
        goto out;
    }
    if (!clean_count && stale_count > ARRAY_SIZE(stale) / 2) {
        // Rare: recycle the slots that were given up.
        unsigned n = stale_count;
        uint32_t slots[ARRAY_SIZE(stale)];
        for (unsigned i = 0; i < n; i++)
            slots[i] = stale[i];
        stale_count = 0;
        spin_unlock_irqrestore(&area_lock, irq);
        uint64_t all = cpu_count >= 64 ? ~0UL : (1UL << cpu_count) - 1;
        cpu_call(all & ~(1UL << cpu_this()->id), flush_all, NULL);
        flush_all(NULL);
        irq = spin_lock_irqsave(&area_lock);
        while (n && clean_count < ARRAY_SIZE(clean))
            clean[clean_count++] = slots[--n];
    }
    uint64_t slot = STACK_SLOTS;
    if (clean_count)
        slot = clean[--clean_count];
    else if (next_slot < STACK_SLOTS)
        slot = next_slot++;
    if (slot < STACK_SLOTS) {
        stack = slot_stack(slot);
        if (!map_stack(stack)) {
            // Nobody has used the pages: only this CPU's own walks can have cached anything.
            if (clean_count < ARRAY_SIZE(clean))
                clean[clean_count++] = slot;
            stack = NULL;
        }
    }
    CHECKED(if (stack) check_stack_allocated(stack, true);)
out:
    spin_unlock_irqrestore(&area_lock, irq);
    return stack;
}

void kernel_stack_free(void *stack) {
    CHECKED(check_stack_freed(stack);)
    uint64_t irq = spin_lock_irqsave(&area_lock);
    if (kept_count < STACKS_KEPT || stale_count == ARRAY_SIZE(stale)) {
        struct kept_stack *k = stack;
        k->next = kept;
        kept = k;
        kept_count++;
    } else {
        unmap_stack(stack);
        stale[stale_count++] = ((uint64_t)stack - KERNEL_AREA_BASE) / STACK_SLOT_SIZE;
    }
    spin_unlock_irqrestore(&area_lock, irq);
}

bool kernel_stack_guard(uint64_t va) {
    return va >= KERNEL_AREA_BASE && va < KERNEL_AREA_BASE + next_slot * STACK_SLOT_SIZE &&
           (va - KERNEL_AREA_BASE) % STACK_SLOT_SIZE < KERNEL_STACK_SIZE;
}
