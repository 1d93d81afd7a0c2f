// /proc/PID and /proc/PID/task/TID.
#include "fs/procfs.h"
#include "fs/tty.h"
#include "kernel/process/core.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/threads/sched.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include <linux/auxvec.h>

#define TICKS_PER_SEC 100 // USER_HZ: the unit of times in /proc
static uint64_t ticks(nsec_t ns) { return ns / (NSEC_PER_SEC / TICKS_PER_SEC); }

// --- Memory ---

static bool emit_map(void *ctx, const struct vma_info *v) {
    struct seqbuf *s = ctx;
    size_t start = s->len;
    seq_printf(s, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", v->start, v->end, v->prot & PROT_READ ? 'r' : '-',
               v->prot & PROT_WRITE ? 'w' : '-', v->prot & PROT_EXEC ? 'x' : '-', v->flags & MAP_SHARED ? 's' : 'p',
               v->offset, DEV_MAJOR(v->dev), DEV_MINOR(v->dev), v->ino);
    if (v->name[0]) {
        while (s->len - start < 73 && !s->failed)
            seq_write(s, " ", 1);
        seq_escaped(s, v->name, "\n");
    }
    seq_write(s, "\n", 1);
    return !s->failed;
}

static int show_maps(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    if (as) {
        aspace_each(as, emit_map, s);
        aspace_unref(as);
    }
    return 0;
}

struct smaps {
    struct seqbuf *s;
    struct aspace *as;
};

static bool emit_smap(void *ctx, const struct vma_info *v) {
    struct smaps *m = ctx;
    struct aspace_usage u;
    emit_map(m->s, v);
    aspace_usage(m->as, v->start, v->end, &u);
    unsigned long kb = PAGE_SIZE / 1024, resident = u.resident * kb, shared = u.shared * kb;
    seq_printf(m->s,
               "Size:           %8lu kB\nKernelPageSize: %8u kB\nMMUPageSize:    %8u kB\nRss:            %8lu kB\n"
               "Pss:            %8lu kB\nShared_Clean:   %8lu kB\nShared_Dirty:   %8lu kB\nPrivate_Clean:  %8lu kB\n"
               "Private_Dirty:  %8lu kB\nReferenced:     %8lu kB\nAnonymous:      %8lu kB\nAnonHugePages:  %8lu kB\n",
               (v->end - v->start) / 1024, 4, 4, resident, resident, shared, 0ul, 0ul, resident - shared, resident,
               u.anonymous * kb, u.huge * kb);
    seq_printf(m->s, "Swap:           %8u kB\nLocked:         %8u kB\n", 0, 0);
    return !m->s->failed;
}

static int show_smaps(struct seqbuf *s, struct proc_ref *r) {
    struct smaps m = {s, process_aspace_ref(r->process)};
    if (m.as) {
        aspace_each(m.as, emit_smap, &m);
        aspace_unref(m.as);
    }
    return 0;
}

static int copy_from_program(struct seqbuf *s, struct process *p, bool environment) {
    struct aspace *as = process_aspace_ref(p);
    if (!as)
        return 0;
    uaddr_t at = environment ? as->env_start : as->arg_start, end = environment ? as->env_end : as->arg_end;
    while (at < end) {
        size_t n = MIN(end - at, PAGE_SIZE);
        char *to = seq_reserve(s, n);
        long got = to ? aspace_access(as, at, to, n, false, true) : -ENOMEM;
        if (got <= 0)
            break;
        s->len += got;
        at += got;
    }
    aspace_unref(as);
    return 0;
}

static int show_cmdline(struct seqbuf *s, struct proc_ref *r) { return copy_from_program(s, r->process, false); }

static int show_environ(struct seqbuf *s, struct proc_ref *r) { return copy_from_program(s, r->process, true); }

static int show_auxv(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    if (as) {
        seq_write(s, as->auxv, as->auxv_words * sizeof(as->auxv[0]));
        aspace_unref(as);
    }
    return 0;
}

static int show_statm(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    unsigned long text = 0;
    if (!as) {
        seq_puts(s, "0 0 0 0 0 0 0\n");
        return 0;
    }
    text = DIV_ROUND_UP(as->code_end - as->code_start, PAGE_SIZE);
    seq_printf(s, "%lu %lu 0 %lu 0 %lu 0\n", as->mapped_pages, as->resident_pages, text,
               as->data_pages + as->stack_pages);
    aspace_unref(as);
    return 0;
}

// --- stat, status ---

static int parent_of(struct process *p) { return p->parent ? p->parent->pid : 0; }

static int show_stat_of(struct seqbuf *s, struct proc_ref *r, bool whole) {
    struct process *p = r->process;
    struct thread *t = r->thread;
    struct aspace *as = process_aspace_ref(p);
    nsec_t user = 0, system = 0;
    if (t && !whole)
        thread_times(t, &user, &system);
    else
        process_times(p, &user, &system);
    seq_printf(s, "%d (%s) %c %d %d %d %lu %d %u ", t && !whole ? t->tid : p->pid, t ? t->name : "",
               t && !whole ? thread_state_letter(t) : process_state(p), parent_of(p), p->pgid, p->sid,
               p->tty ? (unsigned long)p->tty->rdev : 0ul, p->tty ? tty_foreground_group(p->tty) : -1,
               p->did_exec ? 0u : 0x40u);
    seq_printf(s, "%lu 0 %lu 0 %lu %lu %lu %lu 20 %d %u 0 %lu ", t ? (unsigned long)t->minor_faults : 0,
               t ? (unsigned long)t->major_faults : 0, (unsigned long)ticks(user), (unsigned long)ticks(system),
               (unsigned long)ticks(p->children_user_ns), (unsigned long)ticks(p->children_system_ns), t ? t->nice : 0,
               p->thread_count, (unsigned long)ticks(p->start_time));
    seq_printf(s, "%lu %lu %lu %lu %lu %lu 0 0 ", as ? as->mapped_pages * PAGE_SIZE : 0, as ? as->resident_pages : 0,
               (unsigned long)p->limits[RLIMIT_RSS].rlim_cur, as ? as->code_start : 0, as ? as->code_end : 0,
               as ? as->stack_top : 0);
    uint64_t ignored = 0, caught = 0;
    if (p->handlers) {
        for (int i = 0; i < SIGNAL_COUNT; i++) {
            uaddr_t h = p->handlers->action[i].handler;
            if (h == (uaddr_t)SIG_IGN)
                ignored |= 1UL << i;
            else if (h != (uaddr_t)SIG_DFL)
                caught |= 1UL << i;
        }
    }
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

static int show_stat(struct seqbuf *s, struct proc_ref *r) { return show_stat_of(s, r, true); }

static int show_task_stat(struct seqbuf *s, struct proc_ref *r) { return show_stat_of(s, r, false); }

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
    seq_printf(s, "VmLib:\t%8u kB\nVmPTE:\t%8lu kB\nVmSwap:\t%8u kB\n", 0u, as->table_pages * kb, 0u);
}

static int show_status(struct seqbuf *s, struct proc_ref *r) {
    struct process *p = r->process;
    struct thread *t = r->thread;
    const struct credentials *c = &p->cred;
    char state = r->item->tid && t ? thread_state_letter(t) : process_state(p);
    seq_puts(s, "Name:\t");
    seq_escaped(s, t ? t->name : "", "\n\\");
    seq_printf(s, "\nUmask:\t%04o\nState:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
               p->fs ? p->fs->umask : 0, state_name(state), p->pid, r->item->tid ? r->item->tid : p->pid, parent_of(p));
    seq_printf(s, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c->uid, c->euid, c->suid, c->fsuid, c->gid, c->egid,
               c->sgid, c->fsgid);
    seq_printf(s, "FDSize:\t%u\nGroups:\t", p->files ? p->files->capacity : 0);
    struct group_list *groups = process_groups(p);
    for (unsigned i = 0; groups && i < groups->count; i++)
        seq_printf(s, "%u ", groups->gid[i]);
    group_list_unref(groups);
    seq_printf(s, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", p->pid, r->item->tid ? r->item->tid : p->pid,
               p->pgid, p->sid);
    struct aspace *as = process_aspace_ref(p);
    if (as) {
        show_status_memory(s, as);
        aspace_unref(as);
    }
    uint64_t ignored = 0, caught = 0;
    for (int i = 0; p->handlers && i < SIGNAL_COUNT; i++) {
        uaddr_t h = p->handlers->action[i].handler;
        ignored |= h == (uaddr_t)SIG_IGN ? 1UL << i : 0;
        caught |= h != (uaddr_t)SIG_IGN && h != (uaddr_t)SIG_DFL ? 1UL << i : 0;
    }
    seq_printf(s, "CoreDumping:\t0\nTHP_enabled:\t1\nThreads:\t%u\nSigQ:\t%u/%lu\n", p->thread_count, p->queued_signals,
               (unsigned long)p->limits[RLIMIT_SIGPENDING].rlim_cur);
    seq_printf(s, "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
               t ? t->pending.set : 0, p->pending.set, t ? t->signal_mask : 0, ignored, caught);
    seq_printf(s, "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\nCapAmb:\t%016lx\n",
               c->cap_inheritable, c->cap_permitted, c->cap_effective, c->cap_bounding, c->cap_ambient);
    cpu_wait_started();
    uint64_t allowed = t ? t->affinity & sched_online_cpus() : 1;
    seq_printf(s, "NoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\nCpus_allowed:\t%lx\nCpus_allowed_list:\t",
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

// --- Names and limits ---

static int show_comm(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%s\n", r->thread ? r->thread->name : "");
    return 0;
}

static long store_comm(struct proc_ref *r, const char *text, size_t len) {
    if (!r->thread || r->process != process_current())
        return -EINVAL;
    while (len && text[len - 1] == '\n')
        len--;
    len = MIN(len, sizeof(r->thread->name) - 1);
    memcpy(r->thread->name, text, len);
    r->thread->name[len] = 0;
    return 0;
}

static int show_limits(struct seqbuf *s, struct proc_ref *r) {
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

static int show_oom_score_adj(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%d\n", r->process->oom_score_adj);
    return 0;
}

static long store_oom_score_adj(struct proc_ref *r, const char *text, size_t len) {
    bool negative = *text == '-';
    int value = 0;
    text += negative;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    for (; *text >= '0' && *text <= '9'; text++)
        if ((value = value * 10 + (*text - '0')) > 1000)
            return -EINVAL;
    if (*text && *text != '\n')
        return -EINVAL;
    value = negative ? -value : value;
    if (value < r->process->oom_score_adj && !capable(CAP_SYS_RESOURCE))
        return -EACCES;
    r->process->oom_score_adj = value;
    return 0;
}

static int show_core_filter(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%08x\n", r->process->core_filter);
    return 0;
}

// A number as strtoul(3) reads it with base 0.
static long store_core_filter(struct proc_ref *r, const char *text, size_t len) {
    unsigned base = 10, value = 0;
    const char *s = text;
    if (s[0] == '0') {
        base = s[1] == 'x' || s[1] == 'X' ? 16 : 8;
        s += base == 16 ? 2 : 0;
    }
    const char *digits = s;
    for (;; s++) {
        unsigned digit = *s >= '0' && *s <= '9'   ? (unsigned)(*s - '0')
                         : *s >= 'a' && *s <= 'f' ? (unsigned)(*s - 'a') + 10
                         : *s >= 'A' && *s <= 'F' ? (unsigned)(*s - 'A') + 10
                                                  : 99;
        if (digit >= base)
            break;
        if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
            return -ERANGE;
    }
    if (s == digits || (*s && *s != '\n'))
        return -EINVAL;
    r->process->core_filter = value & CORE_FILTER_MASK;
    return 0;
}

static int show_oom_score(struct seqbuf *s, struct proc_ref *r) {
    struct aspace *as = process_aspace_ref(r->process);
    long score = as ? (long)(as->resident_pages * 1000 / MAX(page_total(), 1ul)) : 0;
    if (as)
        aspace_unref(as);
    score = (score + r->process->oom_score_adj) * 2 / 3 + 667;
    seq_printf(s, "%ld\n", MAX(score, 0l));
    return 0;
}

static int show_cgroup(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "0::/\n");
    return 0;
}

static int show_id_map(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%10u %10u %10u\n", 0, 0, ~0u);
    return 0;
}

// --- Links ---

static long path_link(struct path *p, char *buf, size_t size) {
    long n = path_name_marked(p, buf, size);
    path_unref(p);
    return n;
}

static long exe_readlink(struct proc_ref *r, char *buf, size_t size) {
    struct path p;
    return process_exe_get(r->process, &p) ? path_link(&p, buf, size) : -ENOENT;
}

static int exe_follow(struct proc_ref *r, struct path *out) { return process_exe_get(r->process, out) ? 0 : -ENOENT; }

static long cwd_readlink(struct proc_ref *r, char *buf, size_t size) {
    struct path p;
    return process_path_get(r->process, false, &p) ? path_link(&p, buf, size) : -ENOENT;
}

static int cwd_follow(struct proc_ref *r, struct path *out) {
    return process_path_get(r->process, false, out) ? 0 : -ENOENT;
}

static long root_readlink(struct proc_ref *r, char *buf, size_t size) {
    struct path p;
    return process_path_get(r->process, true, &p) ? path_link(&p, buf, size) : -ENOENT;
}

static int root_follow(struct proc_ref *r, struct path *out) {
    return process_path_get(r->process, true, out) ? 0 : -ENOENT;
}

// --- Processes and threads ---

static int next_process(struct proc_ref *dir, int from) {
    struct process *p = process_next(MAX(from, 1));
    int pid = p ? p->pid : -1;
    if (p)
        process_unref(p);
    return pid;
}

static int next_task(struct proc_ref *dir, int from) {
    struct thread *t = process_next_thread(dir->process, from);
    int tid = t ? t->tid : -1;
    if (t)
        thread_unref(t);
    return tid;
}

static int show_mountinfo(struct seqbuf *s, struct proc_ref *r);

#define COMMON_ENTRIES                                                                                                 \
    PROC_SECRET("auxv", show_auxv), PROC_FILE("cgroup", show_cgroup), PROC_FILE("cmdline", show_cmdline),              \
        {.name = "comm", .mode = S_IFREG | 0644, .show = show_comm, .store = store_comm},                              \
        {.name = "cwd", .mode = S_IFLNK | 0777, .readlink = cwd_readlink, .follow = cwd_follow},                       \
        PROC_SECRET("environ", show_environ),                                                                          \
        {.name = "exe", .mode = S_IFLNK | 0777, .readlink = exe_readlink, .follow = exe_follow},                       \
        {.name = "fd", .mode = S_IFDIR | 0500, .numbers = &proc_fds}, PROC_DIR("net", proc_net_entries),             \
        {.name = "fdinfo", .mode = S_IFDIR | 0555, .numbers = &proc_fdinfos}, PROC_FILE("gid_map", show_id_map),       \
        PROC_FILE("limits", show_limits), PROC_FILE("maps", show_maps), PROC_FILE("mountinfo", show_mountinfo),        \
        PROC_FILE("mounts", proc_show_mounts), PROC_FILE("oom_score", show_oom_score),                                 \
        {.name = "oom_score_adj", .mode = S_IFREG | 0644, .show = show_oom_score_adj, .store = store_oom_score_adj},   \
        {.name = "root", .mode = S_IFLNK | 0777, .readlink = root_readlink, .follow = root_follow},                    \
        PROC_FILE("smaps", show_smaps), PROC_FILE("statm", show_statm), PROC_FILE("status", show_status),              \
        PROC_FILE("uid_map", show_id_map)

const struct proc_entry proc_task_entries[] = {COMMON_ENTRIES, PROC_FILE("stat", show_task_stat), {.name = NULL}};
static const struct proc_entry task_entry = {.name = "task", .mode = S_IFDIR | 0555, .children = proc_task_entries};
static const struct proc_numbers tasks = {.next = next_task, .member = &task_entry, .kind = NUMBER_TID};

const struct proc_entry proc_pid_entries[] = {
    COMMON_ENTRIES,
    {.name = "coredump_filter", .mode = S_IFREG | 0644, .show = show_core_filter, .store = store_core_filter},
    PROC_FILE("stat", show_stat),
    {.name = "task", .mode = S_IFDIR | 0555, .numbers = &tasks},
    {.name = NULL},
};
static const struct proc_entry pid_entry = {.name = "pid", .mode = S_IFDIR | 0555, .children = proc_pid_entries};
const struct proc_numbers proc_processes = {.next = next_process, .member = &pid_entry, .kind = NUMBER_PID};

// --- Mounts ---

static void show_options(struct seqbuf *s, uint32_t flags) {
    seq_printf(s, "%s%s%s%s%s", flags & 1 ? "ro" : "rw", flags & 2 ? ",nosuid" : "", flags & 4 ? ",nodev" : "",
               flags & 8 ? ",noexec" : "", flags & 1024 ? ",noatime" : ",relatime");
}

// The text of a mount's place, in a buffer of the names' size; false when the process cannot see it.
static bool mount_place(struct mount *m, char *buf) {
    struct path p = {m, m->root};
    return path_name(&p, buf, NAME_BUFFER_SIZE) > 0 && *buf == '/';
}

int proc_show_mounts(struct seqbuf *s, struct proc_ref *r) {
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    for (struct mount *m = mount_next(NULL); m; m = mount_next(m)) {
        if (!mount_place(m, buf))
            continue;
        seq_escaped(s, m->source, " \t\n\\");
        seq_puts(s, " ");
        seq_escaped(s, buf, " \t\n\\");
        seq_printf(s, " %s ", m->sb->type->name);
        show_options(s, m->flags);
        seq_puts(s, " 0 0\n");
    }
    name_buffer_put(buf);
    return 0;
}

static int show_mountinfo(struct seqbuf *s, struct proc_ref *r) {
    char *buf = name_buffer_get();
    if (!buf)
        return -ENOMEM;
    for (struct mount *m = mount_next(NULL); m; m = mount_next(m)) {
        if (!mount_place(m, buf))
            continue;
        seq_printf(s, "%d %d %u:%u ", m->id, m->parent && m->parent != m ? m->parent->id : 1, DEV_MAJOR(m->sb->dev),
                   DEV_MINOR(m->sb->dev));
        char *root = name_buffer_get();
        seq_escaped(s, root && dentry_path(m->root, root, NAME_BUFFER_SIZE) > 0 ? root : "/", " \t\n\\");
        name_buffer_put(root);
        seq_puts(s, " ");
        seq_escaped(s, buf, " \t\n\\");
        seq_puts(s, " ");
        show_options(s, m->flags);
        seq_printf(s, " - %s ", m->sb->type->name);
        seq_escaped(s, m->source, " \t\n\\");
        seq_puts(s, m->flags & 1 ? " ro\n" : " rw\n");
    }
    name_buffer_put(buf);
    return 0;
}
