// The vDSO's functions, on a page of clock data that the test writes.
// link: loader/vdso/vdso.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/time.h"
#include <linux/time.h>

struct vdso_data vdso_page;

int __vdso_clock_gettime(int clock, struct timespec *ts);
int __vdso_clock_getres(int clock, struct timespec *ts);
int __vdso_gettimeofday(struct timeval *tv, void *tz);
long __vdso_time(long *t);
long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);

static uint64_t tsc(void) { return __builtin_ia32_rdtsc(); }

static int64_t read_clock(int clock) {
    struct timespec ts = {-1, -1};
    assert_int_equal(__vdso_clock_gettime(clock, &ts), 0);
    assert_in_range(ts.tv_nsec, 0, 999999999);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

// One cycle is `mult` / 2^`shift` nanoseconds, from time `start` on.
static void set_page(uint64_t mult, uint32_t shift, nsec_t start, nsec_t real_offset) {
    vdso_page = (struct vdso_data){.seq = 2,
                                   .mode = 1,
                                   .tsc_base = tsc(),
                                   .mult = mult,
                                   .shift = shift,
                                   .mono_base = start,
                                   .real_offset = real_offset};
}

static void test_scaling(void **state) {
    const nsec_t start = 5 * NSEC_PER_SEC, offset = 1700000000 * NSEC_PER_SEC;
    for (uint32_t shift = 1; shift < 60; shift++) {
        set_page(1UL << shift, shift, start, offset); // a cycle is a nanosecond
        uint64_t before = tsc();
        int64_t ns = read_clock(CLOCK_MONOTONIC);
        uint64_t after = tsc();
        assert_true(ns - start >= (int64_t)(before - vdso_page.tsc_base) &&
                    ns - start <= (int64_t)(after - vdso_page.tsc_base));
        before = tsc();
        ns = read_clock(CLOCK_REALTIME) - offset;
        after = tsc();
        assert_true(ns - start >= (int64_t)(before - vdso_page.tsc_base) &&
                    ns - start <= (int64_t)(after - vdso_page.tsc_base));
    }
}

// A base of long ago: the product does not fit into 64 bits.
static void test_long_ago(void **state) {
    set_page(1UL << 60, 60, 0, 0);
    vdso_page.tsc_base = 1;
    uint64_t before = tsc();
    int64_t ns = read_clock(CLOCK_MONOTONIC);
    assert_in_range(ns, before - 1, tsc());
}

// Another CPU's counter may be behind the base.
static void test_behind(void **state) {
    set_page(1UL << 32, 32, 1000, 0);
    vdso_page.tsc_base = tsc() + (1UL << 45);
    assert_int_equal(read_clock(CLOCK_MONOTONIC), 1000);
    assert_int_equal(read_clock(CLOCK_REALTIME), 1000);
}

static void test_other_clocks(void **state) {
    set_page(1, 63, 7 * NSEC_PER_SEC, 100 * NSEC_PER_SEC); // time stands nearly still
    const int mono[] = {CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};
    for (size_t i = 0; i < ARRAY_SIZE(mono); i++)
        assert_in_range(read_clock(mono[i]), 7 * NSEC_PER_SEC, 7 * NSEC_PER_SEC + 1000);
    const int real[] = {CLOCK_REALTIME_COARSE, CLOCK_TAI};
    for (size_t i = 0; i < ARRAY_SIZE(real); i++)
        assert_in_range(read_clock(real[i]), 107 * NSEC_PER_SEC, 107 * NSEC_PER_SEC + 1000);
    struct timeval tv;
    assert_int_equal(__vdso_gettimeofday(&tv, NULL), 0);
    assert_int_equal(tv.tv_sec, 107);
    long t = 0;
    assert_int_equal(__vdso_time(&t), 107);
    assert_int_equal(t, 107);
    struct timespec res = {1, 0};
    assert_int_equal(__vdso_clock_getres(CLOCK_MONOTONIC, &res), 0);
    assert_int_equal(res.tv_sec * NSEC_PER_SEC + res.tv_nsec, 1);
}

// The calls that only the kernel answers; here that is the host's.
static void test_fallback(void **state) {
    set_page(1UL << 32, 32, 0, 0);
    assert_true(read_clock(CLOCK_PROCESS_CPUTIME_ID) > 0);
    struct timespec ts;
    assert_int_equal(__vdso_clock_gettime(99, &ts), -EINVAL);
    assert_int_equal(__vdso_clock_gettime(31, &ts), -EINVAL);
    vdso_page.mode = 0;
    assert_true(read_clock(CLOCK_REALTIME) > 1000000000 * NSEC_PER_SEC);
    assert_true(__vdso_time(NULL) > 1000000000);
    unsigned cpu = ~0u, node = ~0u;
    assert_int_equal(__vdso_getcpu(&cpu, &node, NULL), 0);
    assert_in_range(cpu, 0, 4095);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scaling),      cmocka_unit_test(test_long_ago), cmocka_unit_test(test_behind),
        cmocka_unit_test(test_other_clocks), cmocka_unit_test(test_fallback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
