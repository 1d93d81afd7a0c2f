// link: kernel/random.c kernel/chacha.c
/* The random number generator: it starts by itself, never repeats or keeps what it handed out, and mixes in what comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/threads/lock.h"
#include "kernel/random.h"
#include "kernel/time.h"
#include "kernel/threads/wait.h"
#include "kernel/x86/rdrand.h"

int rand(void);

static uint64_t cycles;
static unsigned requests, asked, woken;
static bool processor_has_numbers;

uint64_t time_cycles(void) { return cycles += 100; }
nsec_t time_monotonic(void) { return 0; }
unsigned cpu_random(uint64_t *out, unsigned n) {
    asked++;
    for (unsigned i = 0; i < n; i++)
        out[i] = 0x123456789abcdefUL * (i + asked);
    return processor_has_numbers ? n : 0;
}
uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { fail(); }
unsigned waitq_wake_key(struct waitq *wq, unsigned exclusive, uint32_t key) { return woken++; }
void waiter_init(struct waiter *w) {}
void waitq_prepare(struct waitq *wq, struct waiter *w, bool interruptible) {}
void waitq_finish(struct waiter *w) {}
int thread_sleep_until(nsec_t deadline) { return -ETIMEDOUT; }

static void request(void) { requests++; }
static const struct entropy_source source = {request};

static bool contains(const uint8_t *haystack, size_t size, const uint8_t *needle, size_t n) {
    return memmem(haystack, size, needle, n) != NULL;
}

/* The order matters: the generator is one, and starts once. */
static void without_a_source_time_has_to_do(void **state) {
    random_init();
    assert_int_equal(asked, 0); /* the boot costs nothing */
    assert_false(random_ready());
    assert_int_equal(random_wait_ready(), 0); /* ends, by the time of the sleeps */
    assert_true(random_ready());
    assert_int_equal(woken, 1);
}

static void numbers_differ(void **state) {
    static uint8_t all[200000];
    size_t len = 0;
    for (int i = 0; i < 3000; i++) {
        size_t n = 8 + (size_t)rand() % 50;
        random_bytes(all + len, n);
        for (size_t k = 0; k + 8 <= n; k += 8)
            assert_false(contains(all, len, all + len + k, 8));
        len += n;
    }
    size_t ones = 0;
    for (size_t i = 0; i < len; i++)
        ones += (size_t)__builtin_popcount(all[i]);
    assert_true(ones > len * 8 * 49 / 100 && ones < len * 8 * 51 / 100);
}

static void long_requests_are_filled(void **state) {
    static uint8_t a[100003], b[100003];
    memset(a, 0, sizeof(a));
    random_bytes(a, sizeof(a) - 1);
    assert_int_equal(a[sizeof(a) - 1], 0);
    random_bytes(b, sizeof(b));
    assert_false(contains(b, sizeof(b), a + 5000, 16));
    size_t zeros = 0;
    for (size_t i = 0; i < sizeof(a); i++)
        zeros += a[i] == 0;
    assert_true(zeros < sizeof(a) / 150);
    random_bytes(a, 0);
}

static void the_seed_is_renewed(void **state) {
    processor_has_numbers = true;
    random_set_source(&source);
    static uint8_t a[1 << 16];
    unsigned before = asked;
    requests = 0;
    for (int i = 0; i < 40; i++)
        random_bytes(a, sizeof(a));
    assert_in_range(asked - before, 1, 4);
    assert_int_equal(requests, asked - before);
    cycles += 1UL << 40;
    before = asked;
    for (int i = 0; i < 10; i++)
        random_bytes(a, 40);
    assert_int_equal(asked, before + 1);
}

static void what_is_added_changes_what_comes(void **state) {
    uint8_t entropy[100] = {1};
    for (size_t n = 0; n <= sizeof(entropy); n += 20)
        random_add(entropy, n, (unsigned)n * 8);
    assert_true(random_ready());
    assert_int_not_equal(random_u64(), random_u64());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_source_time_has_to_do),  cmocka_unit_test(numbers_differ),
        cmocka_unit_test(long_requests_are_filled),         cmocka_unit_test(the_seed_is_renewed),
        cmocka_unit_test(what_is_added_changes_what_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
