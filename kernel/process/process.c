// Processes: creation, the table, and what all threads of one share. Their end is in exit.c, waiting for it in process_wait.c.
// Locks: process_table_lock > signal_lock; see process.h.
#include "kernel/process/process.h"
#include "kernel/log.h"
#include "kernel/process/core.h"
#include "kernel/process/pid.h"
#include "kernel/process/cpu_timer.h"
#include "kernel/process/posix_timer.h"
#include "kernel/threads/sched.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include <linux/capability.h>

#define ALL_CAPABILITIES ((2UL << CAP_LAST_CAP) - 1)

struct process kernel_process = {
    .refs = 1,
    .threads = LIST_INIT(kernel_process.threads),
    .children = LIST_INIT(kernel_process.children),
    .sibling = LIST_INIT(kernel_process.sibling),
    .all_link = LIST_INIT(kernel_process.all_link),
    .posix_timers = LIST_INIT(kernel_process.posix_timers),
    .cpu_timers = LIST_INIT(kernel_process.cpu_timers),
    .signal_wait = WAITQ_INIT(kernel_process.signal_wait),
    .child_wait = WAITQ_INIT(kernel_process.child_wait),
    .pending = {.entries = LIST_INIT(kernel_process.pending.entries)},
    .limits = {[0 ... RLIM_NLIMITS - 1] = {RLIM_INFINITY, RLIM_INFINITY}},
    .cred = {.cap_effective = ALL_CAPABILITIES, .cap_permitted = ALL_CAPABILITIES, .cap_bounding = ALL_CAPABILITIES},
};
struct process *init_process;
struct spinlock process_table_lock;
struct list process_list = LIST_INIT(process_list);

static struct slab_cache process_cache = SLAB_CACHE("process", sizeof(struct process), 64);

// As Linux gives them to its first process, but for the number of open files, which containers raise.
#define UNLIMITED {RLIM_INFINITY, RLIM_INFINITY}
static const struct rlimit default_limits[RLIM_NLIMITS] = {
    [RLIMIT_CPU] = UNLIMITED,
    [RLIMIT_FSIZE] = UNLIMITED,
    [RLIMIT_DATA] = UNLIMITED,
    [RLIMIT_STACK] = {8 << 20, RLIM_INFINITY},
    [RLIMIT_CORE] = {0, RLIM_INFINITY},
    [RLIMIT_RSS] = UNLIMITED,
    [RLIMIT_NPROC] = {PID_MAX / 2, PID_MAX / 2},
    [RLIMIT_NOFILE] = {1024, 1 << 20},
    [RLIMIT_MEMLOCK] = {8 << 20, 8 << 20},
    [RLIMIT_AS] = UNLIMITED,
    [RLIMIT_LOCKS] = UNLIMITED,
    [RLIMIT_SIGPENDING] = {4096, 4096},
    [RLIMIT_MSGQUEUE] = {819200, 819200},
    [RLIMIT_RTTIME] = UNLIMITED,
};

struct process *process_create(void)
{
    struct process *p = process_create_as(0);
    return IS_ERR(p) ? NULL : p;
}

struct process *process_create_as(int pid)
{
    struct process *p = slab_zalloc(&process_cache);
    if (!p)
        return ERR_PTR(-ENOMEM);
    p->refs = 1;
    p->handlers = signal_handlers_create();
    p->pid = !p->handlers ? -ENOMEM : pid ? pid_take(pid) : pid_alloc();
    if (p->pid < 0) {
        int err = p->pid;
        signal_handlers_unref(p->handlers);
        slab_free(&process_cache, p);
        return ERR_PTR(err);
    }
    signal_queue_init(&p->pending);
    waitq_init(&p->signal_wait);
    waitq_init(&p->child_wait);
    waitq_init(&p->end_wait);
    list_init(&p->threads);
    list_init(&p->children);
    list_init(&p->sibling);
    list_init(&p->all_link);
    list_init(&p->posix_timers);
    timer_init(&p->itimer_real, NULL);
    list_init(&p->cpu_timers);
    mutex_init(&p->timer_calls);
    memcpy(p->limits, default_limits, sizeof p->limits);
    p->cred.cap_effective = p->cred.cap_permitted = p->cred.cap_bounding = ALL_CAPABILITIES;
    p->pgid = p->sid = p->pid;
    p->exit_signal = SIGCHLD;
    p->dumpable = 1;
    p->core_filter = CORE_FILTER_DEFAULT;
    p->start_time = time_monotonic();
    return p;
}

void process_ref(struct process *p)
{
    atomic_add(&p->refs, 1);
}

void process_unref(struct process *p)
{
    if (p == &kernel_process || atomic_sub(&p->refs, 1) != 1)
        return;
    signal_queue_flush(&p->pending);
    signal_forget_spare(p);
    signal_handlers_unref(p->handlers);
    credentials_release(p);
    pid_free(p->pid);
    slab_free(&process_cache, p);
}

bool process_limit_reached(const struct process *p, int more)
{
    uint64_t limit = p->limits[RLIMIT_NPROC].rlim_cur;
    int64_t count = more;
    uint32_t uid = p->cred.uid;
    if (likely(uid == 0) || limit == RLIM_INFINITY || (p->cred.cap_effective & (1UL << CAP_SYS_RESOURCE | 1UL << CAP_SYS_ADMIN)))
        return false;
    struct process *other;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each(other, &process_list, all_link)
        if (other->cred.uid == uid)
            count += MAX(READ_ONCE(other->thread_count), 1u); // a zombie counts, too
    spin_unlock_irqrestore(&process_table_lock, flags);
    return count > 0 && (uint64_t)count > limit;
}

int process_inherit(struct process *child, struct process *parent)
{
    credentials_inherit(child, parent);
    memcpy(child->limits, parent->limits, sizeof child->limits);
    child->dumpable = parent->dumpable;
    child->personality = parent->personality;
    child->core_filter = parent->core_filter;
    child->oom_score_adj = parent->oom_score_adj;
    child->login = parent->login;
    child->login_session = parent->login_session;
    memcpy(child->exe, parent->exe, sizeof child->exe);
    if (process_hooks_get()->inherit)
        process_hooks_get()->inherit(child, parent);
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    child->pgid = parent->pgid;
    child->sid = parent->sid;
    child->tty = parent->tty;
    child->unborn = true;
    list_push_back(&process_list, &child->all_link);
    spin_unlock_irqrestore(&process_table_lock, flags);
    if (child->limits[RLIMIT_CPU].rlim_cur != RLIM_INFINITY)
        process_cpu_limit_changed(child);
    // After it has become a member: who sends to the group finds it from now on.
    return thread_signal_pending() ? -ERESTARTNOINTR : 0;
}

void process_adopt(struct process *child, struct process *parent, bool sibling)
{
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    if (unlikely(sibling)) {
        child->exit_signal = parent->exit_signal;
        child->parent_tid = parent->parent_tid;
        parent = parent->parent;
    } else {
        child->parent_tid = thread_current()->tid;
    }
    child->parent = parent;
    list_push_back(&parent->children, &child->sibling);
    spin_unlock_irqrestore(&process_table_lock, flags);
}

// --- Threads of a process ---

void process_add_thread(struct process *p, struct thread *t)
{
    bool first = false;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    list_push_back(&p->threads, &t->process_link);
    if (!p->leader) {
        first = !p->thread_count;
        p->leader = t;
    }
    WRITE_ONCE(p->thread_count, p->thread_count + 1);
    // exit_group or another thread's exec came between clone's beginning and here.
    const struct thread *self = thread_current();
    if (p->exiting || (self->process == p && (READ_ONCE(self->work) & WORK_EXIT)))
        atomic_or(&t->work, WORK_EXIT);
    if (p->stopped)
        atomic_or(&t->work, WORK_STOP);
    p->unborn = false;
    if (unlikely(p->pending.set)) // sent to its group before there was a thread
        atomic_or(&t->work, WORK_SIGNAL);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    pid_set_thread(t->tid, t);
    if (!first)
        return;
    pid_set_process(p->pid, p);
    flags = spin_lock_irqsave(&process_table_lock);
    if (list_empty(&p->all_link)) // process 1: nobody's child
        list_push_back(&process_list, &p->all_link);
    spin_unlock_irqrestore(&process_table_lock, flags);
}

bool process_remove_thread(struct thread *t)
{
    struct process *p = t->process;
    struct cpu_usage used = {0};
    pid_set_thread(t->tid, NULL);
    thread_usage_add(t, &used);
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    list_remove(&t->process_link);
    if (p->leader == t)
        p->leader = list_empty(&p->threads) ? NULL : list_first(&p->threads, struct thread, process_link);
    p->dead_usage.cycles += used.cycles;
    p->dead_usage.user += used.user;
    p->dead_usage.system += used.system;
    p->dead_minor_faults += t->minor_faults;
    p->dead_major_faults += t->major_faults;
    p->dead_voluntary_switches += t->voluntary_switches;
    p->dead_involuntary_switches += t->involuntary_switches;
    unsigned left = atomic_sub(&p->thread_count, 1) - 1;
    signal_queue_discard(p, &t->pending, ~0UL); // they count against the process's limit no more
    // Signals that were meant for it and that others could take.
    if (left && (p->pending.set & ~t->signal_mask))
        signal_wake_any(p);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if ((left <= 1 || READ_ONCE(p->core_dumper)) && waitq_active(&p->signal_wait)) // process_kill_others, core_exit
        waitq_wake_all(&p->signal_wait);
    return left == 0;
}

// --- The table ---

struct process *process_find(int pid)
{
    return pid_find_process(pid);
}

struct process *process_find_task(int tid)
{
    struct process *p = process_find(tid);
    struct thread *t = p ? NULL : thread_find(tid);
    if (t) {
        p = t->process;
        process_ref(p);
        thread_unref(t);
    }
    return p;
}

struct process *process_next(int pid)
{
    return pid_next_process(pid);
}

struct thread *process_next_thread(struct process *p, int tid)
{
    struct thread *t, *found = NULL;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    list_for_each(t, &p->threads, process_link)
        if (t->tid >= tid && (!found || t->tid < found->tid))
            found = t;
    if (found)
        thread_ref(found);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return found;
}

int process_group_signal(int pgid, int sig, const siginfo_t *info)
{
    struct process *p;
    int result = -ESRCH;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each(p, &process_list, all_link) {
        if (p->pgid != pgid)
            continue;
        int sent = sig ? signal_send_process(p, sig, info) : 0;
        if (result)
            result = sent;
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
    return result;
}

bool process_group_orphaned(struct process *p)
{
    struct process *member;
    bool orphaned = true;
    uint64_t flags = spin_lock_irqsave(&process_table_lock);
    list_for_each(member, &process_list, all_link) {
        const struct process *parent = member->parent;
        if (member->pgid == p->pgid && !member->zombie && parent && parent->pgid != p->pgid && parent->sid == member->sid)
            orphaned = false;
    }
    spin_unlock_irqrestore(&process_table_lock, flags);
    return orphaned;
}

char thread_state_letter(struct thread *t)
{
    enum thread_state state = READ_ONCE(t->state);
    if (READ_ONCE(t->process->stopped) && state == THREAD_SLEEPING)
        return 'T';
    switch (state) {
    case THREAD_SLEEPING:
        return 'D';
    case THREAD_SLEEPING_INTERRUPTIBLE:
        return 'S';
    case THREAD_DEAD:
        return 'Z';
    default:
        return 'R';
    }
}

char process_state(struct process *p)
{
    if (p->zombie)
        return 'Z';
    struct thread *t = process_next_thread(p, 0);
    if (!t)
        return 'X';
    char letter = thread_state_letter(t);
    thread_unref(t);
    return letter;
}
