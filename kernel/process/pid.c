// The table of numbers: pages of entries that are allocated when their first number is, and freed after their last. A number
// is reused only after all others have been, so that a stale one does not soon mean somebody else.
#include "kernel/process/pid.h"
#include "kernel/threads/lock.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/threads/thread.h"

struct pid_entry {
    struct process *process;
    struct thread *thread;
    bool used; // the number is taken
};

#define FIRST_AGAIN 300 // the low numbers are used once only, as in Linux
#define PER_CHUNK 128
struct pid_chunk {
    unsigned used;
    struct pid_entry entry[PER_CHUNK];
};

static struct spinlock pid_lock;
static struct pid_chunk *chunks[PID_MAX / PER_CHUNK];
static int last_pid;

static struct pid_entry *entry_of(int pid)
{
    if (pid <= 0 || pid >= PID_MAX || !chunks[pid / PER_CHUNK])
        return NULL;
    return &chunks[pid / PER_CHUNK]->entry[pid % PER_CHUNK];
}

// The first free number from `from` on; chunks that do not exist are made, full ones skipped. 0: none.
static int find_free(int from)
{
    for (int pid = from; pid < PID_MAX;) {
        struct pid_chunk **chunk = &chunks[pid / PER_CHUNK];
        if (!*chunk && !(*chunk = kzalloc(sizeof **chunk)))
            return 0;
        if ((*chunk)->used == PER_CHUNK) {
            pid = (pid / PER_CHUNK + 1) * PER_CHUNK;
            continue;
        }
        for (; pid < PID_MAX; pid++) {
            if (!(*chunk)->entry[pid % PER_CHUNK].used)
                return pid;
            if (pid % PER_CHUNK == PER_CHUNK - 1) {
                pid++;
                break;
            }
        }
    }
    return 0;
}

// Takes an empty chunk out of the table, to be freed. The one that numbers come from just now stays, else each short-lived
// thread would allocate it again.
static struct pid_chunk *take_empty(int pid)
{
    struct pid_chunk **at = &chunks[pid / PER_CHUNK], *chunk = *at;
    if (!chunk || chunk->used || pid / PER_CHUNK == last_pid / PER_CHUNK)
        return NULL;
    *at = NULL;
    return chunk;
}

int pid_alloc(void)
{
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    struct pid_chunk *empty = NULL;
    int pid = find_free(last_pid + 1);
    if (!pid)
        pid = find_free(FIRST_AGAIN);
    if (pid) {
        int left = last_pid;
        chunks[pid / PER_CHUNK]->used++;
        entry_of(pid)->used = true;
        last_pid = pid;
        empty = take_empty(left);
    }
    spin_unlock_irqrestore(&pid_lock, flags);
    kfree(empty);
    return pid ? pid : -EAGAIN;
}

int pid_take(int pid)
{
    if (pid < 1 || pid >= PID_MAX)
        return -EINVAL;
    int err = 0;
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    struct pid_chunk **chunk = &chunks[pid / PER_CHUNK];
    if (!*chunk && !(*chunk = kzalloc(sizeof **chunk)))
        err = -ENOMEM;
    else if (entry_of(pid)->used)
        err = -EEXIST;
    else {
        (*chunk)->used++;
        entry_of(pid)->used = true;
    }
    spin_unlock_irqrestore(&pid_lock, flags);
    return err ? err : pid;
}

void pid_free(int pid)
{
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    *entry_of(pid) = (struct pid_entry){0};
    chunks[pid / PER_CHUNK]->used--;
    struct pid_chunk *empty = take_empty(pid);
    spin_unlock_irqrestore(&pid_lock, flags);
    kfree(empty);
}

void pid_set_process(int pid, struct process *p)
{
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    entry_of(pid)->process = p;
    spin_unlock_irqrestore(&pid_lock, flags);
}

void pid_set_thread(int tid, struct thread *t)
{
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    entry_of(tid)->thread = t;
    spin_unlock_irqrestore(&pid_lock, flags);
}

struct process *pid_find_process(int pid)
{
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    struct pid_entry *e = entry_of(pid);
    struct process *p = e ? e->process : NULL;
    if (p)
        process_ref(p);
    spin_unlock_irqrestore(&pid_lock, flags);
    return p;
}

struct thread *pid_find_thread(int tid)
{
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    struct pid_entry *e = entry_of(tid);
    struct thread *t = e ? e->thread : NULL;
    if (t)
        thread_ref(t);
    spin_unlock_irqrestore(&pid_lock, flags);
    return t;
}

struct process *pid_next_process(int pid)
{
    struct process *p = NULL;
    pid = MAX(pid, 1);
    uint64_t flags = spin_lock_irqsave(&pid_lock);
    while (!p && pid < PID_MAX) {
        struct pid_chunk *chunk = chunks[pid / PER_CHUNK];
        if (!chunk || !chunk->used) {
            pid = (pid / PER_CHUNK + 1) * PER_CHUNK;
            continue;
        }
        p = chunk->entry[pid++ % PER_CHUNK].process;
    }
    if (p)
        process_ref(p);
    spin_unlock_irqrestore(&pid_lock, flags);
    return p;
}
