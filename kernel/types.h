// Basic types and macros that every file of the kernel uses. Included first by all other headers.
#ifndef KERNEL_TYPES_H
#define KERNEL_TYPES_H

#include <asm/errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t phys_t;  // a physical address
typedef uint64_t uaddr_t; // an address in the application's half: never dereferenced, see usercopy.h
typedef int64_t nsec_t;   // nanoseconds; signed, so that differences work

#define NSEC_PER_SEC 1000000000LL
#define NSEC_PER_MSEC 1000000LL
#define NSEC_PER_USEC 1000LL
#define NSEC_MAX INT64_MAX

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define HUGE_PAGE_SHIFT 21
#define HUGE_PAGE_SIZE (1UL << HUGE_PAGE_SHIFT)

// The application's half ends one guard page below the non-canonical hole.
#define USER_START 0x10000UL
#define USER_END 0x00007ffffffff000UL

#define ALIGN_UP(x, a) (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define IS_ALIGNED(x, a) (((x) & ((a)-1)) == 0)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
// Each argument is evaluated once: it may be a number that another CPU changes.
#define MIN(a, b) CHOOSE_ONCE(a, <, b, __COUNTER__)
#define MAX(a, b) CHOOSE_ONCE(a, >, b, __COUNTER__)
#define CHOOSE_ONCE(a, less, b, number) CHOOSE_NAMED(a, less, b, number)
#ifdef __cppcheck__ // which cannot read it
#define CHOOSE_NAMED(a, less, b, number) ((a)less(b) ? (a) : (b))
#else
#define CHOOSE_NAMED(a, less, b, number)                                                                              \
    ({                                                                                                                 \
        __typeof__(1 ? (a) : (b)) first_##number = (a), second_##number = (b);                                         \
        first_##number less second_##number ? first_##number : second_##number;                                        \
    })
#endif
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define NORETURN __attribute__((noreturn))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NO_CANARY __attribute__((no_stack_protector)) // hot and without arrays: the canary would be a tenth of the cost
#define MUST_CHECK __attribute__((warn_unused_result))
#define PACKED __attribute__((packed))
#define ALIGNED(n) __attribute__((aligned(n)))

// Not for the application: a blocking call was interrupted by a signal and may be restarted (SA_RESTART). The signal code
// turns it into a restart or into EINTR; nothing else may let it escape.
#define ERESTARTSYS 512
// The same, but always restarted, whatever runs (futexes with priority inheritance).
#define ERESTARTNOINTR 513
// The same as the first, but always EINTR when a handler runs; restarted when none does (nanosleep, poll, futex with timeouts: signal(7)).
#define ERESTARTNOHAND 514
// The same, but the restart is restart_syscall(2), which calls thread.restart.fn (sleeps with a relative timeout).
#define ERESTART_BLOCK 516

// Pointers that can carry a negative errno.
#define ERR_PTR(err) ((void *)(intptr_t)(err))
#define PTR_ERR(p) ((long)(intptr_t)(p))
#define IS_ERR(p) (unlikely((uintptr_t)(p) >= (uintptr_t)-4095))

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define atomic_add(p, v) __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST) // the value before
#define atomic_sub(p, v) __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST) // the value before
#define atomic_or(p, v) __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST)
#define atomic_and(p, v) __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST)
#define atomic_xchg(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)

#include "kernel/debug/checked.h"

#endif
