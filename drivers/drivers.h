// What the boot and the kernel call in drivers/. The devices themselves are met through the tables of functions that
// their users declare: kernel/chardev.h (console), kernel/random.h (entropy), kernel/log.h (log sink).
#ifndef DRIVERS_DRIVERS_H
#define DRIVERS_DRIVERS_H

#include "kernel/types.h"

// The serial port COM1 as sink of the log, when there is one; by polling, so it works before everything else and in panics.
void serial_init(void);

// Looks for the devices that Knarr uses and sets those up, no others: virtio on the mmio places that the command line
// names and on the PCI bus. Registers the console (the serial port when there is no virtio console) and the entropy
// source. Called once, in thread context, with interrupts working.
void drivers_init(void);

// The battery-backed clock, taken as UTC: seconds since the epoch, or 0 when the machine has none or it holds nonsense.
int64_t rtc_read(void);

#endif
