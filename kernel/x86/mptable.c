// Finds the MP table at the places that the specification names, and reads it. One CPU needs no table: QEMU tells the number
// at once, and the search, which takes longer than all the rest of the interrupt setup, is left out.
#include "kernel/x86/mptable.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/fwcfg.h"
#include "kernel/x86/pagetable.h"

#define POINTER_SIZE 16
#define HEADER_SIZE 44
#define ENTRY_CPU 0
#define ENTRY_IOAPIC 2

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t get32(const uint8_t *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }

long mptable_find_pointer(const void *memory, size_t len) {
    const uint8_t *p = memory;
    for (size_t i = 0; i + POINTER_SIZE <= len; i += POINTER_SIZE)
        if (get32(p + i) == 0x5f504d5f /* _MP_ */ && p[i + 8] == 1 && acpi_checksum_ok(p + i, POINTER_SIZE))
            return (long)i;
    return -1;
}

bool mptable_parse(const void *table, size_t len, struct machine_topology *t) {
    const uint8_t *p = table;
    if (len < HEADER_SIZE || memcmp(p, "PCMP", 4) != 0)
        return false;
    size_t size = get16(p + 4);
    if (size < HEADER_SIZE || size > len || !acpi_checksum_ok(p, size))
        return false;
    const uint8_t *end = p + size;
    unsigned count = get16(p + 34), gsi_base = 0;
    for (p += HEADER_SIZE; count > 0; count--) {
        if (p >= end)
            return false;
        size_t n = p[0] == ENTRY_CPU ? 20 : 8;
        if (n > (size_t)(end - p))
            return false;
        if (p[0] == ENTRY_CPU && (p[3] & 1))
            topology_add_cpu(t, p[1]);
        else if (p[0] == ENTRY_IOAPIC && (p[3] & 1) && topology_add_ioapic(t, p[1], get32(p + 4), gsi_base))
            gsi_base += 24;
        p += n;
    }
    return t->cpu_count > 0;
}

static bool read_table(phys_t start, size_t len, struct machine_topology *t) {
    const uint8_t *memory = direct_map_firmware(start, len);
    long at = memory ? mptable_find_pointer(memory, len) : -1;
    if (at < 0)
        return false;
    phys_t pa = get32(memory + at + 4);
    const uint8_t *header = pa ? direct_map_firmware(pa, HEADER_SIZE) : NULL;
    if (!header)
        return false;
    size_t size = get16(header + 4);
    const void *table = direct_map_firmware(pa, MAX(size, (size_t)HEADER_SIZE));
    return table && mptable_parse(table, size, t);
}

bool mptable_find_topology(struct machine_topology *t) {
    unsigned count = fwcfg_cpu_count();
    if (count == 1)
        return topology_add_cpu(t, lapic_id());
    if (read_table(0x9fc00, 1024, t) || read_table(0xf0000, 0x10000, t))
        return true;
    for (unsigned id = 0; id < count; id++) // as QEMU numbers them unless told otherwise
        topology_add_cpu(t, id);
    return count > 0;
}
