// The report of a program's crash, in the log: what happened, the registers, where in its mappings, and the code there.
#include "kernel/memory/aspace.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/process/signal.h"
#include "kernel/x86/cpu.h"

static const char *signal_name(int sig)
{
    switch (sig) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGILL:
        return "SIGILL";
    case SIGFPE:
        return "SIGFPE";
    case SIGTRAP:
        return "SIGTRAP";
    case SIGSYS:
        return "SIGSYS";
    default:
        return "a signal";
    }
}

static const char *reason(int sig, int code, uint64_t error)
{
    if (sig == SIGSEGV && code > 0 && code != SI_KERNEL) {
        const char *access = error & 16 ? "execute" : error & 2 ? "write" : "read";
        if (code == SEGV_MAPERR)
            return access[0] == 'e' ? "jump to unmapped memory" : access[0] == 'w' ? "write to unmapped memory" : "read of unmapped memory";
        return access[0] == 'e' ? "jump to memory that is not executable"
                                : access[0] == 'w' ? "write to memory that is read-only" : "read of memory that is not readable";
    }
    if (sig == SIGSEGV)
        return "general protection (a non-canonical address, or a privileged instruction)";
    if (sig == SIGBUS)
        return "access beyond the end of a mapped file";
    if (sig == SIGILL)
        return "instruction that the processor does not know";
    if (sig == SIGFPE)
        return code == FPE_INTDIV ? "integer division by zero, or its overflow" : "floating point exception";
    return "trap";
}

static void print_vma(const struct vma *v, uint64_t address)
{
    char name[128] = "";
    if (v->backing && v->backing->ops->describe)
        v->backing->ops->describe(v->backing, name, sizeof name, NULL, NULL);
    else if (v->vm_flags & VMA_HEAP)
        snprintf(name, sizeof name, "[heap]");
    else if (v->vm_flags & VMA_STACK)
        snprintf(name, sizeof name, "[stack]");
    bool here = address >= v->start && address < v->end;
    log_err("  %c %012lx-%012lx %c%c%c %s%s%lx", here ? '>' : ' ', v->start, v->end, v->prot & PROT_READ ? 'r' : '-',
            v->prot & PROT_WRITE ? 'w' : '-', v->prot & PROT_EXEC ? 'x' : '-', name, here ? " +0x" : " from 0x",
            here ? address - v->start + v->offset : v->offset);
}

// The mapping at the address with its neighbours, or those around the hole.
static void print_mappings(struct aspace *as, const char *what, uint64_t address)
{
    log_err("%s %#lx:", what, address);
    rwmutex_read_lock(&as->lock);
    struct vma *at = vma_find(as, address), *before = NULL;
    for (struct vma *v = vma_find(as, 0); v && v != at; v = vma_next(v))
        before = v;
    if (before)
        print_vma(before, address);
    if (!at || address < at->start)
        log_err("  > nothing is mapped here");
    if (at) {
        print_vma(at, address);
        if (vma_next(at))
            print_vma(vma_next(at), address);
    }
    rwmutex_read_unlock(&as->lock);
}

static void print_code(struct aspace *as, uint64_t rip)
{
    uint8_t code[32];
    char text[3 * sizeof code + 8];
    size_t n = 0;
    uint64_t start = rip - 16;
    if (rip < 16 || aspace_access(as, start, code, sizeof code, false, true) != (long)sizeof code) {
        log_err("code: not readable");
        return;
    }
    for (unsigned i = 0; i < sizeof code; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, start + i == rip ? " <%02x>" : " %02x", code[i]);
    log_err("code:%s", text);
}

void signal_report_crash(int sig, const siginfo_t *info)
{
    struct thread *t = thread_current();
    struct process *p = t->process;
    const struct trapframe *f = t->frame;
    uint64_t address = info->si_code == SI_KERNEL ? f->rip : (uint64_t)info->si_addr;
    const char *why = reason(sig, info->si_code, t->fault_error);
    log_err("%s (process %d, thread %d): %s at %#lx: %s", t->name, p->pid, t->tid, signal_name(sig), address, why);
    log_err("rip %016lx  rsp %016lx  flags %08lx  trap %lu error %#lx", f->rip, f->rsp, f->rflags, t->fault_trap, t->fault_error);
    log_err("rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
    log_err("rsi %016lx  rdi %016lx  rbp %016lx  r8  %016lx", f->rsi, f->rdi, f->rbp, f->r8);
    log_err("r9  %016lx  r10 %016lx  r11 %016lx  r12 %016lx", f->r9, f->r10, f->r11, f->r12);
    log_err("r13 %016lx  r14 %016lx  r15 %016lx  fs  %016lx", f->r13, f->r14, f->r15, arch_get_fs_base());
    print_code(p->aspace, f->rip);
    print_mappings(p->aspace, "code at", f->rip);
    if (address != f->rip)
        print_mappings(p->aspace, "access to", address);
    if (p == init_process)
        machine_message("%s: killed by %s at %#lx: %s (rip %#lx)", t->name, signal_name(sig), address, why, f->rip);
}
