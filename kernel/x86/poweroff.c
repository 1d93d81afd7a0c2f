// Switches the machine off as ACPI says (specification 6.4, 4.8.3.2 and 7.4.2): the sleep state S5, whose number is in the DSDT, is
// written to the power management registers, which the FADT names. No AML is executed: the object _S5_ is looked for by its bytes.
#include "kernel/x86/poweroff.h"

#include "kernel/boot.h"
#include "kernel/string.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/io.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/pagetable.h"

#define DSDT_MAX (1u << 20)
#define FADT_DSDT 40
#define FADT_PM1A 64
#define FADT_PM1B 68
#define FADT_FLAGS 112
#define FADT_X_DSDT 140
#define FADT_LEAST 116
#define FLAG_HW_REDUCED (1u << 20)
#define SLEEP_ENABLE (1u << 13)
#define SLEEP_TYPE_SHIFT 10
#define SLEEP_TYPE_MASK (7u << SLEEP_TYPE_SHIFT)
#define TRIES 1000000

static uint16_t port_a, port_b, type_a, type_b;

static uint64_t get(const uint8_t *p, unsigned n) {
    uint64_t value = 0;
    memcpy(&value, p, n);
    return value;
}

// A small integer of AML: Zero, One, or a byte. The place behind it; NULL: another thing.
static const uint8_t *small_integer(const uint8_t *p, const uint8_t *end, uint16_t *value) {
    if (p < end && *p <= 1)
        *value = *p++;
    else if (end - p >= 2 && *p == 0x0a)
        *value = p[1], p += 2;
    else
        return NULL;
    return p;
}

bool acpi_parse_s5(const void *aml, size_t len, uint16_t types[2]) {
    const uint8_t *p = aml, *end = p + len;
    for (; end - p >= 7; p++) {
        if (memcmp(p, "_S5_\x12", 5) != 0)
            continue;
        const uint8_t *at = p + 5;
        at += 1 + (*at >> 6); // the package's length
        if (at >= end || *at++ < 1) // how many elements
            continue;
        at = small_integer(at, end, &types[0]);
        if (at && types[0] <= 7) {
            if (!small_integer(at, end, &types[1]) || types[1] > 7)
                types[1] = types[0];
            return true;
        }
    }
    return false;
}

static void switch_off(void) {
    out16(port_a, (uint16_t)((in16(port_a) & ~SLEEP_TYPE_MASK) | type_a << SLEEP_TYPE_SHIFT | SLEEP_ENABLE));
    if (port_b)
        out16(port_b, (uint16_t)((in16(port_b) & ~SLEEP_TYPE_MASK) | type_b << SLEEP_TYPE_SHIFT | SLEEP_ENABLE));
    for (int i = 0; i < TRIES; i++) // it may take a moment
        cpu_relax();
}

void poweroff_prepare(void) {
    const struct acpi_header *fadt = boot_info.rsdp ? acpi_find("FACP") : NULL, *dsdt;
    const uint8_t *f = (const uint8_t *)fadt;
    if (!fadt || fadt->length < FADT_LEAST || (get(f + FADT_FLAGS, 4) & FLAG_HW_REDUCED))
        return;
    uint64_t place = fadt->length >= FADT_X_DSDT + 8 ? get(f + FADT_X_DSDT, 8) : 0;
    if (!place)
        place = get(f + FADT_DSDT, 4);
    dsdt = place ? direct_map_firmware(place, sizeof(*dsdt)) : NULL;
    uint32_t len = dsdt ? dsdt->length : 0;
    uint16_t types[2];
    if (len <= sizeof(*dsdt) || len > DSDT_MAX || !(dsdt = direct_map_firmware(place, len)) ||
        !acpi_parse_s5(dsdt + 1, len - sizeof(*dsdt), types))
        return;
    uint64_t a = get(f + FADT_PM1A, 4), b = get(f + FADT_PM1B, 4);
    if (a == 0 || a > UINT16_MAX)
        return;
    port_a = (uint16_t)a;
    port_b = b <= UINT16_MAX ? (uint16_t)b : 0;
    type_a = types[0];
    type_b = types[1];
    machine_set_poweroff(switch_off);
}
