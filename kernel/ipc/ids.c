// Identifiers and permissions of System V IPC. See ids.h for the locks.
#include "kernel/ipc/ids.h"
#include "kernel/memory/slab.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include <linux/capability.h>
#include <linux/ipc.h>
#include <linux/stat.h>

static bool capable_of(unsigned cap) { return current_cred()->cap_effective >> cap & 1; }

// --- Life ---

void ipc_object_init(struct ipc_object *o, const struct ipc_request *r, void (*release)(struct ipc_object *o)) {
    const struct credentials *c = current_cred();
    o->id = -1;
    o->key = r->key;
    o->refs = 1;
    o->uid = o->cuid = c->euid;
    o->gid = o->cgid = c->egid;
    o->mode = r->flags & 0777;
    spin_init(&o->lock);
    o->removed = false;
    o->ctime = time_realtime();
    o->release = release;
}

void ipc_unref(struct ipc_object *o) {
    if (atomic_sub(&o->refs, 1) == 1)
        o->release(o);
}

void ipc_unlock(struct ipc_object *o) {
    spin_unlock(&o->lock);
    ipc_unref(o);
}

// --- The table ---

static struct ipc_object *find_slot(struct ipc_ids *ids, int slot) {
    spin_lock(&ids->lock);
    struct ipc_object *o = (unsigned)slot < ids->capacity ? ids->slots[slot] : NULL;
    if (o)
        ipc_ref(o);
    spin_unlock(&ids->lock);
    return o;
}

// The chain that objects with this key are in. ids->lock held, capacity is not 0.
static struct ipc_object **chain(struct ipc_object **keys, unsigned capacity, int key) {
    return &keys[(uint32_t)key * 0x9e3779b1u >> 16 & (capacity - 1)];
}

static struct ipc_object *find_key(struct ipc_ids *ids, int key) {
    spin_lock(&ids->lock);
    struct ipc_object *o = ids->capacity ? *chain(ids->keys, ids->capacity, key) : NULL;
    while (o && o->key != key)
        o = o->next_key;
    if (o)
        ipc_ref(o);
    spin_unlock(&ids->lock);
    return o;
}

static void add_key(struct ipc_object **keys, unsigned capacity, struct ipc_object *o) {
    if (o->key == IPC_PRIVATE)
        return;
    struct ipc_object **at = chain(keys, capacity, o->key);
    o->next_key = *at;
    *at = o;
}

static void forget_key(struct ipc_ids *ids, struct ipc_object *o) {
    if (o->key == IPC_PRIVATE)
        return;
    struct ipc_object **at = chain(ids->keys, ids->capacity, o->key);
    while (*at != o)
        at = &(*at)->next_key;
    *at = o->next_key;
}

void ipc_forget_key(struct ipc_ids *ids, struct ipc_object *o) {
    spin_lock(&ids->lock);
    forget_key(ids, o);
    o->key = IPC_PRIVATE;
    spin_unlock(&ids->lock);
}

// `change` held: nobody else grows it or adds to it.
static int ensure_room(struct ipc_ids *ids) {
    if (ids->used < ids->capacity)
        return 0;
    unsigned capacity = ids->capacity ? ids->capacity * 2 : 16;
    struct ipc_object **slots = kzalloc(2 * capacity * sizeof(*slots)), **old = ids->slots;
    if (!slots)
        return -ENOMEM;
    struct ipc_object **keys = slots + capacity;
    spin_lock(&ids->lock);
    for (unsigned i = 0; i < ids->capacity; i++) {
        slots[i] = old[i];
        if (old[i])
            add_key(keys, capacity, old[i]);
    }
    ids->slots = slots;
    ids->keys = keys;
    ids->capacity = capacity;
    spin_unlock(&ids->lock);
    kfree(old);
    return 0;
}

static long insert(struct ipc_ids *ids, struct ipc_object *o) {
    spin_lock(&ids->lock);
    int slot = (int)ids->full;
    while (ids->slots[slot])
        slot++;
    ids->full = (unsigned)slot + 1;
    if (slot <= ids->last)
        ids->seq++; // its 16 bits are what an identifier has room for
    ids->last = slot;
    long id = o->id = ids->seq * IPC_SLOTS + slot;
    ids->slots[slot] = o;
    add_key(ids->keys, ids->capacity, o);
    ids->used++;
    spin_unlock(&ids->lock);
    return id;
}

static long make_new(struct ipc_ids *ids, const struct ipc_request *r) {
    struct ipc_object *o = r->make(r);
    if (IS_ERR(o))
        return PTR_ERR(o);
    long err = ids->used >= MIN(r->limit, (unsigned)IPC_SLOTS) ? -ENOSPC : ensure_room(ids);
    if (err == 0)
        return insert(ids, o); // which holds the reference from here on
    ipc_unref(o);
    return err;
}

static long use_existing(struct ipc_object *o, const struct ipc_request *r) {
    long result = o->id;
    spin_lock(&o->lock);
    if ((r->flags & IPC_CREAT) && (r->flags & IPC_EXCL)) {
        result = -EEXIST;
    } else {
        int err = r->check ? r->check(o, r) : 0;
        if (err == 0 && !ipc_permitted(o, r->flags))
            err = -EACCES;
        if (err < 0)
            result = err;
    }
    ipc_unlock(o);
    return result;
}

long ipc_get(struct ipc_ids *ids, const struct ipc_request *r) {
    mutex_lock(&ids->change);
    struct ipc_object *o = r->key == IPC_PRIVATE ? NULL : find_key(ids, r->key);
    long result;
    if (o)
        result = use_existing(o, r);
    else if (r->key != IPC_PRIVATE && !(r->flags & IPC_CREAT))
        result = -ENOENT;
    else
        result = make_new(ids, r);
    mutex_unlock(&ids->change);
    return result;
}

static struct ipc_object *lock_found(struct ipc_object *o, int id) {
    if (!o)
        return ERR_PTR(-EINVAL);
    spin_lock(&o->lock);
    if (!o->removed && (id < 0 || o->id == id))
        return o;
    ipc_unlock(o);
    return ERR_PTR(-EINVAL);
}

struct ipc_object *ipc_lock(struct ipc_ids *ids, int id) {
    return id < 0 ? ERR_PTR(-EINVAL) : lock_found(find_slot(ids, id % IPC_SLOTS), id);
}

struct ipc_object *ipc_lock_slot(struct ipc_ids *ids, int slot) {
    return slot < 0 ? ERR_PTR(-EINVAL) : lock_found(find_slot(ids, slot % IPC_SLOTS), -1);
}

void ipc_remove(struct ipc_ids *ids, struct ipc_object *o) {
    o->removed = true;
    unsigned slot = (unsigned)o->id % IPC_SLOTS;
    spin_lock(&ids->lock);
    forget_key(ids, o);
    ids->slots[slot] = NULL;
    ids->full = MIN(ids->full, slot);
    ids->used--;
    spin_unlock(&ids->lock);
    ipc_unref(o);
}

int ipc_highest(struct ipc_ids *ids) {
    spin_lock(&ids->lock);
    int slot = (int)ids->capacity - 1;
    while (slot >= 0 && !ids->slots[slot])
        slot--;
    spin_unlock(&ids->lock);
    return slot;
}

// --- Permissions ---

bool ipc_permitted(const struct ipc_object *o, unsigned mode) {
    const struct credentials *c = current_cred();
    unsigned wanted = (mode >> 6 | mode >> 3 | mode) & 7, granted = o->mode;
    if (c->euid == o->cuid || c->euid == o->uid)
        granted >>= 6;
    else if (credentials_in_group(o->cgid) || credentials_in_group(o->gid))
        granted >>= 3;
    return !(wanted & ~granted) || capable_of(CAP_IPC_OWNER);
}

bool ipc_owned(const struct ipc_object *o) {
    const struct credentials *c = current_cred();
    return c->euid == o->cuid || c->euid == o->uid || capable_of(CAP_SYS_ADMIN);
}

int ipc_set(struct ipc_object *o, const struct ipc_change *c) {
    if (c->uid == ~0u || c->gid == ~0u)
        return -EINVAL;
    o->uid = c->uid;
    o->gid = c->gid;
    o->mode = (o->mode & ~0777u) | (c->mode & 0777);
    o->ctime = time_realtime();
    return 0;
}

// --- Showing ---

void ipc_describe(const struct ipc_object *o, struct ipc_info *out) {
    *out = (struct ipc_info){.id = o->id,
                             .key = o->key,
                             .uid = o->uid,
                             .gid = o->gid,
                             .cuid = o->cuid,
                             .cgid = o->cgid,
                             .mode = o->mode,
                             .seq = ipc_sequence(o),
                             .ctime = o->ctime};
}

struct ipc_object *ipc_lock_to_read(struct ipc_ids *ids, int n, enum ipc_by by) {
    struct ipc_object *o = by == IPC_BY_ID ? ipc_lock(ids, n) : ipc_lock_slot(ids, n);
    if (!IS_ERR(o) && by != IPC_BY_SLOT_ANY && !ipc_permitted(o, IPC_READ)) {
        ipc_unlock(o);
        return ERR_PTR(-EACCES);
    }
    return o;
}
