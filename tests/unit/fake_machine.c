/* What the memory code needs of the machine, on the host: "physical" memory, one CPU, locks that nobody contends for. */
#include <stdarg.h>

#include "kernel/process/process.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/reclaim.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/pagetable.h"
#include "tests/unit/fake_machine.h"

/* Of the C library, whose headers do not go together with the kernel's. */
void abort(void) NORETURN;
int vdprintf(int fd, const char *fmt, va_list ap);
void *mmap(void *addr, size_t len, int prot, int flags, int fd, long offset);

unsigned char *host_ram;
phys_t kernel_root;
unsigned cpu_count = 1;
enum log_level log_threshold = LOG_ERR;
unsigned long fake_flushes;

static struct cpu fake_cpu;
static struct process fake_process; /* without capabilities */
static struct thread fake_thread = {.process = &fake_process};

struct cpu *cpu_this(void) {
    return &fake_cpu;
}

struct thread *thread_current(void) {
    return &fake_thread;
}

uint64_t irq_save(void) { return 0; }

void irq_restore(uint64_t flags) {}

void spin_lock_slow(struct spinlock *l) { panic("a lock is taken twice"); }

void mutex_init(struct mutex *m) { m->owner = 0; }

/* The number of readers, or -1, lies in the lock's first bytes. */
static int *state(struct rwmutex *m) { return (int *)m; }

void rwmutex_init(struct rwmutex *m) { *state(m) = 0; }

void rwmutex_read_lock(struct rwmutex *m) {
    if (*state(m) < 0)
        panic("read lock while writing");
    ++*state(m);
}

void rwmutex_read_unlock(struct rwmutex *m) { --*state(m); }

void rwmutex_write_lock(struct rwmutex *m) {
    if (*state(m))
        panic("write lock while held");
    *state(m) = -1;
}

void rwmutex_write_unlock(struct rwmutex *m) { *state(m) = 0; }

bool fake_rwmutex_free(struct rwmutex *m) { return *state(m) == 0; }

void sched_yield_now(void) {}

void panic(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vdprintf(2, fmt, ap);
    vdprintf(2, "\n", ap);
    abort();
}

void log_print(enum log_level level, const char *fmt, ...) {}

bool oom_handle(const char *what) { return false; }
uint64_t reclaim_low;
void reclaim_wake(void) {}
void reclaim_wake_for(unsigned order) {}
bool reclaim_is_current(void) { return false; }
bool reclaim_make_room_now(void) { return false; }

bool direct_map(phys_t start, phys_t end) { return true; }

size_t str_copy(char *dst, const char *src, size_t size) {
    size_t n = strlen(src);
    memcpy(dst, src, MIN(n, size - 1));
    dst[MIN(n, size - 1)] = 0;
    return n;
}

/* One CPU which never caches a translation. */
void tlb_batch_flush(struct tlb_batch *b) {
    fake_flushes++;
    b->flush_count = 0;
    while (b->page_count) {
        b->page_count--;
        mapped_page_unref(b->pages[b->page_count], b->large >> b->page_count & 1 ? 2 : 1);
    }
    b->large = 0;
    while (b->anon) {
        struct page *p = b->anon;
        b->anon = (struct page *)(uintptr_t)p->private;
        page_unref(p);
    }
    while (b->tables) {
        struct page *p = b->tables;
        b->tables = (struct page *)(uintptr_t)p->private;
        const uint64_t *words = page_to_virt(p);
        for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
            if (words[i])
                panic("a table that is not empty is freed");
        page_free_clean(p);
        page_count(PAGE_TABLE, -1);
    }
}

void tlb_flush_user(struct aspace *as, uaddr_t va) {}

void aspace_deactivate(struct aspace *as) {}

void fake_machine_start(size_t ram) {
    if (!host_ram) {
        host_ram = mmap(NULL, ram, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (host_ram == (void *)-1)
            abort();
        /* The kernel's image, and the hole below 1 MiB. */
        page_reserve(0x100000, 0x180000);
        const struct ram_range ranges[] = {{0x1000, 0x9f000}, {0x100000, ram}};
        page_init(ranges, 2);
    }
}

/* xorshift: the same numbers in every run. */
uint64_t fake_random(void) {
    static uint64_t x = 0x9e3779b97f4a7c15;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}
