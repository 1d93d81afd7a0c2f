// The clock on simulated machines: time stamp counters of several rates measured by a 16-bit PIT whose ports take their time.
// It must never go back, never jump, and soon be right.
// link: kernel/time.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/clock_event.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/muldiv.h"
#include "kernel/memory/page.h"
#include "kernel/time.h"

#define PIT_HZ 1193182.0

static double truth;  // ns since the machine was switched on
static double tsc_hz;
static uint64_t told_hz;
static bool exact, with_reference, pit_stuck;
static nsec_t port_delay;

static uint64_t pit_read(void)
{
    truth += port_delay / 2 + rand() % (port_delay + 1);
    uint64_t v = pit_stuck ? 7 : (uint64_t)(truth * PIT_HZ / 1e9) & 0xffff;
    truth += port_delay / 2;
    return v;
}
static const struct clock_reference pit = {
    .name = "PIT", .read = pit_read, .mask = 0xffff, .ns_mult = (uint64_t)((1000000000UL << 32) / 1193182UL)};
const struct clock_reference *clock_reference;

uint64_t clock_cycles(void)
{
    truth += 5;
    return (uint64_t)(truth * (tsc_hz / 1e9)) + 123456789;
}
void clock_init(struct clock_cycles_info *info)
{
    info->hz = told_hz;
    info->exact = exact;
    info->name = "tsc";
    clock_reference = with_reference ? &pit : NULL;
}
void clock_init_cpu(void) {}
int64_t rtc_read(void) { return 1577836800; }
const char *cmdline_get(const char *name) { return NULL; }
bool str_to_u64(const char *s, uint64_t *value) { return false; }
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { abort(); }
enum log_level log_threshold;
void log_print(enum log_level level, const char *fmt, ...) {}
void panic(const char *fmt, ...) { abort(); }

static struct page the_page;
static uint8_t page_memory[4096] __attribute__((aligned(4096)));
struct page *page_array = &the_page;
uint8_t *host_ram = page_memory;
struct page *page_alloc(unsigned order, unsigned flags) { return &the_page; }

static struct timer *armed;
void timer_init(struct timer *t, timer_fn fn) { *t = (struct timer){.fn = fn, .cpu = -1}; }
void timer_add(struct timer *t, nsec_t deadline)
{
    t->deadline = deadline;
    armed = t;
}

struct machine {
    double hz;
    uint64_t told;
    bool exact, reference;
    nsec_t delay;
};

static double started;

static void boot(const struct machine *m)
{
    truth = 5e6;
    tsc_hz = m->hz;
    told_hz = m->told;
    exact = m->exact;
    with_reference = m->reference;
    port_delay = m->delay;
    armed = NULL;
    memset(page_memory, 0, sizeof page_memory);
    time_init_for_test();
    started = truth;
    time_init();
}

// Lets time pass in steps that a program might make, and looks at the clock: it must grow as fast as the truth does, within
// `rate` (a fraction).
static void check(double until, double max_error)
{
    nsec_t last = time_monotonic();
    double last_truth = truth;
    while (truth - started < until) {
        double step = (rand() % 1000) * ((truth - started) / 5000 + 20);
        if (step > 30e6)
            step = 30e6; // before the rate is known, the measuring timer comes every 10 ms
        truth += step;
        if (armed && armed->deadline <= time_monotonic()) {
            struct timer *t = armed;
            armed = NULL;
            t->fn(t);
        }
        nsec_t now = time_monotonic();
        assert_true(now >= last);
        double grown = now - last, passed = truth - last_truth;
        assert_true(grown <= passed * 1.06 + 40000); // no jumps
        last = now;
        last_truth = truth;
    }
    double error = (double)last - (truth - started);
    if (error < 0)
        error = -error;
    if (error > max_error)
        print_message("error %.0f ns after %.0f ns\n", error, truth - started);
    assert_true(error <= max_error);
}

static void measured(void **state)
{
    static const double rates[] = {1e9, 2.5e9, 3.7e9, 0.8e9, 2.399987e9, 5.2e9};
    static const nsec_t delays[] = {0, 1000, 5000};
    for (unsigned r = 0; r < ARRAY_SIZE(rates); r++)
        for (unsigned d = 0; d < ARRAY_SIZE(delays); d++) {
            srand(r * 10 + d);
            boot(&(struct machine){.hz = rates[r], .reference = true, .delay = delays[d]});
            assert_int_equal(vdso_data->mode, 0);
            check(5e6, 100e3);
            assert_int_equal(vdso_data->mode, 1);
            check(50e6, 400e3);
            check(2e9, 150e3);
            check(30e9, 100e3);
            check(900e9, 300e3);
            assert_true(time_tsc_khz() > rates[r] / 1e3 * 0.99999 && time_tsc_khz() < rates[r] / 1e3 * 1.00001 + 1);
        }
}

// The host takes the CPU away for longer than the PIT takes to wrap, at any moment of the beginning. The time that is lost with
// that is lost; but soon the clock must run at the right speed.
static void put_aside(void **state)
{
    for (int run = 0; run < 300; run++) {
        srand(run);
        boot(&(struct machine){.hz = run % 2 ? 2.6e9 : 1e9, .reference = true, .delay = 1000});
        nsec_t last = 0;
        for (int i = 0; truth - started < 3e9; i++) {
            truth += truth - started < 100e6 && rand() % 40 == 0 ? rand() % 200000000 : rand() % 1000000;
            nsec_t now = time_monotonic();
            assert_true(now >= last);
            last = now;
            if (armed && armed->deadline <= now) {
                struct timer *t = armed;
                armed = NULL;
                t->fn(t);
            }
        }
        double khz = (double)time_tsc_khz() / (run % 2 ? 2.6e6 : 1e6);
        if (khz < 0.9995 || khz > 1.0005)
            print_message("run %d: %f\n", run, khz);
        assert_true(khz > 0.9995 && khz < 1.0005);
    }
}

static void told(void **state)
{
    boot(&(struct machine){.hz = 2.7e9, .told = 2700000000, .exact = true});
    assert_int_equal(vdso_data->mode, 1);
    assert_null(armed);
    check(1000e9, 2000);
    assert_int_equal(time_ns_to_cycles(1000), 2699);
    assert_in_range(time_cycles_to_ns(2700000), 999998, 1000000);
}

// CPUID's rounded number is put right by the reference.
static void told_roughly(void **state)
{
    boot(&(struct machine){.hz = 2.7013e9, .told = 2700000000, .reference = true, .delay = 1000});
    assert_int_equal(vdso_data->mode, 1);
    check(20e9, 100e3);
    check(300e9, 200e3);
}

static void realtime_is_set(void **state)
{
    boot(&(struct machine){.hz = 1e9, .told = 1000000000, .exact = true});
    assert_in_range(time_realtime() / NSEC_PER_SEC, 1577836800, 1577836801);
    assert_int_equal(time_set_realtime(-1), -EINVAL);
    assert_int_equal(time_set_realtime(1000 * NSEC_PER_SEC), 0);
    assert_in_range(time_realtime(), 1000 * NSEC_PER_SEC, 1000 * NSEC_PER_SEC + 1000);
}

static void dead_reference(void **state)
{
    pit_stuck = true;
    boot(&(struct machine){.hz = 1e9, .reference = true});
    for (int i = 0; i < 100; i++) {
        truth += 10e6;
        time_monotonic();
    }
    assert_int_equal(vdso_data->mode, 1);
    nsec_t a = time_monotonic();
    truth += 1e6;
    assert_in_range(time_monotonic() - a, 900000, 1100000);
    pit_stuck = false;
}

static void wide_division(void **state)
{
    assert_int_equal(mul_div(1000000000, 1UL << 32, 2500000000), 1717986918);
    assert_int_equal(mul_div(UINT64_MAX, UINT64_MAX, UINT64_MAX), UINT64_MAX);
    assert_int_equal(mul_div(UINT64_MAX, 2, 1), UINT64_MAX);
    assert_int_equal(mul_div(5, 7, 0), UINT64_MAX);
    assert_int_equal(mul_shift32(1UL << 40, 3UL << 32), 3UL << 40);
    for (int i = 0; i < 10000; i++) {
        uint64_t a = (uint64_t)rand() << 20 ^ (uint64_t)rand(), b = (uint64_t)rand() << 31 ^ (uint64_t)rand(),
                 c = (uint64_t)rand() << (rand() % 30) | 1UL << 52;
        assert_int_equal(mul_div(a, b, c), (uint64_t)((unsigned __int128)a * b / c));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measured),        cmocka_unit_test(put_aside),     cmocka_unit_test(told),           cmocka_unit_test(told_roughly),
        cmocka_unit_test(realtime_is_set), cmocka_unit_test(dead_reference), cmocka_unit_test(wide_division),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
