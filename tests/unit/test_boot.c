// link: kernel/boot.c
// The boot's view of the machine: memory maps, the command line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_map), cmocka_unit_test(unsorted_and_adjacent), cmocka_unit_test(overlaps_lose),
        cmocka_unit_test(nonsense), cmocka_unit_test(the_initrd_is_ram),        cmocka_unit_test(words),                 cmocka_unit_test(empty_and_overlong_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
