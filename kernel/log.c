// The log: every line goes to a ring in memory, and those that the level lets through to the sinks (the serial port).
// Locks: log_lock (interrupt-safe), a leaf. A panic breaks it: see log_break_lock.
#include "kernel/log.h"
#include "kernel/threads/lock.h"
#include "kernel/string.h"

#define LINE_MAX 1024

enum log_level log_threshold = LOG_WARN;

static struct spinlock log_lock = SPINLOCK_INIT;
static const struct log_sink *log_sink_used;
static char ring[LOG_RING_SIZE];
static uint64_t ring_end; // bytes ever written

static void emit(const char *text, size_t len, bool to_sink) {
    uint64_t flags = spin_lock_irqsave(&log_lock);
    for (size_t done = 0; done < len;) {
        size_t at = (ring_end + done) % LOG_RING_SIZE, n = MIN(len - done, LOG_RING_SIZE - at);
        memcpy(ring + at, text + done, n);
        done += n;
    }
    ring_end += len;
    if (to_sink && log_sink_used)
        log_sink_used->write(text, len);
    spin_unlock_irqrestore(&log_lock, flags);
}

uint64_t log_end(void) { return __atomic_load_n(&ring_end, __ATOMIC_RELAXED); }

size_t log_read(uint64_t *pos, char *buf, size_t size) {
    uint64_t flags = spin_lock_irqsave(&log_lock);
    if (ring_end > LOG_RING_SIZE && *pos < ring_end - LOG_RING_SIZE)
        *pos = ring_end - LOG_RING_SIZE;
    size_t n = *pos < ring_end ? MIN(size, ring_end - *pos) : 0;
    for (size_t done = 0; done < n;) {
        size_t at = *pos % LOG_RING_SIZE, part = MIN(n - done, LOG_RING_SIZE - at);
        memcpy(buf + done, ring + at, part);
        done += part;
        *pos += part;
    }
    spin_unlock_irqrestore(&log_lock, flags);
    return n;
}

static void print_line(const char *prefix, bool to_sink, const char *fmt, va_list ap) {
    char line[LINE_MAX];
    size_t n = str_copy(line, prefix, sizeof(line));
    n += (size_t)vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
    n = MIN(n, sizeof(line) - 2);
    line[n++] = '\n';
    emit(line, n, to_sink);
}

void log_print(enum log_level level, const char *fmt, ...) {
    static const char *const prefixes[] = {"error: ", "warning: ", "", "debug: "};
    va_list ap;
    va_start(ap, fmt);
    print_line(prefixes[level], level <= log_threshold, fmt, ap);
    va_end(ap);
}

void log_report(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    print_line("", true, fmt, ap);
    va_end(ap);
}

void log_set_sink(const struct log_sink *sink) { log_sink_used = sink; }

void log_break_lock(void) { spin_init(&log_lock); }
