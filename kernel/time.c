// The clock. Time is a line through (cycles, ns): mono_base + (tsc - tsc_base) * mult, kept in the page that the vDSO reads.
// When the machine tells the rate of its cycles the line stands from the boot on (mode 1). Otherwise the clock starts on a
// slower counter of known rate (mode 0: the vDSO makes system calls), which also measures the cycles: nothing waits for that.
// The first reading after 250 us makes the cycles take over, and the measurement is repeated from 5 ms on over ever longer
// baselines. What is then found wrong is put right by running a little faster or slower until the next measurement, so that
// time never jumps or goes back.
//
// A virtual CPU may be put aside for longer than the counter takes to wrap, unseen, before the rate is known. Wraps that were
// missed make the cycles look too fast, never too slow. So a later stretch in which they are slower says that the beginning
// of the measurement was such a case, and the measurement begins anew behind it.
//
// Locks: time_lock (interrupt-safe, a leaf) for all writers and for reading the reference; readers use the page's sequence.
#include "kernel/boot.h"
#include "kernel/clock_event.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/muldiv.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "kernel/time.h"

#define SHORTEST_BASELINE (250 * NSEC_PER_USEC) // right to within half a percent
#define FIRST_BASELINE (5 * NSEC_PER_MSEC)
#define LAST_BASELINE (256 * NSEC_PER_SEC) // and every so often from then on
#define MAX_HZ_PER_NS 6    // no TSC is faster than 6 GHz
#define MAX_SLEW 20 // the clock runs at most a 20th faster or slower than it should

struct vdso_data *vdso_data;

static struct spinlock time_lock;
static uint64_t cycles_per_ns = 1UL << 32; // 32 binary places
static uint64_t true_mult = 1UL << 32;     // ns a cycle as measured, without the slewing

// A moment by all clocks: cycles, the reference, and the time that was shown.
struct moment {
    uint64_t cycles;
    nsec_t reference, shown;
};
static struct moment start;  // where the measurement began
static struct moment before; // the previous look

// The reference counter's state.
static uint64_t reference_last;  // its last raw value
static uint64_t reference_ticks; // since the boot, wraps included
static uint64_t reference_seen_at; // cycles at reference_last
static uint64_t sample_width;      // cycles that the last reading took: how far off the pair may be

static struct timer measure_timer;

uint64_t time_cycles(void)
{
    return clock_cycles();
}

nsec_t time_cycles_to_ns(uint64_t cycles)
{
    return (nsec_t)mul_shift32(cycles, READ_ONCE(true_mult));
}

uint64_t time_ns_to_cycles(nsec_t ns)
{
    return mul_shift32((uint64_t)ns, READ_ONCE(cycles_per_ns));
}

uint64_t time_tsc_khz(void)
{
    return mul_shift32(NSEC_PER_MSEC, READ_ONCE(cycles_per_ns));
}

// --- The page ---

static void write_begin(void)
{
    WRITE_ONCE(vdso_data->seq, vdso_data->seq + 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void write_end(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    WRITE_ONCE(vdso_data->seq, vdso_data->seq + 1);
}

static nsec_t line_at(const struct vdso_data *v, uint64_t cycles)
{
    int64_t delta = (int64_t)(cycles - v->tsc_base);
    return v->mono_base + (delta > 0 ? (nsec_t)mul_shift32((uint64_t)delta, v->mult) : 0);
}

// Continues the line from (cycles, ns) on with another slope.
static void line_set(uint64_t cycles, nsec_t ns, uint64_t mult)
{
    write_begin();
    vdso_data->tsc_base = cycles;
    vdso_data->mono_base = ns;
    vdso_data->mult = mult;
    vdso_data->shift = 32;
    WRITE_ONCE(vdso_data->mode, 1);
    write_end();
}

// --- The reference ---

// Nanoseconds since the boot by the reference. time_lock held. Where it may have wrapped since it was last read, the cycles
// tell how often, once their rate is known.
static nsec_t reference_now(uint64_t *cycles)
{
    uint64_t first = clock_cycles(), raw = clock_reference->read();
    sample_width = clock_cycles() - first;
    *cycles = first + sample_width / 2;
    uint64_t ticks = (raw - reference_last) & clock_reference->mask;
    if (vdso_data->mode == 1) {
        uint64_t passed = mul_shift32(*cycles - reference_seen_at, true_mult); // ns
        uint64_t period = mul_shift32(clock_reference->mask + 1, clock_reference->ns_mult);
        uint64_t shown = mul_shift32(ticks, clock_reference->ns_mult);
        if (passed > shown + period / 2)
            ticks += (clock_reference->mask + 1) * mul_div(passed - shown + period / 2, 1, period);
    }
    reference_last = raw;
    reference_seen_at = *cycles;
    reference_ticks += ticks;
    return (nsec_t)mul_shift32(reference_ticks, clock_reference->ns_mult);
}

static void set_rates(nsec_t ns, uint64_t cycles)
{
    WRITE_ONCE(true_mult, mul_div((uint64_t)ns, 1UL << 32, cycles));
    WRITE_ONCE(cycles_per_ns, mul_div(cycles, 1UL << 32, (uint64_t)ns));
}

// Mode 0. When enough has passed for a first estimate, and nothing came between the two halves of this reading, it is the last
// one of its kind.
static nsec_t reference_monotonic(void)
{
    uint64_t cycles, flags = spin_lock_irqsave(&time_lock);
    if (vdso_data->mode) {
        nsec_t now = line_at(vdso_data, clock_cycles());
        spin_unlock_irqrestore(&time_lock, flags);
        return now;
    }
    nsec_t ns = reference_now(&cycles);
    uint64_t passed = cycles - start.cycles, passed_ns = (uint64_t)(ns - start.reference);
    bool dead = !reference_ticks && passed > 1UL << 28;
    if (unlikely(dead)) {
        line_set(cycles, ns, true_mult);
    } else if (reference_ticks && passed > passed_ns * MAX_HZ_PER_NS + (1UL << 20)) { // it must have wrapped
        start = (struct moment){cycles, ns, ns};
    } else if (passed_ns >= (uint64_t)SHORTEST_BASELINE && sample_width < passed / 128) {
        set_rates(ns - start.reference, passed);
        line_set(cycles, ns, true_mult);
        before = (struct moment){cycles, ns, ns};
    }
    spin_unlock_irqrestore(&time_lock, flags);
    if (unlikely(dead))
        log_warn("clock: the %s does not count; taking 1 GHz for the time stamp counter", clock_reference->name);
    return ns;
}

// A measurement, from its start until now; then the line is bent so that it is right when the next one comes. time_lock held.
// Returns how long until then.
static nsec_t measure_now(struct moment now)
{
    nsec_t since = now.reference - before.reference, next;
    uint64_t expected = time_ns_to_cycles(since);
    if (now.cycles - before.cycles < expected - expected / 64)
        start = before;
    before = now;
    nsec_t ns = now.reference - start.reference;
    if (ns < FIRST_BASELINE / 2)
        return FIRST_BASELINE;
    next = ns >= LAST_BASELINE ? LAST_BASELINE : ns * 9; // until ten times as much has passed
    set_rates(ns, now.cycles - start.cycles);
    // The clock shall be right when the next measurement comes: the error is spread over the time until then.
    nsec_t error = start.shown + ns - now.shown;
    uint64_t slew = mul_div(true_mult, (uint64_t)(error < 0 ? -error : error), (uint64_t)next);
    slew = MIN(slew, true_mult / MAX_SLEW);
    line_set(now.cycles, now.shown, error < 0 ? true_mult - slew : true_mult + slew);
    return next;
}

static void measure(struct timer *timer)
{
    struct moment now;
    uint64_t flags = spin_lock_irqsave(&time_lock);
    now.reference = reference_now(&now.cycles);
    now.shown = vdso_data->mode ? line_at(vdso_data, now.cycles) : now.reference;
    bool steady = sample_width < (now.cycles - before.cycles) / 128; // else somebody came in between: another time
    nsec_t next = steady ? measure_now(now) : FIRST_BASELINE;
    spin_unlock_irqrestore(&time_lock, flags);
    log_debug("clock: TSC %lu kHz by the %s over %ld us", time_tsc_khz(), clock_reference->name,
              (long)((now.reference - start.reference) / NSEC_PER_USEC));
    if (reference_ticks)
        timer_add(timer, now.shown + next);
}

// --- Reading ---

nsec_t time_monotonic(void)
{
    const struct vdso_data *v = vdso_data;
    nsec_t ns;
    uint32_t seq;
    do {
        seq = load_acquire(&v->seq);
        if (unlikely(v->mode == 0))
            return reference_monotonic();
        ns = line_at(v, clock_cycles());
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (unlikely((seq & 1) || READ_ONCE(v->seq) != seq));
    return ns;
}

nsec_t time_realtime(void)
{
    return time_monotonic() + READ_ONCE(vdso_data->real_offset);
}

#define LATEST_TIME (NSEC_MAX - 30 * 365 * 86400L * NSEC_PER_SEC) // 30 years to run, as Linux

int time_set_realtime(nsec_t ns)
{
    nsec_t now = time_monotonic();
    if (ns < now || ns >= LATEST_TIME)
        return -EINVAL;
    uint64_t flags = spin_lock_irqsave(&time_lock);
    write_begin();
    vdso_data->real_offset = ns - now;
    write_end();
    spin_unlock_irqrestore(&time_lock, flags);
    return 0;
}

// Not by reading and setting: what passes between the two would be lost.
int time_shift_realtime(nsec_t change)
{
    nsec_t old = time_realtime(), new;
    if (__builtin_add_overflow(old, change, &new) || new < time_monotonic() || new >= LATEST_TIME)
        return -EINVAL;
    uint64_t flags = spin_lock_irqsave(&time_lock);
    write_begin();
    vdso_data->real_offset += change;
    write_end();
    spin_unlock_irqrestore(&time_lock, flags);
    return 0;
}

// --- Start ---

#ifdef KNARR_UNIT_TEST
void time_init_for_test(void) // as after a reset
{
    cycles_per_ns = true_mult = 1UL << 32;
    reference_last = reference_ticks = reference_seen_at = sample_width = 0;
    start = before = (struct moment){0};
}
#endif

void time_init_cpu(void)
{
    clock_init_cpu();
}

// The RTC knows whole seconds. The host says (now=) when it started the machine: within the RTC's second that is closer.
static nsec_t time_of_day(void) {
    const char *word = cmdline_get("now");
    nsec_t rtc = rtc_read() * NSEC_PER_SEC;
    uint64_t now = 0;
    bool closer = word && str_to_u64(word, &now) && (nsec_t)now > rtc && (nsec_t)now - rtc < NSEC_PER_SEC;
    return closer ? (nsec_t)now : rtc;
}

void time_init(void)
{
    struct page *page = page_alloc(0, PA_ZERO);
    if (!page)
        panic("no memory for the clock");
    vdso_data = page_to_virt(page);
    vdso_data->shift = 32;
    struct clock_cycles_info info = {0};
    clock_init(&info);
    start.cycles = clock_cycles();
    if (info.hz) {
        true_mult = mul_div(NSEC_PER_SEC, 1UL << 32, info.hz);
        cycles_per_ns = mul_div(info.hz, 1UL << 32, NSEC_PER_SEC);
    }
    if (clock_reference) {
        reference_last = clock_reference->read();
        start.cycles += (clock_cycles() - start.cycles) / 2;
    }
    before = start;
    reference_seen_at = start.cycles;
    if (info.hz || !clock_reference) {
        line_set(start.cycles, 0, true_mult);
        if (!info.hz)
            log_warn("clock: nothing tells the rate of the time stamp counter; taking 1 GHz");
    }
    time_init_cpu();
    if (clock_reference && !info.exact) {
        timer_init(&measure_timer, measure);
        timer_add(&measure_timer, FIRST_BASELINE);
    }
    vdso_data->real_offset = (info.realtime ? info.realtime : time_of_day()) - time_monotonic();
}
