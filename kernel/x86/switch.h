// What changes hands when another thread of the application runs, but for the registers that the kernel's C code uses itself
// (context_switch, entry.S). Inline: this is part of every switch.
#ifndef KERNEL_X86_SWITCH_H
#define KERNEL_X86_SWITCH_H

#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/fpu.h"

// FPU and bases of FS and GS of an application thread that stops running.
static inline void context_save(struct thread *t) {
    if (!t->context.fpu)
        return;
    fpu_save(t->context.fpu);
    if (cpu_features.fsgsbase) { // otherwise only arch_set_*_base changes them, and keeps the copy
        t->context.fs_base = rdfsbase();
        t->context.gs_base = read_user_gs_base();
    }
}

// And of one that starts; also where the kernel's stack begins.
static inline void context_load(struct thread *t) {
    cpu_this()->kernel_stack = t->context.stack_top;
    if (!t->context.fpu)
        return;
    fpu_load(t->context.fpu);
    if (cpu_features.fsgsbase) {
        wrfsbase(t->context.fs_base);
        write_user_gs_base(t->context.gs_base);
    } else {
        wrmsr(MSR_FS_BASE, t->context.fs_base);
        wrmsr(MSR_KERNEL_GS_BASE, t->context.gs_base);
    }
}

#endif
