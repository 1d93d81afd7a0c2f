// link: kernel/x86/acpi.c kernel/x86/mptable.c
// The readers of the firmware's tables of CPUs and IOAPICs, on right and on broken tables in a fake physical memory.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/fwcfg.h"
#include "kernel/x86/mptable.h"
#include "kernel/x86/pagetable.h"

#define MEMORY_SIZE 0x101000
static uint8_t memory[MEMORY_SIZE];
static unsigned qemu_cpus;
struct boot_info boot_info;

void log_print(enum log_level level, const char *fmt, ...) {}
unsigned fwcfg_cpu_count(void) { return qemu_cpus; }
uint32_t lapic_id(void) { return 5; }
const void *direct_map_firmware(phys_t pa, size_t len) {
    return pa < MEMORY_SIZE && len <= MEMORY_SIZE - pa ? memory + pa : NULL;
}
bool topology_add_cpu(struct machine_topology *t, uint32_t apic_id) {
    t->cpu_apic_id[t->cpu_count++] = apic_id;
    assert_true(t->cpu_count < 64);
    return true;
}
bool topology_add_ioapic(struct machine_topology *t, uint32_t id, uint64_t address, uint32_t gsi_base) {
    t->ioapic[t->ioapic_count++] = (struct ioapic_info){.address = address, .gsi_base = gsi_base, .id = id};
    assert_true(t->ioapic_count < MAX_IOAPICS);
    return true;
}

static void put(size_t at, const void *data, size_t n) { memcpy(memory + at, data, n); }
static void put32(size_t at, uint32_t v) { put(at, &v, 4); }
static void fix_checksum(size_t start, size_t len, size_t at) {
    uint8_t sum = 0;
    memory[at] = 0;
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + memory[start + i]);
    memory[at] = (uint8_t)-sum;
}

// Two CPUs that can run, one that cannot, one by x2APIC, an IOAPIC, an unknown entry.
static const uint8_t madt_entries[] = {
    0, 8, 0, 0, 1, 0, 0, 0,    0, 8, 1, 1, 2, 0, 0, 0,    0, 8, 2, 2, 0, 0, 0, 0,
    9, 16, 0, 0, 0x34, 0x12, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0,
    1, 12, 7, 0, 0x00, 0x00, 0xc0, 0xfe, 24, 0, 0, 0,
    2, 10, 0, 0, 2, 0, 0, 0, 0, 0,
};
#define MADT 0x3000
#define MADT_SIZE (44 + sizeof(madt_entries))

static void make_acpi(void) {
    memset(memory, 0, sizeof(memory));
    boot_info.rsdp = 0x1000;
    put(0x1000, "RSD PTR ", 8);
    put32(0x1000 + 16, 0x2000);
    fix_checksum(0x1000, 20, 0x1008);
    put(0x2000, "RSDT", 4);
    put32(0x2004, 36 + 8);
    put32(0x2000 + 36, 0x200000); // outside
    put32(0x2000 + 40, MADT);
    fix_checksum(0x2000, 36 + 8, 0x2009);
    put(MADT, "APIC", 4);
    put32(MADT + 4, MADT_SIZE);
    put(MADT + 44, madt_entries, sizeof(madt_entries));
    fix_checksum(MADT, MADT_SIZE, MADT + 9);
}

static void reads_the_madt(void **state) {
    struct machine_topology t = {0};
    make_acpi();
    assert_true(acpi_find_topology(&t));
    assert_int_equal(t.cpu_count, 3);
    assert_int_equal(t.cpu_apic_id[0], 0);
    assert_int_equal(t.cpu_apic_id[1], 1);
    assert_int_equal(t.cpu_apic_id[2], 0x1234);
    assert_int_equal(t.ioapic_count, 1);
    assert_int_equal(t.ioapic[0].address, 0xfec00000);
    assert_int_equal(t.ioapic[0].gsi_base, 24);
}

static void refuses_broken_acpi(void **state) {
    struct machine_topology t = {0};
    make_acpi();
    memory[MADT + 50]++; // checksum
    assert_false(acpi_find_topology(&t));
    make_acpi();
    put32(MADT + 4, 0xffffff00); // length
    assert_false(acpi_find_topology(&t));
    make_acpi();
    put32(MADT + 4, 8);
    assert_false(acpi_find_topology(&t));
    make_acpi();
    memory[0x1000] = 'X';
    assert_false(acpi_find_topology(&t));
    make_acpi();
    put32(0x1000 + 16, 0xfffff000); // RSDT outside
    fix_checksum(0x1000, 20, 0x1008);
    assert_false(acpi_find_topology(&t));
    boot_info.rsdp = 0;
    assert_false(acpi_find_topology(&t));
    assert_int_equal(t.cpu_count, 0);
}

// Every byte of the entries in turn becomes every value that matters, in a buffer of exactly the size: ASan watches.
static void survives_any_madt(void **state) {
    make_acpi();
    for (size_t n = 0; n <= MADT_SIZE; n++)
        for (size_t at = 44; at < n; at++)
            for (unsigned v = 0; v < 256; v += v < 20 ? 1 : 47) {
                struct machine_topology t = {0};
                uint8_t *table = malloc(n + 1);
                memcpy(table, memory + MADT, n);
                table[at] = (uint8_t)v;
                acpi_parse_madt(table, n, &t);
                free(table);
            }
}

static const uint8_t mp_entries[] = {
    0, 0, 0x14, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // boot CPU, usable
    0, 4, 0x14, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // usable
    0, 5, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // not
    1, 0, 'I', 'S', 'A', ' ', ' ', ' ',
    2, 1, 0x11, 1, 0, 0, 0xc0, 0xfe,
};
#define MP 0xf1000
#define MP_SIZE (44 + sizeof(mp_entries))

static void make_mp(void) {
    memset(memory, 0, sizeof(memory));
    boot_info.rsdp = 0;
    qemu_cpus = 0;
    put(0xf0120, "_MP_", 4);
    put32(0xf0124, MP);
    memory[0xf0128] = 1;
    memory[0xf0129] = 4;
    fix_checksum(0xf0120, 16, 0xf012a);
    put(MP, "PCMP", 4);
    memory[MP + 4] = MP_SIZE;
    memory[MP + 34] = 5;
    put(MP + 44, mp_entries, sizeof(mp_entries));
    fix_checksum(MP, MP_SIZE, MP + 7);
}

static void reads_the_mp_table(void **state) {
    struct machine_topology t = {0};
    make_mp();
    assert_true(mptable_find_topology(&t));
    assert_int_equal(t.cpu_count, 2);
    assert_int_equal(t.cpu_apic_id[1], 4);
    assert_int_equal(t.ioapic_count, 1);
    assert_int_equal(t.ioapic[0].address, 0xfec00000);
}

static void falls_back_to_qemus_number(void **state) {
    struct machine_topology t = {0};
    make_mp();
    memory[MP + 60]++;
    qemu_cpus = 3;
    assert_true(mptable_find_topology(&t));
    assert_int_equal(t.cpu_count, 3);
    assert_int_equal(t.cpu_apic_id[2], 2);
    struct machine_topology one = {0};
    qemu_cpus = 1;
    assert_true(mptable_find_topology(&one));
    assert_int_equal(one.cpu_apic_id[0], 5);
    struct machine_topology none = {0};
    qemu_cpus = 0;
    assert_false(mptable_find_topology(&none));
}

static void survives_any_mp_table(void **state) {
    make_mp();
    for (size_t n = 0; n <= MP_SIZE; n++)
        for (size_t at = 0; at < n; at++) {
            struct machine_topology t = {0};
            uint8_t *table = malloc(n + 1);
            memcpy(table, memory + MP, n);
            table[at] ^= 3;
            uint8_t sum = 0;
            for (size_t i = 0; i < n; i++)
                sum = (uint8_t)(sum + table[i]);
            if (n > 7)
                table[7] = (uint8_t)(table[7] - sum);
            mptable_parse(table, n, &t);
            free(table);
        }
    assert_int_equal(mptable_find_pointer(memory + 0xf0120, 15), -1);
    assert_int_equal(mptable_find_pointer(memory + 0xf0120, 16), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_madt),     cmocka_unit_test(refuses_broken_acpi),
        cmocka_unit_test(survives_any_madt),  cmocka_unit_test(reads_the_mp_table),
        cmocka_unit_test(falls_back_to_qemus_number), cmocka_unit_test(survives_any_mp_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
