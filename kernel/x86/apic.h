// The interrupt controllers: each CPU's local APIC (xAPIC or x2APIC) with its timer, and the IOAPICs.
#ifndef KERNEL_X86_APIC_H
#define KERNEL_X86_APIC_H

#include "kernel/types.h"

void irq_init(void);   // boot CPU: finds and sets up all controllers (MADT, MP table, or the PC's defaults)
void lapic_init(void); // this CPU's
void lapic_eoi(void);
uint32_t lapic_id(void); // of this CPU

// One-shot timer, bus clock divided by 1, VECTOR_TIMER. Rate unknown: clock.c measures it. count 0 stops it.
void lapic_timer_init(void); // this CPU's; in TSC-deadline mode when the CPU has it (then use lapic_timer_deadline)
void lapic_timer_arm(uint32_t count);
uint32_t lapic_timer_count(void); // what is left
void lapic_timer_deadline(uint64_t tsc); // TSC-deadline mode; 0 stops it

// Interrupts between CPUs.
void lapic_send(uint32_t apic_id, uint8_t vector);
void lapic_send_nmi(uint32_t apic_id);
void lapic_send_init(uint32_t apic_id);
void lapic_send_startup(uint32_t apic_id, uint8_t page);

// What the firmware's tables say about the machine; filled in by acpi.c or mptable.c, both of which trust nothing.
#define MAX_IOAPICS 8
struct ioapic_info {
    uint64_t address;
    uint32_t gsi_base;
    uint32_t id;
};
struct machine_topology {
    uint32_t cpu_apic_id[64];
    unsigned cpu_count;
    struct ioapic_info ioapic[MAX_IOAPICS];
    unsigned ioapic_count;
};
extern struct machine_topology topology;
bool topology_add_cpu(struct machine_topology *t, uint32_t apic_id); // false: full or known already
bool topology_add_ioapic(struct machine_topology *t, uint32_t id, uint64_t address, uint32_t gsi_base); // false: full, bad

#endif
