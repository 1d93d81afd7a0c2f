// See kernel/threads/loadavg.h. Lock: load_lock (interrupt-safe, a leaf); who finds it taken leaves the work to its holder.
#include "kernel/threads/loadavg.h"
#include "kernel/threads/lock.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"

nsec_t load_due = LOAD_PERIOD;
static struct spinlock load_lock = SPINLOCK_INIT;
static uint64_t loads[3];

// 1/exp(5 s/1 min), 1/exp(5 s/5 min), 1/exp(5 s/15 min), in fixed point.
static const uint64_t decays[3] = {1884, 2014, 2037};

// x to the power of n, in fixed point, rounded to the nearest at each step.
static uint64_t power(uint64_t x, uint64_t n)
{
    uint64_t result = LOAD_ONE;
    for (; n; n >>= 1) {
        if (n & 1)
            result = (result * x + LOAD_ONE / 2) >> LOAD_SHIFT;
        x = (x * x + LOAD_ONE / 2) >> LOAD_SHIFT;
    }
    return result;
}

uint64_t load_decay(uint64_t load, uint64_t decay, uint64_t active, uint64_t n)
{
    uint64_t keep = power(decay, n), target = active << LOAD_SHIFT;
    uint64_t sum = load * keep + target * (LOAD_ONE - keep);
    return (sum + (target >= load ? LOAD_ONE - 1 : 0)) >> LOAD_SHIFT; // so that it gets there
}

void load_update(uint64_t active, nsec_t now)
{
    uint64_t flags = irq_save();
    if (spin_trylock(&load_lock)) {
        if (now >= load_due) {
            uint64_t n = (uint64_t)((now - load_due) / LOAD_PERIOD) + 1;
            for (int i = 0; i < 3; i++)
                WRITE_ONCE(loads[i], load_decay(loads[i], decays[i], active, n));
            WRITE_ONCE(load_due, load_due + (nsec_t)n * LOAD_PERIOD);
        }
        spin_unlock(&load_lock);
    }
    irq_restore(flags);
}

void load_averages(uint64_t out[3])
{
    nsec_t now = time_monotonic();
    if (now >= READ_ONCE(load_due))
        load_update(sched_load(), now);
    for (int i = 0; i < 3; i++)
        out[i] = READ_ONCE(loads[i]);
}
