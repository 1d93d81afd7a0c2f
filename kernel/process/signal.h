// Signals: generation, masks, queues, delivery. The frame on the application's stack is kernel/x86/sigframe.c's.
// Locks: process.signal_lock (interrupt-safe) protects handlers, the process's queue and the queues of all its threads.
#ifndef KERNEL_SIGNAL_H
#define KERNEL_SIGNAL_H

#include "kernel/list.h"
#include "kernel/types.h"
#include <asm/signal.h>  // SIG*, SA_*, stack_t
#include <asm/siginfo.h> // siginfo_t, SI_*, SEGV_*

#define SIGNAL_COUNT 64
#define SIGMASK(sig) (1UL << ((sig)-1))
#define SIGMASK_UNBLOCKABLE (SIGMASK(SIGKILL) | SIGMASK(SIGSTOP))
#define SIGMASK_SYNCHRONOUS (SIGMASK(SIGSEGV) | SIGMASK(SIGBUS) | SIGMASK(SIGILL) | SIGMASK(SIGFPE) | SIGMASK(SIGTRAP) | SIGMASK(SIGSYS))

// What the kernel knows of a siginfo_t, and all that it fills in: the rest is zero when the application sees it, as in Linux.
#define SIGNAL_INFO_SIZE 48
struct signal_info_words {
    uint64_t words[SIGNAL_INFO_SIZE / 8];
} __attribute__((may_alias));
struct signal_info_tail {
    uint64_t words[(sizeof(siginfo_t) - SIGNAL_INFO_SIZE) / 8];
} __attribute__((may_alias));
_Static_assert(offsetof(siginfo_t, si_call_addr) + 16 <= SIGNAL_INFO_SIZE && offsetof(siginfo_t, si_value) + 8 <= SIGNAL_INFO_SIZE, "all of it");

// A siginfo_t to be sent: what lies behind SIGNAL_INFO_SIZE is not looked at.
static inline void signal_info_init(siginfo_t *info, int sig, int code)
{
    *(struct signal_info_words *)info = (struct signal_info_words){{0}};
    info->si_signo = sig;
    info->si_code = code;
}

// Before the whole of it is shown to somebody.
static inline void signal_info_complete(siginfo_t *info)
{
    *(struct signal_info_tail *)((struct signal_info_words *)info + 1) = (struct signal_info_tail){{0}};
}

struct process;
struct thread;

struct signal_queue {
    uint64_t set;        // bit per pending signal
    struct list entries; // struct queued_signal, in order
};

struct signal_action {
    uaddr_t handler; // SIG_DFL, SIG_IGN, or an address
    uint64_t flags;  // SA_*
    uaddr_t restorer;
    uint64_t mask;
};

struct signal_handlers {
    uint32_t refs; // CLONE_SIGHAND
    struct signal_action action[SIGNAL_COUNT];
};

// What sending and delivery share; the process's signal_lock is held.
void signal_queue_init(struct signal_queue *q);
void signal_queue_flush(struct signal_queue *q);
void signal_forget_spare(struct process *p); // when it is freed
void signal_queue_discard(struct process *p, struct signal_queue *q, uint64_t set); // forgets these signals
// Adds one: 0, or -EAGAIN when `must_queue` and there is no room. Standard signals that are pending already are dropped.
int signal_queue_add(struct process *p, struct signal_queue *q, int sig, const siginfo_t *info, bool must_queue);
// Takes one signal of `set`: synchronous ones first, then by number. 0: there is none. Fills in SIGNAL_INFO_SIZE bytes of *info.
int signal_queue_take(struct process *p, struct signal_queue *q, uint64_t set, siginfo_t *info);
enum signal_default { SIGNAL_TERMINATE, SIGNAL_CORE, SIGNAL_IGNORE, SIGNAL_STOP, SIGNAL_CONTINUE };
enum signal_default signal_default_action(int sig);
#define SIGMASK_STOP (SIGMASK(SIGSTOP) | SIGMASK(SIGTSTP) | SIGMASK(SIGTTIN) | SIGMASK(SIGTTOU))

// To a process (any thread that does not block it) or to one thread. `info` may be NULL (as from the kernel).
// 0, -EINVAL, or -EAGAIN (queue limit of real-time signals). Any context but with no signal_lock held.
int signal_send_process(struct process *p, int sig, const siginfo_t *info);
int signal_send_thread(struct thread *t, int sig, const siginfo_t *info);
void signal_send_self(int sig); // SIGPIPE, SIGXFSZ: to the current thread, as if it had sent it with kill(2)
// Would it be forgotten at once? For senders who spare themselves the details; what it says may change.
bool signal_ignored(const struct process *p, int sig);
// A fault of the current thread: delivered even if blocked or ignored (then it kills). Returns to be delivered on the way out.
void signal_fault(int sig, int code, uaddr_t addr, int trapno, uint64_t error_code);
void signal_kill_process(struct process *p, int sig); // SIGKILL semantics: cannot be caught, status shows `sig`

long signal_set_action(int sig, const struct signal_action *new_action, struct signal_action *old); // sigaction(2)
// signal_set_mask, the current thread's: kernel/process/signal_mask.h
// Takes one pending signal of `set` for sigtimedwait(2) and signalfd. The number, or 0 when there is none.
int signal_take(uint64_t set, siginfo_t *info);
uint64_t signal_pending_set(void); // sigpending(2)
struct signal_handlers *signal_handlers_create(void);                     // all default; NULL: no memory
struct signal_handlers *signal_handlers_copy(struct signal_handlers *from); // fork
void signal_handlers_unref(struct signal_handlers *h);
void signal_reset_handlers_of(struct signal_handlers *h); // what was caught becomes default
void signal_reset_handlers(struct process *p); // exec: what was caught becomes default; un-shares

// The process is stopping and a thread has stopped or ended: when it was the last, the parent is told. No lock held.
void signal_stop_progress(struct process *p);

// Logs why the program dies, in detail: signal, address, registers, the mapping, the code.
void signal_report_crash(int sig, const siginfo_t *info);

// kernel/x86/sigframe.c: the frame on the application's stack. It makes the thread's frame call the handler. -EFAULT: the
// stack cannot be written.
int sigframe_push(int sig, const struct signal_action *a, const siginfo_t *info, uint64_t old_mask);
// rt_sigreturn(2): takes everything back from the frame at the stack pointer. -EFAULT: there is none.
int sigframe_pop(void);
// sigaltstack(2) of the current thread, whose stack pointer is `sp`: 0, -EPERM, -EINVAL, -ENOMEM.
int signal_set_alt_stack(const stack_t *ss, uaddr_t sp);
void signal_get_alt_stack(stack_t *ss, uaddr_t sp);
// For programs without SA_RESTORER: where their handlers return to. Set by the loader; NULL: such programs are refused.
extern uaddr_t (*signal_restorer_hook)(struct process *p);

// On the way to the application with WORK_SIGNAL: delivers what is pending, restarts or interrupts the system call.
void signal_deliver(void);

#endif
