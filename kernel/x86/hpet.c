// The HPET as a clock of known rate: one read, where the PIT takes three and wraps 18 times a second. Found through ACPI.
// IA-PC HPET specification 1.0a.
#include "kernel/muldiv.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/clock.h"
#include "kernel/x86/io.h"
#include "kernel/x86/pagetable.h"

struct PACKED hpet_table {
    struct acpi_header header;
    uint32_t block_id;
    uint8_t address_space, bit_width, bit_offset, access_size; // address_space 0: memory
    uint64_t address;
};
_Static_assert(sizeof(struct hpet_table) == 52, "HPET specification, 3.2.4");

#define HPET_PERIOD 0x04 // upper half of the capabilities: femtoseconds a tick
#define HPET_CONFIG 0x10
#define HPET_CONFIG_ENABLE 1u
#define HPET_COUNTER 0xf0
#define PERIOD_MAX 100000000u // 10 MHz at least
#define FEMTOSECONDS_PER_NS 1000000u

static volatile uint8_t *registers;

static uint64_t hpet_read(void)
{
    return mmio_read32(registers + HPET_COUNTER); // the lower half: wraps after 43 s at 100 MHz
}

static struct clock_reference hpet = {.name = "HPET", .read = hpet_read, .mask = UINT32_MAX};

const struct clock_reference *hpet_init(void)
{
    const struct hpet_table *t = (const struct hpet_table *)acpi_find("HPET");
    if (!t || t->header.length < sizeof *t || t->address_space != 0 || !t->address)
        return NULL;
    registers = mmio_map(t->address, PAGE_SIZE);
    if (!registers)
        return NULL;
    uint32_t period = mmio_read32(registers + HPET_PERIOD);
    if (!period || period > PERIOD_MAX)
        return NULL;
    hpet.ns_mult = mul_div(period, 1UL << 32, FEMTOSECONDS_PER_NS);
    mmio_write32(registers + HPET_CONFIG, mmio_read32(registers + HPET_CONFIG) | HPET_CONFIG_ENABLE);
    return &hpet;
}
