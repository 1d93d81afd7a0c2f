// Chooses the clocks of this machine, and makes events: the local APIC's timer, by deadline in cycles where the CPU can,
// otherwise as a countdown whose rate is measured while it is used. Until that is known it is taken to be slow, which makes
// interrupts come early; they find nothing due, by then the rate is measured, and the rest is waited for.
#include "kernel/x86/clock.h"
#include "kernel/clock_event.h"
#include "kernel/log.h"
#include "kernel/muldiv.h"
#include "kernel/time.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/context.h"
#include "kernel/x86/cpu.h"

#define APIC_HZ_AT_FIRST 100000000UL // QEMU has 1 GHz. A crystal of 24 MHz makes the first event late, at 40 ms instead of 10
#define KVM_APIC_HZ 1000000000UL

const struct clock_reference *clock_reference;

static uint64_t apic_mult;       // counts a nanosecond, 32 binary places
static bool apic_rate_known;
static nsec_t best_measurement;  // over how long the rate was measured
// The countdown of the boot CPU that is measured.
static uint32_t armed_count;
static nsec_t armed_at;

void clock_init(struct clock_cycles_info *info)
{
    uint64_t apic_hz = tsc_apic_hz();
    bool kvm = kvmclock_init(info);
    if (!kvm)
        tsc_rate(info);
    if (!info->exact) {
        clock_reference = hpet_init();
        if (!clock_reference)
            clock_reference = pit_init();
    }
    if (!apic_hz && kvm)
        apic_hz = KVM_APIC_HZ;
    apic_rate_known = apic_hz != 0;
    apic_mult = mul_div(apic_hz ? apic_hz : APIC_HZ_AT_FIRST, 1UL << 32, NSEC_PER_SEC);
}

void clock_init_cpu(void)
{
    lapic_timer_init();
}

// Compares what the countdown has done since it was started with the time that has passed.
static void measure_apic(nsec_t now)
{
    nsec_t passed = now - armed_at;
    if (passed <= best_measurement || !armed_count)
        return;
    uint32_t left = lapic_timer_count();
    // One that has run out says only that the rate is at least this: the next interrupts come early once more.
    uint64_t mult = mul_div(armed_count - left, 1UL << 32, (uint64_t)passed);
    bool confirmed = mult > apic_mult - apic_mult / 16 && mult < apic_mult + apic_mult / 16;
    if (left || mult > apic_mult) {
        apic_mult = MAX(mult, 1);
        best_measurement = left ? passed : 0;
    }
    apic_rate_known = confirmed && passed > 20 * NSEC_PER_MSEC;
}

void clock_event_set(nsec_t delta)
{
    delta = MAX(delta, 0);
    if (cpu_features.tsc_deadline) {
        lapic_timer_deadline(rdtsc() + time_ns_to_cycles(MIN(delta, 1000 * NSEC_PER_SEC)));
        return;
    }
    bool measuring = !apic_rate_known && cpu_this()->id == 0;
    nsec_t now = 0;
    if (unlikely(measuring)) {
        now = time_monotonic();
        measure_apic(now);
    }
    uint64_t count = delta < 4000 * NSEC_PER_SEC ? mul_shift32((uint64_t)delta, apic_mult) + 1 : UINT32_MAX;
    count = MIN(count, UINT32_MAX);
    lapic_timer_arm((uint32_t)count);
    if (unlikely(measuring)) {
        armed_count = (uint32_t)count;
        armed_at = now;
    }
}
