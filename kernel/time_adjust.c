// See time_adjust.h. Lock: adjust_lock (interrupt-safe), before time.c's.
#include "kernel/time_adjust.h"
#include "kernel/threads/lock.h"
#include <linux/timex.h>

#define STEPS_PER_SECOND 10
#define SLEW_PER_STEP (500 * NSEC_PER_USEC / STEPS_PER_SECOND) // 500 parts per million, as Linux

static struct spinlock adjust_lock = SPINLOCK_INIT;
static struct time_adjustment state = {
    .tick = TIME_TICK_DEFAULT, .status = STA_UNSYNC, .max_error = 16000000, .estimated_error = 16000000, .constant = 2};
static struct timer timer;
static bool running;

static nsec_t take(nsec_t *offset) {
    nsec_t part = MIN(MAX(*offset, -SLEW_PER_STEP), SLEW_PER_STEP);
    *offset -= part;
    return part;
}

static bool idle(void) {
    return !state.offset && !state.one_shot && !state.frequency && state.tick == TIME_TICK_DEFAULT;
}

static void step(struct timer *t) {
    spin_lock(&adjust_lock);
    nsec_t per_second = state.frequency * 1000 / 65536 + (state.tick - TIME_TICK_DEFAULT) * 100 * NSEC_PER_USEC;
    nsec_t delta = per_second / STEPS_PER_SECOND + take(&state.offset) + take(&state.one_shot);
    if (delta)
        (void)time_shift_realtime(delta);
    running = !idle();
    if (running)
        timer_add(t, time_monotonic() + NSEC_PER_SEC / STEPS_PER_SECOND);
    spin_unlock(&adjust_lock);
}

void time_adjustment_get(struct time_adjustment *out) {
    uint64_t flags = spin_lock_irqsave(&adjust_lock);
    *out = state;
    spin_unlock_irqrestore(&adjust_lock, flags);
}

void time_adjustment_set(const struct time_adjustment *in) {
    uint64_t flags = spin_lock_irqsave(&adjust_lock);
    state = *in;
    WRITE_ONCE(vdso_data->tai, in->tai);
    if (!running && !idle()) {
        running = true;
        timer_init(&timer, step);
        timer_add(&timer, time_monotonic() + NSEC_PER_SEC / STEPS_PER_SECOND);
    }
    spin_unlock_irqrestore(&adjust_lock, flags);
}
