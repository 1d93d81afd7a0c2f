// Exceptions: the application's become signals or are resolved (page faults); the kernel's own on user addresses continue
// at their fixup; all others are a panic with registers and backtrace.
#include "kernel/memory/aspace.h"
#include "kernel/memory/reclaim.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/threads/rseq.h"
#include "kernel/process/signal.h"
#include "kernel/threads/deferred.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/backtrace.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/entry.h"
#include "kernel/x86/fpu.h"
#include "kernel/x86/pagetable.h"
#include "kernel/x86/smp.h"
#include "kernel/x86/vectors.h"
#include "syscall/syscall.h"

// What entry.S knows.
_Static_assert(offsetof(struct trapframe, rbx) == FRAME_RBX && offsetof(struct trapframe, r11) == FRAME_R11 &&
                   offsetof(struct trapframe, rax) == FRAME_RAX && offsetof(struct trapframe, rdi) == FRAME_RDI &&
                   offsetof(struct trapframe, vector) == FRAME_VECTOR && offsetof(struct trapframe, rip) == FRAME_RIP &&
                   offsetof(struct trapframe, rsp) == FRAME_RSP && sizeof(struct trapframe) == FRAME_SIZE,
               "entry.S");
_Static_assert(offsetof(struct cpu, current) == CPU_CURRENT && offsetof(struct cpu, kernel_stack) == CPU_KERNEL_STACK &&
                   offsetof(struct cpu, user_rsp) == CPU_USER_RSP && offsetof(struct cpu, stack_canary) == CPU_CANARY,
               "entry.S");
_Static_assert(offsetof(struct thread, work) == THREAD_WORK && offsetof(struct thread, context.sp) == 0, "entry.S");
_Static_assert(WORK_ENTRY == 4 && SYSCALL_MAX == 462 && sizeof(struct syscall_entry) == 24 &&
                   offsetof(struct syscall_entry, fn) == 8,
               "entry.S");

#define PF_PRESENT 1
#define PF_WRITE 2
#define PF_FETCH 16

extern const struct ex_entry ex_table_start[], ex_table_end[];

static const char *const exception_names[32] = {
    "divide error",
    "debug",
    "NMI",
    "breakpoint",
    "overflow",
    "bound range",
    "invalid opcode",
    "device not available",
    "double fault",
    "coprocessor overrun",
    "invalid TSS",
    "segment not present",
    "stack fault",
    "general protection",
    "page fault",
    "reserved",
    "x87 error",
    "alignment check",
    "machine check",
    "SIMD error",
    "virtualization",
    "control protection",
};

uint64_t ex_table_find(uint64_t rip) {
    for (const struct ex_entry *e = ex_table_start; e < ex_table_end; e++)
        if (e->rip == rip)
            return e->fixup;
    return 0;
}

static NORETURN void die(const struct trapframe *f, const char *what) {
    irq_disable();
    cpu_stop_others();
    log_break_lock();
    const char *name = f->vector < 32 && exception_names[f->vector] ? exception_names[f->vector] : "interrupt";
    log_err("%s: %s (vector %lu, error code %#lx) at address %#lx", what, name, f->vector, f->error_code, read_cr2());
    backtrace_print_registers(f);
    backtrace_print_caller(f);
    panic_at(f->rip, f->rbp, "%s in the kernel (%s)", what, name);
}

static enum fault_access fault_access(const struct trapframe *f) {
    if (unlikely(f->error_code & PF_FETCH))
        return FAULT_EXEC;
    return f->error_code & PF_WRITE ? FAULT_WRITE : FAULT_READ;
}

// The application's. A hot path: no more than the question to the address space. (The compiler would guard `code` on the
// stack with the canary, which costs as much as all the rest.)
__attribute__((no_stack_protector)) void trap_page_fault(struct trapframe *f) {
    uint64_t addr = read_cr2();
    irq_enable();
    int code = SEGV_MAPERR, sig = SIGSEGV;
    if (likely(addr < USER_END)) {
        sig = aspace_fault(thread_current()->process->aspace, addr, fault_access(f), f->rsp, &code);
        if (likely(sig == 0))
            return;
    }
    if (sig > 0) // the kernel's addresses look protected, whether something is mapped there or not
        signal_fault(sig, code, addr, VECTOR_PF, f->error_code | (addr >= USER_END ? PF_PRESENT : 0));
    // else no memory: the program is being killed and does not come back here
}

// The kernel's: in the middle of a user copy, or a bug.
static void page_fault_kernel(struct trapframe *f) {
    uint64_t addr = read_cr2();
    struct thread *t = thread_current();
    if (kernel_stack_guard(addr))
        die(f, "kernel stack overflow");
    uint64_t fixup = addr < USER_END ? ex_table_find(f->rip) : 0;
    if (fixup == 0)
        die(f, addr < PAGE_SIZE ? "null pointer" : "bad address");
    int code, failed = -EFAULT;
    if (!(f->rflags & RFLAGS_IF)) { // a bug, but not one to die of
        log_once(LOG_ERR, "user memory accessed with interrupts off at %#lx", f->rip);
    } else if (t->process->aspace && !t->no_faults) {
        irq_enable();
        failed = aspace_fault(t->process->aspace, addr, fault_access(f), t->frame->rsp, &code);
        irq_disable();
    }
    if (failed)
        f->rip = fixup;
}

static int fpe_code(uint32_t flags) {
    if (flags & 1)
        return FPE_FLTINV;
    if (flags & 4)
        return FPE_FLTDIV;
    if (flags & 8)
        return FPE_FLTOVF;
    if (flags & 0x12)
        return FPE_FLTUND; // underflow, denormal
    if (flags & 0x20)
        return FPE_FLTRES;
    return FPE_FLTUNK;
}

static void float_fault(struct trapframe *f) {
    const struct thread *t = thread_current();
    uint32_t flags;
    fpu_save(t->context.fpu);
    if (f->vector == VECTOR_MF) {
        uint16_t control = *(uint16_t *)t->context.fpu, status = ((uint16_t *)t->context.fpu)[1];
        flags = status & ~control & 0x3f;
        fpu_clear_exceptions();
    } else {
        uint32_t mxcsr = *(uint32_t *)((char *)t->context.fpu + 24);
        flags = mxcsr & ~(mxcsr >> 7) & 0x3f;
    }
    signal_fault(SIGFPE, fpe_code(flags), f->rip, (int)f->vector, 0);
}

// What the application gets for its exceptions, as from Linux. None: SIGSEGV, as for #GP.
static const struct {
    uint8_t sig;
    bool has_address; // si_addr is RIP
    int code;
} exception_signals[32] = {
    [VECTOR_DE] = {SIGFPE, true, FPE_INTDIV},  [VECTOR_DB] = {SIGTRAP, true, TRAP_TRACE},
    [VECTOR_BP] = {SIGTRAP, false, SI_KERNEL}, [VECTOR_UD] = {SIGILL, true, ILL_ILLOPN},
    [VECTOR_TS] = {SIGSEGV, false, SI_KERNEL}, [VECTOR_NP] = {SIGBUS, false, SI_KERNEL},
    [VECTOR_SS] = {SIGBUS, false, SI_KERNEL},  [VECTOR_AC] = {SIGBUS, false, BUS_ADRALN},
};

static void user_exception(struct trapframe *f) {
    unsigned v = (unsigned)f->vector;
    irq_enable();
    if (v == VECTOR_MF || v == VECTOR_XM)
        float_fault(f);
    else if (exception_signals[v].sig)
        signal_fault(exception_signals[v].sig, exception_signals[v].code, exception_signals[v].has_address ? f->rip : 0,
                     (int)v, f->error_code);
    else
        signal_fault(SIGSEGV, SI_KERNEL, 0, (int)v, f->error_code);
    irq_disable();
}

void trap_from_user(struct trapframe *f) {
    if (f->vector >= 32)
        irq_dispatch((unsigned)f->vector, true);
    else
        user_exception(f);
}

void trap_from_kernel(struct trapframe *f) {
    if (f->vector >= 32) {
        irq_dispatch((unsigned)f->vector, false);
        return;
    }
    if (f->vector == VECTOR_PF) {
        page_fault_kernel(f);
        return;
    }
    uint64_t fixup = f->vector == VECTOR_GP ? ex_table_find(f->rip) : 0; // a non-canonical user address
    if (fixup == 0)
        die(f, "exception");
    f->rip = fixup;
}

void trap_paranoid(struct trapframe *f) {
    if (f->vector == VECTOR_NMI) {
        if (cpu_is_stopping())
            cpu_halt_forever();
        return; // from outside, for whatever reason; even the log's lock may be ours at this moment
    }
    if (f->vector == VECTOR_DF || f->vector == VECTOR_PF)
        die(f, "kernel stack overflow");
    die(f, "machine check");
}

static inline __attribute__((always_inline)) void exit_work(uint32_t work) {
    if (work & WORK_RESCHED)
        sched_exit_to_user();
    if (work & WORK_RSEQ)
        rseq_return_to_user();
    if (work & WORK_RECLAIM)
        reclaim_on_exit();
    if (work & ~(uint32_t)(WORK_RESCHED | WORK_RSEQ | WORK_RECLAIM | WORK_DEFERRED))
        signal_deliver();
}

// With deferred work among it, which may have to be left for the next time. Apart, so that signals pay nothing for it.
static __attribute__((noinline, cold)) void exit_with_deferred(void) {
    uint32_t ignored = WORK_TRACE, work;
    while ((work = READ_ONCE(thread_current()->work) & ~ignored)) {
        irq_enable();
        if (work & WORK_DEFERRED)
            ignored = deferred_run() ? WORK_TRACE : WORK_TRACE | WORK_DEFERRED;
        exit_work(work);
        irq_disable();
    }
}

void exit_to_user(struct trapframe *f) {
    (void)f;
    uint32_t work;
    while ((work = READ_ONCE(thread_current()->work) & ~(uint32_t)WORK_TRACE)) {
        if (unlikely(work & WORK_DEFERRED)) {
            exit_with_deferred();
            break;
        }
        irq_enable();
        exit_work(work);
        irq_disable();
    }
    CHECKED(check_no_locks("on the way to the application");)
}

void exit_bad_rip(struct trapframe *f) {
    irq_enable();
    signal_fault(SIGSEGV, SI_KERNEL, 0, VECTOR_GP, 0);
    signal_deliver();
    (void)f;
}
