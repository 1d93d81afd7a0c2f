// Virtio devices: from the reset to DRIVER_OK in the steps of the specification (section 3.1.1), and the end of a device
// that does not keep to it. The queues are in virtqueue.c.
#include "drivers/virtio.h"

#include "kernel/log.h"
#include "kernel/string.h"
#include "kernel/x86/io.h"

// Section 2.1
#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8
#define STATUS_NEEDS_RESET 64
#define STATUS_FAILED 128

static uint32_t taken; // bit i: virtio_drivers[i] has its one device

static int find_driver(unsigned id) {
    for (unsigned i = 0; virtio_drivers[i]; i++)
        if (virtio_drivers[i]->id == id && !(taken & 1u << i))
            return (int)i;
    return -1;
}

bool virtio_wanted(unsigned device_id) { return find_driver(device_id) >= 0; }

static void add_status(struct virtio_device *dev, uint8_t bit) {
    dev->transport->set_status(dev, dev->transport->get_status(dev) | bit);
}

// Step 1. A device needs time to reset; it says so by still showing a status (sections 4.1.4.3.2 and 4.2.2.1). Ours do it
// at once; one that never does is not used.
static int reset(struct virtio_device *dev) {
    dev->transport->set_status(dev, 0);
    for (int i = 0; i < 100000; i++) {
        if (dev->transport->get_status(dev) == 0)
            return 0;
        cpu_relax();
    }
    log_err("%s %lx: does not reset", dev->bus, dev->place);
    return -EIO;
}

int virtio_device_found(struct virtio_device *dev) {
    int i = find_driver(dev->id);
    if (i < 0)
        return -ENODEV;
    if (reset(dev) < 0) // 1. reset the device
        return -ENODEV;
    add_status(dev, STATUS_ACKNOWLEDGE);     // 2. it was noticed
    add_status(dev, STATUS_DRIVER);          // 3. there is a driver for it
    int err = virtio_drivers[i]->probe(dev); // 4. to 8. are the driver's
    if (err < 0) {
        log_err("%s %lx: %s cannot use it (error %d)", dev->bus, dev->place, virtio_drivers[i]->name, -err);
        dev->broken = true;
        dev->transport->set_status(dev, 0); // it forgets the queues that it was told about
        dev->transport->set_status(dev, STATUS_FAILED);
        return -ENODEV;
    }
    if (!virtio_drivers[i]->several)
        taken |= 1u << i;
    log_info("%s %lx: %s, features %lx", dev->bus, dev->place, virtio_drivers[i]->name, dev->features);
    return 0;
}

int virtio_negotiate(struct virtio_device *dev, uint64_t wanted) {
    // 4. Read the device's features, choose the subset that the driver understands. Without VERSION_1 it is a legacy
    //    device with another layout. ACCESS_PLATFORM must be accepted when it is offered (section 6.1): on x86 without
    //    an IOMMU of ours, physical addresses are what it wants.
    uint64_t offered = dev->transport->get_features(dev);
    if (!(offered & VIRTIO_F_VERSION_1)) {
        log_err("%s %lx: a legacy device; Knarr needs virtio 1.0 or later", dev->bus, dev->place);
        return -ENODEV;
    }
    dev->features = offered & (wanted | VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM);
    dev->transport->set_features(dev, dev->features);
    // 5. Set FEATURES_OK; from here on no new features.
    add_status(dev, STATUS_FEATURES_OK);
    // 6. Read the status again: the device may refuse the subset.
    if (!(dev->transport->get_status(dev) & STATUS_FEATURES_OK)) {
        log_err("%s %lx: refuses the features %lx of %lx", dev->bus, dev->place, dev->features, offered);
        return -ENODEV;
    }
    return 0;
}

void virtio_start(struct virtio_device *dev) {
    // 8. The device is live. The queues were written before this (virtq_create), and on x86 the store to the uncached
    //    status register does not pass them; the compiler is told.
    barrier_write();
    dev->started = true;
    add_status(dev, STATUS_DRIVER_OK);
}

void virtio_config(struct virtio_device *dev, unsigned offset, void *buf, unsigned size) {
    for (int i = 0; i < 10; i++) {
        uint32_t before = dev->transport->config_generation(dev);
        dev->transport->read_config(dev, offset, buf, size);
        if (dev->transport->config_generation(dev) == before)
            return;
    }
    virtio_break(dev, "the configuration never stands still");
    memset(buf, 0, size);
}

void virtio_break(struct virtio_device *dev, const char *why) {
    if (atomic_xchg(&dev->broken, true))
        return;
    log_err("%s %lx: %s; disabled", dev->bus, dev->place, why);
    // Reset, so that it leaves memory alone; FAILED for whoever looks at it from outside.
    dev->transport->set_status(dev, 0);
    dev->transport->set_status(dev, STATUS_FAILED);
}

void virtio_interrupt(struct virtio_device *dev) {
    for (unsigned i = 0; i < dev->queue_end; i++)
        if (dev->queues[i])
            virtq_interrupt(dev->queues[i]);
}

int virtio_watch_config(struct virtio_device *dev, void (*fn)(struct virtio_device *dev)) {
    int err = dev->transport->watch_config ? dev->transport->watch_config(dev) : 0;
    if (err == 0)
        dev->config_changed = fn;
    return err;
}

void virtio_config_interrupt(struct virtio_device *dev) {
    if (dev->config_changed && !dev->broken)
        dev->config_changed(dev);
}

bool virtio_needs_reset(struct virtio_device *dev) {
    return dev->transport->get_status(dev) & STATUS_NEEDS_RESET;
}
