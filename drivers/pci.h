// The PCI bus: configuration space, capabilities, BARs, and interrupts of its devices. PCI Local Bus Specification 3.0,
// PCI Express Base Specification for ECAM. No locks: used during the boot by one thread.
#ifndef DRIVERS_PCI_H
#define DRIVERS_PCI_H

#include "kernel/irq.h"
#include "kernel/types.h"

struct pci_device {
    uint8_t bus, slot, function;
    uint16_t vendor, device;
    // Filled in by pci_msix_init.
    volatile uint8_t *msix_table;
    uint16_t msix_count; // 0: no MSI-X
    uint8_t msix_cap;
};

#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 2
#define PCI_COMMAND_MASTER 4
#define PCI_COMMAND_NO_INTX 0x400
#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_INTERRUPT_LINE 0x3c
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX 0x11

// Calls fn for every function of every device that is there. The structure is the caller's only during the call.
// Configuration space is reached through the ports 0xcf8 and 0xcfc, or where there are none, mapped as ACPI's MCFG says (ECAM).
void pci_scan(void (*fn)(struct pci_device *dev));

uint8_t pci_read8(const struct pci_device *dev, unsigned offset);
uint16_t pci_read16(const struct pci_device *dev, unsigned offset);
uint32_t pci_read32(const struct pci_device *dev, unsigned offset);
void pci_write16(const struct pci_device *dev, unsigned offset, uint16_t value);
void pci_write32(const struct pci_device *dev, unsigned offset, uint32_t value);

// Offset of the first capability with this id behind `after` (0: from the start); 0: there is none.
unsigned pci_capability(const struct pci_device *dev, uint8_t id, unsigned after);
// Maps a piece of a memory BAR. NULL: no such BAR, or the piece is not inside.
volatile uint8_t *pci_map(const struct pci_device *dev, unsigned bar, uint64_t offset, uint64_t len);
void pci_enable(const struct pci_device *dev); // memory accesses and bus mastering
// Turns on MSI-X with all vectors masked. False: the device has none, or describes it wrongly.
bool pci_msix_init(struct pci_device *dev);
int pci_msix_request(struct pci_device *dev, unsigned entry, irq_fn fn, void *arg); // 0, -ENOSPC, -EINVAL
int pci_intx_request(const struct pci_device *dev, irq_fn fn, void *arg); // the shared line, when there is no MSI-X

#endif
