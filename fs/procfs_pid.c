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

// --- Names and settings ---

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

static int show_setgroups(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "allow\n");
    return 0;
}

// --- Logins: programs like sshd say who has come in, and processes inherit it ---

static int show_login_uid(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%u", r->process->login - 1);
    return 0;
}

static int show_login_session(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%u", r->process->login_session - 1);
    return 0;
}

static long store_login_uid(struct proc_ref *r, const char *text, size_t len) {
    static uint32_t sessions;
    uint64_t uid = 0;
    if (r->process != process_current())
        return -EPERM;
    if (*text < '0' || *text > '9')
        return -EINVAL;
    for (; *text >= '0' && *text <= '9'; text++)
        if ((uid = uid * 10 + (uint64_t)(*text - '0')) > UINT32_MAX)
            return -ERANGE;
    if (*text && *text != '\n')
        return -EINVAL;
    if (r->process->login && !capable(CAP_AUDIT_CONTROL))
        return -EPERM;
    r->process->login = (uint32_t)uid + 1; // of 4294967295: nobody
    r->process->login_session = r->process->login ? __atomic_add_fetch(&sessions, 1, __ATOMIC_RELAXED) + 1 : 0;
    return 0;
}

static int show_wchan(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "0"); // as where the names of functions are nobody's business
    return 0;
}

static int show_cpuset(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "/\n");
    return 0;
}

static int show_personality(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%08x\n", r->process->personality);
    return 0;
}

static int show_timer_slack(struct seqbuf *s, struct proc_ref *r) {
    if (r->process != process_current() && !capable(CAP_SYS_NICE))
        return -EPERM;
    seq_printf(s, "%lu\n", (unsigned long)(r->thread && r->thread->timer_slack ? r->thread->timer_slack : 50000));
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

#define COMMON_ENTRIES                                                                                                 \
    PROC_GUARDED("auxv", 0400, proc_show_auxv), PROC_FILE("cgroup", show_cgroup),                                      \
        PROC_FILE("cmdline", proc_show_cmdline),                                                                       \
        {.name = "comm", .mode = S_IFREG | 0644, .show = show_comm, .store = store_comm},                              \
        {.name = "cwd", .mode = S_IFLNK | 0777, .guarded = true, .readlink = cwd_readlink, .follow = cwd_follow},      \
        PROC_GUARDED("environ", 0400, proc_show_environ),                                                              \
        {.name = "exe", .mode = S_IFLNK | 0777, .guarded = true, .readlink = exe_readlink, .follow = exe_follow},      \
        {.name = "fd", .mode = S_IFDIR | 0500, .numbers = &proc_fds}, PROC_DIR("net", proc_net_entries),               \
        {.name = "fdinfo", .mode = S_IFDIR | 0555, .numbers = &proc_fdinfos}, PROC_FILE("gid_map", show_id_map),       \
        PROC_FILE("limits", proc_show_limits), PROC_GUARDED("maps", 0444, proc_show_maps),                             \
        PROC_FILE("mountinfo", proc_show_mountinfo), PROC_FILE("mounts", proc_show_mounts),                            \
        PROC_GUARDED("mountstats", 0400, proc_show_mountstats),                                                        \
        PROC_FILE("oom_score", show_oom_score),                                                                        \
        {.name = "oom_score_adj", .mode = S_IFREG | 0644, .show = show_oom_score_adj, .store = store_oom_score_adj},   \
        {.name = "root", .mode = S_IFLNK | 0777, .guarded = true, .readlink = root_readlink, .follow = root_follow},   \
        PROC_GUARDED("smaps", 0444, proc_show_smaps), PROC_GUARDED("smaps_rollup", 0444, proc_show_smaps_rollup),      \
        PROC_FILE("statm", proc_show_statm), PROC_FILE("status", proc_show_status), PROC_FILE("uid_map", show_id_map), \
        PROC_FILE("projid_map", show_id_map), PROC_FILE("setgroups", show_setgroups),                                  \
        {.name = "loginuid", .mode = S_IFREG | 0644, .show = show_login_uid, .store = store_login_uid},                \
        PROC_FILE("sessionid", show_login_session), PROC_FILE("wchan", show_wchan),                                    \
        PROC_FILE("cpuset", show_cpuset), PROC_GUARDED("personality", 0400, show_personality),                         \
        PROC_GUARDED("syscall", 0400, proc_show_syscall)

const struct proc_entry proc_task_entries[] = {
    COMMON_ENTRIES,
    PROC_FILE("children", proc_show_children),
    PROC_FILE("stat", proc_show_task_stat),
    {.name = NULL},
};
static const struct proc_entry task_entry = {.name = "task", .mode = S_IFDIR | 0555, .children = proc_task_entries};
static const struct proc_numbers tasks = {.next = next_task, .member = &task_entry, .kind = NUMBER_TID};

const struct proc_entry proc_pid_entries[] = {
    COMMON_ENTRIES,
    {.name = "coredump_filter", .mode = S_IFREG | 0644, .show = show_core_filter, .store = store_core_filter},
    PROC_FILE("stat", proc_show_stat),
    PROC_FILE("timerslack_ns", show_timer_slack),
    {.name = "task", .mode = S_IFDIR | 0555, .numbers = &tasks},
    {.name = NULL},
};
static const struct proc_entry pid_entry = {.name = "pid", .mode = S_IFDIR | 0555, .children = proc_pid_entries};
const struct proc_numbers proc_processes = {.next = next_process, .member = &pid_entry, .kind = NUMBER_PID};
