/* See cache_fakes.h. */
#include <setjmp.h>

#include <sanitizer/asan_interface.h>

#include "fs/internal.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/reclaim.h"
#include "kernel/memory/usercopy.h"
#include "kernel/process/signal.h"
#include "kernel/string.h"
#include "tests/unit/cache_fakes.h"

/* Of the C library, whose headers do not go together with the kernel's. */
void abort(void) NORETURN;
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void free(void *p);
int posix_memalign(void **p, size_t align, size_t size);
int vdprintf(int fd, const char *fmt, va_list ap);

struct process fake_process, kernel_process;
struct superblock fake_superblock;
unsigned fake_pages_used, fake_page_limit = FAKE_CACHE_PAGES;
long fake_fault_after = -1;
int fake_signal;
nsec_t fake_now = 1700000000 * NSEC_PER_SEC;
unsigned cpu_count = 1;
static bool (*deliver)(void);

static struct thread fake_thread = {.process = &fake_process}, kernel_thread = {.process = &kernel_process};
struct thread *thread_current(void) {
    return &fake_thread;
}

/* --- The thread of write-back --- */

static void (*writer)(void *);
static jmp_buf writer_sleeps;
static bool in_writer;

struct thread *thread_create_kernel(const char *name, void (*fn)(void *), void *arg) {
    writer = fn;
    return &kernel_thread;
}
void thread_start(struct thread *t) {}

void fake_run_writer(void) {
    if (!writer)
        return;
    in_writer = true;
    if (setjmp(writer_sleeps) == 0)
        writer(NULL);
    in_writer = false;
}

int thread_sleep_until(nsec_t deadline) {
    if (deliver())
        return 0;
    if (in_writer)
        longjmp(writer_sleeps, 1);
    if (deadline == NSEC_MAX)
        panic("a sleep that nobody ends");
    fake_now = MAX(fake_now, deadline);
    return -ETIMEDOUT;
}

void thread_prepare_sleep(bool interruptible) {}
void thread_cancel_sleep(void) {}
void thread_wake(struct thread *t) {}
bool thread_signal_pending_slow(void) { return false; }
void sched_yield_now(void) {}
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { panic("a spinlock is taken twice"); }
void mutex_init(struct mutex *m) { *m = (struct mutex){0}; }
void mutex_lock(struct mutex *m) {
    if (m->owner)
        panic("a mutex is taken twice");
    m->owner = 1;
}
void mutex_unlock(struct mutex *m) { m->owner = 0; }
nsec_t time_monotonic(void) { return fake_now++; }
nsec_t inode_now(void) { return fake_now++; }

/* --- Memory --- */

unsigned char *host_ram;
struct page *page_array;
static struct shrinker *shrinker;

struct page *page_alloc(unsigned order, unsigned flags) {
    static unsigned at;
    if (fake_pages_used >= fake_page_limit)
        return NULL;
    do
        at = (at + 1) % FAKE_CACHE_PAGES;
    while (page_array[at].refs);
    struct page *p = &page_array[at];
    *p = (struct page){.refs = 1};
    ASAN_UNPOISON_MEMORY_REGION(page_to_virt(p), PAGE_SIZE);
    memset(page_to_virt(p), flags & PA_ZERO ? 0 : 0xa5, PAGE_SIZE);
    fake_pages_used++;
    return p;
}

void page_unref(struct page *p) {
    if (!p->refs)
        panic("a page is freed twice");
    if (--p->refs == 0) {
        if (p->owner && (p->flags & PAGE_CACHE))
            panic("a page is freed that is in a tree");
        ASAN_POISON_MEMORY_REGION(page_to_virt(p), PAGE_SIZE);
        fake_pages_used--;
    }
}

void page_count(unsigned flag, long pages) {}
uint64_t page_free_count(void) { return fake_page_limit - MIN(fake_pages_used, fake_page_limit); }
void reclaim_register(struct shrinker *s) { shrinker = s; }
bool reclaim_make_room(void) { return shrinker && shrinker->reclaim(4, true) > 0; }
void reclaim_expect(uint64_t pages) {
    if (shrinker && page_free_count() < pages + 4)
        shrinker->reclaim(pages, false);
}
void *kmalloc(size_t size) { return fake_random() % 4 ? malloc(size) : NULL; }
void kfree(void *p) { free(p); }
void *slab_zalloc(struct slab_cache *c) { return calloc(1, c->size); }
void slab_free(struct slab_cache *c, void *object) { free(object); }
void *zeroed_memory(size_t n, size_t size) { return calloc(n, size); }

/* --- The application --- */

size_t copy_in_partial(void *dst, uaddr_t src, size_t n) {
    if (fake_fault_after >= 0) {
        n = MIN(n, (size_t)fake_fault_after);
        fake_fault_after -= n;
    }
    memcpy(dst, (void *)src, n);
    return n;
}
size_t copy_out_partial(uaddr_t dst, const void *src, size_t n) {
    memcpy((void *)dst, src, n);
    return n;
}
size_t clear_out_partial(uaddr_t dst, size_t n) {
    memset((void *)dst, 0, n);
    return n;
}
void signal_send_self(int sig) { fake_signal = sig; }
int file_limit_reached(uint64_t limit) {
    if (limit < INT64_MAX)
        signal_send_self(SIGXFSZ);
    return -EFBIG;
}

/* --- Files --- */

void file_accessed(struct file *f) { f->inode->atime = inode_now(); }

void inode_touch_change(struct inode *inode) { inode->mtime = inode->ctime = inode_now(); }
int inode_drop_privileges_slow(struct inode *inode) { return 0; }
void inode_describe(struct inode *inode, char *name, size_t size, uint64_t *dev, uint64_t *ino) {}

void panic(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vdprintf(2, fmt, ap);
    vdprintf(2, "\n", ap);
    abort();
}
void log_print(enum log_level level, const char *fmt, ...) {}
enum log_level log_threshold = LOG_ERR;

uint64_t fake_random(void) {
    static uint64_t x = 0x9e3779b97f4a7c15;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

void fake_cache_start(bool (*fn)(void)) {
    deliver = fn;
    fake_fault_after = -1;
    fake_signal = 0;
    fake_page_limit = FAKE_CACHE_PAGES;
    for (int i = 0; i < RLIM_NLIMITS; i++)
        fake_process.limits[i] = (struct rlimit){~0ul, ~0ul};
    if (page_array)
        return;
    page_array = calloc(FAKE_CACHE_PAGES, sizeof(*page_array));
    if (posix_memalign((void **)&host_ram, PAGE_SIZE, FAKE_CACHE_PAGES * PAGE_SIZE))
        abort();
    ASAN_POISON_MEMORY_REGION(host_ram, FAKE_CACHE_PAGES * PAGE_SIZE);
}

/* A mapping's hold on the file system: there is one, for ever. */
__attribute__((weak)) struct inode *inode_pin(struct inode *inode) { return inode_ref(inode); }
__attribute__((weak)) void inode_unpin(struct inode *inode) { inode_unref(inode); }
