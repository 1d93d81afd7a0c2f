// Checks of locks. Every lock belongs to a class (lock_class.c). What a thread (sleeping locks) or a CPU (spinlocks) holds is
// kept in a list; each lock that is taken while others are held makes edges "taken after" between the classes, and an edge that
// closes a circle is a deadlock that waits to happen, whether or not it happened this time. Copies to and from the application
// count as taking the address space's lock, since they may fault. Further: a spinlock that interrupt handlers take and others
// take with interrupts on; sleeping with a spinlock or in an interrupt; a lock released by who does not hold it, taken twice, or
// held in memory that is freed; locks held at the end of a system call.
//
// Two locks of one class are nested only in the order of their addresses, or after lock_nested().
// Locks: `graph_word`, a bare word, with interrupts off; the lists are their thread's and their CPU's.
#include "kernel/debug/lock_class.h"
#include "kernel/log.h"
#include "kernel/memory/aspace.h"
#include "kernel/process/process.h"
#include "kernel/string.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/context.h"
#include "kernel/x86/cpu.h"

#define EDGES_MOST 16384

struct edge {
    uint16_t from, to;
    uint32_t from_place, to_place;
    uint32_t next; // of the same `from`; 0: none
};

static struct held_locks spins[MAX_CPUS];
static struct edge edges[EDGES_MOST];
static uint32_t edge_count = 1;
static uint32_t first_edge[LOCK_CLASSES_MOST];
static uint8_t edge_bits[LOCK_CLASSES_MOST][LOCK_CLASSES_MOST / 8];
static uint32_t graph_word;

static void graph_lock(void) {
    while (__atomic_exchange_n(&graph_word, 1, __ATOMIC_ACQUIRE))
        cpu_pause();
}
static void graph_unlock(void) { store_release(&graph_word, 0); }

static struct held_locks *spins_here(void) { return &spins[cpu_this()->id]; }

// What the current thread holds; NULL where there is none.
static struct held_locks *sleeping_here(void) {
    struct thread *t = cpu_this()->current;
    return t ? &t->locks_held : NULL;
}

// ---- reports

static void print_held(const struct held_locks *l, const char *whose) {
    char name[80], place[80];
    for (uint32_t i = 0; i < l->count; i++)
        log_err("  held by the %s: %s, taken in %s", whose, lock_class_name(l->held[i].class, name, sizeof(name)),
                lock_place_name(l->held[i].place, place, sizeof(place)));
}

// Switches the checks off and prints what is held; a second CPU that comes here stops.
static void begin(void) {
    irq_disable();
    if (!check_begin_report())
        cpu_halt_forever();
    const struct thread *t = cpu_this()->current;
    log_err("check: CPU %lu, thread %d (%s)", cpu_this()->id, t ? t->tid : -1, t ? t->name : "none");
    if (sleeping_here())
        print_held(sleeping_here(), "thread");
    print_held(spins_here(), "CPU");
}

// ---- the graph

static bool has_edge(uint16_t from, uint16_t to) { return READ_ONCE(edge_bits[from][to / 8]) & (1u << (to % 8)); }

static uint16_t queue[LOCK_CLASSES_MOST];
static uint32_t reached_by[LOCK_CLASSES_MOST]; // an edge; 0: not reached

// Finds a way from class a to class b, breadth first. The graph is locked.
static bool find_way(uint16_t a, uint16_t b) {
    uint32_t head = 0, tail = 0;
    memset(reached_by, 0, sizeof(reached_by));
    queue[tail++] = a;
    while (head < tail) {
        uint16_t at = queue[head++];
        for (uint32_t e = first_edge[at]; e; e = edges[e].next) {
            uint16_t to = edges[e].to;
            if (reached_by[to] || to == a)
                continue;
            reached_by[to] = e;
            if (to == b)
                return true;
            queue[tail++] = to;
        }
    }
    return false;
}

static void report_circle(const struct held_lock *held, uint16_t class, uint32_t place) {
    char a[80], b[80], p[80], q[80];
    begin();
    log_err("check: circular order of locks. Here, while");
    log_err("  %s is held, taken in %s,", lock_class_name(held->class, a, sizeof(a)),
            lock_place_name(held->place, p, sizeof(p)));
    log_err("  %s is wanted in %s", lock_class_name(class, b, sizeof(b)), lock_place_name(place, q, sizeof(q)));
    log_err("but elsewhere (last step first), while");
    for (uint16_t at = held->class; at != class;) {
        const struct edge *e = &edges[reached_by[at]];
        log_err("  %s was held, taken in %s,", lock_class_name(e->from, a, sizeof(a)),
                lock_place_name(e->from_place, p, sizeof(p)));
        log_err("  %s was wanted in %s", lock_class_name(e->to, b, sizeof(b)),
                lock_place_name(e->to_place, q, sizeof(q)));
        at = e->from;
    }
    check_failed("lock order: %s while %s is held", lock_class_name(class, b, sizeof(b)),
                 lock_class_name(held->class, a, sizeof(a)));
}

static void add_edge(const struct held_lock *held, uint16_t class, uint32_t place) {
    if (likely(has_edge(held->class, class)))
        return;
    graph_lock();
    if (find_way(class, held->class))
        report_circle(held, class, place);
    if (!has_edge(held->class, class) && edge_count < EDGES_MOST) {
        edges[edge_count] = (struct edge){held->class, class, held->place, place, first_edge[held->class]};
        first_edge[held->class] = edge_count++;
        edge_bits[held->class][class / 8] |= 1u << (class % 8);
    }
    graph_unlock();
}

// `lock` is about to be waited for while those of the list are held.
static void check_order(struct held_locks *l, const void *lock, uint16_t class, uint32_t place, unsigned irq_depth) {
    char name[80], p[80];
    bool nested = !irq_depth && sleeping_here() && sleeping_here()->nested;
    for (uint32_t i = 0; i < l->count; i++) {
        const struct held_lock *h = &l->held[i];
        if (h->irq_depth != irq_depth)
            continue;
        if (h->lock == lock) {
            begin();
            check_failed("%s is taken twice, the second time in %s", lock_class_name(class, name, sizeof(name)),
                         lock_place_name(place, p, sizeof(p)));
        }
        if (h->class != class) {
            add_edge(h, class, place);
        } else if (!nested && lock < h->lock) {
            begin();
            check_failed("two locks of class %s, against the order of their addresses and not nested, in %s",
                         lock_class_name(class, name, sizeof(name)), lock_place_name(place, p, sizeof(p)));
        }
    }
}

static void push(struct held_locks *l, const void *lock, uint16_t class, unsigned kind, uint32_t place,
                 unsigned irq_depth) {
    if (l->count == CHECK_HELD_MOST) {
        begin();
        check_failed("more than %u locks are held", CHECK_HELD_MOST);
    }
    l->held[l->count] = (struct held_lock){lock, place, class, (uint8_t)kind, (uint8_t)irq_depth};
    l->count++;
    if (!irq_depth && sleeping_here())
        sleeping_here()->nested = false;
}

static bool pop(struct held_locks *l, const void *lock) {
    for (uint32_t i = l->count; i-- > 0;)
        if (l->held[i].lock == lock) {
            l->count--;
            for (; i < l->count; i++)
                l->held[i] = l->held[i + 1];
            return true;
        }
    return false;
}

// ---- spinlocks

static void check_interrupts(uint16_t class, uint32_t place, bool in_irq, bool enabled) {
    char name[80], p[80], q[80];
    uint32_t irq, plain;
    if (!lock_class_use(class, place, in_irq, enabled, &irq, &plain))
        return;
    begin();
    check_failed("%s is taken by interrupt handlers (%s) and with interrupts on (%s)",
                 lock_class_name(class, name, sizeof(name)), lock_place_name(irq, p, sizeof(p)),
                 lock_place_name(plain, q, sizeof(q)));
}

static void check_calls(uint16_t class, uint32_t place, bool call) {
    char name[80], p[80], q[80];
    uint32_t off_place, call_place;
    if (!lock_class_off(class, place, call, &off_place, &call_place))
        return;
    begin();
    check_failed("%s is held while other CPUs are waited for (%s) and taken with interrupts off (%s)",
                 lock_class_name(class, name, sizeof(name)), lock_place_name(call_place, p, sizeof(p)),
                 lock_place_name(off_place, q, sizeof(q)));
}

void check_spin_wanted(struct spinlock *l) {
    if (!checks_on)
        return;
    uint32_t place = (uint32_t)CHECK_PLACE;
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_this();
    uint16_t class = lock_class_of(l, &l->check, CHECK_SPIN, place);
    check_interrupts(class, place, cpu->irq_depth > 0, flags & RFLAGS_IF);
    if (!(flags & RFLAGS_IF))
        check_calls(class, place, false);
    check_order(spins_here(), l, class, place, cpu->irq_depth);
    struct held_locks *sleeping = sleeping_here();
    if (!cpu->irq_depth && sleeping)
        check_order(sleeping, l, class, place, 0);
    irq_restore(flags);
}

void check_spin_taken(struct spinlock *l) {
    if (!checks_on)
        return;
    uint32_t place = (uint32_t)CHECK_PLACE;
    uint64_t flags = irq_save();
    push(spins_here(), l, lock_class_of(l, &l->check, CHECK_SPIN, place), CHECK_SPIN, place, cpu_this()->irq_depth);
    irq_restore(flags);
}

void check_spin_released(struct spinlock *l) {
    if (!checks_on)
        return;
    uint64_t flags = irq_save();
    if (!pop(spins_here(), l)) {
        char name[80], p[80];
        begin();
        check_failed("%s is released in %s by a CPU that does not hold it",
                     lock_class_name(lock_class_of(l, &l->check, CHECK_SPIN, 0), name, sizeof(name)),
                     lock_place_name((uint32_t)CHECK_PLACE, p, sizeof(p)));
    }
    irq_restore(flags);
}

// ---- sleeping locks

void check_lock_wanted(const void *lock, uint32_t *check, unsigned kind, uintptr_t place) {
    if (!checks_on)
        return;
    check_may_sleep(place);
    struct held_locks *l = sleeping_here();
    if (!l)
        return;
    uint64_t flags = irq_save();
    check_order(l, lock, lock_class_of(lock, check, kind, (uint32_t)place), (uint32_t)place, 0);
    irq_restore(flags);
}

void check_lock_taken(const void *lock, uint32_t *check, unsigned kind, uintptr_t place) {
    struct held_locks *l = sleeping_here();
    if (checks_on && l)
        push(l, lock, lock_class_of(lock, check, kind, (uint32_t)place), kind, (uint32_t)place, 0);
}

void check_lock_released(const void *lock, uintptr_t place) {
    struct held_locks *l = sleeping_here();
    if (!checks_on || !l || pop(l, lock))
        return;
    char p[80];
    begin();
    check_failed("a lock at %p is released in %s by a thread that does not hold it", lock,
                 lock_place_name((uint32_t)place, p, sizeof(p)));
}

void check_lock_nested(void) {
    struct thread *t = cpu_this()->current;
    if (t)
        t->locks_held.nested = true;
}

// ---- sleeping

void check_may_sleep(uintptr_t place) {
    char p[80];
    if (!checks_on)
        return;
    uint64_t flags = irq_save();
    struct cpu *cpu = cpu_this();
    bool spinning = spins_here()->count, in_irq = cpu->irq_depth;
    if (unlikely(spinning || in_irq)) {
        begin();
        check_failed("%s may sleep %s", lock_place_name((uint32_t)place, p, sizeof(p)),
                     in_irq ? "in an interrupt handler" : "with a spinlock held");
    }
    irq_restore(flags);
}

void check_may_fault(uintptr_t place) {
    struct thread *t = cpu_this()->current;
    check_may_sleep(place);
    if (!checks_on || !t || t->kernel || !t->process->aspace || t->no_faults)
        return;
    struct aspace *as = t->process->aspace;
    check_lock_wanted(&as->lock, &as->lock.check, CHECK_READ, place);
}

void check_no_locks(const char *where) {
    struct held_locks *l = sleeping_here();
    if (!checks_on || !l || (!l->count && !spins_here()->count))
        return;
    begin();
    check_failed("locks are held %s", where);
}

void check_cross_call(void) {
    if (!checks_on || cpu_this()->current->idle) // the boot
        return;
    if (!irq_enabled()) {
        begin();
        check_failed("other CPUs are waited for with interrupts off");
    }
    const struct held_locks *l = spins_here();
    for (uint32_t i = 0; i < l->count; i++)
        check_calls(l->held[i].class, (uint32_t)CHECK_PLACE, true);
}

void check_memory_goes(const void *start, size_t size, const char *what) {
    if (!checks_on)
        return;
    for (unsigned c = 0; c <= MAX_CPUS; c++) {
        const struct held_locks *l = c < MAX_CPUS ? &spins[c] : sleeping_here();
        uint32_t n = l ? MIN(READ_ONCE(l->count), CHECK_HELD_MOST) : 0;
        for (uint32_t i = 0; i < n; i++) {
            const void *lock = READ_ONCE(l->held[i].lock);
            if (lock < start || (const char *)lock >= (const char *)start + size || i >= READ_ONCE(l->count))
                continue;
            char name[80], p[80];
            begin();
            check_failed("%s is freed while the lock %s in it is held, taken in %s", what,
                         lock_class_name(l->held[i].class, name, sizeof(name)),
                         lock_place_name(l->held[i].place, p, sizeof(p)));
        }
        if (c >= cpu_count && c < MAX_CPUS)
            c = MAX_CPUS - 1;
    }
}
