// ACPI's static tables (ACPI specification 6.4, chapter 5). Nothing that they say is trusted: lengths, checksums and
// addresses are checked before use.
#ifndef KERNEL_X86_ACPI_H
#define KERNEL_X86_ACPI_H

#include "kernel/types.h"

struct machine_topology;

struct PACKED acpi_header {
    char signature[4];
    uint32_t length; // of the whole table
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision, creator_id, creator_revision;
};
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 5.2.6");

// The first table with this signature, mapped and with a right checksum; NULL: none. Thread context or boot.
const struct acpi_header *acpi_find(const char signature[4]);
// CPUs and IOAPICs from the MADT. False: no ACPI, no MADT, or it names no CPU.
bool acpi_find_topology(struct machine_topology *t);

// The pure parts, for tests.
bool acpi_checksum_ok(const void *table, size_t len);
bool acpi_parse_madt(const void *table, size_t len, struct machine_topology *t); // false: malformed or no CPU

#endif
