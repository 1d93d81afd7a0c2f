/*
 * A virtio device for tests of drivers: a transport whose other side is the test. It takes chains from the available ring
 * as a device does and returns what the test says, true or not. Include it once per test program; it brings the pages,
 * locks and log that the drivers need.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/virtio.h"
#include "kernel/irq.h"
#include "kernel/threads/lock.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/x86/apic.h"
#include "kernel/x86/cpu.h"

struct cpu_features cpu_features;
struct machine_topology topology;

#ifndef FAKE_PAGES
#define FAKE_PAGES 64
#endif
unsigned char *host_ram;
static struct page fake_page_array[FAKE_PAGES];
struct page *page_array = fake_page_array;
static unsigned fake_next_page;

static void fake_memory_reset(void) {
    if (!host_ram)
        host_ram = aligned_alloc(PAGE_SIZE, FAKE_PAGES * PAGE_SIZE);
    memset(host_ram, 0xa5, FAKE_PAGES * PAGE_SIZE);
    fake_next_page = 0;
}

struct page *page_alloc(unsigned order, unsigned flags) {
    unsigned at = ALIGN_UP(fake_next_page, 1u << order);
    if (at + (1u << order) > FAKE_PAGES)
        return NULL;
    fake_next_page = at + (1u << order);
    if (flags & PA_ZERO)
        memset(host_ram + at * PAGE_SIZE, 0, PAGE_SIZE << order);
    return &page_array[at];
}

void *kmalloc(size_t size) {
    struct page *p = page_alloc(size > 2 * PAGE_SIZE ? 2 : size > PAGE_SIZE ? 1 : 0, 0);
    return p ? page_to_virt(p) : NULL;
}
void *kzalloc(size_t size) {
    void *p = kmalloc(size);
    return p ? memset(p, 0, size) : NULL;
}
void kfree(void *p) {}

uint64_t irq_save(void) { return 0; }
void irq_restore(uint64_t flags) {}
void spin_lock_slow(struct spinlock *l) { abort(); } /* one thread: a lock is never waited for */

enum log_level log_threshold = LOG_WARN;
static unsigned fake_errors;
static char fake_last_error[256];
void log_print(enum log_level level, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fake_last_error, sizeof(fake_last_error), fmt, ap);
    va_end(ap);
    fake_errors += level == LOG_ERR;
}

struct fake_queue {
    struct virtqueue *q; /* as the driver set it up */
    uint16_t seen;       /* of the available ring */
    unsigned notified;
};
static struct {
    uint8_t status;
    uint64_t offered, accepted;
    uint16_t max;
    bool refuse_features;
    uint8_t config[64];
    uint32_t generation;
    struct fake_queue queues[VIRTIO_MAX_QUEUES];
    void (*on_notify)(unsigned queue); /* a device that answers at once */
    void (*on_status)(void);           /* what it does before its status is read */
} fake;

static uint8_t fake_get_status(struct virtio_device *dev) {
    if (fake.on_status)
        fake.on_status();
    return fake.status;
}
static void fake_set_status(struct virtio_device *dev, uint8_t status) {
    fake.status = status;
    if (fake.refuse_features)
        fake.status &= (uint8_t)~8;
}
static uint64_t fake_get_features(struct virtio_device *dev) { return fake.offered; }
static void fake_set_features(struct virtio_device *dev, uint64_t features) { fake.accepted = features; }
static uint16_t fake_queue_max(struct virtio_device *dev, unsigned index) {
    return index < VIRTIO_MAX_QUEUES ? fake.max : 0;
}
static int fake_queue_enable(struct virtio_device *dev, struct virtqueue *q) {
    fake.queues[q->index] = (struct fake_queue){.q = q};
    return 0;
}
static void fake_notify(struct virtqueue *q) {
    fake.queues[q->index].notified++;
    if (fake.on_notify)
        fake.on_notify(q->index);
}
static void fake_read_config(struct virtio_device *dev, unsigned offset, void *buf, unsigned size) {
    memcpy(buf, fake.config + offset, size);
}
static uint32_t fake_config_generation(struct virtio_device *dev) { return fake.generation; }

static const struct virtio_transport fake_transport = {
    .name = "fake",
    .get_status = fake_get_status,
    .set_status = fake_set_status,
    .get_features = fake_get_features,
    .set_features = fake_set_features,
    .queue_max = fake_queue_max,
    .queue_enable = fake_queue_enable,
    .notify = fake_notify,
    .read_config = fake_read_config,
    .config_generation = fake_config_generation,
};

static inline void fake_reset(void) {
    fake_memory_reset();
    memset(&fake, 0, sizeof(fake));
    fake.offered = VIRTIO_F_VERSION_1 | VIRTIO_RING_F_EVENT_IDX | 0xff;
    fake.max = 256;
    fake_errors = 0;
}

/* --- The device's side --- */

static inline void *fake_virt(uint64_t pa) { return (void *)(DIRECT_MAP_BASE + pa); }

/* Takes the next chain: its head, or -1. The device's view of it is in *desc (the first descriptor). */
static inline int fake_pop(unsigned queue, struct virtq_desc *desc) {
    struct fake_queue *f = &fake.queues[queue];
    if (f->q->avail->index == f->seen)
        return -1;
    uint16_t head = f->q->avail->ring[f->seen++ % f->q->size];
    if (f->q->event_index) /* tell me about the next one */
        *(uint16_t *)&f->q->used->ring[f->q->size] = f->seen;
    *desc = f->q->desc[head];
    return head;
}

static inline void fake_push(unsigned queue, uint32_t id, uint32_t len) {
    struct virtq_used *u = fake.queues[queue].q->used;
    u->ring[u->index % fake.queues[queue].q->size] = (struct virtq_used_element){id, len};
    u->index++;
}
