// What sched.c, thread.c and process.c share among themselves; the rest of the kernel uses kernel/threads/thread.h.
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include "kernel/types.h"

struct process;
struct thread;

struct thread *thread_create_idle(unsigned cpu); // never fails: panics
uint64_t sched_online_cpus(void);
struct runqueue;
struct timer;
// Locks the run queue of the CPU that the thread belongs to. Interrupts off.
struct runqueue *runqueue_lock_of(struct thread *t);
// The current thread of this run queue has to give way soon; true when its CPU must be kicked, once the lock is free.
bool runqueue_resched(struct runqueue *rq);
void sched_send(struct thread *t); // queues one that runqueue_take_for gave; no lock held, interrupts off
void sched_begin(struct thread *t); // a new thread: behind what its maker has used of the CPU
void sched_weigh(struct thread *t); // weight and factor by its priority
unsigned sched_choose_cpu(struct thread *t);
void sched_push_realtime(struct runqueue *rq, unsigned here); // lock held, gets released
bool sched_steal(unsigned here);
struct thread *sched_balance(struct runqueue *rq, unsigned here);
void sched_tick(struct timer *timer);
void sched_tick_arm(struct runqueue *rq);

// Takes the thread out of its process: its times are added up, its number is free. True: it was the last one.
bool process_remove_thread(struct thread *t);
void process_reap(struct process *p); // process_table_lock held; the caller drops the table's reference afterwards
void process_exit_current(void) __attribute__((noreturn)); // the current thread ends, as its WORK_EXIT says
const struct process_hooks *process_hooks_get(void);

// A process-directed signal is pending that some thread could take: wakes one. signal_lock held.
void signal_wake_any(struct process *p);

#endif
