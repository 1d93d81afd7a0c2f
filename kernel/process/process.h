// Processes: an address space, open files, signal handlers, credentials, and the threads that share them.
// Locks: process_table_lock (interrupt-safe: parents, children, groups, sessions, zombies) > process.signal_lock (interrupt-safe)
// > wait queues > run queues. The table of numbers has a leaf lock of its own.
#ifndef KERNEL_PROCESS_H
#define KERNEL_PROCESS_H

#include "kernel/memory/aspace.h"
#include "kernel/threads/lock.h"
#include "kernel/process/credentials.h"
#include "kernel/process/signal.h"
#include "kernel/threads/thread.h"
#include "kernel/types.h"
#include "kernel/threads/wait.h"
#include <linux/resource.h> // RLIM_NLIMITS, struct rlimit

struct file_table; // fs/file.h: open files
struct fs_context; // fs/vfs.h: root, working directory, umask
struct tty;

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
    struct queued_signal *spare_signal; // one entry that is kept: whoever signals himself allocates nothing
    struct waitq signal_wait;    // sigtimedwait, signalfd
    uint32_t queued_signals;     // entries in its queue and those of its threads, against RLIMIT_SIGPENDING

    struct list threads; // thread.process_link; under signal_lock
    unsigned thread_count;
    struct thread *leader;
    bool unborn;         // a member of its group whose first thread is yet to start: signals wait for that. Under signal_lock
    bool exiting;        // exit_group is in progress
    uint32_t exit_status; // as wait(2) shows it: code << 8, or signal
    bool zombie;
    // Job control, under signal_lock: what wait(2) with WUNTRACED or WCONTINUED is still to be told. A stop is complete, and the
    // parent told, when the last thread has stopped; a thread of the process itself tells that it goes on.
    bool stopped, stop_complete, stop_unreported, continue_unreported, continue_untold;
    int stop_signal;
    struct process *vfork_parent; // it sleeps on its signal_wait until this process lets its address space go; NULL: nobody does

    struct process *parent;
    int parent_tid; // the parent's thread that made it: __WNOTHREAD, PR_SET_PDEATHSIG
    bool subreaper; // PR_SET_CHILD_SUBREAPER: orphaned descendants become its children
    int hangup_group; // of a session's leader: the foreground group when its terminal hung up; its end tells them. 0: none
    struct list children, sibling, all_link;
    struct waitq child_wait;
    struct waitq end_wait; // until it is a zombie: pidfds
    int pgid, sid;
    struct tty *tty; // the controlling terminal
    int exit_signal;
    bool did_exec;
    uint8_t dumpable; // PR_SET_DUMPABLE; 2: by root only, suid_dumpable
    uint32_t personality; // 0 or ADDR_NO_RANDOMIZE
    bool limit_exceeded; // became a user who has more threads than RLIMIT_NPROC: execve(2) fails while he has
    uint16_t core_filter;       // /proc/PID/coredump_filter
    unsigned core_parked;       // threads that stand still while one writes a core dump
    struct thread *core_dumper; // that one; under signal_lock
    bool core_interrupted;      // SIGKILL came: the dump ends where it is

    struct timer itimer_real;
    nsec_t itimer_real_interval;
    nsec_t itimer_cpu_deadline[2], itimer_cpu_interval[2]; // ITIMER_VIRTUAL, ITIMER_PROF; on CPU time
    struct list cpu_timers;   // kernel/process/cpu_timer.h, under signal_lock
    bool cpu_timing;          // the tick is to look at those, itimer_cpu_deadline or RLIMIT_CPU
    struct mutex timer_calls; // posix_timer.c
    struct cpu_usage dead_usage; // of threads that have ended
    struct cpu_times shown;      // what was reported last; under signal_lock
    uint64_t dead_minor_faults, dead_major_faults, dead_voluntary_switches, dead_involuntary_switches;
    struct list posix_timers; // timer_create(2), under signal_lock
    unsigned posix_timer_count;
    struct sem_undo_list *sem_undo; // SEM_UNDO: kernel/ipc/sem.h; NULL: there is nothing to undo
    int next_timer_id;
    nsec_t children_user_ns, children_system_ns; // of those that were waited for, with their own
    uint64_t children_minor_faults, children_major_faults, children_voluntary_switches, children_involuntary_switches;
    uint64_t children_peak_resident; // the largest
    nsec_t start_time;
    uint64_t peak_resident;
    char exe[256];   // absolute path, for /proc/self/exe
    void *exe_path;  // fs/'s reference of the executable (struct path *), released through process_hooks
    int oom_score_adj;
    uint32_t login, login_session; // who logged in here, plus one, and in which session; 0: nobody
};

extern struct process kernel_process; // pid 0: owner of kernel threads
extern struct process *init_process;  // pid 1: when it ends, the machine stops with its status
extern struct spinlock process_table_lock;
extern struct list process_list;

static inline struct process *process_current(void) { return thread_current()->process; }

// Those that count for the current thread's accesses.
static inline const struct credentials *current_cred(void) {
    const struct credentials *borrowed = thread_current()->borrowed_cred;
    return unlikely(borrowed != NULL) ? borrowed : &process_current()->cred;
}

// What upper layers keep in a process is theirs to copy and to release.
struct process_hooks {
    void (*release_files)(struct process *p); // when the last thread exits: files, fs, exe_path
    void (*stop_tty)(struct process *p);      // a session's leader exits: its terminal is nobody's any more
    void (*inherit)(struct process *child, struct process *parent); // fork: exe_path. May be NULL
    void (*end)(void); // process 1 has ended, and with it the machine: what is to be kept is written. May be NULL
};
void process_set_hooks(const struct process_hooks *hooks);

// A process with a number, default limits, root's credentials and default signal handlers, in a group and session of its own;
// without aspace, files and fs. It appears in the table when its first thread is started. NULL: no memory.
struct process *process_create(void);
struct process *process_create_as(int pid); // with this number; carries the errno
void process_discard(struct process *p); // one that never had a thread started, and is nobody's child
void process_ref(struct process *p);
void process_unref(struct process *p);
struct process *process_find(int pid); // with a reference, or NULL
struct process *process_find_task(int tid); // the same, or the one that has a thread of this number
// For procfs: the process with the smallest pid >= `pid`, and the thread of p with the smallest tid >= `tid`; referenced, or NULL.
struct process *process_next(int pid);
struct thread *process_next_thread(struct process *p, int tid);
// CPU time of all threads, ended ones included: split, and the exact sum.
void process_times(struct process *p, nsec_t *user, nsec_t *system);
nsec_t process_cpu_time(struct process *p);
void process_cpu_times(struct process *p, nsec_t *sum, nsec_t *user); // signal_lock held
// Would the real user of `p` have more threads than RLIMIT_NPROC allows, with `more` new ones? Root and the privileged may.
bool process_limit_reached(const struct process *p, int more);
// May the current process look into the other one, or change it? `real`: the caller's real IDs count (process_vm_readv), not those
// for files (/proc). kernel/process/access.c
bool process_may_trace(struct process *p, bool real);
struct aspace *process_aspace_ref(struct process *p); // NULL when it has ended
// The letter that /proc/PID/stat shows: R S D T Z.
char process_state(struct process *p);
char thread_state_letter(struct thread *t);
// A signal to all processes of a group (-ESRCH: there is none); any context. Terminals use it.
int process_group_signal(int pgid, int sig, const siginfo_t *info);
// Has no member of its group a parent outside of the group, but in the session, who would look after it?
bool process_group_orphaned(struct process *p);
// The current process lets go of the address space that its vfork(2) parent lent it: called by exec and exit.
void process_vfork_done(struct process *p);
void process_vfork_wait(struct process *child); // by the parent: until that, or until the current thread is to end
// Copies what a child inherits in this layer: credentials, limits, group, session, terminal, names. From then on what is sent to
// the group reaches it. -ERESTARTNOINTR: the current thread has signals to handle first, which may have been meant for both.
int process_inherit(struct process *child, struct process *parent);
// The child, complete but for its thread, becomes one of the parent's, or (sibling: CLONE_PARENT) of the parent's parent.
void process_adopt(struct process *child, struct process *parent, bool sibling);
void process_add_thread(struct process *p, struct thread *t); // by thread_start
int pid_alloc(void);                   // process and thread numbers come from one space; -EAGAIN when exhausted
int pid_take(int pid);                 // this one: it, -EEXIST, -EINVAL, -ENOMEM
void pid_free(int pid);

void thread_exit(int code) NORETURN;                 // exit(2): this thread; the process too when it is the last
void process_exit(uint32_t wait_status) NORETURN;    // exit_group(2): all threads of the current process
// Marks all threads as having to exit, with this wait status unless one is set already. Any context; signal_lock held.
void process_begin_exit(struct process *p, uint32_t wait_status);
// The parent is told that a child stopped or went on: CLD_STOPPED, CLD_CONTINUED. No lock held.
void process_notify_parent(struct process *p, int code, int status);

// wait4(2), waitid(2): a child of the current process that has changed its state.
struct wait_query {
    int kind, id; // P_ALL, P_PID, P_PGID
    int options;  // WNOHANG, WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, __WALL, __WCLONE, __WNOTHREAD
};
struct wait_result {
    int pid;
    uint32_t uid, status; // status as wait(2) shows it
    int code;             // CLD_*
    nsec_t user_ns, system_ns; // these and the following: with the child's own children
    uint64_t minor_faults, major_faults, voluntary_switches, involuntary_switches;
    uint64_t peak_resident;
};
// The pid; 0 with WNOHANG when there is none yet; -ECHILD, -ERESTARTSYS.
long process_wait(const struct wait_query *q, struct wait_result *r);

// execve(2): ends all other threads of the current process and waits for them. False: this thread is to end itself (another
// one was first, or the process is being killed), which it does on its way to the application.
bool process_kill_others(void);

#endif
