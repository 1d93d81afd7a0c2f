// What System V semaphores, message queues and shared memory have in common: identifiers, keys, permissions, removal.
// Locks: ipc_ids.change (mutex: creation) > ipc_object.lock > ipc_ids.lock (the slots). Each object type embeds struct ipc_object.
#ifndef KERNEL_IPC_IDS_H
#define KERNEL_IPC_IDS_H

#include "kernel/threads/lock.h"
#include "kernel/types.h"

#define IPC_SLOTS 32768 // identifiers of one kind at a time

struct ipc_object {
    int id;
    int key; // IPC_PRIVATE (0): cannot be found by it
    uint32_t refs;
    uint32_t uid, gid, cuid, cgid, mode; // mode: permissions, and what a type adds
    struct spinlock lock;                // of everything in the object
    bool removed;                        // under lock: no longer in the table
    struct ipc_object *next_key;         // in ipc_ids.keys, unless IPC_PRIVATE; under ipc_ids.lock, as key is when it changes
    nsec_t ctime;
    void (*release)(struct ipc_object *o); // the last reference is gone
};

struct ipc_ids {
    struct mutex change;
    struct spinlock lock;
    struct ipc_object **slots;
    struct ipc_object **keys; // chains of those with a key, as many as slots
    unsigned capacity, used;
    unsigned full; // the slots before this one are all in use
    int last; // the slot handed out last
    uint16_t seq;
};
#define IPC_IDS_INIT(name) {.change = MUTEX_INIT((name).change), .last = -1}

// semget(2) and the like. `make` returns a new object (refs 1, initialised by ipc_object_init) or ERR_PTR; `check` looks at one that was
// found by its key, locked: 0 or -errno. The identifier, or -ENOENT, -EEXIST, -EACCES, -ENOSPC (more than `limit` objects), -ENOMEM.
struct ipc_request {
    int key;
    unsigned flags; // IPC_CREAT, IPC_EXCL, permissions
    unsigned limit;
    struct ipc_object *(*make)(const struct ipc_request *r);
    int (*check)(const struct ipc_object *o, const struct ipc_request *r);
    uint64_t size; // the type's
};
long ipc_get(struct ipc_ids *ids, const struct ipc_request *r);
void ipc_object_init(struct ipc_object *o, const struct ipc_request *r, void (*release)(struct ipc_object *o));

// The object, referenced and locked. ERR_PTR(-EINVAL): there is none.
struct ipc_object *ipc_lock(struct ipc_ids *ids, int id);
// The same by the number of the slot: SEM_STAT and the like.
struct ipc_object *ipc_lock_slot(struct ipc_ids *ids, int slot);
void ipc_unlock(struct ipc_object *o); // and drops the reference
void ipc_unref(struct ipc_object *o);
static inline void ipc_ref(struct ipc_object *o) { atomic_add(&o->refs, 1); }
// Takes a locked object out of the table, whose reference is dropped; the caller has one of its own.
void ipc_remove(struct ipc_ids *ids, struct ipc_object *o);
// A locked object can no longer be found by its key: it gets IPC_PRIVATE.
void ipc_forget_key(struct ipc_ids *ids, struct ipc_object *o);
int ipc_highest(struct ipc_ids *ids); // the highest slot in use; -1: none
static inline uint16_t ipc_sequence(const struct ipc_object *o) { return (uint16_t)(o->id / IPC_SLOTS); }

bool ipc_permitted(const struct ipc_object *o, unsigned mode); // mode: S_IRUGO, S_IWUGO...: what is asked for
bool ipc_owned(const struct ipc_object *o);                     // may the current process remove and change it?
struct ipc_change { // IPC_SET
    uint32_t uid, gid, mode;
};
int ipc_set(struct ipc_object *o, const struct ipc_change *c); // locked. 0 or -EINVAL

// What the *_STAT calls and /proc/sysvipc show of any object.
struct ipc_info {
    int id, key;
    uint32_t uid, gid, cuid, cgid, mode;
    uint16_t seq;
    nsec_t ctime;
};
void ipc_describe(const struct ipc_object *o, struct ipc_info *out);
// How an object to be described is named: by identifier with a check, by slot with a check, by slot without one.
enum ipc_by { IPC_BY_ID, IPC_BY_SLOT, IPC_BY_SLOT_ANY };
struct ipc_object *ipc_lock_to_read(struct ipc_ids *ids, int n, enum ipc_by by); // ERR_PTR(-EINVAL, -EACCES)

#define IPC_READ 0444
#define IPC_WRITE 0222

#endif
