// Core dumps, the process's side; see core.h. The thread that got the signal marks the process as ending, so that all others come
// to their exit, where they stand still until the file is written.
#include "kernel/process/core.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/sched.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/switch.h"

bool (*core_write_hook)(int sig, const siginfo_t *info);
uint8_t core_uses_pid;

static struct spinlock pattern_lock = SPINLOCK_INIT;
static char core_pattern[CORE_PATTERN_SIZE] = "core";

void core_pattern_get(char pattern[CORE_PATTERN_SIZE]) {
    spin_lock(&pattern_lock);
    memcpy(pattern, core_pattern, CORE_PATTERN_SIZE);
    spin_unlock(&pattern_lock);
}

int core_pattern_set(const char *pattern, size_t len) {
    if (len >= CORE_PATTERN_SIZE)
        return -EINVAL;
    spin_lock(&pattern_lock);
    memset(core_pattern, 0, CORE_PATTERN_SIZE);
    memcpy(core_pattern, pattern, len);
    spin_unlock(&pattern_lock);
    return 0;
}

static void save_registers(struct thread *t) {
    uint64_t flags = irq_save();
    context_save(t);
    irq_restore(flags);
}

// True: this thread writes the dump.
static bool begin(struct process *p, int sig) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    bool first = !p->exiting;
    if (first) {
        p->core_dumper = thread_current(); // before the others come to their end and look for it
        p->core_parked = 0;
        p->core_interrupted = false;
        process_begin_exit(p, (uint32_t)sig);
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return first;
}

static void end(struct process *p, bool dumped) {
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (dumped)
        p->exit_status |= 0x80;
    p->core_dumper = NULL;
    waitq_wake_all(&p->signal_wait);
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

void core_exit(int sig, const siginfo_t *info) {
    struct process *p = process_current();
    bool wanted = signal_default_action(sig) == SIGNAL_CORE && p->dumpable && core_write_hook &&
                  p->limits[RLIMIT_CORE].rlim_cur >= CORE_LIMIT_LEAST;
    if (!wanted || !begin(p, sig))
        process_exit((uint32_t)sig);
    save_registers(thread_current());
    wait_event(&p->signal_wait, READ_ONCE(p->thread_count) == READ_ONCE(p->core_parked) + 1);
    end(p, core_write_hook(sig, info));
    process_exit_current();
}

void core_park(void) {
    struct thread *t = thread_current();
    struct process *p = t->process;
    bool wait = false;
    save_registers(t);
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    if (p->core_dumper && p->core_dumper != t) {
        wait = true;
        p->core_parked++;
        waitq_wake_all(&p->signal_wait);
    }
    spin_unlock_irqrestore(&p->signal_lock, flags);
    if (wait)
        wait_event(&p->signal_wait, !READ_ONCE(p->core_dumper));
}
