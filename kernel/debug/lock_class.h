// Classes of locks: all locks that lie at the same place of objects of one type are one class, and follow one rule of order.
#ifndef KERNEL_DEBUG_LOCK_CLASS_H
#define KERNEL_DEBUG_LOCK_CLASS_H

#include "kernel/types.h"

#define LOCK_CLASSES_MOST 1024

// The class of a lock, found at its first use and kept in *check (0: not yet known). `place` is where it is used.
uint16_t lock_class_of(const void *lock, uint32_t *check, unsigned kind, uint32_t place);
// Remembers a use; true when the class has now been used both in interrupt handlers and with interrupts on: *irq and *plain
// say where.
bool lock_class_use(uint16_t class, uint32_t place, bool in_irq, bool enabled, uint32_t *irq, uint32_t *plain);
// Remembers that the class was taken with interrupts off, or was held while other CPUs' answers were waited for: whoever spins for
// it with interrupts off never answers. True when both have happened.
bool lock_class_off(uint16_t class, uint32_t place, bool call, uint32_t *off_place, uint32_t *call_place);
// For reports; both return buf.
const char *lock_class_name(uint16_t class, char *buf, size_t size);
const char *lock_place_name(uint32_t place, char *buf, size_t size);

#endif
