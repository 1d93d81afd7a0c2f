// The machine's part of a thread, and the registers of an interrupted program. The entry code (entry.S) knows the offsets.
#ifndef KERNEL_X86_CONTEXT_H
#define KERNEL_X86_CONTEXT_H

#include "kernel/types.h"

struct thread;

// As entry.S pushes it. After a fast system call entry the callee-saved registers (r15 to rbx) are NOT filled in until
// entry.S has taken the slow path: system calls that need the whole frame are marked so in syscall/table.h.
struct trapframe {
    uint64_t r15, r14, r13, r12, rbp, rbx; // callee-saved
    uint64_t r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
    uint64_t vector;     // or ~0 for a system call
    uint64_t error_code; // of the exception, or the system call's number (orig_rax)
    uint64_t rip, cs, rflags, rsp, ss; // as the CPU pushes them
};
_Static_assert(sizeof(struct trapframe) == 22 * 8, "entry.S");

struct thread_context {
    uint64_t sp;           // kernel stack pointer while it does not run
    uint64_t stack_top;    // of the kernel stack
    uint64_t fs_base, gs_base;
    void *fpu;             // XSAVE area; NULL for kernel threads
};

// What a CPU has others do for it: cpu_call().
struct cpu_call {
    void (*fn)(void *);
    void *arg;
    uint64_t pending;  // CPUs that have not finished
    uint32_t sleeping; // the caller has halted until they have
};

// Per-CPU data, reached through the GS segment. The first fields are the entry code's.
struct cpu {
    struct cpu *self;             // 0
    struct thread *current;       // 8
    uint64_t kernel_stack;        // 16: top of the current thread's stack, for system call entry
    uint64_t user_rsp;            // 24: scratch of the entry code
    uint64_t id;                  // 32: 0, 1, 2, ...
    uint64_t stack_canary;        // 40: gcc's stack protector reads %gs:40
    uint32_t apic_id;
    uint32_t irq_depth;           // >0 in interrupt context
    bool irq_user;                // the last interrupt hit the application
    uint64_t irq_count;           // interrupts taken
    struct aspace *aspace;        // loaded now
    struct thread *idle;
    struct thread *dead;          // exited thread whose stack is to be freed by the next one
    void *arch;                   // GDT, TSS, IST stacks: kernel/x86/cpu.c
    void *page_cache;             // kernel/memory/page.c: single free pages
    struct deferred *deferred;    // kernel/threads/deferred.c: work that is left to do, newest first
    bool deferred_running;
    struct cpu_call call;
    bool kicks_held;              // cpu_kick_hold
    uint64_t kicks;               // a bit for each CPU that is to be kicked then
} ALIGNED(64);

#define MAX_CPUS 64
extern struct cpu *cpus[MAX_CPUS]; // by id; NULL: not started
extern unsigned cpu_count;         // CPUs that run

#ifdef KNARR_UNIT_TEST // unit tests on the host provide these
struct cpu *cpu_this(void);
struct thread *thread_current(void);
#else
static inline struct cpu *cpu_this(void) {
    struct cpu *c;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(c));
    return c;
}
// Not volatile: the current thread does not change under a function's feet, even across a switch it is itself again.
static inline __attribute__((const)) struct thread *thread_current(void) {
    struct thread *t;
    __asm__("movq %%gs:8, %0" : "=r"(t));
    return t;
}
#endif

// Saves the current thread's registers and continues `next`; called by the scheduler with interrupts off. Returns when
// somebody switches back. FPU, FS/GS base and the address space are switched by the caller through context_switch_in/out.
void context_switch(struct thread_context *prev, struct thread_context *next);
int context_init_user(struct thread *t);   // FPU area, frame at the stack's top; starts in the application through t->frame
// A user thread that is not yet started begins in the kernel with fn(arg), which ends with context_enter_user.
void context_begin_in_kernel(struct thread *t, void (*fn)(void *), void *arg);
int context_init_kernel(struct thread *t, void (*fn)(void *), void *arg);
// context_save, context_load: kernel/x86/switch.h
void context_release(struct thread *t);
int context_copy_fpu(struct thread *child, struct thread *parent); // clone, fork
void context_reset_fpu(struct thread *t);  // exec: the state a new program finds
// A new thread's first steps call sched_first_run() (kernel/threads/sched.c): what a switch leaves to be done by whom it switched to.
void sched_first_run(void);
// Into the application with the registers of the frame (exec, first start of a thread).
void context_enter_user(struct trapframe *frame) NORETURN;
int arch_kernel_stack_alloc(struct thread *t); // t->stack with a guard page below; 0 or -ENOMEM
void arch_kernel_stack_free(uint8_t *stack);
#define KERNEL_STACK_SIZE 16384

#endif
