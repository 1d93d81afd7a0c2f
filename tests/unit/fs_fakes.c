/* See fs_fakes.h. */
#include "tests/unit/fs_fakes.h"

#include <sanitizer/asan_interface.h>

#include "fs/blockdev.h"
#include "fs/cache/dentry_lru.h"
#include "kernel/memory/landing.h"
#include "kernel/memory/reclaim.h"
#include "fs/internal.h"
#include "fs/tty.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/random.h"
#include "kernel/string.h"
#include "kernel/memory/usercopy.h"

/* Of the C library, whose headers do not go together with the kernel's. */
void abort(void) NORETURN;
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t n);
void free(void *p);
int posix_memalign(void **p, size_t align, size_t size);
int vdprintf(int fd, const char *fmt, va_list ap);

struct process fake_process, kernel_process = {.pid = 0};
struct process *init_process = &fake_process;
struct list process_list = LIST_INIT(process_list);
int fake_last_signal;
unsigned fake_pages_used, fake_page_limit = FAKE_PAGES;
long fake_objects;
void (*fake_on_sleep)(void);
char fake_log[512];
nsec_t fake_now = 1700000000 * NSEC_PER_SEC;
enum log_level log_threshold = LOG_ERR;
unsigned cpu_count = 1;

static struct thread fake_thread = {.process = &fake_process};
struct thread *thread_current(void) {
    return &fake_thread;
}

/* --- Memory --- */

unsigned char *host_ram;
struct page *page_array;
static uint8_t reserved[FAKE_PAGES];

static void pool_start(void) {
    if (page_array)
        return;
    page_array = calloc(FAKE_PAGES, sizeof(*page_array));
    if (posix_memalign((void **)&host_ram, PAGE_SIZE, FAKE_PAGES * PAGE_SIZE))
        abort();
    ASAN_POISON_MEMORY_REGION(host_ram, FAKE_PAGES * PAGE_SIZE);
}

struct page *page_alloc(unsigned order, unsigned flags) {
    static unsigned at;
    if (order) /* no blocks here: whoever wants one makes do with pages */
        return NULL;
    if (fake_pages_used >= fake_page_limit)
        return NULL;
    for (unsigned i = 0; i < FAKE_PAGES; i++) {
        at = (at + 1) % FAKE_PAGES;
        if (page_array[at].refs || reserved[at])
            continue;
        struct page *p = &page_array[at];
        *p = (struct page){.refs = 1};
        ASAN_UNPOISON_MEMORY_REGION(page_to_virt(p), PAGE_SIZE);
        memset(page_to_virt(p), flags & PA_ZERO ? 0 : 0xa5, PAGE_SIZE);
        fake_pages_used++;
        return p;
    }
    return NULL;
}

void page_unref(struct page *p) {
    ASSERT(p->refs > (p->flags & PAGE_RESERVED ? 1u : 0u));
    if (--p->refs == 0) {
        ASAN_POISON_MEMORY_REGION(page_to_virt(p), PAGE_SIZE);
        fake_pages_used--;
    }
}

void page_stats(struct page_stats *out) {
    *out = (struct page_stats){.total = fake_page_limit, .free = fake_page_limit - fake_pages_used};
}

void page_count(unsigned flag, long pages) {}

phys_t fake_reserve(unsigned pages) {
    pool_start();
    for (unsigned start = 1; start + pages < FAKE_PAGES; start++) {
        unsigned n = 0;
        while (n < pages && !page_array[start + n].refs && !reserved[start + n])
            n++;
        if (n == pages) {
            memset(&reserved[start], 1, pages);
            ASAN_UNPOISON_MEMORY_REGION(host_ram + start * PAGE_SIZE, pages * PAGE_SIZE);
            return start * PAGE_SIZE;
        }
        start += n;
    }
    abort();
}

void fake_reset_reserved(void) {
    for (unsigned i = 0; i < FAKE_PAGES; i++) {
        if (page_array[i].flags & PAGE_RESERVED) {
            ASSERT(page_array[i].refs == 1); /* nobody has one that was given out */
            page_array[i] = (struct page){0};
        }
        if (reserved[i] && !page_array[i].refs)
            ASAN_POISON_MEMORY_REGION(host_ram + i * PAGE_SIZE, PAGE_SIZE);
        reserved[i] = 0;
    }
}

struct page *page_adopt(phys_t pa) {
    struct page *p = phys_to_page(pa);
    ASSERT(reserved[pa >> PAGE_SHIFT] && p->refs == 0);
    reserved[pa >> PAGE_SHIFT] = 0;
    *p = (struct page){.refs = 1};
    fake_pages_used++;
    return p;
}

struct page *page_get_reserved(phys_t pa) {
    struct page *p = phys_to_page(pa);
    ASSERT(reserved[pa >> PAGE_SHIFT]);
    p->flags = PAGE_RESERVED;
    p->refs += p->refs ? 1 : 2;
    return p;
}

void page_free_range(phys_t start, phys_t end) {
    ASSERT(IS_ALIGNED(start, PAGE_SIZE) && IS_ALIGNED(end, PAGE_SIZE) && start < end);
    for (phys_t pa = start; pa < end; pa += PAGE_SIZE) {
        ASSERT(reserved[pa >> PAGE_SHIFT] && page_array[pa >> PAGE_SHIFT].refs == 0);
        reserved[pa >> PAGE_SHIFT] = 0;
        ASAN_POISON_MEMORY_REGION(host_ram + pa, PAGE_SIZE);
    }
}

void *kmalloc(size_t size) {
    fake_objects++;
    return malloc(size);
}

void *kzalloc(size_t size) {
    fake_objects++;
    return calloc(1, size);
}

void *krealloc(void *p, size_t size) {
    fake_objects += !p;
    return realloc(p, size);
}

void kfree(void *p) {
    fake_objects -= p != NULL;
    free(p);
}

void *slab_alloc(struct slab_cache *c) {
    void *p = kmalloc(c->size);
    memset(p, 0xa5, c->size);
    return p;
}

void *slab_zalloc(struct slab_cache *c) { return kzalloc(c->size); }

void slab_free(struct slab_cache *c, void *object) { kfree(object); }

size_t str_copy(char *dst, const char *src, size_t size) {
    size_t n = strlen(src), m = MIN(n, size - 1);
    memcpy(dst, src, m);
    dst[m] = 0;
    return n;
}

char *str_dup(const char *s) {
    char *p = kmalloc(strlen(s) + 1);
    memcpy(p, s, strlen(s) + 1);
    return p;
}

/* --- The application's memory is the test's --- */

int copy_in(void *dst, uaddr_t src, size_t n) {
    memcpy(dst, (void *)src, n);
    return 0;
}

int copy_out(uaddr_t dst, const void *src, size_t n) {
    memcpy((void *)dst, src, n);
    return 0;
}

size_t copy_in_partial(void *dst, uaddr_t src, size_t n) {
    memcpy(dst, (void *)src, n);
    return n;
}

size_t copy_out_partial(uaddr_t dst, const void *src, size_t n) {
    memcpy((void *)dst, src, n);
    return n;
}
int user_load64(uaddr_t addr, uint64_t *value) { return copy_in_partial(value, addr, 8) == 8 ? 0 : -EFAULT; }
int user_store64(uaddr_t addr, uint64_t value) { return copy_out_partial(addr, &value, 8) == 8 ? 0 : -EFAULT; }

size_t clear_out_partial(uaddr_t dst, size_t n) {
    memset((void *)dst, 0, n);
    return n;
}

/* --- Threads and locks --- */

void spin_lock_slow(struct spinlock *l) { panic("a spinlock is taken twice"); }

void mutex_init(struct mutex *m) { *m = (struct mutex){0}; }

void mutex_lock(struct mutex *m) {
    if (m->owner)
        panic("a mutex is taken twice");
    m->owner = (uintptr_t)&fake_thread;
}

bool mutex_trylock(struct mutex *m) {
    if (m->owner)
        return false;
    m->owner = (uintptr_t)&fake_thread;
    return true;
}

void mutex_unlock(struct mutex *m) {
    ASSERT(m->owner);
    m->owner = 0;
}

uint64_t irq_save(void) { return 0; }

void irq_restore(uint64_t flags) {}

void sched_yield_now(void) {}

void thread_wake(struct thread *t) {}

void thread_prepare_sleep(bool interruptible) {}

void thread_cancel_sleep(void) {}

int thread_sleep_until(nsec_t deadline) {
    if (fake_on_sleep) {
        void (*fn)(void) = fake_on_sleep;
        fake_on_sleep = NULL;
        fn();
        return 0;
    }
    if (deadline != NSEC_MAX)
        return -ETIMEDOUT;
    return -ERESTARTSYS;
}

void signal_send_self(int sig) { fake_last_signal = sig; }

nsec_t time_realtime(void) { return fake_now++; }

nsec_t time_monotonic(void) { return fake_now++; }

/* --- The page cache, for those who do without --- */

__attribute__((weak)) void page_cache_abandon(struct inode *inode) {}
__attribute__((weak)) uint32_t page_cache_sample_error(struct page_cache *c) { return 0; }
__attribute__((weak)) void dentry_lru_start(void) {}
__attribute__((weak)) void dentry_lru_settle(void) {}
__attribute__((weak)) void page_cache_leave(struct superblock *sb) {}
__attribute__((weak)) void dentry_lru_add(struct dentry *d) {}
__attribute__((weak)) void dentry_lru_remove(struct dentry *d) {}
__attribute__((weak)) bool reclaim_until(uint64_t free) { return false; }
__attribute__((weak)) void *reclaim_kmalloc(size_t size) { return kmalloc(size); }

/* --- Others --- */

void aspace_ref(struct aspace *as) {}

void backing_unmap(struct backing *b, uint64_t first, uint64_t count) {}
void backing_unshow(struct backing *b, uint64_t first, uint64_t count) {}
void backing_unshow_idle(struct backing *b, uint64_t first, uint64_t count) {}
bool backing_mapped_writable(struct backing *b) { return false; }

void process_set_hooks(const struct process_hooks *hooks) {}

void tty_process_exit(struct process *p) {}
struct process *process_find(int pid) { return NULL; }
__attribute__((weak)) struct process *process_next(int pid) { return NULL; }
__attribute__((weak)) void vfs_sync_last(void) {}
struct seqbuf;
__attribute__((weak)) void seq_printf(struct seqbuf *s, const char *fmt, ...) {}
__attribute__((weak)) int superblock_sync(struct superblock *sb) { return sb->ops->sync ? sb->ops->sync(sb) : 0; }
struct thread *thread_find(int tid) { return NULL; }
void process_unref(struct process *p) {}
void thread_unref(struct thread *t) {}
int process_group_signal(int pgid, int sig, const siginfo_t *info) { return -ESRCH; }

const struct fs_type proc_type = {.name = "proc"}, devfs_type = {.name = "devtmpfs"},
                     devpts_type = {.name = "devpts"}, mqueue_type = {.name = "mqueue"};
const struct fs_type erofs_type __attribute__((weak)) = {.name = "erofs"}; /* where the test does not bring the real one */
const struct fs_type p9_type __attribute__((weak)) = {.name = "9p"};
const struct fs_type sysfs_type __attribute__((weak)) = {.name = "sysfs"};
const struct fs_type ext4_type __attribute__((weak)) = {.name = "ext4"};
const struct fs_type ext3_type __attribute__((weak)) = {.name = "ext3"}, ext2_type __attribute__((weak)) = {.name = "ext2"};

bool pty_is_slave(const struct inode *inode) { return false; }
struct file *pty_open_slave(struct inode *inode, unsigned flags) { return ERR_PTR(-EIO); }

static int64_t device_read(struct file *f, struct uio *u, uint64_t *pos) { return 0; }
static int64_t device_write(struct file *f, struct uio *u, uint64_t *pos) { return u->left; }
const struct device *device_find(uint64_t rdev) {
    static const struct file_ops ops = {.read = device_read, .write = device_write};
    static const struct device null = {MAKE_DEV(1, 3), "null", 0666, &ops, NULL};
    return rdev == null.rdev ? &null : NULL;
}
__attribute__((weak)) struct file *blockdev_open(struct inode *node, unsigned flags) { return ERR_PTR(-ENXIO); }

void panic(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vdprintf(2, fmt, ap);
    vdprintf(2, "\n", ap);
    abort();
}

void log_print(enum log_level level, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fake_log, sizeof(fake_log), fmt, ap);
    va_end(ap);
}

uint64_t fake_random(void) {
    static uint64_t x = 0x9e3779b97f4a7c15;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

bool credentials_in_group(uint32_t gid) { return fake_process.cred.fsgid == gid; }

void fake_root(void) { fake_process.cred = (struct credentials){.cap_effective = ~0UL}; }

void fake_user(uint32_t uid, uint32_t gid) {
    fake_process.cred = (struct credentials){
        .uid = uid, .euid = uid, .suid = uid, .fsuid = uid, .gid = gid, .egid = gid, .sgid = gid, .fsgid = gid};
}

void fake_start(void) {
    pool_start();
    fake_root();
    fake_process.pid = 1;
    fake_process.thread_count = 1;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        fake_process.limits[i] = (struct rlimit){~0UL, ~0UL};
    fake_process.limits[RLIMIT_NOFILE] = (struct rlimit){256, 256};
    if (mount_root())
        return;
    struct superblock *sb = tmpfs_superblock(&tmpfs_type, 0755);
    ASSERT(!IS_ERR(sb));
    ASSERT(mount_create_root(sb) == 0);
    superblock_unref(sb);
    fake_process.fs = fs_context_create();
    fake_process.files = file_table_create();
}

/* Nobody's buffer takes bytes past a queue: that needs page tables. */
bool landing_offer(struct landing **place, struct landing *l, const struct uio *u) { return false; }
size_t landing_end(struct landing **place, struct landing *l, struct uio *u) { return 0; }
size_t landing_fill(struct landing **place, struct uio *u, size_t n) { return 0; }
