// link: kernel/boot.c kernel/boot_multiboot.c
// The boot's view of the machine: memory maps, the command line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/log.h"
#include "kernel/time.h"
#include "kernel/x86/boot_memory.h"

uint8_t *host_ram;
static char logged[1000];

void log_print(enum log_level level, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    size_t n = strlen(logged);
    vsnprintf(logged + n, sizeof(logged) - n, fmt, ap);
    va_end(ap);
}
void log_report(const char *fmt, ...) {}
nsec_t time_cycles_to_ns(uint64_t cycles) { return (nsec_t)cycles; }
uint64_t boot_memory_limit(void) { return 1UL << 40; }
void boot_probe_memory(struct boot_info *b) {}

#define RAM BOOT_MEMORY_RAM
#define LIMIT (1UL << 40)

static void check_map(const struct boot_memory_range *map, unsigned count, const struct ram_range *want, unsigned want_count) {
    static struct boot_info b;
    boot_set_memory_map(&b, map, count, LIMIT);
    assert_int_equal(b.ram_count, want_count);
    for (unsigned i = 0; i < want_count; i++) {
        assert_int_equal(b.ram[i].start, want[i].start);
        assert_int_equal(b.ram[i].end, want[i].end);
    }
}
#define MAP(...) (const struct boot_memory_range[]){__VA_ARGS__}
#define WANT(...) (const struct ram_range[]){__VA_ARGS__}

static void an_ordinary_map(void **state) {
    check_map(MAP({0, 0x9fc00, RAM, 0}, {0x9fc00, 0x400, 2, 0}, {0xf0000, 0x10000, 2, 0}, {0x100000, 0x7ee0000, RAM, 0},
                  {0x7fe0000, 0x20000, 3, 0}),
              5, WANT({0x1000, 0x9f000}, {0x100000, 0x7fe0000}), 2);
}

static void unsorted_and_adjacent(void **state) {
    check_map(MAP({0x300000, 0x100000, RAM, 0}, {0x100000, 0x100000, RAM, 0}, {0x200000, 0x100000, RAM, 0}), 3,
              WANT({0x100000, 0x400000}), 1);
}

static void overlaps_lose(void **state) {
    // A hole in the middle, at the beginning, at the end; two RAM entries over each other.
    check_map(MAP({0x100000, 0x900000, RAM, 0}, {0x200000, 0x1000, 2, 0}, {0x100000, 0x800, 2, 0}, {0x9ff800, 0x800, 2, 0}), 4,
              WANT({0x101000, 0x200000}, {0x201000, 0x9ff000}), 2);
    check_map(MAP({0x100000, 0x200000, RAM, 0}, {0x200000, 0x200000, RAM, 0}, {0x180000, 0x1000, RAM, 0}), 3,
              WANT({0x100000, 0x400000}), 1);
    check_map(MAP({0x100000, 0x200000, RAM, 0}, {0, UINT64_MAX, 2, 0}), 2, NULL, 0);
}

static void nonsense(void **state) {
    check_map(MAP({0x100000, UINT64_MAX, RAM, 0}), 1, WANT({0x100000, LIMIT}), 1);
    check_map(MAP({UINT64_MAX - 0x1000, 0x2000, RAM, 0}, {LIMIT, 0x100000, RAM, 0}), 2, NULL, 0);
    check_map(MAP({0x100800, 0x700, RAM, 0}, {0x200000, 0, RAM, 0}, {0x0, 0x1000, RAM, 0}), 3, NULL, 0);
    struct boot_memory_range many[200];
    for (unsigned i = 0; i < 200; i++)
        many[i] = (struct boot_memory_range){0x100000UL * (i + 1), 0x1000, RAM, 0};
    static struct boot_info b;
    boot_set_memory_map(&b, many, 200, LIMIT);
    assert_int_equal(b.ram_count, BOOT_MAX_RANGES);
}

static void the_initrd_is_ram(void **state) {
    static struct boot_info b;
    struct boot_memory_range map[] = {{0x100000, 0x3ed1000, RAM, 0}, {0x3fd1000, 0x2f000, 2, 0}, {0x10000000, 0x1000, RAM, 0}};
    boot_set_memory_map(&b, map, 3, LIMIT);
    b.initrd_start = 0x3df2000, b.initrd_end = 0x3fd7100;
    boot_cover_initrd(&b);
    assert_int_equal(b.ram[0].end, 0x3fd8000);
    boot_cover_initrd(&b);
    assert_int_equal(b.ram[0].end, 0x3fd8000);
    b.initrd_end = ~0ul; /* nonsense stays small */
    boot_cover_initrd(&b);
    assert_int_equal(b.ram[0].end, 0x3fd8000);
    b.initrd_end = 0x20000000;
    boot_cover_initrd(&b);
    assert_int_equal(b.ram[0].end, 0x40d8000);
    b.initrd_start = 0x50000000, b.initrd_end = 0x50001000; /* nowhere */
    boot_cover_initrd(&b);
    assert_int_equal(b.ram_count, 2);
    assert_int_equal(b.ram[1].end, 0x10001000);
    b.ram[0].end = 0x3fd1000; /* a small one lies behind the last RAM as a whole */
    b.initrd_start = 0x3fd7000, b.initrd_end = 0x3fd7264;
    boot_cover_initrd(&b);
    boot_cover_initrd(&b);
    assert_int_equal(b.ram_count, 3);
    assert_int_equal(b.ram[0].end, 0x3fd1000);
    assert_int_equal(b.ram[1].start, 0x3fd7000);
    assert_int_equal(b.ram[1].end, 0x3fd8000);
    assert_int_equal(b.ram[2].end, 0x10001000);
}

static unsigned devices;
static void count_device(const char *value) {
    static const char *const want[] = {"512@0xfeb00e00:12", "512@0xfeb00c00:11"};
    assert_string_equal(value, want[devices++]);
}

static void words(void **state) {
    cmdline_parse("  console=framed loglevel=info\tstats  cpus= virtio_mmio.device=512@0xfeb00e00:12 loglevel=warn\n"
                  "virtio_mmio.device=512@0xfeb00c00:11 statsx=1 ");
    assert_string_equal(cmdline_get("console"), "framed");
    assert_string_equal(cmdline_get("loglevel"), "warn");
    assert_string_equal(cmdline_get("stats"), "");
    assert_string_equal(cmdline_get("cpus"), "");
    assert_null(cmdline_get("stat"));
    assert_null(cmdline_get("trace"));
    cmdline_each("virtio_mmio.device", count_device);
    assert_int_equal(devices, 2);
    cmdline_report_unknown();
    assert_string_equal(logged, "unknown word on the command line: statsx=1");
}

static void empty_and_overlong_lines(void **state) {
    cmdline_parse("");
    assert_null(cmdline_get("console"));
    cmdline_parse("   ");
    assert_null(cmdline_get(""));
    static char line[3 * sizeof(boot_info.cmdline)];
    memset(line, 'x', sizeof(line) - 1);
    cmdline_parse(line);
    for (size_t i = 1; i < sizeof(line) - 1; i += 2)
        line[i] = ' ';
    cmdline_parse(line);
    assert_string_equal(cmdline_get("x"), "");
}

/* --- Multiboot2 --- */
static struct {
    uint64_t align;
    uint8_t bytes[4096];
} tags;
static uint32_t tags_len;

static void tags_begin(void) {
    memset(&tags, 0, sizeof(tags));
    tags_len = 8;
}
static void tag(uint32_t type, const void *data, uint32_t size) {
    uint32_t head[2] = {type, size + 8};
    memcpy(tags.bytes + tags_len, head, 8);
    if (size)
        memcpy(tags.bytes + tags_len + 8, data, size);
    tags_len = (tags_len + 8 + size + 7) / 8 * 8;
    memcpy(tags.bytes, &tags_len, 4);
}
static void memory_tag(uint32_t type, uint32_t entry_size, const void *entries, uint32_t size) {
    uint8_t data[1024];
    memcpy(data, (uint32_t[]){entry_size, 0}, 8);
    memcpy(data + 8, entries, size);
    tag(type, data, size + 8);
}
static bool parse(struct boot_info *b) {
    memset(b, 0, sizeof(*b));
    return boot_parse_multiboot(b, tags.bytes, sizeof(tags.bytes), LIMIT);
}
static const struct boot_memory_range bios[] = {{0, 0x9fc00, RAM, 0}, {0x9fc00, 0x400, 2, 0}, {0x100000, 0x100000, RAM, 0},
                                                {0x200000, 0x7de0000, RAM, 0}, {0x7fe0000, 0x20000, 3, 0}};
struct efi {
    uint32_t type, pad;
    uint64_t address, virtual, pages, attributes, more;
};

static void multiboot(void **state) {
    static struct boot_info b;
    uint8_t old[20], new[36];
    memset(old, 'o', 20), memset(new, 'n', 36);
    tags_begin();
    tag(1, "console=framed cpus=2", 22);
    tag(99, "whatever", 8);
    tag(3, "\0\0\x10\0\0\x40\x10\0config", 15);
    tag(3, "\0\0\x30\0\0\x40\x30\0second", 15);
    tag(15, new, 36);
    tag(14, old, 20);
    memory_tag(6, 24, bios, sizeof(bios));
    tag(0, NULL, 0);
    host_ram = tags.bytes; /* virt_to_phys of what is in b: some number */
    assert_true(parse(&b));
    assert_string_equal(b.cmdline, "console=framed cpus=2");
    assert_int_equal(b.initrd_start, 0x100000);
    assert_int_equal(b.initrd_end, 0x104000);
    assert_memory_equal(b.rsdp_copy, new, 36);
    assert_true(b.rsdp != 0);
    assert_int_equal(b.ram_count, 2);
    assert_int_equal(b.ram[0].end, 0x9f000);
    assert_int_equal(b.ram[1].start, 0x100000);
    assert_int_equal(b.ram[1].end, 0x7fe0000);
    /* The old structure alone, longer entries. */
    uint8_t wide[5 * 32];
    for (unsigned i = 0; i < 5; i++)
        memcpy(wide + i * 32, &bios[i], 24), memset(wide + i * 32 + 24, 0xff, 8);
    tags_begin();
    tag(14, new, 36);
    memory_tag(6, 32, wide, sizeof(wide));
    assert_true(parse(&b)); /* without an end */
    assert_memory_equal(b.rsdp_copy, new, 20);
    assert_int_equal(b.rsdp_copy[20], 0);
    assert_int_equal(b.ram[1].end, 0x7fe0000);
    assert_int_equal(b.initrd_end, 0);
}

static void multiboot_efi(void **state) {
    static struct boot_info b;
    /* ACPI's, runtime services' and persistent memory is none; what boot services had is. */
    const struct efi map[] = {{7, 0, 0, 0, 0xa0, 0xf, 0},        {7, 0, 0x100000, 0, 0x700, 0xf, 0}, {10, 0, 0x800000, 0, 8, 0xf, 0},
                              {3, 0, 0x808000, 0, 8, 0xf, 0},    {4, 0, 0x810000, 0, 0xf0, 0xf, 0}, {2, 0, 0x900000, 0, 0x100, 0xf, 0},
                              {9, 0, 0xa00000, 0, 0x10, 0xf, 0}, {5, 0, 0xa10000, 0, 0x10, 0xf, 0}, {14, 0, 0xb00000, 0, 0x10, 0xf, 0},
                              {7, 0, 0xc00000, 0, ~0ul, 0xf, 0}};
    tags_begin();
    memory_tag(17, sizeof(struct efi), map, sizeof(map));
    assert_true(parse(&b));
    assert_int_equal(b.ram_count, 3);
    assert_int_equal(b.ram[0].end, 0xa0000);
    assert_int_equal(b.ram[1].end, 0x800000);
    assert_int_equal(b.ram[2].start, 0x808000);
    assert_int_equal(b.ram[2].end, 0xa00000);
    memory_tag(6, 24, bios, sizeof(bios)); /* the loader's own comes first */
    assert_true(parse(&b));
    assert_int_equal(b.ram[1].end, 0x7fe0000);
}

static void multiboot_hostile(void **state) {
    static struct boot_info b;
    tags_begin();
    assert_false(parse(&b));
    memcpy(tags.bytes, (uint32_t[]){sizeof(tags.bytes) + 1}, 4); /* more than can be read */
    assert_false(parse(&b));
    memcpy(tags.bytes, (uint32_t[]){7}, 4);
    assert_false(parse(&b));
    assert_false(boot_parse_multiboot(&b, tags.bytes, 4, LIMIT));
    tags_begin();
    memory_tag(6, 0, bios, sizeof(bios)); /* entries without size, too small, not aligned */
    memory_tag(6, 16, bios, sizeof(bios));
    memory_tag(6, 25, bios, sizeof(bios));
    memory_tag(17, 24, bios, sizeof(bios));
    assert_false(parse(&b));
    tags_begin();
    tag(3, "\0\0\x10", 3);                   /* cut off */
    tag(3, "\0\0\x10\0\0\0\x0f\0x", 9); /* ends before it begins */
    tag(14, "RSD", 3);
    tag(1, "", 0);
    memory_tag(6, 24, bios, sizeof(bios) - 1);
    assert_true(parse(&b));
    assert_int_equal(b.initrd_end, 0);
    assert_int_equal(b.rsdp, 0);
    assert_string_equal(b.cmdline, "");
    char *line = malloc(3000);
    memset(line, 'x', 3000); /* no NUL */
    tags_begin();
    tag(1, line, 3000);
    free(line);
    memory_tag(6, 24, bios, sizeof(bios));
    assert_true(parse(&b));
    assert_int_equal(strlen(b.cmdline), 3000);
    /* Each size of each tag changed to anything: it ends, and reads nothing else (the sanitizers look). */
    srand(1);
    for (int i = 0; i < 20000; i++) {
        tags_begin();
        for (int n = rand() % 8; n >= 0; n--) {
            uint8_t data[64];
            for (unsigned k = 0; k < sizeof(data); k++)
                data[k] = (uint8_t)(rand() % 4 ? 0 : rand());
            data[0] = rand() % 2 ? 24 : data[0];
            tag((uint32_t[]){1, 3, 6, 14, 15, 17, 0, 8}[rand() % 8], data, (uint32_t)rand() % 64);
        }
        for (int n = rand() % 4; n > 0; n--)
            tags.bytes[rand() % tags_len] = (uint8_t)rand();
        size_t room = (size_t)rand() % (tags_len + 1);
        uint8_t *copy = malloc(room ? room : 1);
        memcpy(copy, tags.bytes, room);
        memset(&b, 0, sizeof(b));
        boot_parse_multiboot(&b, copy, room, LIMIT);
        assert_true(b.ram_count <= BOOT_MAX_RANGES && b.initrd_start <= b.initrd_end);
        free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_map), cmocka_unit_test(unsorted_and_adjacent), cmocka_unit_test(overlaps_lose),
        cmocka_unit_test(nonsense), cmocka_unit_test(the_initrd_is_ram),        cmocka_unit_test(words),                 cmocka_unit_test(empty_and_overlong_lines),
        cmocka_unit_test(multiboot),        cmocka_unit_test(multiboot_efi),             cmocka_unit_test(multiboot_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
