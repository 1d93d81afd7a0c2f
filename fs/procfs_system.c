// The files of /proc that are about the machine.
#include "fs/poll.h"
#include "fs/procfs.h"
#include "kernel/blockdev.h"
#include "kernel/boot.h"
#include "kernel/threads/loadavg.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/partition.h"
#include "kernel/string.h"
#include "kernel/irq.h"
#include "kernel/time.h"
#include "kernel/uts.h"
#include "kernel/x86/cpuinfo.h"

static int show_cpuinfo(struct seqbuf *s, struct proc_ref *r) {
    struct cpu_identity id;
    cpu_identity(&id);
    cpu_wait_started();
    uint64_t khz = (1000000UL << 20) / MAX(time_cycles_to_ns(1 << 20), 1l);
    for (unsigned i = 0; i < cpu_count; i++) {
        seq_printf(
            s, "processor\t: %u\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\nstepping\t: %u\n",
            i, id.vendor, id.family, id.model, id.brand, id.stepping);
        seq_printf(s,
                   "cpu MHz\t\t: %lu.%03lu\ncache size\t: %u KB\nphysical id\t: 0\nsiblings\t: %u\ncore id\t\t: %u\n",
                   khz / 1000, khz % 1000, id.cache_kb, cpu_count, i);
        seq_printf(s, "cpu cores\t: %u\napicid\t\t: %u\ninitial apicid\t: %u\nfpu\t\t: yes\nfpu_exception\t: yes\n",
                   cpu_count, cpus[i]->apic_id, cpus[i]->apic_id);
        seq_puts(s, "cpuid level\t: 13\nwp\t\t: yes\nflags\t\t:");
        unsigned at = 0;
        for (const char *name; (name = cpu_flag_next(&at));)
            seq_printf(s, " %s", name);
        seq_printf(s, "\nbugs\t\t:\nbogomips\t: %lu.%02lu\nclflush size\t: 64\ncache_alignment\t: 64\n", khz * 2 / 1000,
                   khz * 2 / 10 % 100);
        seq_printf(s, "address sizes\t: %u bits physical, %u bits virtual\npower management:\n\n", id.phys_bits,
                   id.virt_bits);
    }
    return 0;
}

// What all CPUs together have done.
static void machine_stat(struct cpu_stat *sum) {
    struct cpu_stat one;
    *sum = (struct cpu_stat){0};
    for (unsigned i = 0; i < cpu_count; i++) {
        if (!cpu_stat_get(i, &one))
            continue;
        sum->user += one.user;
        sum->nice += one.nice;
        sum->system += one.system;
        sum->idle += one.idle;
        sum->interrupts += one.interrupts;
        sum->switches += one.switches;
    }
}

static int show_uptime(struct seqbuf *s, struct proc_ref *r) {
    nsec_t up = time_monotonic();
    struct cpu_stat sum;
    machine_stat(&sum);
    seq_printf(s, "%lu.%02lu %lu.%02lu\n", (unsigned long)(up / NSEC_PER_SEC), (unsigned long)(up / 10000000 % 100),
               (unsigned long)(sum.idle / NSEC_PER_SEC), (unsigned long)(sum.idle / 10000000 % 100));
    return 0;
}

static void count_tasks(unsigned *threads, unsigned *last_pid) {
    *threads = *last_pid = 0;
    for (struct process *p = process_next(1), *next; p; p = next) {
        *threads += p->thread_count;
        *last_pid = p->pid;
        next = process_next(p->pid + 1);
        process_unref(p);
    }
}

static int show_loadavg(struct seqbuf *s, struct proc_ref *r) {
    unsigned threads, last_pid, running = sched_load();
    count_tasks(&threads, &last_pid);
    uint64_t loads[3];
    load_averages(loads);
    for (int i = 0; i < 3; i++) {
        unsigned long hundredths = (loads[i] * 100 + LOAD_ONE / 2) >> LOAD_SHIFT;
        seq_printf(s, "%lu.%02lu ", hundredths / 100, hundredths % 100);
    }
    seq_printf(s, "%u/%u %u\n", running, threads, last_pid);
    return 0;
}

static void show_cpu(struct seqbuf *s, const char *name, const struct cpu_stat *c) {
    const unsigned long tick = NSEC_PER_SEC / 100;
    seq_printf(s, "%s %lu %lu %lu %lu 0 0 0 0 0 0\n", name, (unsigned long)c->user / tick, (unsigned long)c->nice / tick,
               (unsigned long)c->system / tick, (unsigned long)c->idle / tick);
}

// The time of interrupts counts as that of the thread, or of the idleness, that they have interrupted; nobody waits for a disk.
static int show_stat(struct seqbuf *s, struct proc_ref *r) {
    struct cpu_stat stat;
    char name[16];
    cpu_wait_started();
    machine_stat(&stat);
    show_cpu(s, "cpu ", &stat);
    for (unsigned i = 0; i < cpu_count; i++) {
        struct cpu_stat one;
        snprintf(name, sizeof(name), "cpu%u", i);
        if (cpu_stat_get(i, &one))
            show_cpu(s, name, &one);
    }
    seq_printf(s, "intr %lu\nctxt %lu\nbtime %lu\nprocesses %lu\nprocs_running %lu\nprocs_blocked 0\n",
               (unsigned long)stat.interrupts, (unsigned long)stat.switches,
               (unsigned long)((time_realtime() - time_monotonic()) / NSEC_PER_SEC), (unsigned long)sched_threads_made,
               (unsigned long)sched_load());
    seq_puts(s, "softirq 0 0 0 0 0 0 0 0 0 0 0\n");
    return 0;
}

static int show_version(struct seqbuf *s, struct proc_ref *r) {
    struct new_utsname u;
    uts_get(&u);
    seq_printf(s, "%s version %s (knarr@knarr) (gcc) %s\n", u.sysname, u.release, u.version);
    return 0;
}

static int show_filesystems(struct seqbuf *s, struct proc_ref *r) {
    const struct fs_type *t;
    for (unsigned i = 0; (t = fs_type_at(i)); i++)
        seq_printf(s, "%s\t%s\n", t->nodev ? "nodev" : "", t->name);
    return 0;
}

static int show_cmdline(struct seqbuf *s, struct proc_ref *r) {
    seq_printf(s, "%s\n", boot_info.cmdline);
    return 0;
}

static int show_devices(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n");
    unsigned before = 0;
    for (struct block_device *dev = NULL; (dev = blockdev_next(dev)); before = DEV_MAJOR(dev->rdev))
        if (DEV_MAJOR(dev->rdev) != before)
            seq_printf(s, "%3u %s\n", DEV_MAJOR(dev->rdev), dev->memory ? "ramdisk" : "virtblk");
    return 0;
}

static int show_swaps(struct seqbuf *s, struct proc_ref *r) {
    seq_puts(s, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    return 0;
}

static long self_readlink(struct proc_ref *r, char *buf, size_t size) {
    return snprintf(buf, size, "%d", process_current()->pid);
}

static long thread_self_readlink(struct proc_ref *r, char *buf, size_t size) {
    return snprintf(buf, size, "%d/task/%d", process_current()->pid, thread_current()->tid);
}

static long net_readlink(struct proc_ref *r, char *buf, size_t size) { return snprintf(buf, size, "self/net"); }

static long mounts_readlink(struct proc_ref *r, char *buf, size_t size) { return snprintf(buf, size, "self/mounts"); }

static int show_partitions(struct seqbuf *s, struct proc_ref *r) {
    for (struct block_device *dev = NULL; (dev = blockdev_next(dev));) {
        partition_scan(dev, partition_read_direct);
        if (!s->len)
            seq_puts(s, "major minor  #blocks  name\n\n");
        seq_printf(s, "%4u  %7u %10lu %s\n", DEV_MAJOR(dev->rdev), DEV_MINOR(dev->rdev), dev->sectors / 2, dev->name);
    }
    return 0;
}

// Requests and sectors are counted; nothing is merged, and how long it took nobody measures.
static int show_diskstats(struct seqbuf *s, struct proc_ref *r) {
    for (struct block_device *dev = NULL; (dev = blockdev_next(dev));)
        seq_printf(s, "%4u %7u %s %lu 0 %lu 0 %lu 0 %lu 0 0 0 0 0 0 0 0 0 0\n", DEV_MAJOR(dev->rdev), DEV_MINOR(dev->rdev),
                   dev->name, dev->reads, dev->sectors_read, dev->writes, dev->sectors_written);
    return 0;
}

void proc_show_lock(void *ctx, const struct file_lock *l, bool waits, int number) {
    struct seqbuf *s = ctx;
    uint64_t dev = l->inode->sb->dev;
    const char *kind = l->flock ? "FLOCK  ADVISORY " : l->ofd ? "OFDLCK ADVISORY " : "POSIX  ADVISORY ";
    seq_printf(s, "%d: %s%s %s %d %02x:%02x:%lu %lu ", number, waits ? "-> " : "", kind, l->exclusive ? "WRITE" : "READ", l->pid,
               DEV_MAJOR(dev), DEV_MINOR(dev), (unsigned long)l->inode->ino, (unsigned long)l->start);
    if (l->end == INT64_MAX)
        seq_printf(s, "EOF\n");
    else
        seq_printf(s, "%lu\n", (unsigned long)l->end);
}

static int show_locks(struct seqbuf *s, struct proc_ref *r) {
    lock_each(proc_show_lock, s);
    return 0;
}

const struct proc_entry proc_root_entries[] = {
    PROC_FILE("cmdline", show_cmdline),
    PROC_FILE("cpuinfo", show_cpuinfo),
    PROC_FILE("devices", show_devices),
    PROC_FILE("diskstats", show_diskstats),
    PROC_FILE("filesystems", show_filesystems),
    PROC_FILE("loadavg", show_loadavg),
    PROC_FILE("locks", show_locks),
    PROC_FILE("meminfo", proc_show_meminfo),
    {.name = "mounts", .mode = S_IFLNK | 0777, .readlink = mounts_readlink},
    {.name = "net", .mode = S_IFLNK | 0777, .readlink = net_readlink},
    {.name = "self", .mode = S_IFLNK | 0777, .readlink = self_readlink},
    PROC_FILE("partitions", show_partitions),
    PROC_FILE("stat", show_stat),
    PROC_FILE("swaps", show_swaps),
    PROC_DIR("sys", proc_sys_entries),
    PROC_DIR("sysvipc", proc_sysvipc_entries),
    {.name = "thread-self", .mode = S_IFLNK | 0777, .readlink = thread_self_readlink},
    PROC_FILE("uptime", show_uptime),
    PROC_FILE("version", show_version),
    PROC_FILE("vmstat", proc_show_vmstat),
    {.name = NULL},
};
