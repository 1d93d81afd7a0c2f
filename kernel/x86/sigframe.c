// Signal frames on the application's stack, exactly as Linux lays them out on x86-64, because handlers look into them and
// unwinders walk through them. From high to low addresses: the red zone, the FPU state with its trailing magic number, then
// struct rt_frame, so aligned that the handler finds its stack as after a call.
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/process/signal.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/fpu.h"
#include "kernel/x86/vectors.h"
#include <asm/sigcontext.h>
#include <asm/ucontext.h>
#include <linux/signal.h> // SS_*

#define RED_ZONE 128

struct rt_frame {
    uint64_t restorer; // the handler's return address
    struct ucontext uc;
    siginfo_t info;
};
_Static_assert(sizeof(struct ucontext) == 304 && offsetof(struct ucontext, uc_mcontext) == 40 &&
               offsetof(struct rt_frame, info) == 312 && sizeof(struct rt_frame) == 440, "as Linux's rt_sigframe");

static bool on_alt_stack(const struct thread *t, uaddr_t sp)
{
    return sp - t->alt_stack - 1 < t->alt_stack_size; // the top belongs to it, the bottom does not
}

static int alt_stack_flags(const struct thread *t, uaddr_t sp)
{
    if (!t->alt_stack_size)
        return SS_DISABLE;
    if (t->alt_stack_flags & SS_AUTODISARM)
        return 0;
    return on_alt_stack(t, sp) ? SS_ONSTACK : 0;
}

// --- The frame ---

static void fill_context(struct sigcontext *c, const struct trapframe *f, const struct thread *t, uint64_t old_mask)
{
    c->r8 = f->r8, c->r9 = f->r9, c->r10 = f->r10, c->r11 = f->r11;
    c->r12 = f->r12, c->r13 = f->r13, c->r14 = f->r14, c->r15 = f->r15;
    c->rdi = f->rdi, c->rsi = f->rsi, c->rbp = f->rbp, c->rbx = f->rbx;
    c->rdx = f->rdx, c->rax = f->rax, c->rcx = f->rcx, c->rsp = f->rsp;
    c->rip = f->rip, c->eflags = f->rflags;
    c->cs = USER_CS, c->gs = c->fs = 0, c->ss = USER_SS;
    c->err = t->fault_error, c->trapno = t->fault_trap, c->cr2 = t->fault_address;
    c->oldmask = old_mask;
    for (unsigned i = 0; i < sizeof c->reserved1 / sizeof c->reserved1[0]; i++)
        c->reserved1[i] = 0;
}

int sigframe_push(int sig, const struct signal_action *a, const siginfo_t *info, uint64_t old_mask)
{
    struct thread *t = thread_current();
    struct trapframe *f = t->frame;
    uaddr_t restorer = a->flags & SA_RESTORER ? a->restorer : signal_restorer_hook ? signal_restorer_hook(t->process) : 0;
    if (!restorer)
        return -EFAULT;

    uaddr_t sp = f->rsp - RED_ZONE;
    bool was_on = alt_stack_flags(t, f->rsp) == SS_ONSTACK, entering = false;
    if ((a->flags & SA_ONSTACK) && alt_stack_flags(t, sp) == 0) {
        entering = true;
        sp = t->alt_stack + t->alt_stack_size;
    }
    uaddr_t fpu = ALIGN_DOWN(sp - fpu_frame_size, 64);
    uaddr_t at = ALIGN_DOWN(fpu - sizeof(struct rt_frame), 16) - 8;
    // An alternate stack that overflows must not be written below; one that is left on purpose may be.
    if ((entering || (was_on && on_alt_stack(t, sp))) && !on_alt_stack(t, at))
        return -EFAULT;
    if (at > sp || !user_range_ok(at, sp - at))
        return -EFAULT;

    struct rt_frame frame; // every byte is set that is copied
    frame.restorer = restorer;
    frame.uc.uc_flags = (fpu_features ? UC_FP_XSTATE : 0) | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    frame.uc.uc_link = NULL;
    frame.uc.uc_stack = (stack_t){.ss_sp = (void *)t->alt_stack, .ss_size = t->alt_stack_size};
    frame.uc.uc_stack.ss_flags = t->alt_stack_size ? (int)t->alt_stack_flags : SS_DISABLE; // as they were set, wherever it stands
    fill_context(&frame.uc.uc_mcontext, f, t, old_mask);
    frame.uc.uc_mcontext.fpstate = (void *)fpu;
    frame.uc.uc_sigmask = old_mask;
    bool wants_info = a->flags & SA_SIGINFO;
    if (wants_info)
        frame.info = *info;
    if (fpu_save_frame(fpu) < 0 || copy_out(at, &frame, wants_info ? sizeof frame : offsetof(struct rt_frame, info)) < 0)
        return -EFAULT;
    if (t->alt_stack_flags & SS_AUTODISARM) {
        t->alt_stack = t->alt_stack_size = 0;
        t->alt_stack_flags = 0;
    }
    fpu_load_initial();
    f->rsp = at;
    f->rip = a->handler;
    f->rdi = (uint64_t)sig;
    f->rsi = at + offsetof(struct rt_frame, info);
    f->rdx = at + offsetof(struct rt_frame, uc);
    f->rax = 0;
    f->rflags &= ~(RFLAGS_DF | RFLAGS_RF | RFLAGS_TF);
    return 0;
}

static void take_context(struct trapframe *f, const struct sigcontext *c)
{
    f->r8 = c->r8, f->r9 = c->r9, f->r10 = c->r10, f->r11 = c->r11;
    f->r12 = c->r12, f->r13 = c->r13, f->r14 = c->r14, f->r15 = c->r15;
    f->rdi = c->rdi, f->rsi = c->rsi, f->rbp = c->rbp, f->rbx = c->rbx;
    f->rdx = c->rdx, f->rax = c->rax, f->rcx = c->rcx, f->rsp = c->rsp;
    f->rip = c->rip; // entry.S looks whether it is in the lower half
    f->rflags = (f->rflags & ~RFLAGS_USER) | (c->eflags & RFLAGS_USER);
    f->vector = 0;   // no system call that could be made again
}

int sigframe_pop(void)
{
    struct thread *t = thread_current();
    struct trapframe *f = t->frame;
    struct rt_frame frame;
    uaddr_t at = f->rsp - offsetof(struct rt_frame, uc);
    if (copy_in(&frame.uc, at + offsetof(struct rt_frame, uc), sizeof frame.uc) < 0)
        return -EFAULT;
    uaddr_t fpu = (uaddr_t)frame.uc.uc_mcontext.fpstate;
    if (!fpu)
        fpu_load_initial();
    else if (!user_range_ok(fpu, fpu_frame_size) || fpu_load_frame(fpu) < 0)
        return -EFAULT;
    take_context(f, &frame.uc.uc_mcontext);
    signal_set_mask(frame.uc.uc_sigmask);
    signal_set_alt_stack(&frame.uc.uc_stack, f->rsp); // what is wrong in it is ignored, as Linux does
    return 0;
}

// sigaltstack(2), without the copying.
int signal_set_alt_stack(const stack_t *ss, uaddr_t sp)
{
    struct thread *t = thread_current();
    unsigned mode = (unsigned)ss->ss_flags & ~SS_AUTODISARM;
    if (alt_stack_flags(t, sp) == SS_ONSTACK)
        return -EPERM;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
        return -EINVAL;
    if (mode == SS_DISABLE) {
        t->alt_stack = t->alt_stack_size = 0;
        t->alt_stack_flags = 0;
        return 0;
    }
    if (ss->ss_size < MINSIGSTKSZ)
        return -ENOMEM;
    t->alt_stack = (uaddr_t)ss->ss_sp;
    t->alt_stack_size = ss->ss_size;
    t->alt_stack_flags = (unsigned)ss->ss_flags;
    return 0;
}

void signal_get_alt_stack(stack_t *ss, uaddr_t sp)
{
    struct thread *t = thread_current();
    *ss = (stack_t){.ss_sp = (void *)t->alt_stack, .ss_size = t->alt_stack_size};
    ss->ss_flags = alt_stack_flags(t, sp) | (int)(t->alt_stack_flags & SS_AUTODISARM);
}
