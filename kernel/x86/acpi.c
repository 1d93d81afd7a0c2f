// Finds ACPI's tables from the RSDP that the boot loader gave us, and reads the MADT.
#include "kernel/x86/acpi.h"
#include "kernel/boot.h"
#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/pagetable.h"

#define TABLE_MAX (1UL << 20) // longer ones are nonsense
#define MADT_LAPIC 0
#define MADT_IOAPIC 1
#define MADT_X2APIC 9
#define MADT_CPU_USABLE 3 // enabled, or online capable

struct PACKED acpi_rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length; // from revision 2
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
};
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 5.2.5.3");

static uint32_t get32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static uint64_t get64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

bool acpi_checksum_ok(const void *table, size_t len) {
    uint8_t sum = 0;
    for (const uint8_t *p = table; len > 0; len--)
        sum = (uint8_t)(sum + *p++);
    return sum == 0;
}

// Maps a table whole and checks it. NULL: not one.
static const struct acpi_header *map_table(phys_t pa) {
    if (pa == 0)
        return NULL;
    const struct acpi_header *h = direct_map_firmware(pa, sizeof(*h));
    if (!h || h->length < sizeof(*h) || h->length > TABLE_MAX)
        return NULL;
    h = direct_map_firmware(pa, h->length);
    return h && acpi_checksum_ok(h, h->length) ? h : NULL;
}

const struct acpi_header *acpi_find(const char signature[4]) {
    if (boot_info.rsdp == 0)
        return NULL;
    const struct acpi_rsdp *rsdp = direct_map_firmware(boot_info.rsdp, sizeof(*rsdp));
    if (!rsdp || memcmp(rsdp->signature, "RSD PTR ", 8) != 0 || !acpi_checksum_ok(rsdp, 20))
        return NULL;
    bool wide = rsdp->revision >= 2 && rsdp->xsdt != 0;
    const struct acpi_header *root = map_table(wide ? rsdp->xsdt : rsdp->rsdt);
    if (!root || memcmp(root->signature, wide ? "XSDT" : "RSDT", 4) != 0)
        return NULL;
    size_t size = wide ? 8 : 4, count = (root->length - sizeof(*root)) / size;
    const uint8_t *entry = (const uint8_t *)(root + 1);
    for (size_t i = 0; i < count; i++, entry += size) {
        phys_t pa = wide ? get64(entry) : get32(entry);
        // The signature first: only the table asked for is read whole.
        const struct acpi_header *h = pa ? direct_map_firmware(pa, sizeof(*h)) : NULL;
        if (h && memcmp(h->signature, signature, 4) == 0 && (h = map_table(pa)))
            return h;
    }
    return NULL;
}

bool acpi_parse_madt(const void *table, size_t len, struct machine_topology *t) {
    const uint8_t *p = table, *end = p + len;
    if (len < 44)
        return false;
    for (p += 44; end - p >= 2; p += p[1]) {
        size_t n = p[1];
        if (n < 2 || n > (size_t)(end - p))
            return false;
        if (p[0] == MADT_LAPIC && n >= 8 && (get32(p + 4) & MADT_CPU_USABLE) && p[3] != 0xff)
            topology_add_cpu(t, p[3]);
        else if (p[0] == MADT_X2APIC && n >= 16 && (get32(p + 8) & MADT_CPU_USABLE))
            topology_add_cpu(t, get32(p + 4));
        else if (p[0] == MADT_IOAPIC && n >= 12)
            topology_add_ioapic(t, p[2], get32(p + 4), get32(p + 8));
    }
    return t->cpu_count > 0;
}

bool acpi_find_topology(struct machine_topology *t) {
    const struct acpi_header *madt = acpi_find("APIC");
    if (!madt)
        return false;
    if (acpi_parse_madt(madt, madt->length, t))
        return true;
    log_warn("ACPI: the MADT is malformed");
    return false;
}
