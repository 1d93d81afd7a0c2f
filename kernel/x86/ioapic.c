// IOAPICs (Intel 82093AA data sheet). Lock: ioapic_lock (interrupt-safe), around the index and data registers.
#include "kernel/x86/ioapic.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/io.h"
#include "kernel/x86/pagetable.h"

#define REG_SELECT 0x00
#define REG_DATA 0x10
#define IOAPIC_VERSION 0x01
#define IOAPIC_REDIRECTION 0x10
#define REDIRECTION_ACTIVE_LOW (1u << 13)
#define REDIRECTION_LEVEL (1u << 15)
#define REDIRECTION_MASKED (1u << 16)

struct ioapic {
    volatile char *regs;
    unsigned gsi_base, lines;
};
static struct ioapic ioapics[MAX_IOAPICS];
static unsigned ioapic_count;
static struct spinlock ioapic_lock = SPINLOCK_INIT;

static uint32_t ioapic_read(const struct ioapic *a, unsigned reg) {
    mmio_write32(a->regs + REG_SELECT, reg);
    return mmio_read32(a->regs + REG_DATA);
}

static void ioapic_write(const struct ioapic *a, unsigned reg, uint32_t v) {
    mmio_write32(a->regs + REG_SELECT, reg);
    mmio_write32(a->regs + REG_DATA, v);
}

void ioapic_init(void) {
    for (unsigned i = 0; i < topology.ioapic_count; i++) {
        struct ioapic *a = &ioapics[ioapic_count];
        a->regs = mmio_map(topology.ioapic[i].address, PAGE_SIZE);
        if (!a->regs)
            continue;
        uint32_t version = ioapic_read(a, IOAPIC_VERSION);
        if (version == 0 || version == ~0u) // nobody there
            continue;
        a->gsi_base = topology.ioapic[i].gsi_base;
        a->lines = MIN((version >> 16 & 0xff) + 1, 240u);
        for (unsigned line = 0; line < a->lines; line++)
            ioapic_write(a, IOAPIC_REDIRECTION + line * 2, REDIRECTION_MASKED);
        ioapic_count++;
    }
}

static const struct ioapic *ioapic_of(unsigned gsi) {
    for (unsigned i = 0; i < ioapic_count; i++)
        if (gsi >= ioapics[i].gsi_base && gsi - ioapics[i].gsi_base < ioapics[i].lines)
            return &ioapics[i];
    return NULL;
}

bool ioapic_has(unsigned gsi) { return ioapic_of(gsi) != NULL; }

void ioapic_route(unsigned gsi, uint8_t vector, bool level, bool active_low, uint32_t apic_id) {
    const struct ioapic *a = ioapic_of(gsi);
    unsigned reg = IOAPIC_REDIRECTION + (gsi - a->gsi_base) * 2;
    uint64_t flags = spin_lock_irqsave(&ioapic_lock);
    ioapic_write(a, reg + 1, apic_id << 24);
    ioapic_write(a, reg, vector | (level ? REDIRECTION_LEVEL : 0) | (active_low ? REDIRECTION_ACTIVE_LOW : 0));
    spin_unlock_irqrestore(&ioapic_lock, flags);
}
