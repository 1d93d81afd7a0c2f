// Calls about the machine as a whole: names, memory, randomness, the log, its end.
#include "fs/vfs.h"
#include "kernel/boot.h"
#include "kernel/threads/loadavg.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/process/process.h"
#include "kernel/random.h"
#include "kernel/memory/slab.h"
#include "kernel/memory/usercopy.h"
#include "kernel/uts.h"
#include "syscall/syscall.h"
#include <linux/capability.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/sysinfo.h>

// --- Names ---

long sys_uname(uint64_t name) {
    struct new_utsname uts;
    uts_get(&uts);
    return copy_out_obj(name, &uts);
}

static long set_name(uint64_t name, uint64_t len, int (*set)(const char *, size_t)) {
    char buf[__NEW_UTS_LEN];
    if (!capable(CAP_SYS_ADMIN))
        return -EPERM;
    if (len > sizeof(buf))
        return -EINVAL;
    if (copy_in(buf, name, len))
        return -EFAULT;
    return set(buf, len);
}

long sys_sethostname(uint64_t name, uint64_t len) { return set_name(name, len, uts_set_nodename); }

long sys_setdomainname(uint64_t name, uint64_t len) { return set_name(name, len, uts_set_domainname); }

// --- Resources ---

static unsigned count_threads(void) {
    unsigned n = 0;
    struct process *p = process_next(1);
    while (p) {
        int pid = p->pid;
        n += READ_ONCE(p->thread_count);
        process_unref(p);
        p = process_next(pid + 1);
    }
    return n;
}

long sys_sysinfo(uint64_t out) {
    struct page_stats pages;
    struct sysinfo info = {.mem_unit = 1};

    page_stats(&pages);
    info.uptime = time_monotonic() / NSEC_PER_SEC;
    uint64_t loads[3];
    load_averages(loads);
    for (unsigned i = 0; i < ARRAY_SIZE(info.loads); i++)
        info.loads[i] = loads[i] << (SI_LOAD_SHIFT - LOAD_SHIFT);
    info.totalram = pages.total * PAGE_SIZE;
    info.freeram = pages.free * PAGE_SIZE;
    info.bufferram = 0;
    info.sharedram = pages.cache * PAGE_SIZE; // tmpfs is all that there is
    info.procs = (uint16_t)MIN(count_threads(), 0xffffu);
    return copy_out_obj(out, &info);
}

long sys_getrandom(uint64_t buf, uint64_t len, uint64_t flags) {
    uint8_t chunk[256];
    size_t done = 0;

    if (flags & ~(uint64_t)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
        return -EINVAL;
    if ((flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
        return -EINVAL;
    if (!(flags & GRND_INSECURE) && !random_ready()) {
        if (flags & GRND_NONBLOCK)
            return -EAGAIN;
        int err = random_wait_ready();
        if (err)
            return err;
    }
    len = MIN(len, (uint64_t)INT32_MAX);
    while (done < len) {
        size_t n = MIN(len - done, sizeof(chunk));
        random_bytes(chunk, n);
        size_t copied = copy_out_partial(buf + done, chunk, n);
        done += copied;
        if (copied < n)
            return done ? (long)done : -EFAULT;
        // Up to 256 bytes are never cut short: getrandom(2) promises that.
        if (done < len && thread_signal_pending())
            break;
        sched_point();
    }
    return (long)done;
}

// --- The log: syslog(2) ---

enum {
    LOG_CLOSE,
    LOG_OPEN,
    LOG_READ,
    LOG_READ_ALL,
    LOG_READ_CLEAR,
    LOG_CLEAR,
    LOG_CONSOLE_OFF,
    LOG_CONSOLE_ON,
    LOG_CONSOLE_LEVEL,
    LOG_SIZE_UNREAD,
    LOG_SIZE_BUFFER
};

static uint64_t log_read_position;  // of LOG_READ, which takes what it reads
static uint64_t log_clear_position; // where LOG_READ_ALL begins

// Copies from `*pos` on, at most `size` bytes. The number, or -EFAULT.
static long copy_log(uint64_t *pos, uint64_t buf, size_t size) {
    char chunk[512];
    size_t done = 0;
    while (done < size) {
        size_t n = log_read(pos, chunk, MIN(size - done, sizeof(chunk)));
        if (!n)
            break;
        if (copy_out(buf + done, chunk, n))
            return -EFAULT;
        done += n;
    }
    return (long)done;
}

// The newest `size` bytes since the log was cleared.
static long copy_log_tail(uint64_t buf, size_t size) {
    uint64_t end = log_end(), pos = MAX(READ_ONCE(log_clear_position), end > size ? end - size : 0);
    return copy_log(&pos, buf, size);
}

static long wait_and_read_log(uint64_t buf, size_t size) {
    static struct waitq never = WAITQ_INIT(never);
    while (log_end() <= READ_ONCE(log_read_position)) {
        // Lines come from any context, even with a run queue locked, so they wake nobody: this looks now and then.
        int err = wait_event_until(&never, false, time_monotonic() + NSEC_PER_SEC, true);
        if (err == -ERESTARTSYS)
            return err;
    }
    return copy_log(&log_read_position, buf, size);
}

long sys_syslog(uint64_t action, uint64_t buf, uint64_t len) {
    bool reads = action == LOG_READ || action == LOG_READ_ALL || action == LOG_READ_CLEAR;
    long n;

    if (!capable(CAP_SYSLOG) && action != LOG_READ_ALL && action != LOG_SIZE_BUFFER)
        return -EPERM;
    if (reads && (!buf || (int)len < 0))
        return -EINVAL;
    if (reads && len == 0)
        return 0;
    switch (action) {
    case LOG_CLOSE:
    case LOG_OPEN: return 0;
    case LOG_READ: return wait_and_read_log(buf, (size_t)(int)len);
    case LOG_READ_ALL: return copy_log_tail(buf, (size_t)(int)len);
    case LOG_READ_CLEAR:
        n = copy_log_tail(buf, (size_t)(int)len);
        if (n >= 0)
            WRITE_ONCE(log_clear_position, log_end());
        return n;
    case LOG_CLEAR: WRITE_ONCE(log_clear_position, log_end()); return 0;
    case LOG_CONSOLE_OFF: log_threshold = LOG_ERR; return 0;
    case LOG_CONSOLE_ON: log_threshold = LOG_WARN; return 0;
    case LOG_CONSOLE_LEVEL: // 4: errors are shown, 5: warnings, 7: information, 8: everything
        if (len < 1 || len > 8)
            return -EINVAL;
        log_threshold = len <= 4 ? LOG_ERR : len == 5 ? LOG_WARN : len <= 7 ? LOG_INFO : LOG_DEBUG;
        return 0;
    case LOG_SIZE_UNREAD: return (long)(log_end() - MIN(log_end(), READ_ONCE(log_read_position)));
    case LOG_SIZE_BUFFER: return LOG_RING_SIZE;
    default: return -EINVAL;
    }
}

// --- The end ---

long sys_reboot(uint64_t magic, uint64_t magic2, uint64_t command, uint64_t arg) {
    if (!capable(CAP_SYS_BOOT))
        return -EPERM;
    uint32_t second = (uint32_t)magic2;
    if ((uint32_t)magic != LINUX_REBOOT_MAGIC1 || (second != LINUX_REBOOT_MAGIC2 && second != LINUX_REBOOT_MAGIC2A &&
                                                   second != LINUX_REBOOT_MAGIC2B && second != LINUX_REBOOT_MAGIC2C))
        return -EINVAL;
    switch ((uint32_t)command) {
    case LINUX_REBOOT_CMD_RESTART:
    case LINUX_REBOOT_CMD_RESTART2:
    case LINUX_REBOOT_CMD_HALT:
    case LINUX_REBOOT_CMD_POWER_OFF:
        vfs_sync_last();
        machine_exit(EXIT_CODE, 0);
    case LINUX_REBOOT_CMD_CAD_ON:
    case LINUX_REBOOT_CMD_CAD_OFF: // there is no keyboard whose Ctrl-Alt-Del could do anything
        return 0;
    default: return -EINVAL;
    }
}
