// The other CPUs. The boot CPU prepares a struct cpu with tables and stack for each, kicks them off and goes on; they
// arrive whenever they do. And the calls from one CPU to others.
// Locks: none. Who waits for others has interrupts on, and answers meanwhile.
#include "kernel/x86/smp.h"
#include "kernel/boot.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/threads/sched.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/cpu_tables.h"
#include "kernel/x86/io.h"
#include "kernel/x86/pagetable.h"
#include "kernel/x86/vectors.h"

#define STARTUP_RETRY (1 * NSEC_PER_MSEC)
#define STARTUP_TRIES 13 // 16 s in all: a virtual CPU may have to wait for a real one
#define CALL_SPINS 2000

extern const char trampoline_start[], trampoline_end[];

// Known to boot.S.
phys_t secondary_root;
uint32_t secondary_arrived, secondary_prepared;
struct cpu *secondary_cpus[MAX_CPUS];
NORETURN void secondary_main(void);

static phys_t trampoline_page;
static uint32_t secondary_apic_ids[MAX_CPUS];
static struct timer retry_timer;
static unsigned retries;
static bool given_up;
static struct waitq arrivals = WAITQ_INIT(arrivals); // cpu_wait_started

// --- Starting ---
static bool page_usable(phys_t page) {
    if (page < boot_info.initrd_end && page + PAGE_SIZE > boot_info.initrd_start)
        return false;
    for (unsigned i = 0; i < boot_info.ram_count; i++)
        if (page >= boot_info.ram[i].start && page + PAGE_SIZE <= boot_info.ram[i].end)
            return true;
    return false;
}

void smp_reserve(void) {
    for (phys_t page = 0x8000; page < 0x90000; page += PAGE_SIZE) {
        if (!page_usable(page))
            continue;
        trampoline_page = page;
        memcpy(phys_to_virt(page), trampoline_start, (size_t)(trampoline_end - trampoline_start));
        page_reserve(page, page + PAGE_SIZE);
        return;
    }
}

static struct cpu *prepare_cpu(unsigned id) {
    struct cpu *c = kzalloc(sizeof(*c));
    struct cpu_tables *tables = kzalloc(sizeof(*tables)); // page-aligned
    uint8_t *stack = kernel_stack_alloc();
    if (!c || !tables || !stack) {
        kfree(c);
        kfree(tables);
        if (stack)
            kernel_stack_free(stack);
        return NULL;
    }
    c->self = c;
    c->id = id;
    c->arch = tables;
    c->kernel_stack = (uint64_t)(stack + KERNEL_STACK_SIZE);
    c->stack_canary = cpu_this()->stack_canary; // the same on all CPUs: threads move between them
    return c;
}

// A startup message may get lost when a CPU is slow to take its INIT: those that have not come are told again, from a timer.
// Who runs already ignores it.
static void send_startup(struct timer *t) {
    if (load_acquire(&cpu_count) > secondary_prepared)
        return;
    for (unsigned i = 0; i < secondary_prepared; i++)
        lapic_send_startup(secondary_apic_ids[i], (uint8_t)(trampoline_page >> PAGE_SHIFT));
    if (++retries < STARTUP_TRIES)
        timer_add(&retry_timer, time_monotonic() + STARTUP_RETRY * (1 << retries));
    else {
        log_warn("%u of %u CPUs did not start", secondary_prepared + 1 - cpu_count, secondary_prepared + 1);
        store_release(&given_up, true);
        waitq_wake_all(&arrivals);
    }
}

static bool all_started(void) {
    return sched_online_cpus() == ~0UL >> (MAX_CPUS - 1 - secondary_prepared) || load_acquire(&given_up);
}

void cpu_wait_started(void) { wait_event(&arrivals, all_started()); }

void smp_start(void) {
    uint64_t limit = MAX_CPUS;
    const char *option = cmdline_get("cpus");
    if (option && (!str_to_u64(option, &limit) || limit == 0))
        log_warn("cpus=%s is not a number of CPUs", option);
    unsigned count = MIN(topology.cpu_count, (unsigned)MIN(limit, (uint64_t)MAX_CPUS));
    if (count <= 1 || trampoline_page == 0)
        return;

    secondary_root = kernel_root;
    unsigned n = 0;
    for (unsigned i = 0; i < topology.cpu_count && n + 1 < count; i++) {
        if (topology.cpu_apic_id[i] == cpus[0]->apic_id)
            continue;
        struct cpu *c = prepare_cpu(n + 1);
        if (!c) {
            log_warn("no memory for CPU %u", n + 1);
            break;
        }
        secondary_cpus[n] = c;
        secondary_apic_ids[n++] = topology.cpu_apic_id[i];
    }
    store_release(&secondary_prepared, n);
    for (unsigned i = 0; i < n; i++)
        lapic_send_init(secondary_apic_ids[i]);
    timer_init(&retry_timer, send_startup);
    send_startup(&retry_timer);
}

// Where boot.S brings the others: on the stack that becomes their idle thread's.
void secondary_main(void) {
    struct cpu *c = cpu_this();
    cpu_init_secondary();
    lapic_init();
    while (load_acquire(&cpu_count) != c->id) // in order, so that cpus[] has no holes
        cpu_pause();
    cpus[c->id] = c;
    store_release(&cpu_count, (unsigned)c->id + 1);
    time_init_cpu();
    sched_init_cpu();
    waitq_wake_all(&arrivals);
    log_info("CPU %lu runs, APIC id %u", c->id, c->apic_id);
    sched_idle_loop();
}

// --- Calls ---
// Each CPU has a place of its own for the call that it makes; whom it calls looks through them all.

// The others may have to wait for real processors that this one keeps busy by waiting: after a while it halts.
static void wait_for_call(struct cpu *self) {
    struct cpu_call *call = &self->call;
    for (unsigned i = 1; i < CALL_SPINS; i++) {
        if (!load_acquire(&call->pending))
            return;
        spin_wait(i);
    }
    for (;;) {
        irq_disable();
        atomic_xchg(&call->sleeping, 1); // before the look at `pending`; the last one does the reverse
        if (!load_acquire(&call->pending))
            break;
        cpu_halt_enabled();
    }
    store_release(&call->sleeping, 0);
    irq_enable();
}

void cpu_call(uint64_t targets, void (*fn)(void *), void *arg) {
    CHECKED(check_cross_call();)
    struct cpu *self = cpu_this();
    targets &= ~(1UL << self->id);
    if (!targets)
        return;
    ASSERT(irq_enabled() && !self->call.pending);
    self->call.fn = fn;
    self->call.arg = arg;
    store_release(&self->call.pending, targets);
    for (uint64_t left = targets; left; left &= left - 1) {
        const struct cpu *c = cpus[__builtin_ctzl(left)];
        lapic_send(c->apic_id, VECTOR_CALL);
    }
    wait_for_call(self);
}

void smp_call_interrupt(void) {
    uint64_t me = 1UL << cpu_this()->id;
    unsigned count = load_acquire(&cpu_count);
    for (unsigned i = 0; i < count; i++) {
        struct cpu_call *call = &cpus[i]->call;
        if (!(load_acquire(&call->pending) & me))
            continue; // or this is but the wake-up of a caller
        uint32_t caller = cpus[i]->apic_id;
        call->fn(call->arg);
        if (atomic_and(&call->pending, ~me) == me && atomic_xchg(&call->sleeping, 0))
            lapic_send(caller, VECTOR_CALL);
    }
}

void cpu_kick(unsigned cpu) {
    struct cpu *self = cpu_this();
    if (cpu >= cpu_count || !cpus[cpu])
        return;
    if (READ_ONCE(self->kicks_held))
        atomic_or(&self->kicks, 1UL << cpu); // interrupts may be on
    else
        lapic_send(cpus[cpu]->apic_id, VECTOR_KICK);
}

void cpu_kick_hold(void) { WRITE_ONCE(cpu_this()->kicks_held, true); }

void cpu_kick_release(void) {
    struct cpu *self = cpu_this();
    WRITE_ONCE(self->kicks_held, false);
    if (likely(!READ_ONCE(self->kicks)))
        return;
    for (uint64_t left = atomic_xchg(&self->kicks, 0); left; left &= left - 1)
        cpu_kick((unsigned)__builtin_ctzl(left));
}

// --- The end ---
static bool stopping;

bool cpu_is_stopping(void) { return load_acquire(&stopping); }

void cpu_stop_others(void) {
    if (cpu_count <= 1 || __atomic_exchange_n(&stopping, true, __ATOMIC_SEQ_CST))
        return;
    for (unsigned i = 0; i < cpu_count; i++)
        if (cpus[i] && cpus[i] != cpu_this())
            lapic_send_nmi(cpus[i]->apic_id);
}
