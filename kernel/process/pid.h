// Numbers of processes and threads: one space, handed out in ascending order, and what they stand for.
// Lock: one inside (interrupt-safe, a leaf). Entries hold no references: whoever frees a structure removes its entry first,
// and the functions that find one take a reference under the lock.
#ifndef KERNEL_PID_H
#define KERNEL_PID_H

#include "kernel/types.h"

struct process;
struct thread;

#define PID_MAX 32768

// pid_alloc and pid_free: kernel/process/process.h. An allocated number stands for nothing until it is set.
void pid_set_process(int pid, struct process *p); // NULL: nothing any more
void pid_set_thread(int tid, struct thread *t);
struct process *pid_find_process(int pid); // referenced, or NULL
struct thread *pid_find_thread(int tid);
struct process *pid_next_process(int pid); // the first with a number >= pid; referenced, or NULL

#endif
