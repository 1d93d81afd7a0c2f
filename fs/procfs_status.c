// /proc/PID: how a process or a thread is doing: stat, status, limits, children, syscall.
#include "fs/procfs.h"
#include "fs/tty.h"
#include "kernel/log.h"
#include "kernel/irq.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/sched.h"
#include "kernel/time.h"

#define TICKS_PER_SEC 100 // USER_HZ: the unit of times in /proc
static uint64_t ticks(nsec_t ns) { return ns / (NSEC_PER_SEC / TICKS_PER_SEC); }

// What is the process table's, read under its lock.
struct family {
    int parent;
    unsigned long terminal;
    int foreground;
};

static struct family family_of(struct process *p) {
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    struct family f = {.parent = p->parent ? p->parent->pid : 0, .foreground = -1};
    if (p->tty) {
        f.terminal = (unsigned long)p->tty->rdev;
        f.foreground = READ_ONCE(p->tty->foreground);
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
    return f;
}

static void handler_sets(struct process *p, uint64_t *ignored, uint64_t *caught) {
    *ignored = *caught = 0;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    for (int i = 0; p->handlers && i < SIGNAL_COUNT; i++) {
        uaddr_t h = p->handlers->action[i].handler;
        *ignored |= h == (uaddr_t)SIG_IGN ? 1UL << i : 0;
        *caught |= h != (uaddr_t)SIG_IGN && h != (uaddr_t)SIG_DFL ? 1UL << i : 0;
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

static int show_stat_of(struct seqbuf *s, struct proc_ref *r, bool whole) {
    struct process *p = r->process;
    struct thread *t = r->thread;
    struct aspace *as = process_aspace_ref(p);
    const struct family f = family_of(p);
    nsec_t user = 0, system = 0;
    if (t && !whole)
        thread_times(t, &user, &system);
    else
        process_times(p, &user, &system);
    seq_printf(s, "%d (%s) %c %d %d %d %lu %d %u ", t && !whole ? t->tid : p->pid, t ? t->name : "",
               t && !whole ? thread_state_letter(t) : process_state(p), f.parent, p->pgid, p->sid, f.terminal,
               f.foreground, p->did_exec ? 0u : 0x40u);
    seq_printf(s, "%lu 0 %lu 0 %lu %lu %lu %lu 20 %d %u 0 %lu ", t ? (unsigned long)t->minor_faults : 0,
               t ? (unsigned long)t->major_faults : 0, (unsigned long)ticks(user), (unsigned long)ticks(system),
               (unsigned long)ticks(p->children_user_ns), (unsigned long)ticks(p->children_system_ns), t ? t->nice : 0,
               p->thread_count, (unsigned long)ticks(p->start_time));
    seq_printf(s, "%lu %lu %lu %lu %lu %lu 0 0 ", as ? as->mapped_pages * PAGE_SIZE : 0, as ? as->resident_pages : 0,
               (unsigned long)p->limits[RLIMIT_RSS].rlim_cur, as ? as->code_start : 0, as ? as->code_end : 0,
               as ? as->stack_top : 0);
    uint64_t ignored, caught;
    handler_sets(p, &ignored, &caught);
    seq_printf(s, "%lu %lu %lu %lu 0 0 0 %d %d 0 0 0 0 0 ", t ? (unsigned long)(t->pending.set & 0x7fffffff) : 0,
               t ? (unsigned long)(t->signal_mask & 0x7fffffff) : 0, (unsigned long)(ignored & 0x7fffffff),
               (unsigned long)(caught & 0x7fffffff), p->exit_signal, t ? t->cpu : 0);
    seq_printf(s, "%lu %lu %lu %lu %lu %lu %lu %u\n", as ? as->data_start : 0, as ? as->data_end : 0,
               as ? as->brk_start : 0, as ? as->arg_start : 0, as ? as->arg_end : 0, as ? as->env_start : 0,
               as ? as->env_end : 0, p->zombie ? p->exit_status : 0);
    if (as)
        aspace_unref(as);
    return 0;
}

int proc_show_stat(struct seqbuf *s, struct proc_ref *r) { return show_stat_of(s, r, true); }

int proc_show_task_stat(struct seqbuf *s, struct proc_ref *r) { return show_stat_of(s, r, false); }

static const char *state_name(char c) {
    switch (c) {
    case 'R': return "R (running)";
    case 'S': return "S (sleeping)";
    case 'D': return "D (disk sleep)";
    case 'T': return "T (stopped)";
    case 'Z': return "Z (zombie)";
    }
    return "X (dead)";
}

static void show_status_memory(struct seqbuf *s, struct aspace *as) {
    unsigned long kb = PAGE_SIZE / 1024;
    seq_printf(
        s, "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmPin:\t%8u kB\nVmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\n",
        as->mapped_pages * kb, as->mapped_pages * kb, as->locked_pages * kb, 0u,
        MAX(as->peak_resident, as->resident_pages) * kb, as->resident_pages * kb);
    seq_printf(
        s,
        "RssAnon:\t%8lu kB\nRssFile:\t%8u kB\nRssShmem:\t%8u kB\nVmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\n",
        as->resident_pages * kb, 0u, 0u, as->data_pages * kb, as->stack_pages * kb,
        DIV_ROUND_UP(as->code_end - as->code_start, 1024));
    seq_printf(s, "VmLib:\t%8u kB\nVmPTE:\t%8lu kB\nVmSwap:\t%8u kB\nHugetlbPages:\t%8u kB\n", 0u, as->table_pages * kb,
               0u, 0u);
}

int proc_show_status(struct seqbuf *s, struct proc_ref *r) {
    struct process *p = r->process;
    struct thread *t = r->thread;
    const struct credentials *c = &p->cred;
    char state = r->item->tid && t ? thread_state_letter(t) : process_state(p);
    seq_puts(s, "Name:\t");
    seq_escaped(s, t ? t->name : "", "\n\\");
    seq_printf(s, "\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
               process_umask(p), state_name(state), p->pid, r->item->tid ? r->item->tid : p->pid, family_of(p).parent);
    seq_printf(s, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c->uid, c->euid, c->suid, c->fsuid, c->gid, c->egid,
               c->sgid, c->fsgid);
    struct file_table *files = process_files_get(p);
    seq_printf(s, "FDSize:\t%u\nGroups:\t", files ? files->capacity : 0);
    if (files)
        file_table_unref(files);
    struct group_list *groups = process_groups(p);
    for (unsigned i = 0; groups && i < groups->count; i++)
        seq_printf(s, "%u ", groups->gid[i]);
    group_list_unref(groups);
    seq_printf(s, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", p->pid, r->item->tid ? r->item->tid : p->pid,
               p->pgid, p->sid);
    struct aspace *as = process_aspace_ref(p);
    bool huge = as && !as->no_huge;
    if (as) {
        show_status_memory(s, as);
        aspace_unref(as);
    }
    uint64_t ignored, caught;
    handler_sets(p, &ignored, &caught);
    seq_printf(s, "CoreDumping:\t0\nTHP_enabled:\t%d\nThreads:\t%u\nSigQ:\t%u/%lu\n", huge, p->thread_count,
               p->queued_signals, (unsigned long)p->limits[RLIMIT_SIGPENDING].rlim_cur);
    seq_printf(s, "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
               t ? t->pending.set : 0, p->pending.set, t ? t->signal_mask : 0, ignored, caught);
    seq_printf(s, "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\nCapAmb:\t%016lx\n",
               c->cap_inheritable, c->cap_permitted, c->cap_effective, c->cap_bounding, c->cap_ambient);
    cpu_wait_started();
    uint64_t allowed = t ? t->affinity & sched_online_cpus() : 1;
    seq_printf(s,
               "NoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\nSpeculation_Store_Bypass:\tnot vulnerable\n"
               "SpeculationIndirectBranch:\tnot affected\nCpus_allowed:\t%lx\nCpus_allowed_list:\t",
               c->no_new_privs, allowed);
    bool first = true;
    for (unsigned i = 0; i < 64; i++) {
        if (!(allowed >> i & 1))
            continue;
        unsigned last = i;
        while (last < 63 && (allowed >> (last + 1) & 1))
            last++;
        seq_printf(s, last > i ? "%s%u-%u" : "%s%u", first ? "" : ",", i, last);
        first = false;
        i = last;
    }
    seq_printf(
        s,
        "\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t%lu\nnonvoluntary_ctxt_switches:\t%lu\n",
        t ? t->voluntary_switches : 0, t ? t->involuntary_switches : 0);
    return 0;
}

int proc_show_limits(struct seqbuf *s, struct proc_ref *r) {
    static const struct {
        const char *name, *unit;
    } names[RLIM_NLIMITS] = {
        [RLIMIT_CPU] = {"Max cpu time", "seconds"},         [RLIMIT_FSIZE] = {"Max file size", "bytes"},
        [RLIMIT_DATA] = {"Max data size", "bytes"},         [RLIMIT_STACK] = {"Max stack size", "bytes"},
        [RLIMIT_CORE] = {"Max core file size", "bytes"},    [RLIMIT_RSS] = {"Max resident set", "bytes"},
        [RLIMIT_NPROC] = {"Max processes", "processes"},    [RLIMIT_NOFILE] = {"Max open files", "files"},
        [RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},  [RLIMIT_AS] = {"Max address space", "bytes"},
        [RLIMIT_LOCKS] = {"Max file locks", "locks"},       [RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
        [RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"}, [RLIMIT_NICE] = {"Max nice priority", ""},
        [RLIMIT_RTPRIO] = {"Max realtime priority", ""},    [RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
    };
    seq_printf(s, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (unsigned i = 0; i < RLIM_NLIMITS; i++) {
        char text[2][24];
        unsigned long values[2] = {r->process->limits[i].rlim_cur, r->process->limits[i].rlim_max};
        for (int k = 0; k < 2; k++) {
            if (values[k] == ~0UL)
                str_copy(text[k], "unlimited", sizeof(text[k]));
            else
                snprintf(text[k], sizeof(text[k]), "%lu", values[k]);
        }
        seq_printf(s, "%-25s %-20s %-20s %-10s\n", names[i].name, text[0], text[1], names[i].unit);
    }
    return 0;
}

// --- Children, and what a thread waits in ---

int proc_show_children(struct seqbuf *s, struct proc_ref *r) {
    struct process *c;
    int pids[64];
    unsigned n, done = 0;
    do { // the text may have to grow, which the lock does not allow
        unsigned i = 0;
        n = 0;
        uint64_t flags = spin_lock_irqsave(&process_table_lock);
        list_for_each (c, &r->process->children, sibling)
            if ((!r->item->tid || c->parent_tid == r->item->tid) && i++ >= done && n < 64)
                pids[n++] = c->pid;
        spin_unlock_irqrestore(&process_table_lock, flags);
        for (i = 0; i < n; i++)
            seq_printf(s, "%d ", pids[i]);
        done += n;
    } while (n == 64);
    return 0;
}

// The number of the system call that a thread is in, its arguments, stack and instruction pointer.
int proc_show_syscall(struct seqbuf *s, struct proc_ref *r) {
    const struct thread *t = r->thread;
    if (!t || t == thread_current() || READ_ONCE(t->state) == THREAD_RUNNING || READ_ONCE(t->state) == THREAD_READY) {
        seq_puts(s, "running\n");
        return 0;
    }
    const struct trapframe *f = t->frame;
    if (f->vector != ~0UL)
        seq_printf(s, "-1 %#lx %#lx\n", f->rsp, f->rip);
    else
        seq_printf(s, "%ld %#lx %#lx %#lx %#lx %#lx %#lx %#lx %#lx\n", (long)f->error_code, f->rdi, f->rsi, f->rdx,
                   f->r10, f->r8, f->r9, f->rsp, f->rip);
    return 0;
}
