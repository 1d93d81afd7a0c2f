// CPU time. The sum is measured: the time stamp counter is read at every switch. How it is split between the application and the
// kernel is sampled, as in Linux: a busy CPU has a tick every 4 ms, which looks at what it interrupted. Reports scale the samples
// to the exact sum, and never go back. A thread that no tick has ever met counts as having been in the application.
#ifndef KERNEL_CPUTIME_H
#define KERNEL_CPUTIME_H

#include "kernel/types.h"

struct thread;
struct process;

struct cpu_samples {
    uint32_t user, system;
};
struct cpu_times {
    nsec_t user, system;
};
struct cpu_usage { // of a thread, or several
    uint64_t cycles, user, system; // user, system: samples
};

// Splits `sum` in proportion to the samples, neither part less than in *shown, which it updates. Pure.
void cpu_times_adjust(struct cpu_times *shown, nsec_t sum, uint64_t user, uint64_t system);

void thread_usage_add(struct thread *t, struct cpu_usage *u); // adds what the thread has used up to now; takes the run queue's lock
// User and system time up to now.
void thread_times(struct thread *t, nsec_t *user, nsec_t *system);
nsec_t thread_cpu_time(struct thread *t); // their sum, exact

// What a CPU has done since the boot. Returns false when there is no such CPU.
struct cpu_stat {
    nsec_t user, nice, system, idle;
    uint64_t interrupts, switches;
};
bool cpu_stat_get(unsigned cpu, struct cpu_stat *s);
extern uint64_t sched_threads_made; // threads and processes since the boot: "processes" of /proc/stat

#endif
