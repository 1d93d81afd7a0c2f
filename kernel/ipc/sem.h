// System V semaphores: sets, atomic operations on several at once, adjustments that the end of a process undoes.
// Locks: the set's (ipc_object.lock) > sem_undo_list.lock.
#ifndef KERNEL_IPC_SEM_H
#define KERNEL_IPC_SEM_H

#include "kernel/ipc/ids.h"
#include "kernel/list.h"

#define SEM_VALUE_MAX 32767
#define SEM_FLAG_NOWAIT 04000 // IPC_NOWAIT
#define SEM_FLAG_UNDO 0x1000  // SEM_UNDO

struct sem_operation { // as the ABI's struct sembuf
    uint16_t number;
    int16_t change;
    int16_t flags;
};
struct sem_limits {
    int per_set, total, operations, sets; // SEMMSL, SEMMNS, SEMOPM, SEMMNI
};
extern struct sem_limits sem_limits;
extern struct ipc_ids sem_ids;

long sem_get(int key, int count, unsigned flags); // semget(2)
// semtimedop(2): `deadline` absolute and monotonic, NSEC_MAX: none. 0 or -EINVAL, -EFBIG, -EACCES, -EIDRM, -ERANGE, -ENOMEM, -EAGAIN
// (also for the deadline), -EINTR.
long sem_operate(int id, const struct sem_operation *ops, unsigned count, nsec_t deadline);

enum sem_query { SEM_GET_VALUE, SEM_GET_PID, SEM_GET_WAITING, SEM_GET_WAITING_ZERO };
long sem_query(int id, int number, enum sem_query what);
long sem_set_value(int id, int number, int value);
// All values: *values is kmalloc'ed by the callee (get) or the caller's (set). The number of semaphores, or -errno.
long sem_get_all(int id, uint16_t **values);
long sem_set_all(int id, const uint16_t *values, unsigned count);
long sem_count(int id); // of the set, for who is going to call sem_set_all: with its permission check
struct sem_status {
    struct ipc_info ipc;
    nsec_t otime;
    unsigned count;
};
long sem_status(int n, enum ipc_by by, struct sem_status *out); // the identifier
long sem_change(int id, const struct ipc_change *c);
long sem_remove(int id);
unsigned sem_total(void); // semaphores in all sets

// --- Adjustments: sem_undo.c ---
struct sem_set;
struct sem_undo {
    struct list set_link;  // sem_set.undos, under the set's lock; on no list: the set is gone
    struct list list_link; // sem_undo_list.entries
    struct sem_set *set;   // referenced
    int16_t adjust[];      // under the set's lock
};
// What the threads of a process have to undo at its end. Made by the first operation that asks for it.
struct sem_undo_list {
    uint32_t refs;
    struct spinlock lock;
    struct list entries;
};
struct process;
struct sem_undo *sem_undo_find(struct sem_set *set); // the current process's for this set, made if need be; ERR_PTR(-ENOMEM)
void sem_undo_apply(struct sem_undo *u);             // sem.c: at the end of the process
int sem_undo_share(struct process *child);           // CLONE_SYSVSEM without CLONE_THREAD: 0 or -ENOMEM
void sem_undo_end(struct process *p);                // the process ends, or unshares: p->sem_undo is not NULL

// --- The arithmetic, for sem.c and its unit test ---
struct semaphore {
    int value, pid;
};
struct sem_set {
    struct ipc_object object;
    nsec_t otime;
    unsigned count;
    struct list waiting; // struct sem_waiter
    struct list undos;
    struct semaphore semaphores[];
};
// Does all the operations or none. 0; 1: it would have to wait, on *blocking; -EAGAIN, -ERANGE. The set is locked.
int sem_try(struct sem_set *set, const struct sem_operation *ops, unsigned count, struct sem_undo *undo, int pid, unsigned *blocking);

#endif
