// Interrupt vectors: who handles which. Devices get theirs from irq_request_gsi (a line of an IOAPIC) or irq_request_msi;
// all arrive at the boot CPU. Lock: vector_lock (interrupt-safe), for handing out vectors only.
#include "kernel/irq.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/threads/thread.h"
#include "kernel/time.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cpu_tables.h"
#include "kernel/x86/entry.h"
#include "kernel/x86/ioapic.h"
#include "kernel/x86/smp.h"
#include "kernel/x86/vectors.h"

#define MSI_ADDRESS 0xfee00000UL

struct irq_handler {
    irq_fn fn;
    void *arg;
};
static struct irq_handler handlers[VECTOR_DEVICE_END - VECTOR_DEVICE];
static unsigned handler_count;
static struct spinlock vector_lock = SPINLOCK_INIT;

static int vector_alloc(irq_fn fn, void *arg) {
    uint64_t flags = spin_lock_irqsave(&vector_lock);
    int v = -ENOSPC;
    if (handler_count < ARRAY_SIZE(handlers)) {
        handlers[handler_count] = (struct irq_handler){fn, arg};
        v = VECTOR_DEVICE + (int)handler_count++;
        idt_enable((unsigned)v);
    }
    spin_unlock_irqrestore(&vector_lock, flags);
    return v;
}

int irq_request_gsi(unsigned gsi, bool level, bool active_low, irq_fn fn, void *arg) {
    if (!ioapic_has(gsi))
        return -ENODEV;
    int v = vector_alloc(fn, arg);
    if (v < 0)
        return v;
    ioapic_route(gsi, (uint8_t)v, level, active_low, cpus[0]->apic_id);
    return 0;
}

int irq_request_msi(irq_fn fn, void *arg, uint64_t *address, uint32_t *data) {
    int v = vector_alloc(fn, arg);
    if (v < 0)
        return v;
    *address = MSI_ADDRESS | (uint64_t)(cpus[0]->apic_id & 0xff) << 12;
    *data = (uint32_t)v;
    return 0;
}

void irq_dispatch(unsigned vector, bool user) {
    struct cpu *c = cpu_this();
    c->irq_depth++;
    c->irq_count++;
    c->irq_user = user;
    if (vector == VECTOR_TIMER) {
        lapic_eoi();
        timer_interrupt();
    } else if (vector == VECTOR_KICK) {
        lapic_eoi();
        sched_kicked();
    } else if (vector == VECTOR_CALL) {
        lapic_eoi();
        smp_call_interrupt();
    } else if (vector >= VECTOR_DEVICE && vector < VECTOR_DEVICE + handler_count) {
        const struct irq_handler *h = &handlers[vector - VECTOR_DEVICE];
        h->fn(h->arg);
        lapic_eoi(); // after the handler: a level interrupt would come again at once
    } else if (vector != VECTOR_SPURIOUS) {
        log_once(LOG_WARN, "unexpected interrupt, vector %#x", vector);
        lapic_eoi();
    }
    c->irq_depth--;
}
