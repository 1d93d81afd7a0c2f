// The kernel's log: a ring in memory, and on the serial port what the level lets through. Callable from any context.
#ifndef KERNEL_LOG_H
#define KERNEL_LOG_H

#include "kernel/types.h"
#include <stdarg.h>

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

extern enum log_level log_threshold; // set from loglevel= on the command line

// One line, without the newline at its end. printf's usual conversions (d i u x X o c s p %, with flags, width, precision, l ll z h).
void log_print(enum log_level level, const char *fmt, ...) PRINTF(2, 3);
#define log_err(...) log_print(LOG_ERR, __VA_ARGS__)
#define log_warn(...) log_print(LOG_WARN, __VA_ARGS__)
#define log_info(...)                                                                                                   \
    do {                                                                                                                \
        if (unlikely(log_threshold >= LOG_INFO))                                                                        \
            log_print(LOG_INFO, __VA_ARGS__);                                                                           \
    } while (0)
#define log_debug(...)                                                                                                  \
    do {                                                                                                                \
        if (unlikely(log_threshold >= LOG_DEBUG))                                                                       \
            log_print(LOG_DEBUG, __VA_ARGS__);                                                                          \
    } while (0)
// A line that was asked for on the command line (trace, stats, boot chart): printed at any threshold.
void log_report(const char *fmt, ...) PRINTF(1, 2);
// Says a thing once per place in the code.
#define log_once(level, ...)                                                                                            \
    do {                                                                                                                \
        static uint8_t said;                                                                                            \
        if (!atomic_xchg(&said, 1))                                                                                     \
            log_print(level, __VA_ARGS__);                                                                              \
    } while (0)

// The ring: bytes are numbered from the boot on. log_read copies what is still there from *pos on, at most `size` bytes,
// and moves *pos behind them; 0: nothing newer.
#define LOG_RING_SIZE 16384
uint64_t log_end(void);
size_t log_read(uint64_t *pos, char *buf, size_t size);

// Where log lines go besides the ring. `write` is called with the log's lock held and interrupts off, and must not log.
// May be called before anything is initialised, by the serial driver.
struct log_sink {
    void (*write)(const char *text, size_t len);
};
void log_set_sink(const struct log_sink *sink);

// For a panic, when all other CPUs have been stopped: one of them may have held the log's lock.
void log_break_lock(void);

// As printf(3)'s; `size` includes the NUL. Returns the length that the whole text has.
int snprintf(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);

// A broken invariant: prints the message, a backtrace with symbol names, stops the other CPUs, reports exit kind 2 (125).
void panic(const char *fmt, ...) PRINTF(1, 2) NORETURN;
#define ASSERT(cond)                                                                                                    \
    do {                                                                                                                \
        if (unlikely(!(cond)))                                                                                          \
            panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond);                                            \
    } while (0)

#endif
