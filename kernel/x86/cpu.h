// The processor: control instructions, model-specific registers, features.
#ifndef KERNEL_X86_CPU_H
#define KERNEL_X86_CPU_H

#include "kernel/types.h"

#define RFLAGS_CF (1UL << 0)
#define RFLAGS_TF (1UL << 8)
#define RFLAGS_IF (1UL << 9)
#define RFLAGS_DF (1UL << 10)
#define RFLAGS_NT (1UL << 14)
#define RFLAGS_RF (1UL << 16)
#define RFLAGS_AC (1UL << 18)
// What an application may have in its flags (sigreturn): CF PF AF ZF SF TF DF OF RF AC. IF is always on.
#define RFLAGS_USER 0x50dd5UL

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC 0x800 // plus register / 16
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX 0xc0000103

static inline uint64_t rdmsr(uint32_t msr) {
    uint32_t lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return lo | (uint64_t)hi << 32;
}
static inline void wrmsr(uint32_t msr, uint64_t v) {
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline uint64_t rdtsc(void) {
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (uint64_t)hi << 32;
}
struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};
static inline struct cpuid cpuid(uint32_t leaf, uint32_t subleaf) {
    struct cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t read_cr0(void) { uint64_t v; __asm__ volatile("movq %%cr0, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr2(void) { uint64_t v; __asm__ volatile("movq %%cr2, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr3(void) { uint64_t v; __asm__ volatile("movq %%cr3, %0" : "=r"(v)); return v; }
static inline uint64_t read_cr4(void) { uint64_t v; __asm__ volatile("movq %%cr4, %0" : "=r"(v)); return v; }
static inline void write_cr0(uint64_t v) { __asm__ volatile("movq %0, %%cr0" ::"r"(v) : "memory"); }
static inline void write_cr3(uint64_t v) { __asm__ volatile("movq %0, %%cr3" ::"r"(v) : "memory"); }
static inline void write_cr4(uint64_t v) { __asm__ volatile("movq %0, %%cr4" ::"r"(v) : "memory"); }
static inline void tlb_flush_page(uint64_t va) { __asm__ volatile("invlpg (%0)" ::"r"(va) : "memory"); }

static inline void irq_enable(void) { __asm__ volatile("sti" ::: "memory"); }
static inline void irq_disable(void) { __asm__ volatile("cli" ::: "memory"); }
static inline bool irq_enabled(void) {
    uint64_t f;
    __asm__ volatile("pushfq; popq %0" : "=r"(f));
    return f & RFLAGS_IF;
}
#ifndef KNARR_UNIT_TEST
// Disables interrupts on this CPU, returns the state before; and back to that state.
static inline uint64_t irq_save(void) {
    uint64_t f;
    __asm__ volatile("pushfq; popq %0; cli" : "=r"(f)::"memory");
    return f;
}
static inline void irq_restore(uint64_t flags) {
    if (flags & RFLAGS_IF)
        irq_enable();
}
#endif
// Enables interrupts and halts until one comes, with no gap between the two.
static inline void cpu_halt_enabled(void) { __asm__ volatile("sti; hlt" ::: "memory"); }
static inline void cpu_halt_forever(void) {
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}
static inline void cpu_pause(void) { __asm__ volatile("pause"); }
// For round i of a busy wait: looks often and pauses seldom, since in a virtual machine a pause may leave the guest.
static inline void spin_wait(unsigned i)
{
    if (i % 64 == 0)
        cpu_pause();
    else
        __asm__ volatile("" ::: "memory");
}

static inline uint64_t rdfsbase(void) { uint64_t v; __asm__ volatile("rdfsbase %0" : "=r"(v)); return v; }
static inline void wrfsbase(uint64_t v) { __asm__ volatile("wrfsbase %0" ::"r"(v)); }
// The application's GS base while the kernel's is in use: cheaper than its MSR. Interrupts off; what comes nevertheless (NMI, #MC)
// assumes nothing about GS.
static inline uint64_t read_user_gs_base(void) { uint64_t v; __asm__ volatile("swapgs; rdgsbase %0; swapgs" : "=r"(v)); return v; }
static inline void write_user_gs_base(uint64_t v) { __asm__ volatile("swapgs; wrgsbase %0; swapgs" ::"r"(v)); }

// What this machine's processors offer, as far as the kernel cares; filled in by cpu_init on the boot CPU.
struct cpu_features {
    bool smep, smap, umip, fsgsbase, xsave, xsaveopt, rdrand, rdseed, x2apic, tsc_deadline, invariant_tsc, huge_1g, rdtscp,
        rdpid, erms, hypervisor, pge;
    uint32_t max_leaf, max_extended_leaf, max_hypervisor_leaf; // max_hypervisor_leaf 0: none
    uint32_t leaf1_eax, leaf1_ecx, leaf1_edx, leaf7_ebx, leaf7_ecx, leaf7_edx; // raw; AT_HWCAP is leaf1_edx
    uint32_t phys_bits;
    char vendor[13], hypervisor_vendor[13];
};
extern struct cpu_features cpu_features;
void cpu_brand(char brand[49]); // "model name" of /proc/cpuinfo

void cpu_init(void);              // boot CPU: features, GDT, TSS, IDT, system call entry, protection bits
void cpu_init_secondary(void);    // every other CPU; its struct cpu is in GS already
// The application's FS and GS bases of the current thread: arch_prctl(2), clone's tls. They take effect at once.
void arch_set_fs_base(uint64_t base);
void arch_set_gs_base(uint64_t base);
uint64_t arch_get_fs_base(void);
uint64_t arch_get_gs_base(void);

#endif
