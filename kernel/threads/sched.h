// What sched.c, thread.c and process.c share among themselves; the rest of the kernel uses kernel/threads/thread.h.
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include "kernel/types.h"

struct process;
struct thread;

struct thread *thread_create_idle(unsigned cpu); // never fails: panics
uint64_t sched_online_cpus(void);
void thread_cycles(struct thread *t, uint64_t *user, uint64_t *system); // thread_times in cycles

// Takes the thread out of its process: its times are added up, its number is free. True: it was the last one.
bool process_remove_thread(struct thread *t);
void process_reap(struct process *p); // process_table_lock held; the caller drops the table's reference afterwards
void process_exit_current(void) __attribute__((noreturn)); // the current thread ends, as its WORK_EXIT says
const struct process_hooks *process_hooks_get(void);

// A process-directed signal is pending that some thread could take: wakes one. signal_lock held.
void signal_wake_any(struct process *p);

#endif
