// Virtio over MMIO, section 4.2: register blocks of 512 bytes at places that the command line names
// (virtio_mmio.device=512@0xfeb00000:5), one interrupt line each.
//
// The line: QEMU's microvm and Firecracker give each device an IOAPIC pin of its own; they raise it when a bit of
// InterruptStatus is set and it was not before. Edge-triggered, with the status acknowledged before the queues are looked
// at, no interrupt is lost: one that comes after the acknowledgement is a new edge.
#include "drivers/virtio.h"

#include "kernel/boot.h"
#include "kernel/irq.h"
#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/x86/io.h"
#include "kernel/x86/pagetable.h"

// Section 4.2.2
#define MMIO_MAGIC 0x00
#define MMIO_VERSION 0x04
#define MMIO_DEVICE_ID 0x08
#define MMIO_DEVICE_FEATURES 0x10
#define MMIO_DEVICE_FEATURES_SELECT 0x14
#define MMIO_DRIVER_FEATURES 0x20
#define MMIO_DRIVER_FEATURES_SELECT 0x24
#define MMIO_QUEUE_SELECT 0x30
#define MMIO_QUEUE_SIZE_MAX 0x34
#define MMIO_QUEUE_SIZE 0x38
#define MMIO_QUEUE_READY 0x44
#define MMIO_QUEUE_NOTIFY 0x50
#define MMIO_INTERRUPT_STATUS 0x60
#define MMIO_INTERRUPT_ACK 0x64
#define MMIO_STATUS 0x70
#define MMIO_QUEUE_DESC 0x80 // low, high word
#define MMIO_QUEUE_DRIVER 0x90
#define MMIO_QUEUE_DEVICE 0xa0
#define MMIO_CONFIG_GENERATION 0xfc
#define MMIO_CONFIG 0x100
#define MMIO_SIZE 0x200

#define MAGIC 0x74726976 // "virt"

struct mmio_device {
    struct virtio_device dev;
    volatile uint8_t *regs;
};

static volatile uint8_t *regs_of(struct virtio_device *dev) { return container_of(dev, struct mmio_device, dev)->regs; }

static uint8_t mmio_get_status(struct virtio_device *dev) { return (uint8_t)mmio_read32(regs_of(dev) + MMIO_STATUS); }

static void mmio_set_status(struct virtio_device *dev, uint8_t status) {
    mmio_write32(regs_of(dev) + MMIO_STATUS, status);
}

static uint64_t mmio_get_features(struct virtio_device *dev) {
    volatile uint8_t *regs = regs_of(dev);
    mmio_write32(regs + MMIO_DEVICE_FEATURES_SELECT, 1);
    uint64_t high = mmio_read32(regs + MMIO_DEVICE_FEATURES);
    mmio_write32(regs + MMIO_DEVICE_FEATURES_SELECT, 0);
    return high << 32 | mmio_read32(regs + MMIO_DEVICE_FEATURES);
}

static void mmio_set_features(struct virtio_device *dev, uint64_t features) {
    volatile uint8_t *regs = regs_of(dev);
    mmio_write32(regs + MMIO_DRIVER_FEATURES_SELECT, 1);
    mmio_write32(regs + MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
    mmio_write32(regs + MMIO_DRIVER_FEATURES_SELECT, 0);
    mmio_write32(regs + MMIO_DRIVER_FEATURES, (uint32_t)features);
}

static uint16_t mmio_queue_max(struct virtio_device *dev, unsigned index) {
    volatile uint8_t *regs = regs_of(dev);
    mmio_write32(regs + MMIO_QUEUE_SELECT, index);
    return (uint16_t)MIN(mmio_read32(regs + MMIO_QUEUE_SIZE_MAX), 32768u);
}

static void write_address(volatile uint8_t *reg, const void *p) {
    phys_t pa = virt_to_phys(p);
    mmio_write32(reg, (uint32_t)pa);
    mmio_write32(reg + 4, (uint32_t)(pa >> 32));
}

// Section 4.2.3.2
static int mmio_queue_enable(struct virtio_device *dev, struct virtqueue *q) {
    volatile uint8_t *regs = regs_of(dev);
    mmio_write32(regs + MMIO_QUEUE_SELECT, q->index);
    if (mmio_read32(regs + MMIO_QUEUE_READY)) // after a reset no queue may be in use
        return -EBUSY;
    mmio_write32(regs + MMIO_QUEUE_SIZE, q->size);
    write_address(regs + MMIO_QUEUE_DESC, q->desc);
    write_address(regs + MMIO_QUEUE_DRIVER, q->avail);
    write_address(regs + MMIO_QUEUE_DEVICE, q->used);
    q->notify_address = regs + MMIO_QUEUE_NOTIFY;
    mmio_write32(regs + MMIO_QUEUE_READY, 1);
    return 0;
}

static void mmio_notify(struct virtqueue *q) { mmio_write32(q->notify_address, q->index); }

static void mmio_read_config(struct virtio_device *dev, unsigned offset, void *buf, unsigned size) {
    volatile uint8_t *config = regs_of(dev) + MMIO_CONFIG + offset;
    uint8_t *to = buf;
    for (; size >= 4 && IS_ALIGNED(offset, 4); size -= 4, offset += 4, config += 4, to += 4) {
        uint32_t word = mmio_read32(config);
        memcpy(to, &word, 4);
    }
    for (unsigned i = 0; i < size; i++)
        to[i] = mmio_read8(config + i);
}

static uint32_t mmio_config_generation(struct virtio_device *dev) {
    return mmio_read32(regs_of(dev) + MMIO_CONFIG_GENERATION);
}

static const struct virtio_transport mmio_transport = {
    .name = "virtio-mmio",
    .get_status = mmio_get_status,
    .set_status = mmio_set_status,
    .get_features = mmio_get_features,
    .set_features = mmio_set_features,
    .queue_max = mmio_queue_max,
    .queue_enable = mmio_queue_enable,
    .notify = mmio_notify,
    .read_config = mmio_read_config,
    .config_generation = mmio_config_generation,
};

static void mmio_interrupt(void *arg) {
    struct mmio_device *m = arg;
    uint32_t status = mmio_read32(m->regs + MMIO_INTERRUPT_STATUS);
    if (!status)
        return;
    mmio_write32(m->regs + MMIO_INTERRUPT_ACK, status);
    if (status & 1) // used buffers
        virtio_interrupt(&m->dev);
    if (status & 2)
        virtio_config_interrupt(&m->dev);
}

// SIZE@ADDR:IRQ[:ID]. Linux allows a size with a suffix; the numbers may be hexadecimal.
static bool parse_device(const char *text, uint64_t *size, uint64_t *address, uint64_t *irq) {
    char copy[80];
    if (str_copy(copy, text, sizeof(copy)) >= sizeof(copy))
        return false;
    char *at = strchr(copy, '@');
    if (!at)
        return false;
    *at++ = '\0';
    char *colon = strchr(at, ':');
    if (!colon)
        return false;
    *colon++ = '\0';
    char *id = strchr(colon, ':');
    if (id)
        *id = '\0';
    return str_to_u64(copy, size) && str_to_u64(at, address) && str_to_u64(colon, irq);
}

static void probe_place(const char *text) {
    uint64_t size, address, irq;
    if (!parse_device(text, &size, &address, &irq) || size < MMIO_SIZE || !IS_ALIGNED(address, 4) ||
        address > (1UL << 46) || irq > 255) {
        log_err("virtio_mmio.device=%s is not SIZE@ADDRESS:IRQ", text);
        return;
    }
    volatile uint8_t *regs = mmio_map(address, MMIO_SIZE);
    if (!regs || mmio_read32(regs + MMIO_MAGIC) != MAGIC) {
        log_err("virtio-mmio %lx: no device there", address);
        return;
    }
    uint32_t version = mmio_read32(regs + MMIO_VERSION), id = mmio_read32(regs + MMIO_DEVICE_ID);
    if (id == 0 || !virtio_wanted(id))
        return;
    if (version != 2) {
        log_err("virtio-mmio %lx: version %u of the interface is not supported, only 2 is%s", address, version,
                version == 1 ? " (QEMU: -global virtio-mmio.force-legacy=off)" : "");
        return;
    }
    struct mmio_device *m = kzalloc(sizeof(*m));
    if (!m)
        return;
    m->dev.transport = &mmio_transport;
    m->dev.id = id;
    m->regs = regs;
    m->dev.bus = "virtio-mmio";
    m->dev.place = address;
    int err = irq_request_gsi((unsigned)irq, false, false, mmio_interrupt, m);
    if (err < 0) { // then the handler does not know m either
        log_err("%s %lx: interrupt %lu cannot be had (error %d)", m->dev.bus, m->dev.place, irq, -err);
        kfree(m);
        return;
    }
    virtio_device_found(&m->dev); // when it fails m stays: the interrupt's handler has it
}

void virtio_mmio_probe(void) { cmdline_each("virtio_mmio.device", probe_place); }
