// The application's floating point and vector registers, as XSAVE stores them (standard format; FXSAVE's on old CPUs).
// The kernel itself uses none of them, so they are loaded while an application thread is current, kernel code included.
#ifndef KERNEL_X86_FPU_H
#define KERNEL_X86_FPU_H

#include "kernel/types.h"
#include "kernel/x86/cpu.h"

extern uint32_t fpu_area_size; // bytes of a save area, 64-byte aligned; known after cpu_init
extern uint64_t fpu_features;  // XCR0: the components that are saved; 0 when there is no XSAVE

void fpu_init_cpu(void);             // CR4, XCR0: every CPU
void fpu_area_reset(void *area);     // the state that a new program finds
void fpu_load_initial(void);         // the state that a new program finds -> registers
// Signal frames: the registers to and from the application's memory, as struct _fpstate with its extension. The range has been
// checked. 0, or -EFAULT: the memory cannot be had, or the processor refuses what is there.
int fpu_save_frame(uaddr_t to);
int fpu_load_frame(uaddr_t from);
extern uint32_t fpu_frame_size;      // bytes of that
void fpu_clear_exceptions(void); // x87 ones that are pending, after they have been saved

// Registers -> area.
static inline void fpu_save(void *area) {
    if (cpu_features.xsaveopt)
        __asm__ volatile("xsaveopt64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else if (cpu_features.xsave)
        __asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

// Area -> registers; the area is the kernel's own work.
static inline void fpu_load(const void *area) {
    if (cpu_features.xsave)
        __asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(~0u), "d"(~0u) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

#endif
