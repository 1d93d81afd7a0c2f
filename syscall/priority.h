// What sched.c and priority.c share.
#ifndef SYSCALL_PRIORITY_H
#define SYSCALL_PRIORITY_H

#include "kernel/types.h"

#define NICE_MIN (-20)
#define NICE_MAX 19

struct thread;

struct thread *thread_get(int tid);              // 0: the current one; referenced, or NULL
bool same_owner(const struct thread *t);         // has the current thread's effective user as its real or effective one
bool nice_allowed(const struct thread *t, int nice); // by its RLIMIT_NICE

#endif
