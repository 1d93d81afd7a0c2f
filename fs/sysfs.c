// /sys, as far as runtimes ask it: processors and their caches, the memory node, huge pages, disks, network interfaces (sysfs_net.c). It is made of tables as /proc is
// (fs/procfs.h). /sys/fs/cgroup is empty: there are no control groups, the machine's memory and processors are the limits.
#include "fs/procfs.h"
#include "fs/sysfs_net.h"
#include "kernel/blockdev.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/string.h"
#include "kernel/x86/cpuinfo.h"

// What a directory is about is in its items' fd: the processor (low half) and, above, the number of a cache + 1; or the disk.
static unsigned cpu_of(const struct proc_ref *r) { return (unsigned)r->item->fd & 0xffff; }

// The processors, when all have come up.
static unsigned count(void) {
    cpu_wait_started();
    return cpu_count;
}

#define TEXT(fn, ...)                                                                                                  \
    static int fn(struct seqbuf *s, struct proc_ref *r) {                                                              \
        seq_printf(s, __VA_ARGS__);                                                                                    \
        return 0;                                                                                                      \
    }

TEXT(show_zero, "0\n")
TEXT(show_one, "1\n")
TEXT(show_nothing, "\n")

// --- Sets of processors ---

static void print_list(struct seqbuf *s, unsigned first, unsigned last) {
    if (first == last)
        seq_printf(s, "%u\n", first);
    else
        seq_printf(s, "%u-%u\n", first, last);
}

// As bitmaps are shown: words of 32 bits, the highest first.
static void print_map(struct seqbuf *s, unsigned first, unsigned last) {
    for (unsigned word = (count() - 1) / 32;; word--) {
        uint32_t bits = 0;
        for (unsigned i = MAX(first, word * 32); i <= last && i < (word + 1) * 32; i++)
            bits |= 1u << (i % 32);
        unsigned left = count() - word * 32, digits = word == (count() - 1) / 32 ? (MIN(left, 32u) + 3) / 4 : 8;
        seq_printf(s, "%0*x%s", (int)digits, bits, word ? "," : "\n");
        if (!word)
            return;
    }
}

static int show_all_list(struct seqbuf *s, struct proc_ref *r) {
    print_list(s, 0, count() - 1);
    return 0;
}

static int show_all_map(struct seqbuf *s, struct proc_ref *r) {
    print_map(s, 0, count() - 1);
    return 0;
}

static int show_own_list(struct seqbuf *s, struct proc_ref *r) {
    print_list(s, cpu_of(r), cpu_of(r));
    return 0;
}

static int show_own_map(struct seqbuf *s, struct proc_ref *r) {
    print_map(s, cpu_of(r), cpu_of(r));
    return 0;
}

TEXT(show_kernel_max, "%u\n", MAX_CPUS - 1)
TEXT(show_core_id, "%u\n", cpu_of(r))
TEXT(show_not_implemented, "notimplemented\n")

// --- Caches ---

static bool cache_of(const struct proc_ref *r, struct cpu_cache *c) {
    return cpu_cache((unsigned)r->item->fd / 0x10000 - 1, c);
}

#define CACHE(fn, ...)                                                                                                 \
    static int fn(struct seqbuf *s, struct proc_ref *r) {                                                              \
        struct cpu_cache c;                                                                                            \
        if (!cache_of(r, &c))                                                                                          \
            return -ENOENT;                                                                                            \
        seq_printf(s, __VA_ARGS__);                                                                                    \
        return 0;                                                                                                      \
    }

CACHE(show_level, "%u\n", c.level)
CACHE(show_type, "%s\n", c.type == 1 ? "Data" : c.type == 2 ? "Instruction" : "Unified")
CACHE(show_size, "%uK\n", c.size / 1024)
CACHE(show_line, "%u\n", c.line)
CACHE(show_sets, "%u\n", c.sets)
CACHE(show_ways, "%u\n", c.ways)

static int show_shared_list(struct seqbuf *s, struct proc_ref *r) {
    struct cpu_cache c;
    return cache_of(r, &c) && c.level >= 3 ? show_all_list(s, r) : show_own_list(s, r);
}

static int show_shared_map(struct seqbuf *s, struct proc_ref *r) {
    struct cpu_cache c;
    return cache_of(r, &c) && c.level >= 3 ? show_all_map(s, r) : show_own_map(s, r);
}

static const struct proc_entry cache_entries[] = {
    PROC_FILE("coherency_line_size", show_line),
    PROC_FILE("level", show_level),
    PROC_FILE("number_of_sets", show_sets),
    PROC_FILE("shared_cpu_list", show_shared_list),
    PROC_FILE("shared_cpu_map", show_shared_map),
    PROC_FILE("size", show_size),
    PROC_FILE("type", show_type),
    PROC_FILE("ways_of_associativity", show_ways),
    {.name = NULL},
};
static const struct proc_entry cache_entry = PROC_DIR("index", cache_entries);

static int next_cache(struct proc_ref *dir, int from) {
    struct cpu_cache c;
    return cpu_cache((unsigned)from, &c) ? from : -1;
}

static const struct proc_numbers caches = {
    .next = next_cache, .member = &cache_entry, .kind = NUMBER_INNER, .prefix = "index"};

// --- Processors ---

static const struct proc_entry topology_entries[] = {
    PROC_FILE("core_cpus", show_own_map),
    PROC_FILE("core_cpus_list", show_own_list),
    PROC_FILE("core_id", show_core_id),
    PROC_FILE("core_siblings", show_all_map),
    PROC_FILE("core_siblings_list", show_all_list),
    PROC_FILE("die_cpus", show_all_map),
    PROC_FILE("die_cpus_list", show_all_list),
    PROC_FILE("die_id", show_zero),
    PROC_FILE("package_cpus", show_all_map),
    PROC_FILE("package_cpus_list", show_all_list),
    PROC_FILE("physical_package_id", show_zero),
    PROC_FILE("thread_siblings", show_own_map),
    PROC_FILE("thread_siblings_list", show_own_list),
    {.name = NULL},
};
static const struct proc_entry one_cpu_entries[] = {
    {.name = "cache", .mode = S_IFDIR | 0555, .numbers = &caches},
    PROC_DIR("topology", topology_entries),
    {.name = NULL},
};
static const struct proc_entry cpu_entry = PROC_DIR("cpu", one_cpu_entries);

static int next_cpu(struct proc_ref *dir, int from) { return (unsigned)from < count() ? from : -1; }

static const struct proc_numbers cpus_numbers = {
    .next = next_cpu, .member = &cpu_entry, .kind = NUMBER_FD, .prefix = "cpu"};
static const struct proc_entry smt_entries[] = {
    PROC_FILE("active", show_zero), PROC_FILE("control", show_not_implemented), {.name = NULL}};
static const struct proc_entry cpu_entries[] = {
    PROC_FILE("isolated", show_nothing),  PROC_FILE("kernel_max", show_kernel_max),
    PROC_FILE("offline", show_nothing),   PROC_FILE("online", show_all_list),
    PROC_FILE("possible", show_all_list), PROC_FILE("present", show_all_list),
    PROC_DIR("smt", smt_entries),         {.name = NULL},
};

// --- Memory ---

TEXT(show_distance, "10\n")

static int show_node_meminfo(struct seqbuf *s, struct proc_ref *r) {
    struct page_stats ps;
    page_stats(&ps);
    const unsigned long kb = PAGE_SIZE / 1024;
    seq_printf(s, "Node 0 MemTotal:       %lu kB\nNode 0 MemFree:        %lu kB\nNode 0 MemUsed:        %lu kB\n",
               ps.total * kb, ps.free * kb, (ps.total - ps.free) * kb);
    seq_printf(s, "Node 0 FilePages:      %lu kB\nNode 0 AnonPages:      %lu kB\n", ps.cache * kb, ps.anon * kb);
    seq_printf(s, "Node 0 HugePages_Total:     0\nNode 0 HugePages_Free:      0\nNode 0 HugePages_Surp:      0\n");
    return 0;
}

static const struct proc_entry node0_entries[] = {
    PROC_FILE("cpulist", show_all_list),
    PROC_FILE("cpumap", show_all_map),
    PROC_FILE("distance", show_distance),
    PROC_FILE("meminfo", show_node_meminfo),
    {.name = NULL},
};
static const struct proc_entry node_entries[] = {
    PROC_FILE("has_cpu", show_zero),
    PROC_FILE("has_memory", show_zero),
    PROC_FILE("has_normal_memory", show_zero),
    PROC_DIR("node0", node0_entries),
    PROC_FILE("online", show_zero),
    PROC_FILE("possible", show_zero),
    {.name = NULL},
};

// What the kernel does of its own accord, and what of it madvise(2) can ask for: docs/architecture.md.
TEXT(show_thp_enabled, "[always] madvise never\n")
TEXT(show_thp_defrag, "always defer defer+madvise [madvise] never\n")
TEXT(show_thp_shmem, "always within_size advise [never] deny force\n")
TEXT(show_thp_size, "2097152\n")

static const struct proc_entry thp_entries[] = {
    PROC_FILE("defrag", show_thp_defrag),       PROC_FILE("enabled", show_thp_enabled),
    PROC_FILE("hpage_pmd_size", show_thp_size), PROC_FILE("shmem_enabled", show_thp_shmem),
    PROC_FILE("use_zero_page", show_zero),      {.name = NULL},
};
static const struct proc_entry huge_2m_entries[] = {
    PROC_FILE("free_hugepages", show_zero),
    PROC_FILE("nr_hugepages", show_zero),
    PROC_FILE("nr_hugepages_mempolicy", show_zero),
    PROC_FILE("nr_overcommit_hugepages", show_zero),
    PROC_FILE("resv_hugepages", show_zero),
    PROC_FILE("surplus_hugepages", show_zero),
    {.name = NULL},
};
static const struct proc_entry huge_entries[] = {PROC_DIR("hugepages-2048kB", huge_2m_entries), {.name = NULL}};
static const struct proc_entry mm_entries[] = {
    PROC_DIR("hugepages", huge_entries), PROC_DIR("transparent_hugepage", thp_entries), {.name = NULL}};

// --- Disks ---

static struct block_device *disk_at(int n) {
    struct block_device *dev = NULL;
    do
        dev = blockdev_next(dev);
    while (dev && n-- > 0);
    return dev;
}

#define DISK(fn, ...)                                                                                                  \
    static int fn(struct seqbuf *s, struct proc_ref *r) {                                                              \
        const struct block_device *dev = disk_at(r->item->fd);                                                         \
        if (!dev)                                                                                                      \
            return -ENOENT;                                                                                            \
        seq_printf(s, __VA_ARGS__);                                                                                    \
        return 0;                                                                                                      \
    }

DISK(show_disk_size, "%lu\n", (unsigned long)dev->sectors)
DISK(show_disk_ro, "%u\n", dev->read_only)
DISK(show_disk_dev, "%u:%u\n", DEV_MAJOR(dev->rdev), DEV_MINOR(dev->rdev))
DISK(show_disk_serial, "%s", dev->serial)
DISK(show_disk_block, "%u\n", dev->block_size)
DISK(show_disk_optimal, "%u\n", dev->optimal_size)
DISK(show_disk_discard, "%lu\n", (unsigned long)dev->discard_max *SECTOR_SIZE)
DISK(show_disk_zeroes, "%lu\n", (unsigned long)dev->zeroes_max *SECTOR_SIZE)
DISK(show_disk_cache, "%s\n", dev->flushes ? "write back" : "write through")
DISK(show_disk_segments, "%u\n", dev->segments_max)
DISK(show_disk_stat, "%8lu        0 %8lu        0 %8lu        0 %8lu        0        0        0        0\n",
     (unsigned long)dev->reads, (unsigned long)dev->sectors_read, (unsigned long)dev->writes,
     (unsigned long)dev->sectors_written)

static const struct proc_entry queue_entries[] = {
    PROC_FILE("discard_max_bytes", show_disk_discard),
    PROC_FILE("hw_sector_size", show_disk_block),
    PROC_FILE("logical_block_size", show_disk_block),
    PROC_FILE("max_segments", show_disk_segments),
    PROC_FILE("minimum_io_size", show_disk_block),
    PROC_FILE("optimal_io_size", show_disk_optimal),
    PROC_FILE("physical_block_size", show_disk_block),
    PROC_FILE("rotational", show_one),
    PROC_FILE("write_cache", show_disk_cache),
    PROC_FILE("write_zeroes_max_bytes", show_disk_zeroes),
    {.name = NULL},
};
static const struct proc_entry disk_entries[] = {
    PROC_FILE("dev", show_disk_dev),       PROC_DIR("queue", queue_entries),
    PROC_FILE("removable", show_zero),     PROC_FILE("ro", show_disk_ro),
    PROC_FILE("serial", show_disk_serial), PROC_FILE("size", show_disk_size),
    PROC_FILE("stat", show_disk_stat),     {.name = NULL},
};
static const struct proc_entry disk_entry = PROC_DIR("disk", disk_entries);

static int next_disk(struct proc_ref *dir, int from) { return disk_at(from) ? from : -1; }

static void disk_name(int n, char *buf, size_t size) {
    const struct block_device *dev = disk_at(n);
    snprintf(buf, size, "%s", dev ? dev->name : "");
}

static const struct proc_numbers disks = {
    .next = next_disk, .member = &disk_entry, .kind = NUMBER_FD, .prefix = "", .print = disk_name};

// --- The tree ---

TEXT(show_clocksource, "tsc\n")

static const struct proc_entry clocksource0_entries[] = {PROC_FILE("available_clocksource", show_clocksource),
                                                         PROC_FILE("current_clocksource", show_clocksource),
                                                         {.name = NULL}};
static const struct proc_entry clocksource_entries[] = {PROC_DIR("clocksource0", clocksource0_entries), {.name = NULL}};
static const struct proc_entry system_entries[] = {
    PROC_DIR("clocksource", clocksource_entries),
    {.name = "cpu", .mode = S_IFDIR | 0555, .children = cpu_entries, .numbers = &cpus_numbers},
    PROC_DIR("node", node_entries),
    {.name = NULL},
};
static const struct proc_entry devices_entries[] = {PROC_DIR("platform", sysfs_platform_entries),
                                                    PROC_DIR("system", system_entries),
                                                    PROC_DIR("virtual", sysfs_virtual_entries),
                                                    {.name = NULL}};
static const struct proc_entry empty_entries[] = {{.name = NULL}};
static const struct proc_entry fs_entries[] = {PROC_DIR("cgroup", empty_entries), {.name = NULL}};
static const struct proc_entry kernel_entries[] = {PROC_DIR("mm", mm_entries), {.name = NULL}};
static const struct proc_entry class_entries[] = {{.name = "block", .mode = S_IFDIR | 0555, .numbers = &disks},
                                                  {.name = "net", .mode = S_IFDIR | 0555, .numbers = &sysfs_net_links},
                                                  {.name = NULL}};
static const struct proc_entry root_entries[] = {
    {.name = "block", .mode = S_IFDIR | 0555, .numbers = &disks},
    PROC_DIR("class", class_entries),
    PROC_DIR("devices", devices_entries),
    PROC_DIR("fs", fs_entries),
    PROC_DIR("kernel", kernel_entries),
    {.name = NULL},
};
static const struct proc_entry root_entry = PROC_DIR("/", root_entries);

static struct superblock *sysfs_mount(const struct fs_type *type, const char *source, unsigned long flags,
                                      const char *options) {
    return procfs_superblock(type, &root_entry);
}

const struct fs_type sysfs_type = {.name = "sysfs", .nodev = true, .mount = sysfs_mount};
