// IOAPICs: the lines of devices (GSIs) that have no message-signalled interrupts.
#ifndef KERNEL_X86_IOAPIC_H
#define KERNEL_X86_IOAPIC_H

#include "kernel/types.h"

void ioapic_init(void); // those of `topology`; all lines masked
bool ioapic_has(unsigned gsi);
void ioapic_route(unsigned gsi, uint8_t vector, bool level, bool active_low, uint32_t apic_id); // and unmask

#endif
