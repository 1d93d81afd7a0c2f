// Names of AF_UNIX sockets: files in the tree, abstract names, and those that autobind makes up. All sockets stand in one table,
// by what they are looked for: the inode of their file, their abstract name and type, or (without a name) anything.
// Locks: a bucket's spinlock protects its chain. A socket changes its bucket with bind_lock held.
#include "fs/seqbuf.h"
#include "fs/vfs.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "net/unix.h"

struct unix_bucket {
    struct spinlock lock;
    struct unix_socket *first;
};
#define BUCKETS 64
static struct unix_bucket buckets[BUCKETS];

// --- The table ---

static struct unix_bucket *bucket_of_pointer(const void *p) { return &buckets[((uintptr_t)p >> 6) % BUCKETS]; }

static struct unix_bucket *bucket_of_name(const char *data, unsigned len, int type) {
    uint32_t hash = type;
    for (unsigned i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)data[i]) * 0x01000193u;
    return &buckets[(hash ^ hash >> 16) % BUCKETS];
}

static void chain_in(struct unix_bucket *b, struct unix_socket *u) {
    u->bucket = b;
    u->name_next = b->first;
    u->name_link = &b->first;
    if (b->first)
        b->first->name_link = &u->name_next;
    b->first = u;
}

static void chain_out(struct unix_socket *u) {
    *u->name_link = u->name_next;
    if (u->name_next)
        u->name_next->name_link = u->name_link;
    u->bucket = NULL;
}

void unix_name_add(struct unix_socket *u) {
    struct unix_bucket *b = bucket_of_pointer(u);
    spin_lock(&b->lock);
    chain_in(b, u);
    spin_unlock(&b->lock);
}

// Nobody binds it any more, so it stays in its bucket; those who look for it take their reference under the bucket's lock.
void unix_name_remove(struct unix_socket *u) {
    struct unix_bucket *b = u->bucket;
    spin_lock(&b->lock);
    chain_out(u);
    spin_unlock(&b->lock);
}

static bool has_name(const struct unix_socket *u, const char *data, unsigned len, int type) {
    const struct unix_address *a = u->address;
    return a && u->named && !u->path.dentry && a->len == len && u->socket.type == type &&
           memcmp(a->data, data, len) == 0;
}

// From one bucket to another, with its new address; -EADDRINUSE when an abstract one is taken. bind_lock held.
static int move_to(struct unix_socket *u, struct unix_bucket *to, struct unix_address *a, const struct path *path) {
    struct unix_bucket *from = u->bucket;
    spin_lock(&(from < to ? from : to)->lock);
    if (from != to)
        spin_lock(&(from < to ? to : from)->lock);
    int err = 0;
    for (struct unix_socket *o = path ? NULL : to->first; o && !err; o = o->name_next)
        err = has_name(o, a->data, a->len, u->socket.type) ? -EADDRINUSE : 0;
    if (!err) {
        chain_out(u);
        if (path)
            u->path = *path;
        u->named = true;
        store_release(&u->address, a);
        chain_in(to, u);
    }
    spin_unlock(&from->lock);
    if (from != to)
        spin_unlock(&to->lock);
    return err;
}

// --- Addresses ---

static struct unix_address *address_create(const char *path, unsigned len) {
    struct unix_address *a = kmalloc(offsetof(struct unix_address, data) + UNIX_HEADER + len + 1);
    if (a) {
        a->refs = 1;
        a->len = UNIX_HEADER + len;
        a->family = AF_UNIX;
        memcpy(a->data + UNIX_HEADER, path, len);
    }
    return a;
}

void unix_address_unref(struct unix_address *a) {
    if (a && atomic_sub(&a->refs, 1) == 1)
        kfree(a);
}

void unix_copy_address(const struct unix_socket *u, struct socket_address *out) {
    const struct unix_address *a = load_acquire(&u->address);
    out->len = a ? a->len : 0;
    if (a)
        memcpy(out->data, a->data, a->len);
}

int unix_name(struct socket *s, struct socket_address *a, bool peer) {
    struct unix_socket *u = peer ? unix_peer_get(unix_of(s)) : unix_ref(unix_of(s));
    if (!u)
        return -ENOTCONN;
    unix_copy_address(u, a);
    if (!a->len) {
        a->len = UNIX_HEADER;
        a->family = AF_UNIX;
    }
    unix_unref(u);
    return 0;
}

static int address_check(const struct socket_address *a) {
    bool sane = a->len > UNIX_HEADER && a->len <= sizeof(struct sockaddr_un) && a->family == AF_UNIX;
    return sane ? 0 : -EINVAL;
}

// The path in an address ends at its first NUL or with the address.
static unsigned path_length(const struct socket_address *a) {
    return strnlen(a->data + UNIX_HEADER, a->len - UNIX_HEADER);
}

// --- Binding ---

static int bind_abstract(struct unix_socket *u, const struct socket_address *a) {
    struct unix_address *address = address_create(a->data + UNIX_HEADER, a->len - UNIX_HEADER);
    if (!address)
        return -ENOMEM;
    mutex_lock(&u->bind_lock);
    int err =
        u->address ? -EINVAL : move_to(u, bucket_of_name(address->data, address->len, u->socket.type), address, NULL);
    mutex_unlock(&u->bind_lock);
    if (err < 0)
        unix_address_unref(address);
    return err;
}

static int bind_path(struct unix_socket *u, const struct socket_address *a) {
    unsigned len = path_length(a);
    struct unix_address *address = address_create(a->data + UNIX_HEADER, len + 1);
    if (!address)
        return -ENOMEM;
    address->data[UNIX_HEADER + len] = 0;
    struct file *f = u->socket.file; // alive: the call has it
    struct path path;
    int err = vfs_make_socket(address->data + UNIX_HEADER, f ? f->inode->mode & 07777 : 0777, &path);
    if (err == 0) {
        mutex_lock(&u->bind_lock);
        err = u->address ? -EINVAL : move_to(u, bucket_of_pointer(path_inode(&path)), address, &path);
        mutex_unlock(&u->bind_lock);
        if (err < 0) {
            vfs_unlink(AT_FDCWD, address->data + UNIX_HEADER, false);
            path_unref(&path);
        }
    }
    if (err < 0)
        unix_address_unref(address);
    return err == -EEXIST ? -EADDRINUSE : err;
}

int unix_bind(struct socket *s, const struct socket_address *a) {
    if (a->len == UNIX_HEADER && a->family == AF_UNIX)
        return unix_autobind(unix_of(s));
    int err = address_check(a);
    if (err < 0)
        return err;
    return a->data[UNIX_HEADER] ? bind_path(unix_of(s), a) : bind_abstract(unix_of(s), a);
}

int unix_autobind(struct unix_socket *u) {
    if (load_acquire(&u->address))
        return 0;
    struct unix_address *a = address_create("\0", 1 + 5); // a NUL and five digits
    if (!a)
        return -ENOMEM;
    mutex_lock(&u->bind_lock);
    uint32_t number = random_u64();
    int err = u->address ? -EEXIST : -EADDRINUSE;
    for (unsigned tries = 0; tries <= 0xfffff && err == -EADDRINUSE; tries++, number++) {
        snprintf(a->data + UNIX_HEADER + 1, 6, "%05x", number & 0xfffff);
        err = move_to(u, bucket_of_name(a->data, a->len, u->socket.type), a, NULL);
    }
    mutex_unlock(&u->bind_lock);
    if (err < 0)
        unix_address_unref(a);
    return err == -EEXIST ? 0 : err == -EADDRINUSE ? -ENOSPC : err;
}

// --- Looking up ---

static struct unix_socket *find_path(const struct socket_address *a, int type) {
    char name[sizeof(struct sockaddr_un)];
    unsigned len = path_length(a);
    memcpy(name, a->data + UNIX_HEADER, len);
    name[len] = 0;
    struct path path;
    int err = path_lookup(AT_FDCWD, name, LOOKUP_FOLLOW, &path);
    if (err < 0)
        return ERR_PTR(err);
    struct inode *inode = path_inode(&path);
    struct unix_socket *u = NULL;
    err = vfs_permission(inode, 2);
    if (err == 0 && path_read_only(&path) && !S_ISSOCK(inode->mode))
        err = -EROFS;
    if (err == 0 && S_ISSOCK(inode->mode)) {
        struct unix_bucket *b = bucket_of_pointer(inode);
        spin_lock(&b->lock);
        u = b->first;
        while (u && (!u->path.dentry || path_inode(&u->path) != inode))
            u = u->name_next;
        if (u)
            unix_ref(u);
        spin_unlock(&b->lock);
    }
    path_unref(&path);
    if (err < 0)
        return ERR_PTR(err);
    if (!u)
        return ERR_PTR(-ECONNREFUSED);
    if (u->socket.type != type) {
        unix_unref(u);
        return ERR_PTR(-EPROTOTYPE);
    }
    return u;
}

struct unix_socket *unix_find(const struct socket_address *a, int type) {
    int err = address_check(a);
    if (err < 0)
        return ERR_PTR(err);
    if (a->data[UNIX_HEADER])
        return find_path(a, type);
    struct unix_bucket *b = bucket_of_name(a->data, a->len, type);
    spin_lock(&b->lock);
    struct unix_socket *u = b->first;
    while (u && !has_name(u, a->data, a->len, type))
        u = u->name_next;
    if (u)
        unix_ref(u);
    spin_unlock(&b->lock);
    return u ? u : ERR_PTR(-ECONNREFUSED);
}

// --- /proc/net/unix ---

static void show_one(struct seqbuf *out, struct unix_socket *u) {
    struct file *f = u->socket.file;
    bool connected = u->state == UNIX_CONNECTED;
    // As enum socket_state of <linux/net.h>: with a file, and without one.
    unsigned state = f ? connected ? SS_CONNECTED : SS_UNCONNECTED : connected ? SS_CONNECTING : SS_DISCONNECTING;
    seq_printf(out, "%016lx: %08X %08X %08X %04X %02X %5lu", 0UL, u->socket.refs, 0,
               u->state == UNIX_LISTENING ? 1u << 16 : 0, u->socket.type, state,
               f ? (unsigned long)f->inode->ino : 0UL);
    const struct unix_address *a = u->address;
    if (a) {
        seq_puts(out, " ");
        for (unsigned i = UNIX_HEADER; i < a->len - (a->data[UNIX_HEADER] ? 1 : 0); i++)
            seq_write(out, a->data[i] ? &a->data[i] : "@", 1);
    }
    seq_puts(out, "\n");
}

int unix_show(struct seqbuf *out) {
    seq_puts(out, "Num       RefCount Protocol Flags    Type St Inode Path\n");
    for (unsigned i = 0; i < BUCKETS; i++) {
        spin_lock(&buckets[i].lock);
        for (struct unix_socket *u = buckets[i].first; u; u = u->name_next) {
            spin_lock(&u->socket.lock);
            show_one(out, u);
            spin_unlock(&u->socket.lock);
        }
        spin_unlock(&buckets[i].lock);
    }
    return 0;
}
