// Interrupts of devices, and calls between CPUs. Drivers use this; the controllers are kernel/x86/apic.c's.
#ifndef KERNEL_IRQ_H
#define KERNEL_IRQ_H

#include "kernel/types.h"

typedef void (*irq_fn)(void *arg); // interrupts off
// A line of the IOAPIC. edge: trigger mode as the bus says (virtio-mmio: edge in microvm per its table, PCI: level).
int irq_request_gsi(unsigned gsi, bool level, bool active_low, irq_fn fn, void *arg); // 0, -ENOSPC, -ENODEV
// A vector for MSI: fills in the address and data to program into the device.
int irq_request_msi(irq_fn fn, void *arg, uint64_t *address, uint32_t *data); // 0, -ENOSPC

// Runs fn(arg) on the CPUs of the bitmap (not on this one) and waits for all. Interrupts on, no spinlock held that they need.
void cpu_call(uint64_t cpus, void (*fn)(void *), void *arg);
void cpu_kick(unsigned cpu); // makes it look at its run queue and at thread.work
// Between these two cpu_kick of this CPU waits for the second: an interrupt for another CPU takes a virtual machine long, and whom it
// wakes would spin for the lock that is held here. No sleep between them, not nested.
void cpu_kick_hold(void);
void cpu_kick_release(void);
// Other CPUs are started at boot without waiting for them. Whoever tells the application how many there are waits here, asleep,
// until all have come or are given up.
void cpu_wait_started(void);
void cpu_stop_others(void);  // panic: they halt

#endif
