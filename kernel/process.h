// Processes: an address space, open files, signal handlers, credentials, and the threads that share them.
// Locks: process_table_lock (parents, children, pids) > process.signal_lock.
#ifndef KERNEL_PROCESS_H
#define KERNEL_PROCESS_H

#include "kernel/aspace.h"
#include "kernel/lock.h"
#include "kernel/signal.h"
#include "kernel/thread.h"
#include "kernel/types.h"
#include "kernel/wait.h"
#include <linux/resource.h> // RLIM_NLIMITS, struct rlimit

struct file_table; // fs/file.h: open files
struct fs_context; // fs/vfs.h: root, working directory, umask
struct tty;

#define NGROUPS 64 // supplementary groups kept inline; more are -EINVAL until they are needed

struct credentials {
    uint32_t uid, euid, suid, fsuid;
    uint32_t gid, egid, sgid, fsgid;
    unsigned group_count;
    uint32_t groups[NGROUPS];
    uint64_t cap_effective, cap_permitted, cap_inheritable, cap_bounding, cap_ambient;
    uint32_t securebits;
    bool no_new_privs;
};

struct process {
    int pid;
    uint32_t refs;
    struct aspace *aspace;
    struct file_table *files;
    struct fs_context *fs;
    struct credentials cred;
    struct rlimit limits[RLIM_NLIMITS]; // <linux/resource.h>: unsigned long rlim_cur, rlim_max

    struct spinlock signal_lock;
    struct signal_handlers *handlers;
    struct signal_queue pending; // process-directed
    struct waitq signal_wait;    // sigtimedwait, signalfd

    struct list threads; // thread.process_link; under signal_lock
    unsigned thread_count;
    struct thread *leader;
    bool exiting;        // exit_group is in progress
    uint32_t exit_status; // as wait(2) shows it: code << 8, or signal
    bool zombie;

    struct process *parent;
    struct list children, sibling, all_link;
    struct waitq child_wait;
    int pgid, sid;
    struct tty *tty; // the controlling terminal
    int exit_signal;
    bool did_exec, dumpable;

    struct timer itimer_real;
    nsec_t itimer_real_interval;
    nsec_t itimer_cpu_deadline[2], itimer_cpu_interval[2]; // ITIMER_VIRTUAL, ITIMER_PROF; on CPU time
    nsec_t dead_user_ns, dead_system_ns; // of threads that have ended
    nsec_t children_user_ns, children_system_ns;
    nsec_t start_time;
    uint64_t peak_resident;
    char exe[256];   // absolute path, for /proc/self/exe
    void *exe_path;  // fs/'s reference of the executable (struct path *), released through process_hooks
    int oom_score_adj;
};

extern struct process kernel_process; // pid 0: owner of kernel threads
extern struct process *init_process;  // pid 1: when it ends, the machine stops with its status
extern struct mutex process_table_lock;
extern struct list process_list;

static inline struct process *process_current(void) { return thread_current()->process; }

// What upper layers keep in a process is theirs to copy and to release.
struct process_hooks {
    void (*release_files)(struct process *p); // when the last thread exits
    void (*stop_tty)(struct process *p);
};
void process_set_hooks(const struct process_hooks *hooks);

struct process *process_create(void); // pid given, nothing else filled in; NULL: no memory
void process_ref(struct process *p);
void process_unref(struct process *p);
struct process *process_find(int pid); // with a reference, or NULL
int pid_alloc(void);                   // process and thread numbers come from one space; -EAGAIN when exhausted
void pid_free(int pid);

void thread_exit(int code) NORETURN;                 // exit(2): this thread; the process too when it is the last
void process_exit(uint32_t wait_status) NORETURN;    // exit_group(2): all threads of the current process
void process_kill_others(void); // execve(2): ends all other threads of the current process and waits for them

#endif
