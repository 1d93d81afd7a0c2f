// /proc/meminfo, /proc/vmstat, /proc/sys/vm: the machine's memory, and when changes of files are written.
#include "fs/cache/dentry_lru.h"
#include "fs/cache/pagecache.h"
#include "fs/cache/settings.h"
#include "fs/procfs.h"
#include "kernel/blockdev.h"
#include "kernel/memory/page.h"
#include "kernel/memory/reclaim.h"
#include "kernel/string.h"

int proc_show_meminfo(struct seqbuf *s, struct proc_ref *r) {
    struct page_stats ps;
    struct cache_statistics cs;
    page_stats(&ps);
    page_cache_statistics(&cs);
    uint64_t names = dentry_lru_pages(), shared = ps.cache > cs.pages ? ps.cache - cs.pages : 0;
    const struct {
        const char *name;
        uint64_t pages;
    } lines[] = {
        {"MemTotal:", ps.total},
        {"MemFree:", ps.free},
        {"MemAvailable:", ps.free + reclaim_count()},
        {"Buffers:", 0},
        {"Cached:", ps.cache},
        {"SwapCached:", 0},
        {"Active:", ps.anon},
        {"Inactive:", ps.cache},
        {"Active(anon):", ps.anon},
        {"Inactive(anon):", shared},
        {"Active(file):", 0},
        {"Inactive(file):", cs.pages},
        {"Unevictable:", 0},
        {"Mlocked:", 0},
        {"SwapTotal:", 0},
        {"SwapFree:", 0},
        {"Dirty:", cs.dirty},
        {"Writeback:", cs.writing},
        {"AnonPages:", ps.anon},
        {"Mapped:", 0},
        {"Shmem:", shared},
        {"KReclaimable:", names},
        {"Slab:", ps.slab},
        {"SReclaimable:", names},
        {"SUnreclaim:", ps.slab > names ? ps.slab - names : 0},
        {"KernelStack:", 0},
        {"PageTables:", ps.page_tables},
        {"NFS_Unstable:", 0},
        {"Bounce:", 0},
        {"WritebackTmp:", 0},
        {"CommitLimit:", ps.total},
        {"Committed_AS:", ps.anon},
        {"VmallocTotal:", 0x7ffffffff},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        seq_printf(s, "%-15s %8lu kB\n", lines[i].name, (unsigned long)lines[i].pages * (PAGE_SIZE / 1024));
    seq_puts(s,
             "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n"
             "Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    return 0;
}

int proc_show_vmstat(struct seqbuf *s, struct proc_ref *r) {
    struct page_stats ps;
    struct cache_statistics cs;
    uint64_t in = 0, out = 0; // KiB, of the disks
    page_stats(&ps);
    page_cache_statistics(&cs);
    for (const struct block_device *d = blockdev_next(NULL); d; d = blockdev_next((struct block_device *)d)) {
        in += READ_ONCE(d->sectors_read) / 2;
        out += READ_ONCE(d->sectors_written) / 2;
    }
    const struct {
        const char *name;
        uint64_t value;
    } lines[] = {
        {"nr_free_pages", ps.free},
        {"nr_inactive_file", cs.pages},
        {"nr_anon_pages", ps.anon},
        {"nr_file_pages", ps.cache},
        {"nr_dirty", cs.dirty},
        {"nr_writeback", cs.writing},
        {"nr_slab_unreclaimable", ps.slab},
        {"nr_page_table_pages", ps.page_tables},
        {"pgpgin", in},
        {"pgpgout", out},
        {"pswpin", 0},
        {"pswpout", 0},
        {"pgsteal_kswapd", cs.evicted},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
        seq_printf(s, "%s %lu\n", lines[i].name, (unsigned long)lines[i].value);
    return 0;
}

// --- /proc/sys/vm ---

// The limits of dirty pages, as bytes or as a part of the memory: setting one of the two makes the other 0.
struct vm_setting {
    const char *name; // of the file
    uint32_t *number; // or
    uint64_t *bytes;
    uint64_t least, most;
    void *other;
};
static const struct vm_setting vm_settings[] = {
    {"dirty_background_bytes", NULL, &dirty_settings.background_bytes, 1, INT64_MAX, &dirty_settings.background_ratio},
    {"dirty_background_ratio", &dirty_settings.background_ratio, NULL, 0, 100, &dirty_settings.background_bytes},
    {"dirty_bytes", NULL, &dirty_settings.bytes, 2 * PAGE_SIZE, INT64_MAX, &dirty_settings.ratio},
    {"dirty_expire_centisecs", &dirty_settings.expire, NULL, 0, INT32_MAX, NULL},
    {"dirty_ratio", &dirty_settings.ratio, NULL, 0, 100, &dirty_settings.bytes},
    {"dirty_writeback_centisecs", &dirty_settings.interval, NULL, 0, INT32_MAX, NULL},
};

static const struct vm_setting *setting_of(const struct proc_ref *r) {
    const struct vm_setting *s = vm_settings;
    while (strcmp(s->name, r->item->entry->name) != 0) // every file of DIRTY() is in the table
        s++;
    return s;
}

static int show_setting(struct seqbuf *s, struct proc_ref *r) {
    const struct vm_setting *v = setting_of(r);
    seq_printf(s, "%lu\n", v->number ? (unsigned long)*v->number : (unsigned long)*v->bytes);
    return 0;
}

static long store_setting(struct proc_ref *r, const char *text, size_t len) {
    const struct vm_setting *v = setting_of(r);
    uint64_t value;
    if (proc_parse_number(text, len, &value) < 0 || value < v->least || value > v->most)
        return -EINVAL;
    if (v->number)
        WRITE_ONCE(*v->number, (uint32_t)value);
    else
        WRITE_ONCE(*v->bytes, value);
    if (v->other && v->number)
        WRITE_ONCE(*(uint64_t *)v->other, 0);
    else if (v->other)
        WRITE_ONCE(*(uint32_t *)v->other, 0);
    cache_wake_writer();
    return 0;
}

// 1: clean pages of files; 2: names and inodes that nobody uses; 3: both.
static long store_drop_caches(struct proc_ref *r, const char *text, size_t len) {
    uint64_t value;
    if (proc_parse_number(text, len, &value) < 0 || value < 1 || value > 4)
        return -EINVAL;
    if (value & 2)
        dentry_lru_drop(~0ul);
    if (value & 1)
        page_cache_drop_clean();
    return 0;
}

#define NUMBER(fn, value)                                                                                              \
    static int fn(struct seqbuf *s, struct proc_ref *r) {                                                              \
        seq_printf(s, "%ld\n", (long)(value));                                                                         \
        return 0;                                                                                                      \
    }
NUMBER(show_max_map_count, 65530)
NUMBER(show_min_free, reclaim_low *(PAGE_SIZE / 1024))
NUMBER(show_mmap_min_addr, 65536)
NUMBER(show_overcommit, 0)
NUMBER(show_swappiness, 60)
NUMBER(show_zero, 0)
NUMBER(show_cache_pressure, 100)

#define DIRTY(nm)                                                                                                      \
    { .name = (nm), .mode = S_IFREG | 0644, .show = show_setting, .store = store_setting }
const struct proc_entry proc_vm_entries[] = {
    DIRTY("dirty_background_bytes"),
    DIRTY("dirty_background_ratio"),
    DIRTY("dirty_bytes"),
    DIRTY("dirty_expire_centisecs"),
    DIRTY("dirty_ratio"),
    DIRTY("dirty_writeback_centisecs"),
    {.name = "drop_caches", .mode = S_IFREG | 0200, .store = store_drop_caches},
    PROC_FILE("max_map_count", show_max_map_count),
    PROC_FILE("min_free_kbytes", show_min_free),
    PROC_FILE("mmap_min_addr", show_mmap_min_addr),
    PROC_FILE("nr_hugepages", show_zero),
    PROC_FILE("nr_overcommit_hugepages", show_zero),
    PROC_FILE("oom_kill_allocating_task", show_zero),
    PROC_FILE("overcommit_kbytes", show_zero),
    PROC_FILE("overcommit_memory", show_overcommit),
    PROC_FILE("overcommit_ratio", show_zero),
    PROC_FILE("panic_on_oom", show_zero),
    PROC_FILE("swappiness", show_swappiness),
    PROC_FILE("vfs_cache_pressure", show_cache_pressure),
    {.name = NULL},
};
