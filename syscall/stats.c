// The tables printed at the end: system calls with counts and times (--stats), paths that were looked for and are absent
// (--missing-files). Counting is lock-free; the list of paths has a spinlock, a leaf.
#include "syscall/stats.h"
#include "fs/vfs.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "syscall/syscall.h"

struct count {
    uint64_t calls, errors, cycles;
    bool unsupported;
};
static struct count *counts; // by number; the last one counts what has no number

bool stats_init(void) {
    counts = kzalloc((SYSCALL_MAX + 1) * sizeof(*counts));
    return counts != NULL;
}

void stats_count(uint64_t nr, long result, uint64_t cycles) {
    bool known = nr < SYSCALL_MAX && syscall_table[nr].name;
    struct count *c = &counts[known ? nr : SYSCALL_MAX];

    __atomic_fetch_add(&c->calls, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&c->cycles, cycles, __ATOMIC_RELAXED);
    if (result < 0 && result >= -4095)
        __atomic_fetch_add(&c->errors, 1, __ATOMIC_RELAXED);
    if (!known || !syscall_table[nr].fn)
        WRITE_ONCE(c->unsupported, true);
}

// The call with the most time among those that come after `previous` in this order; -1: none is left.
static int next_by_time(int previous) {
    int best = -1;
    for (int i = 0; i <= SYSCALL_MAX; i++) {
        const struct count *c = &counts[i], *p = previous < 0 ? NULL : &counts[previous];
        if (!c->calls)
            continue;
        if (p && (c->cycles > p->cycles || (c->cycles == p->cycles && i <= previous)))
            continue;
        if (best < 0 || c->cycles > counts[best].cycles)
            best = i;
    }
    return best;
}

static void print_row(int i, uint64_t total_cycles) {
    const struct count *c = &counts[i];
    uint64_t percent10 = total_cycles ? c->cycles * 1000 / total_cycles : 0;
    uint64_t ns = (uint64_t)time_cycles_to_ns(c->cycles);

    log_report("%4lu.%lu %12lu %10lu %9lu %9lu %s%s", (unsigned long)(percent10 / 10), (unsigned long)(percent10 % 10),
               (unsigned long)(ns / 1000), (unsigned long)(ns / c->calls), (unsigned long)c->calls,
               (unsigned long)c->errors, i == SYSCALL_MAX ? "(no such call)" : syscall_table[i].name,
               c->unsupported ? " (unsupported)" : "");
}

void stats_print(void) {
    uint64_t calls = 0, errors = 0, cycles = 0;

    for (int i = 0; i <= SYSCALL_MAX; i++) {
        calls += counts[i].calls;
        errors += counts[i].errors;
        cycles += counts[i].cycles;
    }
    log_report("%% time  microseconds    ns/call     calls    errors syscall");
    for (int i = next_by_time(-1); i >= 0; i = next_by_time(i))
        print_row(i, cycles);
    log_report("%4u.0 %12lu %10lu %9lu %9lu total", 100, (unsigned long)time_cycles_to_ns(cycles) / 1000,
               (unsigned long)(calls ? (uint64_t)time_cycles_to_ns(cycles) / calls : 0), (unsigned long)calls,
               (unsigned long)errors);
}

// --- Missing files ---

#define MISSING_BUCKETS 64
#define MISSING_MAX 1000 // paths that are remembered; more are only counted

struct missing {
    struct missing *next, *later; // in the bucket; in the order of their first appearance
    uint64_t times;
    char name[];
};
static struct missing *buckets[MISSING_BUCKETS], *first_missing, *last_missing;
static unsigned missing_count, missing_dropped;
static struct spinlock missing_lock = SPINLOCK_INIT;

static unsigned bucket_of(const char *name) {
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash % MISSING_BUCKETS;
}

static void note_missing(const char *name) {
    unsigned bucket = bucket_of(name);
    size_t size = strlen(name) + 1;

    spin_lock(&missing_lock);
    struct missing *m = buckets[bucket];
    while (m && strcmp(m->name, name))
        m = m->next;
    if (m) {
        m->times++;
    } else if (missing_count == MISSING_MAX || !(m = kmalloc(sizeof(*m) + size))) {
        missing_dropped++;
    } else {
        memcpy(m->name, name, size);
        m->times = 1;
        m->later = NULL;
        m->next = buckets[bucket];
        buckets[bucket] = m;
        *(last_missing ? &last_missing->later : &first_missing) = m;
        last_missing = m;
        missing_count++;
    }
    spin_unlock(&missing_lock);
}

void missing_files_init(void) { vfs_missing_hook = note_missing; }

void missing_files_print(void) {
    if (vfs_missing_hook != note_missing)
        return;
    log_report("%u path%s looked for and not found%s", missing_count, missing_count == 1 ? "" : "s",
               missing_count ? ":" : "");
    for (const struct missing *m = first_missing; m; m = m->later)
        log_report("%9lu %s", (unsigned long)m->times, m->name);
    if (missing_dropped)
        log_report("and %u more", missing_dropped);
}
