// What the boot loader says, copied out of its memory into boot_info; the words of the command line; the boot's chart.
// Multiboot2's half is boot_multiboot.c.
// PVH: https://xenbits.xen.org/docs/unstable/misc/pvh.html and Xen's public/arch-x86/hvm/start_info.h.
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/time.h"
#include "kernel/x86/boot_memory.h"
#include "kernel/x86/cpu.h"

#define PVH_MAGIC 0x336ec578
#define INITRD_OVERLAP_MAX 0x100000u // no firmware takes more there
#define PVH_MEMMAP_MAX 512 // entries; more are nonsense

struct pvh_start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp;
    uint64_t memmap; // from version 1
    uint32_t memmap_count, reserved;
};
struct pvh_module {
    uint64_t address, size, cmdline, reserved;
};

struct boot_info boot_info;

// What boot.S's page table shows of [pa, pa + len); NULL: not within.
static const void *boot_memory(phys_t pa, size_t len) {
    return pa != 0 && pa < BOOT_MAPPED && len <= BOOT_MAPPED - pa ? phys_to_virt(pa) : NULL;
}

// --- Memory map ---
static void ram_sort(struct boot_info *b) {
    for (unsigned i = 1; i < b->ram_count; i++)
        for (unsigned j = i; j > 0 && b->ram[j].start < b->ram[j - 1].start; j--) {
            struct ram_range t = b->ram[j];
            b->ram[j] = b->ram[j - 1];
            b->ram[j - 1] = t;
        }
}

static void ram_add(struct boot_info *b, uint64_t start, uint64_t end) {
    start = MAX(start, PAGE_SIZE); // page 0 is not used: a null pointer stays one
    if (start < end && b->ram_count < BOOT_MAX_RANGES)
        b->ram[b->ram_count++] = (struct ram_range){start, end};
}

static void ram_subtract(struct boot_info *b, uint64_t start, uint64_t end) {
    for (unsigned i = 0, n = b->ram_count; i < n; i++) {
        struct ram_range r = b->ram[i];
        if (end <= r.start || r.end <= start)
            continue;
        b->ram[i].end = MAX(start, r.start); // perhaps empty: dropped at the end
        if (end < r.end)
            ram_add(b, end, r.end);
    }
}

void boot_set_memory_map(struct boot_info *b, const struct boot_memory_range *map, unsigned count, uint64_t limit) {
    b->ram_count = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t start = map[i].address, end;
        if (map[i].type != BOOT_MEMORY_RAM || start >= limit)
            continue;
        if (__builtin_add_overflow(start, map[i].size, &end) || end > limit)
            end = limit;
        ram_add(b, ALIGN_UP(start, PAGE_SIZE), ALIGN_DOWN(end, PAGE_SIZE));
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t start = map[i].address, end;
        if (map[i].type == BOOT_MEMORY_RAM || start >= limit)
            continue;
        if (__builtin_add_overflow(start, map[i].size, &end) || end > limit)
            end = limit;
        ram_subtract(b, ALIGN_DOWN(start, PAGE_SIZE), ALIGN_UP(end, PAGE_SIZE));
    }
    ram_sort(b);
    unsigned n = 0;
    for (unsigned i = 0; i < b->ram_count; i++) {
        struct ram_range r = b->ram[i];
        if (n > 0 && r.start <= b->ram[n - 1].end)
            b->ram[n - 1].end = MAX(b->ram[n - 1].end, r.end);
        else if (r.start < r.end)
            b->ram[n++] = r;
    }
    b->ram_count = n;
}

// The loader puts the initrd at the end of what it thinks is RAM; a firmware with many devices may have taken the last of it for
// itself (SeaBIOS does, and has no need of it any more). What the initrd lies in is RAM; what lies before it stays the firmware's.
void boot_cover_initrd(struct boot_info *b) {
    phys_t start = ALIGN_DOWN(b->initrd_start, PAGE_SIZE), end = ALIGN_UP(b->initrd_end, PAGE_SIZE);
    unsigned i = b->ram_count;
    while (i > 0 && b->ram[i - 1].start > start)
        i--;
    if (i == 0 || end <= start || end <= b->ram[i - 1].end)
        return;
    struct ram_range *r = &b->ram[i - 1];
    end = MIN(end, r->end + INITRD_OVERLAP_MAX);
    if (i < b->ram_count)
        end = MIN(end, b->ram[i].start);
    if (start <= r->end) {
        r->end = end;
    } else if (start < end && b->ram_count < BOOT_MAX_RANGES) {
        memmove(r + 2, r + 1, (b->ram_count++ - i) * sizeof(*r));
        r[1] = (struct ram_range){start, end};
    }
}

// --- Multiboot2 ---
// boot.S has mapped the piece of 1 GiB in which it begins, and the next one.
static void parse_multiboot(phys_t info) {
    phys_t end = ALIGN_DOWN(info, BOOT_MAPPED) + 2 * BOOT_MAPPED;
    if (!info || !IS_ALIGNED(info, 8) || !boot_parse_multiboot(&boot_info, phys_to_virt(info), end - info, boot_memory_limit()))
        boot_probe_memory(&boot_info);
    boot_cover_initrd(&boot_info);
}

// --- PVH ---
void boot_parse(phys_t start_info, uint32_t magic) {
    if (magic == MULTIBOOT2_MAGIC) {
        parse_multiboot(start_info);
        return;
    }

    const struct pvh_start_info *si = boot_memory(start_info, sizeof(*si));
    struct boot_info *b = &boot_info;
    const struct boot_memory_range *map = NULL;
    unsigned count = 0;

    if (si && si->magic == PVH_MAGIC) {
        const char *cmdline = boot_memory(si->cmdline, sizeof(b->cmdline));
        if (cmdline) // its terminator may be missing; ours is there, in bss
            memcpy(b->cmdline, cmdline, strnlen(cmdline, sizeof(b->cmdline) - 1));
        const struct pvh_module *m = boot_memory(si->modules, sizeof(*m));
        if (si->module_count > 0 && m && m->size > 0 && m->address <= UINT64_MAX - m->size) {
            b->initrd_start = m->address;
            b->initrd_end = m->address + m->size;
        }
        b->rsdp = si->rsdp;
        if (si->version >= 1 && si->memmap_count > 0 && si->memmap_count <= PVH_MEMMAP_MAX) {
            count = si->memmap_count;
            map = boot_memory(si->memmap, count * sizeof(*map));
        }
    }
    if (map)
        boot_set_memory_map(b, map, count, boot_memory_limit());
    else
        boot_probe_memory(b);
    boot_cover_initrd(b);
}

// --- Command line ---
static char words[sizeof(boot_info.cmdline)]; // the words, each ended by a NUL, an empty one at the end
static const struct known_word {
    const char *name;
    size_t len;
} known[] = {
#define WORD(name)                                                                                                     \
    { name, sizeof(name) - 1 }
    WORD("virtio_mmio.device"), WORD("console"), WORD("loglevel"), WORD("trace"), WORD("stats"),
    WORD("missing-files"),      WORD("boot"),    WORD("probe"),    WORD("cpus"),  WORD("aslr"), WORD("crash"), WORD("now"),
};

void cmdline_parse(const char *cmdline) {
    char *out = words, *end = words + sizeof(words) - 2;
    for (const char *s = cmdline; *s && out < end;) {
        while (*s == ' ' || *s == '\t' || *s == '\n')
            s++;
        while (*s && *s != ' ' && *s != '\t' && *s != '\n' && out < end)
            *out++ = *s++;
        if (out > words && out[-1] != '\0')
            *out++ = '\0';
    }
    *out = '\0';
}

static bool word_is(const char *word, const char *name, size_t len) {
    return strncmp(word, name, len) == 0 && (word[len] == '=' || word[len] == '\0');
}

// The value of a word when its name is the given one, as cmdline_get.
static const char *word_value(const char *word, const char *name) {
    size_t len = strlen(name);
    if (!word_is(word, name, len))
        return NULL;
    return word[len] == '=' ? word + len + 1 : word + len;
}

const char *cmdline_get(const char *name) {
    const char *found = NULL;
    for (const char *w = words; *w; w += strlen(w) + 1) {
        const char *value = word_value(w, name);
        if (value)
            found = value; // the last one counts
    }
    return found;
}

void cmdline_each(const char *name, void (*fn)(const char *value)) {
    for (const char *w = words; *w; w += strlen(w) + 1) {
        const char *value = word_value(w, name);
        if (value)
            fn(value);
    }
}

void cmdline_report_unknown(void) {
    for (const char *w = words; *w; w += strlen(w) + 1) {
        size_t i = 0;
        while (i < ARRAY_SIZE(known) && !word_is(w, known[i].name, known[i].len))
            i++;
        if (i == ARRAY_SIZE(known))
            log_warn("unknown word on the command line: %s", w);
    }
}

// --- The chart ---
#define STAGES_MAX 24
static struct boot_stage_mark {
    const char *name;
    uint64_t tsc;
} stages[STAGES_MAX];
static unsigned stage_count;

void boot_stage(const char *name) {
    if (stage_count < STAGES_MAX)
        stages[stage_count++] = (struct boot_stage_mark){name, rdtsc()};
}

void boot_chart_print(void) {
    const char *option = cmdline_get("boot");
    if (!option || strcmp(option, "chart") != 0)
        return;
    log_report("boot: %-24s %12s %12s %10s", "stage", "ticks", "up to here", "us");
    uint64_t last = 0;
    for (unsigned i = 0; i < stage_count; i++) {
        uint64_t ticks = stages[i].tsc - last;
        log_report("boot: %-24s %12lu %12lu %10ld", stages[i].name, ticks, stages[i].tsc,
                   (long)(time_cycles_to_ns(ticks) / NSEC_PER_USEC));
        last = stages[i].tsc;
    }
    stage_count = 0;
}
