// Threads and the scheduler: what runs. One run queue a CPU, ordered by priority and fair shares; see docs/scheduler.md.
// Locks: runqueue.lock (interrupt-safe) comes after all others but the timer heap's. A thread marks itself as about to sleep
// without it; every other change of thread.state is made under the lock of the run queue of thread.cpu, which is held across
// the switch itself: whoever has it and finds a thread that is not that CPU's current one knows that its registers are saved.
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include "kernel/heap.h"
#include "kernel/list.h"
#include "kernel/threads/cputime.h"
#include "kernel/threads/lock.h"
#include "kernel/process/signal.h"
#include "kernel/time.h"
#include "kernel/types.h"
#include "kernel/threads/wait.h"
#include "kernel/x86/context.h" // struct trapframe, struct thread_context: the machine's part

struct process;
struct aspace;

// A call that gave -ERESTART_BLOCK goes on with restart.fn when the application makes restart_syscall(2).
struct restart {
    long (*fn)(struct restart *r);
    uint64_t args[5];
};

enum thread_state { THREAD_RUNNING, THREAD_READY, THREAD_SLEEPING, THREAD_SLEEPING_INTERRUPTIBLE, THREAD_DEAD };

// thread.work: reasons to leave the fast path between kernel and application. Set with atomic_or by anyone.
#define WORK_RESCHED 0x01 // the time slice is over
#define WORK_SIGNAL 0x02  // signals are pending (perhaps)
#define WORK_TRACE 0x04   // system calls are traced or counted
#define WORK_EXIT 0x08    // the process is ending: this thread must exit
#define WORK_STOP 0x10    // stopped by a signal
#define WORK_RESTORE_MASK 0x20 // sigsuspend, ppoll: put signal_saved_mask back after delivery
#define WORK_RSEQ 0x40 // rseq(2): preempted or moved
#define WORK_RECLAIM 0x80 // memory was short when it allocated
#define WORK_DEFERRED 0x100 // there is work of interrupts on this CPU: kernel/threads/deferred.h
#define WORK_ENTRY WORK_TRACE  // looked at when a system call enters
// Every bit is looked at on the way out.
extern uint32_t thread_initial_work; // what threads of the application start with: WORK_TRACE when calls are traced, or 0

struct thread {
    // The entry code uses these; their offsets are asserted in kernel/x86/.
    struct thread_context context; // saved stack pointer, FPU area, FS and GS base
    uint32_t work;                 // WORK_*

    uint8_t *stack;                // lowest address of the kernel stack
    struct trapframe *frame;       // the application's registers, at the stack's top (valid for application threads)

    enum thread_state state;
    uint32_t refs;
    // Scheduling: kernel/threads/runqueue.h. Under the lock of the run queue of `cpu`.
    int cpu;                   // where it runs or ran last
    uint64_t affinity;         // bitmap of allowed CPUs
    struct heap_node run_node; // in a run queue
    bool queued;               // it is in one
    bool turn_over;            // its time slice under SCHED_RR is over
    int64_t vruntime;          // CPU time used, divided by its weight
    uint64_t weight_factor;    // what a cycle adds to it, with 32 binary places; 0: real-time
    uint32_t weight;
    uint32_t realtime_ticks;   // since it last slept, for RLIMIT_RTTIME
    uint64_t realtime_slept;   // voluntary_switches at that time
    uint64_t slice_start;      // cycles, under SCHED_RR
    uint64_t cycles, accounted; // CPU time used, up to cycle `accounted`
    struct cpu_samples samples; // kernel/threads/cputime.h
    struct cpu_times shown;     // what was reported last
    // Its priority; see thread_priority and kernel/threads/policy.c.
    uint8_t policy;           // SCHED_*
    int8_t nice;
    uint8_t rt_priority;      // 1 to 99 under SCHED_FIFO and SCHED_RR, else 0
    uint8_t inherited;        // the key that a waiter for a priority-inheriting futex lends it, or PRIORITY_NONE
    uint8_t priority;         // the better of its own and the inherited key
    bool reset_on_fork;       // SCHED_RESET_ON_FORK
    uint16_t io_priority;     // ioprio_set(2): kept, no device asks for it
    uint16_t memory_policy;   // set_mempolicy(2): kept, there is one node
    bool idle, kernel;        // the CPU's idle thread; a thread without an application
    bool no_faults;           // its user copies end at a page that is not there: kernel/memory/landing.c
    bool reclaims;            // it gives memory back: kernel/memory/reclaim.h
    uint32_t page_waits;      // how often it waited for a file's page to be read: what makes a fault a major one
    char name[16];            // PR_SET_NAME

    struct process *process;  // never NULL: kernel threads belong to the kernel's process (pid 0)
    int tid;
    struct list process_link; // process.threads

    struct signal_queue pending; // thread-directed
    uint64_t signal_mask, signal_saved_mask;
    // The last exception: what a signal frame and the crash report show.
    uint64_t fault_trap, fault_error, fault_address;
    uaddr_t alt_stack;
    uint64_t alt_stack_size;
    uint32_t alt_stack_flags;

    uaddr_t clear_tid;   // CLONE_CHILD_CLEARTID, set_tid_address(2)
    uaddr_t robust_list;
    uint64_t robust_len;
    struct pi_state *pi_held;     // priority-inheriting futexes that others wait for: futex_pi.c
    struct pi_waiter *pi_blocked; // its own wait for one
    uaddr_t rseq; // rseq(2): the area, 0: none
    uint32_t rseq_signature, rseq_cpu; // the CPU that the area names
    struct waitq *sleeping_on; // for reports
    struct restart restart; // what restart_syscall(2) continues
    nsec_t start_time;      // monotonic
    int parent_death_signal; // PR_SET_PDEATHSIG
    uint64_t timer_slack, timer_slack_default; // PR_SET_TIMERSLACK; 0: Linux' default
    const struct credentials *borrowed_cred; // NULL: it acts with those of its process
    CHECKED(struct held_locks locks_held;)
    uint64_t minor_faults, major_faults, voluntary_switches, involuntary_switches;
};

// Priorities as one number, as Linux orders them; lower is better: 0 is SCHED_FIFO or SCHED_RR at 99, 98 the same at 1, 100 to 139
// the others by nice -20 to 19.
#define PRIORITY_NORMAL 100
#define PRIORITY_NICE_0 120
#define PRIORITY_NONE 140
// The key by which the thread is scheduled now: its own, or a better one that it has inherited. Any context.
static inline int thread_priority(const struct thread *t) { return READ_ONCE(t->priority); }
// Lends the thread a priority: the best key of those that wait for it, PRIORITY_NONE when nobody does any more. Takes effect at once.
// Any context, spinlocks may be held (but a run queue's).
void thread_inherit_priority(struct thread *t, int key);

struct thread *thread_current(void); // kernel/x86/context.h has it inline

// A kernel thread; runs fn(arg) and ends when it returns. NULL: no memory. Not yet started.
struct thread *thread_create_kernel(const char *name, void (*fn)(void *), void *arg);
// A thread of the application with a kernel stack and an empty frame; not yet in process.threads, not yet started.
struct thread *thread_create_user(struct process *p);
void thread_start(struct thread *t); // makes it ready to run
void thread_ref(struct thread *t);
void thread_unref(struct thread *t);
// Ends the current thread; its stack and structure are freed by whoever runs next.
void thread_exit_current(void) NORETURN;

// Any context; no effect on a thread that does not sleep. A sleep may always end without a reason: sleepers look again.
void thread_wake(struct thread *t);
// The same for a thread that waits for *flag to be NULL and may end as soon as it is: clears it at the right moment.
void thread_wake_clear(struct thread *t, void **flag);
void thread_interrupt(struct thread *t);           // wakes it when it sleeps interruptibly; kicks its CPU when it runs
void thread_prepare_sleep(bool interruptible);     // then check the condition, then thread_sleep_until
void thread_cancel_sleep(void);                    // the condition was true already: no sleep after thread_prepare_sleep
void thread_yield(void);                           // sched_yield(2)
static inline bool thread_signal_pending(void);    // an unmasked signal (or WORK_EXIT) for the current thread
bool thread_signal_pending_slow(void);             // there may be one: looks closely
void thread_add_work(struct thread *t, uint32_t work); // WORK_*; makes a running thread notice it soon
// A voluntary preemption point in long loops of the kernel: switches when the slice is over. No spinlock held.
static inline void sched_point(void);
void sched_yield_now(void);

void sched_init(void);                 // boot CPU
void sched_init_cpu(void);             // every CPU, before its first switch
void sched_idle_loop(void) NORETURN;   // what a CPU does in the end
void sched_exit_to_user(void);         // WORK_RESCHED on the way to the application
// sched_setaffinity(2): 0, -EINVAL. A thread that runs on a CPU that is not allowed has left it when this returns.
int thread_set_affinity(struct thread *t, uint64_t cpus);
struct sched_policy {
    int policy, nice, rt_priority; // consistent: kernel/threads/policy.c asks no questions
    bool reset_on_fork;
};
void thread_set_policy(struct thread *t, const struct sched_policy *s);
void thread_get_policy(struct thread *t, struct sched_policy *s);
// A new thread gets the policy, nice value and CPUs of its parent (or the defaults: SCHED_RESET_ON_FORK). Before it is started.
void thread_inherit_policy(struct thread *child, const struct thread *parent);
void sched_kicked(void);      // the interrupt that cpu_kick() sends: nothing but a look at the run queue
struct thread *thread_find(int tid);   // with a reference, or NULL
uint64_t sched_load(void);             // ready and running threads at this moment
// Is it better to spin for what another CPU will do than to sleep? Another one is busy, nothing else is to be done on this one.
bool sched_may_spin(void);
// A hint for those that spin until it is done with something; it may have ended.
#ifdef KNARR_UNIT_TEST
bool thread_on_cpu(const struct thread *t);
#else
static inline bool thread_on_cpu(const struct thread *t) { return READ_ONCE(t->state) == THREAD_RUNNING; }
#endif

static inline bool thread_signal_pending(void) {
    return unlikely(READ_ONCE(thread_current()->work) & (WORK_SIGNAL | WORK_EXIT | WORK_STOP)) && thread_signal_pending_slow();
}

static inline void sched_point(void) {
    CHECKED(check_may_sleep(CHECK_PLACE);)
    if (unlikely(READ_ONCE(thread_current()->work) & (WORK_RESCHED | WORK_DEFERRED)))
        sched_yield_now();
}

#endif
