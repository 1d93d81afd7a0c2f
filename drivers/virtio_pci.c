// Virtio over PCI, section 4.1: the modern interface, found through vendor capabilities that say in which BAR the
// register blocks are. Interrupts by MSI-X, one vector for all queues, which are few; by the shared line where there is none.
#include "drivers/pci.h"
#include "drivers/virtio.h"

#include "kernel/log.h"
#include "kernel/memory/page.h"
#include "kernel/memory/slab.h"
#include "kernel/string.h"
#include "kernel/x86/io.h"

#define VENDOR_VIRTIO 0x1af4
#define DEVICE_TRANSITIONAL 0x1000 // to 0x103f: the virtio id is the subsystem id
#define DEVICE_MODERN 0x1040       // plus the virtio id

// Section 4.1.4: struct virtio_pci_cap
#define CAP_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_NOTIFY_MULTIPLIER 16
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_KINDS };

// Section 4.1.4.3: struct virtio_pci_common_cfg
#define COMMON_DEVICE_FEATURE_SELECT 0
#define COMMON_DEVICE_FEATURE 4
#define COMMON_DRIVER_FEATURE_SELECT 8
#define COMMON_DRIVER_FEATURE 12
#define COMMON_MSIX_CONFIG 16
#define COMMON_NUM_QUEUES 18
#define COMMON_STATUS 20
#define COMMON_CONFIG_GENERATION 21
#define COMMON_QUEUE_SELECT 22
#define COMMON_QUEUE_SIZE 24
#define COMMON_QUEUE_MSIX_VECTOR 26
#define COMMON_QUEUE_ENABLE 28
#define COMMON_QUEUE_NOTIFY_OFF 30
#define COMMON_QUEUE_DESC 32 // low, high word
#define COMMON_QUEUE_DRIVER 40
#define COMMON_QUEUE_DEVICE 48
#define COMMON_SIZE 56
#define NO_VECTOR 0xffff

struct region {
    uint8_t bar;
    uint32_t offset, length;
};

struct pci_virtio {
    struct virtio_device dev;
    struct pci_device pci;
    volatile uint8_t *common, *notify, *isr, *config;
    uint32_t notify_length, notify_multiplier, config_length;
    bool msix;
};

static struct pci_virtio *pci_of(struct virtio_device *dev) { return container_of(dev, struct pci_virtio, dev); }

static uint8_t pci_get_status(struct virtio_device *dev) { return mmio_read8(pci_of(dev)->common + COMMON_STATUS); }

static void pci_set_status(struct virtio_device *dev, uint8_t status) {
    mmio_write8(pci_of(dev)->common + COMMON_STATUS, status);
}

static uint64_t pci_get_features(struct virtio_device *dev) {
    volatile uint8_t *c = pci_of(dev)->common;
    mmio_write32(c + COMMON_DEVICE_FEATURE_SELECT, 1);
    uint64_t high = mmio_read32(c + COMMON_DEVICE_FEATURE);
    mmio_write32(c + COMMON_DEVICE_FEATURE_SELECT, 0);
    return high << 32 | mmio_read32(c + COMMON_DEVICE_FEATURE);
}

static void pci_set_features(struct virtio_device *dev, uint64_t features) {
    volatile uint8_t *c = pci_of(dev)->common;
    mmio_write32(c + COMMON_DRIVER_FEATURE_SELECT, 1);
    mmio_write32(c + COMMON_DRIVER_FEATURE, (uint32_t)(features >> 32));
    mmio_write32(c + COMMON_DRIVER_FEATURE_SELECT, 0);
    mmio_write32(c + COMMON_DRIVER_FEATURE, (uint32_t)features);
}

static uint16_t pci_queue_max(struct virtio_device *dev, unsigned index) {
    volatile uint8_t *c = pci_of(dev)->common;
    if (index >= mmio_read16(c + COMMON_NUM_QUEUES))
        return 0;
    mmio_write16(c + COMMON_QUEUE_SELECT, (uint16_t)index);
    return mmio_read16(c + COMMON_QUEUE_SIZE);
}

static void write_address(volatile uint8_t *reg, const void *p) {
    phys_t pa = virt_to_phys(p);
    mmio_write32(reg, (uint32_t)pa);
    mmio_write32(reg + 4, (uint32_t)(pa >> 32));
}

// Sections 4.1.5.1.2 and 4.1.5.1.3
static int pci_queue_enable(struct virtio_device *dev, struct virtqueue *q) {
    struct pci_virtio *p = pci_of(dev);
    volatile uint8_t *c = p->common;
    mmio_write16(c + COMMON_QUEUE_SELECT, q->index);
    mmio_write16(c + COMMON_QUEUE_SIZE, q->size);
    if (p->msix) {
        mmio_write16(c + COMMON_QUEUE_MSIX_VECTOR, 0);
        if (mmio_read16(c + COMMON_QUEUE_MSIX_VECTOR) != 0) // the device could not
            return -ENOSPC;
    }
    uint64_t notify = (uint64_t)mmio_read16(c + COMMON_QUEUE_NOTIFY_OFF) * p->notify_multiplier;
    if (notify + 2 > p->notify_length)
        return -EINVAL;
    q->notify_address = p->notify + notify;
    write_address(c + COMMON_QUEUE_DESC, q->desc);
    write_address(c + COMMON_QUEUE_DRIVER, q->avail);
    write_address(c + COMMON_QUEUE_DEVICE, q->used);
    mmio_write16(c + COMMON_QUEUE_ENABLE, 1);
    return 0;
}

static void pci_notify(struct virtqueue *q) { mmio_write16(q->notify_address, q->index); }

static void pci_read_config(struct virtio_device *dev, unsigned offset, void *buf, unsigned size) {
    struct pci_virtio *p = pci_of(dev);
    uint8_t *to = buf;
    for (; size >= 4 && IS_ALIGNED(offset, 4) && offset + 4 <= p->config_length; size -= 4, offset += 4, to += 4) {
        uint32_t word = mmio_read32(p->config + offset);
        memcpy(to, &word, 4);
    }
    for (unsigned i = 0; i < size; i++)
        to[i] = offset + i < p->config_length ? mmio_read8(p->config + offset + i) : 0;
}

static uint32_t pci_config_generation(struct virtio_device *dev) {
    return mmio_read8(pci_of(dev)->common + COMMON_CONFIG_GENERATION);
}

static void pci_config_interrupt(void *arg) {
    struct pci_virtio *p = arg;
    virtio_config_interrupt(&p->dev);
}

// With MSI-X a vector of its own: nothing else would tell it from the queues'.
static int pci_watch_config(struct virtio_device *dev) {
    struct pci_virtio *p = pci_of(dev);
    if (!p->msix)
        return 0;
    int err = pci_msix_request(&p->pci, 1, pci_config_interrupt, p);
    if (err < 0)
        return err;
    mmio_write16(p->common + COMMON_MSIX_CONFIG, 1);
    return mmio_read16(p->common + COMMON_MSIX_CONFIG) == 1 ? 0 : -ENOSPC;
}

static const struct virtio_transport pci_transport = {
    .name = "virtio-pci",
    .get_status = pci_get_status,
    .set_status = pci_set_status,
    .get_features = pci_get_features,
    .set_features = pci_set_features,
    .queue_max = pci_queue_max,
    .queue_enable = pci_queue_enable,
    .notify = pci_notify,
    .read_config = pci_read_config,
    .config_generation = pci_config_generation,
    .watch_config = pci_watch_config,
};

static void pci_message_interrupt(void *arg) {
    struct pci_virtio *p = arg;
    virtio_interrupt(&p->dev);
}

// The shared line: reading the status acknowledges it (section 4.1.4.5).
static void pci_line_interrupt(void *arg) {
    struct pci_virtio *p = arg;
    uint8_t status = mmio_read8(p->isr);
    if (status & 1)
        virtio_interrupt(&p->dev);
    if (status & 2)
        virtio_config_interrupt(&p->dev);
}

// The first capability of each kind is the one that the device prefers (section 4.1.4.1).
static void find_regions(struct pci_virtio *p, struct region regions[CAP_KINDS]) {
    for (unsigned cap = pci_capability(&p->pci, PCI_CAP_VENDOR, 0), n = 0; cap && n < 48;
         cap = pci_capability(&p->pci, PCI_CAP_VENDOR, cap), n++) {
        uint8_t kind = pci_read8(&p->pci, cap + CAP_TYPE);
        if (kind < CAP_COMMON || kind >= CAP_KINDS || regions[kind].length)
            continue;
        regions[kind].bar = pci_read8(&p->pci, cap + CAP_BAR);
        regions[kind].offset = pci_read32(&p->pci, cap + CAP_OFFSET);
        regions[kind].length = pci_read32(&p->pci, cap + CAP_LENGTH);
        if (kind == CAP_NOTIFY)
            p->notify_multiplier = pci_read32(&p->pci, cap + CAP_NOTIFY_MULTIPLIER);
    }
}

static volatile uint8_t *map_region(struct pci_virtio *p, const struct region *r, uint32_t needed, uint32_t limit) {
    return r->length < needed ? NULL : pci_map(&p->pci, r->bar, r->offset, MIN(r->length, limit));
}

static int set_up(struct pci_virtio *p) {
    struct region regions[CAP_KINDS] = {{0}};
    find_regions(p, regions);
    pci_enable(&p->pci);
    p->common = map_region(p, &regions[CAP_COMMON], COMMON_SIZE, COMMON_SIZE);
    p->notify = map_region(p, &regions[CAP_NOTIFY], 2, 0x10000);
    p->isr = map_region(p, &regions[CAP_ISR], 1, 1);
    if (!p->common || !p->notify || !p->isr) {
        log_err("%s %lx: has no usable virtio 1.x registers", p->dev.bus, p->dev.place);
        return -ENODEV;
    }
    p->notify_length = MIN(regions[CAP_NOTIFY].length, 0x10000u);
    p->config = map_region(p, &regions[CAP_DEVICE], 1, 0x1000);
    p->config_length = p->config ? MIN(regions[CAP_DEVICE].length, 0x1000u) : 0;
    p->msix = pci_msix_init(&p->pci);
    int err = p->msix ? pci_msix_request(&p->pci, 0, pci_message_interrupt, p)
                      : pci_intx_request(&p->pci, pci_line_interrupt, p);
    if (err < 0) {
        log_err("%s %lx: no interrupt can be had (error %d)", p->dev.bus, p->dev.place, -err);
        return err;
    }
    if (p->msix) // the configuration's changes get a vector when a driver wants to know of them
        mmio_write16(p->common + COMMON_MSIX_CONFIG, NO_VECTOR);
    return 0;
}

static void probe(struct pci_device *pci) {
    if (pci->vendor != VENDOR_VIRTIO || pci->device < DEVICE_TRANSITIONAL || pci->device > DEVICE_MODERN + 0x3f)
        return;
    unsigned id = pci->device >= DEVICE_MODERN ? pci->device - DEVICE_MODERN : pci_read16(pci, PCI_SUBSYSTEM_ID);
    if (!virtio_wanted(id))
        return;
    struct pci_virtio *p = kzalloc(sizeof(*p));
    if (!p)
        return;
    p->pci = *pci;
    p->dev.transport = &pci_transport;
    p->dev.id = id;
    p->dev.bus = "virtio-pci";
    p->dev.place = (uint64_t)pci->bus << 8 | (uint64_t)pci->slot << 3 | pci->function;
    if (set_up(p) == 0)
        virtio_device_found(&p->dev); // when it fails, p stays: an interrupt's handler may have it
}

void virtio_pci_probe(void) { pci_scan(probe); }
