// Tables of file descriptors. A slot is a pointer; a bitmap says which are closed on exec. The table grows by doubling.
// Locks: file_table.lock (spinlock), a leaf lock but for memory. A process with one thread and a table of its own reads without
// it: nobody else changes the table then (others only look at it, under the lock, for /proc).
#include "fs/inotify.h"
#include "fs/internal.h"
#include "fs/poll.h"
#include "kernel/string.h"

#define FIRST_CAPACITY 64
#define BITMAP_WORDS(n) (((n) + 63) / 64)

static struct slab_cache table_cache = SLAB_CACHE("file_table", sizeof(struct file_table), 64);
static struct slab_cache first_cache =
    SLAB_CACHE("fd_slots", FIRST_CAPACITY * sizeof(struct file *) + BITMAP_WORDS(FIRST_CAPACITY) * 8, 64);

// Slots and bitmap are one allocation; the small, common size has a cache of its own.
static struct file **slots_alloc(unsigned capacity, uint64_t **cloexec) {
    size_t slots = capacity * sizeof(struct file *), bytes = slots + BITMAP_WORDS(capacity) * 8;
    struct file **files = capacity == FIRST_CAPACITY ? slab_zalloc(&first_cache) : kzalloc(bytes);
    if (files)
        *cloexec = (uint64_t *)((char *)files + slots);
    return files;
}

static void slots_free(struct file **files, unsigned capacity) {
    if (capacity == FIRST_CAPACITY)
        slab_free(&first_cache, files);
    else
        kfree(files);
}

static struct file_table *table_alloc(unsigned capacity) {
    struct file_table *t = slab_alloc(&table_cache);
    if (!t)
        return NULL;
    t->files = slots_alloc(capacity, &t->cloexec);
    if (!t->files) {
        slab_free(&table_cache, t);
        return NULL;
    }
    t->refs = 1;
    spin_init(&t->lock);
    t->capacity = capacity;
    t->next_free = 0;
    return t;
}

struct file_table *file_table_create(void) {
    return table_alloc(FIRST_CAPACITY);
}

struct file_table *file_table_copy(struct file_table *from) {
    struct file_table *t;
    unsigned capacity = READ_ONCE(from->capacity);
    for (;;) {
        t = table_alloc(capacity);
        if (!t)
            return NULL;
        spin_lock(&from->lock);
        if (from->capacity == capacity)
            break;
        capacity = from->capacity;
        spin_unlock(&from->lock);
        file_table_unref(t);
    }
    for (unsigned i = 0; i < capacity; i++)
        if (from->files[i])
            t->files[i] = file_ref(from->files[i]);
    memcpy(t->cloexec, from->cloexec, BITMAP_WORDS(capacity) * 8);
    t->next_free = from->next_free;
    spin_unlock(&from->lock);
    return t;
}

// What close(2) does besides dropping the reference.
static void close_file(struct file_table *t, struct file *f) {
    if (unlikely(f->inode->locks != NULL))
        lock_release_owner(f->inode, t, false);
    if (unlikely(f->ops->flush != NULL))
        f->ops->flush(f);
    file_unref(f);
}

void file_table_unref(struct file_table *t) {
    if (atomic_sub(&t->refs, 1) != 1)
        return;
    for (unsigned i = 0; i < t->capacity; i++)
        if (t->files[i])
            close_file(t, t->files[i]);
    slots_free(t->files, t->capacity);
    slab_free(&table_cache, t);
}

static inline bool is_cloexec(struct file_table *t, unsigned fd) { return t->cloexec[fd / 64] >> (fd % 64) & 1; }

static inline void set_cloexec(struct file_table *t, unsigned fd, bool on) {
    uint64_t bit = 1UL << (fd % 64);
    t->cloexec[fd / 64] = on ? t->cloexec[fd / 64] | bit : t->cloexec[fd / 64] & ~bit;
}

static struct file *take_slot(struct file_table *t, unsigned fd) {
    struct file *f = t->files[fd];
    if (f) {
        t->files[fd] = NULL;
        set_cloexec(t, fd, false);
        if (fd < t->next_free)
            t->next_free = fd;
    }
    return f;
}

void file_table_close_on_exec(struct file_table *t) {
    for (unsigned word = 0; word < BITMAP_WORDS(t->capacity); word++) {
        while (t->cloexec[word]) {
            unsigned fd = word * 64 + __builtin_ctzl(t->cloexec[word]);
            spin_lock(&t->lock);
            struct file *f = take_slot(t, fd);
            set_cloexec(t, fd, false);
            spin_unlock(&t->lock);
            if (f)
                close_file(t, f);
        }
    }
}

static inline struct file *lookup(int fd) {
    struct process *p = process_current();
    struct file_table *t = p->files;
    struct file *f = NULL;
    if (likely(READ_ONCE(t->refs) == 1 && p->thread_count == 1)) {
        if (likely((unsigned)fd < t->capacity) && (f = t->files[fd]))
            atomic_add(&f->refs, 1);
        return f;
    }
    spin_lock(&t->lock);
    if (likely((unsigned)fd < t->capacity) && (f = t->files[fd]))
        atomic_add(&f->refs, 1);
    spin_unlock(&t->lock);
    return f;
}

struct file *fd_get_path(int fd) {
    return lookup(fd);
}

struct file *fd_get(int fd) {
    struct file *f = lookup(fd);
    if (unlikely(f && f->path_only)) {
        file_unref(f);
        return NULL;
    }
    return f;
}

static unsigned fd_limit(void) {
    struct process *p = process_current();
    uint64_t limit = p == &kernel_process ? 1024 : p->limits[RLIMIT_NOFILE].rlim_cur;
    return MIN(limit, 1u << 20);
}

// Makes room for the descriptor `fd`. Called and returns with the lock held, but drops it in between.
static int table_grow(struct file_table *t, unsigned fd) {
    while (fd >= t->capacity) {
        unsigned capacity = t->capacity;
        while (capacity <= fd)
            capacity *= 2;
        spin_unlock(&t->lock);
        uint64_t *cloexec;
        struct file **files = slots_alloc(capacity, &cloexec);
        spin_lock(&t->lock);
        if (!files)
            return -ENOMEM;
        if (capacity <= t->capacity) {
            slots_free(files, capacity);
            continue;
        }
        memcpy(files, t->files, t->capacity * sizeof(*files));
        memcpy(cloexec, t->cloexec, BITMAP_WORDS(t->capacity) * 8);
        struct file **old = t->files;
        unsigned old_capacity = t->capacity;
        t->files = files;
        t->cloexec = cloexec;
        t->capacity = capacity;
        slots_free(old, old_capacity);
    }
    return 0;
}

static long install_from(struct file *f, unsigned minimum, unsigned flags) {
    struct file_table *t = process_current()->files;
    unsigned limit = fd_limit();
    spin_lock(&t->lock);
    unsigned fd;
    for (;;) {
        fd = MAX(minimum, t->next_free);
        while (fd < t->capacity && t->files[fd])
            fd++;
        if (fd >= limit || fd < t->capacity)
            break;
        int err = table_grow(t, fd);
        if (err < 0) {
            spin_unlock(&t->lock);
            return err;
        }
    }
    if (fd >= limit) {
        spin_unlock(&t->lock);
        return -EMFILE;
    }
    t->files[fd] = f;
    if (unlikely(f->inode->watched)) // inotify_mark_open_files, which takes the lock, finds it here, or it was before
        atomic_or(&f->access, FILE_WATCHED);
    if (flags & O_CLOEXEC)
        set_cloexec(t, fd, true);
    if (minimum <= t->next_free)
        t->next_free = fd + 1;
    spin_unlock(&t->lock);
    return fd;
}

long fd_room(void) {
    struct file_table *t = process_current()->files;
    spin_lock(&t->lock);
    unsigned fd = t->next_free;
    while (fd < t->capacity && t->files[fd])
        fd++;
    spin_unlock(&t->lock);
    return fd < fd_limit() ? 0 : -EMFILE;
}

long fd_install(struct file *f, unsigned flags) {
    long fd = install_from(f, 0, flags);
    if (unlikely(fd < 0))
        file_unref(f);
    return fd;
}

long fd_dup(struct file *f, int minimum, unsigned flags) {
    if (minimum < 0 || (unsigned)minimum >= fd_limit())
        return -EINVAL;
    file_ref(f);
    long fd = install_from(f, minimum, flags);
    if (fd < 0)
        file_unref(f);
    return fd;
}

long fd_install_at(struct file *f, int fd, unsigned flags) {
    struct file_table *t = process_current()->files;
    if (fd < 0 || (unsigned)fd >= fd_limit()) {
        file_unref(f);
        return -EBADF;
    }
    spin_lock(&t->lock);
    int err = table_grow(t, fd);
    if (err < 0) {
        spin_unlock(&t->lock);
        file_unref(f);
        return err;
    }
    struct file *old = t->files[fd];
    t->files[fd] = f;
    if (unlikely(f->inode->watched))
        atomic_or(&f->access, FILE_WATCHED);
    set_cloexec(t, fd, flags & O_CLOEXEC);
    if ((unsigned)fd == t->next_free)
        t->next_free = fd + 1;
    spin_unlock(&t->lock);
    if (old)
        close_file(t, old);
    return fd;
}

long fd_close(int fd) {
    struct file_table *t = process_current()->files;
    spin_lock(&t->lock);
    struct file *f = (unsigned)fd < t->capacity ? take_slot(t, fd) : NULL;
    spin_unlock(&t->lock);
    if (!f)
        return -EBADF;
    close_file(t, f);
    return 0;
}

long fd_close_range(unsigned first, unsigned last, bool cloexec_only) {
    struct file_table *t = process_current()->files;
    for (unsigned fd = first; fd <= last && fd < READ_ONCE(t->capacity); fd++) {
        spin_lock(&t->lock);
        struct file *f = NULL;
        if (cloexec_only && t->files[fd])
            set_cloexec(t, fd, true);
        else if (!cloexec_only)
            f = take_slot(t, fd);
        spin_unlock(&t->lock);
        if (f)
            close_file(t, f);
    }
    return 0;
}

bool fd_closes_on_exec(struct file_table *t, int fd) {
    spin_lock(&t->lock);
    bool yes = (unsigned)fd < t->capacity && t->files[fd] && is_cloexec(t, fd);
    spin_unlock(&t->lock);
    return yes;
}

long fd_get_flags(int fd) {
    struct file_table *t = process_current()->files;
    spin_lock(&t->lock);
    long flags = -EBADF;
    if ((unsigned)fd < t->capacity && t->files[fd])
        flags = is_cloexec(t, fd) ? FD_CLOEXEC : 0;
    spin_unlock(&t->lock);
    return flags;
}

long fd_set_flags(int fd, unsigned flags) {
    struct file_table *t = process_current()->files;
    long err = -EBADF;
    spin_lock(&t->lock);
    if ((unsigned)fd < t->capacity && t->files[fd]) {
        set_cloexec(t, fd, flags & FD_CLOEXEC);
        err = 0;
    }
    spin_unlock(&t->lock);
    return err;
}

int fd_next(struct file_table *t, int fd, struct file **file) {
    int found = -1;
    spin_lock(&t->lock);
    for (unsigned i = fd; i < t->capacity; i++) {
        if (t->files[i]) {
            *file = file_ref(t->files[i]);
            found = i;
            break;
        }
    }
    spin_unlock(&t->lock);
    return found;
}

// CLOSE_RANGE_UNSHARE: a table of this process's own.
long fd_unshare(void) {
    struct process *p = process_current();
    struct file_table *old = p->files;
    if (READ_ONCE(old->refs) == 1)
        return 0;
    struct file_table *t = file_table_copy(old);
    if (!t)
        return -ENOMEM;
    uint64_t flags = spin_lock_irqsave(&p->signal_lock); // procfs looks at other processes under it
    p->files = t;
    spin_unlock_irqrestore(&p->signal_lock, flags);
    file_table_unref(old);
    return 0;
}
