// The machine's part of threads: kernel stacks, first frames, and what changes hands when another thread runs.
// The switch itself is entry.S's.
#include "kernel/x86/context.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/entry.h"
#include "kernel/x86/fpu.h"
#include "kernel/x86/pagetable.h"
#include "kernel/x86/vectors.h"

extern const char thread_begin_kernel[], thread_begin_user[];

// What context_switch pops.
struct switch_frame {
    uint64_t r15, r14, r13, r12, rbx, rbp, rip;
};

static struct slab_cache fpu_cache = SLAB_CACHE("fpu", 0, 64); // the size is known at the first use

static struct trapframe *top_frame(const struct thread *t) {
    return (struct trapframe *)(t->stack + KERNEL_STACK_SIZE) - 1;
}

static int fpu_alloc(struct thread *t) {
    if (fpu_cache.size == 0)
        fpu_cache.size = ALIGN_UP(fpu_area_size, 64);
    t->context.fpu = slab_alloc(&fpu_cache);
    return t->context.fpu ? 0 : -ENOMEM;
}

// Leaves the stack as if the thread had called context_switch in front of its first instruction.
static void push_switch_frame(struct thread *t, void *below, const struct switch_frame *frame) {
    struct switch_frame *f = (struct switch_frame *)below - 1;
    *f = *frame;
    t->context.sp = (uint64_t)f;
    t->context.stack_top = (uint64_t)(t->stack + KERNEL_STACK_SIZE);
}

int context_init_user(struct thread *t) {
    int err = fpu_alloc(t);
    if (err)
        return err;
    fpu_area_reset(t->context.fpu);
    t->frame = top_frame(t);
    *t->frame =
        (struct trapframe){.cs = USER_CS, .ss = USER_SS, .rflags = RFLAGS_IF | 2, .vector = ~0UL, .error_code = ~0UL};
    push_switch_frame(t, t->frame, &(struct switch_frame){.rip = (uint64_t)thread_begin_user});
    return 0;
}

void context_begin_in_kernel(struct thread *t, void (*fn)(void *), void *arg) {
    push_switch_frame(
        t, t->frame,
        &(struct switch_frame){.rip = (uint64_t)thread_begin_kernel, .rbx = (uint64_t)fn, .r12 = (uint64_t)arg});
}

int context_init_kernel(struct thread *t, void (*fn)(void *), void *arg) {
    t->context.fpu = NULL;
    t->frame = NULL;
    push_switch_frame(
        t, t->stack + KERNEL_STACK_SIZE,
        &(struct switch_frame){.rip = (uint64_t)thread_begin_kernel, .rbx = (uint64_t)fn, .r12 = (uint64_t)arg});
    return 0;
}

void context_release(struct thread *t) {
    if (t->context.fpu)
        slab_free(&fpu_cache, t->context.fpu);
    t->context.fpu = NULL;
}

int context_copy_fpu(struct thread *child, struct thread *parent) {
    if (parent == thread_current())
        fpu_save(parent->context.fpu);
    memcpy(child->context.fpu, parent->context.fpu, fpu_area_size);
    return 0;
}

void context_reset_fpu(struct thread *t) {
    if (!t->context.fpu)
        return;
    fpu_area_reset(t->context.fpu);
    if (t == thread_current())
        fpu_load(t->context.fpu);
}

int arch_kernel_stack_alloc(struct thread *t) {
    t->stack = kernel_stack_alloc();
    return t->stack ? 0 : -ENOMEM;
}

void arch_kernel_stack_free(uint8_t *stack) { kernel_stack_free(stack); }
