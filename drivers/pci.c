// The PCI bus. Firmware or hypervisor have placed the BARs and numbered the buses; Knarr takes both as it finds them and
// looks only behind bridges that have a number. A device that is absent reads as all ones, so an empty slot costs one
// access.
#include "drivers/pci.h"

#include "kernel/boot.h"
#include "kernel/memory/page.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/io.h"
#include "kernel/x86/pagetable.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc

#define PCI_ID 0x00
#define PCI_STATUS 0x06
#define PCI_STATUS_CAPABILITIES 0x10
#define PCI_HEADER_TYPE 0x0e
#define PCI_HEADER_MULTIFUNCTION 0x80
#define PCI_HEADER_BRIDGE 1
#define PCI_BAR0 0x10
#define PCI_BAR_COUNT 6
#define PCI_SECONDARY_BUS 0x19
#define PCI_CAPABILITIES 0x34

#define MSIX_CONTROL 2
#define MSIX_CONTROL_ENABLE 0x8000
#define MSIX_CONTROL_MASK_ALL 0x4000
#define MSIX_TABLE 4
#define MSIX_ENTRY_SIZE 16
#define MSIX_ENTRY_MASKED 1

// Where ACPI's MCFG says that configuration space is mapped; only the first buses, each from its first use.
static struct {
    phys_t base; // of bus 0
    uint8_t last_bus;
    volatile uint8_t *buses[8];
} ecam;

struct PACKED mcfg {
    struct acpi_header header;
    uint64_t reserved;
    struct PACKED {
        uint64_t base;
        uint16_t segment;
        uint8_t first_bus, last_bus;
        uint32_t reserved;
    } entries[];
};

static bool find_ecam(void) {
    const struct mcfg *m = boot_info.rsdp ? (const void *)acpi_find("MCFG") : NULL;
    for (size_t i = 0; m && sizeof(*m) + (i + 1) * sizeof(m->entries[0]) <= m->header.length; i++) {
        if (m->entries[i].segment == 0 && m->entries[i].first_bus == 0 && IS_ALIGNED(m->entries[i].base, 1UL << 20)) {
            ecam.base = m->entries[i].base;
            ecam.last_bus = (uint8_t)MIN(m->entries[i].last_bus, ARRAY_SIZE(ecam.buses) - 1);
            return true;
        }
    }
    return false;
}

static volatile uint8_t *ecam_place(const struct pci_device *dev, unsigned offset) {
    static volatile uint8_t nothing[PAGE_SIZE] ALIGNED(4); // all ones, where there is no such bus
    if (likely(!ecam.base))
        return NULL;
    if (dev->bus <= ecam.last_bus && !ecam.buses[dev->bus])
        ecam.buses[dev->bus] = mmio_map(ecam.base + ((phys_t)dev->bus << 20), 1UL << 20);
    if (dev->bus > ecam.last_bus || !ecam.buses[dev->bus]) {
        mmio_write32(nothing + (offset & 0xffc), ~0u);
        return nothing + (offset & 0xfff);
    }
    return ecam.buses[dev->bus] + ((size_t)dev->slot << 15 | (size_t)dev->function << 12 | (offset & 0xfff));
}

// Selects the register and returns the port where its byte `offset` is.
static uint16_t select(const struct pci_device *dev, unsigned offset) {
    out32(CONFIG_ADDRESS, 0x80000000u | (uint32_t)dev->bus << 16 | (uint32_t)dev->slot << 11 |
                              (uint32_t)dev->function << 8 | (offset & 0xfc));
    return (uint16_t)(CONFIG_DATA + (offset & 3));
}

uint32_t pci_read32(const struct pci_device *dev, unsigned offset) {
    volatile uint8_t *p = ecam_place(dev, offset);
    return p ? mmio_read32(p) : in32(select(dev, offset));
}

uint16_t pci_read16(const struct pci_device *dev, unsigned offset) {
    volatile uint8_t *p = ecam_place(dev, offset);
    return p ? mmio_read16(p) : in16(select(dev, offset));
}

uint8_t pci_read8(const struct pci_device *dev, unsigned offset) {
    volatile uint8_t *p = ecam_place(dev, offset);
    return p ? mmio_read8(p) : in8(select(dev, offset));
}

void pci_write32(const struct pci_device *dev, unsigned offset, uint32_t value) {
    volatile uint8_t *p = ecam_place(dev, offset);
    if (p)
        mmio_write32(p, value);
    else
        out32(select(dev, offset), value);
}

void pci_write16(const struct pci_device *dev, unsigned offset, uint16_t value) {
    volatile uint8_t *p = ecam_place(dev, offset);
    if (p)
        mmio_write16(p, value);
    else
        out16(select(dev, offset), value);
}

#define BRIDGE_DEPTH 16

static void scan_bus(uint8_t bus, void (*fn)(struct pci_device *dev));

static bool scan_function(uint8_t bus, uint8_t slot, uint8_t function, void (*fn)(struct pci_device *dev)) {
    struct pci_device dev = {.bus = bus, .slot = slot, .function = function};
    uint32_t id = pci_read32(&dev, PCI_ID);
    if ((id & 0xffff) == 0xffff)
        return false;
    dev.vendor = (uint16_t)id;
    dev.device = (uint16_t)(id >> 16);
    uint8_t type = pci_read8(&dev, PCI_HEADER_TYPE);
    if ((type & 0x7f) == PCI_HEADER_BRIDGE) {
        uint8_t secondary = pci_read8(&dev, PCI_SECONDARY_BUS);
        static unsigned depth; // bridges behind bridges behind bridges: not more than the stack is good for
        if (secondary > bus && depth < BRIDGE_DEPTH) { // a bus has a higher number than the one that it hangs on: no loops
            depth++;
            scan_bus(secondary, fn);
            depth--;
        }
    } else {
        fn(&dev);
    }
    return type & PCI_HEADER_MULTIFUNCTION;
}

static void scan_bus(uint8_t bus, void (*fn)(struct pci_device *dev)) {
    for (uint8_t slot = 0; slot < 32; slot++)
        if (scan_function(bus, slot, 0, fn))
            for (uint8_t function = 1; function < 8; function++)
                scan_function(bus, slot, function, fn);
}

void pci_scan(void (*fn)(struct pci_device *dev)) {
    // The address register of a host bridge keeps what is written to it; where there is none, the ports read as ones.
    out32(CONFIG_ADDRESS, 0x80000000u);
    if (in32(CONFIG_ADDRESS) != 0x80000000u && !find_ecam())
        return;
    scan_bus(0, fn);
}

unsigned pci_capability(const struct pci_device *dev, uint8_t id, unsigned after) {
    if (!(pci_read16(dev, PCI_STATUS) & PCI_STATUS_CAPABILITIES))
        return 0;
    unsigned at = pci_read8(dev, after ? after + 1 : PCI_CAPABILITIES) & 0xfc;
    for (int i = 0; at >= 0x40 && i < 48; i++) { // no more than 48 fit: a list that is longer is a loop
        if (pci_read8(dev, at) == id)
            return at;
        at = pci_read8(dev, at + 1) & 0xfc;
    }
    return 0;
}

// Address and size of a memory BAR; false: it is none, or it was not placed.
static bool bar_range(const struct pci_device *dev, unsigned bar, uint64_t *address, uint64_t *size) {
    if (bar >= PCI_BAR_COUNT)
        return false;
    unsigned reg = PCI_BAR0 + 4 * bar;
    uint32_t low = pci_read32(dev, reg);
    if (low & 1) // I/O ports
        return false;
    bool wide = (low & 6) == 4;
    if (wide && bar == PCI_BAR_COUNT - 1)
        return false;
    uint32_t high = wide ? pci_read32(dev, reg + 4) : 0;
    // The size: write ones, see which bits stick. The device must not answer at those addresses meanwhile.
    uint16_t command = pci_read16(dev, PCI_COMMAND);
    pci_write16(dev, PCI_COMMAND, (uint16_t)(command & ~PCI_COMMAND_MEMORY));
    pci_write32(dev, reg, ~0u);
    uint64_t mask = pci_read32(dev, reg) & ~0xfu;
    pci_write32(dev, reg, low);
    if (wide) {
        pci_write32(dev, reg + 4, ~0u);
        mask |= (uint64_t)pci_read32(dev, reg + 4) << 32;
        pci_write32(dev, reg + 4, high);
    } else {
        mask |= 0xffffffff00000000u;
    }
    pci_write16(dev, PCI_COMMAND, command);
    *address = (uint64_t)high << 32 | (low & ~0xfu);
    *size = ~mask + 1;
    return *address != 0 && *size != 0 && (*size & (*size - 1)) == 0;
}

volatile uint8_t *pci_map(const struct pci_device *dev, unsigned bar, uint64_t offset, uint64_t len) {
    uint64_t address, size;
    if (!bar_range(dev, bar, &address, &size) || len == 0 || offset > size || len > size - offset)
        return NULL;
    return mmio_map(address + offset, len);
}

void pci_enable(const struct pci_device *dev) {
    pci_write16(dev, PCI_COMMAND, pci_read16(dev, PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

bool pci_msix_init(struct pci_device *dev) {
    unsigned cap = pci_capability(dev, PCI_CAP_MSIX, 0);
    if (!cap)
        return false;
    uint16_t control = pci_read16(dev, cap + MSIX_CONTROL);
    uint32_t table = pci_read32(dev, cap + MSIX_TABLE);
    uint16_t count = (uint16_t)(MIN(control & 0x7ff, 31) + 1); // of which no driver here uses more
    dev->msix_table = pci_map(dev, table & 7, table & ~7u, (uint64_t)count * MSIX_ENTRY_SIZE);
    if (!dev->msix_table)
        return false;
    dev->msix_count = count;
    dev->msix_cap = (uint8_t)cap;
    // After a reset all entries are masked; whoever had the device before us may have left others.
    pci_write16(dev, cap + MSIX_CONTROL, (uint16_t)(control | MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK_ALL));
    for (unsigned i = 0; i < count; i++)
        mmio_write32(dev->msix_table + i * MSIX_ENTRY_SIZE + 12, MSIX_ENTRY_MASKED);
    pci_write16(dev, cap + MSIX_CONTROL, (uint16_t)((control | MSIX_CONTROL_ENABLE) & ~MSIX_CONTROL_MASK_ALL));
    pci_write16(dev, PCI_COMMAND, pci_read16(dev, PCI_COMMAND) | PCI_COMMAND_NO_INTX);
    return true;
}

int pci_msix_request(struct pci_device *dev, unsigned entry, irq_fn fn, void *arg) {
    if (entry >= dev->msix_count)
        return -EINVAL;
    uint64_t address;
    uint32_t data;
    int err = irq_request_msi(fn, arg, &address, &data);
    if (err < 0)
        return err;
    volatile uint8_t *e = dev->msix_table + entry * MSIX_ENTRY_SIZE;
    mmio_write32(e, (uint32_t)address);
    mmio_write32(e + 4, (uint32_t)(address >> 32));
    mmio_write32(e + 8, data);
    mmio_write32(e + 12, 0);
    return 0;
}

int pci_intx_request(const struct pci_device *dev, irq_fn fn, void *arg) {
    // The line that the firmware wrote down is the one at the old interrupt controller; the IOAPIC has it at the same pin.
    uint8_t line = pci_read8(dev, PCI_INTERRUPT_LINE);
    if (line == 0 || line >= 16)
        return -ENODEV;
    pci_write16(dev, PCI_COMMAND, (uint16_t)(pci_read16(dev, PCI_COMMAND) & ~PCI_COMMAND_NO_INTX));
    return irq_request_gsi(line, true, true, fn, arg);
}
