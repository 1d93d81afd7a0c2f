// Waiting for one of many files: what poll(2), select(2) and everything else that waits on files is made of.
//
//     struct poller p;
//     poller_init(&p);
//     for (;;) {
//         for each file: ready |= file_poll(f, poller_table(&p));   // the first round registers
//         if (ready || (err = poller_wait(&p, deadline)) < 0) break;
//     }
//     poller_done(&p);
#ifndef FS_POLL_H
#define FS_POLL_H

#include "fs/file.h"
#include "kernel/threads/wait.h"

struct poll_entry {
    struct waiter waiter;
    struct file *file; // referenced
};
struct poll_block {
    struct poll_block *next;
    unsigned count;
    struct poll_entry entries[30];
};
struct poller {
    struct poll_table table; // first
    struct waitq wait;       // where the thread sleeps
    uint32_t triggered;
    bool registered; // the first round is over
    int error;       // -ENOMEM: not all files could be registered
    unsigned count;
    struct poll_entry entries[6];
    struct poll_block *more;
};

void poller_init(struct poller *p);
// What to give to file_poll: registers in the first round, NULL afterwards and once anything was ready.
static inline struct poll_table *poller_table(struct poller *p) { return p->registered ? NULL : &p->table; }
static inline void poller_stop_registering(struct poller *p) { p->registered = true; }
// Sleeps until a registered file has news. 0, -ETIMEDOUT, -ERESTARTNOHAND (a signal), -ENOMEM.
int poller_wait(struct poller *p, nsec_t deadline);
void poller_done(struct poller *p);

// For file_ops.poll: the readiness depends on this queue.
static inline void poll_on(struct poll_table *pt, struct file *f, struct waitq *wq) {
    if (pt)
        pt->add(pt, f, wq);
}

// --- epoll(7) ---
struct epoll_request { // as the ABI's struct epoll_event, which is packed
    uint32_t events;
    uint64_t data;
};
struct file *epoll_create(unsigned flags);
int epoll_control(struct file *epoll, int op, int fd, struct file *target, const struct epoll_request *request);
// Up to `max` events through `emit`, which returns false when it could not store one (-EFAULT). The number stored, or -errno.
int epoll_wait(struct file *epoll, int max, nsec_t deadline,
               bool (*emit)(void *arg, int i, const struct epoll_request *ev), void *arg);
void epoll_file_released(struct file *f);                    // file_release: forget it
struct file *eventfd_create(uint32_t count, unsigned flags); // EFD_*
struct file *signalfd_create(uint64_t mask, unsigned flags); // O_NONBLOCK
int signalfd_set(struct file *f, uint64_t mask);             // other signals. -EINVAL: no signalfd
struct file *timerfd_create(int clock, unsigned flags);      // CLOCK_*, O_NONBLOCK
struct timer_setting {
    nsec_t value, interval; // value 0: not armed
};
int timerfd_get(struct file *f, struct timer_setting *out); // value: what is left. -EINVAL: no timerfd
#define TFD_TIMER_ABSTIME 1
#define TFD_TIMER_CANCEL_ON_SET 2
// `how`: TFD_TIMER_*. -EINVAL; -ECANCELED: armed, but the clock had been set since the last setting.
int timerfd_set(struct file *f, const struct timer_setting *new, unsigned how, struct timer_setting *old);

// --- Processes as files ---
struct process;
struct file *pidfd_create(struct process *p, unsigned flags); // O_NONBLOCK; takes a reference of its own. ERR_PTR
struct process *pidfd_process(struct file *f);                // lives as long as the file; NULL: no pidfd
// Whose /proc/PID the open directory is, with a reference. NULL: it is none; ERR_PTR(-ESRCH): the process is gone.
struct process *procfs_process(struct file *f);
bool pidfd_reaped(struct process *p);                         // it has ended and was waited for: its number is nobody's
struct file *pidfd_get_file(struct process *p, int fd);       // one of its files. ERR_PTR(-EPERM, -ESRCH, -EBADF)

// --- Pipes ---
int pipe_create(unsigned flags, struct file *ends[2]);       // read end, write end
struct file *fifo_open(struct inode *inode, unsigned flags); // open(2) of a FIFO: waits for the other side. ERR_PTR
long pipe_set_size(struct file *f, unsigned size);           // F_SETPIPE_SZ. The size, or -errno (-EBADF: not a pipe)
long pipe_get_size(struct file *f);

// --- Locks of files ---
#define LOCK_OWNER_FILE 1 // flock(2) and open file description locks: the owner is the file
struct file_lock {
    struct file_lock *next;
    struct inode *inode;
    void *owner; // a struct file_table (fcntl) or a struct file (flock, OFD)
    bool exclusive, flock, ofd;
    uint64_t start, end; // last byte included
    int pid;             // as F_GETLK tells: -1 for open file description locks
    struct list all;     // of the system's locks, or those that wait for one
};
// type F_RDLCK, F_WRLCK, F_UNLCK. 0, -EAGAIN (when !wait), -ERESTARTSYS, -ENOLCK, -EDEADLK (processes' locks).
int lock_set(struct file *f, void *owner, bool flock, int type, uint64_t start, uint64_t end, bool wait);
// For /proc/locks: every lock, each followed by those that wait for it.
void lock_each(void (*fn)(void *ctx, const struct file_lock *l, bool waits, int number), void *ctx);
// The first lock that is in the way: true, with a copy of it.
bool lock_test(struct file *f, void *owner, int type, uint64_t start, uint64_t end, struct file_lock *found);
void lock_release_owner(struct inode *inode, void *owner, bool flock);

#endif
