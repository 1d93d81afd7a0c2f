// Prints registers and the chain of stack frames. Usable in any state of the kernel: every pointer is checked to lie in a
// mapped stack before it is followed.
#include "kernel/x86/backtrace.h"
#include "kernel/ksyms.h"
#include "kernel/log.h"
#include "kernel/x86/context.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/pagetable.h"

#define DEPTH_MAX 24

extern const char text_start[], text_end[];

// Walks the table in use, which the direct map shows.
static bool mapped(uint64_t va) {
    pte_t e = read_cr3();
    for (unsigned level = 4; level >= 1; level--) {
        e = ((const pte_t *)phys_to_virt(pte_frame(e)))[level_index(va, level)];
        if (!(e & PTE_PRESENT))
            return false;
        if (level > 1 && (e & PTE_LARGE))
            break;
    }
    return true;
}

static bool on_a_stack(uint64_t p) {
    if (p % 8 != 0 || p < DIRECT_MAP_BASE || p > UINT64_MAX - 16)
        return false;
    return mapped(p) && mapped(p + 8);
}

static void print_place(uint64_t rip) {
    uint64_t offset = 0;
    const char *name = rip >= (uint64_t)text_start && rip < (uint64_t)text_end ? ksym_lookup(rip, &offset) : NULL;
    if (name)
        log_err("  %016lx %s+%#lx", rip, name, offset);
    else
        log_err("  %016lx", rip);
}

// A call's return address may lie behind the end of a function that ends in the call: the byte before it belongs to the call.
static void print_return(uint64_t address) { print_place(address - 1); }

void backtrace_print_caller(const struct trapframe *f) {
    if ((f->rip < (uint64_t)text_start || f->rip >= (uint64_t)text_end) && on_a_stack(f->rsp)) {
        log_err("  called from");
        print_return(*(const uint64_t *)f->rsp);
    }
}

void backtrace_print(uint64_t rip, uint64_t rbp) {
    print_place(rip);
    for (unsigned i = 0; i < DEPTH_MAX && on_a_stack(rbp); i++) {
        const uint64_t *frame = (const uint64_t *)rbp;
        if (frame[1] < (uint64_t)text_start || frame[1] >= (uint64_t)text_end)
            break;
        print_return(frame[1]);
        if (frame[0] <= rbp)
            break;
        rbp = frame[0];
    }
}

void backtrace_print_registers(const struct trapframe *f) {
    log_err("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", f->rax, f->rbx, f->rcx, f->rdx);
    log_err("  rsi %016lx  rdi %016lx  rbp %016lx  rsp %016lx", f->rsi, f->rdi, f->rbp, f->rsp);
    log_err("  r8  %016lx  r9  %016lx  r10 %016lx  r11 %016lx", f->r8, f->r9, f->r10, f->r11);
    log_err("  r12 %016lx  r13 %016lx  r14 %016lx  r15 %016lx", f->r12, f->r13, f->r14, f->r15);
    log_err("  rip %016lx  flags %lx  cs %lx  cr3 %lx  cpu %lu", f->rip, f->rflags, f->cs, read_cr3(), cpu_this()->id);
}
