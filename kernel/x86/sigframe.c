// Signal frames on the application's stack, exactly as Linux lays them out on x86-64, because handlers look into them and
// unwinders walk through them. From high to low addresses: the red zone, the FPU state with its trailing magic number, then
// struct rt_frame, so aligned that the handler finds its stack as after a call.
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/process/signal_mask.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/fpu.h"
#include "kernel/x86/useraccess.h"
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

// The words of struct sigcontext and where the frame of the kernel has them.
#define FOR_EACH_REGISTER(x)                                                                                            \
    x(r8) x(r9) x(r10) x(r11) x(r12) x(r13) x(r14) x(r15) x(rdi) x(rsi) x(rbp) x(rbx) x(rdx) x(rax) x(rcx) x(rsp) x(rip)

// Writes every word up to `info` and, when that is wanted, all of it: -EFAULT when the memory cannot be had.
static int write_frame(struct rt_frame *to, const struct thread *t, uaddr_t restorer, uaddr_t fpu, uint64_t old_mask, const siginfo_t *info)
{
    const struct trapframe *f = t->frame;
    struct sigcontext *c = &to->uc.uc_mcontext;
    uint32_t *stack_flags = (uint32_t *)&to->uc.uc_stack.ss_flags;
    uint64_t flags = (fpu_features ? UC_FP_XSTATE : 0) | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    user_access_begin();
    user_put(&to->restorer, restorer, fault);
    user_put(&to->uc.uc_flags, flags, fault);
    user_put(&to->uc.uc_link, 0UL, fault);
    user_put(&to->uc.uc_stack.ss_sp, t->alt_stack, fault);
    user_put(stack_flags, t->alt_stack_size ? t->alt_stack_flags : SS_DISABLE, fault); // as they were set, wherever it stands
    user_put(stack_flags + 1, 0U, fault);
    user_put(&to->uc.uc_stack.ss_size, t->alt_stack_size, fault);
#define PUT(name) user_put(&c->name, f->name, fault);
    FOR_EACH_REGISTER(PUT)
#undef PUT
    user_put(&c->eflags, f->rflags, fault);
    user_put(&c->cs, USER_CS | (uint64_t)USER_SS << 48, fault); // cs, gs, fs, ss
    user_put(&c->err, t->fault_error, fault);
    user_put(&c->trapno, t->fault_trap, fault);
    user_put(&c->oldmask, old_mask, fault);
    user_put(&c->cr2, t->fault_address, fault);
    user_put(&c->fpstate, fpu, fault);
    user_put_zeroes(c->reserved1, sizeof c->reserved1 / sizeof c->reserved1[0], fault);
    user_put(&to->uc.uc_sigmask, old_mask, fault);
    if (info) {
        const struct signal_info_words *from = (const struct signal_info_words *)info;
        uint64_t *words = (uint64_t *)&to->info;
#pragma GCC unroll 6
        for (unsigned i = 0; i < SIGNAL_INFO_SIZE / 8; i++)
            user_put(words + i, from->words[i], fault);
        user_put_zeroes(words + SIGNAL_INFO_SIZE / 8, (sizeof(siginfo_t) - SIGNAL_INFO_SIZE) / 8, fault);
    }
    user_access_end();
    return 0;
fault:
    user_access_end();
    return -EFAULT;
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

    if (fpu_save_frame(fpu) < 0 ||
        write_frame((struct rt_frame *)at, t, restorer, fpu, old_mask, a->flags & SA_SIGINFO ? info : NULL) < 0)
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

// In Linux' order: a frame that cannot be read leaves all as it is, a state of the FPU that is refused does not.
int sigframe_pop(void)
{
    struct thread *t = thread_current();
    struct trapframe *f = t->frame;
    uaddr_t sp = f->rsp, fpu, alt_sp;
    const struct rt_frame *from = (const struct rt_frame *)(sp - offsetof(struct rt_frame, uc));
    const struct sigcontext *c = &from->uc.uc_mcontext;
    uint64_t flags, mask, alt_size;
    uint32_t alt_flags;
    if (!user_range_ok(sp, sizeof(struct ucontext)))
        return -EFAULT;
    user_access_begin();
    user_get(flags, &from->uc.uc_flags, fault); // the first and the last word before the registers are changed
    user_get(mask, &from->uc.uc_sigmask, fault);
    user_get(alt_sp, &from->uc.uc_stack.ss_sp, fault);
    user_get(alt_flags, &from->uc.uc_stack.ss_flags, fault);
    user_get(alt_size, &from->uc.uc_stack.ss_size, fault);
    user_get(fpu, &c->fpstate, fault);
#define GET(name) user_get(f->name, &c->name, fault); // entry.S looks whether rip is in the lower half
    FOR_EACH_REGISTER(GET)
#undef GET
    user_get(flags, &c->eflags, fault);
    user_access_end();
    f->rflags = (f->rflags & ~RFLAGS_USER) | (flags & RFLAGS_USER);
    f->vector = 0; // no system call that could be made again
    signal_set_mask(mask);
    if (unlikely(!fpu))
        fpu_load_initial();
    else if (!user_range_ok(fpu, fpu_frame_size) || fpu_load_frame(fpu) < 0)
        return -EFAULT;
    if (unlikely(t->alt_stack_size) || alt_flags != SS_DISABLE) // what is wrong in it is ignored, as Linux does
        signal_set_alt_stack(&(stack_t){(void *)alt_sp, (int)alt_flags, alt_size}, f->rsp);
    return 0;
fault:
    user_access_end();
    return -EFAULT;
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
