// The initial stack, byte by byte.
// link: loader/stack.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/memory/aspace.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "loader/stack.h"
#include <linux/auxvec.h>

#define TOP 0x7ffffffff000UL
#define SIZE (4UL << 20)

void *malloc(size_t n);
void free(void *p);

void *kmalloc(size_t size) { return malloc(size); }

void kfree(void *p) { free(p); }

static uint8_t memory[SIZE]; // [TOP - SIZE, TOP)
static long fail_after = -1; // bytes until an access fails

long aspace_access(struct aspace *as, uaddr_t addr, void *buf, size_t len, bool write, bool force) {
    assert_true(write && addr >= TOP - SIZE && addr + len <= TOP);
    if (fail_after >= 0 && (fail_after -= (long)len) < 0)
        return -EFAULT;
    memcpy(memory + (addr - (TOP - SIZE)), buf, len);
    return (long)len;
}

static const uint8_t *at(uaddr_t addr) {
    assert_in_range(addr, TOP - SIZE, TOP - 1);
    return memory + (addr - (TOP - SIZE));
}

static uint64_t word(uaddr_t addr) {
    uint64_t v;
    memcpy(&v, at(addr), 8);
    return v;
}

static struct stack_params params(char **argv, char **envp, unsigned jitter) {
    struct stack_params p = {.top = TOP, .jitter = jitter, .exec_name = "/bin/hello", .argv = argv, .envp = envp};
    for (unsigned i = 0; i < 16; i++)
        p.random[i] = (uint8_t)(0xa0 + i);
    p.auxv[p.auxv_count++] = (struct auxv_entry){AT_PAGESZ, 4096};
    p.auxv[p.auxv_count++] = (struct auxv_entry){AT_RANDOM, 0};
    p.auxv[p.auxv_count++] = (struct auxv_entry){AT_EXECFN, 0};
    p.auxv[p.auxv_count++] = (struct auxv_entry){AT_PLATFORM, 0};
    memset(memory, 0, sizeof(memory));
    assert_int_equal(stack_measure(&p, 64 << 20), 0);
    return p;
}

// Every byte from RSP to the top, for a small program.
static void test_layout(void **state) {
    char *argv[] = {"hello", "-n", NULL}, *envp[] = {"A=1", "PATH=/bin", NULL};
    struct stack_params p = params(argv, envp, 0);
    struct aspace as = {0};
    uaddr_t sp;

    assert_int_equal(stack_build(&as, &p, SIZE, &sp), 0);
    assert_int_equal(sp % 16, 0);

    // From the top down.
    uaddr_t name = TOP - 8 - sizeof("/bin/hello");
    assert_int_equal(word(TOP - 8), 0);
    assert_memory_equal(at(name), "/bin/hello", 11);
    uaddr_t env = name - sizeof("A=1\0PATH=/bin");
    assert_memory_equal(at(env), "A=1\0PATH=/bin", 14);
    uaddr_t arg = env - sizeof("hello\0-n");
    assert_memory_equal(at(arg), "hello\0-n", 9);
    uaddr_t platform = ALIGN_DOWN(arg, 16) - 7;
    assert_string_equal((const char *)at(platform), "x86_64");
    uaddr_t random = platform - 16;
    assert_memory_equal(at(random), p.random, 16);

    // From RSP up.
    const uint64_t expected[] = {2,         arg,    arg + 6,   0,    env,         env + 4,  0,       AT_PAGESZ, 4096,
                                 AT_RANDOM, random, AT_EXECFN, name, AT_PLATFORM, platform, AT_NULL, 0};
    assert_memory_equal(at(sp), expected, sizeof(expected));
    assert_int_equal(ALIGN_DOWN(random - sizeof(expected), 16), sp);

    // What lies between is zero.
    for (uaddr_t a = sp + sizeof(expected); a < random; a++)
        assert_int_equal(*at(a), 0);
    for (uaddr_t a = platform + 7; a < arg; a++)
        assert_int_equal(*at(a), 0);

    // What /proc shows.
    assert_int_equal(as.arg_start, arg);
    assert_int_equal(as.arg_end, env);
    assert_int_equal(as.env_start, env);
    assert_int_equal(as.env_end, name);
    assert_int_equal(as.stack_top, TOP);
    assert_int_equal(as.auxv_words, 10);
    assert_memory_equal(as.auxv, expected + 7, 80);
}

static void test_alignment(void **state) {
    char *envp[] = {NULL}, name[64] = {0};
    for (unsigned i = 0; i < 40; i++) {
        memset(name, 'x', i);
        char *argv[] = {name, NULL};
        struct stack_params p = params(argv, envp, i * 16);
        struct aspace as = {0};
        uaddr_t sp;
        assert_int_equal(stack_build(&as, &p, stack_size(&p), &sp), 0);
        assert_int_equal(sp % 16, 0);
        assert_true(TOP - sp <= stack_size(&p));
        assert_int_equal(word(sp), 1);
        assert_string_equal((const char *)at(word(sp + 8)), name);
        assert_int_equal(word(sp + 16), 0);
        assert_int_equal(word(sp + 24), 0);
    }
}

// Strings and vectors longer than the buffer that they are written through.
static void test_large(void **state) {
    enum { COUNT = 3000 };
    static char strings[COUNT][24], *argv[COUNT + 1], *envp[COUNT + 1];
    static char big[100000];
    for (unsigned i = 0; i < COUNT; i++) {
        for (unsigned k = 0; k < i % 23; k++)
            strings[i][k] = (char)('a' + (i + k) % 26);
        argv[i] = strings[i];
        envp[i] = strings[COUNT - 1 - i];
    }
    memset(big, 'B', sizeof(big) - 1);
    argv[7] = big;
    struct stack_params p = params(argv, envp, 8176);
    struct aspace as = {0};
    uaddr_t sp;
    assert_int_equal(stack_build(&as, &p, SIZE, &sp), 0);
    assert_int_equal(word(sp), COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_string_equal((const char *)at(word(sp + 8 + i * 8)), argv[i]);
        assert_string_equal((const char *)at(word(sp + 8 + (COUNT + 1 + i) * 8)), envp[i]);
    }
    assert_int_equal(word(sp + 8 + COUNT * 8), 0);
    assert_int_equal(word(sp + 8 + (2 * COUNT + 1) * 8), 0);
    assert_int_equal(stack_build(&as, &p, stack_size(&p) - PAGE_SIZE, &sp), -E2BIG);
    fail_after = 5000;
    assert_int_equal(stack_build(&as, &p, SIZE, &sp), -ENOMEM);
    fail_after = -1;
}

static int check(char **argv, char **envp, uint64_t stack_limit) {
    struct stack_params p = {.argv = argv, .envp = envp, .exec_name = "/x"};
    return stack_measure(&p, stack_limit);
}

static void test_limits(void **state) {
    static char string[STACK_MAX_STRING + 1];
    char *none[] = {NULL}, *one[] = {string, NULL};
    static char *many[100];

    memset(string, 'x', STACK_MAX_STRING - 1);
    assert_int_equal(check(one, none, 8 << 20), 0);
    string[STACK_MAX_STRING - 1] = 'x';
    assert_int_equal(check(one, none, 8 << 20), -E2BIG);
    string[STACK_MAX_STRING - 1] = 0;

    // A quarter of 8 MiB: fifteen strings of 128 KiB fit, sixteen with their pointers do not.
    for (unsigned i = 0; i < 15; i++)
        many[i] = string;
    assert_int_equal(check(none, many, 8 << 20), 0);
    many[15] = string;
    assert_int_equal(check(none, many, 8 << 20), -E2BIG);
    // However large the stack, 6 MiB.
    for (unsigned i = 0; i < 47; i++)
        many[i] = string;
    assert_int_equal(check(none, many, ~0ul), 0);
    many[47] = string;
    assert_int_equal(check(none, many, ~0ul), -E2BIG);
    // However small, 128 KiB.
    string[100000] = 0;
    assert_int_equal(check(one, none, 4096), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
