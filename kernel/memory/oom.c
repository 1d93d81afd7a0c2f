// The end of memory: says once who uses what, and kills the process that uses most.
//
// Locks: oom_lock, so that there is one victim at a time > process_table_lock while it is chosen. Called without any
// lock by a thread that wants a page for the application.
#include "kernel/memory/oom.h"
#include "kernel/memory/aspace.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/time.h"

#define PATIENCE (2 * NSEC_PER_SEC) // for a victim to end, before another one is chosen

#define ROWS 16

static struct mutex oom_lock = MUTEX_INIT(oom_lock);
static int victim_pid; // the process killed last, and when
static nsec_t victim_killed;

// A process as it was when the report was made.
struct row {
    int pid;
    uint64_t resident, mapped;
    char name[16];
};

static unsigned long kib(uint64_t pages) { return pages * (PAGE_SIZE / 1024); }

static void report_slab(void *ctx, const struct slab_cache *c) {
    uint64_t bytes = c->objects * c->size;
    if (bytes > page_total() * PAGE_SIZE / 64)
        log_err("  slab %s: %lu objects, %lu KiB", c->name, (unsigned long)c->objects, (unsigned long)(bytes >> 10));
}

static void report(const char *what, const struct row *rows, unsigned count) {
    struct page_stats s;
    page_stats(&s);
    log_err("out of memory (%s)", what);
    log_err("  %lu KiB in all: %lu free, %lu anonymous, %lu files and shared, %lu slab, %lu page tables", kib(s.total),
            kib(s.free), kib(s.anon), kib(s.cache), kib(s.slab), kib(s.page_tables));
    slab_each(report_slab, NULL);
    for (unsigned i = 0; i < count; i++)
        log_err("  pid %d %s: %lu KiB resident, %lu KiB mapped", rows[i].pid, rows[i].name, kib(rows[i].resident),
                kib(rows[i].mapped));
}

// Looks at all processes: fills in rows for the report, and returns the process to kill, with a reference: the one
// that was killed already and is still dying, with *dying set; else the largest. NULL: none.
static struct process *choose(struct row *rows, unsigned *count, bool *dying) {
    struct process *best = NULL, *p;
    uint64_t most = 0;
    bool patient = victim_pid && time_monotonic() - victim_killed < PATIENCE;
    *count = 0;
    *dying = false;
    uint64_t irq = spin_lock_irqsave(&process_table_lock);
    list_for_each (p, &process_list, all_link) {
        struct row row = {.pid = p->pid};
        spin_lock(&p->signal_lock); // keeps its address space and its first thread
        const struct aspace *as = p->aspace;
        if (as) {
            row.resident = as->resident_pages;
            row.mapped = as->mapped_pages;
        }
        if (p->leader)
            str_copy(row.name, p->leader->name, sizeof(row.name));
        spin_unlock(&p->signal_lock);
        if (!as || p->zombie || p->pid == 0)
            continue;
        uint64_t resident = row.resident;
        if (*count < ROWS)
            rows[(*count)++] = row;
        if (p->pid == victim_pid && patient) {
            best = p;
            *dying = true;
            break;
        }
        if (p->pid != victim_pid && (!best || resident > most)) { // the last victim did not help
            best = p;
            most = resident;
        }
    }
    if (best)
        process_ref(best);
    spin_unlock_irqrestore(&process_table_lock, irq);
    return best;
}

bool oom_handle(const char *what) {
    struct process *me = process_current();
    struct row rows[ROWS];
    unsigned count;
    bool dying;
    if (thread_signal_pending() && READ_ONCE(me->exiting))
        return false;
    mutex_lock(&oom_lock);
    struct process *p = choose(rows, &count, &dying);
    if (p && !dying) {
        report(what, rows, count);
        log_err("  killing process %d", p->pid);
        machine_message("out of memory: process %d is killed (%lu KiB of RAM in all)", p->pid, kib(page_total()));
        victim_pid = p->pid;
        victim_killed = time_monotonic();
        signal_kill_process(p, SIGKILL);
    }
    bool give_up = !p || p == me;
    if (p)
        process_unref(p);
    mutex_unlock(&oom_lock);
    if (give_up)
        return false;
    thread_prepare_sleep(true);
    return thread_sleep_until(time_monotonic() + NSEC_PER_MSEC) != -ERESTARTSYS;
}

void out_of_memory(const char *what) { (void)oom_handle(what); }
