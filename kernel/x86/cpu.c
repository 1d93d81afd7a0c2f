// Sets up a processor: features, segments, the tables of exceptions, system call entry, protection bits.
// Everything here is per CPU (struct cpu_tables) but cpu_features and the IDT, which the boot CPU fills in once.
#include "kernel/x86/cpu.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu_tables.h"
#include "kernel/x86/entry.h"
#include "kernel/x86/fpu.h"
#include "kernel/x86/vectors.h"

#define CR0_MONITOR (1UL << 1)
#define CR4_TSD (1UL << 2)
#define CR4_PGE (1UL << 7)
#define CR4_UMIP (1UL << 11)
#define CR4_FSGSBASE (1UL << 16)
#define CR4_SMEP (1UL << 20)
#define CR4_SMAP (1UL << 21)

struct cpu boot_cpu
    __attribute__((section(".data.page"))); // not in .bss: boot.S uses it before that is known to be clear
struct cpu *cpus[MAX_CPUS];
unsigned cpu_count;
struct cpu_features cpu_features;

static struct cpu_tables boot_cpu_tables ALIGNED(4096);

struct idt_gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, zero;
};
_Static_assert(sizeof(struct idt_gate) == 16, "Intel SDM vol. 3, figure 6-8");
static struct idt_gate idt[VECTOR_COUNT] ALIGNED(16);

struct PACKED table_pointer {
    uint16_t limit;
    uint64_t base;
};

extern const char trap_stubs[], syscall_entry[];
extern char trap_entry_clac[], page_fault_clac[];
extern uint64_t smap_patch_start[], smap_patch_end[];

void idt_enable(unsigned vector) {
    unsigned ist = vector == VECTOR_NMI  ? IST_NMI
                   : vector == VECTOR_DF ? IST_DF
                   : vector == VECTOR_MC ? IST_MC
                                         : IST_COMMON;
    uint64_t stub = (uint64_t)trap_stubs + vector * 16;
    idt[vector] = (struct idt_gate){
        .offset_low = (uint16_t)stub,
        .selector = KERNEL_CS,
        .ist = (uint8_t)ist,
        .type = vector == VECTOR_BP || vector == VECTOR_OF ? 0xee : 0x8e, // interrupt gate; those two for ring 3 too
        .offset_middle = (uint16_t)(stub >> 16),
        .offset_high = (uint32_t)(stub >> 32),
    };
}

static void read_vendor(char out[13], const struct cpuid *r, bool hypervisor) {
    const uint32_t words[3] = {r->ebx, hypervisor ? r->ecx : r->edx, hypervisor ? r->edx : r->ecx};
    memcpy(out, words, 12);
    out[12] = '\0';
}

static void read_features(void) {
    struct cpu_features *f = &cpu_features;
    struct cpuid r = cpuid(0, 0);
    f->max_leaf = r.eax;
    read_vendor(f->vendor, &r, false);

    r = cpuid(1, 0);
    f->leaf1_eax = r.eax;
    f->leaf1_ecx = r.ecx;
    f->leaf1_edx = r.edx;
    f->pge = r.edx >> 13 & 1;
    f->x2apic = r.ecx >> 21 & 1;
    f->tsc_deadline = r.ecx >> 24 & 1;
    f->xsave = (r.ecx >> 26 & 1) && f->max_leaf >= 0xd;
    f->rdrand = r.ecx >> 30 & 1;
    f->hypervisor = r.ecx >> 31;

    if (f->max_leaf >= 7) {
        r = cpuid(7, 0);
        f->leaf7_ebx = r.ebx;
        f->leaf7_ecx = r.ecx;
        f->leaf7_edx = r.edx;
        f->fsgsbase = r.ebx & 1;
        f->smep = r.ebx >> 7 & 1;
        f->erms = r.ebx >> 9 & 1;
        f->rdseed = r.ebx >> 18 & 1;
        f->smap = r.ebx >> 20 & 1;
        f->umip = r.ecx >> 2 & 1;
        f->rdpid = r.ecx >> 22 & 1;
    }
    if (f->xsave)
        f->xsaveopt = cpuid(0xd, 1).eax & 1;

    f->max_extended_leaf = cpuid(0x80000000, 0).eax;
    r = cpuid(0x80000001, 0);
    f->huge_1g = r.edx >> 26 & 1;
    f->rdtscp = r.edx >> 27 & 1;
    if (f->max_extended_leaf >= 0x80000007)
        f->invariant_tsc = cpuid(0x80000007, 0).edx >> 8 & 1;
    f->phys_bits = f->max_extended_leaf >= 0x80000008 ? cpuid(0x80000008, 0).eax & 0xff : 36;

    if (f->hypervisor) {
        r = cpuid(0x40000000, 0);
        read_vendor(f->hypervisor_vendor, &r, true);
        f->max_hypervisor_leaf = r.eax >= 0x40000000 && r.eax < 0x40010000 ? r.eax : 0;
    }
}

void cpu_brand(char brand[49]) {
    memset(brand, 0, 49);
    if (cpu_features.max_extended_leaf < 0x80000004)
        return;
    for (unsigned i = 0; i < 3; i++) {
        struct cpuid r = cpuid(0x80000002 + i, 0);
        memcpy(brand + i * 16, &r, 16);
    }
}

// Segments, TSS and stacks of a CPU. The base of GS is set already and survives, since no GS selector is loaded.
static void load_tables(struct cpu *c, struct cpu_tables *t) {
    c->arch = t;
    const uint64_t tss = (uint64_t)&t->tss;
    t->gdt[KERNEL_CS / 8] = 0x00af9b000000ffff;
    t->gdt[KERNEL_DS / 8] = 0x00cf93000000ffff;
    t->gdt[USER_SS / 8] = 0x00cff3000000ffff;
    t->gdt[USER_CS / 8] = 0x00affb000000ffff;
    t->gdt[TSS_SELECTOR / 8] = (sizeof(t->tss) - 1) | (tss & 0xffffff) << 16 | 0x89UL << 40 | (tss >> 24 & 0xff) << 56;
    t->gdt[TSS_SELECTOR / 8 + 1] = tss >> 32;

    t->tss.ist[IST_COMMON - 1] = (uint64_t)(&t->common_stack + 1);
    for (unsigned i = 0; i < ARRAY_SIZE(t->stacks); i++) {
        t->stacks[i].cpu = c;
        t->tss.ist[IST_NMI - 1 + i] = (uint64_t)&t->stacks[i].cpu;
    }
    t->tss.io_bitmap = sizeof(t->tss); // no port is allowed

    const struct table_pointer gdt_pointer = {sizeof(t->gdt) - 1, (uint64_t)t->gdt};
    const struct table_pointer idt_pointer = {sizeof(idt) - 1, (uint64_t)idt};
    __asm__ volatile("lgdt %0; lidt %1" ::"m"(gdt_pointer), "m"(idt_pointer));
    __asm__ volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1: ltr %w1" ::"i"(KERNEL_CS),
                     "r"(TSS_SELECTOR)
                     : "rax", "memory");
    // A reset leaves a local table of 64 KiB at address 0, which is the application's: it could make call gates there.
    __asm__ volatile("lldt %w0" ::"r"(0));
}

static void load_protection(void) {
    const struct cpu_features *f = &cpu_features;
    uint64_t cr4 = read_cr4();
    cr4 |= (f->pge ? CR4_PGE : 0) | (f->umip ? CR4_UMIP : 0) | (f->fsgsbase ? CR4_FSGSBASE : 0) |
           (f->smep ? CR4_SMEP : 0) | (f->smap ? CR4_SMAP : 0);
    write_cr4(cr4);
    fpu_init_cpu();

    wrmsr(MSR_STAR, (uint64_t)KERNEL_CS << 32 | (uint64_t)USER_CS32 << 48);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_SFMASK, RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_RF | 0x3000 /* IOPL */);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    if (f->rdtscp)
        wrmsr(MSR_TSC_AUX, cpu_this()->id); // for getcpu in the vDSO
}

// stac and clac exist only where SMAP does; the image has three-byte NOPs in their places. `.smap_patch` lists addresses,
// the low bit set for stac. Text is still writable under the boot's page table.
static void patch_smap(void) {
    if (!cpu_features.smap)
        return;
    memcpy(trap_entry_clac, "\x0f\x01\xca", 3);
    memcpy(page_fault_clac, "\x0f\x01\xca", 3);
    for (const uint64_t *p = smap_patch_start; p < smap_patch_end; p++)
        memcpy((void *)(*p & ~1UL), *p & 1 ? "\x0f\x01\xcb" : "\x0f\x01\xca", 3);
}

void cpu_init(void) {
    boot_cpu.id = 0;
    cpus[0] = &boot_cpu;
    cpu_count = 1;
    read_features();
    for (unsigned v = 0; v < 32; v++)
        idt_enable(v);
    idt_enable(VECTOR_SPURIOUS);
    load_tables(&boot_cpu, &boot_cpu_tables);
    patch_smap();
    load_protection();
}

void cpu_init_secondary(void) {
    struct cpu *c = cpu_this();
    load_tables(c, c->arch);
    load_protection();
}

void arch_set_fs_base(uint64_t base) {
    thread_current()->context.fs_base = base;
    if (cpu_features.fsgsbase)
        wrfsbase(base);
    else
        wrmsr(MSR_FS_BASE, base);
}

uint64_t arch_get_fs_base(void) { return cpu_features.fsgsbase ? rdfsbase() : rdmsr(MSR_FS_BASE); }

// In the kernel the application's GS base is the one that swapgs has put away.
void arch_set_gs_base(uint64_t base) {
    thread_current()->context.gs_base = base;
    wrmsr(MSR_KERNEL_GS_BASE, base);
}

uint64_t arch_get_gs_base(void) { return rdmsr(MSR_KERNEL_GS_BASE); }
