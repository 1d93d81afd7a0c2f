// Local APICs, by memory (xAPIC) or by MSRs (x2APIC, where the processor has it), and the discovery of the machine's
// interrupt controllers and CPUs.
#include "kernel/x86/apic.h"
#include "kernel/log.h"
#include "kernel/threads/thread.h"
#include "kernel/x86/acpi.h"
#include "kernel/x86/cpu.h"
#include "kernel/x86/cpu_tables.h"
#include "kernel/x86/io.h"
#include "kernel/x86/ioapic.h"
#include "kernel/x86/mptable.h"
#include "kernel/x86/pagetable.h"
#include "kernel/x86/vectors.h"

#define APIC_BASE_X2 (1UL << 10)
#define APIC_BASE_ENABLE (1UL << 11)
#define APIC_BASE_ADDRESS 0x000ffffffffff000UL

#define LAPIC_ID 0x020
#define LAPIC_TPR 0x080
#define LAPIC_EOI 0x0b0
#define LAPIC_SPURIOUS 0x0f0
#define LAPIC_ICR 0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LAPIC_LVT_ERROR 0x370
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_CURRENT 0x390
#define LAPIC_TIMER_DIVIDE 0x3e0

#define SPURIOUS_ENABLE 0x100
#define LVT_MASKED (1u << 16)
#define LVT_NMI 0x400
#define TIMER_DEADLINE_MODE (2u << 17)
#define DIVIDE_BY_1 0xb
#define ICR_INIT 0x500
#define ICR_STARTUP 0x600
#define ICR_NMI 0x400
#define ICR_ASSERT 0x4000
#define ICR_PENDING 0x1000

struct machine_topology topology;
static volatile char *lapic; // NULL: x2APIC

// The x2APIC's registers and the TSC deadline are MSRs whose writes are not ordered with earlier stores (Intel SDM vol. 3,
// 11.12.3).
static void msr_fence(void) { __asm__ volatile("mfence; lfence" ::: "memory"); }

static uint32_t lapic_read(unsigned reg) {
    return lapic ? mmio_read32(lapic + reg) : (uint32_t)rdmsr(MSR_X2APIC + reg / 16);
}

static void lapic_write(unsigned reg, uint32_t v) {
    if (lapic)
        mmio_write32(lapic + reg, v);
    else
        wrmsr(MSR_X2APIC + reg / 16, v);
}

uint32_t lapic_id(void) { return lapic ? lapic_read(LAPIC_ID) >> 24 : lapic_read(LAPIC_ID); }
void lapic_eoi(void) { lapic_write(LAPIC_EOI, 0); }

static void lapic_command(uint32_t apic_id, uint32_t command) {
    if (!lapic) {
        msr_fence();
        wrmsr(MSR_X2APIC + LAPIC_ICR / 16, (uint64_t)apic_id << 32 | command);
        return;
    }
    uint64_t flags = irq_save();
    while (lapic_read(LAPIC_ICR) & ICR_PENDING)
        cpu_pause();
    lapic_write(LAPIC_ICR_HIGH, apic_id << 24);
    lapic_write(LAPIC_ICR, command);
    irq_restore(flags);
}

void lapic_send(uint32_t apic_id, uint8_t vector) { lapic_command(apic_id, ICR_ASSERT | vector); }
void lapic_send_nmi(uint32_t apic_id) { lapic_command(apic_id, ICR_ASSERT | ICR_NMI); }
void lapic_send_init(uint32_t apic_id) { lapic_command(apic_id, ICR_ASSERT | ICR_INIT); }
void lapic_send_startup(uint32_t apic_id, uint8_t page) { lapic_command(apic_id, ICR_ASSERT | ICR_STARTUP | page); }

void lapic_init(void) {
    uint64_t base = rdmsr(MSR_APIC_BASE);
    wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE | (cpu_features.x2apic ? APIC_BASE_X2 : 0));
    if (!cpu_features.x2apic && !lapic) {
        lapic = mmio_map(base & APIC_BASE_ADDRESS, PAGE_SIZE);
        if (!lapic)
            panic("no memory to map the local APIC");
    }
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED);
    lapic_write(LAPIC_LVT_LINT1, LVT_NMI);
    lapic_write(LAPIC_LVT_ERROR, LVT_MASKED);
    lapic_write(LAPIC_TPR, 0);
    lapic_write(LAPIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    cpu_this()->apic_id = lapic_id();
}

void lapic_timer_init(void) {
    lapic_write(LAPIC_TIMER_DIVIDE, DIVIDE_BY_1);
    lapic_write(LAPIC_LVT_TIMER, VECTOR_TIMER | (cpu_features.tsc_deadline ? TIMER_DEADLINE_MODE : 0));
    if (cpu_features.tsc_deadline)
        msr_fence(); // the mode before the first deadline (Intel SDM vol. 3, 11.5.4.1)
}

void lapic_timer_arm(uint32_t count) { lapic_write(LAPIC_TIMER_INITIAL, count); }
uint32_t lapic_timer_count(void) { return lapic_read(LAPIC_TIMER_CURRENT); }
void lapic_timer_deadline(uint64_t tsc) { wrmsr(MSR_TSC_DEADLINE, tsc); }

// The PC's two 8259s are not used: out of the way of the exceptions' vectors, and silent.
static void pic_disable(void) {
    out8(0x20, 0x11);
    out8(0xa0, 0x11);
    out8(0x21, VECTOR_PIC);
    out8(0xa1, VECTOR_PIC + 8);
    out8(0x21, 4);
    out8(0xa1, 2);
    out8(0x21, 1);
    out8(0xa1, 1);
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
}

bool topology_add_cpu(struct machine_topology *t, uint32_t apic_id) {
    for (unsigned i = 0; i < t->cpu_count; i++)
        if (t->cpu_apic_id[i] == apic_id)
            return false;
    if (t->cpu_count >= ARRAY_SIZE(t->cpu_apic_id))
        return false;
    t->cpu_apic_id[t->cpu_count++] = apic_id;
    return true;
}

bool topology_add_ioapic(struct machine_topology *t, uint32_t id, uint64_t address, uint32_t gsi_base) {
    if (t->ioapic_count >= MAX_IOAPICS || address == 0 || !IS_ALIGNED(address, 1024))
        return false;
    t->ioapic[t->ioapic_count++] = (struct ioapic_info){.address = address, .gsi_base = gsi_base, .id = id};
    return true;
}

void irq_init(void) {
    idt_enable(VECTOR_TIMER);
    idt_enable(VECTOR_KICK);
    idt_enable(VECTOR_CALL);
    pic_disable();
    lapic_init();

    if (!acpi_find_topology(&topology))
        mptable_find_topology(&topology);
    if (topology.ioapic_count == 0)
        topology_add_ioapic(&topology, 0, 0xfec00000, 0); // where every PC has it
    ioapic_init();
    log_info("interrupts: %s, %u CPUs, %u IOAPICs", lapic ? "xAPIC" : "x2APIC", topology.cpu_count,
             topology.ioapic_count);
}
