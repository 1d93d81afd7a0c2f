// The tables that each processor wants for itself: segments, task state, interrupt stacks. cpu.c and smp.c only.
#ifndef KERNEL_X86_CPU_TABLES_H
#define KERNEL_X86_CPU_TABLES_H

#include "kernel/types.h"

enum { IST_COMMON = 1, IST_NMI, IST_DF, IST_MC };

struct PACKED tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_bitmap;
};
_Static_assert(sizeof(struct tss) == 104, "Intel SDM vol. 3, figure 8-11");

struct ist_stack {
    uint8_t space[4096 - 16];
    struct cpu *cpu; // entry.S finds it here: right above the first push
    uint64_t unused;
} ALIGNED(16);

struct cpu_tables {
    struct ist_stack stacks[3]; // NMI, #DF, #MC
    uint64_t gdt[10];
    struct tss tss;
    struct {
        uint8_t space[512]; // entry.S moves off it after a few pushes
    } ALIGNED(16) common_stack;
};

void idt_enable(unsigned vector); // before it is used the first time

#endif
