// What threads, processes and CPUs report of their time. See cputime.h.
// Locks: process.signal_lock > runqueue.lock, which protects a thread's samples and what was reported of it; signal_lock does so
// for a process; stat_lock for a CPU.
#include "kernel/threads/cputime.h"
#include "kernel/clock_event.h"
#include "kernel/process/process.h"
#include "kernel/threads/runqueue.h"
#include "kernel/threads/sched.h"
#include "kernel/x86/cpu.h"

uint64_t sched_threads_made;
static struct spinlock stat_lock = SPINLOCK_INIT;

void cpu_times_adjust(struct cpu_times *shown, nsec_t sum, uint64_t user, uint64_t system)
{
    if (shown->user + shown->system >= sum)
        return;
    nsec_t s = user + system ? (nsec_t)mul_div((uint64_t)sum, system, user + system) : 0;
    s = MAX(s, shown->system);
    nsec_t u = MAX(sum - s, shown->user);
    shown->user = u;
    shown->system = sum - u;
}

// Cycles up to now. The lock of its run queue is held.
static uint64_t cycles_now(const struct runqueue *rq, const struct thread *t)
{
    uint64_t since = rq->current == t ? clock_cycles() - t->accounted : 0;
    return t->cycles + ((int64_t)since > 0 ? since : 0);
}

static struct runqueue *lock(struct thread *t, uint64_t *flags)
{
    *flags = irq_save();
    return runqueue_lock_of(t);
}

void thread_usage_add(struct thread *t, struct cpu_usage *u)
{
    uint64_t flags;
    struct runqueue *rq = lock(t, &flags);
    u->cycles += cycles_now(rq, t);
    u->user += t->samples.user;
    u->system += t->samples.system;
    spin_unlock_irqrestore(&rq->lock, flags);
}

void thread_times(struct thread *t, nsec_t *user, nsec_t *system)
{
    uint64_t flags;
    struct runqueue *rq = lock(t, &flags);
    nsec_t sum = time_cycles_to_ns(cycles_now(rq, t));
    if (t->kernel)
        t->shown.system = MAX(t->shown.system, sum);
    else
        cpu_times_adjust(&t->shown, sum, t->samples.user, t->samples.system);
    *user = t->shown.user;
    *system = t->shown.system;
    spin_unlock_irqrestore(&rq->lock, flags);
}

nsec_t thread_cpu_time(struct thread *t)
{
    uint64_t flags;
    struct runqueue *rq = lock(t, &flags);
    uint64_t cycles = cycles_now(rq, t);
    spin_unlock_irqrestore(&rq->lock, flags);
    return time_cycles_to_ns(cycles);
}

static void process_usage_locked(struct process *p, struct cpu_usage *u)
{
    struct thread *t;
    *u = p->dead_usage;
    list_for_each(t, &p->threads, process_link)
        thread_usage_add(t, u);
}

void process_times(struct process *p, nsec_t *user, nsec_t *system)
{
    struct cpu_usage u;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    process_usage_locked(p, &u);
    cpu_times_adjust(&p->shown, time_cycles_to_ns(u.cycles), u.user, u.system);
    *user = p->shown.user;
    *system = p->shown.system;
    spin_unlock_irqrestore(&p->signal_lock, flags);
}

void process_cpu_times(struct process *p, nsec_t *sum, nsec_t *user)
{
    struct cpu_usage u;
    process_usage_locked(p, &u);
    *sum = time_cycles_to_ns(u.cycles);
    cpu_times_adjust(&p->shown, *sum, u.user, u.system);
    *user = p->shown.user;
}

nsec_t process_cpu_time(struct process *p)
{
    struct cpu_usage u;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock);
    process_usage_locked(p, &u);
    spin_unlock_irqrestore(&p->signal_lock, flags);
    return time_cycles_to_ns(u.cycles);
}

bool cpu_stat_get(unsigned cpu, struct cpu_stat *s)
{
    if (cpu >= cpu_count || !(READ_ONCE(sched_online) & cpu_bit(cpu)))
        return false;
    struct runqueue *rq = &runqueues[cpu];
    uint64_t flags = spin_lock_irqsave(&stat_lock), n[SAMPLE_COUNT];
    spin_lock(&rq->lock);
    struct thread *idle = cpus[cpu]->idle;
    uint64_t idle_cycles = cycles_now(rq, idle), all = clock_cycles() - rq->started;
    for (int i = 0; i < SAMPLE_COUNT; i++)
        n[i] = rq->samples[i];
    s->switches = rq->switches;
    spin_unlock(&rq->lock);
    s->idle = time_cycles_to_ns(MIN(idle_cycles, all));
    nsec_t busy = time_cycles_to_ns(all - MIN(idle_cycles, all));
    // Twice in two: the application and the kernel, and the application's by nice.
    struct cpu_times parts = {rq->shown[SAMPLE_USER] + rq->shown[SAMPLE_NICE], rq->shown[SAMPLE_SYSTEM]};
    cpu_times_adjust(&parts, busy, n[SAMPLE_USER] + n[SAMPLE_NICE], n[SAMPLE_SYSTEM]);
    struct cpu_times application = {rq->shown[SAMPLE_USER], rq->shown[SAMPLE_NICE]};
    cpu_times_adjust(&application, parts.user, n[SAMPLE_USER], n[SAMPLE_NICE]);
    s->user = rq->shown[SAMPLE_USER] = application.user;
    s->nice = rq->shown[SAMPLE_NICE] = application.system;
    s->system = rq->shown[SAMPLE_SYSTEM] = parts.system;
    s->interrupts = cpus[cpu]->irq_count;
    spin_unlock_irqrestore(&stat_lock, flags);
    return true;
}
