// The lines of trace=syscalls against what strace prints for the same calls.
// link: syscall/trace.c syscall/trace_socket.c syscall/trace_args.c syscall/trace_names.c syscall/trace_errno.c
// flags: -D__KERNEL__
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel/log.h"
#include "kernel/process/process.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "syscall/syscall.h"
#include "syscall/trace.h"
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>

void *malloc(size_t n);
void free(void *p);

#define LINE(nr, nm, argc, fl, ...) [nr] = {.name = #nm, .arg_count = argc, .flags = fl, .args = {__VA_ARGS__}},
const struct syscall_entry syscall_table[SYSCALL_MAX] = {
#define SYSCALL LINE
#define NOSYS LINE
#include "syscall/table.h"
};

static struct process process;
static struct thread thread = {.process = &process, .tid = 7};
struct process *init_process = &process;

struct thread *thread_current(void) {
    return &thread;
}

void *kmalloc(size_t size) { return malloc(size); }

void kfree(void *p) { free(p); }

// The application's memory is the test's; addresses below a page are bad.
size_t copy_in_partial(void *dst, uaddr_t src, size_t n) {
    if (src < PAGE_SIZE || src >= USER_END)
        return 0;
    memcpy(dst, (const void *)src, n);
    return n;
}

int copy_in(void *dst, uaddr_t src, size_t n) { return copy_in_partial(dst, src, n) == n ? 0 : -EFAULT; }

long copy_in_str(char *dst, uaddr_t src, size_t size) {
    if (src < PAGE_SIZE || src >= USER_END)
        return -EFAULT;
    size_t n = strnlen((const char *)src, size);
    if (n == size)
        return -ENAMETOOLONG;
    memcpy(dst, (const char *)src, n + 1);
    return (long)n;
}

static char logged[2048];
static unsigned lines;

void log_report(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(logged, sizeof(logged), fmt, ap);
    va_end(ap);
    lines++;
}

// Traces one call; `fill`, when given, is copied to `where` between the two halves, as the call would.
static const char *trace_filling(uint64_t nr, const uint64_t a[6], long result, void *where, const void *fill,
                                 size_t n) {
    logged[0] = '\0';
    struct trace_line *line = trace_begin(nr, a);
    if (where)
        memcpy(where, fill, n);
    if (line)
        trace_end(line, a, result);
    return logged;
}

#define P(x) ((uint64_t)(x))
#define trace(nr, result, ...) trace_filling(nr, (uint64_t[6]){__VA_ARGS__}, result, NULL, NULL, 0)

static void test_simple(void **state) {
    assert_string_equal(trace(__NR_getpid, 1, 0), "getpid()                                = 1");
    assert_string_equal(trace(__NR_close, -EBADF, 9),
                        "close(9)                                = -1 EBADF (Bad file descriptor)");
    assert_string_equal(trace(__NR_brk, 0x4e7000, 0), "brk(NULL)                               = 0x4e7000");
    assert_string_equal(trace(__NR_umask, 022, 077), "umask(077)                              = 022");
    assert_string_equal(trace(500, -ENOSYS, 1, 2, 3, 4, 5, 6),
                        "syscall_0x1f4(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)");
    assert_string_equal(trace(__NR_pause, -ERESTARTNOHAND, 0),
                        "pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)");
}

static void test_end(void **state) {
    unsigned before = lines;
    assert_string_equal(trace(__NR_exit_group, 0, 3), "exit_group(3)                           = ?");
    assert_int_equal(lines, before + 1);
}

static void test_strings(void **state) {
    assert_string_equal(trace(__NR_write, 6, 1, P("hello\n"), 6), "write(1, \"hello\\n\", 6)                  = 6");
    assert_string_equal(trace(__NR_write, 40, 1, P("0123456789012345678901234567890123456789"), 40),
                        "write(1, \"01234567890123456789012345678901\"..., 40) = 40");
    assert_string_equal(trace(__NR_write, 5, 1,
                              P("\0\1"
                                "2\"\\\x80"),
                              6),
                        "write(1, \"\\0\\0012\\\"\\\\\\200\", 6)          = 5");
    assert_string_equal(trace(__NR_write, -EFAULT, 1, 8, 6),
                        "write(1, 0x8, 6)                        = -1 EFAULT (Bad address)");
    assert_string_equal(trace(__NR_write, 0, 1, 0, 0), "write(1, NULL, 0)                       = 0");
    // A read's bytes are those that it has brought.
    static char buf[8];
    assert_string_equal(trace_filling(__NR_read, (uint64_t[6]){0, P(buf), 8}, 3, buf, "abc", 3),
                        "read(0, \"abc\", 8)                       = 3");
    assert_string_equal(trace(__NR_read, 0, 0, P(buf), 8), "read(0, \"\", 8)                          = 0");
    uint64_t failed[6] = {0, 0x1234, 8};
    assert_string_equal(trace_filling(__NR_read, failed, -EINTR, NULL, NULL, 0),
                        "read(0, 0x1234, 8)                      = -1 EINTR (Interrupted system call)");
}

static void test_files(void **state) {
    assert_string_equal(
        trace(__NR_openat, -ENOENT, (uint32_t)AT_FDCWD, P("/etc/passwd"), O_RDONLY | O_CLOEXEC, 0666),
        "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)");
    assert_string_equal(trace(__NR_open, 3, P("/tmp/x"), O_WRONLY | O_CREAT | O_TRUNC, 0644),
                        "open(\"/tmp/x\", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 3");
    assert_string_equal(trace(__NR_access, 0, P("/"), 5), "access(\"/\", R_OK|X_OK)                  = 0");
    assert_string_equal(trace(__NR_access, 0, P("/"), 0), "access(\"/\", F_OK)                       = 0");
    assert_string_equal(trace(__NR_fcntl, 0, 3, F_GETFD, 99), "fcntl(3, F_GETFD)                       = 0");
    assert_string_equal(trace(__NR_lseek, 5, 3, 5, 0), "lseek(3, 5, SEEK_SET)                   = 5");
    assert_string_equal(trace(__NR_ioctl, -ENOTTY, 1, 0x5401, 0x7000),
                        "ioctl(1, TCGETS, 0x7000)                = -1 ENOTTY (Inappropriate ioctl for device)");
}

static void test_memory(void **state) {
    assert_string_equal(trace(__NR_mmap, 0x7f0000001000, 0, 8192, 3, 0x22, ~0ul, 0),
                        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000");
    assert_string_equal(trace(__NR_mprotect, 0, 0x401000, 4096, 0), "mprotect(0x401000, 4096, PROT_NONE)     = 0");
    assert_string_equal(trace(__NR_madvise, 0, 0x401000, 4096, 4), "madvise(0x401000, 4096, MADV_DONTNEED)  = 0");
    assert_string_equal(trace(__NR_madvise, -EINVAL, 0x401000, 4096, 200),
                        "madvise(0x401000, 4096, 0xc8 /* MADV_??? */) = -1 EINVAL (Invalid argument)");
}

static void test_signals(void **state) {
    uint64_t set = 1 << 1 | 1 << 14 | 1ul << 32, all = ~0ul & ~(1ul << 8);
    uint64_t action[4] = {0x401000, 0x14000000, 0x402000, 0};
    static uint64_t old;
    assert_string_equal(trace_filling(__NR_rt_sigprocmask, (uint64_t[6]){0, P(&set), P(&old), 8}, 0, &old, &all, 8),
                        "rt_sigprocmask(SIG_BLOCK, [INT TERM RT_1], ~[KILL], 8) = 0");
    assert_string_equal(trace(__NR_rt_sigaction, 0, 2, P(action), 0, 8),
                        "rt_sigaction(SIGINT, {sa_handler=0x401000, sa_mask=[], sa_flags=SA_RESTORER|SA_RESTART, "
                        "sa_restorer=0x402000}, NULL, 8) = 0");
    assert_string_equal(trace(__NR_kill, 0, 7, 9), "kill(7, SIGKILL)                        = 0");
}

static void test_threads(void **state) {
    uint64_t time[2] = {1, 500};
    assert_string_equal(
        trace(__NR_futex, -ETIMEDOUT, 0x4000, FUTEX_WAIT_PRIVATE, 2, P(time), 0, 0),
        "futex(0x4000, FUTEX_WAIT_PRIVATE, 2, {tv_sec=1, tv_nsec=500}) = -1 ETIMEDOUT (Connection timed out)");
    assert_string_equal(trace(__NR_futex, 1, 0x4000, FUTEX_WAKE, 1, 0x99, 0x99, 0x99),
                        "futex(0x4000, FUTEX_WAKE, 1)            = 1");
    assert_string_equal(trace(__NR_futex, 1, 0x4000, FUTEX_REQUEUE_PRIVATE, 0, 1, 0x5000, 0),
                        "futex(0x4000, FUTEX_REQUEUE_PRIVATE, 0, 1, 0x5000) = 1");
    assert_string_equal(trace(__NR_clone, 8, CLONE_VM | CLONE_THREAD | 17, 0, 0, 0, 0),
                        "clone(CLONE_VM|CLONE_THREAD|SIGCHLD, NULL, NULL, NULL, 0) = 8");
    process.thread_count = 2;
    assert_string_equal(trace(__NR_gettid, 7, 0), "[pid 7] gettid()                                = 7");
    process.thread_count = 1;
}

static void test_structures(void **state) {
    uint64_t time[4] = {0, 0, 2, 5};
    char *argv[] = {(char *)"sh", (char *)"-c", NULL}, *envp[] = {(char *)"A=1", NULL};
    char expected[128];
    snprintf(expected, sizeof(expected), "execve(\"/bin/sh\", [\"sh\", \"-c\"], %#lx /* 1 var */) = 0",
             (unsigned long)P(envp));
    assert_string_equal(trace(__NR_execve, 0, P("/bin/sh"), P(argv), P(envp)), expected);
    assert_string_equal(
        trace(__NR_setitimer, 0, 0, P(time), 0),
        "setitimer(ITIMER_REAL, {it_interval={tv_sec=0, tv_usec=0}, it_value={tv_sec=2, tv_usec=5}}, NULL) = 0");
    static int fds[2];
    assert_string_equal(trace_filling(__NR_pipe2, (uint64_t[6]){P(fds), O_CLOEXEC}, 0, fds, (int[]){3, 4}, 8),
                        "pipe2([3, 4], O_CLOEXEC)                = 0");
    static int status;
    assert_string_equal(trace_filling(__NR_wait4, (uint64_t[6]){~0ul, P(&status), 0, 0}, 9, &status, (int[]){11}, 4),
                        "wait4(-1, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV}], 0, NULL) = 9");
    struct {
        const char *base;
        uint64_t len;
    } iov[2] = {{"ab", 2}, {"cde", 3}};
    assert_string_equal(trace(__NR_writev, 5, 1, P(iov), 2),
                        "writev(1, [{iov_base=\"ab\", iov_len=2}, {iov_base=\"cde\", iov_len=3}], 2) = 5");
    uint64_t limit[2] = {8192 * 1024, ~0ul};
    assert_string_equal(trace(__NR_prlimit64, 0, 0, 3, P(limit), 0),
                        "prlimit64(0, RLIMIT_STACK, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}, NULL) = 0");
}

// A line that is far too long is cut and still ends with the result.
static void test_long(void **state) {
    static char path[300];
    static char *argv[40];
    memset(path, '\1', 290);
    for (unsigned i = 0; i < 39; i++)
        argv[i] = path;
    const char *line = trace(__NR_execve, -E2BIG, P(path), P(argv), 0);
    size_t n = strlen(line);
    assert_in_range(n, 500, 1000);
    const char *end = "...) = -1 E2BIG (Argument list too long)";
    assert_string_equal(line + n - strlen(end), end);
}

// Every kind with every sort of pointer: nothing but text may come of it.
static void test_all_kinds(void **state) {
    static uint8_t zeroes[16384], ones[16384];
    memset(ones, 0xff, sizeof(ones));
    const uint64_t values[] = {0, 1, 8, ~0ul, 1ul << 63, P(zeroes), P(ones)};
    for (unsigned nr = 0; nr < SYSCALL_MAX + 2; nr++)
        for (unsigned v = 0; v < ARRAY_SIZE(values); v++) {
            uint64_t x = values[v];
            unsigned before = lines;
            trace(nr, v % 2 ? 0 : -EINVAL, x, x, x, v == 5 ? 3 : x, x, x);
            assert_int_equal(lines, before + 1);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),    cmocka_unit_test(test_end),        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_files),     cmocka_unit_test(test_memory),     cmocka_unit_test(test_signals),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_structures), cmocka_unit_test(test_long),
        cmocka_unit_test(test_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
